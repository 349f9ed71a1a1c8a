"""Fully connected layers as convolutions, on the views of what they read.

A layer over maps and vectors that were flattened and put side by side is the sum of one convolution for each:

    sum_k W[m, k] * concat(x1, x2)[k] = sum_k1 W[m, k1] * x1[k1] + sum_k2 W[m, K1 + k2] * x2[k2]

A map is convolved as it is, a vector or a constant as a map of one cell; a map of fewer dimensions than another gets
more of size 1. Where the maps have one extent, their spatial forms are joined on the channels (see axiswise.py).
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, size_remedy
from fc2conv.analysis.facts import Branch, FormOf, Relaid
from fc2conv.analysis.ranks import with_known_sizes
from fc2conv.analysis.spatial import sequence_of
from fc2conv.ir.graph import int_attribute, label, op
from fc2conv.layers import FCLayer, Floating
from fc2conv.layers.weights import can_move, kernel_of
from fc2conv.layout.axes import Kind, Layout, Size, axes_of, kind_of, same_axes, size_of
from fc2conv.layout.contraction import Contraction, Obstacle, contract, grouped_frame, own_frame
from fc2conv.layout.view import Provenance, View, align, fresh, without
from fc2conv.reasons import Code, Reason

_SELECT = frozenset({"NonZero", "Compress", "NonMaxSuppression", "Unique"})
"""Operators that select elements: their values decide the size of the result."""


def contraction_of(ctx: Context, layer: FCLayer, view: View, k: int, refused: Reason | None) -> Contraction | Reason:
    """Return a layer as a convolution on its view, with a kernel that its weight can be; or why it is not one."""
    hidden = refused or _hidden(ctx, layer, view, k)
    if hidden is not None:
        return hidden
    spatial_form = view.spatial_form
    if ctx.lifts and spatial_form is not None and len(spatial_form) > ctx.rank + 2:
        spatial_form = None  # a volume is no picture: its cells are channels
    found = _grouped(ctx, layer, view, k) if layer.groups else contract(view.dims, spatial_form, k, ctx.rank)
    if isinstance(found, Obstacle):
        return _obstructed(ctx, layer, found)
    if isinstance(found, Reason):
        return found
    found = _shared(ctx, view, found)
    if k and found.frame != view.spatial_form and not layer.groups and _selected(ctx, found.rest):
        # Rows that may be absent are items: a batch may be empty.
        rows = tuple(axis._replace(kind=Kind.BATCH) for axis in view.dims[0])
        found = own_frame((rows, *view.dims[1:]), k, ctx.rank)
    if selector := _selected(ctx, found.frame[2:]):
        return Reason(Code.NO_ELEMENTS, selector, f"input {layer.x} is empty where it selects nothing")
    if view.spatial_form is None and not layer.groups:
        _request_form(ctx, view, k, found)
    return _with_kernel(ctx, layer, view, k, found)


def _hidden(ctx: Context, layer: FCLayer, view: View, k: int) -> Reason | None:
    """Return why no feature map is known to reach a layer, where the scope asks for one."""
    if ctx.every:
        return None
    if view.provenance is Provenance.LOST:
        return Reason(Code.VIEW_LOST, view.blocked_by)
    if view.provenance is Provenance.NONE:
        name = label(layer.node)
        given = "what its body is given is not taken for a map" if ctx.graph.path else ""
        return Reason(Code.NO_FEATURE_MAP, name, given)
    sequence = sequence_of(ctx, layer.x) if len(view.dims[k]) < 2 else ""
    if not sequence:
        return None
    return Reason(Code.NO_FEATURE_MAP, label(layer.node), f"{sequence} has rank 3, and may as well be tokens")


def _obstructed(ctx: Context, layer: FCLayer, found: Obstacle) -> Reason:
    name = label(layer.node)
    if found is Obstacle.BATCH:
        return Reason(Code.BATCH_CONTRACTED, name, f"input {layer.x}")
    known = with_known_sizes(ctx, layer.x)
    remedy = f"{known}." if known else size_remedy(ctx.graph, ctx.view)
    return Reason(Code.UNKNOWN_SIZE, name, f"of the axis of {layer.x} that it sums over", remedy)


def _shared(ctx: Context, view: View, found: Contraction) -> Contraction:
    """Lay out the spatial axes as layers before it did for the same cells, and note its own for layers after it."""
    if found.frame != view.spatial_form and found.frame[2:] == found.rest:
        spatial = ctx.remembered(found.rest)
        return replace(found, frame=(*found.frame[:2], *spatial), rest=spatial)
    if len(axes_of(found.frame[2:])) == 1:
        ctx.remember(found.frame)
    return found


def _with_kernel(ctx: Context, layer: FCLayer, view: View, k: int, found: Contraction) -> Contraction | Reason:
    """Return the contraction, or that of a 1x1 kernel, to which scales that run along the features fit."""
    if kernel_of(ctx.constants, layer, found) is not None:
        return found
    whole = own_frame(view.dims, k, ctx.rank)
    if not layer.groups and kernel_of(ctx.constants, layer, whole) is not None:
        return whole
    if kernel_of(ctx.constants, replace(layer, alpha=1.0), found) is not None:
        detail = f"alpha {layer.alpha:g} is no number of the type of the quantized weight"
        return Reason(Code.KIND_NOT_SUPPORTED, label(layer.node), detail)
    return Reason(Code.QUANTIZED_AXIS, label(layer.node), f"weight {layer.weight}")


def _grouped(ctx: Context, layer: FCLayer, view: View, k: int) -> Contraction | Obstacle | Reason:
    """Return the contraction with one matrix for each index of an axis of the view: groups of a convolution."""
    shape = layer.shape
    rank = len(view.dims) + len(layer.k) - 1
    gone = [i for i in sorted(i % rank for i in layer.k) if i != k]
    at = [rank + i - sum(j < rank + i for j in gone) for i in layer.groups]
    places = [i for i in layer.matrix.groups if shape[i] != 1] or layer.groups
    fits = all(i >= 0 and size_of(view.dims[i]) == Size(shape[g]) for i, g in zip(at, places, strict=True))
    if not fits or (rank < len(shape) and not layer.matrix.groups) or k in at:
        return Reason(Code.WEIGHT_BATCHED, label(layer.node), f"weight of shape {list(shape)}")
    return grouped_frame(view.dims, k, at, ctx.rank)


def _request_form(ctx: Context, view: View, k: int, found: Contraction) -> None:
    """Ask for a spatial form where the view's axes were born: the value itself, if it will do, or its transpose."""
    origin = ctx.views.get(view.origin)
    if origin is None or view.origin in ctx.requests:
        return
    if len(origin.dims) == ctx.rank + 2:
        direct = contract(view.dims, origin.dims, k, ctx.rank) if same_axes(view.dims, origin.dims) else None
        if isinstance(direct, Contraction) and direct.frame == origin.dims:
            ctx.requests[view.origin] = origin.dims
            return
    if same_axes(found.frame, origin.dims):
        ctx.requests[view.origin] = found.frame


