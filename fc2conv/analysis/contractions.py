"""Fully connected layers as convolutions, on the views of what they read."""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, size_remedy
from fc2conv.analysis.ranks import with_known_sizes
from fc2conv.analysis.spatial import sequence_of
from fc2conv.ir.graph import label, op
from fc2conv.layers import FCLayer
from fc2conv.layers.weights import kernel_of
from fc2conv.layout.axes import Kind, Layout, Size, axes_of, same_axes, size_of
from fc2conv.layout.contraction import Contraction, Obstacle, contract, grouped_frame, own_frame
from fc2conv.layout.view import Provenance, View
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
