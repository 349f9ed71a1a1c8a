"""Reductions: what is summed over becomes size 1, or is removed; in the spatial form it is always kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, dimension, handles
from fc2conv.analysis.facts import Expand, FormOf, NewInts, Operand, Remap, Step
from fc2conv.ir.graph import int_attribute, label, op
from fc2conv.layout.axes import Axis, Dim, Layout, axes_of, refine
from fc2conv.layout.view import Provenance, View

REDUCTIONS = (
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp"
).split()
AXES_ARE_OPERANDS_FROM = {"ReduceSum": 13}
OF_POOLS = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}
"""The reduction that does over channels, or parts of them, what a pool does over cells."""


@handles(*REDUCTIONS)
def _reduce(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    axes = ctx.listed(node, "axes")
    if not axes:
        if int_attribute(node, "noop_with_empty_axes", 0):
            return Inferred((view,))
        axes = list(range(len(view.dims)))
    gone = {dimension(axis, len(view.dims)) for axis in axes}
    summed = {axis for i in gone for axis in view.dims[i]}
    kept: Layout = tuple(() if i in gone else dim for i, dim in enumerate(view.dims))
    dims = kept if int_attribute(node, "keepdims", 1) else tuple(d for i, d in enumerate(kept) if i not in gone)
    result = replace(view, dims=dims, spatial_form=None, origin=node.output[0])
    if view.spatial_form is None:
        return Inferred((result,))
    places = _places(view, summed)
    if places is None:
        return _of_parts(ctx, node, view, dims, summed)
    result = _behind_channels(node, replace(result, spatial_form=view.spatial_form), places)
    operands, attributes = _over(ctx, op(node), places, keep=1)
    return Inferred((result,), Remap((FormOf(node.input[0]), *operands), attributes))


def summed_up(ctx: Context, name: str) -> bool:
    """Return whether reductions alone read a value: its tokens need not be a picture."""
    readers = [op(ctx.graph.nodes[i]) for i in ctx.graph.uses.get(name, ())]
    return bool(readers) and set(readers) <= set(REDUCTIONS)


def channel_mean(ctx: Context, data: Operand | int) -> Step:
    """Compute the mean over the channels of a spatial form, or of the result of a step."""
    return _step(ctx, "ReduceMean", data, (1,))


def _step(ctx: Context, kind: str, data: Operand | int, places: tuple[int, ...]) -> Step:
    operands, attributes = _over(ctx, kind, places, keep=1)
    return Step(kind, (data, *operands), attributes)


def _over(ctx: Context, kind: str, places: tuple[int, ...], keep: int) -> tuple[tuple[Operand, ...], dict[str, object]]:
    """Return the dimensions of a reduction as an operand, or as an attribute of older operator sets."""
    if ctx.graph.opset >= AXES_ARE_OPERANDS_FROM.get(kind, 18):
        return (NewInts(places),), {"keepdims": keep}
    return (), {"keepdims": keep, "axes": list(places)}


def of_tokens(ctx: Context, node: NodeProto, view: View) -> Inferred | None:
    """Compute a global pool of tokens, whose cells are the channels of their map, by a reduction; None for any other.

    GlobalAveragePool [N, L, C] -> ReduceMean over dimension 1 of [N, C, H, W]
    """
    form, summed = view.spatial_form, set(axes_of(view.dims[2:]))
    if form is None or view.free or not summed & {*form[1]} or (places := _places(view, summed)) is None:
        return None
    dims = (*view.dims[:2], *((),) * len(view.dims[2:]))
    result = _behind_channels(node, replace(view, dims=dims, origin=node.output[0]), places)
    return Inferred((result,), Expand((_step(ctx, OF_POOLS[op(node)], FormOf(node.input[0]), places),)))


def _behind_channels(node: NodeProto, view: View, places: tuple[int, ...]) -> View:
    """Return the view after a reduction over `places`; one over channels hides the layout like a LayerNormalization."""
    assert view.spatial_form is not None
    view = replace(view, spatial_form=tuple(() if i in places else dim for i, dim in enumerate(view.spatial_form)))
    if 1 in places and view.provenance is Provenance.MAP:
        return replace(view, provenance=Provenance.OPAQUE, blocked_by=label(node))
    return view


def _of_parts(ctx: Context, node: NodeProto, view: View, dims: Layout, summed: set[Axis]) -> Inferred:
    """Compute a reduction over parts of the tokens (a pool over windows), which become dimensions of their own.

    [N, C, H, W], H = 4 x 7 -> Reshape [N, C, 4, 7, W] -> the reduction of dimension 2 -> [N, C, 7, W]
    """
    inferred = ctx.opaque(node, dims)
    assert view.spatial_form is not None
    both = refine(view.spatial_form, tuple((axis,) for axis in summed))
    if both is None:
        return inferred
    gone = {axis for dim in both[1] for axis in dim}
    if gone & {axis for dim in both[0][:2] for axis in dim} or gone - set(axes_of(both[0])):
        return inferred
    apart: list[Dim] = list(both[0][:2])
    for dim in both[0][2:]:
        runs = [tuple(run) for _, run in groupby(dim, key=lambda axis: axis in gone)]
        apart += runs or [()]
    places = tuple(i for i, dim in enumerate(apart) if dim and set(dim) <= gone)
    made = tuple(dim for i, dim in enumerate(apart) if i not in places)
    if not places or len(made) != len(view.spatial_form):
        return inferred
    ctx.remember(made)
    data = FormOf(node.input[0], (view.spatial_form, tuple(apart)))
    operands, attributes = _over(ctx, op(node), places, keep=0)
    return Inferred((replace(inferred.first, spatial_form=made),), Remap((data, *operands), attributes))


def _places(view: View, summed: set[Axis]) -> tuple[int, ...] | None:
    """Return the spatial form's dimensions that are summed over; None where one is so in part, or no dimension is."""
    assert view.spatial_form is not None
    if not summed:
        # A sum over dimensions of size 1 still applies its function (the L1 norm is |x|): any of them does.
        one = next((i for i, dim in enumerate(view.spatial_form) if i > 1 and not dim), None)
        return None if one is None else (one,)
    both = refine(view.spatial_form, tuple((axis,) for axis in summed))
    if both is None:
        return None
    gone = set(axes_of(both[1]))
    places = tuple(i for i, dim in enumerate(both[0]) if dim and set(dim) <= gone)
    covered = {axis for i in places for axis in both[0][i]}
    return places if covered == gone else None
