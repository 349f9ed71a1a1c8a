"""Quantization between a feature map and a layer: the integers move with the elements that they stand for.

A scale or zero point that is one for the whole tensor means the same on the twin; one per index of a dimension moves
with its axis. Sources: ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear; onnxruntime's ContribOperators.
"""

from __future__ import annotations

from onnx import NodeProto

from fc2conv.graph import int_attribute, op
from fc2conv.layout.context import Context, Inferred, handles, position
from fc2conv.layout.elementwise import combined
from fc2conv.layout.facts import AsIs, OfTwin, Runs
from fc2conv.view import Trail, View


@handles("QuantizeLinear", "DequantizeLinear", "com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear")
def _linear(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    if view is None:
        return None
    if view.twin is None:
        return Inferred((view,))
    rest = tuple(AsIs(name) for name in node.input[1:])
    recipe = Runs((OfTwin(node.input[0]), *rest))
    scale = ctx.shape(node.input[1])
    if scale is not None and all(size.known and size.coefficient == 1 for size in scale):
        return Inferred((view,), recipe)
    rank, axis = len(view.dims), int_attribute(node, "axis", 1)
    at = position(view, axis) if -rank <= axis < rank and scale is not None and len(scale) == 1 else None
    if at is None:
        return ctx.opaque(node, view.dims)
    return Inferred((view,), Runs(recipe.operands, {"axis": at}))


@handles("DynamicQuantizeLinear")
def _dynamic(ctx: Context, node: NodeProto) -> Inferred | None:
    """The scale and the zero point come from the least and the greatest element, wherever they stand."""
    view = ctx.data(node)
    if view is None:
        return None
    scalars = tuple(View((), (), Trail.NONE, name) for name in node.output[1:])
    return Inferred((view, *scalars), Runs((OfTwin(node.input[0]),)) if view.twin is not None else None)


@handles("com.microsoft::QLinearLeakyRelu", "com.microsoft::QLinearSigmoid")
def _unary(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    if view is None:
        return None
    rest = tuple(AsIs(name) for name in node.input[1:])
    return Inferred((view,), Runs((OfTwin(node.input[0]), *rest)) if view.twin is not None else None)


_DATA = {
    "com.microsoft::QLinearAdd": (0, 3),
    "com.microsoft::QLinearMul": (0, 3),
    "com.microsoft::QLinearWhere": (0, 1, 4),
}
"""The operands that are data: QLinearAdd(A, A_scale, A_zero_point, B, ...), QLinearWhere(condition, X, X_scale, ..)."""


@handles(*_DATA)
def _combined(ctx: Context, node: NodeProto) -> Inferred | None:
    places = _DATA[op(node)]
    found = combined(ctx, node, [node.input[i] for i in places])
    if found is None or not isinstance(found.recipe, Runs):
        return found
    moved = dict(zip(places, found.recipe.operands, strict=True))
    return Inferred(found.views, Runs(tuple(moved.get(i, AsIs(name)) for i, name in enumerate(node.input))))
