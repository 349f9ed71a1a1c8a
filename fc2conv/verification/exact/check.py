"""The check `exact`: two models are the same function, or it says where they part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from math import ceil, floor

from msgspec.structs import replace as replaced
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.report.verification import Check, Parting, Verdict
from fc2conv.verification.exact.blobs import Blobs
from fc2conv.verification.exact.field import ZeroDivisorError
from fc2conv.verification.exact.odds import WANTED
from fc2conv.verification.exact.parting import at_term, parted
from fc2conv.verification.exact.positions import MOST_ITEMS, frozen, item_of, named, positions
from fc2conv.verification.exact.prover import Found, Prover
from fc2conv.verification.exact.terms import Shape, Table, Term
from fc2conv.verification.nodes import label

NAME = "exact"
_TRIES = 3
_STEP = 7919
_MOST_MORE = 4

Shapes = Mapping[str, Shape]
Sizes = Mapping[int, Shapes]


@dataclass(frozen=True)
class Exact:
    """The check, the verdict on each output, and where the models part.

    The outputs that are `followed` are proved, or part; on all others numbers decide. `unseen`: some of those may part
    in a branch that numbers do not run, or beyond the `position` of an open axis that one model alone names.
    """

    check: Check
    outputs: Mapping[str, Verdict] = field(default_factory=dict)
    followed: frozenset[str] = frozenset()
    parting: Parting | None = None
    unseen: bool = False
    position: int = 0
    primes: Sequence[int] = ()
    residues: Mapping[str, str] = field(default_factory=dict)

    @property
    def same(self) -> frozenset[str]:
        """The outputs that are the same functions in both models."""
        return frozenset(name for name, verdict in self.outputs.items() if verdict is Verdict.PROVED)

    @property
    def proved(self) -> bool:
        """Whether all outputs are."""
        return self.check.verdict is Verdict.PROVED

    @property
    def parted(self) -> bool:
        """Whether some output is followed and is not the same function."""
        return self.followed != self.same

    @property
    def position_unseen(self) -> bool:
        """Whether nothing is known against a proof but a position beyond the items that are run."""
        return self.parting is not None and self.parting.cause == "position"


def check_exact(
    original: ModelFile, converted: ModelFile, sizes: Sizes, seed: int, files: bytes = b"", grown: Sizes | None = None
) -> Exact:
    """Compare two models in exact arithmetic, modulo primes that depend on `seed` and `files`.

    `sizes` are the shapes of the inputs for so many items of the batch; one entry where the batch is not open. The
    least is what is computed. A larger one shows which axes are open, and is computed where a node that only one model
    has names a position beyond the least, or mixes the axis. `grown` are the same for all other open axes.
    """
    blobs = Blobs(original, converted)
    least = min(sizes)
    prover = _run(Prover(original, converted, sizes[least], blobs.name, seed, files=files), seed)
    items = f"{least} items" if len(sizes) > 1 else ""
    found = _result(prover, items)
    if len(sizes) > 1 and not found.parted:
        found = _wider(prover, found, sizes, seed, lambda more: f"{least} and {more} items")
    if grown and found.proved:
        several = f"{items} and " if items else ""
        found = _wider(prover, found, grown, seed, lambda more: several + _listed(grown[least], grown[more]))
    return found


def _listed(*sizes: Shapes) -> str:
    """Shapes of the inputs, in words."""
    return "inputs of " + " and ".join(", ".join(str(list(shape)) for shape in each.values()) for each in sizes)


def _wider(prover: Prover, found: Exact, sizes: Sizes, seed: int, on: Callable[[int], str]) -> Exact:
    """Compare the models at larger sizes as well, where one alone does what may be something else there."""
    position, node = _beyond(prover, sizes)
    if node is None:
        return found
    more = min((n for n in sizes if n > position), default=0)
    where = f"{label(node)} names a position of an open axis beyond {MOST_ITEMS} items, the most that is run"
    if not found.proved:  # numbers then look beyond the position
        said = found.check if more else replaced(found.check, detail=f"{found.check.detail}; {where}")
        return replace(found, check=said, position=position, unseen=found.unseen or not more)
    if not more:
        place = Parting(cause="position", node=label(node), op_type=node.op_type)
        check = Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=where)
        verdicts = dict.fromkeys(found.outputs, Verdict.INCONCLUSIVE)
        return replace(found, check=check, outputs=verdicts, parting=place, residues={})
    wider = _run(replace(prover, shapes=sizes[more], primes=2, earlier=0.0), seed)
    if _stopped(prover, wider):
        return found
    return replace(_result(wider, on(more)), position=position)


def position(original: ModelFile, converted: ModelFile, sizes: Sizes) -> int:
    """Return the largest position of an open axis that one model alone names, for numbers without a proof."""
    prover = Prover(original, converted, sizes[min(sizes)], Blobs(original, converted).name)
    prover.walk(settled=False)
    return _beyond(prover, sizes)[0] if len(sizes) > 1 else 0


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


def _beyond(prover: Prover, sizes: Sizes) -> tuple[int, NodeProto | None]:
    """Return the largest position of an open axis that one model alone names, and the node; 0 where none matters."""
    ends = min(sizes), max(sizes)
    table = Table(numbers=prover.table.numbers, kinds=prover.table.kinds)
    worst: tuple[int, NodeProto | None] = 0, None
    places: dict[tuple[int, int], dict[bool, tuple[int, NodeProto]]] = {}
    targets: list[dict[bytes, NodeProto]] = []
    for side, values in ((1, prover.old), (2, prover.new)):
        walk = prover.walk_of(side, sizes[ends[1]], table)
        larger, nodes = walk.run(), list(walk.file.model.graph.node)
        for node in nodes:
            if any(_alone(prover.own[side].get(name), side) for name in node.output):
                worst = max(worst, (named(node, values, larger, ends), node), key=lambda each: each[0])
                for n, pair in positions(node, values, larger):
                    known = places.setdefault(pair, {})
                    known[n < 0] = max(known.get(n < 0, (0, node)), (abs(n), node), key=lambda each: each[0])
        targets.append({values[node.input[-1]].key: node for node in nodes if frozen(node, values, larger)})
    for key in targets[0].keys() ^ targets[1].keys():
        node = targets[0].get(key) or targets[1][key]
        worst = max(worst, (ends[0], node), key=lambda each: each[0])
    for pair, known in places.items():  # x[i] and x[-j] are one item of i + j
        item = item_of(sum(n for n, _ in known.values()), pair, ends)
        worst = max(worst, (item, max(known.values(), key=lambda each: each[0])[1]), key=lambda each: each[0])
    return worst if worst[0] >= ends[0] else (0, None)


def _stopped(few: Prover, many: Prover) -> bool:
    """Whether the original runs with few items, and not with many: there is nothing to prove then."""
    pairs = ((term, many.old[name]) for name, term in few.old.items() if name in many.old)
    return any(one.shape is not None and other.shape is None and other.key in many.needed for one, other in pairs)


def _alone(term: Term | None, side: int) -> bool:
    return term is not None and term.sides == side


def _result(prover: Prover, items: str) -> Exact:
    """Return what was found of all outputs, and what a certificate holds of it."""
    residues = {each.name: each.residues for each in prover.found if each.equal}
    return replace(_verdict(prover, items), primes=tuple(prover.field.primes), residues=residues)


def _verdict(prover: Prover, items: str) -> Exact:
    """Return the verdict on all outputs; of those that part the first is shown, else one that cannot be followed."""
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
    detail = f"proved{f' on {items}' if items else ''}, error below 2^-{floor(prover.safety)}"
    check = Check(name=NAME, verdict=Verdict.PROVED, detail=detail + (f"; {assumed}" if assumed else ""))
    return Exact(check, verdicts, followed)
