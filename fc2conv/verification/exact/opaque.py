"""What two models give to nodes without a rule: the same elements in another layout, or other elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fc2conv.verification.exact.evaluate import BudgetError, Evaluator
from fc2conv.verification.exact.field import Residues
from fc2conv.verification.exact.terms import Term, behind

Sides = tuple[list[Term], list[Term]]


def unmatched(whole: Evaluator, one: Term, other: Term) -> Sides:
    """The nodes without a rule on the way to each of two values to which none on the way to the other is equal."""
    ways = [{term.key: term for term in behind(top) if term.key in whole.opaque} for top in (one, other)]
    alone = [[term for key, term in ways[i].items() if key not in ways[1 - i]] for i in (0, 1)]
    held = [{_residues(whole, term).tobytes() for term in terms} for terms in alone]
    both = held[0] & held[1]
    mine, theirs = ([term for term in terms if _residues(whole, term).tobytes() not in both] for terms in alone)
    return mine, theirs


def contradicted(whole: Evaluator, sides: Sides) -> bool:
    """Whether one model gives such a node elements that the other model gives to no node of its kind.

    Nodes behind another one of those are left out, as what they read is not known.
    """
    mine, theirs = map(_firsts, sides)
    for term in theirs:
        others = [each for each in mine if each.op and term.op and each.op.name == term.op.name]
        if others and not any(_same_elements(whole, each, term) for each in others):
            return True
    return False


def parted(whole: Evaluator, one: Term, other: Term) -> bool:
    """Whether two values of unknown shape are made by the same operators, of other elements."""
    stack = [(one, other)]
    while stack:
        a, b = stack.pop()
        if a.key == b.key or a.op is None or b.op is None or a.op.name != b.op.name or len(a.inputs) != len(b.inputs):
            continue
        if not _same_elements(whole, a, b):
            return True
        pairs = [(x, y) for x, y in zip(a.inputs, b.inputs, strict=True) if x is not None and y is not None]
        stack += [(x, y) for x, y in pairs if x.shape is None or y.shape is None]
    return False


def _firsts(terms: Sequence[Term]) -> list[Term]:
    keys = {term.key for term in terms}
    return [term for term in terms if not any(each.key in keys for each in behind(term) if each is not term)]


def _same_elements(whole: Evaluator, one: Term, other: Term) -> bool:
    """Whether two nodes read the same elements, in whatever layout; true as well where that is not known."""
    for a, b in zip(one.inputs, other.inputs, strict=False):
        if a is None or b is None or a.key == b.key or a.shape is None or b.shape is None or a.size != b.size:
            continue
        try:
            first, second = (np.sort(_residues(whole, each), axis=None) for each in (a, b))
        except BudgetError:
            continue
        if not np.array_equal(first, second):
            return False
    return True


def _residues(whole: Evaluator, term: Term) -> Residues:
    return np.asarray((whole.constant(term) if term.constant else whole.of(term))[0])
