"""Nodes that only regroup or reorder dimensions: on the spatial form they vanish.

Flatten, Reshape, Squeeze, Unsqueeze, Transpose. A dimension is a product of axes. A Transpose permutes
dimensions; every other node cuts the same axes at other places.
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, dimension, handles
from fc2conv.analysis.facts import Elide, Expand, FormOf, NewInts, Step
from fc2conv.analysis.recurrent import directly_behind
from fc2conv.ir.graph import int_attribute, ints_attribute, permutation
from fc2conv.layout.axes import Kind, Layout, Size, axes_of, kind_of, product, refine, regroup, size_of
from fc2conv.layout.squares import arranged
from fc2conv.layout.view import Provenance, View, settled, without


def same_elements(ctx: Context, node: NodeProto, view: View, dims: Layout | None) -> Inferred | None:
    """Return the same elements in other dimensions; None where these are not known."""
    if dims is None:
        return None
    result = view.with_dims(dims)
    if directly_behind(ctx, node):
        return Inferred((replace(result, spatial_form=None, origin=node.output[0]),))
    if view.spatial_form is None or result.spatial_form is None:
        # What was only dressed otherwise (a group norm) is a map again, with nothing between that hid its layout.
        again = view.provenance is Provenance.MAP and len(dims) >= 4 and _is_map(dims)
        return Inferred((replace(result, spatial_form=result.dims, origin=node.output[0]) if again else result,))
    grouped = (
        grouped_like(result.spatial_form, result.dims, ctx.rank)
        if ctx.tokens
        else _reordered(ctx, result.spatial_form, result.dims)
    )
    if grouped == result.spatial_form:
        return Inferred((result,), Elide(node.input[0]))
    return Inferred((replace(result, spatial_form=grouped),), Elide(node.input[0], (result.spatial_form, grouped)))


def _is_map(dims: Layout) -> bool:
    """Return whether dimensions are items of the batch, channels, and cells of a map."""
    places = ((Kind.BATCH, dims[:1]), (Kind.SPACE, dims[2:]))
    return all(kind_of(dim) is kind for kind, part in places for dim in part if dim)


def _reordered(ctx: Context, spatial_form: Layout, dims: Layout) -> Layout:
    """Return the spatial form with its cells in the order in which one dimension, the tokens, holds them all.

    A network that sorts its tokens once (by windows that it pools later) then does so once on spatial forms as well.
    """
    roots = {axis.root for dim in spatial_form[2:] for axis in dim}
    together = any(dim and {axis.root for axis in dim} == roots for dim in dims)
    both = refine(spatial_form, dims) if together and len(spatial_form) == ctx.rank + 2 else None
    if both is None:
        return spatial_form
    cells = axes_of(both[0][2:])
    tokens = next((dim for dim in both[1] if dim != cells and len(dim) > 1 and set(dim) == set(cells)), None)
    if tokens is None or len(tokens) != len(cells):
        return spatial_form
    new = (*spatial_form[:2], *arranged((tokens,), ctx.rank, real=False))
    ctx.remember(new)
    return new


def grouped_like(spatial_form: Layout, dims: Layout, rank: int) -> Layout:
    """Group the spatial axes of a spatial form as the tensor's dimensions do, where their order is the same.

    So tokens ((n), (h w), (c)) have the spatial form (n, c, h w) of rank 1 or (n, c, 1, h w), and a map (n, c, h, w).
    """
    spatial = axes_of(spatial_form[2:])
    groups = tuple(dim for dim in dims if dim and set(dim) <= set(spatial))
    if not groups or axes_of(groups) != spatial:
        return spatial_form
    return (*spatial_form[:2], *((),) * (rank - len(groups)), *groups)


@handles("Transpose")
def _transpose(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    perm = permutation(node, len(view.dims))
    return None if perm is None else same_elements(ctx, node, view, tuple(view.dims[i] for i in perm))


@handles("Flatten")
def _flatten(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    rank, given = len(view.dims), int_attribute(node, "axis", 1)
    axis = rank if given == rank else dimension(given, rank)
    return same_elements(ctx, node, view, (axes_of(view.dims[:axis]), axes_of(view.dims[axis:])))


@handles("Reshape")
def _reshape(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    target = ctx.integers(node.input[1]) if len(node.input) > 1 else None
    if target is None and len(node.input) < 2:
        target = tuple(Size(size) for size in ints_attribute(node, "shape") or [])
    if target is None:
        shape = ctx.shapes.get(node.output[0])
        return same_elements(ctx, node, view, regroup(view.dims, shape)) if shape is not None else None
    sizes = resolved(node, view, target)
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        view = settled(view, product(known))
    return same_elements(ctx, node, view, regroup(view.dims, sizes))


def shape_on_spatial_form(ctx: Context, node: NodeProto) -> Expand | None:
    """Compute the shape of a value, with its batch from the spatial form; None where another size is not known.

    So the original is not made for its shape alone.
    """
    view = ctx.first(node)
    if view is None or view.spatial_form is None or view.free or node.attribute or ctx.graph.opset < 10:
        return None
    sizes = [size_of(dim) for dim in view.dims]
    rest = sizes if sizes and sizes[0].known else sizes[1:]
    if (known := NewInts.of(rest)) is None:
        return None
    if rest is sizes:
        return Expand((Step("Identity", (known,)),))
    if view.dims[0] != view.spatial_form[0]:
        return None
    first = (Step("Shape", (FormOf(node.input[0]),)), Step("Slice", (-1, NewInts((0,)), NewInts((1,)))))
    return Expand((*first, Step("Concat", (-1, known), {"axis": 0})) if rest else first)


def resolved(node: NodeProto, view: View, target: tuple[Size, ...]) -> list[Size | None]:
    """Return a Reshape's target with 0 replaced by the size that it copies, and -1 by None."""
    out: list[Size | None] = []
    for i, size in enumerate(target):
        if size == Size(0) and not int_attribute(node, "allowzero", 0):
            out.append(size_of(view.dims[i]) if i < len(view.dims) else size)
        else:
            out.append(None if size == Size(-1) else size)
    return out


@handles("Squeeze")
def _squeeze(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    axes = ctx.listed(node, "axes")
    if axes is None:
        if not all(size_of(dim).known for dim in view.dims):
            return None  # it removes whatever has size 1 in that run, the batch as well
        return same_elements(ctx, node, view, tuple(dim for dim in view.dims if dim))
    gone = {dimension(axis, len(view.dims)) for axis in axes}
    # The node requires that what it removes has size 1: an axis of unknown size is one of size 1 from here on.
    view = without(view, tuple(axis for i in gone for axis in view.dims[i]))
    return same_elements(ctx, node, view, tuple(dim for i, dim in enumerate(view.dims) if i not in gone))


@handles("Unsqueeze")
def _unsqueeze(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    axes = ctx.listed(node, "axes")
    if axes is None:
        return None
    rank = len(view.dims) + len(axes)
    new, rest = {dimension(axis, rank) for axis in axes}, iter(view.dims)
    if len(new) < len(axes):
        return None
    return same_elements(ctx, node, view, tuple(() if i in new else next(rest) for i in range(rank)))
