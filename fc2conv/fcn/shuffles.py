"""Channels that a Reshape takes apart and another puts together again: the map with its channels in another order.

    r = Reshape (x, [N, 2, C/2, H, W])     the channels are in two dimensions
    t = Transpose (r, [0, 2, 1, 3, 4])     y = Gather (x, [0, C/2, 1, ...]) on the channels
    y = Reshape (t, [N, C, H, W])

On the way only the dimensions are followed, and no node is made. Blocks of cells that a Reshape takes out of an axis
that grows are channels too, of the map that a SpaceToDepth makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, Layout
from fc2conv.layout import axes
from fc2conv.layout.axes import Axis, Dim, Size

_CHANNELS = str(CHANNELS)
Order = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """A value that holds the channels of a map in several dimensions, or every so many of them from `first` on.

    `node` took them apart, and `detail` says what is wrong with that where they are not put together again.
    """

    form: Form
    layout: axes.Layout
    node: NodeProto
    detail: str
    first: int = 0

    @property
    def parts(self) -> Dim:
        """The parts of the channels, in the order of the dimensions that hold them."""
        return tuple(axis for axis in axes.axes_of(self.layout) if is_part(axis))

    @property
    def order(self) -> Order:
        """The channels of the map that the value holds, in the order of its own dimensions."""
        return order_of(self.parts, self.first)

    def axes_at(self, dims: Sequence[int]) -> Dim:
        """What some dimensions run over."""
        return tuple(axis for dim in dims for axis in self.layout[dim])


def is_part(axis: Axis) -> bool:
    """Whether an axis runs over channels."""
    return axis.root == _CHANNELS


def part(size: int, stride: int) -> Axis:
    """An axis over every so many channels."""
    return Axis(_CHANNELS, Size(size), Size(stride))


def order_of(parts: Sequence[Axis], first: int = 0) -> Order:
    """The channels that parts run over, the last of them innermost."""
    order = np.full((), first)
    for axis in parts:
        order = np.add.outer(order, np.arange(axis.size.coefficient) * axis.stride.coefficient)
    return order


def in_order(layout: axes.Layout) -> axes.Layout:
    """The layout with its parts as channels in the order of the dimensions."""
    parts = [axis for axis in axes.axes_of(layout) if is_part(axis)]
    strides = [prod(axis.size.coefficient for axis in parts[i + 1 :]) for i in range(len(parts))]
    rest = iter(strides)
    return tuple(
        tuple(part(axis.size.coefficient, next(rest)) if is_part(axis) else axis for axis in dim) for dim in layout
    )


def axis_of(form: Form, axis: int) -> Dim:
    """An axis of a map in whole."""
    return (Axis(str(axis), Size(form.sizes[axis])),) if form.sizes[axis] > 1 else ()


def of_dimensions(form: Form, shape: Sequence[int]) -> Split:
    """An input whose dimensions are the batch, channels and axes of an image, as the layout of its map says."""
    layout = tuple(
        (part(size, 1) if axis == CHANNELS else Axis(str(axis), Size(size)),) if size > 1 else ()
        for size, (axis, *_) in zip(shape, form.layout, strict=True)
    )
    return Split(form, in_order(layout), NodeProto(name=form.name), "it holds the channels in several dimensions")


def whole(form: Form, node: NodeProto, detail: str) -> Split:
    """A value that holds the channels together."""
    layout = tuple(tuple(each for axis in dim for each in axis_of(form, axis)) for dim in form.layout)
    return Split(form, layout, node, detail)


def cut(node: NodeProto, form: Form, target: Sequence[int], detail: str) -> Split | None:
    """A map in dimensions of the target's sizes, whatever they cut; None where that does not divide an axis."""
    if any(form.sizes[axis] == 1 for axis in form.free):
        return None  # an axis that grows must be seen to stay where it is
    return _regrouped(whole(form, node, detail), target)


