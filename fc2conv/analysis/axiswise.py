"""Nodes that work along one named dimension: on the spatial form the dimension has another number.

Softmaxes, Concat, Split, Slice, Gather, and the norms, scans and searches that need a whole dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto

from fc2conv.analysis.context import (
    Context,
    Inferred,
    dimension,
    dimension_of,
    handles,
    same_operator,
    unknown,
)
from fc2conv.analysis.facts import AsIs, FormOf, NewInts, Operand, Relaid, Remap
from fc2conv.analysis.reductions import summed_up
from fc2conv.analysis.reshapes import same_elements
from fc2conv.analysis.tokens import along, joined_axis, joined_tokens, moved, provenance_beside
from fc2conv.ir.counting import counts_up
from fc2conv.ir.element_types import element_type
from fc2conv.ir.graph import int_attribute
from fc2conv.ir.stored import base_layout
from fc2conv.layout.axes import Axis, Dim, Kind, Size, kind_of, put, regroup, size_of
from fc2conv.layout.view import View, align, position, without


@handles("Softmax", "LogSoftmax", "Hardmax")
def _softmax(ctx: Context, node: NodeProto) -> Inferred | None:
    return softmax(ctx, node, ctx.graph.opset)


def softmax(ctx: Context, node: NodeProto, opset: int) -> Inferred | None:
    """Lay out a Softmax over one axis (opset 13 on), or over all dimensions from `axis` on as one (before 13)."""
    view = ctx.data(node)
    new = opset >= 13
    rank, given = len(view.dims), int_attribute(node, "axis", -1 if new else 1)
    axis = rank if given == rank and not new else dimension(given, rank)
    dims = view.dims[axis : axis + 1] if new else view.dims[axis:]
    with_axes = [dim for dim in dims if dim]
    if view.spatial_form is None or len(with_axes) != 1:
        return ctx.opaque(node, view.dims)
    at = next((i for i, dim in enumerate(view.spatial_form) if dim == with_axes[0]), None)
    # Before opset 13 the spatial form is flattened from the axis on as well: only dimensions of size 1 may follow.
    if at is None or (not new and any(view.spatial_form[at + 1 :])):
        return ctx.opaque(node, view.dims)
    return same_operator(node, view, axis=at)


@handles("Concat")
def _concat(ctx: Context, node: NodeProto) -> Inferred | None:
    return side_by_side(ctx, node, list(node.input))


def side_by_side(ctx: Context, node: NodeProto, names: Sequence[str]) -> Inferred | None:
    """Join parts on the dimension of their spatial forms that they lie on; flattened maps (c h w) on the channels."""
    known = [view for name in names if (view := ctx.view(name)) is not None]
    if not known:
        return None
    rank = len(known[0].dims)
    axis = dimension_of(node, rank, 1)
    if len(known) != len(names):
        return joined_tokens(ctx, node, names, axis) or _concat_with_constants(ctx, node, known[0], axis)
    if any(len(view.dims) != rank for view in known):
        return None
    provenance, blocked_by = provenance_beside(ctx, node, known)
    joined = [_joined(view, axis) for view in known]
    at = joined[0][0]
    rest = [without(view, axes) for view, (_, axes) in zip(known, joined, strict=True)]
    same = [align(rest[0], other) for other in rest]
    # What is flattened with the channels must be as large in each part; where whole dimensions join, nothing is.
    equal = all(
        each is not None
        and (each.dims, each.spatial_form) == (rest[0].dims, rest[0].spatial_form)
        and size_of(part.dims[axis]) == size_of(rest[0].dims[axis])
        for each, part in zip(same, rest, strict=True)
    )
    if at is None or not equal or any(place != at for place, _ in joined):
        tokens = joined_tokens(ctx, node, names, axis)
        if tokens is not None:
            return tokens
        if at is not None:
            _ask(ctx, known, rest[0], axis, at)
        whole = _joined_axis(node, [view.dims[axis] for view in known])
        return Inferred((View(put(known[0].dims, axis, whole), None, provenance, node.output[0], blocked_by),))
    new = _joined_axis(node, [axes for _, axes in joined])
    assert rest[0].spatial_form is not None
    dims = put(rest[0].dims, axis, (*new, *rest[0].dims[axis]))
    result = View(dims, put(rest[0].spatial_form, at, new), provenance, node.output[0], blocked_by)
    return Inferred((result,), Remap(tuple(FormOf(name) for name in names), {"axis": at}))


def _joined_axis(node: NodeProto, parts: Sequence[Dim]) -> Dim:
    return joined_axis(node, parts, list(map(size_of, parts)), Size(1, (f"?{node.output[0]}.concat",)))


def _ask(ctx: Context, parts: Sequence[View], lead: View, axis: int, at: int) -> None:
    """Ask for a spatial form of each part without one, like the first part's, which has no axes where they join."""
    for part in parts:
        if part.spatial_form is not None or ctx.graph.concat(part.origin, axis, len(part.dims)) is not None:
            continue  # a layer reads a Concat part by part
        beside = align(replace(without(part, part.dims[axis]), spatial_form=None), replace(lead, spatial_form=None))
        if beside is None:
            continue
        both = align(replace(without(part, part.dims[axis]), spatial_form=lead.spatial_form), lead)
        if both is not None and both.spatial_form is not None:
            ctx.ask(part, put(both.spatial_form, at, part.dims[axis]))


