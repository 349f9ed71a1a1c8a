"""Operators on groups of elements: reductions, softmaxes, norms, pooling, and what looks at the order of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from fc2conv.verification.exact import functions
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Array, Field, Residues, tag
from fc2conv.verification.exact.steps import stepped
from fc2conv.verification.exact.windows import Geometry, geometry, windows

SKIP_EPSILON = 1e-12
"""The default of onnxruntime's norms of a sum."""
_EMPTY_IS_ALL = "noop_with_empty_axes"


def mean(field: Field, x: Residues, axes: Sequence[int]) -> Residues:
    """Return the means along axes, which stay as 1."""
    count = prod(x.shape[axis + 1] for axis in axes)
    return field.mul(field.total(x, axes), field.inverse(field.of(np.asarray(count))))


def greatest(field: Field, x: Residues, axes: Sequence[int], name: str = "Max") -> Residues:
    """Return the maxima along axes: the hash of the sum of hashes, and over one element the element."""
    if prod(x.shape[axis + 1] for axis in axes) == 1:
        return x
    return field.mix(field.total(field.mix(x, tag(name)), axes), tag(name, "of"))


def _squared(field: Field, x: Residues, axes: Sequence[int]) -> Residues:
    return field.total(field.mul(x, x), axes)


def _log(field: Field, x: Residues) -> Residues:
    return field.mix(x, tag("log"))


def _absolute(field: Field, x: Residues) -> Residues:
    return field.add(functions.relu(field, x), functions.relu(field, field.neg(x)))


REDUCTIONS: dict[str, Callable[[Field, Residues, Sequence[int]], Residues]] = {
    "ReduceSum": lambda f, x, axes: f.total(x, axes),
    "ReduceMean": mean,
    "ReduceSumSquare": _squared,
    "ReduceL1": lambda f, x, axes: f.total(_absolute(f, x), axes),
    "ReduceL2": lambda f, x, axes: functions.sqrt(f, _squared(f, x, axes)),
    "ReduceLogSum": lambda f, x, axes: _log(f, f.total(x, axes)),
    "ReduceLogSumExp": lambda f, x, axes: _log(f, f.total(functions.exp(f, x), axes)),
    "ReduceMax": greatest,
    "ReduceMin": lambda f, x, axes: f.neg(greatest(f, f.neg(x), axes)),
    "ReduceProd": lambda f, x, axes: greatest(f, x, axes, "Prod"),
}


def reduction(at: At) -> Residues:
    """Reduce along axes."""
    x, axes = at.res(0), at.axes(1)
    rank = x.ndim - 1
    if not axes and at.attr(_EMPTY_IS_ALL, 0):
        raise OpaqueError
    over = sorted({axis % rank for axis in axes}) if axes else list(range(rank))
    if at.operand(0).atoms and at.op.name not in ("ReduceMax", "ReduceMin"):
        raise OpaqueError
    how = REDUCTIONS[at.op.name]
    out = _by_steps(at, lambda x: how(at.field, x, over)) if at.op.name in _CHOICES else how(at.field, x, over)
    return out if at.attr("keepdims", 1) else out.squeeze(tuple(axis + 1 for axis in over))


_CHOICES = ("ReduceMax", "ReduceMin")


def _by_steps(at: At, how: Callable[[Residues], Residues]) -> Residues:
    """Choose among values that are integers times a scale as among the integers."""
    found, x = stepped(at.operand(0)), at.res(0)
    return how(x) if found is None else found.real(at, how(found.integers(at, x)))


def global_pool(at: At) -> Residues:
    """Reduce all spatial axes."""
    axes = range(2, len(at.dims(0)))
    if at.op.name == "GlobalAveragePool":
        return mean(at.field, at.res(0), axes)
    return _by_steps(at, lambda x: greatest(at.field, x, axes))


def max_pool(at: At) -> Residues:
    """The greatest of each window; padding is left out."""
    if at.term.index or at.attr("storage_order", 0):
        raise OpaqueError
    plan = geometry(at, at.attr("kernel_shape", []))
    if prod(plan.kernel) == 1 and not any(map(sum, plan.pads)):
        return windows(at.res(0), plan)[..., 0].reshape(at.field.lanes, *at.shape)

    def highest(x: Residues) -> Residues:
        seen = windows(at.field.mix(x, tag("Max")), plan)
        total = at.field.reduced(seen.sum(axis=-1))
        return at.field.mix(total, tag("Max", "of")).reshape(at.field.lanes, *at.shape)

    return _by_steps(at, highest)


