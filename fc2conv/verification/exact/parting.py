"""Says where two models part, and what that means: another function, or one that may be the same in other words.

- Where both apply the same functions, to other sums and products, they differ.
- Where one applies functions that the other does not, one may be written in terms of the other.
- Where the one holds constants in place of several of the other, these may be folded: then they differ by the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from fc2conv.report.verification import Cause, Parting, Verdict
from fc2conv.verification.exact.evaluate import BudgetError, Evaluator
from fc2conv.verification.exact.prover import Found, Prover, functions_of, own_terms
from fc2conv.verification.exact.terms import Array, Term

_BLOCK = 1 << 20
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def parted(prover: Prover, found: Found) -> tuple[Verdict, str, Parting]:
    """Return the verdict on an output that is not the same, one line that says why, and where the models part."""
    one, other = prover.old[found.name], prover.new[found.name]
    if found.why:
        return Verdict.DIFFERS, found.why, at_term("shape", found.name, one)
    place = _first_apart(prover.old, prover.new, prover.whole) or at_term("arithmetic", found.name, one)
    where = f"{place.value} (made by {place.node}) is another function"
    where += f", first at {place.index}" if place.index is not None else ""
    mine, theirs = functions_of(one, 1), functions_of(other, 2)
    if mine != theirs:
        only = sorted(mine - theirs), sorted(theirs - mine)
        listed = [", ".join(each) or "none" for each in only]
        detail = f"{where}; functions of the one alone: {listed[0]}; of the other alone: {listed[1]}"
        return Verdict.INCONCLUSIVE, detail, replace(place, cause="functions", only_a=only[0], only_b=only[1])
    if _may_be_folded(one, other):
        detail = f"{where}; a constant of the one may be what rounding made of several of the other"
        return Verdict.INCONCLUSIVE, detail, replace(place, cause="rounding")
    return Verdict.DIFFERS, where, place


def at_term(cause: Cause, value: str, term: Term | None, index: list[int] | None = None) -> Parting:
    """Return the place of a term."""
    op_type = term.op.name if term is not None and term.op is not None else ""
    node = term.label if term is not None else ""
    return Parting(cause=cause, value=value, node=node, op_type=op_type, index=index)


def _first_apart(old: Mapping[str, Term], new: Mapping[str, Term], whole: Evaluator) -> Parting | None:
    """The first value that nodes of both models make, and whose residues are not the same."""
    both = [(name, one, new[name]) for name, one in old.items() if name in new]
    whole.forget()
    for i, (name, one, other) in enumerate(both):
        if one.key == other.key or one.shape != other.shape or one.shape is None:
            continue
        if one.constant or other.constant:
            continue
        whole.ahead = lambda rest=both[i:]: (term for _, *pair in rest for term in pair)  # type: ignore[misc]
        try:
            unequal = whole.of(one) != whole.of(other)
        except BudgetError:
            return None
        if unequal.any():
            place = [int(i) for i in np.unravel_index(int(unequal.any(axis=0).argmax()), one.shape)]
            return at_term("arithmetic", name, one, place)
    return None


# ------------------------------------------------------------------ folded constants


def _may_be_folded(one: Term, other: Term) -> bool:
    """Whether one model may hold the product or the sum of several constants of the other.

    It then holds fewer numbers. Numbers that both hold, in whatever shape, do not count: where those are all, or where
    only one model has others, something was added, dropped or moved. A quotient by a constant may also have become a
    product.
    """
    if _divides(one, 1) != _divides(other, 2):
        return True
    mine, theirs = _constants(one, 1), _constants(other, 2)
    both = mine.keys() & theirs.keys()
    left = [[held for key, held in each.items() if key not in both] for each in (mine, theirs)]
    totals = [sum(held[0] for held in each) for each in left]
    sums = [sum(held[1] for held in each) & _MASK for each in left]
    return sums[0] != sums[1] and min(totals) > 0 and totals[0] != totals[1]


_MASK = (1 << 64) - 1


def _divides(term: Term, side: int) -> bool:
    return any(
        each.op is not None and each.op.name == "Div" and each.inputs[1] is not None and each.inputs[1].constant
        for each in own_terms(term, side)
    )


def _constants(term: Term, side: int) -> dict[tuple[int, int], tuple[int, int]]:
    """The floating-point constants that one model alone reads on the way to a value: each one's content."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for each in own_terms(term, side):
        for operand in each.inputs:
            if operand is not None and operand.constant and operand.sides == side and not operand.integer:
                content = _content(operand.numbers())
                found[content] = content
    return found


def _content(values: Array) -> tuple[int, int]:
    """How many numbers are not 0, and a sum of their hashes, which does not depend on their order."""
    count, total = 0, 0
    for block in _blocks(values):
        bits = block[block != 0].view(np.uint64)
        count += bits.size
        with np.errstate(over="ignore"):
            mixed = (bits ^ (bits >> np.uint64(30))) * _M1
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _M2
            total += int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))
    return count, total & _MASK


def _blocks(values: Array) -> Iterator[NDArray[np.float64]]:
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)
