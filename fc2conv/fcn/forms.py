"""Which axes of a map the dimensions of a value hold, so that it can be carried as that map whatever the image's size.

In a sliding network every value that an image reaches is carried as a map `[N, C, *S]`. The dimensions that it had at
the training size are a layout over that map's axes: `((0,), (1,), (2,), (3,))` is the map itself,
`((0,), (2,), (3,), (1,))` its form with the channels last, and `((0,), (1, 2, 3))` what a Flatten makes of it. An axis
is the number of a dimension of the map. Axes of one cell at the training size stay in the layout, as they grow with
the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from fc2conv.dataclass import dataclass
from fc2conv.verification.spec import Layout as Layout

BATCH, CHANNELS, SPACE = 0, 1, 2
"""The axes of a map; those from SPACE on are spatial."""


@dataclass(frozen=True)
class Form:
    """A value of the original graph as a map: its `name` in the new one, its sizes at the training size, its layout.

    `free` are the spatial axes that grow with the image; the others have the same size for every image.
    """

    name: str
    layout: Layout
    sizes: tuple[int, ...]
    free: frozenset[int]

    @property
    def rank(self) -> int:
        """The rank of the map."""
        return len(self.sizes)

    def filled(self, dim: int) -> tuple[int, ...]:
        """The axes of a dimension that have more than one cell at the training size."""
        return tuple(axis for axis in self.layout[dim] if self.sizes[axis] > 1)

    def size(self, dim: int) -> int:
        """How many elements a dimension has at the training size."""
        return prod(self.sizes[axis] for axis in self.layout[dim])

    def sizes_of(self, channels: int) -> tuple[int, ...]:
        """The sizes of a map of the same cells with so many channels."""
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
        """The axes of several dimensions that have more than one cell."""
        return {axis for dim in dims for axis in self.filled(dim)}


def growing(forms: Iterable[Form]) -> frozenset[int]:
    """The axes along which any of some maps grows."""
    return frozenset(axis for form in forms for axis in form.free)


def identity(rank: int) -> Layout:
    """The layout of a map itself."""
    return tuple((axis,) for axis in range(rank))


def regrouped(layout: Layout, sizes: Sequence[int], target: Sequence[int]) -> Layout | None:
    """The same axes in dimensions of the target's sizes (Reshape); None where a dimension would cut an axis.

    An axis of one cell stays with the axis before it, or has a dimension of size 1 of its own if the target has one.
    """
    axes = [axis for dim in layout for axis in dim]
    if not target or prod(sizes[axis] for axis in axes) != prod(target):
        return None
    out: list[tuple[int, ...]] = []
    for size in target:
        dim: list[int] = []
        elements = 1
        while elements < size or (size == 1 and not dim and axes and sizes[axes[0]] == 1):
            axis = axes.pop(0)
            dim.append(axis)
            elements *= sizes[axis]
        if elements != size:
            return None
        out.append(tuple(dim))
    if any(sizes[axis] > 1 for axis in axes):
        return None
    return (*out[:-1], (*out[-1], *axes))


def without(layout: Layout, dims: Sequence[int]) -> Layout | None:
    """The layout without some dimensions, whose axes go to the dimension before (Squeeze); None if nothing is left."""
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
    """The layout with empty dimensions at these places of the result (Unsqueeze)."""
    rest = list(layout)
    return tuple(() if dim in dims else rest.pop(0) for dim in range(len(layout) + len(dims)))
