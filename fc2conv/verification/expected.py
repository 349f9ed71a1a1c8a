"""The claims of a sliding network as a model: what each of its outputs is to be, written with the original's nodes.

Two models come of it that the ordinary checks can compare. One applies the original's nodes once for every cell, to the
window that the cell reads. The other is the sliding model with the same outputs. What lies in front of the windows is
the sliding model's own in both.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import prod

from fc2conv.io.reader import ModelFile
from fc2conv.verification.drafts import SPACE, Bounds, Draft, Shape, keyed_apart
from fc2conv.verification.feeds import inputs
from fc2conv.verification.spec import CamClaim, Claims, Layout, MapClaim

_LEAST = 2
"""Cells of a map below which nothing is compared: one is at the rim of the image, as at the training size."""
_POOLS = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}


@dataclass(frozen=True)
class Expected:
    """What is to be, and what is; `cells` says how many cells of each map are compared."""

    wanted: ModelFile
    found: ModelFile
    cells: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Window:
    """What one cell reads: a part of the value `name` of the sliding model, which the original has as `original`.

    The part has these `sizes`; `steps` has, for each axis of the map, the dimension along which the windows of two
    neighbours are apart, and by how much. The original holds it in `layout`.
    """

    name: str
    original: str
    layout: Layout
    sizes: Shape
    steps: Mapping[int, tuple[int, int | Fraction]]

    def fits(self, axis: int, size: Shape) -> tuple[int, bool]:
        """Return how many windows lie along an axis on which they move, and whether they end where the value does."""
        dim, step = self.steps[axis]
        room = size[dim] - self.sizes[dim]
        return int(room // step) + 1, room % step == 0


def at_training(original: ModelFile, sliding: ModelFile, claims: Claims, prefix: str = "") -> Expected:
    """Write the original at the training size, each output as a map; `prefix` is put before the original's names."""
    wanted, found = _drafts(original, sliding, claims, claims.inputs)
    known = {claim.original: claim for claim in claims.maps}
    given = {value.name: value.name for value in inputs(original.model)}
    outputs = [value.name for value in original.model.graph.output]
    for output in dict.fromkeys([*outputs, *known]):
        claim, name = known.get(output), f"{output} (training size)"
        copy = wanted.copied(output, given, prefix)
        given[output] = copy
        wanted.give(name, copy if claim is None else wanted.as_map(copy, claim.layout, claim.sizes))
        found.give(name, output if claim is None else claim.name)
    return Expected(wanted.finished(), found.finished(), dict.fromkeys(known, 1))


def on_windows(
    original: ModelFile, sliding: ModelFile, claims: Claims, sizes: Mapping[str, Shape], crops: bool = False
) -> Expected:
    """Write each cell as the original's head on its window; `sizes` are those of all values on a larger image.

    With `crops`, and for a map that reads no padding, it is the whole original on the crop of the image.
    """
    wanted, found = _drafts(original, sliding, claims, {name: sizes[name] for name in claims.inputs})
    every = [list(_crops(claim, claims) if crops or not claim.padded else _features(claim)) for claim in claims.maps]
    heads = [
        (claim.original, [window.original for window in windows])
        for claim, windows in zip(claims.maps, every, strict=True)
    ]
    sized = [[_image(image, claims) for image in wanted.sized_by(*head) if image in claims.inputs] for head in heads]
    wanted.keep([window.name for windows in (*every, *sized) for window in windows])
    if not crops:
        _beside(wanted, found, claims)
    cells: dict[str, int] = {}
    for claim, windows, images in zip(claims.maps, every, sized, strict=True):
        given = [window.original for window in windows]
        places = _places(claim, windows, sizes, claims.inputs)
        if prod(len(range(*each)) for each in places.values()) < _LEAST or wanted.needs_others(
            claim.original, given, [image.original for image in images]
        ):
            continue
        grid = {}
        for at in product(*(range(*each) for each in places.values())):
            place = dict(zip(places, at, strict=True))
            parts = {w.original: _cut(wanted, w, place, sizes[w.name]) for w in (*windows, *images)}
            value = wanted.copied(claim.original, parts, wanted.fresh())
            grid[at] = wanted.as_map(value, claim.layout, claim.sizes)
        name = f"{claim.original} (windows)"
        wanted.give(name, wanted.joined(grid, list(places)))
        found.give(name, found.sliced(claim.name, _bounds(claim, places, windows, sizes)))
        cells[claim.original] = len(grid)
    return Expected(wanted.finished(), found.finished(), cells)


def _drafts(
    original: ModelFile, sliding: ModelFile, claims: Claims, images: Mapping[str, Shape]
) -> tuple[Draft, Draft]:
    """A draft of what is to be, and one that has the whole sliding model."""
    found = Draft(sliding, sliding, images)
    found.keep([value.name for value in sliding.model.graph.output] + [cam.scores for cam in claims.cams])
    return Draft(sliding, keyed_apart(original, sliding), images), found


