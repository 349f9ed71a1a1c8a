"""How likely it is that two different models have equal residues.

A value is a polynomial in fresh variables and hashes, with coefficients that are numbers of the model, over a product
of divisors. Two different ones agree modulo one random prime with probability at most (d + h) / p + b / (29 P):

- d is the degree (Schwartz and Zippel), to which each divisor that was inverted adds one;
- h is the depth of nested hashes;
- b is the bits of the largest coefficient, which at most b / 29 primes of 29 bits divide;
- P is the number of primes that may be drawn.

The primes are independent, so that the probabilities multiply.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log2

import numpy as np

from fc2conv.verification.exact.terms import Term

LEAST_PRIME = 2.0**29
PRIMES = 1e7
"""Fewer than the primes between 2^29 and 2^30 modulo which the order of 2 is large."""
WANTED = 40
"""The proof is to err with a probability below 2^-40."""

_BITS = 32.0
_SUMMED = 22.0
"""log2 of the most that is summed in one product."""
_SUMS = frozenset("Add Sub Sum Mean Neg ReduceSum ReduceMean GlobalAveragePool AveragePool CumSum".split())
_PRODUCTS = frozenset(
    """Mul Div Reciprocal Pow MatMul Gemm Conv Einsum BatchNormalization LayerNormalization InstanceNormalization
GroupNormalization ReduceSumSquare MatMulInteger ConvInteger QLinearConv QLinearMatMul DequantizeLinear""".split()
)


@dataclass(frozen=True)
class _Size:
    degree: float = 0.0
    depth: float = 0.0
    bits: float = 0.0


def safety(terms: Iterable[Term], moves: frozenset[str], divisors: int, primes: int) -> float:
    """Return s, where the probability of an error is below 2^-s; `terms` come behind their operands."""
    sizes: dict[bytes, _Size] = {}
    worst = _Size()
    for term in terms:
        made = _size(term, [sizes[each.key] for each in term.inputs if each is not None and each.key in sizes], moves)
        sizes[term.key] = made
        worst = _Size(*map(max, zip(_tuple(worst), _tuple(made), strict=True)))
    chance = (worst.degree + divisors + worst.depth) / LEAST_PRIME + worst.bits / (29 * PRIMES)
    return primes * -log2(chance) if chance < 1 else 0.0


def _tuple(size: _Size) -> tuple[float, float, float]:
    return size.degree, size.depth, size.bits


def _size(term: Term, inputs: list[_Size], moves: frozenset[str]) -> _Size:
    if term.value is not None or term.load is not None:
        return _Size(bits=_bits(term))
    if term.op is None or not inputs:
        return _Size(degree=1.0)
    degrees, depths, bits = zip(*map(_tuple, inputs), strict=True)
    name = term.op.name.rpartition("::")[2]
    if term.sides == 3 and name not in moves and name not in _SUMS:
        return _Size(degree=1.0)
    if name in moves or name in _SUMS:
        return _Size(max(degrees), max(depths), max(bits) + (_SUMMED if name in _SUMS else 0.0))
    if name in _PRODUCTS:
        return _Size(sum(degrees), max(depths), sum(bits) + _SUMMED)
    return _Size(1.0, max(depths) + 1.0, 0.0)


def _bits(term: Term) -> float:
    """The bits of a constant's numbers over a common power of two; those of a large one are its bits."""
    if term.value is None or term.value.dtype.kind != "f" or not term.value.size:
        return _BITS
    finite = np.where(np.isfinite(term.value), term.value, 0).astype(np.float64)
    exponents = np.frexp(finite)[1][finite != 0]
    return float(np.ptp(exponents)) + 53.0 if exponents.size else _BITS
