"""A layer over maps and vectors that were flattened and put side by side: the sum of one convolution for each.

    sum_k W[m, k] * concat(x1, x2)[k] = sum_k1 W[m, k1] * x1[k1] + sum_k2 W[m, K1 + k2] * x2[k2]

A map is convolved as it is, a vector or a constant as a map of one cell; a map of fewer dimensions than another gets
more of size 1. Where the maps have one extent, their spatial forms are joined on the channels (see axiswise.py).
"""

from __future__ import annotations

from dataclasses import replace

from fc2conv.analysis.context import Context
from fc2conv.analysis.facts import Branch, FormOf, Relaid
from fc2conv.ir.graph import int_attribute, op
from fc2conv.layers import FCLayer, Floating
from fc2conv.layers.weights import can_move, kernel_of
from fc2conv.layout.axes import Kind, Size, kind_of, size_of
from fc2conv.layout.contraction import Contraction, contract
from fc2conv.layout.view import Provenance, View, align, fresh, without


def find_branches(ctx: Context, layer: FCLayer, view: View, k: int) -> tuple[Branch, ...]:
    """Return the branches of a layer, if it reads a Concat along what it sums over, and one of its parts is a map."""
    concat = ctx.graph.made_by(layer.x)
    if view.spatial_form is not None or concat is None or op(concat) != "Concat" or layer.addend or layer.groups:
        return ()
    if layer.arithmetic != Floating() or len(layer.k) > 1 or int_attribute(concat, "axis", 1) % len(view.dims) != k:
        return ()

    def plain(name: str) -> bool:
        return (part := ctx.view(name)) is not None and part.spatial_form is None

    names = list(ctx.graph.joined(concat, k, len(view.dims), plain))
    parts = [(name, found) for name in names if (found := _part(ctx, name)) is not None]
    maps = [found for _, found in parts if found.spatial_form is not None and found.provenance is Provenance.MAP]
    if len(parts) != len(names) or not maps:
        return ()
    rank = max(len(found.spatial_form or ()) for found in maps) - 2
    out: list[Branch] = []
    start = 0
    for name, found in parts:
        size = size_of(found.dims[k])
        branch = _branch(ctx, name, _with_items(found, maps[0], k), k, rank, start) if size.known else None
        if branch is None:
            return ()
        out.append(branch)
        start = branch.stop
    if not any(isinstance(each.spatial_form, FormOf) for each in out):
        return ()
    if not _agree([found for _, found in parts], out, k):
        return ()
    return tuple(out) if all(_has_kernel(ctx, layer, each) for each in out) else ()


def _part(ctx: Context, name: str) -> View | None:
    """Return the view of one part; a constant (numbers beside the map of one item) has axes of its own."""
    view, shape = ctx.view(name), ctx.constant_shape(name) if ctx.constants.computable(name) else None
    return view if shape is None or view is not None else fresh(name, [Size(size) for size in shape])


def _with_items(part: View, model: View, k: int) -> View:
    """Take as many rows as a map has items for items as well: numbers beside a map, one for each item."""
    dims = (
        tuple(axis._replace(kind=Kind.BATCH) for axis in dim)
        if i != k and kind_of(other) is Kind.BATCH and size_of(dim) == size_of(other)
        else dim
        for i, (dim, other) in enumerate(zip(part.dims, model.dims, strict=True))
    )
    return part.with_dims(tuple(dims))


def _branch(ctx: Context, name: str, view: View, k: int, rank: int, start: int) -> Branch | None:
    """Convert one part: a map by the kernel that covers it, anything else, or of more dimensions, by its own frame."""
    spatial_form = view.spatial_form if len(view.spatial_form or ()) <= rank + 2 else None
    found = contract(view.dims, spatial_form, k, rank)
    if not isinstance(found, Contraction):
        return None
    stop = start + size_of(view.dims[k]).coefficient
    if ctx.view(name) is None:
        moves = can_move(ctx.constants, name, view.dims, found.frame)
        return Branch(name, found, start, stop, Relaid(name, view.dims, found.frame)) if moves else None
    if spatial_form is None or found.frame != spatial_form:
        ctx.ask(view, found.frame)
        return Branch(name, found, start, stop)
    more = ((),) * (rank + 2 - len(spatial_form))
    lifted = replace(
        found,
        frame=(*spatial_form[:2], *more, *spatial_form[2:]),
        kernel=(found.kernel[0], *more, *found.kernel[1:]),
        rest=(*more, *found.rest),
    )
    return Branch(name, lifted, start, stop, FormOf(name, (spatial_form, lifted.frame) if more else None))


def _agree(views: list[View], branches: list[Branch], k: int) -> bool:
    """Return whether the results have the same items, and no spatial axis is left."""
    rest = [replace(without(view, view.dims[k]), spatial_form=None) for view in views]
    for other, each in zip(rest, branches, strict=True):
        same = align(rest[0], other)
        if same is None or same.dims != rest[0].dims or any(each.contraction.rest):
            return False
    return True


def _has_kernel(ctx: Context, layer: FCLayer, branch: Branch) -> bool:
    rows = branch.start, branch.stop
    return bool(layer.matrix.outputs) and kernel_of(ctx.constants, layer, branch.contraction, rows) is not None
