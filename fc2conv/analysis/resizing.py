"""Nodes that make dimensions longer or shorter: Expand, Pad, Tile, Resize.

[N, H, W, C] -> Pad(0, 1, 1, 0)       on spatial forms: [N, C, H, W] -> Pad(0, 0, 1, 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.analysis.axiswise import new_list, recut
from fc2conv.analysis.context import Context, Inferred, handles, of_rank, repeats_to, unknown
from fc2conv.analysis.facts import AsIs, Elide, Expand, FormOf, NewInts, Operand, Relaid, Remap, Step
from fc2conv.ir.graph import op
from fc2conv.layers.weights import can_relay
from fc2conv.layout.axes import ONE, Axis, Layout, kind_of, same_axes, size_of
from fc2conv.layout.view import View, position

_PADS_ARE_OPERANDS = 11
_OF_SOME_AXES = frozenset(["axes", "keep_aspect_ratio_policy"])


@handles("Expand")
def _expand(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out what is repeated along new axes as the requested spatial form, if each of them is a dimension of it."""
    if (found := _unrepeated(ctx, node) or _of_constant(ctx, node) or _expanded_as(ctx, node)) is not None:
        return found
    found, view, wanted = _resized(ctx, node), ctx.data(node), ctx.requested.get(node.output[0])
    if found is None or wanted is None or view.spatial_form is None or not repeats_to(view.spatial_form, wanted):
        return found
    counts = _counts(view.spatial_form, wanted)
    if counts is None or not same_axes(found.first.dims, wanted):
        return found
    return Inferred((replace(found.first, spatial_form=wanted),), Remap((FormOf(node.input[0]), counts)))


def _counts(form: Layout, wanted: Layout) -> NewInts | None:
    """Return the operand with which Expand repeats one spatial form to another; None where a size is not known."""
    return NewInts.of([ONE if old == new else size_of(new) for old, new in zip(form, wanted, strict=True)])


def _unrepeated(ctx: Context, node: NodeProto) -> Inferred | None:
    """Elide an Expand to the value's own sizes, as of [N, 1, 1, C] by a shape that was computed for it."""
    view, asked = ctx.first(node), ctx.integers(node.input[1])
    if view is None or view.spatial_form is None or asked is None:
        return None
    dims = of_rank(view.dims, len(asked))
    counts = (*(ONE,) * (len(dims) - len(asked)), *asked)
    if any(count not in (ONE, size_of(dim)) for count, dim in zip(counts, dims, strict=True)):
        return None
    return Inferred((view.with_dims(dims),), Elide(node.input[0]))


