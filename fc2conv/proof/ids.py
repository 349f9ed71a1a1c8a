"""Element ids: a 64-bit name for what an element of a tensor *is*, as a function of the model's inputs.

Two elements with one id are the same function of the inputs, up to the order of float additions; unlike ids mean
functions that were built differently. An id is a hash of how its element was made, so that two models can be walked
one after the other, with no table between them, and compared element by element: an anchor's element is
`H(anchor, index)`, an elementwise result `H(op, ids...)`, a reduction `H(op, sum of H(id))`, where the sum makes the
order not matter, and a layout op only moves ids. One comparison lies with probability 2^-64.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014; the constants are Stafford's variant 13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
Array = NDArray[Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))

_BLOCK = 1 << 14


def salt(*parts: object) -> np.uint64:
    """A 64-bit hash of plain values (strings, bytes, ints and tuples of them), the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mix(ids: Ids) -> Ids:
    """A bijection of 64-bit words without structure; always a new array. Works in blocks that fit a cache."""
    out = np.array(ids, dtype=np.uint64, ndmin=1, order="C")
    flat = out.reshape(-1)
    shifted = np.empty(min(flat.size, _BLOCK), dtype=np.uint64)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        held = shifted[: part.size]
        part += _GOLDEN
        for shift, multiplier in zip(_SHIFTS[:2], _MULTIPLIERS, strict=True):
            part ^= np.right_shift(part, shift, out=held)
            part *= multiplier
        part ^= np.right_shift(part, _SHIFTS[2], out=held)
    return out.reshape(np.shape(ids))


def anchor(key: np.uint64, shape: Sequence[int]) -> Ids:
    """Fresh ids for every element of a value about which only its name is known."""
    index = np.arange(prod(shape), dtype=np.uint64)
    return mix(mix(index) ^ key).reshape(tuple(shape))


def ordered(op: np.uint64, operands: Sequence[Ids]) -> Ids:
    """`op(a, b, ...)`, elementwise with broadcasting, where the order of the operands matters."""
    start = np.asarray(op, dtype=np.uint64)
    return reduce(lambda acc, operand: mix(acc ^ mix(operand)), operands, start)


def unordered(op: np.uint64, operands: Sequence[Ids]) -> Ids:
    """`op(a, b, ...)`, elementwise with broadcasting, where the order does not matter."""
    with np.errstate(over="ignore"):  # numpy warns where a 0-d sum wraps, and wrapping is the point
        total = reduce(lambda acc, operand: acc + mix(operand), operands, np.zeros((), dtype=np.uint64))
    return mix(total ^ op)


def gathered(op: np.uint64, ids: Ids, axes: Sequence[int], keepdims: bool) -> Ids:
    """`op` over all elements along `axes`, in whatever order; over a single element it is that element's id."""
    if prod(ids.shape[axis] for axis in axes) == 1:
        return ids if keepdims else ids.squeeze(tuple(axes))
    return mix(spread(ids, axes, keepdims) ^ op)


def spread(ids: Ids, axes: Sequence[int], keepdims: bool) -> Ids:
    """What the multiset of the elements along `axes` is, without an op."""
    total: Ids = mix(ids).sum(axis=tuple(axes), keepdims=keepdims, dtype=np.uint64)
    return total


def along(ids: Ids) -> Ids:
    """What the *sequence* of the elements along the last axis is: element k counts as `H(id, k)`."""
    place = mix(np.arange(ids.shape[-1], dtype=np.uint64))
    total: Ids = mix(ids ^ place).sum(axis=-1, dtype=np.uint64)
    return total


def constants(values: Array) -> Ids:
    """Ids by value, so that a constant means the same wherever and in whatever layout it stands; -0.0 is 0.0."""
    if values.dtype.kind in "biu":
        bits = values.astype(np.int64).view(np.uint64)
        return mix(bits ^ _INTEGER)
    if values.dtype.kind == "O" and all(isinstance(each, str) for each in values.flat):
        words = [salt("string", each) for each in values.flat]
        return np.array(words, np.uint64).reshape(values.shape)
    if values.dtype.kind in "SUOc":
        raise TypeError(f"no ids for constants of type {values.dtype}")
    wide = values.astype(np.float64)
    wide += 0.0
    return mix(np.ascontiguousarray(wide).view(np.uint64).reshape(values.shape) ^ _FLOAT)


_INTEGER = salt("integer")
_FLOAT = salt("float")
FLOAT_ZERO = constants(np.zeros(1))[0]
FLOAT_ONE = constants(np.ones(1))[0]