def _selected(ctx: Context, layout: Layout) -> str:
    """Return the node that selects what one of these axes runs over, or "" where there is no selection."""
    seen: set[str] = set()
    values = _births(layout)
    while values:
        value = values.pop()
        node = ctx.graph.made_by(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        if op(node) in _SELECT or (op(node) == "Slice" and _leaves_nothing(ctx, node)):
            return label(node)
        values += [name for each in node.input if each in ctx.views for name in _births(ctx.views[each].dims)]
    return ""


def _leaves_nothing(ctx: Context, node: NodeProto) -> bool:
    """Return whether a Slice leaves nothing of a batch of one item."""
    view, starts, ends = ctx.first(node), ctx.known(node, "starts", 1), ctx.known(node, "ends", 2)
    if view is None or starts is None or ends is None or ctx.batch is None or ctx.batch.known:
        return False
    axes, steps = ctx.known(node, "axes", 3) or range(len(starts)), ctx.known(node, "steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=False):
        valid = step and -len(view.dims) <= axis < len(view.dims)
        each = size_of(view.dims[axis]).over(ctx.batch) if valid else None
        if each is not None and each.known and not range(*slice(start, end, step).indices(each.coefficient)):
            return True
    return False


def _births(layout: Layout) -> list[str]:
    """Return the values at which the axes of unknown size were born; the axes are named after these."""
    return [axis.root.rpartition(".")[0] for axis in axes_of(layout) if not axis.size.known]


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
