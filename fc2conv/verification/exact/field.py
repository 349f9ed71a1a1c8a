"""Residues modulo several random primes at once, and the arithmetic of models on them.

A float is m * 2^e, so that it is a number of Z[1/2], and Z[1/2] -> Z_p (p an odd prime) keeps sums and products. A
tensor of residues has a *lane* for each prime: int32 [lanes, *shape], each element below its prime. Any function that
is no sum or product is a keyed hash of its arguments' residues: an uninterpreted function.

The mixing function is a keyed linear step and the finaliser `lowbias32` (C. Wellons, Hash Function Prospector), which
works on words of 32 bits, so that no residue is widened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.verification.exact.primes import BITS, Integers, inverses, primes

Array = NDArray[Any]
Residues = NDArray[np.int32]
Words = NDArray[Any]

LIMB = 15
"""The most bits of a limb: half of those of a residue."""
MOST_SUMMED = 1 << 15
"""The most products of a residue with a limb of 8 bits whose sum is exact in float64."""

_M1, _M2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_BLOCK = 1 << 15
"""Elements that are computed at a time, so that they stay in the processor's cache."""
_TAKEN: Any = ("external_loop", "buffered", "zerosize_ok")
_FEW = 1 << 9
"""Numbers whose residues are remembered: windows of one map read the same weights."""
_FITTING = 1 << 22
"""The most integers that are remembered to fit a type."""


class ZeroDivisorError(Exception):
    """A divisor has the residue 0 modulo one of the primes, which proves nothing: another seed is needed."""


