"""Quantization between a feature map and a layer: the integers move with the elements that they stand for.

A scale or zero point that is one for the whole tensor means the same on the spatial form; one per index of a dimension
moves with its axis. Sources: ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear; onnxruntime's
ContribOperators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.axiswise import side_by_side, softmax
from fc2conv.analysis.context import Context, Inferred, handles, same_operator
from fc2conv.analysis.elementwise import combined
from fc2conv.analysis.facts import AsIs, FormOf, Operand, Remap
from fc2conv.analysis.tokens import moved
from fc2conv.io.custom_ops import BLOCKED, SCALED
from fc2conv.ir.graph import OWN, int_attribute
from fc2conv.layout.axes import ONE, same_axes
from fc2conv.layout.view import Provenance, View, position


@handles(*OWN, *OWN.values(), *SCALED)
def _linear(ctx: Context, node: NodeProto) -> Inferred | None:
    view, scale = ctx.data(node), ctx.shape(node.input[1])
    blocks = scale is not None and len(scale) > 1 and not view.free  # one block still has the rank of the value
    if view.spatial_form is None or (scale is not None and not blocks and all(size == ONE for size in scale)):
        return same_operator(node, view, node.input[1:])
    rank, axis = len(view.dims), int_attribute(node, "axis", 1)
    at = position(view, axis) if -rank <= axis < rank and scale is not None and len(scale) == 1 else None
    return ctx.opaque(node, view.dims) if at is None else same_operator(node, view, node.input[1:], axis=at)


@handles(*BLOCKED)
def _blocked(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out blocks of one dimension, which must be whole on the spatial form, or on one that is asked for.

    (c h w) in blocks      on spatial forms: Reshape to [N, (c h w), 1, 1], in blocks along axis 1
    """
    view = ctx.data(node)
    rank, inferred = len(view.dims), ctx.opaque(node, view.dims)
    axis = int_attribute(node, "axis", 1) if rank > 1 else 0
    if view.spatial_form is None:
        return same_operator(node, view)
    if not -rank <= axis < rank:
        return inferred
    at = position(view, axis)
    if at is not None:
        return same_operator(node, view, axis=at)
    wanted = ctx.requested.get(node.output[0])
    if wanted is None or not same_axes(view.dims, wanted) or view.dims[axis] not in wanted:
        return inferred
    operand = FormOf(node.input[0], moved(view.spatial_form, wanted))
    recipe = Remap((operand,), {"axis": wanted.index(view.dims[axis])})
    return Inferred((replace(inferred.first, spatial_form=wanted),), recipe)


@handles("DynamicQuantizeLinear")
def _dynamic(ctx: Context, node: NodeProto) -> Inferred | None:
    """Run on the spatial form: scale and zero point come from the least and the greatest element, wherever they are."""
    view = ctx.data(node)
    scalars = tuple(View((), (), Provenance.NONE, name) for name in node.output[1:])
    return Inferred((view, *scalars), same_operator(node, view).recipe)


def _among(node: NodeProto, found: Inferred | None, places: Sequence[int]) -> Inferred | None:
    """Put what was found for the numbers of a node at these places, among scales and zero points."""
    if found is None or not isinstance(found.recipe, Remap):
        return found
    operands: list[Operand] = [AsIs(name) for name in node.input]
    for place, operand in zip(places, found.recipe.operands, strict=True):
        operands[place] = operand
    return Inferred(found.views, replace(found.recipe, operands=tuple(operands)))


@handles("com.microsoft::QLinearLeakyRelu", "com.microsoft::QLinearSigmoid")
def _unary(ctx: Context, node: NodeProto) -> Inferred | None:
    return _among(node, same_operator(node, ctx.data(node)), [0])


@handles("com.microsoft::QLinearSoftmax")
def _softmax(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out a Softmax as the operator set in the attribute `opset` defines it."""
    return _among(node, softmax(ctx, node, int_attribute(node, "opset", 13)), [0])


@handles(*(f"com.microsoft::{name}" for name in ("QLinearAdd", "QLinearMul", "QLinearWhere")))
def _broadcast(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out QLinearAdd(A, scale, zero point, B, ...), QLinearWhere(condition, X, scale, zero point, Y, ...)."""
    places = (0, 1, 4) if node.op_type == "QLinearWhere" else (0, 3)
    return _among(node, combined(ctx, node, [node.input[i] for i in places]), places)


@handles("com.microsoft::QLinearConcat")
def _concat(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out QLinearConcat(Y_scale, Y_zero_point, then each part with its scale and zero point)."""
    places = range(2, len(node.input), 3)
    return _among(node, side_by_side(ctx, node, [node.input[i] for i in places]), places)
