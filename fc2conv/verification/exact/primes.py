"""Random primes, and reciprocals modulo one."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BITS = 30
"""Bits of a residue."""
_LEAST_ORDER = 5000
"""The least order of 2 modulo a prime: with a smaller one, different exponents would be the same residue."""


@lru_cache(maxsize=8)
def primes(seed: bytes, count: int) -> tuple[int, ...]:
    """Draw distinct primes between 2^29 and 2^30 by a seed, with a large order of 2 modulo each."""
    found: list[int] = []
    rng = np.random.default_rng(np.frombuffer(hashlib.blake2b(seed).digest(), np.uint32))
    divisors = np.arange(3, 1 << BITS // 2, 2)
    while len(found) < count:
        p = int(rng.integers(1 << BITS - 1, 1 << BITS)) | 1
        likely = p not in found and pow(2, p - 1, p) == 1
        if likely and (p % divisors).all() and not any(pow(2, order, p) == 1 for order in _small_orders(p)):
            found.append(p)
    return tuple(found)


def _small_orders(p: int) -> list[int]:
    """Return the orders below the least one that are possible: divisors of p - 1."""
    numbers = np.arange(1, _LEAST_ORDER)
    return [int(each) for each in numbers[(p - 1) % numbers == 0]]


def inverses(values: Integers, p: int) -> Integers:
    """Compute the reciprocals of many numbers at the cost of one: 1/a = b/(ab), pair by pair."""
    if values.size <= 8:
        return np.array([pow(int(value), -1, p) for value in values], np.int64)
    half = (values.size + 1) // 2
    left, right = values[:half], np.ones(half, np.int64)
    right[: values.size - half] = values[half:]
    both = inverses(left * right % p, p)
    return np.concatenate([both * right % p, both * left % p])[: values.size]