def blocks(value: Split) -> tuple[int, axes.Layout] | None:
    """The size of the blocks that a value takes out of both spatial axes, and its layout behind SpaceToDepth.

    That makes the row in a block the major part of the channels, and the column the next one.
    """
    form = value.form
    channels = form.sizes[CHANNELS]
    found: dict[Axis, Axis] = {}
    sizes: set[int] = set()
    for axis in range(SPACE, form.rank):
        cuts = [each for each in axes.axes_of(value.layout) if each.root == str(axis)]
        if len(cuts) != SPACE or axis not in form.free:
            return None
        inner, outer = sorted(cuts, key=lambda each: each.stride.coefficient)
        sizes.add(inner.size.coefficient)
        found[outer] = Axis(str(axis), outer.size)
        found[inner] = part(inner.size.coefficient, channels * (inner.size.coefficient if axis == SPACE else 1))
    if form.rank != SPACE + 2 or len(sizes) != 1:
        return None
    return sizes.pop(), tuple(tuple(found.get(axis, axis) for axis in dim) for dim in value.layout)


def joined_blocks(value: Split) -> tuple[int, Order, axes.Layout] | None:
    """What `blocks` takes apart: their size, the channels in DepthToSpace's order, and the layout behind it."""
    form = value.form
    at: dict[str, Axis] = {}
    for dim in value.layout:
        for axis, inner in pairwise(dim):
            if not is_part(axis) and is_part(inner) and int(axis.root) in form.free:
                at[axis.root] = inner
    sizes = {inner.size.coefficient for inner in at.values()}
    if form.rank != SPACE + 2 or len(at) != form.rank - SPACE or len(sizes) != 1:
        return None
    rest = tuple(tuple(axis for axis in dim if axis not in at.values()) for dim in value.layout)
    parts = tuple(axis for axis in axes.axes_of(rest) if is_part(axis))
    order = order_of((*(at[str(axis)] for axis in range(SPACE, form.rank)), *parts), value.first).reshape(-1)
    grown = tuple(
        tuple(Axis(axis.root, axis.size * at[axis.root].size) if axis.root in at else axis for axis in dim)
        for dim in rest
    )
    return sizes.pop(), order, in_order(grown)


def regrouped(value: Split, target: Sequence[int]) -> Split | None:
    """The value in other dimensions; None where they cut more than the channels."""
    found = _regrouped(value, target)
    return found if found is not None and is_whole(found) else None


def _regrouped(value: Split, target: Sequence[int]) -> Split | None:
    layout = axes.regroup(axes.normal(value.layout), [Size(size) for size in target])
    return None if layout is None else replace(value, layout=layout)


def is_whole(value: Split) -> bool:
    """Whether a value has every axis in whole, but for the channels."""
    rest = [axis for axis in axes.axes_of(value.layout) if not is_part(axis)]
    return all(axis.size == Size(value.form.sizes[int(axis.root)]) for axis in rest)


def picked(value: Split, dim: int, index: int) -> Split | None:
    """The value at one index of a dimension that holds a part of the channels, and nothing else."""
    dim_axes = value.layout[dim]
    if len(dim_axes) != 1 or not is_part(dim_axes[0]):
        return None
    index %= dim_axes[0].size.coefficient
    rest = (*value.layout[:dim], *value.layout[dim + 1 :])
    return replace(value, layout=rest, first=value.first + index * dim_axes[0].stride.coefficient)


def joined(value: Split) -> tuple[Order, Layout] | None:
    """The channels in their order and the layout of the map that has them so; None while they are apart."""
    at = [i for i, dim in enumerate(value.layout) if any(map(is_part, dim))]
    if len(at) > 1:
        return None
    kept = [[int(axis.root) for axis in dim if not is_part(axis)] for dim in value.layout]
    if at:
        places = [i for i, axis in enumerate(value.layout[at[0]]) if is_part(axis)]
        if places[-1] - places[0] >= len(places):
            return None
        kept[at[0]].insert(places[0], CHANNELS)
    return value.order.reshape(-1), _completed(kept, value.form.rank)