def _joined(view: View, axis: int) -> tuple[int | None, Dim]:
    """Return where on the spatial form a part is joined to the others, and the axes that grow by it."""
    at = position(view, axis)
    if at is not None:
        return at, view.dims[axis]
    channels = view.spatial_form[1] if view.spatial_form is not None else ()
    if channels and view.dims[axis][: len(channels)] == channels:
        return 1, channels
    return None, ()


def _concat_with_constants(ctx: Context, node: NodeProto, view: View, axis: int) -> Inferred | None:
    """Lay out a Concat with a constant among its parts (a class token): its dimension is new, and the others stay."""
    shape = ctx.shapes.get(node.output[0])
    if shape is None or len(shape) != len(view.dims):
        return None
    return ctx.opaque(node, put(view.dims, axis, (Axis(f"{node.output[0]}.{axis}", shape[axis]),)))


@handles("Split")
def _split(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    axis = dimension_of(node, len(view.dims), 0)
    sizes = ctx.listed(node, "split")
    whole = size_of(view.dims[axis])
    parts = len(node.output)
    if sizes is not None and len(sizes) != parts:
        return None
    if sizes is None:
        if not whole.known:
            return None
        chunk = -(-whole.coefficient // parts)
        sizes = [chunk] * (parts - 1) + [whole.coefficient - chunk * (parts - 1)]
    results = [recut(node.output[i], view, axis, Size(size)) for i, size in enumerate(sizes)]
    at = position(view, axis)
    if at is None:
        return ctx.opaque(node, *(result.dims for result in results))
    operands: tuple[Operand, ...] = (FormOf(node.input[0]), *(AsIs(name) for name in node.input[1:]))
    return Inferred(tuple(results), Remap(operands, {"axis": at}))


def recut(name: str, view: View, axis: int, size: Size) -> View:
    """Return the view with one dimension replaced by a part of it, which is a new axis, in the spatial form too."""
    new = (Axis(f"{name}.{axis}", size, kind=kind_of(view.dims[axis])),)
    at = position(view, axis)
    spatial_form = None if at is None or view.spatial_form is None else put(view.spatial_form, at, new)
    return replace(view, dims=put(view.dims, axis, new), spatial_form=spatial_form, origin=name)


@handles("Slice")
def _slice(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    shape = ctx.shapes.get(node.output[0]) or unknown(node.output[0], len(view.dims))
    if len(shape) != len(view.dims):
        return None
    axes = ctx.listed(node, "axes", 3)
    if axes is None:
        starts = ctx.listed(node, "starts", 1)
        axes = list(range(len(starts or view.dims)))
    axes = [dimension(axis, len(view.dims)) for axis in axes]
    result = view
    places: list[int] = []
    for axis in axes:
        at = position(result, axis)
        places.append(-1 if at is None else at)
        result = recut(node.output[0], result, axis, shape[axis])
    data, move = FormOf(node.input[0]), None
    found = along(view, axes[0]) if len(axes) == 1 else None
    if found is not None:
        # Tokens are sliced as one dimension.
        made, spatial_form = found.replaced(result.dims[axes[0]], ctx.rank)
        if summed_up(ctx, node.output[0]):
            spatial_form = made
        data, move = found.operand(node.input[0]), moved(made, spatial_form)
        opaque = ctx.opaque(node, result.dims).first if -1 in places else result
        result, places = replace(opaque, spatial_form=spatial_form), [found.at]
    elif -1 in places or view.spatial_form is None:
        return ctx.opaque(node, result.dims)
    if ctx.graph.opset < 10:
        return Inferred((result,), Remap((data,), {"axes": places}, move))
    steps = (AsIs(node.input[4]),) if len(node.input) > 4 else ()
    # All lists have one type.
    kind = np.int32 if element_type(ctx.graph, node.input[1]) == TensorProto.INT32 else np.int64
    operands = (data, AsIs(node.input[1]), AsIs(node.input[2]), new_list(np.array(places, kind)), *steps)
    return Inferred((result,), Remap(operands, {}, move))


def new_list(numbers: np.ndarray) -> Operand:
    """Return a list of numbers as an operand of the same type."""
    if numbers.dtype == np.int64:
        return NewInts(tuple(int(each) for each in numbers))
    return Relaid(numbers, base_layout(numbers.shape), base_layout(numbers.shape))


@handles("Gather")
def _gather(ctx: Context, node: NodeProto) -> Inferred | None:
    """Take parts of one dimension: each dimension of the indices is a new axis; a scalar index leaves no dimension."""
    view, indices = ctx.data(node), ctx.shape(node.input[1])
    if indices is None:
        return None
    axis = dimension_of(node, len(view.dims), 0)
    at = position(view, axis)
    rest = (*view.dims[:axis], *view.dims[axis + 1 :])
    parts = regroup((view.dims[axis],), indices)
    size = size_of(view.dims[axis])
    if parts is not None and counts_up(ctx.constants, node.input[1], size.coefficient if size.known else None):
        return same_elements(ctx, node, view, (*view.dims[:axis], *parts, *view.dims[axis + 1 :]))
    if not indices and not view.dims[axis]:  # the only element
        return same_elements(ctx, node, view, rest)
    if at and len(indices) == 1 and ctx.constants.is_constant(node.input[1]):
        result = recut(node.output[0], view, axis, indices[0])
        return Inferred((result,), Remap((FormOf(node.input[0]), AsIs(node.input[1])), {"axis": at}))
    new = [(Axis(f"{node.output[0]}.{axis + i}", size),) for i, size in enumerate(indices)]
    inferred = ctx.opaque(node, (*view.dims[:axis], *new, *view.dims[axis + 1 :]))
    found = along(view, axis)
    picks = ctx.integers(node.input[1]) if ctx.constants.is_constant(node.input[1]) else None
    if at and not indices and picks and view.spatial_form is not None:
        # One index keeps the dimension of the spatial form.
        result = replace(view, dims=rest, spatial_form=put(view.spatial_form, at, ()), origin=node.output[0])
        return Inferred((result,), Remap((FormOf(node.input[0]), NewInts((picks[0].coefficient,))), {"axis": at}))
    if found is None or found.at < 2 or picks is None or len(new) > 1 or len(picks) > 64:
        return inferred
    # A list of indices keeps the dimension, so that the result has the rank of a spatial form.
    made, spatial_form = found.replaced(new[0] if new else (), ctx.rank)
    operands = (found.operand(node.input[0]), NewInts(tuple(pick.coefficient for pick in picks)))
    whole = replace(inferred.first, spatial_form=spatial_form)
    return Inferred((whole,), Remap(operands, {"axis": found.at}, moved(made, spatial_form)))


@handles("LpNormalization", "CumSum", "CumProd")
def _whole_dimension(ctx: Context, node: NodeProto) -> Inferred | None:
    """Run a sum or norm along one dimension, which keeps the shape; a sum names the dimension by an operand."""
    view = ctx.data(node)
    named = ctx.integers(node.input[1]) if len(node.input) > 1 else (Size(int_attribute(node, "axis", -1)),)
    if named is None or len(named) != 1 or not named[0].known:
        return ctx.opaque(node, view.dims)
    at = position(view, dimension(named[0].coefficient, len(view.dims)))
    if at is None:
        return ctx.opaque(node, view.dims)
    if len(node.input) > 1:
        return Inferred((view,), Remap((FormOf(node.input[0]), Relaid(np.array(at), (), ()))))
    return same_operator(node, view, axis=at)


@handles("GatherND")
def _gather_nd(ctx: Context, node: NodeProto) -> Inferred | None:
    """Pick along the first dimensions by indices: the picks are new axes, and of cells new cells."""
    view, indices = ctx.data(node), ctx.shape(node.input[1])
    if not indices or not indices[-1].known or int_attribute(node, "batch_dims", 0):
        return None
    picked = indices[-1].coefficient
    kind = kind_of(axis for dim in view.dims[:picked] for axis in dim)
    kind = kind if kind is Kind.SPACE else Kind.OTHER
    new = [(Axis(f"{node.output[0]}.{i}", size, kind=kind),) for i, size in enumerate(indices[:-1])]
    return ctx.opaque(node, (*new, *view.dims[picked:]))


_FUSED = "MatMulNBits MatMulBnb4 Attention QAttention MultiHeadAttention GroupQueryAttention".split()


@handles("Attention", *(f"com.microsoft::{name}" for name in _FUSED))
def _features(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out the first result with the operand's leading dimensions, and with new features as the last."""
    view, shape = ctx.data(node), ctx.shapes.get(node.output[0])
    if shape is None or not view.dims or len(shape) != len(view.dims):
        return None
    inferred = ctx.opaque(node, (*view.dims[:-1], (Axis(f"{node.output[0]}.features", shape[-1]),)))
    return Inferred((*inferred.views, *ctx.lost(node).views[1:]))
