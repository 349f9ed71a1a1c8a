"""Where two models part, and what that means: another function, or one that may be the same in other words.

- Where both apply the same functions, to other sums and products, they differ, if that is certain: no functions lie
  between, or one value alone makes the difference and no node after it can undo it.
- Where one applies functions that the other does not, one may be written in terms of the other.
- Where one has a constant for several of the other, these may be folded: then the models differ by the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import floor

import numpy as np
from msgspec import structs

from fc2conv.report.verification import Cause, Check, Parting, Verdict
from fc2conv.verification.exact.alone import MASK, constants, functions, own_terms
from fc2conv.verification.exact.evaluate import BudgetError
from fc2conv.verification.exact.field import Residues, ZeroDivisorError
from fc2conv.verification.exact.odds import WANTED
from fc2conv.verification.exact.prover import Prover
from fc2conv.verification.exact.result import NAME, Exact, Found
from fc2conv.verification.exact.terms import TURNS, Term, behind, digest, unmoved


def parted(prover: Prover, found: Found) -> tuple[Verdict, str, Parting]:
    """Return the verdict on an output that is not the same, one line that says why, and where the models part."""
    one, other = prover.old[found.name], prover.new[found.name]
    if found.why:
        return Verdict.DIFFERS, found.why, at_term("shape", found.name, one)
    place = _first_apart(prover, one) or at_term("arithmetic", found.name, one)
    where = f"{place.value} (made by {place.node}) is another function"
    where += f", first at {place.index}" if place.index is not None else ""
    mine, theirs = (prover.functions_of(term, side) for term, side in ((one, 1), (other, 2)))
    if mine != theirs:
        only = sorted(mine - theirs), sorted(theirs - mine)
        listed = [", ".join(each) or "none" for each in only]
        detail = f"{where}; functions of the one alone: {listed[0]}; of the other alone: {listed[1]}"
        return Verdict.INCONCLUSIVE, detail, structs.replace(place, cause="functions", only_a=only[0], only_b=only[1])
    if _may_be_folded(one, other):
        detail = f"{where}; a constant of the one may be what rounding made of several of the other"
        return Verdict.INCONCLUSIVE, detail, structs.replace(place, cause="rounding")
    if mine and not _certain(prover, found.name, place.value):
        detail = f"{where}; a law of the functions of both may undo it: {', '.join(sorted(mine))}"
        return Verdict.INCONCLUSIVE, detail, structs.replace(place, cause="functions")
    return Verdict.DIFFERS, where, place


def at_term(cause: Cause, value: str, term: Term, index: list[int] | None = None) -> Parting:
    """Return the place of a term as a `Parting`."""
    return Parting(cause=cause, value=value, node=term.label, op_type=term.op.name, index=index)


def _first_apart(prover: Prover, output: Term) -> Parting | None:
    """Return the first value on the way to an output that nodes of both models make with other residues."""
    way, whole = {term.key for term in behind(output)}, prover.whole
    both = [(name, one, prover.new[name]) for name, one in prover.old.items() if name in prover.new and one.key in way]
    whole.forget()
    for i, (name, one, other) in enumerate(both):
        if one.key == other.key or one.shape != other.shape or one.shape is None or one.constant or other.constant:
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


# ------------------------------------------------------------------ whether functions may undo a difference

_KEEP = frozenset("""Relu LeakyRelu PRelu Clip Elu Celu Selu Sigmoid Tanh Erf Sin Sinh Atan Asinh MaxPool""".split())
"""Functions of each element, or of a window, that give other results for other arguments, but where constant."""
_NORMS = frozenset("LayerNormalization RMSNormalization SimplifiedLayerNormalization".split())


def _certain(prover: Prover, output: str, value: str) -> bool:
    """Decide whether two values that part make an output part, whatever laws the functions obey.

    Sums and products of common values make them part, if need be within one last function; if they were the same, the
    output would be; and no function after them is applied to arguments that it cannot tell apart.
    """
    try:
        one, other = (unmoved(values[value], TURNS) for values in (prover.old, prover.new))
        if not one.has_op or not other.has_op:
            return False
        if functions(one) and functions(one) == functions(other):
            if one.op.name not in _KEEP and not _tells_apart(prover, one, other):
                return False
            one, other = (term.inputs[0] for term in (one, other))
        both = prover.same | _common(prover, one, other)
        if any(functions(term) for side, top in ((1, one), (2, other)) for term in own_terms(top, side, both)):
            return False
        if value == output:
            return True
        alone = next(found.equal for found in replace(prover, taken=value).run() if found.name == output)
        return bool(alone) and _reaches(prover, output, value)
    except (ZeroDivisorError, BudgetError):
        return False


def _common(prover: Prover, one: Term, other: Term) -> set[bytes]:
    """Return the values on the way to two others whose functions give both models the same elements, in any layout."""
    found: list[dict[bytes, bytes]] = []
    for side, top in ((1, one), (2, other)):
        applied = (term for term in own_terms(top, side, prover.same) if functions(term))
        found.append({term.key: digest(np.sort(prover.whole.of(term)[0], axis=None).tobytes()) for term in applied})
    both = set(found[0].values()) & set(found[1].values())
    return {key for each in found for key, elements in each.items() if elements in both}


def _reaches(prover: Prover, output: str, value: str) -> bool:
    """Return whether each function between two values that part and an output tells them apart."""
    way = {term.key for term in behind(prover.old[output])}
    names = {term.key: name for name, term in prover.old.items()}
    changed, applied, divided = {prover.old[value].key}, False, False
    for term in prover.table.terms.values():
        reads = [each.key in changed for each in term.inputs]
        if term.key not in way or not any(reads):
            continue
        changed.add(term.key)
        divided = divided or (term.op.name == "Div" and reads[-1]) or term.op.name == "Reciprocal"
        if not functions(term):
            continue
        applied = True
        spatial_form = prover.new.get(names.get(term.key, ""))
        if term.op.name not in _KEEP and not (spatial_form is not None and _tells_apart(prover, term, spatial_form)):
            return False
    return not (applied and divided)


def _tells_apart(prover: Prover, one: Term, other: Term) -> bool:
    """Return whether two arguments of a Softmax are no shift of each other, or two of a norm no shift and scale."""
    if one.op.name != other.op.name or one.op.name not in {"Softmax", "LogSoftmax", *_NORMS}:
        return False
    norm = one.op.name in _NORMS
    lines = [_lines(prover, term, norm) for term in (one, other)]
    if lines[0].shape != lines[1].shape:
        return False
    u, v = (prover.field.sub(x, x[..., :1]) for x in lines)
    if norm:
        u, v = prover.field.mul(u, v[..., 1:2]), prover.field.mul(v, u[..., 1:2])
    return not np.array_equal(u, v)


def _lines(prover: Prover, term: Term, norm: bool) -> Residues:
    """Return the argument of a Softmax or a norm, its groups along the last axis, without other axes of size 1."""
    x, newer = prover.whole.of(term.inputs[0]), term.op.version >= 13
    axis = term.op.attributes.get("axis", -1 if norm or newer else 1) % (x.ndim - 1) + 1
    lines = np.moveaxis(x, axis, -1) if newer and not norm else x.reshape(*x.shape[:axis], -1)
    return lines.reshape(len(x), *(size for size in lines.shape[1:-1] if size > 1), lines.shape[-1])


# ------------------------------------------------------------------ folded constants


def _may_be_folded(one: Term, other: Term) -> bool:
    """Return whether one model may have the product or the sum of several constants of the other.

    It then has fewer numbers. Numbers that both have, in any shape, do not count: where those are all, or where only
    one model has others, something was added, dropped or moved. A quotient by a constant may also have become a
    product.
    """
    if _divisors(one, 1) != _divisors(other, 2):
        return True
    numbers = [constants(own_terms(top, side), side) for side, top in ((1, one), (2, other))]
    left = numbers[0] - numbers[1], numbers[1] - numbers[0]
    totals = [sum(count for count, _ in each) for each in left]
    sums = [sum(hashes for _, hashes in each) & MASK for each in left]
    return sums[0] != sums[1] and min(totals) > 0 and totals[0] != totals[1]


def _divisors(term: Term, side: int) -> int:
    """Count the constants that nodes of one model divide by."""
    read = (each.inputs[1] for each in own_terms(term, side) if each.op.name == "Div")
    return len({each.key for each in read if each.constant})


def result(prover: Prover, on: Sequence[str]) -> Exact:
    """Return the result for all outputs, with the primes and residues for a certificate."""
    residues = {each.name: each.residues for each in prover.found if each.equal}
    found = replace(_verdict(prover, " and ".join(on)), primes=tuple(prover.field.primes), residues=residues)
    prover.forget()
    return found


def _verdict(prover: Prover, on: str) -> Exact:
    """Return the verdict on all outputs; show the first that parts, else one that cannot be followed."""
    verdicts = {each.name: Verdict.PROVED if each.equal else Verdict.INCONCLUSIVE for each in prover.found}
    apart = [(each, *parted(prover, each)) for each in prover.found if each.equal is False]
    verdicts |= {each.name: verdict for each, verdict, _, _ in apart}
    followed = frozenset(each.name for each in prover.found if each.equal is not None)
    if apart:
        _, verdict, detail, place = next((each for each in apart if each[1] is Verdict.DIFFERS), apart[0])
        return Exact(Check(name=NAME, verdict=verdict, detail=detail), verdicts, followed, place)
    unknown = next((each for each in prover.found if each.equal is None), None)
    if unknown is not None:
        detail = f"{unknown.name} cannot be followed: {unknown.why}"
        check = Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=detail)
        unseen = any(each.unseen for each in prover.found)
        return Exact(check, verdicts, followed, at_term("opaque", unknown.name, unknown.at), unseen)
    if prover.safety < WANTED:
        said = f"all outputs have the same residues, which proves little: error below 2^-{max(0, floor(prover.safety))}"
        check = Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=said)
        return Exact(check, dict.fromkeys(verdicts, Verdict.INCONCLUSIVE))  # numbers decide
    assumed = "; ".join(dict.fromkeys(each.assumed for each in prover.found if each.assumed))
    detail = f"proved{f' on {on}' if on else ''}, error below 2^-{floor(prover.safety)}"
    check = Check(name=NAME, verdict=Verdict.PROVED, detail=detail + (f"; {assumed}" if assumed else ""))
    return Exact(check, verdicts, followed)