def _of_constant(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out a constant that is repeated (a class token for each item) as the spatial form that is asked for.

    Expand([1, 1, C], [N, 1, C])          on spatial forms: Expand([1, C, 1, 1], [N, 1, 1, 1])
    """
    wanted = ctx.requested.get(node.output[0])
    if wanted is None or not ctx.constants.computable(node.input[0]):
        return None
    (view,), shape, length = ctx.lost(node).views, ctx.constants.shape(node.input[0]), ctx.shape(node.input[1])
    if view is None or shape is None or not length or not length[0].known:
        return None
    added = len(view.dims) - len(shape)
    stored = tuple(() if i < added or shape[i - added] == 1 else dim for i, dim in enumerate(view.dims))
    repeated = [dim for dim, own in zip(view.dims, stored, strict=True) if dim != own]
    target = tuple(() if dim in repeated else dim for dim in wanted)
    if not same_axes(view.dims, wanted) or not same_axes(stored, target) or added < 0:
        return None
    source = stored[added:]
    if not can_relay(shape, source, target):
        return None
    data, result = Relaid(node.input[0], source, target), replace(view, spatial_form=wanted)
    # Expand takes 1 for a dimension that the constant has itself.
    if (sizes := NewInts.of([size_of(dim) if dim in repeated else ONE for dim in wanted])) is not None:
        return Inferred((result,), Remap((data, sizes)))
    one, first = length[0].coefficient, len(view.dims) - length[0].coefficient
    places = tuple(view.dims.index(dim) - first if dim in repeated else one for dim in wanted)
    steps = (
        Step("Concat", (AsIs(node.input[1]), NewInts((1,))), {"axis": 0}),
        Step("Gather", (-1, NewInts(places)), {"axis": 0}),
        Step("Expand", (data, -1)),
    )
    return Inferred((result,), Expand(steps))


def _expanded_as(ctx: Context, node: NodeProto) -> Inferred | None:
    """Give a value that is repeated to the shape of another the axes and spatial form of that, as |x| in x / |x|."""
    view, shape, asked = ctx.first(node), ctx.shapes.get(node.output[0]), ctx.integers(node.input[1])
    if view is None or view.spatial_form is None or shape is None:
        return None
    counts = unknown("", len(shape)) if asked is None else (*(ONE,) * (len(shape) - len(asked)), *asked)
    for name, measured in _of_that_shape(ctx, node):
        other = ctx.view(name)
        if other is None or other.spatial_form is None or len(other.dims) != len(shape):
            continue
        dims = of_rank(view.dims, len(shape))
        # An open size that is 1 is repeated as often as is asked for.
        if not measured and any(
            size != size_of(new) if size.known else not old or old != new or count not in (ONE, size_of(old))
            for old, new, size, count in zip(dims, other.dims, shape, counts, strict=True)
        ):
            continue
        if not repeats_to(dims, other.dims) or not repeats_to(view.spatial_form, other.spatial_form):
            continue
        result = replace(view, dims=other.dims, spatial_form=other.spatial_form, origin=node.output[0])
        if (sizes := _counts(view.spatial_form, other.spatial_form)) is not None:
            return Inferred((result,), Remap((FormOf(node.input[0]), sizes)))
        steps = (Step("Shape", (FormOf(name),)), Step("Expand", (FormOf(node.input[0]), -1)))
        return Inferred((result,), Expand(steps))
    return None


def _of_that_shape(ctx: Context, node: NodeProto) -> Iterator[tuple[str, bool]]:
    """Yield values that may have the shape of an Expand's result: the one whose shape it asks for, those it meets."""
    maker = ctx.graph.made_by(node.input[1])
    if maker is not None and op(maker) == "Shape" and not maker.attribute:
        yield maker.input[0], True
    for i in ctx.graph.uses.get(node.output[0], []):
        yield from ((name, False) for name in ctx.graph.nodes[i].input if name)


@handles("Pad")
def _pad(ctx: Context, node: NodeProto) -> Inferred | None:
    """Make each padded dimension a new axis, where the spatial form holds the dimension as it is."""
    found, view, pads = _resized(ctx, node), ctx.data(node), ctx.known(node, "pads", 1)
    shape = ctx.shapes.get(node.output[0])
    if found is None or view.spatial_form is None or view.free or pads is None or shape is None:
        return found
    rank = len(view.dims)
    given = ctx.known(node, "axes", 3) if len(node.input) > 3 and node.input[3] else list(range(rank))
    if given is None or len(pads) != 2 * len(given) or len(shape) != rank:
        return found
    result, moved = view, [0] * (2 * len(view.spatial_form))
    for i, axis in enumerate(given):
        edges = pads[i], pads[i + len(given)]
        at = position(result, axis % rank)
        if edges != (0, 0) and at is None:
            return found
        if edges != (0, 0) and at is not None:
            result = recut(node.output[0], result, axis % rank, shape[axis % rank])
            moved[at], moved[at + len(view.spatial_form)] = edges
    if ctx.graph.opset < _PADS_ARE_OPERANDS:
        return Inferred((result,), Remap((FormOf(node.input[0]),), {"pads": moved}))
    value = (AsIs(node.input[2]),) if len(node.input) > 2 else ()
    return Inferred((result,), Remap((FormOf(node.input[0]), NewInts(tuple(moved)), *value)))


@handles("Tile", "Resize", "Upsample")
def _repeated(ctx: Context, node: NodeProto) -> Inferred | None:
    """Resize dimensions of a spatial form that is not the value itself as those of the value: [N, C, 1, L]."""
    found, view, shape = _resized(ctx, node), ctx.data(node), ctx.shapes.get(node.output[0])
    if found is None or view.spatial_form is None or view.free or shape is None:
        return found
    old, new = found.first, view
    if len(shape) != len(view.dims):
        return found
    places: dict[int, int] = {}
    for i, (dim, other) in enumerate(zip(view.dims, old.dims, strict=True)):
        at = position(view, i)
        if at is not None:
            places[at] = i
        elif other != dim:
            return found
        if other != dim:
            new = recut(node.output[0], new, i, shape[i])
    operands = _each(ctx, node, places, len(shape), len(view.spatial_form))
    if operands is None or any(dim and at not in places for at, dim in enumerate(view.spatial_form)):
        return found
    return Inferred((new,), Remap((FormOf(node.input[0]), *operands)))


def _each(
    ctx: Context, node: NodeProto, places: Mapping[int, int], count: int, rank: int
) -> tuple[Operand, ...] | None:
    """Return how often, the scales, or the sizes for a spatial form's dimensions; the node has `count` of them."""
    last = len(node.input) - 1
    numbers = ctx.number(node.input[last]) if last > 0 else None
    others = any(node.input[1:last]) or any(each.name in _OF_SOME_AXES for each in node.attribute)
    if numbers is None or not numbers.known or numbers.cells.shape != (count,) or others:
        return None
    array = numbers.array()
    moved = np.array([array[places[i]] if i in places else 1 for i in range(rank)], array.dtype)
    return (*(AsIs("") for _ in node.input[1:last]), new_list(moved))


def _resized(ctx: Context, node: NodeProto) -> Inferred | None:
    """Keep dimensions whose size stays, and replace those that change by new axes; return a map for a map."""
    view, shape = ctx.data(node), ctx.shapes.get(node.output[0])
    if shape is None or len(shape) < len(view.dims):
        return None
    dims = tuple(
        dim if size_of(dim) == size and size.known else (Axis(f"{node.output[0]}.{i}", size, kind=kind_of(dim)),)
        for i, (dim, size) in enumerate(zip(of_rank(view.dims, len(shape)), shape, strict=True))
    )
    if view.free and len(shape) == len(view.dims) and len(dims) > 2:
        return Inferred((View(dims, dims, view.provenance, node.output[0], view.blocked_by),))
    return ctx.opaque(node, dims)
