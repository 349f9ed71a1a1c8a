"""The sizes of open dimensions at which two models are compared in exact arithmetic.

The model's own numbers fix some: a map that a weight was made for, channels, a table of positions. The search finds a
size at which the first node that contradicts itself no longer does, and so on to the last node. What a node sees grows
with the sizes of the inputs, so that each search is a bisection. Nothing here is proved: a size that is found is a size
to run at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import count, product

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import Sizes
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.exact.required import Requirement, requirements
from fc2conv.verification.exact.terms import Shape, Term
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.feeds import Given, Place, Setting

_LARGEST = 2048
_FEW = 17
"""Numbers of items below this one are tried first where the number of items is searched for."""
_MOST = 20_000
"""Nodes that are walked; each search takes about a dozen walks."""
_SIDES = (*range(1, 17), 24, 28, 32, 48, 64, 96, 112, 128, 160, 224, 256)
"""Sizes of one side of a map that is no square."""


class _UnmetError(Exception):
    """A walk came to a requirement that is not met: `place` is the place of its node, and its index at that node."""

    def __init__(self, place: tuple[int, int], requirement: Requirement) -> None:
        super().__init__(place)
        self.place, self.requirement = place, requirement


def fitted(file: ModelFile, setting: Setting, given: Given) -> Setting | None:
    """Return the setting with sizes that the model takes; None where no such sizes are found."""
    groups = feeds.open_places(file.model, given)
    apart = [[place] for group in groups for place in group]  # one name for all that is open may mean nothing
    searches = (_Search(file, setting, given, each) for each in ([groups] if groups == apart else [groups, apart]))
    found = next((found for search in searches if (found := _found(search)) is not None), None)
    first = [place for group in groups for place in group if place[1] == 0]
    if found is None or not {*first} & found.fixed.keys():
        return found
    few = (replace(found, fixed={**found.fixed, **dict.fromkeys(first, n)}) for n in range(1, _FEW))
    return next((each for each in few if fits(file, each, given)), found)


def _found(search: _Search) -> Setting | None:
    gap = search.gap({}) if search.groups else None
    while gap is not None:
        if not any(search.solved(assumed_sizes, places, gap) for assumed_sizes, places in search.tries(gap)):
            return None
        gap = search.gap(search.fixed)
    return replace(search.setting, fixed=search.fixed)


def fits(file: ModelFile, setting: Setting, given: Given) -> bool:
    """Return whether no node contradicts itself at a setting's sizes."""
    return _Search(file, setting, given).gap(setting.fixed) is None


@dataclass
class _Search:
    file: ModelFile
    setting: Setting
    given: Given
    groups: Sequence[list[Place]] = ()
    walked: int = 0
    fixed: dict[Place, int] = field(default_factory=dict)

    def tries(self, gap: _UnmetError) -> Iterator[tuple[Mapping[Place, int], Sequence[Place]]]:
        """Yield the dimensions to search for, and sizes assumed meanwhile: a square map, each size, a map not square.

        A size that was found comes last: where it only had to be large enough, a later node may need another one.
        """
        model = self.file.model
        free = [group for group in self.groups if self._matters(group, gap)]
        free.sort(key=lambda group: (set(group) <= set(self.fixed), any(axis == 0 for _, axis in group)))
        sides = [group for group in free if all(feeds.is_spatial(model, place) for place in group)]
        if len(sides) > 1:
            yield {}, [place for group in sides for place in group]
        yield from (({}, group) for group in free)
        if len(sides) > 1:
            yield from ((dict.fromkeys(sides[0], side), sides[1]) for side in _SIDES)

    def _matters(self, places: Sequence[Place], gap: _UnmetError) -> bool:
        """Return whether what contradicts itself grows with some places."""
        now = self.gap({**self.fixed, **dict.fromkeys(places, _LARGEST)})
        return now is None or now.place > gap.place or (now.place == gap.place and now.requirement != gap.requirement)

    def solved(self, assumed_sizes: Mapping[Place, int], places: Sequence[Place], gap: _UnmetError) -> bool:
        """Search for a size of some places that ends a contradiction, fix it, and return whether there is one."""
        low, high = 1, _LARGEST
        while low <= high and self.walked < _MOST:
            size = (low + high) // 2
            fixed = {**self.fixed, **assumed_sizes, **dict.fromkeys(places, size)}
            now = self.gap(fixed)
            if now is None or now.place > gap.place:
                self.fixed = fixed
                return True
            if now.place < gap.place and now.requirement.actual:
                return False
            low, high = (size + 1, high) if now.requirement.actual < now.requirement.wanted else (low, size - 1)
        return False

    def gap(self, fixed: Mapping[Place, int]) -> _UnmetError | None:
        """Return the first requirement that is not met; None where all are met."""
        shapes = feeds.shapes(self.file.model, replace(self.setting, fixed=fixed), self.given)
        places = count()

        def look(_: str, term: Term) -> Term:
            place = next(places)
            self.walked += 1
            for j, requirement in enumerate(requirements(term)):
                if not requirement.met:
                    raise _UnmetError((place, j), requirement)
            return term

        try:
            Walk(self.file, shapes, settle=look).run()
        except _UnmetError as error:
            return error
        return None


