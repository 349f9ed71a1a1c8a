"""Nodes that keep the shape of what they read and need whole dimensions of it: norms, scans, scatters.

A norm over the channels, (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * scale + bias:

    tokens [N, L, C] -> norm           on spatial forms: [N, C, H, W] -> Transpose -> norm -> Transpose
                                       or:       [N, C, H, W] -> ReduceMean(1), Sub, Mul, ReduceMean(1), ..., Mul, Add
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto

from fc2conv.analysis.context import Context, Inferred, dimension_of, handles, same_operator
from fc2conv.analysis.elementwise import combined, operand, relaid
from fc2conv.analysis.facts import AsIs, Expand, FormOf, Operand, Relaid, Remap, Step
from fc2conv.analysis.reductions import channel_mean
from fc2conv.ir.element_types import element_type
from fc2conv.ir.graph import float_attribute, int_attribute, op
from fc2conv.layout.axes import Kind, Layout, kind_of, same_axes, size_of
from fc2conv.layout.view import View

NORM_EPSILON, SKIP_EPSILON = 1e-5, 1e-12
"""What is added to the variance where the node has no attribute for it."""

_NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, *_NARROW)

SHAPE_KEEPING = (
    "MeanVarianceNormalization RotaryEmbedding TensorScatter "
    "com.microsoft::BiasSoftmax com.microsoft::BiasAdd com.microsoft::GroupNorm com.microsoft::RotaryEmbedding "
    "com.microsoft::Trilu ai.onnx.ml::Scaler ai.onnx.ml::Normalizer ai.onnx.ml::Imputer ai.onnx.ml::Binarizer "
    "EyeLike Trilu RandomNormalLike RandomUniformLike Bernoulli ReverseSequence"
).split()


NORMS = (
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization "
    "com.microsoft::LayerNormalization com.microsoft::SimplifiedLayerNormalization"
).split()


@handles(*NORMS)
def _norm(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out a norm of the last dimension, which asks nothing of the others; channels are put last for it."""
    if (whole := _of_whole_map(ctx, node)) is not None:
        return whole
    found, view = _shape_keeping(ctx, node), ctx.data(node)
    if not _of_last(node, view):
        return found
    if view.spatial_form is None:
        wanted = ctx.requested.get(node.output[0])
        if wanted is not None and len(wanted) > 1 and wanted[1] == view.dims[-1] and same_axes(wanted, view.dims):
            ctx.requests.setdefault(view.origin, wanted)
        return found
    mapped = replace(found.first, spatial_form=view.spatial_form)
    rest = tuple(AsIs(name) for name in node.input[1:])
    if view.spatial_form[-1] == view.dims[-1]:
        return Inferred((mapped, *found.views[1:]), Remap((FormOf(node.input[0]), *rest), {"axis": -1}))
    if view.spatial_form[1] != view.dims[-1]:
        return found
    scale, bias = node.input[1], node.input[2] if len(node.input) > 2 else ""
    steps = _reductions(ctx, node, mapped, FormOf(node.input[0]), scale, bias) if ctx.norms else ()
    if steps:
        return Inferred((mapped, *found.views[1:]), Expand(steps, norm=True))
    if not any(view.spatial_form[2:]):
        return found  # of one cell the original costs no more
    last: Layout = (view.spatial_form[0], *view.spatial_form[2:], view.spatial_form[1])
    operands: tuple[Operand, ...] = (FormOf(node.input[0], (view.spatial_form, last)), *rest)
    return Inferred((mapped, *found.views[1:]), Remap(operands, {"axis": -1}, (last, view.spatial_form)))


