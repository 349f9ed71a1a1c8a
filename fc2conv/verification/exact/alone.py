"""What one model alone has: functions, constants, and nodes without a rule, which read other elements or the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from fc2conv.verification.exact import layout, linear, pointwise, quantized
from fc2conv.verification.exact.evaluate import BudgetError, Evaluator
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.terms import ABSENT, Array, Term, behind

Sides = tuple[list[Term], list[Term]]

# ------------------------------------------------------------------ functions

EXACT = frozenset(
    {*layout.RULES, *linear.RULES}
    | set("Add Sub Mul Div Sum Neg Mean Reciprocal ReduceSum ReduceMean AveragePool Not".split())
    | {"DequantizeLinear", "MatMulNBits"}
) - {"Where", "If"}
"""Operators that are sums, products, quotients and moves."""

_LAYOUT = frozenset("axis axes batch_axis time_axis batch_dims perm layout keepdims channels_last".split())
"""Attributes that say where elements lie."""
_SIZES = frozenset({"Shape", "Size"})
_FACTORS = frozenset({"BatchNormalization", "com.microsoft::MatMulNBits"})
"""Operators that multiply their constants with each other."""
_PLACES = frozenset({("NonZero", 0), ("NonMaxSuppression", 0), ("MaxPool", 1)})
"""Results that are places of elements; among equal elements the order decides."""
_WITHIN = dict.fromkeys(("ReduceMax", "ReduceMin"), "MaxPool")
"""Functions that another operator applies as well, under this name."""


def own_terms(term: Term, side: int, same: Collection[bytes] = ()) -> Iterator[Term]:
    """Yield the nodes that only one model has on the way to a value, apart from those that are the `same` in both."""
    return behind(term, lambda top: top.sides == side and top.has_op and top.key not in same)


def may_round(term: Term) -> bool:
    """Decide whether a node makes a constant of others, or has factors: a runtime rounds these results."""
    computed = (term.value is not None or term.computed) and not term.integer
    return computed or term.op.name in _FACTORS or bool({"alpha", "beta"} & term.op.attributes.keys())


def may_be_rounded(one: Term, other: Term) -> bool:
    """Decide whether a node that makes one of two values alone, or an operand of it, is rounded by a runtime."""
    own = [*own_terms(one, 1), *own_terms(other, 2)]
    read = (each for term in own for each in term.inputs if each.has_op)
    return any(map(may_round, chain(own, read)))


def functions(term: Term) -> set[str]:
    """Return the functions that a node applies, apart from sums, products and layout."""
    name = term.op.name.rpartition("::")[2]
    kept = name == "Cast" and quantized.exact_cast(term.operand(0), term)
    return set() if kept or (name in EXACT and not _hashes(term)) else {_WITHIN.get(name, name)}


def _hashes(term: Term) -> bool:
    """Return whether a sum, product or move is a hash: of non-finite numbers, a rounded quotient, an unknown place."""
    picked = term.op.name in ("Gather", "GatherND") and term.operand(1).value is None
    rounded = term.op.name == "Div" and term.integer
    return picked or rounded or any(each.atoms for each in term.inputs)


def named(term: Term, opaque: bool) -> set[tuple[str, str]]:
    """Return the functions that a node applies, with the numbers that are attributes, apart from moves and quotients.

    For a node without a rule these are all attributes, apart from those that another layout may change.
    """
    given = pointwise.attributes(term.op.name, term.op.attributes)
    kept = {key: value for key, value in given.items() if isinstance(value, float) or (opaque and key not in _LAYOUT)}
    return {(name, repr(sorted(kept.items()))) for name in functions(term) - _SIZES - EXACT}


# ------------------------------------------------------------------ nodes without a rule


def unmatched(whole: Evaluator, one: Term, other: Term) -> Sides:
    """Return the nodes without a rule on the way to each of two values that equal no node on the way to the other."""
    ways = [{term.key: term for term in behind(top) if term.key in whole.opaque} for top in (one, other)]
    alone = [[term for key, term in ways[i].items() if key not in ways[1 - i]] for i in (0, 1)]
    residues = [{_residues(whole, term).tobytes() for term in terms} for terms in alone]
    both = residues[0] & residues[1]
    mine, theirs = ([term for term in terms if _residues(whole, term).tobytes() not in both] for terms in alone)
    return mine, theirs


def contradicted(whole: Evaluator, sides: Sides) -> bool:
    """Return whether one model gives a node without a rule elements that the other gives to no node of its kind.

    Nodes after another one of these are left out, as their operands are not known.
    """
    firsts = [_firsts(side) for side in sides]
    for side, others in (firsts, firsts[::-1]):
        for term in side:
            kind = [each for each in others if each.op.name == term.op.name]
            alone = not kind and not term.integer and term.shape is not None
            if alone or (kind and not any(_same_elements(whole, each, term) for each in kind)):
                return True
    return False


def _firsts(terms: Sequence[Term]) -> list[Term]:
    keys = {term.key for term in terms}
    return [term for term in terms if not any(each.key in keys for each in behind(term) if each is not term)]


def _same_elements(whole: Evaluator, one: Term, other: Term) -> bool:
    """Return whether two nodes read the same elements; true as well where that is not known.

    The elements may lie in any layout, except for a node that gives places of elements.
    """
    places = (one.op.name, one.index) in _PLACES
    for a, b in zip(one.inputs, other.inputs, strict=False):
        unknown = ABSENT in (a, b) or None in (a.shape, b.shape)
        if unknown or a.key == b.key or a.size != b.size:
            continue
        try:
            first, second = (_residues(whole, each) for each in (a, b))
        except BudgetError:
            continue
        if not places:
            first, second = np.sort(first, axis=None), np.sort(second, axis=None)
        if not np.array_equal(first, second):
            return False
    return True


def _residues(whole: Evaluator, term: Term) -> Residues:
    return np.asarray((whole.constant(term) if term.constant else whole.of(term))[0])


# ------------------------------------------------------------------ constants

_BLOCK = 1 << 20
MASK = (1 << 64) - 1
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def constants(terms: Iterable[Term], side: int) -> set[tuple[int, int]]:
    """Return the contents of the floating-point constants that nodes of one model read; the other may have them too."""
    read = {each.key: each for term in terms for each in term.inputs}.values()
    return {content(each.numbers()) for each in read if each.constant and each.sides & side and not each.integer}


def total(contents: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the content of constants together, which is the same where one of them is cut into parts."""
    counts, sums = zip((0, 0), *contents, strict=True)
    return sum(counts), sum(sums) & MASK


