"""Sliding models with other cells, of --output-stride, --padding and --upsample, against the plain sliding model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.verification.drafts import Bounds, beside, drafts
from fc2conv.verification.expected import Expected, Sizes
from fc2conv.verification.feeds import inputs
from fc2conv.verification.spec import Claims, Placement

_DRAWN = 32
"""Channels of a map at the size of an image that are compared."""


@dataclass(frozen=True)
class Modes:
    """A model that is the sliding one with other cells: of --output-stride, --padding and --upsample."""

    file: ModelFile
    placements: Sequence[Placement]
    claims: Claims


def placed(plain: ModelFile, modes: Modes, sizes: Sizes, before: Sizes, moved: Mapping[int, int]) -> Expected:
    """Write the cells that the plain model has as well, on images that begin `moved` pixels later.

    `sizes` are those of the values of both models on an image, `before` those of the plain model on the moved image.
    """
    images = {name: sizes[name] for name in modes.claims.inputs}
    wanted, found = drafts(plain, modes.file, images)
    if not moved:
        beside(wanted, found, replace(modes.claims, cams=()))
    given = {}
    for value in inputs(plain.model):
        dims = modes.claims.axes.get(value.name, {})
        cut = {
            dim: (moved[axis], moved[axis] + before[value.name][dim], 1)
            for axis, dim in dims.items()
            if moved.get(axis)
        }
        given[value.name] = wanted.sliced(value.name, cut)
    cells, prefix = {}, wanted.fresh()
    for each in modes.placements:
        if moved.keys() - each.axes.keys():  # it pools an axis of the whole image, which is a smaller one here
            continue
        old, new = dict[int, Bounds](), dict[int, Bounds]()
        for axis, place in each.axes.items():
            first, step = moved.get(axis, 0) // place.made - place.shift, place.stride // place.made
            skipped = max(0, -(first // step))
            count = min(before[each.of][axis] - skipped, -(-(sizes[each.name][axis] - first) // step) - skipped)
            start = first + skipped * step
            old[axis], new[axis] = (skipped, skipped + count, 1), (start, start + (count - 1) * step + 1, step)
        name = f"{each.output} (cells)"
        copy = wanted.copied(each.of, given, prefix)
        given[each.of] = copy
        wanted.give(name, wanted.sliced(copy, old))
        found.give(name, found.sliced(each.name, new))
        cells[each.output] = prod(len(range(*bounds)) for bounds in old.values())
    return Expected(wanted.finished(), found.finished(), cells, [name for name, count in cells.items() if count])


def interpolated(modes: Modes, sizes: Sizes) -> Expected:
    """Write the maps at the size of the image as linear interpolations of their cells, each at its place.

    These maps are large, so that only some of many channels are compared; all channels are computed in the same way.
    """
    images = {name: sizes[name] for name in modes.claims.inputs}
    wanted, found = drafts(modes.file, modes.file, images)
    every = [each for each in modes.placements if each.upsampled]
    wanted.keep([each.name for each in every])
    for each in every:
        some = {1: (0, sizes[each.name][1], -(-sizes[each.name][1] // _DRAWN))}
        value = wanted.add("Cast", [wanted.sliced(each.name, some)], to=1)
        for axis, place in each.axes.items():
            cells, pixels = sizes[each.name][axis], np.arange(sizes[each.output][axis])
            at = np.clip((pixels - place.center) / place.made, 0, cells - 1)
            weights = np.maximum(0, 1 - np.abs(at - np.arange(cells)[:, None])).astype(np.float32)
            perm = list(range(len(sizes[each.name])))
            perm[axis], perm[-1] = perm[-1], perm[axis]
            drawn = wanted.add("MatMul", [wanted.transposed(value, perm), wanted.constant(weights)])
            value = wanted.transposed(drawn, perm)
        wanted.give(f"{each.output} (pixels)", value)
        found.give(f"{each.output} (pixels)", found.add("Cast", [found.sliced(each.output, some)], to=1))
    return Expected(wanted.finished(), found.finished(), {}, ())
