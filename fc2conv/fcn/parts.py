"""Channels that a Reshape takes apart and another puts together again, and what is computed of their parts.

On the way only the dimensions are followed, and no node is made. Blocks of cells that a Reshape takes out of the axes
that grow are channels too, of the map that a SpaceToDepth makes.

q = Reshape (x, [N, G, C/G, H, W])  m = ReduceMax (q, axes = [2])   ->   between two reshapes of any size
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import count, pairwise
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.counts import follow_count
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, Layout, Order, Parts, Pieces, regrouped, without
from fc2conv.fcn.geometry import packed, unpacked
from fc2conv.fcn.slider import Slider, Stuck, kept_apart
from fc2conv.reasons import Code

_FOLDED = "Cut the model behind that node, so that its input is the map which this node makes."


def apart(form: Form, node: NodeProto, detail: str) -> Form:
    """Return a value with `parts`, as its channels are going to be in several."""
    return form if form.parts is not None else replace(form, parts=Parts(form.order, node, detail)).holding(form.order)


def left(node: NodeProto, layout: Layout, dims: Sequence[int]) -> Layout:
    """Return a layout without some dimensions; raise Stuck where nothing is left."""
    found = without(layout, dims)
    if found is None:
        raise Stuck(Code.NOT_SLIDING, node, "nothing of the map is left")
    return found


def channels_last(slider: Slider, name: str, rank: int, wanted: str) -> str:
    """Transpose a map to channels last; return its name."""
    return slider.add("Transpose", [name], wanted, perm=(0, *range(SPACE, rank), CHANNELS))


def channels_first(slider: Slider, name: str, rank: int, wanted: str, made: str = "") -> str:
    """Transpose a value with channels last to a map again; return its name."""
    return slider.add("Transpose", [name], wanted, made=made, perm=(0, rank - 1, *range(1, rank - 1)))


def in_channels(slider: Slider, form: Form, order: Order, wanted: str) -> Form:
    """Gather these channels of a map, in their order."""
    if order.size == form.sizes[CHANNELS] and (order == np.arange(order.size)).all():
        return form
    listed = slider.tensors.ints(tuple(int(i) for i in order.flat), f"{wanted}_channels")
    made = slider.add("Gather", [form.name, listed], f"{wanted}_gather", axis=CHANNELS)
    return slider.derived(form, made, sizes=form.sizes_of(order.size))


def in_order(slider: Slider, form: Form, wanted: str) -> Form:
    """Return a value with the channels of its map in the order of its parts."""
    made = in_channels(slider, form, form.order.reshape(-1), wanted)
    return made if made.parts is None else made.holding(np.arange(form.order.size).reshape(form.order.shape))


def settled(slider: Slider, form: Form, wanted: str) -> Form:
    """Return a value whose channels are in one part as the map with them in their order, and any other as it is."""
    if form.parts is None or form.parts.order.ndim > 1:
        return form
    return replace(in_order(slider, form, wanted), layout=_completed(form), parts=None)


def put_together(slider: Slider, node: NodeProto, form: Form, index: int = 0) -> None:
    """Note what a node makes; where its channels are in one part again, note the map with them in their order."""
    made, form = node.output[index], settled(slider, form, node.output[index])
    if form.parts is not None and (found := _inner_parts(form)):
        put_together(slider, node, _unpacked(slider, form, found, made), index)
        return
    slider.forms[made] = form


def join_outputs(slider: Slider) -> None:
    """Put the channels that outputs hold in several dimensions into the order of those dimensions."""
    for name in dict.fromkeys(slider.graph.outputs):
        if name in slider.forms and slider.forms[name].parts is not None:
            slider.forms[name] = in_order(slider, slider.forms[name], name)


def _completed(form: Form) -> Layout:
    """Put the axes of one element for every image, which no size tells apart, into empty dimensions first."""
    there = {
        axis for dim in form.layout for axis in dim if axis in form.free or axis == CHANNELS or form.sizes[axis] > 1
    }
    layout = [[axis for axis in dim if axis in there] for dim in form.layout]
    for axis in range(form.rank):
        if axis not in there:
            empty = next((dim for dim in layout if not dim), layout[0] if axis == BATCH else layout[-1])
            empty.append(axis)
    return tuple(map(tuple, layout))


def regroup(slider: Slider, node: NodeProto, form: Form, target: Sequence[int]) -> Form:
    """Regroup a value into other dimensions; raise Stuck if it splits anything but channels or blocks."""
    pieces = regrouped(form.pieces, target)
    flat = [axis for dim in pieces or () for axis, _ in dim]
    detail = f"{list(form.shape)} becomes {list(target)}"
    remedy = _FOLDED if form.sizes[CHANNELS] == 1 and len(target) > len(form.layout) else ""
    stuck = kept_apart(form) if form.parts is not None else Stuck(Code.SIZES_MIXED, node, detail, remedy)
    if pieces is None:
        raise stuck
    layout = tuple(tuple(axis for axis, _ in dim) for dim in pieces)
    if form.parts is None and len(flat) == len(set(flat)):
        return replace(form, layout=layout)
    if form.parts is None and not form.free:
        raise stuck
    form = apart(form, node, detail)
    order = form.order.reshape([size for dim in pieces for axis, size in dim if axis == CHANNELS])
    if all(flat.count(axis) == 1 for axis in flat if axis != CHANNELS):
        return replace(form, layout=layout).holding(order)
    made = _packed(slider, node, form, pieces, order)
    if made is None:
        raise stuck
    return made


def _packed(slider: Slider, node: NodeProto, form: Form, pieces: Pieces, order: Order) -> Form | None:
    """Turn blocks of cells into channels by a SpaceToDepth; return None for pieces that are not blocks of one size.

    SpaceToDepth makes the row in a block the major part of the channels, and the column the next one.
    """
    seen: set[int] = set()
    places, layout, inner, part = list[int](), list[tuple[int, ...]](), dict[int, int](), count(SPACE)
    for dim in pieces:
        axes: list[int] = []
        for axis, size in dim:
            if axis in seen and axis != CHANNELS:
                inner[axis] = size if axis in form.free and axis not in inner else 0
            places += [next(part)] if axis == CHANNELS else [axis - SPACE] if axis in seen else []
            axes.append(CHANNELS if axis in seen else axis)
            seen.add(axis)
        layout.append(tuple(axes))
    block = inner.get(SPACE, 0)
    if form.rank != SPACE + 2 or inner != {SPACE: block, SPACE + 1: block} or not block:
        return None
    made = slider.add("SpaceToDepth", [form.name], f"{node.output[0]}_blocks", blocksize=block)
    channels = form.sizes[CHANNELS]
    sizes = (form.sizes[BATCH], channels * block**2, *(size // block for size in form.sizes[SPACE:]))
    steps = dict.fromkeys(range(SPACE, form.rank), packed(made, form.name, block))
    order = np.arange(block**2 * channels).reshape(block, block, channels)[:, :, order].transpose(places)
    return slider.derived(form, made, steps, layout=tuple(layout), sizes=sizes).holding(order)


def _inner_parts(form: Form) -> dict[int, int]:
    """Return by axis the part of the channels that is the place in a block of cells; {} where there are no blocks."""
    found: dict[int, int] = {}
    parts = count()
    for dim in form.layout:
        numbered = [(axis, next(parts) if axis == CHANNELS else 0) for axis in dim]
        found |= {
            axis: number for (axis, _), (inner, number) in pairwise(numbered) if axis in form.free and inner == CHANNELS
        }
    sizes = {form.order.shape[part] for part in found.values()}
    return found if form.rank == SPACE + 2 and len(found) == form.rank - SPACE and len(sizes) == 1 else {}


def _unpacked(slider: Slider, form: Form, inner: Mapping[int, int], wanted: str) -> Form:
    """Turn channels that are blocks of cells into cells by a DepthToSpace."""
    assert form.parts is not None
    first = [inner[axis] for axis in range(SPACE, form.rank)]
    rest = [part for part in range(form.order.ndim) if part not in first]
    order, block = form.order.transpose(first + rest), form.order.shape[first[0]]
    form = in_channels(slider, form, order.reshape(-1), f"{wanted}_blocks")
    made = slider.add("DepthToSpace", [form.name], f"{wanted}_cells", blocksize=block)
    sizes = (form.sizes[BATCH], form.sizes[CHANNELS] // block**2, *(size * block for size in form.sizes[SPACE:]))
    steps = dict.fromkeys(range(SPACE, form.rank), unpacked(made, form.name, block))
    parts = count()
    layout = tuple(tuple(axis for axis in dim if axis != CHANNELS or next(parts) in rest) for dim in form.layout)
    kept = order.shape[SPACE:]
    made_of = slider.derived(form, made, steps, layout=layout, sizes=sizes)
    return made_of.holding(np.arange(prod(kept)).reshape(kept))


def taken(form: Form, at: Mapping[int, Order]) -> Form:
    """Take indices of dimensions that hold one part of the channels each; a scalar index removes the dimension."""
    order, layout = form.order, list(form.layout)
    for dim, indices in sorted(at.items(), reverse=True):
        if form.filled(dim) != (CHANNELS,) and (form.filled(dim) or indices.ndim):
            raise kept_apart(form)
        order = np.take(order, indices, form.parts_at(dim).start) if form.filled(dim) else order
        if not indices.ndim:
            layout[dim] = tuple(axis for axis in layout[dim] if axis != CHANNELS)
    gone = [dim for dim, indices in at.items() if not indices.ndim]
    return replace(form, layout=without(tuple(layout), gone) or ()).holding(order)


# ------------------------------------------------------------------ values side by side


def meeting(node: NodeProto, maps: Sequence[Form]) -> Form:
    """Return the form, without a name, that several values broadcast to; raise Stuck where their layouts differ."""
    first = max(maps, key=lambda form: (len(form.layout), form.rank))
    about = next((form for form in maps if form.parts is not None), None)
    stuck = Stuck(Code.SIZES_MIXED, node, "its operands hold the map in different orders")
    several = {CHANNELS} if about is not None else set[int]()
    pieces = list(_pieces(first, several))
    for other in maps:
        if other.rank != first.rank:
            raise Stuck(Code.SIZES_MIXED, node, "its operands come from maps of different rank")
        for dim, theirs in enumerate(_pieces(other, several), start=len(pieces) - len(other.layout)):
            mine, filled = ([piece for piece in each if piece[1] > 1] for each in (pieces[dim], theirs))
            elsewhere = {axis for i, dim_pieces in enumerate(pieces) if i != dim for axis, _ in dim_pieces}
            if (mine and filled and mine != filled) or (elsewhere - several) & {axis for axis, _ in filled}:
                raise kept_apart(about) if about is not None else stuck
            if filled and not mine:
                pieces[dim] = theirs
    sizes = tuple(max(form.sizes[axis] for form in maps) for axis in range(first.rank))
    layout = _whole([tuple(axis for axis, _ in dim) for dim in pieces], first.rank, several)
    free = frozenset(axis for form in maps for axis in form.free)
    for form in maps:
        if any(form.sizes[axis] > 1 for axis in free - form.free):
            raise Stuck(Code.SIZE_IN_CONSTANT, node, f"the operand {form.name} has as many cells for every image")
    form = Form("", layout, sizes, free, None if about is None else about.parts)
    if about is None:
        return form
    shape = [size for dim in pieces for axis, size in dim if axis == CHANNELS]
    return replace(form, sizes=form.sizes_of(prod(shape))).holding(np.arange(prod(shape)).reshape(shape))


def _pieces(form: Form, several: Set[int]) -> Pieces:
    """Return the pieces of a value, without those of one element along an axis that others may have several times."""
    return tuple(tuple((axis, size) for axis, size in dim if size > 1 or axis not in several) for dim in form.pieces)


def _whole(layout: Sequence[Sequence[int]], rank: int, several: Set[int]) -> Layout:
    """Return the layout with each axis once: a repeated axis stays where it is first, a lost one joins the end."""
    seen: set[int] = set()
    out: list[tuple[int, ...]] = []
    for dim in layout:
        out.append(tuple(axis for axis in dim if axis not in seen))
        seen.update(set(dim) - several)
    missing = tuple(axis for axis in range(rank) if axis not in seen | several)
    return (*out[:-1], (*out[-1], *missing)) if missing and out else tuple(out)


def spread_out(slider: Slider, form: Form, result: Form, wanted: str) -> Form:
    """Gather for an operand the channels that a result has of it, where the result has them in several parts."""
    if result.parts is None or form.sizes[CHANNELS] == 1:
        return form
    shift, order = len(result.layout) - len(form.layout), form.order
    for dim in range(len(result.layout)):
        for i, part in enumerate(result.parts_at(dim)):
            if dim < shift or i >= len(form.parts_at(dim - shift)):
                order = np.expand_dims(order, part)
    return in_channels(slider, form, np.broadcast_to(order, result.order.shape).reshape(-1), wanted)


def in_dimensions(slider: Slider, form: Form, wanted: str) -> tuple[Form, str]:
    """Return a value in the order of its parts, and its map with a dimension for each part."""
    form = in_order(slider, form, wanted)
    return form, reshaped(slider, form, form.order.shape, wanted)


def reshaped(slider: Slider, form: Form, parts: Sequence[int], wanted: str, name: str = "", made: str = "") -> str:
    """Reshape a map to these parts of its channels, or a value that is computed of it with other channels."""
    shape = slider.tensors.ints((-1, *parts, *form.sizes[SPACE:]), "parts")
    if form.free:
        shape = slider.extent(form, *parts)
    return slider.add("Reshape", [name or form.name, shape], f"{wanted}_parts", made=made)


def over_channels(slider: Slider, node: NodeProto, form: Form, kind: str, dims: Sequence[int]) -> Form:
    """Reduce dimensions that hold channels: all channels, or parts of them between two Reshapes."""
    made = node.output[0]
    if form.parts is None:
        slider.put(node, kind, [form.name], axes=[CHANNELS], keepdims=1)
        new = replace(form, name=made, sizes=form.sizes_of(1))
        more = form.sizes[CHANNELS]
    else:
        form, parted = in_dimensions(slider, form, made)
        gone = [part for dim in dims for part in form.parts_at(dim)]
        kept = [size for part, size in enumerate(form.order.shape) if part not in gone]
        reduced = slider.add(kind, [parted], f"{made}_reduced", axes=[CHANNELS + p for p in gone], keepdims=0)
        reshaped(slider, form, [prod(kept)], made, reduced, made)
        layout = [
            [axis for axis in axes if axis != CHANNELS or dim not in dims] for dim, axes in enumerate(form.layout)
        ]
        more = form.order.size // prod(kept)
        new = replace(form, name=made, sizes=form.sizes_of(prod(kept)), layout=tuple(map(tuple, layout)))
        new = new.holding(np.arange(prod(kept)).reshape(kept))
    slider.trace(made, [form])
    if kind in ("ReduceMean", "ReduceSum"):
        follow_count(slider, node, form.name, more)
    return new
