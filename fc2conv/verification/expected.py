"""The claims of a sliding network as a model: each of its outputs, written with the original's nodes.

This makes two models that the ordinary checks can compare. One applies the original's nodes once for every cell, to the
window that the cell reads. The other is the sliding model with the same outputs. The nodes before the windows are the
sliding model's own in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.verification.drafts import SPACE, Bounds, Draft, Shape, beside, drafts
from fc2conv.verification.feeds import inputs
from fc2conv.verification.nodes import captured, in_order
from fc2conv.verification.spec import Claims, Feature, Layout, MapClaim

Held = Mapping[str, tuple[str, Layout]]
"""Values of the original that the sliding model has as a map alone: its name there, and their layout."""
_LEAST = 2
"""The least cells of a map that are compared: a single one is at the rim of the image, as at the training size."""

Sizes = Mapping[str, Shape]
"""The sizes of values, by name."""


@dataclass(frozen=True)
class Expected:
    """The `wanted` model and the `found` one: how many `cells` each value has, and the outputs that are `compared`."""

    wanted: ModelFile
    found: ModelFile
    cells: Mapping[str, int]
    compared: Sequence[str]


def at_training(original: ModelFile, sliding: ModelFile, claims: Claims) -> Expected:
    """Write the original at the training size, each output as a map."""
    wanted, found = drafts(original, sliding, claims.inputs, [cam.scores for cam in claims.cams])
    known = {claim.original: claim for claim in claims.maps}
    given = {value.name: value.name for value in inputs(original.model)}
    outputs = [value.name for value in original.model.graph.output]
    for output in dict.fromkeys([*outputs, *known]):
        claim, name = known.get(output), f"{output} (training size)"
        copy = wanted.copied(output, given, "")
        given[output] = copy
        wanted.give(name, copy if claim is None else wanted.as_map(copy, claim.layout, claim.sizes, claim.parts))
        first = dict.fromkeys(claim.windowed, (0, 1, 1)) if claim is not None and claim.dense else {}
        found.give(name, output if claim is None else found.sliced(claim.name, first))
    return Expected(wanted.finished(), found.finished(), dict.fromkeys(known, 1), [*outputs, *known])


def on_windows(
    original: ModelFile, sliding: ModelFile, claims: Claims, sizes: Sizes, crops: bool = False, whole: bool = False
) -> Expected:
    """Write each cell as the original's head on its window; `sizes` are those of all values on a larger image.

    With `crops`, and for a map that reads no padding, it is the whole original on the crop of the image. Along axes
    without windows the crops are as large as at the training size, or as the `whole` image.
    """
    claims = replace(claims, maps=tuple(_grown(claim, sizes[claim.name]) for claim in claims.maps)) if whole else claims
    shapes = {name: sizes[name] for name in claims.inputs}
    wanted, found = drafts(original, sliding, shapes, [cam.scores for cam in claims.cams])
    rest = {value.name: value.name for value in inputs(original.model) if value.name not in claims.inputs}
    heads = list[tuple[MapClaim, list[Feature], list[Feature]]]()
    reads_images = set[str]()
    for claim in claims.maps:
        windows = [*(_crops(claim, claims) if crops or not claim.padded else claim.features)]
        windows = [_widened(w, sizes[w.name]) for w in windows] if whole else windows
        sized, read = wanted.others(claim.original, [*(window.original for window in windows), *rest])
        heads.append((claim, windows, [_image(each, claims.inputs[each]) for each in sized]))
        reads_images.update([claim.original] if read else [])
    wanted.keep([window.name for _, windows, images in heads for window in (*windows, *images)])
    if not crops:
        beside(wanted, found, claims)
    cells: dict[str, int] = {}
    for claim, windows, images in heads:
        places = _places(claim, windows, sizes, claims)
        count = prod(len(range(*each)) for each in places.values())
        if count < _LEAST or claim.original in reads_images:
            continue
        grid = {}
        for at in product(*(range(*each) for each in places.values())):
            place = dict(zip(places, at, strict=True))
            parts = {w.original: _cut(wanted, w, place, sizes[w.name]) for w in (*windows, *images)}
            value = wanted.copied(claim.original, {**rest, **parts}, wanted.fresh())
            grid[at] = wanted.as_map(value, claim.layout, claim.sizes, claim.parts)
        name = f"{claim.original} (windows)"
        wanted.give(name, wanted.joined(grid, list(places)))
        found.give(name, found.sliced(claim.name, _bounds(claim, places, windows, sizes)))
        cells[claim.original] = len(grid)
    return Expected(wanted.finished(), found.finished(), cells, [*cells])


def on_larger(
    original: ModelFile, sliding: ModelFile, claims: Claims, sizes: Sizes, own: Sizes, held: Held
) -> Expected:
    """Write the maps without windows as the original itself makes them; `own` are the sizes of its values that grow.

    Where the original does not make a map, as a Reshape has numbers as its target, or a number counts the cells of the
    training size, write the nearest values before that instead.
    """
    wanted, found = drafts(original, sliding, {name: sizes[name] for name in claims.inputs})
    given = {value.name: value.name for value in inputs(original.model)}
    makers: dict[str, NodeProto] = {}  # of what depends on images
    counted: set[str] = set()
    for node in in_order(original.model.graph.node):
        if any(name in given or name in makers for name in (*node.input, *captured(node))):
            makers.update(dict.fromkeys(node.output, node))
        mixed = any(_mixed(own.get(name, ()), sizes.get(name, ())) for name in node.output)
        if mixed or claims.counted.intersection(node.output) or counted.intersection(node.input):
            counted.update(node.output)
    outputs = {claim.original: claim for claim in claims.maps if not claim.windowed}
    laid = {name: (claim.name, claim.layout, claim.parts) for name, claim in outputs.items()}
    there = {name: (value, layout, ()) for name, (value, layout) in held.items()} | laid
    cells, compared, prefix = dict[str, int](), list[str](), wanted.fresh()
    for output in outputs:
        todo, seen = [output], set[str]()
        while todo:
            name = todo.pop()
            value = there[name][0] if name in there else name
            size = sizes.get(value, ())
            if name not in makers or name in seen:
                continue
            seen.add(name)
            if name in counted or prod(size[SPACE:]) < _LEAST or not _is_map(own.get(name), size, name in there):
                todo += makers[name].input
                continue
            if name not in cells:
                copy = wanted.copied(name, given, prefix)
                if name in there:
                    _, layout, parts = there[name]
                    copy = wanted.as_map(copy, layout, size, parts)
                wanted.give(f"{name} (windows)", copy)
                found.give(f"{name} (windows)", value)
            cells[name] = prod(size[SPACE:])
            compared.append(output)
    return Expected(wanted.finished(), found.finished(), cells, compared)


def on_crops(original: ModelFile, sliding: ModelFile, claims: Claims, sizes: Sizes, outputs: Sequence[str]) -> Expected:
    """Write maps as the original makes them of the first and of the last crop along each axis that grows.

    These maps read no padding and have no head: on a crop they are what the original makes of that crop. The crops are
    as large as at the training size; `sizes` are those of all values on a larger image.
    """
    wanted, found = drafts(original, sliding, {name: sizes[name] for name in claims.inputs})
    given = {value.name: value.name for value in inputs(original.model)}
    cells = dict[str, int]()
    for claim in claims.maps:
        if claim.padded or claim.original not in outputs:
            continue
        ones, others = [], []
        for place in _corners(claim, claims, sizes):
            crop = {**given, **{name: wanted.sliced(name, _crop(name, claims, place)) for name in claims.inputs}}
            value = wanted.copied(claim.original, crop, wanted.fresh())
            ones.append(wanted.as_map(value, claim.layout, claim.sizes, claim.parts))
            starts = {axis: start // claim.periods[axis] * claim.every[axis] for axis, start in place.items()}
            bounds = {axis: (start, start + claim.sizes[axis], 1) for axis, start in starts.items()}
            others.append(found.sliced(claim.name, bounds))
        for draft, parts in ((wanted, ones), (found, others)):
            draft.give(f"{claim.original} (windows)", draft.add("Concat", parts, axis=1))
        cells[claim.original] = len(ones)
    return Expected(wanted.finished(), found.finished(), cells, [*cells])


def _mixed(own: Shape, size: Shape) -> bool:
    """Return whether the original has the elements of a map in other dimensions, as after a Reshape to numbers."""
    return len(own) == len(size) and prod(own) == prod(size) and sorted(own) != sorted(size)


def _is_map(own: Shape | None, size: Shape, known: bool) -> bool:
    """Return whether the original has a map where the sliding network has one of this size, even of a wrong size."""
    if own is None or known:
        return own is not None
    return len(own) == len(size) and (own == size or sorted(own) != sorted(size))


def _crops(claim: MapClaim, claims: Claims) -> Iterator[Feature]:
    for name, shape in claims.inputs.items():
        dims = claims.axes.get(name, {})
        known = [axis for axis in claim.windowed if axis in dims and axis in claim.periods]
        steps = {axis: Fraction(claim.periods[axis], claim.every[axis]) for axis in known}
        yield replace(_image(name, shape), steps=steps, dims=dims)


def _grown(claim: MapClaim, size: Shape) -> MapClaim:
    """Return the claim of a map with its sizes on a larger image, along axes without windows."""
    grows = range(SPACE, len(size))
    sizes = (size[i] if i in grows and i not in claim.windowed else n for i, n in enumerate(claim.sizes))
    return replace(claim, sizes=tuple(sizes))


def _widened(window: Feature, size: Shape) -> Feature:
    """Return a window that is as large as what it is cut from along dimensions in which it does not move."""
    moves = {0, *(window.step(axis)[0] for axis in window.steps)}
    return replace(window, sizes=tuple(n if i in moves else size[i] for i, n in enumerate(window.sizes)))


def _image(name: str, shape: Shape) -> Feature:
    """Return the window that is an image of the training size; without steps a head reads its sizes alone."""
    return Feature(name, name, tuple((dim,) for dim in range(len(shape))), shape, {})


def _places(claim: MapClaim, windows: list[Feature], sizes: Sizes, claims: Claims) -> dict[int, Bounds]:
    """Return the cells to compare along each axis: so far apart that moving the image moves the map by whole cells."""
    step = any(window.name in claims.inputs for window in windows)
    found: dict[int, Bounds] = {}
    for axis in claim.windowed:
        counts = [w.fits(axis, sizes[w.name])[0] for w in windows if axis in w.steps]
        found[axis] = 0, min(counts, default=0), claim.every.get(axis, 1) if step else 1
    return found or {SPACE: (0, 0, 1)}


def _cut(draft: Draft, window: Feature, place: Mapping[int, int], size: Shape) -> str:
    """Cut what the original reads for one place; along an axis without windows take the first cells, of its size."""
    steps = {axis: window.step(axis) for axis in window.steps if axis in place}
    starts = {dim: round(place[axis] * step) for axis, (dim, step) in steps.items()}
    bounds = {
        dim: (starts.get(dim, 0), starts.get(dim, 0) + window.reach(dim), window.holes.get(dim, 1))
        for dim, cells in enumerate(window.sizes)
        if (dim or dim in starts) and cells != size[dim]
    }
    return draft.as_value(draft.sliced(window.name, bounds), window.layout, window.sizes)


def _bounds(claim: MapClaim, places: Mapping[int, Bounds], windows: list[Feature], sizes: Sizes) -> dict[int, Bounds]:
    """Return the bounds of what is compared: the cells of the places, or of the training size without windows.

    A map has no other cells where the last windows end with what they are cut from, unless it is dense. What is left
    there is too small for a window, and the map may have a cell that reads no more than that.
    """
    size = sizes[claim.name]
    found: dict[int, Bounds] = {}
    for axis in range(SPACE, len(size)):
        start, stop, step = places.get(axis, (0, claim.sizes[axis], 1))
        ends = all(w.fits(axis, sizes[w.name], step)[1] for w in windows if axis in w.steps)
        whole = axis in places and ends and not claim.dense
        if step > 1 or not (whole or stop == size[axis]):
            found[axis] = start, size[axis] if whole else stop, step
    return found


def _corners(claim: MapClaim, claims: Claims, sizes: Sizes) -> Iterator[dict[int, int]]:
    """Yield the pixels at which the first and the last crop begin along each axis, in all combinations."""
    ends = {}
    for axis, period in claim.periods.items():
        room = [sizes[name][dims[axis]] - claims.inputs[name][dims[axis]]
                for name, dims in claims.axes.items() if axis in dims]  # fmt: skip
        ends[axis] = sorted({0, min(room) // period * period})
    return (dict(zip(ends, at, strict=True)) for at in product(*ends.values()))


def _crop(name: str, claims: Claims, place: dict[int, int]) -> dict[int, tuple[int, int, int]]:
    dims = claims.axes.get(name, {})
    return {
        dims[axis]: (start, start + claims.inputs[name][dims[axis]], 1) for axis, start in place.items() if axis in dims
    }