def content(values: Array) -> tuple[int, int]:
    """Return how many numbers are not 0, and a sum of their hashes, which does not depend on their order."""
    flat, count, total = values.reshape(-1), 0, 0
    if flat.dtype.kind in "OSU":
        flat = np.array([float(tag("text", str(word))) for word in flat])
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        bits = block[block != 0].view(np.uint64)
        count += bits.size
        with np.errstate(over="ignore"):
            mixed = (bits ^ (bits >> np.uint64(30))) * _M1
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _M2
            total += int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))
    return count, total & MASK


def computed_by_both(terms: Iterable[Term], numbers: Callable[[Term], Array | None]) -> frozenset[bytes]:
    """Return the constants that both models compute from the same numbers, in any layout."""
    found: dict[object, list[Term]] = {}
    for term in terms:
        if term.has_op and term.computed and not term.integer:
            read = [numbers(each) for each in term.there]
            hashes = [content(each) for each in read if each is not None and each.dtype.kind in "fiub"]
            found.setdefault((term.op.name, term.kind, *hashes), []).append(term)
    both = (terms for terms in found.values() if all(any(t.sides & side for t in terms) for side in (1, 2)))
    return frozenset(term.key for terms in both for term in terms)


def apart(one: Term, other: Term, opaque: Collection[bytes]) -> bool:
    """Return whether one model alone has numbers or functions on the way to a value: no layout explains these."""
    ways = [list(own_terms(top, side)) for side, top in ((1, one), (2, other))]
    numbers = [total(constants(ways[side - 1], side)) for side in (1, 2)]
    applied = [{each for term in way for each in named(term, term.key in opaque)} for way in ways]
    return numbers[0] != numbers[1] or applied[0] != applied[1]