def average_pool(at: At) -> Residues:
    """The mean of each window, with padding counted where the attribute says so."""
    return averages(at, at.res(0))


def averages(at: At, x: Residues) -> Residues:
    """Return the means of the windows that a pool cuts, here from x."""
    field, plan = at.field, geometry(at, at.attr("kernel_shape", []))
    if plan.partial or at.attr("channels_last", 0):
        raise OpaqueError
    seen = windows(x, plan)
    total = field.reduced(seen.sum(axis=-1))
    counts = _counts(at, plan)
    return field.mul(total, field.inverse(field.of(counts))).reshape(field.lanes, *at.shape)


def _counts(at: At, plan: Geometry) -> Array:
    if at.attr("count_include_pad", 0) or not any(map(sum, plan.pads)):
        return np.full((1, 1, *at.shape[2:]), prod(plan.kernel), np.int64)
    ones = np.ones((1, 1, 1, *at.dims(0)[2:]), np.int32)
    found = windows(ones, plan).sum(axis=-1)
    return np.asarray(found[0])


def softmax(at: At) -> Residues:
    """Softmax: E(x) over the sum of E(x); before opset 13 the group is everything from the axis on."""
    field, x = at.field, at.res(0)
    if at.operand(0).atoms and at.op.name != "Softmax":
        raise OpaqueError
    newer = at.op.version >= 13
    exps, total = exps_and_total(field, x, at.attr("axis", -1 if newer else 1), newer)
    if at.op.name == "LogSoftmax":
        return field.sub(x, _log(field, total))
    return field.mul(exps, field.inverse(total))


def exps_and_total(field: Field, x: Residues, axis: int, newer: bool) -> tuple[Residues, Residues]:
    """Return E(x) and the sums of E(x) over each group: one axis, or before opset 13 everything from it on."""
    rank = x.ndim - 1
    axis %= max(rank, 1)
    exps = functions.exp(field, x)
    return exps, field.total(exps, [axis] if newer else range(axis, rank))


def sequential(at: At) -> Residues:
    """ArgMax, ArgMin and Hardmax break ties by position: a hash of the sequence along the axis."""
    field, x = at.field, at.res(0)
    rank = x.ndim - 1
    if at.op.name == "Hardmax":
        axis = at.attr("axis", -1 if at.op.version >= 13 else 1) % rank
        lines = x.reshape(*x.shape[: axis + 1], -1) if at.op.version < 13 else np.moveaxis(x, axis + 1, -1)
        width = lines.shape[-1]
        hashes = field.mix(field.sequence(lines), tag("Hardmax"))
        out = field.mix(field.add(hashes[..., None], field.uniform("place", (width,)).reshape(
            field.lanes, *[1] * (lines.ndim - 2), width)), tag("hot"))  # fmt: skip
        return out.reshape(x.shape) if at.op.version < 13 else np.moveaxis(out, -1, axis + 1)
    axis = at.attr("axis", 0) % rank
    lines = np.moveaxis(x, axis + 1, -1)
    out = field.mix(field.sequence(lines), tag(at.op.name, at.attr("select_last_index", 0)))
    return np.expand_dims(out, axis + 1) if at.attr("keepdims", 1) else out


def batch_norm(at: At) -> Residues:
    """(x - mean) * scale / S(variance + epsilon) + bias, along axis 1."""
    if at.attr("training_mode", 0) or not at.attr("spatial", 1) or at.term.index or len(at.term.inputs) < 5:
        raise OpaqueError
    field, x = at.field, at.res(0)
    if at.evaluator.rounds(at.term) and all(at.operand(i).value is not None for i in range(1, 5)):
        slope, shift = _rounded_norm(at)
    else:
        scale, bias, average, variance = (at.res(i) for i in range(1, 5))
        slope = field.mul(scale, field.inverse(functions.sqrt(field, _plus_epsilon(at, variance, 1e-5))))
        shift = field.sub(bias, field.mul(average, slope))
    along = (field.lanes, -1, *[1] * (x.ndim - 3))
    return field.add(field.mul(x, slope.reshape(along)), shift.reshape(along))


def _rounded_norm(at: At) -> tuple[Residues, Residues]:
    """The slope and the shift in float64, each rounded once to the type of the scale."""
    dtype = at.numbers(1).dtype
    scale, bias, average, variance = (at.numbers(i).astype(np.float64) for i in range(1, 5))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        wide = scale / np.sqrt(variance + at.attr("epsilon", 1e-5))
        return at.field.of(wide.astype(dtype)), at.field.of((bias - average * wide).astype(dtype))


