"""Tokens as a picture: a frame's spatial dimensions, made of whatever axes are neither batch nor channels.

(h w)          ->  h | w        the real height and width
windows        ->  h | w        however its pieces are spread over dimensions
l = 196        ->  14 | 14      else the most square factors
l = 197        ->  1 | 197
l, not known   ->  1 | l
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod

from fc2conv.layout.axes import Axis, Dim, Kind, Layout, Size, axes_of, size_of


def arranged(dims: Layout, rank: int, *, real: bool = True) -> Layout:
    """Arrange the axes in `rank` dimensions: each axis of a map whole (`real`), else all axes in their order."""
    open_sizes = sum(not axis.size.known for axis in axes_of(dims))
    if len(dims) == 1 and open_sizes > 1:
        return (*((),) * (rank - 1), *dims)  # a Reshape could not take them apart
    found = _real(dims, rank) if real else None
    if found is not None:
        return found
    if len(dims) < rank:
        dims = _apart(dims, rank)
    if len(dims) > rank:
        dims = _together(dims, rank)
    return (*((),) * (rank - len(dims)), *dims)


def _real(dims: Layout, rank: int) -> Layout | None:
    """Return the axes of one map, the pieces of each in its own dimension; None where other axes are among them."""
    pieces: dict[tuple[str, int], list[Axis]] = {}
    for axis in axes_of(dims):
        name, _, place = axis.root.rpartition(".")
        if axis.kind is not Kind.SPACE or not place.isdigit():
            return None
        pieces.setdefault((name, int(place)), []).append(axis)
    if len(pieces) != rank or len({name for name, _ in pieces}) > 1:
        return None
    return tuple(tuple(sorted(pieces[key], key=_stride, reverse=True)) for key in sorted(pieces))


def _stride(axis: Axis) -> tuple[int, int]:
    return len(axis.stride.symbols), axis.stride.coefficient


def _apart(dims: Layout, rank: int) -> Layout:
    """Return more dimensions: one for each axis where there are at least `rank` axes, else one dimension cut in two."""
    axes = axes_of(dims)
    if len(axes) >= rank > 1:
        return tuple((axis,) for axis in axes) if len(axes) == rank else _together(tuple((a,) for a in axes), rank)
    if rank != 2 or len(axes) != 1 or not axes[0].size.known or axes[0].kind is Kind.SPACE:
        return dims  # what is left of a map is its width
    count = axes[0].size.coefficient
    outer = next((n for n in range(isqrt(count), 1, -1) if count % n == 0), 1)
    pair = axes[0].split(Size(count // outer))
    return ((pair[0],), (pair[1],)) if pair is not None and outer > 1 else dims


def _together(dims: Layout, rank: int) -> Layout:
    """Merge dimensions into the two groups of neighbours that are closest in size; for another rank merge the first."""
    if rank != 2:
        return (axes_of(dims[: len(dims) - rank + 1]), *dims[len(dims) - rank + 1 :])
    cut = min(range(1, len(dims)), key=lambda i: _unevenness(dims[:i], dims[i:]))
    return axes_of(dims[:cut]), axes_of(dims[cut:])


def _unevenness(first: Sequence[Dim], second: Sequence[Dim]) -> float:
    """Return how far two groups of dimensions are from a square; an open size counts as large."""
    sizes = [
        prod(size.coefficient if (size := size_of(dim)).known else 1 << 20 for dim in group)
        for group in (first, second)
    ]
    return max(sizes) / max(min(sizes), 1)
