"""What each op does to the ids of its inputs, one small family per section.

A rule is found by op type; it answers with the inputs that matter and how their ids make those of output 0 (or of
all outputs, for Split). An op without a rule is opaque: its result is an anchor, named by the op and its inputs.
Nothing here knows what a conversion does; the meaning of the ops is the ONNX specification's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fc2conv.proof import ids as h
from fc2conv.proof import integers
from fc2conv.proof.ids import Ids
from fc2conv.proof.nodes import Call, evaluate
from fc2conv.proof.values import Modelled, Rule, UnmodelledError, fitting

Model = Callable[[Call], list[Modelled]]


# Layout: ops that only move elements. onnx's reference evaluator moves ids as it moves numbers.

DATA_INPUTS: dict[str, int] = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split"), 1),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"), 1),
    "Identity": 1,
    "Concat": 1 << 30,
}
"""How many inputs, from the first, are moved; the others say whereto, and must be constants."""


def layout(call: Call) -> list[Modelled]:
    """Output ids are input ids, moved."""
    moved = min(DATA_INPUTS[call.node.op_type], len(call.inputs))
    parts = tuple(call.data(i) for i in range(moved))
    others = [call.constant(i) for i in range(moved, len(call.inputs))]

    def rule(index: int) -> Rule:
        return lambda ids: evaluate(call.node, call.opset, [*ids, *others])[index].astype(np.uint64)

    return [Modelled(parts, rule(i), moved=True) for i in range(len(call.node.output))]


def pad(call: Call) -> list[Modelled]:
    """Pad moves, and fills with one constant (0 where none is given), which is given an id as well."""
    if call.opset < 11:
        raise UnmodelledError(f"{call.label} (Pad before opset 11)")
    fill = call.constant(2)
    filler = h.constants(np.zeros(()) if fill is None else fill.reshape(()))
    others = [call.constant(1), filler, call.constant(3)][: 3 if len(call.inputs) > 3 else 2]
    return [Modelled((call.data(0),), lambda ids: evaluate(call.node, call.opset, [ids[0], *others])[0])]


def unmoved(call: Call) -> list[Modelled]:
    """The first input as it is: Dropout where it does nothing."""
    if call.opset < 7 and not call.attributes.get("is_test", 0):
        raise UnmodelledError(f"{call.label} (training mode)")
    training = call.constant(2)
    if training is not None and bool(training):
        raise UnmodelledError(f"{call.label} (training mode)")
    return [Modelled((call.data(0),), lambda ids: ids[0], moved=True)]


# Pointwise: an output element is a function of the input elements that broadcasting puts at its place.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


POINTWISE = _words(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitShift BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Elu Erf Exp "
    "Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Mish Mod Neg "
    "Not PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh "
    "ThresholdedRelu Where Sub Div QuickGelu"
)
COMMUTATIVE = _words("Add Mul Sum Max Min Mean And Or Xor Equal BitwiseAnd BitwiseOr BitwiseXor")
_NEUTRAL = {"Add": h.FLOAT_ZERO, "Sub": h.FLOAT_ZERO, "Mul": h.FLOAT_ONE, "Div": h.FLOAT_ONE}


def pointwise(call: Call) -> list[Modelled]:
    """`H(op, ids...)`; which optional inputs are absent counts as part of the op."""
    op_type = call.node.op_type
    parts = tuple(value for value in call.inputs if value is not None)
    if op_type in _NEUTRAL and len(parts) == 2:
        return [Modelled(parts, lambda ids: arithmetic(op_type, ids[0], ids[1]))]
    combine = h.unordered if op_type in COMMUTATIVE else h.ordered
    op = call.signature() ^ h.salt(*(value is None for value in call.inputs))
    return [Modelled(parts, lambda ids: combine(op, ids))]


def gelu(call: Call) -> list[Modelled]:
    """onnxruntime's BiasGelu and FastGelu add a bias first: Gelu(x + b), FastGelu(x + b)."""
    if call.node.domain in ("", "ai.onnx"):
        return pointwise(call)
    parts = tuple(value for value in call.inputs if value is not None)
    op = h.salt(call.node.domain, call.node.op_type.removeprefix("Bias"))
    return [Modelled(parts, lambda ids: h.ordered(op, [arithmetic("Add", *ids) if len(ids) == 2 else ids[0]]))]


