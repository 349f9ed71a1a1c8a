"""Open sizes that the model's own numbers fix: a map that a weight was made for, channels, a table of positions.

A size is searched for at which the first node that contradicts itself does so no longer, and so on to the last node.
What a node sees grows with the sizes of the inputs, so that each search is a bisection. Nothing here is proved: a size
that is found is one to run at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from fc2conv.io.reader import ModelFile
from fc2conv.verification import feeds
from fc2conv.verification.exact.sized import Demand, demands
from fc2conv.verification.exact.terms import Table, Term
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.feeds import Place, Setting

_LARGEST = 2048
_MOST = 20_000
"""Nodes that are walked; each search takes about a dozen walks."""
_SIDES = (*range(1, 17), 24, 28, 32, 48, 64, 96, 112, 128, 160, 224, 256)
"""Sizes of one side of a map that is no square."""


def fitted(file: ModelFile, setting: Setting, given: Mapping[str, tuple[int, ...]]) -> Setting | None:
    """The setting with the sizes that the model takes; None where none were found."""
    return _Search(file, setting, given).found() if feeds.open_places(file.model, given) else None


@dataclass
class _Search:
    file: ModelFile
    setting: Setting
    given: Mapping[str, tuple[int, ...]]
    walked: int = 0
    fixed: dict[Place, int] = field(default_factory=dict)

    def found(self) -> Setting | None:
        """Solves one contradiction after the other."""
        gap = self._gap(self.fixed)
        while gap is not None:
            if not any(self._solved(held, places, gap) for held, places in self._tries(gap)):
                return None
            gap = self._gap(self.fixed)
        return replace(self.setting, fixed=self.fixed)

    def _tries(self, gap: _Gap) -> Iterator[tuple[Mapping[Place, int], Sequence[Place]]]:
        """What may be searched for, with what is fixed meanwhile: a square map, each size, a map that is no square."""
        model = self.file.model
        free = [group for group in feeds.open_places(model, self.given) if not set(group) <= set(self.fixed)]
        free = [group for group in free if self._matters(group, gap)]
        free.sort(key=lambda group: any(axis == 0 for _, axis in group))
        sides = [group for group in free if all(feeds.is_spatial(model, place) for place in group)]
        if len(sides) > 1:
            yield {}, [place for group in sides for place in group]
        yield from (({}, group) for group in free)
        if len(sides) > 1:
            yield from ((dict.fromkeys(sides[0], side), sides[1]) for side in _SIDES)

    def _matters(self, places: Sequence[Place], gap: _Gap) -> bool:
        """Whether what contradicts itself grows with some places."""
        now = self._gap({**self.fixed, **dict.fromkeys(places, _LARGEST)})
        return now is None or now.place > gap.place or (now.place == gap.place and now.demand != gap.demand)

    def _solved(self, held: Mapping[Place, int], places: Sequence[Place], gap: _Gap) -> bool:
        """Whether a size of some places ends a contradiction, which is then fixed."""
        low, high = 1, _LARGEST
        while low <= high and self.walked < _MOST:
            size = (low + high) // 2
            fixed = {**self.fixed, **held, **dict.fromkeys(places, size)}
            now = self._gap(fixed)
            if now is None or now.place > gap.place:
                self.fixed = fixed
                return True
            if now.place < gap.place and now.demand.actual:
                return False
            if now.demand.actual < now.demand.wanted:
                low = size + 1
            else:
                high = size - 1
        return False

    def _gap(self, fixed: Mapping[Place, int]) -> _Gap | None:
        """The first demand that is not met."""
        setting = replace(self.setting, fixed=fixed)
        shapes = feeds.shapes(self.file.model, setting, self.given)
        places = count()

        def look(_: str, term: Term) -> Term:
            place = next(places)
            self.walked += 1
            for j, demand in enumerate(demands(term)):
                if not demand.met:
                    raise _UnmetError(_Gap((place, j), demand))
            return term

        try:
            Walk(self.file, Table(), 1, shapes, lambda tensor: tensor.name.encode(), look).run()
        except _UnmetError as error:
            return error.gap
        return None


@dataclass(frozen=True)
class _Gap:
    """A demand that is not met, the node that makes it, and which of its demands it is."""

    place: tuple[int, int]
    demand: Demand


class _UnmetError(Exception):
    """A walk came to a demand that is not met."""

    def __init__(self, gap: _Gap) -> None:
        super().__init__(gap)
        self.gap = gap
