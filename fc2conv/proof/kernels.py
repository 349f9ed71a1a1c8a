"""A layer's weight against a kernel, element by element and bit for bit, in slabs over the memory maps."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.proof.ids import Array

SLAB_BYTES = 1 << 24
"""About how many bytes of the weight are held at a time."""


@dataclass(frozen=True)
class Unlike:
    """The first element of a kernel [M, J], or of several side by side, that is not what it must be."""

    output: int
    column: int
    found: object
    wanted: object


def compare(
    weight: Array, kernels: Sequence[Array], order: NDArray[np.int64], scale: Array | None, ties: NDArray[np.int64]
) -> Unlike | None:
    """Compares `kernel[m, j]` with `weight[m, order[j]]`, or with `fl(scale[m] * weight)` in float64, rounded once.

    The columns j run through all kernels, one behind the other. `weight` [M, K] may be a transposed view. 0.0 and -0.0
    are one number; NaNs must have the same bits. Columns with one number in `ties` meet one and the same element of
    the input, so that in each row they may hold their weights in any order; the numbers are 0, 1, ... without a gap.
    """
    start = 0
    for kernel in kernels:
        stop = start + kernel.shape[1]
        unlike = _compared(weight, [kernel], order[start:stop], scale, None)
        if unlike is not None and ties.max() + 1 < len(ties):
            return _compared(weight, kernels, order, scale, ties)
        if unlike is not None:
            return replace(unlike, column=start + unlike.column)
        start = stop
    return None


def _compared(
    weight: Array,
    kernels: Sequence[Array],
    order: NDArray[np.int64],
    scale: Array | None,
    ties: NDArray[np.int64] | None,
) -> Unlike | None:
    plain = bool(np.array_equal(order, np.arange(weight.shape[1])))
    rows = max(1, min(len(weight), SLAB_BYTES // max(1, weight.itemsize * weight.shape[1])))
    for start in range(0, len(weight), rows):
        slab = slice(start, min(start + rows, len(weight)))
        wanted = _slab(weight, slab)
        if not plain:
            wanted = wanted[:, order]
        if scale is not None:
            wanted = (wanted.astype(np.float64) * scale[slab, None]).astype(kernels[0].dtype)
        found = kernels[0][slab] if len(kernels) == 1 else np.concatenate([each[slab] for each in kernels], axis=1)
        if ties is not None:
            found, wanted = _sorted(found, ties), _sorted(wanted, ties)
        unlike = _first_unlike(found, wanted)
        if unlike is not None:
            row, column = unlike
            return Unlike(start + row, column, found[row, column], wanted[row, column])
        for kernel in kernels:
            release(kernel[slab])
        if weight.flags.c_contiguous:
            release(weight[slab])
    return None


def _sorted(rows: Array, ties: NDArray[np.int64]) -> Array:
    """The columns of each tie in the order of their numbers, row by row."""
    out = np.array(rows)
    columns, sizes = np.argsort(ties, kind="stable"), np.bincount(ties)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 1]):
        tied = columns[starts[sizes == size][:, None] + np.arange(size)]
        out[:, tied] = np.sort(rows[:, tied], axis=-1)
    return out


def _slab(weight: Array, rows: slice) -> Array:
    """Some rows of the weight. Those of a transposed map lie on all its pages, so that these are let go in between."""
    if weight.flags.c_contiguous or mapping(weight) is None:
        return weight[rows]
    out = np.empty((rows.stop - rows.start, weight.shape[1]), dtype=weight.dtype)
    step = max(1, SLAB_BYTES // max(1, weight.itemsize * weight.shape[0]))
    for start in range(0, weight.shape[1], step):
        columns = weight[:, start : start + step]
        out[:, start : start + step] = columns[rows]
        release(columns)
    return out


def some_rows(weight: Array, index: NDArray[np.int64]) -> Array:
    """Neighbouring rows of a weight [M, K], read from its map and not kept there."""
    rows = np.array(_slab(weight, slice(int(index[0]), int(index[-1]) + 1)))
    if weight.flags.c_contiguous:
        release(weight[index[0] : index[-1] + 1])
    return rows


def _first_unlike(found: Array, wanted: Array) -> tuple[int, int] | None:
    unsigned = np.dtype(f"u{found.itemsize}")
    unlike = np.ascontiguousarray(found).view(unsigned) != np.ascontiguousarray(wanted).view(unsigned)
    if not unlike.any():
        return None
    unlike &= ~np.asarray(found == wanted)
    if not unlike.any():
        return None
    row, column = np.unravel_index(int(np.argmax(unlike)), unlike.shape)
    return int(row), int(column)


def mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The memory map in which an array's elements lie, if any."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def release(array: NDArray[Any]) -> None:
    """Lets go of the pages of a mapped array that were read, which would count as this process's memory."""
    mapped = mapping(array)
    if mapped is None or not array.size or not hasattr(mmap, "MADV_DONTNEED"):
        return
    origin = np.frombuffer(mapped, dtype=np.uint8).ctypes.data
    spans = sum((n - 1) * abs(s) for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize
    start = (array.ctypes.data - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    stop = min(array.ctypes.data - origin + spans, len(mapped))
    mapped.madvise(mmap.MADV_DONTNEED, start, stop - start)