def arithmetic(op_type: str, one: Ids, other: Ids) -> Ids:
    """The ids of a sum, difference, product or quotient of two; x + 0, x - 0, x * 1 and x / 1 are x."""
    neutral = _NEUTRAL[op_type]
    if op_type not in COMMUTATIVE:
        return np.where(other == neutral, one, h.ordered(h.salt(op_type), [one, other]))
    made = h.unordered(h.salt(op_type), [one, other])
    return np.where(other == neutral, one, np.where(one == neutral, other, made))


def along_axis(ids: Ids, axis: int, rank: int) -> Ids:
    """One-dimensional parameters, broadcast along `axis` of a tensor of `rank`; a scalar stays one."""
    if ids.ndim != 1 or (ids.size == 1 and rank == 0):
        return ids
    return ids.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def per_axis(call: Call) -> list[Modelled]:
    """Ops with one-dimensional parameters along one axis: BatchNormalization, QuantizeLinear and its inverse.

    The axis is no part of the signature: it shows in which parameter meets which element.
    """
    normal = call.node.op_type == "BatchNormalization"
    given = call.attributes
    if given.get("training_mode") or given.get("block_size") or not given.get("spatial", 1):
        raise UnmodelledError(f"{call.label} (training mode, or parameters in blocks)")
    if normal and len(call.inputs) == 5 and all(value is not None and value.is_constant for value in call.inputs[1:]):
        return [_affine_norm(call)]
    axis = 1 if normal else given.get("axis", 1)
    parts = tuple(value for value in call.inputs if value is not None)
    op = call.signature(frozenset({"axis", "spatial", "training_mode", "block_size"}))
    return [Modelled(parts, lambda ids: h.ordered(op, [ids[0], *(along_axis(p, axis, ids[0].ndim) for p in ids[1:])]))]


def _affine_norm(call: Call) -> Modelled:
    """BatchNormalization with constant parameters: x * slope + shift, the two in float64 and rounded once.

    slope = scale / sqrt(variance + epsilon) and shift = bias - mean * slope, along axis 1.
    """
    arrays = [value.array() for value in call.inputs[1:] if value is not None]
    scale, bias, mean, variance = (array.astype(np.float64) for array in arrays)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        wide = scale / np.sqrt(variance + call.attributes.get("epsilon", 1e-5))
        slope, shift = (h.constants(array.astype(arrays[0].dtype)) for array in (wide, bias - mean * wide))

    def rule(ids: Sequence[h.Ids]) -> h.Ids:
        rank = ids[0].ndim
        return arithmetic("Add", arithmetic("Mul", ids[0], along_axis(slope, 1, rank)), along_axis(shift, 1, rank))

    return Modelled((call.data(0),), rule)


# Groups: an output element is a function of its own input and of all elements of its group, or of the group alone.


def _grouped(call: Call, axes: Callable[[int], Sequence[int]], drop: str, scale_axes: Callable[[int], int]) -> Modelled:
    op = call.signature(frozenset(drop.split()))
    parts = tuple(value for value in call.inputs if value is not None)

    def rule(ids: Sequence[Ids]) -> Ids:
        x, rank = ids[0], ids[0].ndim
        made = h.ordered(op, [x, h.spread(x, [a % rank for a in axes(rank)], keepdims=True)])
        scales = [along_axis(p, scale_axes(rank), rank) for p in ids[1:]]
        return h.ordered(op, [made, *scales]) if scales else made

    return Modelled(parts, rule)


def softmax(call: Call) -> list[Modelled]:
    """Softmax and its kin. Before opset 13 the group is everything from `axis` on; after that `axis` alone.

    QLinearSoftmax names that opset itself.
    """
    opset = call.attributes.get("opset", call.opset)
    axis = call.attributes.get("axis", 1 if opset < 13 else -1)

    def axes(rank: int) -> Sequence[int]:
        return [axis] if opset >= 13 else range(axis % rank, rank)

    return [_grouped(call, axes, "axis", lambda _: 0)]


def hardmax(call: Call) -> list[Modelled]:
    """Hardmax: which element of its group is the first of the largest, so that their order counts."""
    old, op = call.opset < 13, call.signature(frozenset({"axis"}))
    axis = call.attributes.get("axis", 1 if old else -1)

    def rule(ids: Sequence[Ids]) -> Ids:
        x = ids[0]
        rows = x.reshape((*x.shape[: axis % x.ndim], -1)) if old else np.moveaxis(x, axis, -1)
        made = h.ordered(op, [h.along(rows)[..., None], np.arange(rows.shape[-1], dtype=np.uint64)])
        return made.reshape(x.shape) if old else np.moveaxis(made, -1, axis)

    return [Modelled((call.data(0),), rule)]


