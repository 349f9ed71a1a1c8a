"""The check `exact`: prove that two models are the same function, or say where they part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil

from msgspec.structs import replace as replaced
from onnx import NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.report.verification import Check, Parting, Verdict
from fc2conv.verification.exact.beyond import Beyond, beyond, thin
from fc2conv.verification.exact.evenness import FAR
from fc2conv.verification.exact.field import ZeroDivisorError
from fc2conv.verification.exact.growth import Growth
from fc2conv.verification.exact.odds import WANTED
from fc2conv.verification.exact.parting import result
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.exact.prover import Prover
from fc2conv.verification.exact.result import NAME, Exact, Found
from fc2conv.verification.exact.stored import Blobs
from fc2conv.verification.exact.terms import COUNTS, MOST_COUNTS, STEPS, Shape, Term, counts
from fc2conv.verification.exact.walk import Place, Walk
from fc2conv.verification.nodes import all_nodes, label
from fc2conv.verification.runtime import SHAPED_BY_VALUES

_TRIES = 3
_STEP = 7919
_MOST_MORE = 4
_NO_QUOTIENT = "a divisor is 0"
_MOST_SIZES = 7
"""The most sizes at which values that are polynomials of a size are compared, whatever their degree."""

Shapes = Mapping[str, Shape]
Sizes = Mapping[int, Shapes]


def check_exact(
    original: ModelFile, converted: ModelFile, sizes: Sizes, seed: int, files: bytes = b"", grown: Sequence[Sizes] = ()
) -> Exact:
    """Compare two models in exact arithmetic, modulo primes that depend on `seed` and `files`.

    `sizes` are the shapes of the inputs by the number of items of the batch; one entry where the batch is not open.
    The two least are computed, as a number in one model may be a size in the other, and one more where a node that
    only one model has names a position beyond them. `grown` are the same for all other open axes.
    """
    prover = Prover(original, converted, sizes[min(sizes)], Blobs(original, converted).name, seed, files=files)
    if any(node.op_type in SHAPED_BY_VALUES for node in all_nodes(original.model)):
        counted = _counted(prover, sizes, grown)
        if counted is not None and counted.proved and not counted.stopped:
            return counted
    return _checked(prover, sizes, grown)[0]


def _checked(prover: Prover, sizes: Sizes, grown: Sequence[Sizes]) -> tuple[Exact, Prover]:
    """Compare two models at all sizes that are asked for; return the result, and the prover of the first sizes."""
    least = min(sizes)
    prover = _run(prover)
    on: Sequence[str] = [f"{least} items"] if len(sizes) > 1 else []
    found = result(prover, on)
    if len(sizes) > 1 and not found.parted:
        found, on = _wider(prover, found, sizes, on, lambda tried: f"{_listed([f'{n:g}' for n in tried])} items")
    items, inputs = on, dict[str, None]()

    def said(tried: Mapping[float, Shapes]) -> str:
        shown = _inputs(tried.values())
        if len(shown) < 2:
            return f"{len(tried)} choices of sizes that values decide"
        inputs.update(shown)
        return f"inputs of {_listed([*inputs])}"

    items_matter, matters = found.degree > 0, False
    for others in grown:
        if found.proved and (not _both(sizes, others) or (items_matter and matters)):
            before = items if len(_inputs(others.values())) > 1 else on
            found, on = _wider(prover, found, others, [*before, ""], said)
            matters = matters or found.degree > 0
    return found, prover


def _both(sizes: Sizes, others: Mapping[int, Shapes]) -> bool:
    """Return whether other axes grow with the batch: that matters only where a value is a multiple of two sizes."""
    return bool(_growing(sizes)) and _growing(sizes) < _growing(others)


def _growing(sizes: Sizes) -> set[tuple[str, int]]:
    """Return the dimensions of inputs in which the two least sizes differ."""
    few, *more = (sizes[n] for n in sorted(sizes)[:2])
    pairs = ((name, zip(few[name], many[name], strict=True)) for many in more for name in few)
    return {(name, axis) for name, each in pairs for axis, pair in enumerate(each) if pair[0] != pair[1]}


def _counted(prover: Prover, sizes: Sizes, grown: Sequence[Sizes]) -> Exact | None:
    """Compare with the sizes that values decide as further open ones, and where these are 0, 1, or in another order.

    A truth value that changes with these sizes is not known. Return None where values decide no size.
    """
    few, plain = min(STEPS), sizes[min(sizes)]
    line: Sizes = {n: {**plain, COUNTS: counts(n)} for n in STEPS}
    every = [{n: {**each[n], COUNTS: counts(few)} for n in each} for each in (sizes, *grown)]
    others = [
        _at(prover, {**plain, COUNTS: each}) for each in ((0,) * MOST_COUNTS, (1,) * MOST_COUNTS, counts(1)[::-1])
    ]
    tried = [*(_at(prover, line[n]) for n in (few, few + 1)), *others]
    for each in tried:
        each.walk(settled=False)
        if not each.table.counted:
            return None
    hidden = [_changing([each.walks[side] for each in tried]) for side in (0, 1)]
    found, first = _checked(replace(tried[0], hidden=hidden), every[0], [*every[1:], line])
    for each in others if found.proved else ():
        ran = _run(replace(each, hidden=hidden))
        if not _stopped(first, ran) and not all(each.equal for each in ran.found):
            return replace(found, stopped=True)
    return found


def _changing(walks: Sequence[Walk]) -> dict[Place, bytes]:
    """Return the truth values that are not the same in several walks of one model."""
    found: dict[Place, set[frozenset[bool]]] = {}
    for scope, node in (each for walk in walks for each in walk.nodes):
        for name in node.output:
            value = scope.values[name].value if name in scope.values else None
            if value is not None and value.dtype == bool and value.size:
                found.setdefault((scope.place, name), set()).add(frozenset(map(bool, value.flat)))
    return {place: b"" for place, values in found.items() if len(values) > 1}


def _inputs(shapes: Iterable[Shapes]) -> dict[str, None]:
    return dict.fromkeys(", ".join(str([*shape]) for name, shape in each.items() if name != COUNTS) for each in shapes)


def _listed(words: Sequence[object]) -> str:
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last


def _wider(
    prover: Prover,
    found: Exact,
    sizes: Sizes,
    on: Sequence[str],
    said: Callable[[Mapping[float, Shapes]], str],
) -> tuple[Exact, Sequence[str]]:
    """Compare the models at a second size, and at a third where a node of one model may do something else there.

    The sizes that were proved replace the last entry of `on`.
    """
    least, second = sorted(sizes)[:2]
    wider = _at(prover, sizes[second])
    if found.proved:
        wider = _run(wider)
    else:
        wider.walk(settled=False)
    lost = _lost(prover, wider)
    if found.proved and lost is not None and lost.has_op and any(a.HasField("g") for a in lost.op.node.attribute):
        return _unknown(found, lost.op.node, FAR), on  # it may have more steps than are walked
    if _stopped(prover, wider):
        return replace(found, stopped=True), on
    grown = _grown(prover, wider, (least, second)) if len(sizes) > 2 else None
    past = beyond(*grown) if grown else Beyond()
    both = [sizes[n] for n in (least, second)]
    if grown and found.proved and not _same_hidden(prover, past, both):
        past = beyond(*grown, shared=True)
        if not _same_hidden(prover, past, both):
            past = replace(past, position=FAR, node=past.hiding)
    if not found.proved:  # numbers then look beyond the position
        last = _reach(grown, max(sizes)) if grown else 0
        where = _elsewhere(past.node) if past.position >= max(sizes) and past.node else ""
        check = replaced(found.check, detail=f"{found.check.detail}; {where}") if where else found.check
        unseen = found.unseen or bool(where or past.before)
        return replace(found, check=check, position=last, unseen=unseen), on
    tried: dict[float, Shapes] = {n: sizes[n] for n in (least, second)}
    on = [*on[:-1], said(tried)]
    found, ran = result(wider, on), [prover, wider]
    for n, shapes in _left(sizes, past, ran, tried) if past.position < max(sizes) else ():
        if not found.proved:
            break
        other = _run(_at(prover, shapes))
        undefined = n < least and any(each.why == _NO_QUOTIENT for each in other.found)
        if not undefined and not _stopped(prover, other):
            tried[n] = shapes
            ran.append(other)
            on = [*on[:-1], said(dict(sorted(tried.items())))]
            found = result(other, on)
    known = replace(found, position=past.position, degree=past.degree)
    if not found.proved or len(sizes) < 3:
        return known, on
    short = past.node if max(tried) <= past.position else thin([each.walks for each in ran])
    return known if short is None else _unknown(found, short, past.position), on


def _elsewhere(node: NodeProto) -> str:
    return f"{label(node)} may do something else at other sizes of an open axis"


def _unknown(found: Exact, node: NodeProto, position: int) -> Exact:
    """Return the result where a node may do something else at sizes that are not run."""
    place = Parting(cause="position", node=label(node), op_type=node.op_type)
    detail = f"{_elsewhere(node)}, and {MOST_ITEMS} items are the most that is run"
    check = Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=detail)
    verdicts = dict.fromkeys(found.outputs, Verdict.INCONCLUSIVE)
    return replace(found, check=check, outputs=verdicts, parting=place, residues={}, position=position)


def _same_hidden(prover: Prover, past: Beyond, sizes: Sequence[Shapes]) -> bool:
    """Return whether the models are the same with what two sizes hide as variables."""
    hidden = [{**known, **more} for known, more in zip(prover.hidden, past.hidden, strict=True)]
    runs = (_run(replace(_at(prover, shapes), hidden=hidden)) for shapes in (sizes if past.hiding is not None else ()))
    return all(each.equal for ran in runs for each in ran.found)


def _left(
    sizes: Sizes, past: Beyond, ran: Sequence[Prover], tried: Mapping[float, Shapes]
) -> Iterator[tuple[float, Shapes]]:
    """Yield the sizes to try besides the two least: the next ones, one beyond the position, and lesser ones.

    If that one does not suit the model, the next to the position follows. Larger ones come until no axis is thin in
    what `ran` at the sizes `tried`, to which the caller adds.
    """
    ordered, position = sorted(sizes), past.position
    beyond_it = [n for n in ordered if n > position][: position > 0]
    least: dict[float, Shapes] = {n: sizes[n] for n in ordered[:2]}
    yield from ((n, sizes[n]) for n in sorted({*ordered[2 : min(past.sizes, _MOST_SIZES)], *beyond_it}))
    if max(tried) <= position:
        yield position + 1, _fewer(least, position + 1)
    yield from ((n, _fewer(least, n)) for n in sorted(past.before))
    larger = iter([n for n in ordered if n > max(tried)])
    while thin([each.walks for each in ran]) and (n := next(larger, 0)):
        yield n, sizes[n]


def _fewer(sizes: Mapping[float, Shapes], items: float) -> dict[str, Shape]:
    """Return the shapes for fewer items than two sizes have; a fraction of an item is some steps of an axis."""
    (few, one), (many, other) = sizes.items()
    dims = {name: zip(shape, other[name], strict=True) for name, shape in one.items()}
    less = (few - items) / (many - few)
    return {name: tuple(round(a - less * (b - a)) for a, b in pairs) for name, pairs in dims.items()}


def _at(prover: Prover, shapes: Shapes) -> Prover:
    """Return a prover of the same two models at other sizes, with as few primes as at first."""
    return replace(prover, shapes=shapes, primes=2, earlier=0.0)


def same_nodes(original: ModelFile, inlined: ModelFile, shapes: Shapes) -> bool:
    """Return whether two models are the same node by node, once the functions of both are inlined."""
    prover = Prover(original, inlined, shapes, Blobs(original, inlined).name)
    prover.walk(settled=False)
    old, new = prover.old, prover.new
    return all(old[v.name].key == new[v.name].key for v in original.model.graph.output if v.name in old)


def position(original: ModelFile, converted: ModelFile, sizes: Sizes) -> int:
    """Return the largest position of an open axis that one model alone names, for numbers without a proof."""
    if len(sizes) < 2:
        return 0
    least, second = sorted(sizes)[:2]
    few, many = (Prover(original, converted, sizes[n], Blobs(original, converted).name) for n in (least, second))
    few.walk(settled=False)
    many.walk(settled=False)
    return _reach(_grown(few, many, (least, second)), max(sizes))


def _reach(grown: tuple[Growth, Growth, tuple[float, int, int]], most: int) -> int:
    """Return the last position of an open axis for numbers: one that both models name only if it is not too far."""
    own, every = (beyond(*grown, shared=shared).position for shared in (False, True))
    return every if every < most else own


def _run(prover: Prover) -> Prover:
    """Run a prover, and run it again with as many more primes as the stated probability requires."""
    first = _seeded(prover)
    safety = first.safety
    if safety >= WANTED or not all(each.equal for each in first.found):
        return first
    more = ceil((WANTED - safety) * first.primes / safety) if safety else _MOST_MORE
    return _seeded(replace(first, primes=min(more, _MOST_MORE), earlier=safety, seed=first.seed + _STEP))


def _seeded(prover: Prover) -> Prover:
    """Run a prover with its seed, and with another one where a divisor is 0."""
    for _ in range(_TRIES):
        try:
            prover.found = prover.run()
        except ZeroDivisorError:
            prover = replace(prover, seed=prover.seed + _STEP)
        else:
            return prover
    prover.walk(settled=False)
    prover.found = [Found(v.name, None, _NO_QUOTIENT) for v in prover.original.model.graph.output]
    return prover


def _grown(few: Prover, many: Prover, ends: tuple[int, int]) -> tuple[Growth, Growth, tuple[float, int, int]]:
    """Return what both models do with open sizes, with the least size possible and both at which they are walked."""
    pairs = (each for name in few.shapes for each in zip(few.shapes[name], many.shapes[name], strict=True))
    least = max((ends[0] - (a - 1) / (b - a) * (ends[1] - ends[0]) for a, b in pairs if a < b), default=1.0)
    cut = max((few.cuts, *few.used, *many.used), key=lambda each: each.level).cut
    both = zip(few.walks, many.walks, strict=True)
    one, other = (Growth(walk, later, cut, (least, *ends)) for walk, later in both)
    return one, other, (least, *ends)


def _stopped(few: Prover, many: Prover) -> bool:
    """Return whether the original runs with few items and not with many: then there is nothing to prove."""
    lost = _lost(few, many)
    return lost is not None or (few.misfit(few.needed) is None and many.misfit(many.needed) is not None)


def _lost(few: Prover, many: Prover) -> Term | None:
    """Return the first value of the original that has a known shape with few items, and not with many."""
    pairs = ((term, many.old[name]) for name, term in few.old.items() if name in many.old)
    lost = (other for one, other in pairs if one.shape is not None and other.shape is None)
    return next((term for term in lost if term.key in many.needed), None)
