"""Operators on groups of elements: reductions, softmaxes, norms, pooling, and those that depend on an order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import TensorProto

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule, needs_plain
from fc2conv.verification.exact.field import Field, Residues, tag
from fc2conv.verification.exact.linear import along
from fc2conv.verification.exact.maps import geometry, windows
from fc2conv.verification.exact.pointwise import applied, exp, salt
from fc2conv.verification.exact.quantized import stepped
from fc2conv.verification.nodes import BLOCKED


def mean(field: Field, x: Residues, axes: Sequence[int]) -> Residues:
    """Return the means along axes, which keep size 1."""
    count = prod(x.shape[axis + 1] for axis in axes)
    return field.mul(field.total(x, axes), field.inverse(field.of(np.asarray(count))))


def greatest(name: str) -> Callable[[Field, Residues, Sequence[int]], Residues]:
    """Make the rule of a maximum and its like: a hash of the sum of hashes; of one element the element itself."""

    def rule(field: Field, x: Residues, axes: Sequence[int]) -> Residues:
        if prod(x.shape[axis + 1] for axis in axes) == 1:
            return x
        return field.mix(field.total(field.mix(x, tag(name)), axes), tag(name, "of"))

    return rule


REDUCTIONS: dict[str, Callable[[Field, Residues, Sequence[int]], Residues]] = {
    "ReduceSum": lambda f, x, axes: f.total(x, axes),
    "ReduceMean": mean,
    "ReduceMax": greatest("Max"),
    "ReduceMin": lambda f, x, axes: f.neg(greatest("Max")(f, f.neg(x), axes)),
    "ReduceProd": greatest("Prod"),
}
_CHOICES = ("ReduceMax", "ReduceMin")
_OF_INTEGERS = (*_CHOICES, "ReduceSum", "ReduceProd")


def reduction(at: At) -> Residues:
    x, axes = at.res(0), at.axes(1)
    rank = x.ndim - 1
    if not axes and at.attr("noop_with_empty_axes", 0):
        return x
    over = sorted({axis % rank for axis in axes}) if axes else list(range(rank))
    if at.term.integer and at.op.name not in _OF_INTEGERS:
        raise OpaqueError  # it is rounded
    if at.op.name not in _CHOICES:
        needs_plain(at, (0,))
    how = greatest("Min") if _turned(at) else REDUCTIONS[at.op.name]
    out = _by_steps(at, lambda x: how(at.field, x, over)) if at.op.name in _CHOICES else how(at.field, x, over)
    return out if at.attr("keepdims", 1) else out.squeeze(tuple(axis + 1 for axis in over))


def _turned(at: At) -> bool:
    """Return whether the least of integers is chosen: for floats it is -max(-x), but -x of integers may wrap around."""
    return at.operand(0).integer and (at.op.name in ("ReduceMin", "ArgMin") or not at.attr("largest", 1))


def _by_steps(at: At, how: Callable[[Residues], Residues]) -> Residues:
    """Choose among values that are integers times a scale by choosing among the integers."""
    found, x = stepped(at.operand(0)), at.res(0)
    return how(x) if found is None else found.real(at, how(found.integers(at, x)))


def max_pool(at: At) -> Residues:
    """Choose the greatest element of each window; padding is left out."""
    if at.term.index or at.attr("storage_order", 0):
        raise OpaqueError
    plan = geometry(at, at.attr("kernel_shape", []))
    if prod(plan.kernel) == 1 and not any(map(sum, plan.pads)):
        return windows(at.res(0), plan)[..., 0].reshape(at.field.lanes, *at.shape)

    def highest(x: Residues) -> Residues:
        total = at.field.reduced(windows(at.field.mix(x, tag("Max")), plan).sum(axis=-1))
        return at.field.mix(total, tag("Max", "of")).reshape(at.field.lanes, *at.shape)

    return _by_steps(at, highest)


def average_pool(at: At) -> Residues:
    """Compute the mean of each window; padding counts where the attribute says so, cells beyond it never do."""
    field, plan = at.field, geometry(at, at.attr("kernel_shape", []))
    ones, behind = np.ones((1, 1, 1, *at.dims(0)[2:]), np.int32), plan
    if at.attr("count_include_pad", 0):
        widths = [(low, high - over) for (low, high), over in zip(plan.pads, plan.over, strict=True)]
        ones = np.pad(ones, [(0, 0)] * 3 + widths, constant_values=1)
        behind = replace(plan, pads=tuple((0, over) for over in plan.over))
    counts = np.asarray(windows(ones, behind).sum(axis=-1)[0])
    total = field.reduced(windows(at.res(0), plan).sum(axis=-1))
    return field.mul(total, field.inverse(field.of(counts))).reshape(field.lanes, *at.shape)


def softmax(at: At) -> Residues:
    """Compute a Softmax, E(x) over the sum of E(x), or its logarithm; with laws x is x less its mean.

    Before opset 13 the group is everything from the axis on.
    """
    field, x = at.field, at.res(0)
    newer, rank = at.op.version >= 13, x.ndim - 1
    axis = at.attr("axis", -1 if newer else 1) % max(rank, 1)
    over = [axis] if newer else range(axis, rank)
    x = field.sub(x, mean(field, x, over)) if at.evaluator.laws else x
    exps = exp(at, x)
    total = field.total(exps, over)
    if at.op.name == "Softmax":
        return field.mul(exps, field.inverse(total))
    needs_plain(at, (0,))
    return field.sub(x, applied(field, "Log", total))


def sequential(at: At) -> Residues:
    """Hash the sequence along the axis for ArgMax, ArgMin and Hardmax, which break ties by position."""
    field, x = at.field, at.res(0)
    older = at.op.name == "Hardmax" and at.op.version < 13
    axis = at.attr("axis", {"Hardmax": 1 if older else -1}.get(at.op.name, 0)) % (x.ndim - 1) + 1
    lines = x.reshape(*x.shape[:axis], -1) if older else np.moveaxis(x, axis, -1)
    out = field.sequence(field.neg(lines) if at.op.name == "ArgMin" and not _turned(at) else lines)
    if at.op.name == "Hardmax":
        hot = _places(field, out, tag("hot"), lines.shape[-1])
        return hot.reshape(x.shape) if older else np.moveaxis(hot, -1, axis)
    out = field.mix(out, tag("ArgMin" if _turned(at) else "ArgMax", at.attr("select_last_index", 0)))
    return np.expand_dims(out, axis) if at.attr("keepdims", 1) else out


def _places(field: Field, whole: Residues, salt: int, count: int) -> Residues:
    """Hash each line as a whole with each of `count` places: [lanes, .., places]."""
    return field.mix(whole[..., None], salt, field.uniform("place", (count,)))


def blocked(at: At) -> Residues:
    """Apply an uninterpreted function of each place in a line along one dimension, and of the whole line."""
    field, x = at.field, at.res(0)
    named = salt(at.op.name, {name: value for name, value in at.op.attributes.items() if name != "axis"})
    if x.size == field.lanes:
        return field.mix(x, named)  # one element, whatever the axis
    rank = x.ndim - 1
    axis = (at.attr("axis", 1) % rank if rank > 1 else 0) + 1
    lines = np.moveaxis(x, axis, -1)
    return np.moveaxis(_places(field, field.sequence(lines), named, lines.shape[-1]), -1, axis)


def top(at: At) -> Residues:
    """Hash lines for TopK: sorted values do not depend on the order of elements; indices break ties by position."""
    field, count = at.field, at.attr("k", 0) or int(at.numbers(1).reshape(-1)[0])
    axis = at.attr("axis", -1) % len(at.dims(0)) + 1
    lines, ordered = np.moveaxis(at.res(0), axis, -1), at.term.index == 0 and at.attr("sorted", 1)
    if count == 1 and not _turned(at):  # a maximum, or its place
        lines = lines if at.attr("largest", 1) else field.neg(lines)
        if at.term.index:
            return np.expand_dims(field.mix(field.sequence(lines), tag("ArgMax", 0)), axis)
        most = np.moveaxis(greatest("Max")(field, lines, [lines.ndim - 2]), -1, axis)
        return most if at.attr("largest", 1) else field.neg(most)
    whole = field.total(field.mix(lines, tag("Max")), [lines.ndim - 2], False) if ordered else field.sequence(lines)
    many = 0 if at.attr("sorted", 1) else count  # an order of no meaning is another for each count
    named = tag("TopK", at.term.index, at.attr("largest", 1), at.attr("sorted", 1), many)
    return np.moveaxis(_places(field, whole, named, count), -1, axis)


# ------------------------------------------------------------------ norms


def batch_norm(at: At) -> Residues:
    """Compute (x - mean) * scale / S(variance + epsilon) + bias, along axis 1."""
    if (
        at.attr("training_mode", int(at.op.version < 7 and not at.attr("is_test", 0)))
        or not at.attr("spatial", 1)
        or at.term.index
        or len(at.term.inputs) < 5
    ):
        raise OpaqueError
    field, x = at.field, at.res(0)
    if at.evaluator.rounds(at.term) and all(at.operand(i).value is not None for i in range(1, 5)):
        slope, shift = _rounded_norm(at)
    else:
        scale, bias, average, variance = (at.res(i) for i in range(1, 5))
        slope = field.mul(scale, field.inverse(applied(field, "Sqrt", field.add(variance, _epsilon(at)))))
        shift = field.sub(bias, field.mul(average, slope))
    return field.add(field.mul(x, along(slope, 1, x.ndim - 1)), along(shift, 1, x.ndim - 1))


def _rounded_norm(at: At) -> tuple[Residues, Residues]:
    """Compute the slope and the shift in float64, each rounded once to the type of the scale."""
    dtype = at.numbers(1).dtype
    scale, bias, average, variance = (at.numbers(i).astype(np.float64) for i in range(1, 5))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        wide = scale / np.sqrt(variance + at.attr("epsilon", 1e-5))
        return at.field.of(wide.astype(dtype)), at.field.of((bias - average * wide).astype(dtype))


def _epsilon(at: At) -> Residues:
    return at.field.number(at.attr("epsilon", 1e-5))


def _normalized(at: At, x: Residues, axes: Sequence[int], centred: bool = True) -> Residues:
    """Compute (x - mean) / S(mean square + epsilon)."""
    field = at.field
    if centred:
        x = field.sub(x, mean(field, x, axes))
    variance = mean(field, field.mul(x, x), axes)
    return field.mul(x, field.inverse(applied(field, "Sqrt", field.add(variance, _epsilon(at)))))


_NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def layer_norm(at: At) -> Residues:
    """Compute LayerNormalization or RMSNormalization from an axis on; a 16-bit type is rounded to before scaling."""
    if at.term.index:
        raise OpaqueError
    x, centred = at.res(0), at.op.name == "LayerNormalization"
    rank = x.ndim - 1
    out, kind = _normalized(at, x, range(at.attr("axis", -1) % rank, rank), centred), at.term.kind
    if kind in _NARROW:
        out = at.field.mix(out, tag("Cast", kind))
    out = at.field.mul(out, at.res(1))
    return at.field.add(out, at.res(2)) if at.has(2) else out


def instance_norm(at: At) -> Residues:
    """Compute InstanceNormalization: norm each channel over its spatial axes."""
    field, x = at.field, at.res(0)
    rank = x.ndim - 1
    out = _normalized(at, x, range(2, rank))
    return field.add(field.mul(out, along(at.res(1), 1, rank)), along(at.res(2), 1, rank))


def group_norm(at: At) -> Residues:
    """Compute GroupNormalization over groups of channels and spatial axes; opset 18 has parameters for each group."""
    field, x, groups = at.field, at.res(0), at.attr("num_groups", 1)
    each = groups if at.op.version < 21 else x.shape[2]
    out = _normalized(at, x.reshape(len(x), x.shape[1], groups, -1), [2])
    out = out.reshape(len(x), x.shape[1], each, -1)
    return field.add(field.mul(out, along(at.res(1), 1, 3)), along(at.res(2), 1, 3)).reshape(x.shape)


# ------------------------------------------------------------------ sequences


def running_sum(at: At) -> Residues:
    """Compute CumSum along a known axis."""
    x = at.res(0)
    axis = int(at.numbers(1).reshape(-1)[0]) % (x.ndim - 1) + 1
    x = np.flip(x, axis) if at.attr("reverse", 0) else x
    out = at.field.reduced(np.cumsum(x, axis=axis, dtype=np.int64))
    out = at.field.sub(out, x) if at.attr("exclusive", 0) else out
    return np.flip(out, axis) if at.attr("reverse", 0) else out


_LENGTHS = 4
_ACTIVATIONS = {"LSTM": [b"Sigmoid", b"Tanh", b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"]}
"""The functions of each direction, where the node names no functions."""


def recurrent(at: At) -> Residues:
    """Hash the whole of an LSTM, GRU or RNN; absent biases and states are 0, absent lengths are full."""
    needs_plain(at, range(len(at.term.inputs)))
    absent = [i for i in range(len(at.term.inputs)) if at.has(i) and _absent(at, i)]
    given, usual = dict(at.op.attributes), _ACTIVATIONS.get(at.op.name, [b""])
    named = given.get("activations", [])
    if named == usual * (len(named) // len(usual)):
        given.pop("activations", None)
    return at.evaluator.hashed(at.term, salt(at.op.name, given), absent)


def _absent(at: At, index: int) -> bool:
    """Return whether an operand is what an absent one means."""
    if index == _LENGTHS:
        lengths = at.operand(index).value
        steps = at.dims(0)[1 if at.attr("layout", 0) else 0]
        return lengths is not None and bool(np.all(lengths == steps))
    return index > _LENGTHS - 2 and not at.res(index).any()


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    **dict.fromkeys(("Hardmax", "ArgMax", "ArgMin"), sequential),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), layer_norm),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "TopK": top,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "CumSum": running_sum,
    **dict.fromkeys(BLOCKED, blocked),
}