def _completed(layout: list[list[int]], rank: int) -> Layout:
    """The layout with the axes of one cell, which no size tells apart: in empty dimensions first."""
    present_axes = {axis for dim in layout for axis in dim}
    for axis in range(rank):
        if axis not in present_axes:
            empty = next((dim for dim in layout if not dim), layout[0] if axis == BATCH else layout[-1])
            empty.append(axis)
    return tuple(map(tuple, layout))


# ------------------------------------------------------------------ values side by side


def meeting(layouts: Sequence[axes.Layout], sizes: Sequence[Sequence[int]]) -> axes.Layout | None:
    """The layout of what values with these broadcast to, the parts of the channels in the order of its dimensions.

    `sizes` are the shapes of constants beside them: what they spread is a part of the channels. None where values hold
    other axes in the same dimension.
    """
    rank = max((*map(len, layouts), *map(len, sizes)))
    found: list[Dim] = []
    for dim in range(rank):
        candidates = [each for layout in layouts if (each := at(layout, dim, rank))]
        many = [shape[dim - rank] for shape in sizes if dim >= rank - len(shape) and shape[dim - rank] > 1]
        if not candidates:
            found.append((part(many[0], 1),) if many else ())
            continue
        finest = max(candidates, key=len)
        if any(pieces(each, finest) is None for each in candidates):
            return None
        found.append(finest)
    return in_order(tuple(found))


def at(layout: axes.Layout, dim: int, rank: int) -> Dim:
    """What a value holds in a dimension of a result of higher rank."""
    i = dim - (rank - len(layout))
    return layout[i] if i >= 0 else ()


def pieces(dim: Dim, like: Dim) -> Dim | None:
    """The axes of a dimension cut as those of another of the same size; None where they run over others."""
    left, found = list(dim), list[Axis]()
    for axis in like:
        if not left or (is_part(left[0]) != is_part(axis)) or (not is_part(axis) and left[0].root != axis.root):
            return None
        first = left.pop(0)
        inner = first.size.over(axis.size)
        if inner is None:
            return None
        outer, rest = first.split(inner) or (first, None)
        found.append(outer)
        if rest is not None and rest.size != Size(1):
            left.insert(0, rest)
    return None if left else tuple(found)


def channels_at(value: Split, result: axes.Layout) -> Order:
    """The channel of a value for each channel of a result that it broadcasts to."""
    rank, order = len(result), np.full((), value.first)
    for dim, like in enumerate(result):
        own_pieces = pieces(mine, like) if (mine := at(value.layout, dim, rank)) else None
        for i, axis in enumerate(like):
            if is_part(axis):
                stride = own_pieces[i].stride.coefficient if own_pieces is not None else 0
                order = np.add.outer(order, np.arange(axis.size.coefficient) * stride)
    return order.reshape(-1)


def constant_at(values: NDArray[np.generic], result: axes.Layout) -> NDArray[np.generic] | None:
    """A constant that broadcasts to a result as one of its channels; None where it differs along another axis."""
    full = values.reshape((1,) * (len(result) - values.ndim) + values.shape)
    shape = [1 if full.shape[dim] == 1 else axis.size.coefficient for dim, like in enumerate(result) for axis in like]
    whole = [axis for like in result for axis in like]
    full = full.reshape(shape) if prod(shape) == full.size else full
    if full.ndim != len(whole):
        return None
    for place, axis in reversed(list(enumerate(whole))):
        if not is_part(axis):
            first = np.take(full, [0], place)
            if not np.array_equal(np.broadcast_to(first, full.shape), full):
                return None
            full = np.take(full, 0, place)
    channels = [axis.size.coefficient for axis in whole if is_part(axis)]
    return full.reshape(1) if full.size == 1 else np.broadcast_to(full, channels).reshape(-1)
