"""Random layouts and the arrays that they describe, for the tests of the layout algebra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from fc2conv.layout.axes import Axis, Dim, Kind, Layout, Size, axes_of, normal, regroup
from fc2conv.layout.relayout import Move

Array = npt.NDArray[np.generic]
Sizes = Mapping[str, int]
quick = settings(max_examples=60, deadline=None, derandomize=True)


def number(size: Size, sizes: Sizes) -> int:
    """A size with its symbols given."""
    return size.coefficient * prod(sizes[symbol] for symbol in size.symbols)


def numbers(wanted: Sequence[Size], sizes: Sizes | None = None) -> tuple[int, ...]:
    """Sizes with their symbols given."""
    return tuple(number(size, sizes or {}) for size in wanted)


def shape_of(layout: Layout, sizes: Sizes | None = None) -> tuple[int, ...]:
    """The shape of a tensor that is laid out so."""
    return tuple(prod(number(axis.size, sizes or {}) for axis in dim) for dim in layout)


def base(*wanted: int | str) -> Layout:
    """A map of one axis a dimension: a (items), b (channels), c ... (cells); a text is the size's symbol."""
    sizes = [Size(1, (size,)) if isinstance(size, str) else Size(size) for size in wanted]
    kinds = (Kind.BATCH, Kind.OTHER)
    return normal((Axis("abcdefgh"[i], size, kind=(*kinds, Kind.SPACE)[min(i, 2)]),) for i, size in enumerate(sizes))


def elements(layout: Layout, origin: Layout, sizes: Sizes | None = None) -> Array:
    """What a tensor with the given layout holds, if one with the layout `origin` holds 0, 1, 2 ...

    This is the definition of an axis, written out: the place of an element in `origin` is the sum over the axes of
    index * stride * (the memory stride of the axis's root there).
    """
    sizes = sizes or {}
    counts = [number(axis.size, sizes) for axis in axes_of(origin)]
    strides = [*accumulate(reversed(counts), lambda a, b: a * b, initial=1)][:-1][::-1]
    memory = dict(zip((axis.root for axis in axes_of(origin)), strides, strict=True))
    place = np.zeros((), np.int64)
    for axis in axes_of(layout):
        steps = np.arange(number(axis.size, sizes)) * number(axis.stride, sizes) * memory[axis.root]
        place = np.add.outer(place, steps)
    return place.reshape(shape_of(layout, sizes))


def moved(move: Move, array: Array, sizes: Sizes | None = None) -> Array:
    """The array after the move."""
    return array.reshape(numbers(move.shape, sizes)).transpose(move.perm).reshape(numbers(move.out, sizes))


def sizes_between(draw: st.DrawFn, low: int, high: int) -> list[int]:
    """Random sizes, ones among them."""
    return draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=low, max_size=high))


@st.composite
def origins(draw: st.DrawFn) -> Layout:
    """A feature map of rank 1 to 5."""
    return base(*sizes_between(draw, 1, 5))


@st.composite
def cut_and_joined(draw: st.DrawFn, layout: Layout) -> tuple[Size, ...]:
    """A target that a reshape of the layout may have: axes cut where that is possible, and neighbours joined."""
    pieces: list[Size] = []
    for axis in axes_of(layout):
        size = axis.size
        if size.known:
            inner = draw(st.sampled_from([d for d in range(1, size.coefficient + 1) if size.coefficient % d == 0]))
            pieces += [Size(size.coefficient // inner), Size(inner)]
        else:
            pieces.append(size)
    pieces += [Size(1)]
    joined: list[Size] = []
    for piece in pieces:
        if joined and draw(st.booleans()):
            joined[-1] = joined[-1] * piece
        else:
            joined.append(piece)
    return tuple(joined)


@dataclass(frozen=True)
class Chain:
    """A random chain of transposes and reshapes: the layouts, and the arrays that numpy makes of 0, 1, 2 ..."""

    layouts: tuple[Layout, ...]
    arrays: tuple[Array, ...]

    @property
    def origin(self) -> Layout:
        return self.layouts[0]

    @property
    def last(self) -> Layout:
        return self.layouts[-1]

    @property
    def array(self) -> Array:
        return self.arrays[-1]


@st.composite
def chains(
    draw: st.DrawFn, origin: st.SearchStrategy[Layout] | None = None, sizes: Sizes | None = None, most: int = 4
) -> Chain:
    """A random chain of up to `most` steps; a step without a layout would be a fault."""
    layout = draw(origin if origin is not None else origins())
    array: Array = np.arange(prod(shape_of(layout, sizes))).reshape(shape_of(layout, sizes))
    layouts, arrays = [layout], [array]
    for _ in range(draw(st.integers(0, most))):
        if draw(st.booleans()):
            perm = draw(st.permutations(range(len(layout))))
            layout, array = permuted(layout, perm), array.transpose(perm)
        else:
            target = draw(cut_and_joined(layout))
            grouped = regroup(layout, target)
            assert grouped is not None, f"{layout} as {target}"
            layout, array = grouped, array.reshape(numbers(target, sizes))
        layouts.append(layout)
        arrays.append(array)
    return Chain(tuple(layouts), tuple(arrays))


def permuted(layout: Layout, perm: Sequence[int]) -> tuple[Dim, ...]:
    """What a Transpose makes of a layout."""
    return tuple(layout[i] for i in perm)