def layer_norm(call: Call) -> list[Modelled]:
    """LayerNormalization and RMSNormalization: the group is everything from `axis` on; scales broadcast from there."""
    axis = call.attributes.get("axis", -1)
    return [_grouped(call, lambda rank: range(axis % rank, rank), "axis", lambda rank: rank - 1)]


def instance_norm(call: Call) -> list[Modelled]:
    """InstanceNormalization: the group is all spatial axes of a channel."""
    return [_grouped(call, lambda rank: range(2, rank), "", lambda _: 1)]


def lp_norm(call: Call) -> list[Modelled]:
    """LpNormalization: the group is one axis."""
    return [_grouped(call, lambda _: [call.attributes.get("axis", -1)], "axis", lambda _: 0)]


def reduction(call: Call) -> list[Modelled]:
    """Reduce* over axes given as attribute or as constant input; over one element it is that element."""
    given = call.constant(1) if len(call.inputs) > 1 else call.attributes.get("axes")
    axes = None if given is None else [int(a) for a in np.ravel(given)]
    if not axes and call.attributes.get("noop_with_empty_axes", 0):
        raise UnmodelledError(f"{call.label} (noop_with_empty_axes)")
    return [_reduced(call, call.node.op_type, axes, bool(call.attributes.get("keepdims", 1)))]


def global_pool(call: Call) -> list[Modelled]:
    """GlobalAveragePool is ReduceMean over the spatial axes with keepdims, and GlobalMaxPool is ReduceMax."""
    op = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[call.node.op_type]
    shape = call.data(0).shape
    if shape is None:
        raise UnmodelledError(f"{call.label} (the shape of its input is not known)")
    return [_reduced(call, op, range(2, len(shape)), True)]


_IDENTITY_ON_ONE = _words("ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd")


def _reduced(call: Call, op: str, axes: Sequence[int] | None, keepdims: bool) -> Modelled:
    def rule(ids: Sequence[Ids]) -> Ids:
        rank = ids[0].ndim
        over = sorted({a % rank for a in axes}) if axes else list(range(rank))
        if op in _IDENTITY_ON_ONE:
            return h.gathered(h.salt(op), ids[0], over, keepdims)
        return h.mix(h.spread(ids[0], over, keepdims) ^ h.salt(op))

    return Modelled((call.data(0),), rule)


def arg_reduction(call: Call) -> list[Modelled]:
    """ArgMax and ArgMin: a function of the sequence along the axis."""
    axis, op = call.attributes.get("axis", 0), call.signature(frozenset({"axis", "keepdims"}))

    def rule(ids: Sequence[Ids]) -> Ids:
        made = h.mix(h.along(np.moveaxis(ids[0], axis, -1)) ^ op)
        return np.expand_dims(made, axis) if call.attributes.get("keepdims", 1) else made

    return [Modelled((call.data(0),), rule)]


MODELS: dict[str, Model] = {
    **dict.fromkeys(DATA_INPUTS, layout),
    **dict.fromkeys(POINTWISE | COMMUTATIVE, pointwise),
    **dict.fromkeys(("BatchNormalization", "QuantizeLinear", "DequantizeLinear"), per_axis),
    **integers.MODELS,
    **dict.fromkeys(("Gelu", "BiasGelu", "FastGelu"), gelu),
    **dict.fromkeys(("Softmax", "LogSoftmax", "QLinearSoftmax"), softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), layer_norm),
    **dict.fromkeys(_IDENTITY_ON_ONE, reduction),
    **dict.fromkeys(_words("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare"), reduction),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduction),
    "Hardmax": hardmax,
    "InstanceNormalization": instance_norm,
    "LpNormalization": lp_norm,
    "Pad": pad,
    "Dropout": unmoved,
}
"""Every op with a rule."""


def model(call: Call) -> list[Modelled]:
    """The rules for a node's outputs, fewer than its outputs where the rest is opaque; none for an opaque node."""
    known = MODELS.get(call.node.op_type) if call.node.domain in ("", "ai.onnx", "com.microsoft") else None
    try:
        with fitting(call.label):
            return [] if known is None else known(call)
    except UnmodelledError:
        return []
