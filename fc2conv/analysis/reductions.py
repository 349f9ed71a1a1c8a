"""Reductions: what is summed over becomes size 1, in the tensor (or is removed) and in its twin (always kept)."""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, dimension, handles
from fc2conv.analysis.facts import NewInts, OfTwin, Operand, Runs
from fc2conv.ir.graph import int_attribute, label, op
from fc2conv.layout.axes import Axis, Layout
from fc2conv.layout.view import Trail, View

REDUCTIONS = (
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp"
).split()
AXES_ARE_OPERANDS_FROM = {"ReduceSum": 13}


@handles(*REDUCTIONS)
def _reduce(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    if view is None:
        return None
    axes = ctx.listed(node, "axes")
    if not axes:
        if int_attribute(node, "noop_with_empty_axes", 0):
            return Inferred((view,))
        axes = list(range(len(view.dims)))
    gone = {dimension(axis, len(view.dims)) for axis in axes}
    summed = {axis for i in gone for axis in view.dims[i]}
    kept: Layout = tuple(() if i in gone else dim for i, dim in enumerate(view.dims))
    dims = kept if int_attribute(node, "keepdims", 1) else tuple(d for i, d in enumerate(kept) if i not in gone)
    result = replace(view, dims=dims, twin=None, birth=node.output[0])
    if view.twin is None:
        return Inferred((result,))
    places = _places(view, summed)
    if places is None:
        return ctx.opaque(node, dims)
    twin = tuple(() if i in places else dim for i, dim in enumerate(view.twin))
    if 1 in places and result.trail is Trail.MAP:
        # A norm over the channels, written out: what is behind it is behind a LayerNormalization.
        result = replace(result, trail=Trail.OPAQUE, culprit=label(node))
    by_operand = ctx.graph.opset >= AXES_ARE_OPERANDS_FROM.get(op(node), 18)
    operands: tuple[Operand, ...] = (OfTwin(node.input[0]),)
    attributes: dict[str, object] = {"keepdims": 1}
    if by_operand:
        operands = (*operands, NewInts(places))
    else:
        attributes["axes"] = list(places)
    return Inferred((replace(result, twin=twin),), Runs(operands, attributes))


def _places(view: View, summed: set[Axis]) -> tuple[int, ...] | None:
    """The dimensions of the twin that are summed over; None where one is so only in part, or there is none at all."""
    assert view.twin is not None
    if not summed:
        # A sum over dimensions of size 1 still applies its function (the L1 norm is |x|): any such dimension does.
        one = next((i for i, dim in enumerate(view.twin) if i > 1 and not dim), None)
        return None if one is None else (one,)
    places = tuple(i for i, dim in enumerate(view.twin) if dim and set(dim) <= summed)
    covered = {axis for i in places for axis in view.twin[i]}
    return places if covered == summed else None
