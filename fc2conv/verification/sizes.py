"""The sizes of open dimensions at which two models are compared in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import Sizes
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.exact.terms import Shape
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.fitting import fits, fitted
from fc2conv.verification.trials import Trial

ITEMS = (2, 3, 5, 6, 7, 9, 17, 33, MOST_ITEMS + 1)
"""Batches for exact arithmetic, the least of which is computed; see `check_exact`."""
_MOST_SIZES = 16
_STEPS = (1, 32)
"""By how much other open axes grow with each item of these: maps that are halved several times by a multiple."""


def sizes_of(original: ModelFile, ran: Trial | None, given: Mapping[str, tuple[int, ...]]) -> dict[int, feeds.Shapes]:
    """The shapes for exact arithmetic, for several batches where the batch is open."""
    if feeds.unsupported(original.model, given):
        return {1: {}}
    first = next(feeds.settings())
    setting = (ran.setting if ran is not None else None) or fitted(original, first, given) or first
    setting = _distinct(original, setting, given)
    one = ran is not None and ran.one_batch
    batches = ITEMS if feeds.dynamic_batch(original.model, given) and not one else (setting.batch,)
    every = {n: feeds.shapes(original.model, replace(setting, batch=n), given) for n in batches}
    return every if len({str(shapes) for shapes in every.values()}) > 1 else {setting.batch: every[batches[0]]}


def _distinct(original: ModelFile, setting: feeds.Setting, given: Mapping[str, tuple[int, ...]]) -> feeds.Setting:
    """The setting with open sizes of which no two are the same, if the model takes such."""

    def known(fixed: feeds.Setting) -> set[str]:
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
    """A model about the sizes that its open dimensions have `now`, some of which are others."""

    model: ModelFile
    given: Mapping[str, tuple[int, ...]]
    now: Mapping[feeds.Place, int]

    def shapes(self, others: Mapping[feeds.Place, int]) -> feeds.Shapes | None:
        """The shapes of the inputs where some dimensions have other sizes; None where these do not suit the model."""
        setting = replace(next(feeds.settings()), fixed={**self.now, **others})
        suits = fits(self.model, setting, self.given)
        return feeds.shapes(self.model.model, setting, self.given) if suits else None

    def larger(self, more: int, groups: Iterable[Iterable[feeds.Place]], apart: int = 0) -> feeds.Shapes | None:
        """The shapes where groups of dimensions are larger, each group by more than the one before it if `apart`."""
        return self.shapes(
            {place: self.now[place] + more * (1 + i * apart) for i, group in enumerate(groups) for place in group}
        )


def grown(original: ModelFile, sizes: Sizes, given: Mapping[str, tuple[int, ...]]) -> list[Sizes]:
    """The shapes of the least of these sizes, and other ones along other open axes, where the model takes them.

    The batch is one of them where only some numbers of items suit the model, such as each third. Axes that grow do so
    together; one that is broadcast may be 1, or as large as what it meets.
    """
    least = min(sizes)
    every = feeds.open_places(original.model, given)
    groups = every if len(sizes) == 1 else feeds.other_places(original.model, given)
    if not sizes[least] or not groups:
        return []
    around = _Around(original, given, {(name, i): sizes[least][name][i] for group in every for name, i in group})
    found: list[Sizes] = []
    free: list[list[feeds.Place]] = []
    own = sorted({around.now[group[0]] for group in groups})
    some = len(sizes) == 1 and any(axis == 0 for group in groups for _, axis in group)
    steps = dict.fromkeys((*own, *_STEPS) if some else (*_STEPS, *own))
    for step, apart in product(steps, (1, 0)):  # a difference of two is to grow as well
        free = [group for group in groups if around.larger(step, [group]) is not None]
        counts = [n - least for n in ITEMS if n > least]
        more = {n: around.larger(step * n, free, apart) for n in (1, counts[-1])} if free else {}
        if more and None not in more.values():
            each = {n: around.larger(step * n, free, apart) for n in counts}
            found.append({least: sizes[least]} | {least + n: one for n, one in each.items() if one is not None})
            break
        free = []
    if len(free) < len(groups):
        found += [
            {least: sizes[least], least + 1: other}
            for group in every
            if group not in free and (other := _broadcast(around, group, sizes[least])) is not None
        ]
    return found


def _broadcast(around: _Around, group: Sequence[feeds.Place], shapes: Mapping[str, Shape]) -> feeds.Shapes | None:
    """The shapes where dimensions that grow by no step are 1, or as large as some value if they are 1 now."""
    sizes = {1}
    if around.now[group[0]] == 1:
        terms = Walk(around.model, shapes).run().values()
        sizes = {size for term in terms for size in term.shape or () if size > 1}
    found = (around.shapes(dict.fromkeys(group, size)) for size in sorted(sizes)[:_MOST_SIZES])
    return next((each for each in found if each is not None), None)
