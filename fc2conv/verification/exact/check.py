"""The rung `exact`: two models are the same function, or it says where they part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor

from fc2conv.io.reader import ModelFile
from fc2conv.report.types import Check
from fc2conv.verification.exact.blobs import Blobs
from fc2conv.verification.exact.field import ZeroDivisorError
from fc2conv.verification.exact.odds import WANTED
from fc2conv.verification.exact.positions import MOST_ITEMS, frozen, named
from fc2conv.verification.exact.prover import Found, Prover
from fc2conv.verification.exact.terms import Shape, Table, Term
from fc2conv.verification.exact.walk import Walk

NAME = "exact"
_TRIES = 3
_STEP = 7919
_MOST_MORE = 4

Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Exact:
    """The rung; whether the models compute the same, part, or may part where numbers do not run (`unseen`)."""

    check: Check
    proved: bool = False
    parted: bool = False
    unseen: bool = False


def check_exact(original: ModelFile, converted: ModelFile, sizes: Mapping[int, Shapes], seed: int) -> Exact:
    """Hold two models against each other in exact arithmetic.

    `sizes` are the shapes of the inputs for so many items of the batch; one entry where the batch is not open. The
    least is what is computed. A larger one shows which axes are open, and is computed where a node that only one model
    has names a position beyond the least.
    """
    blobs = Blobs(original, converted)
    least = min(sizes)
    prover = _run(Prover(original, converted, sizes[least], blobs.name, seed), seed)
    found = _told(prover, f"{least} items" if len(sizes) > 1 else "")
    if not found.proved or len(sizes) == 1:
        return found
    more = _beyond(prover, sizes)
    if more == 0:
        return found
    if more not in sizes:
        where = f"a node names the position {more} of an open axis, and {MOST_ITEMS} is the most that is run"
        return Exact(Check(name=NAME, verdict="inconclusive", detail=where), parted=True)
    return _told(_run(Prover(original, converted, sizes[more], blobs.name, seed), seed), f"{least} and {more} items")


def _run(prover: Prover, seed: int) -> Prover:
    """Run, and again with as many primes more as the stated probability asks for."""
    first = _seeded(prover, seed)
    safety = first.safety
    if safety >= WANTED or not all(each.equal for each in first.found):
        return first
    more = ceil((WANTED - safety) * first.primes / safety) if safety else _MOST_MORE
    return _seeded(replace(first, primes=min(more, _MOST_MORE), earlier=safety), first.seed + _STEP)


def _seeded(prover: Prover, seed: int) -> Prover:
    """Run with a seed, and with another one where a divisor is 0."""
    for attempt in range(_TRIES):
        prover = replace(prover, seed=seed + attempt * _STEP)
        try:
            prover.found = prover.run()
            return prover
        except ZeroDivisorError:
            continue
    prover.found = [Found(v.name, None, "a divisor is 0") for v in prover.original.model.graph.output]
    return prover


def _beyond(prover: Prover, sizes: Mapping[int, Shapes]) -> int:
    """The number of items that shows what lies behind the positions that one model alone names; 0 where none does."""
    ends = min(sizes), max(sizes)
    table = Table(numbers=prover.table.numbers)
    worst = 0
    targets: list[set[bytes]] = []
    for side, file, values in ((1, prover.original, prover.old), (2, prover.converted, prover.new)):
        larger = Walk(file, table, side, sizes[ends[1]], lambda t, s=side: prover.blob(s, t)).run()  # type: ignore[misc]
        nodes = file.model.graph.node
        alone = (node for node in nodes if any(_alone(prover.own[side].get(name), side) for name in node.output))
        worst = max(worst, *(named(node, values, larger, ends) for node in alone), 0)
        targets.append({values[node.input[-1]].key for node in nodes if frozen(node, values, larger)})
    if targets[0] != targets[1]:
        worst = max(worst, ends[0])
    return 0 if worst < ends[0] else min((n for n in sizes if n > worst), default=worst)


def _alone(term: Term | None, side: int) -> bool:
    return term is not None and term.sides == side


def _told(prover: Prover, items: str) -> Exact:
    found = prover.found
    if all(each.equal for each in found):
        assumed = "; ".join(dict.fromkeys(each.assumed for each in found if each.assumed))
        detail = f"proved{f' on {items}' if items else ''}, error below 2^-{floor(prover.safety)}"
        return Exact(Check(name=NAME, verdict="pass", detail=detail + (f"; {assumed}" if assumed else "")), proved=True)
    unknown = next((each for each in found if each.equal is None), None)
    if unknown is not None:
        detail = f"{unknown.name} cannot be followed: {unknown.why}"
        return Exact(Check(name=NAME, verdict="inconclusive", detail=detail), unseen=unknown.unseen)
    apart = next(each for each in found if each.equal is False)
    verdict, detail = prover.difference(apart)
    return Exact(Check(name=NAME, verdict=verdict, detail=detail), parted=True)
