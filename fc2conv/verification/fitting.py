"""Open sizes that the model's own numbers fix: a map that a weight was made for, channels, a table of positions.

A size is searched for at which the first node that contradicts itself does so no longer, and so on to the last node.
What a node sees grows with the sizes of the inputs, so that each search is a bisection. Nothing here is proved: a size
that is found is one to run at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import count

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.verification import feeds
from fc2conv.verification.exact.required import Requirement, requirements
from fc2conv.verification.exact.terms import Term
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.feeds import Place, Setting

_LARGEST = 2048
_FEW = 17
"""Fewer items than these are tried first where the number of items is searched for."""
_MOST = 20_000
"""Nodes that are walked; each search takes about a dozen walks."""
_SIDES = (*range(1, 17), 24, 28, 32, 48, 64, 96, 112, 128, 160, 224, 256)
"""Sizes of one side of a map that is no square."""


class _UnmetError(Exception):
    """A walk came to a requirement that is not met: `place` is that of its node, and its index among the node's."""

    def __init__(self, place: tuple[int, int], requirement: Requirement) -> None:
        super().__init__(place)
        self.place, self.requirement = place, requirement


def fitted(file: ModelFile, setting: Setting, given: Mapping[str, tuple[int, ...]]) -> Setting | None:
    """The setting with the sizes that the model takes; None where none were found."""
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


def fits(file: ModelFile, setting: Setting, given: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether no node contradicts itself at a setting's sizes."""
    return _Search(file, setting, given).gap(setting.fixed) is None


@dataclass
class _Search:
    file: ModelFile
    setting: Setting
    given: Mapping[str, tuple[int, ...]]
    groups: Sequence[list[Place]] = ()
    walked: int = 0
    fixed: dict[Place, int] = field(default_factory=dict)

    def tries(self, gap: _UnmetError) -> Iterator[tuple[Mapping[Place, int], Sequence[Place]]]:
        """What can be searched for, and the sizes assumed meanwhile: a square map, each size, a map not square.

        A size that was found comes last: where it had but to be large enough, another may be needed further on.
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
        """Whether what contradicts itself grows with some places."""
        now = self.gap({**self.fixed, **dict.fromkeys(places, _LARGEST)})
        return now is None or now.place > gap.place or (now.place == gap.place and now.requirement != gap.requirement)

    def solved(self, assumed_sizes: Mapping[Place, int], places: Sequence[Place], gap: _UnmetError) -> bool:
        """Whether a size of some places ends a contradiction, which is then fixed."""
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
        """The first requirement that is not met."""
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
