"""Maps that read no padding and have no head: on a crop they are what the original makes of that crop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from fc2conv.io.reader import ModelFile
from fc2conv.verification.expected import Expected, Sizes, drafts
from fc2conv.verification.feeds import inputs
from fc2conv.verification.spec import Claims, MapClaim


def on_crops(original: ModelFile, sliding: ModelFile, claims: Claims, sizes: Sizes, outputs: Sequence[str]) -> Expected:
    """Write maps as the original makes them of the first and of the last crop along each axis that grows.

    The crops are as large as at the training size; `sizes` are those of all values on a larger image.
    """
    wanted, found = drafts(original, sliding, {name: sizes[name] for name in claims.inputs})
    given = {value.name: value.name for value in inputs(original.model)}
    cells = dict[str, int]()
    for claim in claims.maps:
        if claim.padded or claim.original not in outputs:
            continue
        ones, others = [], []
        for place in _places(claim, claims, sizes):
            crop = {**given, **{name: wanted.sliced(name, _cut(name, claims, place)) for name in claims.inputs}}
            value = wanted.copied(claim.original, crop, wanted.fresh())
            ones.append(wanted.as_map(value, claim.layout, claim.sizes, claim.parts))
            starts = {axis: start // claim.periods[axis] * claim.every[axis] for axis, start in place.items()}
            bounds = {axis: (start, start + claim.sizes[axis], 1) for axis, start in starts.items()}
            others.append(found.sliced(claim.name, bounds))
        for draft, parts in ((wanted, ones), (found, others)):
            draft.give(f"{claim.original} (windows)", draft.add("Concat", parts, axis=1))
        cells[claim.original] = len(ones)
    return Expected(wanted.finished(), found.finished(), cells, [*cells])


def _places(claim: MapClaim, claims: Claims, sizes: Sizes) -> Iterator[dict[int, int]]:
    """Yield the pixels at which the first and the last crop begin along each axis, in all combinations."""
    ends = {}
    for axis, period in claim.periods.items():
        room = [sizes[name][dims[axis]] - claims.inputs[name][dims[axis]]
                for name, dims in claims.axes.items() if axis in dims]  # fmt: skip
        ends[axis] = sorted({0, min(room) // period * period})
    return (dict(zip(ends, at, strict=True)) for at in product(*ends.values()))


def _cut(name: str, claims: Claims, place: dict[int, int]) -> dict[int, tuple[int, int, int]]:
    dims = claims.axes.get(name, {})
    return {
        dims[axis]: (start, start + claims.inputs[name][dims[axis]], 1) for axis, start in place.items() if axis in dims
    }
