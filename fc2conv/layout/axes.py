"""The algebra of layouts: sizes, axes, and how dimensions are cut, regrouped and moved.

A feature map's elements are indexed by axes. A tensor that holds them has a `Layout`: for each of its dimensions
the ordered product of axes that it runs over, major first. PyTorch's flattened map is `((n), (c h w))`,
TensorFlow's `((n), (h w c))`, tokens are `((n), (h w), (c))`. Every reshape and transpose between two layouts of
the same elements is a statement about axes and never about numbers.

Axes of size 1 carry nothing and are never written: a dimension of size 1 is `()`.

Sizes and axes are tuples, which are cheap to make and to compare. The passes of the analysis ask the same of a layout
many times, so answers that hold no kinds are cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache, reduce
from itertools import chain, pairwise
from math import prod
from typing import NamedTuple, TypeGuard

cached = lru_cache(maxsize=1 << 15)


class Size(NamedTuple):
    """A count of elements: `coefficient * product(symbols)`, where each symbol is a size that is not known yet."""

    coefficient: int
    symbols: tuple[str, ...] = ()

    def __mul__(self, other: Size) -> Size:  # type: ignore[override]  # of sizes, and no repetition of a tuple
        if not self.symbols and not other.symbols:
            return Size(self.coefficient * other.coefficient)
        return Size(self.coefficient * other.coefficient, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Size) -> Size | None:
        """Return the exact quotient, or None where it is not a whole number for every value of the symbols."""
        if other.coefficient == 0 or self.coefficient % other.coefficient:
            return None
        rest = list(self.symbols)
        for symbol in other.symbols:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        return Size(self.coefficient // other.coefficient, tuple(rest))

    def given(self, sizes: Mapping[str, int]) -> Size:
        """Return the size with the given numbers instead of some of its symbols."""
        numbers = [sizes[symbol] for symbol in self.symbols if symbol in sizes]
        return Size(self.coefficient * prod(numbers), tuple(s for s in self.symbols if s not in sizes))

    @property
    def known(self) -> bool:
        """Whether the size is a plain number."""
        return not self.symbols

    def __str__(self) -> str:
        return "*".join([str(self.coefficient)] * (self.coefficient != 1 or self.known) + list(self.symbols))


def nameless(symbol: str) -> bool:
    """Return whether a symbol is no name from the model, but stands for `unknown` in inferred shapes ("?", "unk__")."""
    return symbol.startswith(("?", "unk__"))


ONE = Size(1)


def product(sizes: Iterable[Size]) -> Size:
    """Return the product of sizes; 1 where there are no sizes."""
    return reduce(Size.__mul__, sizes, ONE)


class Kind(Enum):
    """What an axis runs over: the items of the model's batch, the cells of a map, or anything else."""

    BATCH = "batch"
    SPACE = "space"
    OTHER = "other"


class Axis(NamedTuple):
    """An atomic index range: `index = (root's index // stride) mod size`, where `root` names a whole axis.

    The kind is no part of an axis' identity.
    """

    root: str
    size: Size
    stride: Size = ONE
    kind: Kind = Kind.OTHER

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and self[0] == other[0] and self[2] == other[2] and self[1] == other[1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[0])  # an axis has few pieces, and a string keeps its hash

    def split(self, inner: Size) -> tuple[Axis, Axis] | None:
        """Split the axis into (outer, inner), inner of the given size; return None where that does not divide it."""
        outer = self.size.over(inner)
        if outer is None:
            return None
        return Axis(self.root, outer, self.stride * inner, self.kind), Axis(self.root, inner, self.stride, self.kind)


Dim = tuple[Axis, ...]
Layout = tuple[Dim, ...]


def size_of(dim: Dim) -> Size:
    """Return the number of elements of a dimension."""
    return dim[0].size if len(dim) == 1 else product(axis.size for axis in dim)


def merged(dim: Iterable[Axis]) -> Dim:
    """Return the normal form of a dimension: no axis of size 1, and adjacent pieces of one axis joined again."""
    dim = tuple(dim)
    if len(dim) < 2 and (not dim or dim[0].size != ONE):
        return dim
    out: list[Axis] = []
    for axis in dim:
        if axis.size == ONE:
            continue
        if out and out[-1].root == axis.root and _continues(out[-1], axis):
            axis = Axis(axis.root, out.pop().size * axis.size, axis.stride, axis.kind)
        out.append(axis)
    return tuple(out)


def _continues(outer: Axis, inner: Axis) -> bool:
    """Return whether two pieces of one axis are of one kind and follow each other."""
    return outer.kind is inner.kind and outer.stride == inner.stride * inner.size


def kind_of(dim: Iterable[Axis]) -> Kind:
    """Return the kind that all axes of a dimension have; OTHER where they differ, or there are no axes."""
    kinds = {axis.kind for axis in dim}
    return kinds.pop() if len(kinds) == 1 else Kind.OTHER


def _single(layout: Iterable[Sequence[Axis]]) -> TypeGuard[Layout]:
    """Return whether every dimension is one axis whose size is not 1: a layout in normal form, as most are."""
    if not isinstance(layout, tuple):
        return False
    for dim in layout:  # noqa: SIM110  (this is asked for every view)
        if len(dim) != 1 or dim[0].size == ONE:
            return False
    return True


def normal(layout: Iterable[Sequence[Axis]]) -> Layout:
    """Return the normal form of a layout; the same object where the layout is in normal form already."""
    if _single(layout):
        return layout
    made = tuple(map(merged, layout))
    return layout if made == layout else made