# ------------------------------------------------------------------ sizes to compare at

ITEMS = (2, 3, 5, 6, 7, 9, 17, 33, *range(MOST_ITEMS + 1, MOST_ITEMS + 4))
"""Batches for exact arithmetic, the least of which is computed; see `check_exact`."""
_MOST_SIZES = 16
_STEPS = (1, 2, 4, 8, 16, 32)
"""By how much other open axes may grow with each item of these: maps that are halved several times by a multiple."""


def sizes_of(
    original: ModelFile, given: Given, ran: Setting | None = None, one_batch: bool = False
) -> dict[int, feeds.Shapes]:
    """Return the shapes for exact arithmetic: several batches if the batch is open and more than `one_batch` runs."""
    if feeds.unsupported(original.model, given):
        return {1: {}}
    first = next(feeds.settings())
    setting = _distinct(original, ran or fitted(original, first, given) or first, given)
    batches = ITEMS if feeds.dynamic_batch(original.model, given) and not one_batch else (setting.batch,)
    every = {n: feeds.shapes(original.model, replace(setting, batch=n), given) for n in batches}
    return every if len({str(shapes) for shapes in every.values()}) > 1 else {setting.batch: every[batches[0]]}


def _distinct(original: ModelFile, setting: Setting, given: Given) -> Setting:
    """Return the setting with open sizes that all differ, if the model takes these."""

    def known(fixed: Setting) -> set[str]:
        values = Walk(original, feeds.shapes(original.model, fixed, given)).run()
        return {name for name, term in values.items() if term.shape is not None}

    least = replace(setting, batch=ITEMS[0])
    for step in _STEPS:
        other = feeds.distinct(original.model, least, given, step)
        if feeds.shapes(original.model, other, given) == feeds.shapes(original.model, least, given):
            return setting
        if fits(original, other, given) and known(other) == known(least):
            return replace(setting, fixed=other.fixed)
    return setting


@dataclass(frozen=True)
class _Around:
    """A model around the sizes that its open dimensions have `now`: at these, and at other sizes of some."""

    model: ModelFile
    given: Given
    now: Mapping[Place, int]

    def shapes(self, others: Mapping[Place, int]) -> feeds.Shapes | None:
        """Return the input shapes with other sizes of some dimensions; None where these do not suit the model."""
        setting = replace(next(feeds.settings()), fixed={**self.now, **others})
        suits = fits(self.model, setting, self.given)
        return feeds.shapes(self.model.model, setting, self.given) if suits else None

    def larger(self, more: int, groups: Iterable[Iterable[Place]], apart: int = 0) -> feeds.Shapes | None:
        """Return the shapes where groups of dimensions are larger, each by more than the group before it if `apart`."""
        return self.shapes(
            {place: self.now[place] + more * (1 + i * apart) for i, group in enumerate(groups) for place in group}
        )

    def steps_to_grow(self, step: int, groups: Sequence[list[Place]], apart: int, counts: Sequence[int]) -> int:
        """Return the least of `counts` steps at which all values that grow are larger: some sizes are rounded down."""

        def sizes(n: int) -> Mapping[str, Shape | None]:
            shapes = self.larger(step * n, groups, apart)
            terms = {} if shapes is None else Walk(self.model, shapes).run()
            return {name: term.shape for name, term in terms.items()}

        first, last = sizes(0), sizes(counts[-1])
        grows = [name for name, shape in last.items() if shape != first.get(name)]
        every = ((n, sizes(n)) for n in counts)
        same = ((n, [now.get(name, first.get(name)) == first.get(name) for name in grows]) for n, now in every)
        return next((n for n, each in same if not any(each)), 1)

    def turned(self, more: int, groups: Iterable[Sequence[Place]], batch: Iterable[Place] = ()) -> feeds.Shapes | None:
        """Return the shapes with the order of groups by size reversed, and with one item more of a `batch`."""
        ordered = sorted(groups, key=lambda group: -self.now[group[0]])
        most = self.now[ordered[0][0]]
        sizes = {place: most + more * (1 + i) for i, group in enumerate(ordered) for place in group}
        return self.shapes({**sizes, **{place: self.now[place] + 1 for place in batch}})


