"""Residues modulo several random primes at once, and the arithmetic of models on them.

A float is m * 2^e, so that it is a number of Z[1/2], and Z[1/2] -> Z_p (p an odd prime) keeps sums and products. A
tensor of residues has a *lane* for each prime: int64 [lanes, *shape], each element below its prime. What is no sum or
product is a keyed hash of its arguments' residues: an uninterpreted function.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
OOPSLA 2014; the constants are Stafford's variant 13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Residues = NDArray[np.int64]

LIMB = 15
"""Bits of a limb: products of two limbs, added up 2^22 times, are exact in float64."""
MOST_SUMMED = 1 << 22

_LOW, _HIGH = 1 << 29, 1 << 30
_LEAST_ORDER = 5000
"""The least order of 2 modulo a prime: a smaller one would take exponents for each other."""
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WIDE = 1200


class ZeroDivisorError(Exception):
    """A divisor has the residue 0 modulo one of the primes, which says nothing: another seed is needed."""


def tag(*parts: object) -> int:
    """Hash plain values (strings, bytes, ints and tuples of them) to 63 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little") >> 1


def is_prime(n: int) -> bool:
    """Decide whether a number below 3.3 * 10^24 is prime, by Miller and Rabin's test with fixed witnesses."""
    if n < 2 or any(n % w == 0 for w in _WITNESSES):
        return n in _WITNESSES
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in _WITNESSES:
        x = pow(witness, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def primes(seed: bytes, count: int) -> list[int]:
    """Draw distinct primes of 30 bits, by a seed, modulo which the order of 2 is large."""
    found: list[int] = []
    rng = np.random.default_rng(np.frombuffer(hashlib.blake2b(seed).digest(), np.uint32))
    while len(found) < count:
        p = int(rng.integers(_LOW, _HIGH)) | 1
        if p not in found and is_prime(p) and _order_is_large(p):
            found.append(p)
    return found


def _order_is_large(p: int) -> bool:
    power = 1
    for _ in range(_LEAST_ORDER):
        power = power * 2 % p
        if power == 1:
            return False
    return True


class Field:
    """The product of the fields Z_p for a few primes, with hash keys of its own."""

    def __init__(self, seed: bytes, count: int = 2) -> None:
        self.primes = primes(seed, count)
        self.lanes = count
        self.divisors = 0
        self._keys = np.array([tag("key", seed, i) for i in range(count)], np.uint64)
        self._primes = np.array(self.primes, np.int64)

    def p(self, rank: int) -> Residues:
        """Return the primes in a shape that broadcasts against residues of a tensor of this rank."""
        return self._primes.reshape(-1, *[1] * rank)

    # ------------------------------------------------------------------ numbers to residues

    def of(self, values: Array) -> Residues:
        """Return the residues of numbers: floats are exact, as m * 2^e; raises TypeError for other elements."""
        kind = values.dtype.kind
        if kind in "biu" or values.dtype.name in ("int4", "uint4", "int2", "uint2"):
            return self._integers(values)
        if values.dtype.itemsize <= 4 and kind in "fV":
            return self._singles(values.astype(np.float32))
        if values.dtype == np.float64:
            return self._doubles(values)
        if kind in "OSU":
            words = np.array([tag("text", str(word)) for word in values.reshape(-1)], np.int64).reshape(values.shape)
            return words % self.p(values.ndim)
        raise TypeError(f"no residues of {values.dtype}")

    def bits(self, values: Array) -> Residues:
        """Return the residues of what floats are as bits, for constants that are only moved; 0 and -0 are 0.

        Any map of bits to residues will do for a constant that both models apply in the same way.
        """
        if values.dtype != np.float32:
            return self.of(values)
        words = np.ascontiguousarray(values).reshape(-1).view(np.uint32).astype(np.int64).reshape(values.shape)
        return np.where(words == 1 << 31, 0, words) % self.p(values.ndim)

    def _integers(self, values: Array) -> Residues:
        if values.dtype == np.uint64:
            return np.stack([(values % np.uint64(p)).astype(np.int64) for p in self.primes])
        return values.astype(np.int64) % self.p(values.ndim)

    def _singles(self, values: Array) -> Residues:
        words = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
        exponents = ((words >> np.uint32(23)) & np.uint32(255)).astype(np.int64)
        mantissas = (words & np.uint32((1 << 23) - 1)).astype(np.int64)
        mantissas[exponents > 0] |= 1 << 23
        out = np.empty((self.lanes, values.size), np.int64)
        for lane, p in enumerate(self.primes):
            part = mantissas * self._powers_single[lane][exponents] % p
            out[lane] = np.where(words >> np.uint32(31), (p - part) % p, part)
        special = exponents == 255
        if special.any():
            out = np.where(special, self.mix(words.astype(np.int64) % self.p(1), tag("atom")), out)
        return out.reshape(self.lanes, *values.shape)

    @cached_property
    def _powers_single(self) -> Residues:
        exponents = [max(e, 1) - 150 for e in range(256)]
        return np.array([[pow(2, e, p) for e in exponents] for p in self.primes], np.int64)

    @cached_property
    def _powers_double(self) -> Residues:
        return np.array([[pow(2, e, p) for e in range(-_WIDE, _WIDE)] for p in self.primes], np.int64)

    def _doubles(self, values: Array) -> Residues:
        finite = np.isfinite(values)
        mantissas, exponents = np.frexp(np.where(finite, values, 0.0))
        whole = np.rint(mantissas * 2.0**53).astype(np.int64)
        out = np.empty((self.lanes, *values.shape), np.int64)
        for lane, p in enumerate(self.primes):
            out[lane] = (whole % p) * self._powers_double[lane][exponents - 53 + _WIDE] % p
        if finite.all():
            return out
        words = np.ascontiguousarray(values).reshape(-1).view(np.int64).reshape(values.shape)
        return np.where(finite, out, self.mix(words % self.p(values.ndim), tag("atom")))

    # ------------------------------------------------------------------ hashes

    def mix(self, values: Residues, salt: int) -> Residues:
        """Hash every element, with a salt that names the function: an uninterpreted function of one argument."""
        with np.errstate(over="ignore"):
            keys = self._keys.reshape(-1, *[1] * (values.ndim - 1))
            word = values.astype(np.uint64) + (keys ^ np.uint64(tag(salt)))
            for shift in (30, 27):
                word ^= word >> np.uint64(shift)
                word *= _M1 if shift == 30 else _M2
            word ^= word >> np.uint64(31)
        return self._reduced((word >> np.uint64(2)).astype(np.int64))

    def uniform(self, key: object, shape: Sequence[int]) -> Residues:
        """Return random residues that a key and the index alone decide: fresh variables."""
        index = np.arange(prod(shape), dtype=np.int64)
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
        weights = self.uniform((key, values.shape[-1]), (values.shape[-1],))
        return self.dot(values, weights)

    # ------------------------------------------------------------------ arithmetic

    def add(self, one: Residues, other: Residues) -> Residues:
        """Add, with broadcasting behind the lanes."""
        one, other = _levelled(one, other)
        total = one + other
        p = self.p(total.ndim - 1)
        return np.asarray(np.subtract(total, p, out=total, where=total >= p))

    def sub(self, one: Residues, other: Residues) -> Residues:
        """Subtract, with broadcasting."""
        one, other = _levelled(one, other)
        total = one - other
        return np.asarray(np.add(total, self.p(total.ndim - 1), out=total, where=total < 0))

    def mul(self, one: Residues, other: Residues) -> Residues:
        """Multiply, with broadcasting."""
        one, other = _levelled(one, other)
        return self._reduced(one * other)

    def neg(self, values: Residues) -> Residues:
        """Return the negatives."""
        return np.where(values == 0, 0, self.p(values.ndim - 1) - values)

    def scaled(self, values: Residues, factor: float) -> Residues:
        """Multiply by one number of the model, a float32."""
        return self.mul(values, self.number(factor))

    def inverse(self, values: Residues) -> Residues:
        """Return the reciprocals; raises ZeroDivisorError for a residue 0."""
        if not values.all():
            raise ZeroDivisorError("a divisor has the residue 0")
        self.divisors += values[0].size
        lanes = [_inverses(values[lane].reshape(-1), p) for lane, p in enumerate(self.primes)]
        return np.stack(lanes).reshape(values.shape)

    def total(self, values: Residues, axes: Sequence[int], keepdims: bool = True) -> Residues:
        """Sum over axes of the tensor, counted without the lanes."""
        return self._reduced(values.sum(axis=tuple(axis + 1 for axis in axes), keepdims=keepdims))

    def dot(self, values: Residues, weights: Residues) -> Residues:
        """Sum the products of the last axis with a vector."""
        rows = values.reshape(self.lanes, prod(values.shape[1:-1]), values.shape[-1])
        return self.matmul(rows, weights[:, :, None]).reshape(values.shape[:-1])

    def matmul(self, one: Residues, other: Residues) -> Residues:
        """Multiply matrices [.., M, K] and [.., K, N]; exact, on float64 BLAS, by limbs of 15 bits."""
        width = one.shape[-1]
        if width > MOST_SUMMED:
            half = width // 2
            return self.add(
                self.matmul(one[..., :half], other[..., :half, :]), self.matmul(one[..., half:], other[..., half:, :])
            )
        highs, lows = (x >> LIMB for x in (one, other)), (x & ((1 << LIMB) - 1) for x in (one, other))
        (ah, bh), (al, bl) = ([x.astype(np.float64) for x in part] for part in (highs, lows))
        parts = [self._whole(x @ y) for x, y in ((ah, bh), (ah, bl), (al, bh), (al, bl))]
        return self.joined(parts, LIMB, LIMB)

    def joined(self, parts: Sequence[Residues], one: int, other: int) -> Residues:
        """Put products of limbs (high by high, high by low, low by high, low by low) together."""
        hh, hl, lh, ll = parts
        p = self.p(hh.ndim - 1)
        powers = [np.array([pow(2, bits, q) for q in self.primes], np.int64).reshape(p.shape)
                  for bits in (one + other, one, other)]  # fmt: skip
        return self._reduced(hh * powers[0] % p + hl * powers[1] % p + lh * powers[2] % p + ll)

    def _whole(self, values: NDArray[np.float64]) -> Residues:
        return self._reduced(values.astype(np.int64))

    def _reduced(self, values: Residues) -> Residues:
        """Bring int64 numbers below their primes."""
        return np.asarray(values % self.p(values.ndim - 1), np.int64)

    def number(self, value: float) -> Residues:
        """Return the residues of one number of the model, a float32."""
        return self.of(np.asarray(value, np.float32))


def _levelled(one: Residues, other: Residues) -> tuple[Residues, Residues]:
    """Give both the same rank, with dimensions of 1 behind the lanes."""
    rank = max(one.ndim, other.ndim)
    return _padded(one, rank), _padded(other, rank)


def _padded(values: Residues, rank: int) -> Residues:
    return (
        values if values.ndim == rank else values.reshape(len(values), *[1] * (rank - values.ndim), *values.shape[1:])
    )


def _inverses(values: Residues, p: int) -> Residues:
    """Invert many at the price of one: 1/a = b/(ab), pair by pair."""
    if values.size <= 8:
        return np.array([pow(int(value), -1, p) for value in values], np.int64)
    half = (values.size + 1) // 2
    left, right = values[:half], np.ones(half, np.int64)
    right[: values.size - half] = values[half:]
    both = _inverses(left * right % p, p)
    return np.concatenate([both * right % p, both * left % p])[: values.size]