def _plus_epsilon(at: At, x: Residues, default: float) -> Residues:
    return at.field.add(x, at.field.number(at.attr("epsilon", default)))


def _normalized(at: At, x: Residues, axes: Sequence[int], centred: bool = True, epsilon: float = 1e-5) -> Residues:
    """(x - mean) / S(mean square + epsilon)."""
    field = at.field
    if centred:
        x = field.sub(x, mean(field, x, axes))
    variance = mean(field, field.mul(x, x), axes)
    return field.mul(x, field.inverse(functions.sqrt(field, _plus_epsilon(at, variance, epsilon))))


def layer_norm(at: At) -> Residues:
    """LayerNormalization and RMSNormalization, from an axis on."""
    if at.term.index:
        raise OpaqueError
    return _scaled_norm(at, at.res(0), 1, 2, "RMS" not in at.op.name and "Simplified" not in at.op.name)


def skip_layer_norm(at: At) -> Residues:
    """The same of a sum of two operands and a bias; the fourth result is that sum."""
    field, simple = at.field, "Simplified" in at.op.name
    bias = 3 if simple else 4
    x = field.add(at.res(0), at.res(1))
    if at.has(bias):
        x = field.add(x, at.res(bias))
    if at.term.index:
        if at.term.index != 3:
            raise OpaqueError
        return x
    return _scaled_norm(at, x, 2, bias if simple else 3, not simple, has_bias=not simple)


def _scaled_norm(at: At, x: Residues, scale: int, bias: int, centred: bool, has_bias: bool = True) -> Residues:
    rank = x.ndim - 1
    axis = at.attr("axis", -1) % rank
    epsilon = SKIP_EPSILON if "Skip" in at.op.name else 1e-5
    out = at.field.mul(_normalized(at, x, range(axis, rank), centred, epsilon), at.res(scale))
    return at.field.add(out, at.res(bias)) if has_bias and at.has(bias) else out


def instance_norm(at: At) -> Residues:
    """InstanceNormalization: each channel over its spatial axes."""
    field, x = at.field, at.res(0)
    along = (field.lanes, -1, *[1] * (x.ndim - 3))
    out = _normalized(at, x, range(2, x.ndim - 1))
    return field.add(field.mul(out, at.res(1).reshape(along)), at.res(2).reshape(along))


def group_norm(at: At) -> Residues:
    """GroupNormalization: each group of channels with its spatial axes; opset 18 has parameters for each group."""
    field, x = at.field, at.res(0)
    groups = at.attr("num_groups", 1)
    split = x.reshape(len(x), x.shape[1], groups, -1)
    out = _normalized(at, split, [2])
    along = (field.lanes, -1, *[1] * (x.ndim - 3))
    if at.op.version < 21:
        scale, bias = (at.res(i).reshape(field.lanes, 1, groups, 1) for i in (1, 2))
        return field.add(field.mul(out, scale), bias).reshape(x.shape)
    return field.add(field.mul(out.reshape(x.shape), at.res(1).reshape(along)), at.res(2).reshape(along))


def lp_norm(at: At) -> Residues:
    """LpNormalization along one axis."""
    field, x = at.field, at.res(0)
    axis = at.attr("axis", -1) % (x.ndim - 1)
    how = "ReduceL1" if at.attr("p", 2) == 1 else "ReduceL2"
    return field.mul(x, field.inverse(REDUCTIONS[how](field, x, [axis])))


def running_sum(at: At) -> Residues:
    """CumSum along a known axis."""
    x = at.res(0)
    axis = int(at.numbers(1).reshape(-1)[0]) % (x.ndim - 1) + 1
    if at.attr("exclusive", 0):
        raise OpaqueError
    x = np.flip(x, axis) if at.attr("reverse", 0) else x
    out = at.field.reduced(np.cumsum(x, axis=axis, dtype=np.int64))
    return np.flip(out, axis) if at.attr("reverse", 0) else out


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    **dict.fromkeys(("Hardmax", "ArgMax", "ArgMin"), sequential),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), layer_norm),
    **dict.fromkeys(
        ("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"), skip_layer_norm
    ),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LpNormalization": lp_norm,
    "CumSum": running_sum,
}
"""One rule for each operator."""
