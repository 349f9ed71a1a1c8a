"""Random primes of 30 bits, modulo which powers of two are not confused."""

from __future__ import annotations

import hashlib

import numpy as np

_LOW, _HIGH = 1 << 29, 1 << 30
_LEAST_ORDER = 5000
"""The least order of 2 modulo a prime: a smaller one would take exponents for each other."""
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


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