def _features(claim: MapClaim) -> Iterator[_Window]:
    for f in claim.features:
        yield _Window(f.name, f.original, f.layout, f.sizes, {axis: (axis, step) for axis, step in f.steps.items()})


def _crops(claim: MapClaim, claims: Claims) -> Iterator[_Window]:
    for name, shape in claims.inputs.items():
        dims = claims.axes.get(name, {})
        known = [axis for axis in claim.windowed if axis in dims and axis in claim.periods]
        steps = {axis: (dims[axis], Fraction(claim.periods[axis], claim.every[axis])) for axis in known}
        yield _Window(name, name, tuple((dim,) for dim in range(len(shape))), shape, steps)


def _image(name: str, claims: Claims) -> _Window:
    """An image of the training size, of which a head asks for the sizes alone."""
    shape = claims.inputs[name]
    return _Window(name, name, tuple((dim,) for dim in range(len(shape))), shape, {})


def _places(
    claim: MapClaim, windows: list[_Window], sizes: Mapping[str, Shape], images: Container[str]
) -> dict[int, Bounds]:
    """The cells along each axis that are compared: those so far apart that an image moves the map by whole cells."""
    step = any(window.name in images for window in windows)
    found: dict[int, Bounds] = {}
    for axis in claim.windowed:
        counts = [w.fits(axis, sizes[w.name])[0] for w in windows if axis in w.steps]
        found[axis] = 0, min(counts, default=0), claim.every.get(axis, 1) if step else 1
    return found or {SPACE: (0, 0, 1)}


def _cut(draft: Draft, window: _Window, place: Mapping[int, int], size: Shape) -> str:
    """What the original reads for one place; along an axis without windows that is the first of as many cells."""
    starts = {dim: round(place[axis] * step) for axis, (dim, step) in window.steps.items() if axis in place}
    bounds = {
        dim: (starts.get(dim, 0), starts.get(dim, 0) + cells, 1)
        for dim, cells in enumerate(window.sizes)
        if dim and cells != size[dim]
    }
    return draft.as_value(draft.sliced(window.name, bounds), window.layout, window.sizes)


def _bounds(
    claim: MapClaim, places: Mapping[int, Bounds], windows: list[_Window], sizes: Mapping[str, Shape]
) -> dict[int, Bounds]:
    """What is compared of a map: the cells of the places, and those of the training size where there are no windows.

    A map has no other cells where the last windows end with what they are cut from. Where some of it is left, it is too
    small for a window, and the map may have a cell that reads no more than that.
    """
    size = sizes[claim.name]
    found: dict[int, Bounds] = {}
    for axis in range(SPACE, len(size)):
        start, stop, step = places.get(axis, (0, claim.sizes[axis], 1))
        whole = axis in places and all(w.fits(axis, sizes[w.name])[1] for w in windows if axis in w.steps)
        if step > 1 or not (whole or stop == size[axis]):
            found[axis] = start, size[axis] if whole else stop, step
    return found


def _beside(wanted: Draft, found: Draft, claims: Claims) -> None:
    """The answers for the whole image, and the means of class activation maps, which are scores."""
    wanted.keep([source for _, source, _ in claims.pooled] + [cam.output for cam in claims.cams])
    for output, source, kind in claims.pooled:
        pooled = wanted.add(_POOLS[kind], [source])
        wanted.give(f"{output} (whole image)", wanted.add("Flatten", [pooled], axis=1))
        found.give(f"{output} (whole image)", output)
    for cam in claims.cams:
        wanted.give(f"{cam.output} (mean)", _activated(wanted, cam, _pooled(wanted, cam)))
        found.give(f"{cam.output} (mean)", cam.scores)


def _pooled(draft: Draft, cam: CamClaim) -> str:
    """The pooling of a class activation map: so much of the mean of each window, and so much of its maximum."""
    parts = []
    for kind, factor in (("Average", cam.mean), ("Max", cam.maximum)):
        if factor:
            windows = {"kernel_shape": list(cam.kernel), "strides": list(cam.strides)} if cam.kernel else {}
            pooled = draft.add(f"{kind}Pool" if cam.kernel else f"Global{kind}Pool", [cam.output], **windows)
            parts.append(pooled if factor == 1.0 else draft.add("Mul", [pooled, draft.number(factor)]))
    return parts[0] if len(parts) == 1 else draft.add("Add", parts)


def _activated(draft: Draft, cam: CamClaim, scores: str) -> str:
    return draft.add(cam.then, [scores], **({} if cam.then == "Sigmoid" else {"axis": 1})) if cam.then else scores