def axes_of(layout: Layout) -> Dim:
    """Return all axes of a layout in memory order, major first."""
    return tuple(chain.from_iterable(layout))


def put(layout: Layout, at: int, dim: Dim) -> Layout:
    """Return the layout with the dimension `at` replaced."""
    return (*layout[:at], dim, *layout[at + 1 :])


# ------------------------------------------------------------------ refinement


_Piece = tuple[Size, Size]
"""A piece of an axis: its stride and its size."""


@cached
def _nested(pieces: tuple[_Piece, ...]) -> tuple[list[Size], ...] | None:
    """Return where each piece of one axis is cut by the other pieces; None where their cuts do not nest."""
    strides = {edge for stride, size in pieces for edge in (stride, stride * size)}
    found = [_cuts(stride, stride * size, strides) for stride, size in pieces]
    return tuple(cuts for cuts in found if cuts is not None) if None not in found else None


def _cuts(start: Size, end: Size, strides: set[Size]) -> list[Size] | None:
    """Return the strides that cut a piece, from the inside out; None where they cut it at places that do not nest."""
    inside: list[Size] = []
    for stride in strides:
        if stride in (start, end):
            continue
        if stride.over(start) and end.over(stride):
            inside.append(stride)
        elif stride.known and end.known and start.coefficient < stride.coefficient < end.coefficient:
            return None
    inside.sort(key=lambda s: (len(s.symbols), abs(s.coefficient)))
    return inside if all(high.over(low) for low, high in pairwise(inside)) else None


def _cut(axis: Axis, cuts: list[Size]) -> Dim:
    parts: list[Axis] = []
    for cut in cuts:
        inner = cut.over(axis.stride)
        pair = axis.split(inner) if inner is not None else None
        assert pair is not None
        axis = pair[0]
        parts.insert(0, pair[1])
    return (axis, *parts)


def refine(*layouts: Layout) -> tuple[Layout, ...] | None:
    """Cut every axis of the layouts wherever another layout cuts it, so that all are over common atoms.

    Return None where two layouts cut one axis at places that do not nest (6x6 against 4x9).
    """
    seen: dict[str, dict[_Piece, Kind]] = {}
    for layout in layouts:
        for axis in axes_of(layout):
            seen.setdefault(axis.root, {})[axis.stride, axis.size] = axis.kind
    pieces: dict[Axis, Dim] = {}
    for root, parts in seen.items():
        if len(parts) > 1:
            nested = _nested(tuple(parts))
            if nested is None:
                return None
            for ((stride, size), kind), cuts in zip(parts.items(), nested, strict=True):
                if cuts:
                    axis = Axis(root, size, stride, kind)
                    pieces[axis] = _cut(axis, cuts)
    if not pieces:
        return layouts
    return tuple(
        tuple(tuple(piece for axis in dim for piece in pieces.get(axis, (axis,))) for dim in layout)
        for layout in layouts
    )


@cached
def same_axes(left: Layout, right: Layout) -> bool:
    """Return whether two layouts are made of the same axes, in any pieces and order."""
    both = refine(left, right)
    return both is not None and set(axes_of(both[0])) == set(axes_of(both[1]))


# ------------------------------------------------------------------ regrouping


def _take(axes: list[Axis], need: Size, *, last: bool) -> Dim | None:
    """Cut a dimension of the given size off one end of the axes (in place); return None where no axis boundary fits."""
    taken: list[Axis] = []
    while need != ONE:
        if not axes:
            return None
        axis = axes.pop(-1 if last else 0)
        rest = need.over(axis.size)
        if rest is None:
            pair = axis.split(need) if last else _split_outer(axis, need)
            if pair is None:
                return None
            outer, inner = pair
            axis, left = (inner, outer) if last else (outer, inner)
            axes.insert(len(axes) if last else 0, left)
            rest = ONE
        taken.append(axis)
        need = rest
    return tuple(reversed(taken)) if last else tuple(taken)


def _split_outer(axis: Axis, outer: Size) -> tuple[Axis, Axis] | None:
    inner = axis.size.over(outer)
    return None if inner is None else axis.split(inner)


def regroup(layout: Layout, target: Sequence[Size | None]) -> Layout | None:
    """Return the same elements in dimensions of the target's sizes; at most one size may be None (whatever is left).

    A target size that no axis boundary fits is one more unknown: the dimensions before it are cut off the front and
    those after it off the back. Return None where more than one is unknown or an axis would have to be cut at a place
    that does not divide it.
    """
    axes = list(axes_of(layout))
    total = product(axis.size for axis in axes)
    if None not in target and product(s for s in target if s is not None) != total:
        return _with_one_unknown(layout, target)
    front: list[Dim] = []
    for size in target:
        if size is None:
            break
        dim = _take(axes, size, last=False)
        if dim is None:
            return None
        front.append(dim)
    if len(front) == len(target):
        return normal(front) if not axes else None
    back: list[Dim] = []
    for size in reversed(target[len(front) + 1 :]):
        if size is None:
            return None
        dim = _take(axes, size, last=True)
        if dim is None:
            return None
        back.append(dim)
    return normal([*front, tuple(axes), *reversed(back)])


def _with_one_unknown(layout: Layout, target: Sequence[Size | None]) -> Layout | None:
    symbolic = [i for i, size in enumerate(target) if size is not None and not size.known]
    for i in symbolic:
        candidate = regroup(layout, [None if j == i else size for j, size in enumerate(target)])
        if candidate is not None and not any(size_of(dim).known and size_of(dim).coefficient == 0 for dim in candidate):
            return candidate
    return None
