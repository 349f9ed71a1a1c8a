"""From one layout to another by ONNX nodes: which Reshape and Transpose nodes it takes, and what they cost.

A conversion is at most Reshape, Transpose, Reshape. A Reshape's target may hold one size that is not known (-1)
and copies (0) of sizes that stand at the same place before; what needs more than that cannot be written as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fc2conv.axes import Layout, Size, rearrange, size_of


@dataclass(frozen=True)
class Reshaped:
    """A Reshape to a constant target (0 copies, -1 is whatever is left)."""

    target: tuple[int, ...]


@dataclass(frozen=True)
class Transposed:
    """A Transpose."""

    perm: tuple[int, ...]


LayoutStep = Reshaped | Transposed


def conversion(source: Layout, target: Layout) -> tuple[LayoutStep, ...] | None:
    """The nodes that take a tensor from one layout to another; empty for none, None where they cannot be written."""
    if source == target:
        return ()
    move = rearrange(source, target)
    if move is None:
        return None
    before, after = [size_of(dim) for dim in source], list(move.out)
    if not move.moves:
        return _steps([before, after], None)
    direct = _permutation(source, target)
    if direct is not None:
        return (Transposed(direct),)
    shape, perm = list(move.shape), move.perm
    permuted = [shape[i] for i in perm]
    if [size for size in before if size != Size(1)] == shape:
        full = _spread(source, perm)
        return _steps([before], full, [[before[i] for i in full], after])
    if [size for size in after if size != Size(1)] == permuted:
        inverse = _spread(target, tuple(perm.index(i) for i in range(len(perm))))
        middle = [after[i] for i in inverse]
        return _steps([before, middle], tuple(inverse.index(i) for i in range(len(inverse))))
    return _steps([before, shape], perm, [permuted, after])


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


def _spread(layout: Layout, perm: Sequence[int]) -> tuple[int, ...]:
    """A permutation of the dimensions that are not 1 as one of all, which leaves those of size 1 behind."""
    large = [i for i, dim in enumerate(layout) if dim]
    return (*(large[i] for i in perm), *(i for i, dim in enumerate(layout) if not dim))


def _steps(
    first: Sequence[list[Size]], perm: tuple[int, ...] | None, last: Sequence[list[Size]] = ()
) -> tuple[LayoutStep, ...] | None:
    out: list[LayoutStep] = []
    for shapes in (first, last):
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            target = reshape_target(shapes[0], shapes[1])
            if target is None:
                return None
            out.append(Reshaped(target))
        if shapes is first and perm is not None:
            out.append(Transposed(perm))
    return tuple(out)


def reshape_target(before: Sequence[Size], after: Sequence[Size]) -> tuple[int, ...] | None:
    """A Reshape's constant target; None where more than one size is unknown and not a copy."""
    out: list[int] = []
    open_places = 0
    for i, size in enumerate(after):
        if size.known:
            out.append(size.coefficient)
        elif i < len(before) and before[i] == size:
            out.append(0)
        else:
            out.append(-1)
            open_places += 1
    return tuple(out) if open_places <= 1 else None


def nodes(steps: tuple[LayoutStep, ...]) -> int:
    """How many layout nodes a conversion takes."""
    return len(steps)
