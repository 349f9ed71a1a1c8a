"""Values as symbols: values that are computed in one way are one array that is never written, seen through views.

Where two models do the same to the same elements, under other names of their axes, their values are the same views of
the same arrays. Nothing is computed for that, and equal symbols are equal with certainty; different ones prove nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

import numpy as np

from fc2conv.verification.exact.field import Array, Field, Residues
from fc2conv.verification.nodes import content

_RESHAPES_WITHOUT_COPIES = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
_strided = np.lib.stride_tricks.as_strided


class Symbols(Field):
    """A field whose elements are places in memory; `weights` are those that are compared as a whole."""

    def __init__(self) -> None:
        self.lanes = 1
        self.weights: dict[object, list[tuple[object, Any, Residues]]] = {}
        self._made: dict[tuple[object, ...], Array] = {}
        self._owners: dict[int, Array] = {}
        self._copies: dict[int, Array] = {}

    # ------------------------------------------------------------------ symbols

    def _once(self, name: object, operands: Sequence[Array], shape: Sequence[int]) -> Array:
        """Return the symbol of a function of these operands, as they lie; a new one where an operand is no symbol."""
        places = [self._place(x) for x in operands]
        key = (name, *places)
        if None in places or key not in self._made:
            made = np.empty((1, *shape), np.int8)
            self._owners[id(made)] = self._made[key] = made
        return self._made[key]

    def _place(self, x: Array) -> tuple[object, ...] | None:
        """Return which elements of which symbol an array has; None where it is no view of a symbol."""
        if id(_owner(x)) not in self._owners:
            return None
        (source,), _ = self._original([x], 0, 0)
        sizes, (strides,) = _merged([source], range(source.ndim - 1))
        return id(_owner(source)), _address(source) - _address(_owner(source)), x.shape, *sizes, *strides

    def same(self, one: Residues, other: Residues) -> bool:
        place = self._place(one)
        return place is not None and place == self._place(other)

    def fits(self, kind: int, x: Residues, *, known: bool) -> bool:  # noqa: ARG002  # a symbol is no number
        return known

    def node(self, key: object, operands: Sequence[Array], shape: Sequence[int]) -> Array:
        return self._once(("node", key), operands, shape)

    def named(self, key: object, shape: Sequence[int]) -> Array:
        return self._once(("named", key, prod(shape)), [], [prod(shape)]).reshape(1, *shape)

    def _applied(self, name: object, *operands: Array, over: Sequence[int] = (), commutes: bool = False) -> Array:
        """Return the symbol of a function of elements, or of lines of elements along the axes `over`.

        The axes are put in the order in which they lie in memory, and merged where they lie together.
        """
        shape = np.broadcast_shapes(*(x.shape[1:] for x in operands))
        kept = [axis for axis in range(len(shape)) if axis not in over]
        every = [np.broadcast_to(x[0, ...], shape).transpose(*kept, *over)[None] for x in operands]
        wanted, ends = [shape[axis] for axis in kept], len(kept)
        for i in range(len(every)):
            every, ends = self._original(every, i, ends)
        every = sorted(every, key=lambda x: (id(_owner(x)), _address(x))) if commutes else every
        sizes, ranked = every[0].shape[1:], sorted(every, key=lambda x: -sum(map(bool, x.strides[1:])))
        order = sorted(range(len(sizes)), key=lambda i: (i >= ends, *(-x.strides[i + 1] for x in ranked)))
        merged = [_merged(every, part) for part in (order[:ends], order[ends:])]
        laid = [_strided(x, (1, *merged[0][0], *merged[1][0]), (0, *merged[0][1][i], *merged[1][1][i]))
                for i, x in enumerate(every)]  # fmt: skip
        made = self._once((name, len(merged[0][0])), laid, merged[0][0])
        return self.reshaped(_unordered(made.reshape(1, *(sizes[axis] for axis in order[:ends])), order[:ends]), wanted)

    def _original(self, every: list[Array], index: int, ends: int) -> tuple[list[Array], int]:
        """Replace an operand that is a copy by its source, and cut axes of all operands where that is needed."""
        x = every[index]
        source = self._copies.get(id(_owner(x)))
        if source is None or _address(x) != _address(_owner(x)):
            return every, ends
        for size, stride in zip(x.shape[1:], x.strides[1:], strict=True):
            source = _parted(_parted(source, stride), stride * size)
        sizes = source.shape[1:]
        steps = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
        cuts: list[list[int]] = []
        for size, stride in zip(x.shape[1:], x.strides[1:], strict=True):
            parts: list[int] = []
            left = size if stride else 1
            while left > 1:
                part = next((i for i, step in enumerate(steps) if step == stride * size // left and sizes[i] > 1), None)
                if part is None or left % sizes[part]:
                    return every, ends
                parts.insert(0, part)
                left //= sizes[part]
            cuts.append(parts)
        used = [part for parts in cuts for part in parts]
        if len({*used}) < len(used):  # windows that overlap
            return every, ends
        every = [_cut(each, [[sizes[i] for i in parts] for parts in cuts]) for each in every]
        strides = [stride for parts in cuts for stride in ([source.strides[part + 1] for part in parts] or [0])]
        every[index] = _strided(source, every[index].shape, (0, *strides))
        return self._original(every, index, sum(len(parts) or 1 for parts in cuts[:ends]))

    # ------------------------------------------------------------------ the field

    def of(self, values: Array) -> Residues:
        return self.named((values.dtype.name, content(values)), values.shape)

    def uniform(self, key: object, shape: Sequence[int]) -> Residues:
        return self.named(("uniform", key), shape)

    def add(self, one: Residues, other: Residues) -> Residues:
        return self._applied("add", one, other, commutes=True)

    def sub(self, one: Residues, other: Residues) -> Residues:
        return self._applied("sub", one, other)

    def mul(self, one: Residues, other: Residues) -> Residues:
        return self._applied("mul", one, other, commutes=True)

    def neg(self, values: Residues) -> Residues:
        return self._applied("neg", values)

    def inverse(self, values: Residues) -> Residues:
        return self._applied("inverse", values)

    def relu(self, x: Residues) -> Residues:
        return self._applied("relu", x)

    def mix(self, values: Residues, salt: int, place: Residues | None = None) -> Residues:
        return self._applied(("mix", salt), *(x for x in (values, place) if x is not None))

    def total(self, values: Residues, axes: Sequence[int], keepdims: bool = True) -> Residues:
        over = [axis % (values.ndim - 1) for axis in axes]
        made = self._applied("total", values, over=over)
        return np.expand_dims(made, tuple(axis + 1 for axis in over)) if keepdims else made

    def matmul(self, one: Residues, other: Array) -> Residues:
        """Return the symbol of a product of matrices: a function of each row with each column."""
        rows, columns = one[..., :, None, :], other.swapaxes(-1, -2)[..., None, :, :]
        return self._applied("dot", rows, columns, over=[max(rows.ndim, columns.ndim) - 2], commutes=True)

    def reshaped(self, x: Residues, shape: Sequence[int]) -> Residues:
        """Give the same elements another shape; where no view can, use a new array in the order in which they lie."""
        view = _viewed(x, (1, *shape))
        if view is not None:
            return view
        (x,), _ = self._original([x], 0, 0)
        groups = _groups(x.shape[1:], shape)
        groups.sort(key=lambda group: -max((x.strides[axis + 1] for axis in group[0]), default=0))
        turned = x.transpose(0, *(axis + 1 for old, _ in groups for axis in old))
        made = self._once("copied", [turned], (x.size,))
        self._copies[id(made)] = turned
        order = [axis for _, new in groups for axis in new]
        return _unordered(made.reshape(1, *(shape[axis] for axis in order)), order)

    def joined(self, parts: Sequence[Residues], axis: int) -> Residues:
        shape = [sum(p.shape[i + 1] for p in parts) if i == axis else n for i, n in enumerate(parts[0].shape[1:])]
        return self._placed(lambda order: ("joined", order.index(axis)), parts, shape)

    def taken(self, x: Residues, places: Array, axis: int) -> Residues:
        return self.node(("taken", axis, places.shape, places.tobytes()), [x],
                         (*x.shape[1 : axis + 1], *places.shape, *x.shape[axis + 2 :]))  # fmt: skip

    def padded(self, x: Residues, widths: Sequence[tuple[int, int]], fill: Residues) -> Residues:
        shape = [n + sum(width) for n, width in zip(x.shape[1:], widths, strict=True)]
        return self._placed(lambda order: ("padded", *(tuple(widths[i]) for i in order)), [x], shape, [fill.reshape(1)])

    def _placed(
        self,
        name: Callable[[list[int]], object],
        parts: Sequence[Array],
        shape: Sequence[int],
        more: Sequence[Array] = (),
    ) -> Array:
        """Return the symbol of parts that are put into a tensor, with its axes as the first part lies in memory."""
        order = _laid(parts[0], shape)
        made = self._once(name(order), [*(_ordered(x, order) for x in parts), *more], [shape[axis] for axis in order])
        inner = [sum(other < axis for other in order) for axis in order]
        return _unordered(made, inner).reshape(1, *shape)


def _viewed(x: Array, shape: Sequence[int]) -> Array | None:
    """Give the same elements another shape; return None where that takes a copy."""
    try:
        if _RESHAPES_WITHOUT_COPIES:
            return x.reshape(shape, copy=False)
        view = x.view()
        view.shape = tuple(shape)
    except (AttributeError, ValueError):
        return None
    return view


def _laid(x: Array, shape: Sequence[int]) -> list[int]:
    """Return the axes of a result and an operand that are not of size 1, in the memory order of the operand."""
    many = [axis for axis, size in enumerate(shape) if {size, x.shape[axis + 1]} != {1}]
    return sorted(many, key=lambda axis: -x.strides[axis + 1])


def _ordered(x: Array, order: Sequence[int]) -> Array:
    """Put axes in an order; the other axes are of size 1."""
    others = [axis for axis in range(x.ndim - 1) if axis not in order]
    turned = x.transpose(0, *(axis + 1 for axis in (*order, *others)))
    return turned.reshape(turned.shape[: len(order) + 1])


def _owner(x: Array) -> Any:
    """Return the array that owns the memory of another."""
    owner: Any = x
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return owner


def _address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def _unordered(x: Array, order: Sequence[int]) -> Array:
    """Put axes that are in an order back to their places."""
    return x.transpose(0, *(order.index(axis) + 1 for axis in range(len(order))))


def _cut(x: Array, cuts: Sequence[Sequence[int]]) -> Array:
    """Cut axes into several axes of these sizes."""
    shape = [size for size, parts in zip(x.shape[1:], cuts, strict=True) for size in parts or [size]]
    pairs = zip(x.strides[1:], cuts, strict=True)
    strides = [stride * prod(parts[i + 1 :]) for stride, parts in pairs for i in range(len(parts) or 1)]
    return _strided(x, (1, *shape), (0, *strides))


def _parted(x: Array, elements: int) -> Array:
    """Cut the axis whose last part has this many elements, counted in the order of the axes."""
    cuts: list[list[int]] = [[] for _ in x.shape[1:]]
    for axis, size in enumerate(x.shape[1:]):
        behind = prod(x.shape[axis + 2 :])
        inner = elements // behind if behind and elements % behind == 0 else 0
        if 1 < inner < size and size % inner == 0:
            cuts[axis] = [size // inner, inner]
    return _cut(x, cuts) if any(cuts) else x


def _merged(every: Sequence[Array], order: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Merge axes that lie together in all operands; return the sizes, and the strides of each operand."""
    found: list[tuple[int, list[int]]] = []
    for axis in order:
        size, strides = every[0].shape[axis + 1], [x.strides[axis + 1] for x in every]
        if size > 1 and found and found[-1][1] == [stride * size for stride in strides]:
            found.append((found.pop()[0] * size, strides))
        elif size != 1:
            found.append((size, strides))
    return [size for size, _ in found], [[strides[i] for _, strides in found] for i in range(len(every))]


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest groups of old and new axes that have the same number of elements."""
    counts = [list(accumulate(sizes, mul)) for sizes in (old, new)]
    ends = sorted({*counts[0]} & {*counts[1]})
    before, after = ([[a for a, n in enumerate(each) if bisect_left(ends, n) == i] for i in range(len(ends))]
                     for each in counts)  # fmt: skip
    return list(zip(before, after, strict=True))