def tag(*parts: object) -> int:
    """Hash plain values (strings, bytes, ints and tuples of them) to 63 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little") >> 1


class Field:
    """The product of the fields Z_p for a few primes, with hash keys of its own."""

    def __init__(self, seed: bytes, count: int = 2) -> None:
        self.primes = primes(seed, count)
        self.lanes = count
        self._keys = np.array([tag("key", seed, i) for i in range(count)], np.uint64)
        self._known_powers: dict[bool, Integers] = {}
        self._few: dict[tuple[Any, Sequence[int], bytes], Residues] = {}
        self._fitting: dict[int, list[NDArray[np.uint64]]] = {}

    def fits(self, kind: int, x: Residues, *, known: bool) -> bool:
        """Return whether a type has all of these integers: that is `known`, or was known for the same ones before."""
        found = self._fitting.setdefault(kind, [])
        if known and not 0 < x[0].size <= _FITTING - sum(each.size for each in found):
            return True
        if not known and not found:
            return False
        words = np.sort((x[0].astype(np.uint64) << np.uint64(32)) | x[-1].astype(np.uint64), axis=None)
        if known:
            found.append(words)
            return True
        found[:] = found if len(found) == 1 else [np.sort(np.concatenate(found))]
        at = np.searchsorted(found[0], words)
        return np.array_equal(found[0][np.minimum(at, found[0].size - 1)], words)

    # ------------------------------------------------------------------ numbers to residues

    def of(self, values: Array) -> Residues:
        """Return the residues of numbers: floats are exact, as m * 2^e; raise TypeError for other elements."""
        if values.size > _FEW or values.dtype == object:
            return self._of(values)
        key = values.dtype, values.shape, values.tobytes()
        if key not in self._few:
            self._few[key] = made = self._of(values)
            made.flags.writeable = False
        return self._few[key]

    def _of(self, values: Array) -> Residues:
        kind = values.dtype.kind
        if kind in "biu" or values.dtype.name in ("int4", "uint4", "int2", "uint2"):
            return self._integers(values)
        if values.dtype == np.float64 or (values.dtype.itemsize <= 4 and kind in "fV"):
            return self._floats(values)
        if kind in "OSU":
            words = np.array([tag("text", str(word)) for word in values.reshape(-1)], np.int64).reshape(values.shape)
            return self.reduced(np.broadcast_to(words, (self.lanes, *words.shape)))
        raise TypeError(f"no residues of {values.dtype}")

    def bits(self, values: Array) -> Residues:
        """Return residues for the bits of floats, for constants that are only moved; 0 and -0 are 0.

        Any map from bits to residues suffices for a constant that both models apply in the same way.
        """
        if values.dtype != np.float32:
            return self.of(values)
        words = np.ascontiguousarray(values).reshape(-1).view(np.uint32).astype(np.int64).reshape(values.shape)
        words[words == 1 << 31] = 0
        return self.named_by(np.broadcast_to(words, (self.lanes, *words.shape)))

    def named_by(self, words: Integers) -> Residues:
        """Return a random residue for each number, so that it is no sum of others; 0 stays 0."""
        return np.where(words == 0, 0, self.mix(self.reduced(words), tag("named by")))

    def _integers(self, values: Array) -> Residues:
        if values.dtype == np.uint64:
            return np.stack([(values % np.uint64(p)).astype(np.int32) for p in self.primes])
        return np.stack([(values.astype(np.int64) % p).astype(np.int32) for p in self.primes])

    def _floats(self, values: Array) -> Residues:
        double = values.dtype == np.float64
        bits, kind = (52, np.dtype(np.float64)) if double else (23, np.dtype(np.float32))
        words = np.ascontiguousarray(values.astype(kind)).reshape(-1).view(f"u{kind.itemsize}")
        word = words.dtype.type
        exponents = words << word(1) >> word(bits + 1)
        mantissas = (words & word((1 << bits) - 1)).astype(np.int64)
        mantissas[exponents > 0] |= 1 << bits
        out = np.empty((self.lanes, values.size), np.int32)
        for lane, p in enumerate(self.primes):
            part = (mantissas % p if double else mantissas) * self._powers(double)[lane][exponents] % p
            out[lane] = np.where(words >> word(kind.itemsize * 8 - 1), (p - part) % p, part)
        special = exponents == word(2047 if double else 255)
        if special.any():
            out = np.where(special, self.mix(self._integers(words), tag("atom")), out)
        return out.reshape(self.lanes, *values.shape)

    def _powers(self, double: bool) -> Integers:
        """Return the powers of two for all exponents of floats, modulo each prime."""
        if double not in self._known_powers:
            last, least = (2048, 1075) if double else (256, 150)
            every = [[pow(2, max(e, 1) - least, p) for e in range(last)] for p in self.primes]
            self._known_powers[double] = np.array(every, np.int64)
        return self._known_powers[double]

    # ------------------------------------------------------------------ hashes

    def mix(self, values: Residues, salt: int, place: Residues | None = None) -> Residues:
        """Hash every element, with a salt that names the function: an uninterpreted function of one argument.

        With a `place` that broadcasts it is a function of both.
        """
        keys = (self._keys ^ np.uint64(tag(salt))).tolist()
        return self._each(_mixed, values, *(() if place is None else (place,)), keys=keys)

    def uniform(self, key: object, shape: Sequence[int]) -> Residues:
        """Return random residues that depend on a key and the index alone: fresh variables."""
        index = np.arange(prod(shape), dtype=np.int32)
        wide = np.broadcast_to(index, (self.lanes, index.size))
        return self.mix(wide, tag("uniform", key)).reshape(self.lanes, *shape)

    def ordered(self, salt: int, operands: Sequence[Residues]) -> Residues:
        """Hash operands that broadcast, elementwise, where their order matters."""
        total = self.mix(operands[0], tag(salt, 0))
        for i, operand in enumerate(operands[1:], start=1):
            total = self.mix(self.add(total, self.mix(operand, tag(salt, i))), tag(salt, "then", i))
        return total

    def unordered(self, salt: int, operands: Sequence[Residues]) -> Residues:
        """Hash operands that broadcast, elementwise, where their order does not matter."""
        total = self.mix(operands[0], salt)
        for operand in operands[1:]:
            total = self.add(total, self.mix(operand, salt))
        return self.mix(total, tag(salt, "all"))

    def sequence(self, values: Residues, key: object = "sequence") -> Residues:
        """Hash the sequence along the last axis: a random linear form of its elements."""
        weights = self.uniform((key, values.shape[-1]), values.shape[-1:])
        spread = weights.reshape(self.lanes, *[1] * (values.ndim - 2), -1)
        return self.total(self.mul(values, spread), [values.ndim - 2], keepdims=False)

    # ------------------------------------------------------------------ arithmetic

    def add(self, one: Residues, other: Residues) -> Residues:
        """Add, with broadcasting of the axes after the lanes, as all arithmetic does."""
        return self._each(lambda p, a, b: _least(a + b, p), one, other)

    def sub(self, one: Residues, other: Residues) -> Residues:
        return self._each(lambda p, a, b: _least(a - b + p, p), one, other)

    def mul(self, one: Residues, other: Residues) -> Residues:
        return self._each(lambda p, a, b: _below(a * b, p), one, other, words=np.uint64)

    def neg(self, values: Residues) -> Residues:
        return self._each(lambda p, a: _least(p - a, p), values)

    def _each(
        self, how: Callable[..., Words], *operands: Array, words: type[Any] = np.uint32, keys: Sequence[int] = ()
    ) -> Residues:
        """Apply a function of a prime (and a key) and of words to operands, in blocks that stay in the cache."""
        shape = (self.lanes, *np.broadcast_shapes(*(x.shape[1:] for x in operands)))
        widest = next((x for x in operands if x.shape == shape), np.empty(shape, np.int32))
        out = np.empty_like(widest, np.int32)  # as it lies in memory
        access: Any = [*[["readonly"]] * len(operands), ["writeonly"]]
        kinds = [*[words] * len(operands), np.uint32]
        for lane, p in enumerate(self.primes):
            given = [words(p), *keys[lane : lane + 1]]
            parts = [x[lane, ...] for x in (*operands, out)]
            parts = [x.view(np.uint32) if x.dtype == np.int32 else x for x in parts]
            with np.nditer(parts, _TAKEN, access, kinds, casting="unsafe", buffersize=_BLOCK) as blocks:
                for *read, target in blocks:
                    target[...] = how(*given, *read)
        return out

    def relu(self, x: Residues) -> Residues:
        """Compute R(x), a hash with R(x) - R(-x) = x."""
        negative = self.neg(x)
        hashed = self.mix(np.minimum(x, negative), tag("relu"))
        np.copyto(hashed, self.add(hashed, x), where=x > negative)
        return hashed

    def reshaped(self, x: Residues, shape: Sequence[int]) -> Residues:
        """Give the same elements another shape."""
        return x.reshape(len(x), *shape)

    def joined(self, parts: Sequence[Residues], axis: int) -> Residues:
        """Concatenate along an axis, counted without the lanes."""
        return np.concatenate(parts, axis=axis + 1)

    def taken(self, x: Residues, places: Array, axis: int) -> Residues:
        """Pick along an axis, counted without the lanes."""
        return np.take(x, places, axis=axis + 1)

    def padded(self, x: Residues, widths: Sequence[tuple[int, int]], fill: Residues) -> Residues:
        """Pad a tensor with one number."""
        filled = zip(x, fill.reshape(len(x)), strict=True)
        return np.stack([np.pad(lane, widths, constant_values=value) for lane, value in filled])

    def same(self, one: Residues, other: Residues) -> bool:
        return bool(np.array_equal(one, other))

    def inverse(self, values: Residues) -> Residues:
        """Return the reciprocals; raise ZeroDivisorError for a residue 0."""
        if not values.all():
            raise ZeroDivisorError("a divisor has the residue 0")
        lanes = [inverses(values[lane].reshape(-1).astype(np.int64), p) for lane, p in enumerate(self.primes)]
        return np.stack(lanes).astype(np.int32).reshape(values.shape)

    def total(self, values: Residues, axes: Sequence[int], keepdims: bool = True) -> Residues:
        """Sum over axes of the tensor, counted without the lanes."""
        return self.reduced(values.sum(axis=tuple(axis + 1 for axis in axes), keepdims=keepdims, dtype=np.int64))

    def matmul(self, one: Residues, other: Array) -> Residues:
        """Multiply matrices [.., M, K] and [.., K, N], exactly, with float64 BLAS and the smaller matrix in limbs."""
        width = one.shape[-1]
        if width > MOST_SUMMED:
            half = width // 2
            return self.add(
                self.matmul(one[..., :half], other[..., :half, :]), self.matmul(one[..., half:], other[..., half:, :])
            )
        bits = min(LIMB, 53 - BITS - max(width - 1, 0).bit_length())
        shape = np.broadcast_shapes(one.shape[1:-2], other.shape[1:-2])
        out = np.empty((self.lanes, *shape, one.shape[-2], other.shape[-1]), np.int32)
        for lane, p in enumerate(self.primes):
            x, y = one[lane], other[lane]
            left = x.size < y.size
            whole = (y if left else x).astype(np.float64)
            total: Words = np.zeros((), np.uint64)
            for limb in _limbs(x if left else y, bits):  # the highest comes first
                part = limb @ whole if left else whole @ limb
                total = _below((total << np.uint64(bits)) + part.astype(np.uint64), np.uint64(p))
            out[lane] = total
        return out

    def reduced(self, values: Integers) -> Residues:
        """Reduce int64 numbers that are not negative modulo the prime of each lane."""
        return self._each(lambda p, word: _below(word, p), values, words=np.uint64)

    def number(self, value: float) -> Residues:
        """Return the residues of one number of the model, a float32."""
        return self.of(np.asarray(value, np.float32))


def _mixed(p: np.uint32, key: int, word: Words, *place: Words) -> Words:
    """Mix words to 30 bits; subtract the prime, which is above 2^29, once from a word that is not below it."""
    word = (word + place[0] if place else word) * np.uint32(key >> 32 | 1)
    word += np.uint32(key & 0xFFFFFFFF)
    word ^= word >> np.uint32(16)
    word *= _M1
    word ^= word >> np.uint32(15)
    word *= _M2
    word ^= word >> np.uint32(16)
    word >>= np.uint32(2)
    return _least(word, p)


def _least(word: Words, p: np.unsignedinteger[Any]) -> Words:
    """Reduce words below 2p modulo p: `word - p` wraps around for a word below p, and the minimum is the word."""
    return np.asarray(np.minimum(word, word - p))


def _below(word: Words, p: np.uint64) -> Words:
    """Reduce words modulo p, by //, which is faster than %."""
    return np.asarray(word - word // p * p)


def _limbs(values: Residues, bits: int) -> Iterator[NDArray[np.float64]]:
    """Yield the limbs of residues, each of this many bits, the highest first."""
    for shift in range((-(-BITS // bits) - 1) * bits, -1, -bits):
        yield ((values >> shift) & ((1 << bits) - 1)).astype(np.float64)