def grown(original: ModelFile, sizes: Sizes, given: Given) -> list[Sizes]:
    """Return the shapes of the least of these sizes, with other sizes along other open axes that the model takes.

    The batch is one of these axes where only some numbers of items suit the model, for example each third. Axes grow
    together, each alone, and once in the reverse order of sizes: one may be cut at the size of another. The last entry
    before those of broadcast axes has another batch as well. A broadcast axis may be 1, or as large as what it meets.
    """
    least = min(sizes)
    every = feeds.open_places(original.model, given)
    groups = every if len(sizes) == 1 else feeds.other_places(original.model, given)
    loose = [group for group in feeds.places_beside_batch(original.model, given) if group not in groups]
    if not sizes[least] or not (groups or loose):
        return []
    around = _Around(original, given, {(name, i): sizes[least][name][i] for group in every for name, i in group})
    groups = [*groups, *(group for group in loose if around.larger(1, [group]) is not None)]
    found: list[Sizes] = []
    own = sorted({around.now[group[0]] for group in groups})
    some = len(sizes) == 1 and any(axis == 0 for group in groups for _, axis in group)
    steps = dict.fromkeys((*own, *_STEPS) if some else (*_STEPS, *own))
    counts = [n - least for n in ITEMS if n > least] or [1]
    step, apart, free = _growing(around, groups, steps, counts[-1])
    if free:
        lines = [free, *([group] for group in free if len(free) > 1)]
        tried = [{n: around.larger(step * n, line, apart) for n in counts} for line in lines]
        more_items = around.steps_to_grow(step, free, apart, counts)
        tried += [{n: around.larger(step * more_items * n, free, apart) for n in (1, 2, 3)}] if more_items > 1 else []
        tried += [{1: around.turned(step, free)}] if len(free) > 1 else []
        batch = [place for group in every if group not in groups for place in group]
        tried += [{1: around.turned(step, free, batch)}] if batch and len(sizes) > 1 else []
        run = ({least + n: one for n, one in each.items() if one is not None} for each in tried)
        found += [{least: sizes[least]} | each for each in run if each]
    if len(free) < len(groups):
        found += [
            {least: sizes[least], least + 1: other}
            for group in every
            if group not in free and (other := _broadcast(around, group, sizes[least])) is not None
        ]
    return found


def _growing(
    around: _Around, groups: Sequence[list[Place]], steps: Iterable[int], most: int
) -> tuple[int, int, list[list[Place]]]:
    """Return the step by which dimensions grow, 1 where each grows by another multiple of it, and the dimensions.

    Take the first step that the model takes `most` times. Where there is no such step, as a table of positions ends,
    take the first step that it takes once.
    """
    found: tuple[int, int, list[list[Place]]] = 0, 0, []
    for step, apart in product(steps, (1, 0)):  # a difference of two is to grow as well
        free = [group for group in groups if around.larger(step, [group]) is not None]
        if free and around.larger(step, free, apart) is not None:
            if around.larger(step * most, free, apart) is not None:
                return step, apart, free
            found = found if found[-1] else (step, apart, free)
    return found


def _broadcast(around: _Around, group: Sequence[Place], shapes: Mapping[str, Shape]) -> feeds.Shapes | None:
    """Return the shapes where dimensions that grow by no step are 1, or, if they are 1 now, as large as some value."""
    sizes = {1}
    if around.now[group[0]] == 1:
        terms = Walk(around.model, shapes).run().values()
        sizes = {size for term in terms for size in term.shape or () if size > 1}
    found = (around.shapes(dict.fromkeys(group, size)) for size in sorted(sizes)[:_MOST_SIZES])
    return next((each for each in found if each is not None), None)
