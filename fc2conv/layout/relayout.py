"""Conversions from one layout to another: the Reshape and Transpose nodes that they take.

A conversion is at most Reshape, Transpose, Reshape. A Reshape's target may hold one size that is not known (-1)
and copies (0) of sizes that were at the same place before; what needs more than that cannot be written as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fc2conv.dataclass import dataclass
from fc2conv.layout.axes import Axis, Dim, Layout, Size, axes_of, cached, product, refine, size_of


@dataclass(frozen=True)
class Move:
    """How one layout becomes another in memory: view as `shape`, permute by `perm`, view as `out`."""

    shape: tuple[Size, ...]
    perm: tuple[int, ...]
    out: tuple[Size, ...]

    @property
    def moves(self) -> bool:
        """Whether any element moves; otherwise it is a Reshape (or nothing)."""
        return self.perm != tuple(range(len(self.perm)))


@cached
def rearrange(source: Layout, target: Layout) -> Move | None:
    """Return the cheapest move from one layout to another of the same elements; None where the elements differ."""
    both = refine(source, target)
    if both is None:
        return None
    old, new = axes_of(both[0]), axes_of(both[1])
    if set(old) != set(new) or len(old) != len(new):
        return None
    follows = dict(pairwise(old))
    runs: list[list[Axis]] = []
    for axis in new:
        if runs and follows.get(runs[-1][-1]) == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    position = {axis: i for i, axis in enumerate(old)}
    order = sorted(range(len(runs)), key=lambda i: position[runs[i][0]])
    return Move(
        shape=tuple(product(axis.size for axis in runs[i]) for i in order),
        perm=tuple(order.index(i) for i in range(len(runs))),
        out=tuple(size_of(dim) for dim in target),
    )


@dataclass(frozen=True)
class Reshaped:
    """A Reshape to a constant target (0 copies, -1 is what is left); `flattens` if Flatten(axis=1) does the same."""

    target: tuple[int, ...]
    flattens: bool = False


@dataclass(frozen=True)
class Transposed:
    """A Transpose."""

    perm: tuple[int, ...]


LayoutStep = Reshaped | Transposed

_BATCH: Dim = (Axis("batch of 1", Size(1, ("batch of 1",))),)


def conversion(source: Layout, target: Layout) -> tuple[LayoutStep, ...] | None:
    """Return the nodes that convert one layout to another: empty for no nodes, None where they cannot be written."""
    return () if source == target else _converted(*unnamed(source, target))


def conversions(left: Layout, right: Layout) -> tuple[tuple[LayoutStep, ...] | None, tuple[LayoutStep, ...] | None]:
    """Return the conversion from the left layout to the right one, and the conversion back."""
    first, last = unnamed(left, right)
    return ((), ()) if left == right else (_converted(first, last), _converted(last, first))


Unnamed = tuple[tuple[tuple[int, Size, Size], ...], ...]
"""A layout with numbers for roots and without kinds."""


def unnamed(*layouts: Layout) -> tuple[Unnamed, ...]:
    """Return the layouts without names, so that the layouts of the next block of a network are equal to them."""
    names: dict[str, int] = {}

    def of(dim: Dim) -> tuple[tuple[int, Size, Size], ...]:
        return tuple([(names.setdefault(root, len(names)), size, stride) for root, size, stride, _ in dim])

    return tuple([tuple(map(of, layout)) for layout in layouts])


def numbered(layout: Unnamed) -> Layout:
    """Return a layout with its numbers as names."""
    return tuple(tuple(Axis(str(root), size, stride) for root, size, stride in dim) for dim in layout)


@cached
def _converted(first: Unnamed, last: Unnamed) -> tuple[LayoutStep, ...] | None:
    source, target = numbered(first), numbered(last)
    if source and target and not source[0] and not target[0]:
        # A batch of size 1 stays in front, as one of any other size would.
        source, target = (_BATCH, *source[1:]), (_BATCH, *target[1:])
    move = rearrange(source, target)
    if move is None:
        return None
    before, after = [size_of(dim) for dim in source], list(move.out)
    if not move.moves:
        return _steps([before, after], None)
    direct = _permutation(source, target)
    if direct is not None:
        return (Transposed(direct),)
    both = refine(source, target)
    assert both is not None
    whole = _by_dimensions(*both)
    if whole is not None:
        return _steps([before], whole, [[before[i] for i in whole], after])
    whole = _by_dimensions(both[1], both[0])
    if whole is not None:
        middle = [after[i] for i in whole]
        return _steps([before, middle], tuple(whole.index(i) for i in range(len(whole))))
    permuted = [move.shape[i] for i in move.perm]
    return _steps([before, list(move.shape)], move.perm, [permuted, after])


def _by_dimensions(source: Layout, target: Layout) -> tuple[int, ...] | None:
    """Return the permutation that brings the source's dimensions into the target's order; None if one is torn.

    The two are over the same atoms, see `refine`.
    """
    place = {axis: i for i, axis in enumerate(axes_of(target))}
    for dim in source:
        if any(place[b] != place[a] + 1 for a, b in pairwise(dim)):
            return None
    with_axes = sorted((i for i, dim in enumerate(source) if dim), key=lambda i: place[source[i][0]])
    return (*with_axes, *(i for i, dim in enumerate(source) if not dim))


def _permutation(source: Layout, target: Layout) -> tuple[int, ...] | None:
    if len(source) != len(target):
        return None
    free = list(range(len(source)))
    perm: list[int] = []
    for dim in target:
        at = next((i for i in free if source[i] == dim), None)
        if at is None:
            return None
        free.remove(at)
        perm.append(at)
    return tuple(perm)


def _steps(
    first: Sequence[list[Size]], perm: tuple[int, ...] | None, last: Sequence[list[Size]] = ()
) -> tuple[LayoutStep, ...] | None:
    out: list[LayoutStep] = []
    for shapes in (first, last):
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            target = reshape_target(shapes[0], shapes[1])
            if target is None:
                return None
            before, after = shapes
            out.append(Reshaped(target, flattens=len(after) == 2 and len(before) > 1 and before[0] == after[0]))
        if shapes is first and perm is not None:
            out.append(Transposed(perm))
    return tuple(out)


def reshape_target(before: Sequence[Size], after: Sequence[Size]) -> tuple[int, ...] | None:
    """Return the constant target of a Reshape; None where more than one size is unknown and not a copy."""
    out: list[int] = []
    open_places = 0
    for i, size in enumerate(after):
        if before and i == 0 and before[0] == size:
            out.append(0)  # the batch is copied, also where its size is known
        elif size.known:
            out.append(size.coefficient)
        elif i < len(before) and before[i] == size:
            out.append(0)
        else:
            out.append(-1)
            open_places += 1
    return tuple(out) if open_places <= 1 else None
