"""Sums of products with a weight, whose matrices [M, K] are read in slabs where they are stored.

`y[r, m] = sum_k W[m, k] x[r, k]` is computed in two ways. Where numbers matter, by a product of matrices. Else y[r, m]
is an uninterpreted function of m and of `z[r] = sum_k g[k] x[r, k]`, where g[k] is a random projection, or a hash, of
the column W[:, k]: two layers with equal results have equal z, and two with other results have other z, except with a
probability of about 1/p. That reads the weight once, and does not multiply it with each row. A weight that both models
store as the same bytes is not read: its g is random, named by the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.evaluate import At, Evaluator, Level
from fc2conv.verification.exact.field import Field, Residues, tag
from fc2conv.verification.exact.symbols import Symbols
from fc2conv.verification.exact.terms import Array, Term

SLAB = 1 << 15
"""About how many elements of a weight are in memory at a time."""
BOTH = 3
_CORNER = 4
"""Rows and columns of a matrix that are compared before the whole is."""


@dataclass(frozen=True)
class Weight:
    """A weight as matrices [G, M, K]: its term, in the shape `source`, permuted by `perm`, in the shape `shape`.

    `residues` are those of all elements, where the term does not have them.
    """

    term: Term
    source: tuple[int, ...]
    perm: tuple[int, ...]
    shape: tuple[int, int, int]
    residues: Residues | None = None

    def seen(self, array: Array) -> Array:
        """Return an array of the term's elements as [G, M, K]."""
        return array.reshape(self.source).transpose(self.perm).reshape(self.shape)

    def computed(self, evaluator: Evaluator) -> Residues | None:
        """Return residues [lanes, G, M, K] of a weight that is no constant, or not as stored; None for a stored one."""
        if self.residues is None and self.term.constant:
            return None
        found = evaluator.memo[self.term.key] if self.residues is None else self.residues
        turned = found.reshape(len(found), *self.source).transpose(0, *(axis + 1 for axis in self.perm))
        return turned.reshape(len(found), *self.shape)


def product(at: At, x: Residues, weight: Weight) -> Residues:
    """Multiply rows [lanes, G, R, K] with a weight [G, M, K]: [lanes, G, R, M]."""
    groups, outputs, width = weight.shape
    if at.evaluator.level > Level.CUTS:
        at.evaluator.spend(float(x.shape[2]) * groups * outputs * width)
        return _multiplied(at, x, weight)
    form = _projected(at, weight)
    at.evaluator.spend(float(x.size))
    rows = at.field.matmul(x, form[..., None])[..., 0]
    place = at.field.uniform(("place", groups, outputs), (groups, 1, outputs))
    return at.field.mix(rows[..., None], tag("linear"), place)


def _projected(at: At, weight: Weight) -> Residues:
    """Return a vector [lanes, G, K] that names a weight by its columns [M]; it is 0 for a column of zeros."""
    field, term = at.field, weight.term
    groups, outputs, width = weight.shape
    computed = weight.computed(at.evaluator)
    if computed is None and isinstance(field, Symbols):
        return _as_a_whole(field, weight)
    if computed is None and at.evaluator.blobs.get(term.blob) == BOTH:
        return field.uniform(
            ("linear", term.blob, term.kind, weight.source, weight.shape, weight.perm), (groups, width)
        )
    at.evaluator.spend(float(groups * outputs * width))
    if computed is None:
        array = weight.seen(np.asarray(term.numbers()))
        if term.value is None and array.dtype.kind in "fiu" and array.dtype.itemsize <= 4:
            return _hashed(field, array)
        computed = field.of(array)
    chosen = field.uniform(("outputs", groups, outputs), (groups, 1, outputs))
    return field.matmul(chosen, computed)[:, :, 0]


def _as_a_whole(field: Symbols, weight: Weight) -> Residues:
    """Return a random vector for a weight, the same for the other model's weight of equal matrices; -0 equals 0."""
    corner = weight.seen(np.asarray(weight.term.numbers()))[:, :_CORNER, :_CORNER]
    known = field.weights.setdefault((weight.shape, weight.term.kind, (corner + corner.dtype.type(0)).tobytes()), [])
    key = weight.term.blob or weight.term.key, weight.source, weight.perm
    for name, other, form in known:
        if name == key or (other.term.sides != weight.term.sides and _equal(other, weight)):
            return form
    form = field.uniform(("weight", *key), weight.shape[::2])
    known.append((key, weight, form))
    return form


def _equal(*weights: Weight) -> bool:
    one, other = (weight.seen(np.asarray(weight.term.numbers())) for weight in weights)
    return all(np.array_equal(one[at], other[at]) for at in _slabs(other))


def _slabs(array: Array) -> Iterator[tuple[int, slice, slice]]:
    """Yield the indices of slabs of matrices [G, M, K] that lie together in memory."""
    for group in range(len(array)):
        by_rows = array.strides[1] >= array.strides[2]
        count, other = array.shape[1:] if by_rows else array.shape[:0:-1]
        step = max(1, SLAB // max(1, other))
        for start in range(0, count, step):
            part = slice(start, start + step)
            yield (group, part, slice(None)) if by_rows else (group, slice(None), part)


def _hashed(field: Field, array: Array) -> Residues:
    """Hash the columns of matrices [G, M, K] by their bits to [lanes, G, K]; the hash of zeros is 0.

    The upper half of a sum of products modulo 2^64 is the same for two different columns of words of 32 bits with a
    probability of about 2^-32 (D. Lemire, O. Kaser: Strongly universal string hashing is fast, 2014).
    """
    groups, outputs, width = array.shape
    named = ("columns", array.dtype.name, groups, outputs)  # of another type the same bits are other numbers
    lead = field.uniform(named, (2, groups, outputs)).astype(np.uint64)
    factors = lead[:, 0] << np.uint64(34) ^ lead[:, 1] << np.uint64(2) ^ np.uint64(1)
    totals = np.zeros((field.lanes, groups, width), np.uint64)
    for group, rows, columns in _slabs(array):
        part = array[group, rows, columns]
        words = _words(part)
        for lane in range(field.lanes):
            totals[lane, group, columns] += (words * factors[lane, group, rows, None]).sum(axis=0)
    return field.named_by((totals >> np.uint64(34)).astype(np.int64))


def _words(matrix: Array) -> NDArray[np.uint64]:
    """Return the bits of numbers as unsigned integers; -0 is 0."""
    turned = matrix.strides[0] < matrix.strides[1]
    plain = np.ascontiguousarray(matrix.T if turned else matrix)
    plain = plain if plain.dtype.kind in "iu" else plain + plain.dtype.type(0)  # -0 + 0 is 0
    words = plain.view(f"u{plain.dtype.itemsize}").astype(np.uint64)
    return words.T if turned else words


def _multiplied(at: At, x: Residues, weight: Weight) -> Residues:
    field, computed = at.field, weight.computed(at.evaluator)
    if computed is not None:
        return field.matmul(x, computed.swapaxes(-1, -2))
    array = weight.seen(np.asarray(weight.term.numbers()))
    out = np.zeros((*x.shape[:3], array.shape[1]), np.int32)
    for group, rows, columns in _slabs(array):
        found = field.matmul(x[:, group, :, columns], field.of(array[group, rows, columns]).swapaxes(-1, -2))
        out[:, group, :, rows] = field.add(out[:, group, :, rows], found)
    return out