def _of_whole_map(ctx: Context, node: NodeProto) -> Inferred | None:
    """Run a norm over all elements of an item of a map on the spatial form; only the factors depend on their order."""
    view = ctx.data(node)
    if view.spatial_form is None or not any(view.spatial_form[2:]) or len(node.output) > 1:
        return None
    axis = dimension_of(node, len(view.dims), -1)
    if view.dims[:axis] != view.spatial_form[:1] or not same_axes(view.dims[axis:], view.spatial_form[1:]):
        return None
    operands: list[Operand] = [FormOf(node.input[0])]
    for name in node.input[1:]:
        found = operand(ctx, name, view) if ctx.constants.is_constant(name) else None
        if not isinstance(found, Relaid):
            return None
        operands.append(replace(found, target=found.target[1:]))  # of an item
    return Inferred((replace(view, origin=node.output[0]),), Remap(tuple(operands), {"axis": 1}))


def _of_last(node: NodeProto, view: View) -> bool:
    """Return whether a norm is one of the last dimension, and has no further result."""
    return len([*filter(None, node.output)]) == 1 and dimension_of(node, len(view.dims), -1) == len(view.dims) - 1


def of_channels(node: NodeProto, view: View | None) -> bool:
    """Return whether a node is a norm of the channels of a map in this view, which reductions could compute there."""
    form = None if view is None or op(node) not in NORMS or not _of_last(node, view) else view.spatial_form
    return form is not None and view is not None and form[1] == view.dims[-1]


def _reductions(
    ctx: Context, node: NodeProto, result: View, x: Operand | int, scale: str, bias: str, before: tuple[Step, ...] = ()
) -> tuple[Step, ...]:
    """Compute a norm over the channels of a map by reductions over axis 1, after the steps `before`; () if impossible.

    Numbers of fewer bits than float32 are normalized in float32, and scaled in their own type, as the operator has it.
    """
    numbers = [name for name in (scale, bias) if name]
    kinds = {None if (stored := ctx.constants.stored(name)) is None else stored.type for name in numbers}
    kind = kinds.pop()
    if (
        kinds
        or kind not in _FLOATS
        or (node.op_type == "SimplifiedLayerNormalization" and element_type(ctx.graph, node.input[0]) != kind)
    ):
        return ()
    narrow = kind in _NARROW
    default = SKIP_EPSILON if "Skip" in node.op_type else NORM_EPSILON
    least = np.array(float_attribute(node, "epsilon", default), np.float32)
    least = least.astype(np.float64) if kind == TensorProto.DOUBLE else least
    epsilon, *factors = relaid(least, least.shape, result), *(operand(ctx, name, result) for name in numbers)
    if epsilon is None or any(each is None for each in factors):
        return ()
    steps = list(before)

    def then(step: Step) -> int:
        steps.append(step)
        return len(steps) - 1

    def add(op_type: str, *operands: Operand | int, **attributes: object) -> int:
        return then(Step(op_type, operands, attributes))

    x = add("Cast", x, to=TensorProto.FLOAT) if narrow else x
    centred = "RMS" not in node.op_type and "Simplified" not in node.op_type
    around = add("Sub", x, then(channel_mean(ctx, x))) if centred else x
    spread = add("Sqrt", add("Add", then(channel_mean(ctx, add("Mul", around, around))), epsilon))
    out = add("Div", around, spread)
    out = add("Cast", out, to=kind) if narrow else out
    for op_type, factor in zip(("Mul", "Add"), factors, strict=False):
        assert factor is not None
        out = add(op_type, out, factor)
    return tuple(steps)


@handles(*SHAPE_KEEPING)
def _shape_keeping(ctx: Context, node: NodeProto) -> Inferred:
    """Lay out the first result like the first operand; the node needs the original layout."""
    inferred = ctx.opaque(node, ctx.data(node).dims)
    return Inferred((*inferred.views, *ctx.lost(node).views[1:]))


@handles("ScatterElements", "ScatterND")
def _scattered(ctx: Context, node: NodeProto) -> Inferred:
    """Lay out the dimensions that are scattered into: they are cells where the updates have as many cells."""
    view, scattered = ctx.data(node), ctx.view(node.input[2])
    rank = len(view.dims)
    if scattered is None or not rank or len(scattered.dims) < rank:
        return ctx.opaque(node, view.dims)
    pairs = zip(view.dims, scattered.dims[-rank:], strict=True)
    dims = (
        tuple(axis._replace(kind=Kind.SPACE) for axis in dim)
        if kind_of(other) is Kind.SPACE and size_of(dim) == size_of(other)
        else dim
        for dim, other in pairs
    )
    return ctx.opaque(node, tuple(dims))


