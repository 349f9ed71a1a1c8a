"""How likely it is that two different models have equal residues.

A value is a polynomial in fresh variables and hashes, with coefficients that are numbers of the model, over a product
of divisors. Two different ones agree modulo one random prime with probability at most (d + h) / p + b / (29 P):

- d is the degree of an element plus the degrees of its divisors (Schwartz and Zippel); a sum of n quotients with
  different divisors is counted as one of them, so that for this sum the bound is up to n times as large;
- h is the depth of nested hashes;
- b is the number of bits of the largest coefficient, which at most b / 29 primes of 29 bits divide;
- P is the number of primes that may be drawn.

The primes are independent, so that the probabilities multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2
from typing import NamedTuple

import numpy as np

from fc2conv.verification.exact.clamps import factors
from fc2conv.verification.exact.evaluate import Evaluator, Level
from fc2conv.verification.exact.operators import MOVES
from fc2conv.verification.exact.pointwise import HASHED
from fc2conv.verification.exact.terms import Term

LEAST_PRIME = 2.0**29
PRIMES = 2.5e7
"""Fewer than the primes between 2^29 and 2^30 modulo which the order of 2 is large."""
WANTED = 40
"""The proof must err with a probability below 2^-40."""

_MOVED_BITS = 32.0
"""The bits of a constant that is taken as its bits in memory."""
_NUMBER_BITS = 280.0
"""The bits of float32 numbers over a common power of two, at most."""
_SUMMED = 22.0
"""log2 of the most that is summed in one product."""
_SUMS = frozenset("Add Sub Sum Mean Neg ReduceSum ReduceMean AveragePool CumSum".split())
_LINEAR = frozenset("MatMul Gemm Conv ConvTranspose Einsum MatMulInteger ConvInteger MatMulNBits".split())
_PRODUCTS = _LINEAR | frozenset("Mul Div Reciprocal Pow BatchNormalization DequantizeLinear "
                               "And Or Xor Where If".split())  # fmt: skip
_POWERS = {"Pow": 8}
_PURE = frozenset([*HASHED.split(), *"QuantizeLinear MaxPool Greater Less".split()])
"""Operators that are hashes of their arguments, and nothing else."""
_OF_EXP = frozenset(("Exp", "Sigmoid", "Tanh"))
"""Operators that are hashes of their arguments without laws."""


class _Size(NamedTuple):
    degree: float = 0.0
    depth: float = 0.0
    bits: float = 0.0


def safety(terms: Iterable[Term], evaluator: Evaluator) -> float:
    """Return s, where an evaluator errs with a probability below 2^-s; `terms` come after their operands."""
    sizes: dict[bytes, _Size] = {}
    for term in terms:
        inputs = [sizes[each.key] for each in term.inputs if each.key in sizes]
        sizes[term.key] = _size(term, inputs, evaluator)
    degree, depth, bits = (max(each) for each in zip(_Size(), *sizes.values(), strict=True))
    chance = (degree + depth) / LEAST_PRIME + bits / (29 * PRIMES)
    return evaluator.field.lanes * -log2(chance) if chance < 1 else 0.0


def _size(term: Term, inputs: Sequence[_Size], evaluator: Evaluator) -> _Size:
    cuts = evaluator.level == Level.CUTS
    if term.value is not None or term.load is not None:
        return _Size(bits=_bits(term, cuts))
    if not inputs or evaluator.cut(term):
        return _Size(degree=1.0)
    degrees, depths, bits = zip(*inputs, strict=True)
    name, depth = term.op.name.rpartition("::")[2], max(depths)
    if name in _SUMS or (name in MOVES and name not in _PRODUCTS):
        summed = 0.0 if name in MOVES else _SUMMED if len(inputs) == 1 else float(len(inputs) - 1)
        return _Size(max(degrees), depth, max(bits) + summed)
    projected = cuts and name in _LINEAR and any(each.constant for each in term.inputs)
    if name in _PURE or projected or (name in _OF_EXP and not evaluator.laws):
        return _Size(1.0, depth + 1.0)
    if name in _PRODUCTS:
        power = _POWERS.get(name, 1)
        return _Size(sum(degrees) * power, depth, sum(bits) * power + _SUMMED)
    divided = 2 if evaluator.laws and name in ("Clip", "Relu") and any(factors(term.inputs[0])) else 1
    return _Size(max(degrees) + 2.0, depth + 1.0, sum(bits) * divided + 2 * _MOVED_BITS)


def _bits(term: Term, cuts: bool) -> float:
    """Return the bits of a constant's numbers over a common power of two."""
    if term.value is None or term.value.dtype.kind != "f" or not term.value.size:
        return _MOVED_BITS if cuts or term.integer else _NUMBER_BITS
    finite = np.where(np.isfinite(term.value), term.value, 0).astype(np.float64)
    exponents = np.frexp(finite)[1][finite != 0]
    return float(np.ptp(exponents)) + 53.0 if exponents.size else _MOVED_BITS
