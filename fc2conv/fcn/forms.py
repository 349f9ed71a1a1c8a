"""Which axes of a map the dimensions of a value hold, so that it can be carried as that map whatever the image's size.

In a sliding network every value that an image reaches is carried as a map `[N, C, *S]`. The dimensions that it had at
the training size are a layout over that map's axes: `((0,), (1,), (2,), (3,))` is the map itself,
`((0,), (2,), (3,), (1,))` its form with the channels last, and `((0,), (1, 2, 3))` what a Flatten makes of it. An axis
is the number of a dimension of the map. Axes of one cell at the training size stay in the layout, as they grow with
the image.

A Reshape may take the channels apart. Then they are in the layout once for each part, and the value knows which
channels of the map it holds:

    r = Reshape (x, [N, 2, C/2, H, W])     layout ((0,), (1,), (1,), (2,), (3,)), channels [[0, 1, ..], [C/2, ..]]
    t = Transpose (r, [0, 2, 1, 3, 4])     the same layout, channels [[0, C/2], [1, C/2 + 1], ..]
    y = Reshape (t, [N, C, H, W])          y = Gather (x, [0, C/2, 1, ..]) on the channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.training import Shape
from fc2conv.verification.spec import Layout as Layout

BATCH, CHANNELS, SPACE = 0, 1, 2
"""The axes of a map; those from SPACE on are spatial."""
Order = NDArray[np.int64]
Pieces = tuple[tuple[tuple[int, int], ...], ...]
"""For each dimension the axes of a map that it runs over, or pieces of them, each with its size."""


@dataclass(frozen=True)
class Parts:
    """Channels that a value holds in several dimensions: those of its map, with a dimension for each part.

    `node` took them apart, and `detail` says what is wrong with that where they are not put together again.
    """

    order: Order
    node: NodeProto
    detail: str


@dataclass(frozen=True)
class Form:
    """A value of the original graph as a map: its `name` in the new one, its sizes at the training size, its layout.

    `free` are the spatial axes that grow with the image; the others have the same size for every image. A value whose
    channels are apart has `parts`; else it has all channels in their order.
    """

    name: str
    layout: Layout
    sizes: tuple[int, ...]
    free: frozenset[int]
    parts: Parts | None = field(default=None, compare=False)

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def order(self) -> Order:
        """The channels of the map that the value holds, a dimension for each part."""
        return self.parts.order if self.parts is not None else np.arange(self.sizes[CHANNELS])

    @property
    def pieces(self) -> Pieces:
        """The axes of each dimension, with their sizes; a part of the channels has its own."""
        parts = iter(self.sizes[CHANNELS:SPACE] if self.parts is None else self.parts.order.shape)
        return tuple(
            tuple((axis, next(parts) if axis == CHANNELS else self.sizes[axis]) for axis in dim) for dim in self.layout
        )

    def filled(self, dim: int) -> tuple[int, ...]:
        """Return the axes of a dimension that have more than one cell at the training size."""
        return tuple(axis for axis in self.layout[dim] if self.sizes[axis] > 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """The training shape of the value."""
        return tuple(prod(size for _, size in dim) for dim in self.pieces)

    def sizes_of(self, channels: int) -> tuple[int, ...]:
        """Return the sizes of a map of the same cells with this number of channels."""
        return (self.sizes[BATCH], channels, *self.sizes[SPACE:])

    @property
    def has_cells(self) -> bool:
        """Whether it has more than one cell along an axis that grows."""
        return any(self.sizes[axis] > 1 for axis in self.free)

    @property
    def is_map(self) -> bool:
        """Whether the value is the map itself: what runs on the one runs on the other with the same attributes."""
        return len(self.layout) == self.rank and all(
            axis == dim for dim in range(self.rank) for axis in self.filled(dim)
        )

    def axes(self, dims: Sequence[int]) -> set[int]:
        """Return the axes of several dimensions that have more than one cell."""
        return {axis for dim in dims for axis in self.filled(dim)}

    def parts_at(self, dim: int) -> range:
        """Return which parts of the channels a dimension holds."""
        before = sum(axes.count(CHANNELS) for axes in self.layout[:dim])
        return range(before, before + self.layout[dim].count(CHANNELS))

    def transposed(self, perm: Sequence[int]) -> Form:
        """Return the value with its dimensions in the order of `perm`."""
        form = replace(self, layout=tuple(self.layout[dim] for dim in perm))
        if self.parts is None:
            return form
        return form.holding(self.parts.order.transpose([part for dim in perm for part in self.parts_at(dim)]))

    def holding(self, order: Order) -> Form:
        """Return the value with other channels in its parts; merge neighbours, and drop parts of one channel."""
        assert self.parts is not None
        sizes, shape, layout = iter(order.shape), list[int](), list[tuple[int, ...]]()
        for dim in self.layout:
            kept: list[int] = []
            for axis in dim:
                size = next(sizes) if axis == CHANNELS else 0
                if size > 1 and kept and kept[-1] == CHANNELS:
                    shape[-1] *= size
                elif size != 1:
                    kept.append(axis)
                    shape += [size] if axis == CHANNELS else []
            layout.append(tuple(kept))
        return replace(self, layout=tuple(layout), parts=replace(self.parts, order=order.reshape(shape)))


def identity(rank: int) -> Layout:
    """Return the layout of a map itself."""
    return tuple((axis,) for axis in range(rank))


def regrouped(pieces: Pieces, target: Sequence[int]) -> Pieces | None:
    """Regroup elements into dimensions of the target's sizes (Reshape); None where an axis does not divide evenly.

    An axis of one cell stays with the axis before it, or has a dimension of size 1 of its own if the target has one.
    """
    left = [piece for dim in pieces for piece in dim]
    if not target or prod(size for _, size in left) != prod(target):
        return None
    out: list[tuple[tuple[int, int], ...]] = []
    for size in target:
        dim: list[tuple[int, int]] = []
        while size > 1 or (size == 1 and not dim and left and left[0][1] == 1):
            axis, extent = left.pop(0)
            taken = min(extent, size)
            if size % taken or extent % taken:
                return None
            if taken < extent:
                left.insert(0, (axis, extent // taken))
            dim.append((axis, taken))
            size //= taken
        out.append(tuple(dim))
    return (*out[:-1], (*out[-1], *left))


def without(layout: Layout, dims: Sequence[int]) -> Layout | None:
    """Remove dimensions, whose axes go to the dimension before, from a layout (Squeeze); None if nothing is left."""
    out: list[tuple[int, ...]] = []
    leading_axes: tuple[int, ...] = ()
    for dim, axes in enumerate(layout):
        if dim not in dims:
            out.append((*leading_axes, *axes))
            leading_axes = ()
        elif out:
            out[-1] = (*out[-1], *axes)
        else:
            leading_axes = (*leading_axes, *axes)
    return tuple(out) or None


def widened(layout: Layout, dims: Sequence[int]) -> Layout:
    """Insert empty dimensions at these places of the result into a layout (Unsqueeze)."""
    rest = list(layout)
    return tuple(() if dim in dims else rest.pop(0) for dim in range(len(layout) + len(dims)))


# ------------------------------------------------------------------ what the pass notes


@dataclass(frozen=True)
class Image:
    """An input that slides: the axis of its map that each dimension is, those that grow, and its training shape."""

    layout: Layout
    free: frozenset[int]
    shape: Shape = ()

    @property
    def dims(self) -> dict[int, int]:
        """The dimension of each axis that grows."""
        return {axis: dim for dim, (axis,) in enumerate(self.layout) if axis in self.free}

    @property
    def sizes(self) -> dict[int, int]:
        return {axis: self.shape[dim] for axis, dim in self.dims.items()}


@dataclass(frozen=True)
class Pool:
    """Pooling over the whole map: its node, what it reads and makes, and what was done with it.

    `slide` has a `kernel` of the training extent; `keep` and `within` (the backbone) stay pooling over the whole map.
    """

    node: NodeProto
    read: str
    made: str
    action: Literal["slide", "keep", "within"]
    kernel: Shape = ()


@dataclass(frozen=True)
class Count:
    """Of how many elements a value is the sum, or the mean: of all cells along some axes of a map, and its channels.

    `cells` and `elements` are those of the training size; the value grows as their number to the power of `power`.
    """

    read: str
    axes: tuple[int, ...]
    cells: int
    elements: int
    power: float

    def like(self, other: Count) -> bool:
        """Return whether both count the same number of elements, whatever map they are of."""
        return (self.axes, self.elements, self.power) == (other.axes, other.elements, other.power)