@handles("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
def _skipping(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out a norm of a sum; the fourth result is the sum itself."""
    found = _shape_keeping(ctx, node)
    views = tuple(found.views[0] if i == 3 else view for i, view in enumerate(found.views))
    return (_skipping_on_map(ctx, node, views) if ctx.norms else None) or Inferred(views)


def _skipping_on_map(ctx: Context, node: NodeProto, views: tuple[View | None, ...]) -> Inferred | None:
    """Compute the sum and its norm on the map; return None without a map, or where another result is read."""
    simple = "Simplified" in node.op_type
    given = [*node.input, "", "", ""]
    scale, rest = given[2], given[3:5]
    bias, added = ("", rest[0]) if simple else (rest[0], rest[1])
    whole = combined(ctx, node, [name for name in (*node.input[:2], added) if name])
    if whole is None or whole.views[0] is None or any(node.output[1:3]) or views[0] is None:
        return None
    result = replace(views[0], spatial_form=whole.views[0].spatial_form)
    view = whole.views[0]
    if not isinstance(whole.recipe, Remap) or view.spatial_form is None or view.spatial_form[1] != view.dims[-1]:
        return None
    first, second, *third = whole.recipe.operands
    makes = 3 if len(node.output) > 3 and node.output[3] else None
    sums = [Step("Add", (first, second), makes=None if third else makes)]
    sums += [Step("Add", (-1, each), makes=makes) for each in third]
    steps = _reductions(ctx, node, result, len(sums) - 1, scale, bias, tuple(sums))
    if not steps:
        return None
    return Inferred(tuple(result if i in (0, 3) else each for i, each in enumerate(views)), Expand(steps, norm=True))


@handles("BatchNormalization")
def _batch_normalization(ctx: Context, node: NodeProto) -> Inferred | None:
    """Compute (x - mean) * scale / sqrt(variance + epsilon) + bias, with one value of each per index of dimension 1."""
    view = ctx.data(node)
    if len(view.dims) < 2:
        return None
    training = int_attribute(node, "training_mode", 0) or (
        ctx.graph.opset < 14 and len([o for o in node.output if o]) > 1
    )
    if training or ctx.graph.opset < 7:
        return ctx.opaque(node, *(view.dims for _ in node.output[:1]))
    if not int_attribute(node, "spatial", 1) and view.spatial_form is not None and not view.free:
        return ctx.opaque(node, view.dims)  # its parameters have all dimensions but the first
    if view.spatial_form is None or view.dims[1] == view.spatial_form[1]:
        return same_operator(node, view, node.input[1:])
    arrays = [ctx.constants.array(name) for name in node.input[1:5]]
    factors = norm_factors(node, arrays, len(view.dims))
    if factors is None:
        return ctx.opaque(node, view.dims)  # some are computed, or they contradict each other
    slopes, shifts = (relaid(factor, factor.shape, view) for factor in factors)
    if slopes is None or shifts is None:
        return ctx.opaque(node, view.dims)
    steps = (Step("Mul", (FormOf(node.input[0]), slopes)), Step("Add", (-1, shifts)))
    return Inferred((view,), Expand(steps))


def norm_factors(node: NodeProto, arrays: Sequence[np.ndarray | None], rank: int) -> list[np.ndarray] | None:
    """Return the factor and the addend of a BatchNormalization, rounded once; None where its parameters do not fit."""
    known = [array for array in arrays if array is not None]
    if len(known) < 4 or len({array.shape for array in known}) > 1:
        return None
    scale, bias, mean, variance = (np.asarray(array, dtype=np.float64) for array in known)
    with np.errstate(all="ignore"):  # a variance below 0 gives the NaN that it gives in the original
        slope = scale / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    shape = (-1, *[1] * (rank - 2))
    return [a.astype(known[0].dtype).reshape(shape) for a in (slope, bias - mean * slope)]
