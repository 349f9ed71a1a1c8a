"""A sliding model against its original, by numbers alone: at the training size, window by window, crop by crop.

Three things are shown. At the training size each map is the original's output. On larger images each cell of a map is
the original's head on that window of the features from which the head starts, all windows compared. And, measured where
it is asked for, how far each cell is from the original on that crop of the image, which is nothing without padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from math import lcm
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.sliding import CropGap
from fc2conv.report.types import Check, OutputDifference, Verdict
from fc2conv.verification import feeds
from fc2conv.verification.activations import activated, pooled_by
from fc2conv.verification.arithmetic import Arithmetic
from fc2conv.verification.compare import Pairing, says_nothing
from fc2conv.verification.heads import as_map, as_value, cell_of, extracted, window_of
from fc2conv.verification.inputs import Fill, fills
from fc2conv.verification.runtime import RefusedError, Session, room_for_feeds
from fc2conv.verification.spec import Claims, MapClaim, Sizes

Array = NDArray[Any]
_OTHER_BATCH = 3
_STEPS = 2
"""How many cells a map grows by on larger images."""
SPACE = 2


class OriginalRefusedError(RefusedError):
    """onnxruntime does not run the original, so that there is nothing to hold the other against."""


@contextmanager
def _of_original() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise OriginalRefusedError(str(error)) from error


class Sliding:
    """The two models, open for runs, and what was compared of them."""

    def __init__(self, original: ModelFile, sliding: ModelFile, claims: Claims, options: VerifyOptions) -> None:
        self.original, self.sliding, self.claims, self.options = original, sliding, claims, options
        watched = [claim.name for claim in claims.maps]
        watched += [feature.name for claim in claims.maps for feature in claim.features]
        watched += [cam.scores for cam in claims.cams]
        watched += [name for _, name, _ in claims.pooled] + [name for _, name, _ in claims.upsampled]
        given = set(claims.inputs) | {value.name for value in feeds.inputs(sliding.model)}
        self.watched = [name for name in dict.fromkeys(watched) if name not in given]
        with _of_original():
            self.old = Session(original, self._inner(), False, options.providers)
        self.new = Session(sliding, self.watched, False, options.providers)
        self.base = self._training(1)
        self.fill = self._fill()
        arithmetic = Arithmetic(original.model)
        known = {claim.original: arithmetic.of(claim.original) for claim in claims.maps}
        self.pairings, self.windows, self.cropped = (
            {name: Pairing(name, arithmetic=kind) for name, kind in known.items()} for _ in range(3)
        )
        whole = arithmetic.whole()
        self.pooled = {name: Pairing(name, arithmetic=whole) for name, _, _ in claims.pooled}
        self.cams = {cam.output: Pairing(cam.output, arithmetic=whole) for cam in claims.cams}

    def _inner(self) -> list[str]:
        """The values of the original that are compared and are no outputs of it."""
        outputs = {value.name for value in self.original.model.graph.output}
        return [claim.original for claim in self.claims.maps if claim.original not in outputs]

    # ------------------------------------------------------------------ runs

    def _training(self, batch: int) -> feeds.Shapes:
        """The shapes of all inputs at the training size, for so many items where the batch is open."""
        setting = replace(next(iter(feeds.settings())), batch=batch)
        shapes = feeds.shapes(self.original.model, setting, self.options.input_shapes)
        return shapes | {name: (shapes[name][0], *shape[1:]) for name, shape in self.claims.inputs.items()}

    def _feeds(self, shapes: feeds.Shapes, index: int, fill: Fill | None = None) -> feeds.Feeds:
        with _of_original(), room_for_feeds():
            return feeds.feeds(self.original.model, shapes, self.options.seed, index, False, fill or self.fill)

    def _fill(self) -> Fill:
        """The first way to fill the inputs of which all outputs say something."""
        tried = list(fills(self.original, self.options.val_range))
        for fill in tried:
            found = self._before(self._feeds(self.base, 0, fill))
            if not any(says_nothing(value) for name, value in found.items() if name not in self.claims.chosen):
                return fill
        return tried[0]

    def _before(self, given: feeds.Feeds) -> dict[str, Any]:
        """All outputs of the original."""
        with _of_original():
            return dict(zip(self.old.names, self.old.run(given), strict=True))

    def run(self, given: feeds.Feeds) -> dict[str, Any]:
        """All outputs of the sliding model, what is watched in it, and what was fed."""
        return {**given, **dict(zip(self.new.names, self.new.run(given), strict=True))}

    def larger(self) -> Iterator[feeds.Shapes]:
        """Larger images: some cells more of every map, and a size that is no multiple of the period, where one runs."""
        periods = self._periods()
        for add, odd in ((_STEPS, 0), (1, 1)):
            shapes = dict(self.base)
            for name, axes in self.claims.axes.items():
                sizes = list(shapes[name])
                for axis, dim in axes.items():
                    if axis in periods:
                        period, every = periods[axis]
                        size = sizes[dim] + period * (add if every == 1 else 1) + (odd if period > 1 else 0)
                        sizes[dim] = self.claims.sizes.get(name, {}).get(axis, Sizes()).above(size)
                shapes[name] = tuple(sizes)
            yield shapes

    def _periods(self) -> dict[int, tuple[int, int]]:
        """After how many pixels every map has moved by whole cells, and by how many at least, along each axis."""
        found: dict[int, tuple[int, int]] = {}
        for axis in {axis for claim in self.claims.maps for axis in claim.windowed}:
            every = [(claim.periods[axis], claim.every[axis]) for claim in self.claims.maps if axis in claim.periods]
            if every:
                found[axis] = lcm(*(period for period, _ in every)), min(cells for _, cells in every)
        return found

    # ------------------------------------------------------------------ what is shown

    def check_training(self) -> Check:
        """At the training size, for one batch and another where that is open."""
        batches = [1, _OTHER_BATCH] if feeds.dynamic_batch(self.original.model, self.options.input_shapes) else [1]
        for index, batch in enumerate(batches):
            given = self._feeds(self._training(batch), index)
            old = self._before(given)
            new = self.run(given)
            for claim in self.claims.maps:
                self.pairings[claim.original].add(
                    as_map(old[claim.original], claim.layout, claim.sizes), new[claim.name]
                )
        return self._check("training size", self.pairings, f"the maps are the original's outputs, {len(batches)} runs")

    def check_windows(self) -> Check:
        """On larger images: every window of every head, and the answers that stand beside the maps."""
        heads: dict[str, Session] = {}
        count = 0
        for index, shapes in enumerate(self.larger(), start=10):
            try:
                found = self.run(self._feeds(shapes, index))
            except RefusedError:
                if index == 10:
                    raise
                continue  # a size that is no multiple of the stride does not suit every network
            for claim in self.claims.maps:
                if index == 10 and (head := self._head(claim, found)) is not None:
                    heads[claim.original] = head
                if claim.original in heads:
                    count += self._windows(claim, heads[claim.original], found)
            self._beside(found, shapes)
        skipped = len(self.claims.maps) - len(heads)
        said = f"{count} windows of {len(heads)} heads"
        said += f"; {skipped} outputs have no head behind the padding" if skipped else ""
        compared = {name: pairing for name, pairing in self.windows.items() if name in heads}
        return self._check("windows", {**compared, **self.pooled, **self.cams}, said)

    def _head(self, claim: MapClaim, found: Mapping[str, Any]) -> Session | None:
        """The original's head alone; None where it does not start from maps alone."""
        kinds = {feature.original: found[feature.name].dtype for feature in claim.features}
        part = extracted(self.original.model, kinds, claim.original) if kinds else None
        return None if part is None else Session(replace(self.original, model=part))

    def _windows(self, claim: MapClaim, head: Session, found: Mapping[str, Any]) -> int:
        """Compares all cells of one map with the original's head on their windows; returns how many there are."""
        cells = found[claim.name]
        places = [range(cells.shape[axis]) for axis in claim.windowed]
        pairing = self.windows[claim.original]
        for feature in claim.features:
            fits = {
                axis: (found[feature.name].shape[axis] - feature.sizes[axis]) // feature.steps[axis] + 1
                for axis in claim.windowed
            }
            wrong = [axis for axis, count in fits.items() if count != cells.shape[axis]]
            if wrong:
                pairing.fault = f"has {list(cells.shape)} cells, where windows of {feature.name} give {fits}"
                return 0
        expected, got = [], []
        for place in product(*places):
            at = dict(zip(claim.windowed, place, strict=True))
            given = {f.original: as_value(window_of(found[f.name], f, at), f.layout) for f in claim.features}
            (value,) = head.run(given)
            expected.append(as_map(value, claim.layout, claim.sizes))
            got.append(cell_of(cells, claim, at))
        pairing.add(np.stack(expected), np.stack(got))
        return len(expected)

    def _beside(self, found: Mapping[str, Any], shapes: feeds.Shapes) -> None:
        for name, source, kind in self.claims.pooled:
            cells = tuple(range(SPACE, found[source].ndim))
            pooled = found[source].mean(cells) if kind == "mean" else found[source].max(cells)
            self.pooled[name].add(pooled.astype(found[source].dtype), found[name])
        for cam in self.claims.cams:
            scores = found[cam.scores]
            self.cams[cam.output].add(
                scores, activated(pooled_by(cam, found[cam.output]), cam.then).astype(scores.dtype)
            )
        for name, _, source in self.claims.upsampled:
            dims = self.claims.axes[source]
            wanted = [shapes[source][dims[axis]] for axis in sorted(dims)]
            if list(found[name].shape[SPACE:]) != wanted:
                raise RefusedError(f"{name} has {list(found[name].shape)}, and its input {wanted}")

    def _check(self, name: str, pairings: Mapping[str, Pairing], said: str) -> Check:
        results = [self._result(pairing) for pairing in pairings.values()]
        passed = {difference.output for difference, _ in results if difference.verdict == "pass"}
        for wanted in ("fail", "inconclusive"):
            for difference, why in results:
                chosen = wanted == "inconclusive" and self.claims.chosen.get(difference.output) in passed
                if difference.verdict == wanted and not chosen:
                    return Check(name=name, verdict=difference.verdict, detail=why)
        verdict: Verdict = "pass" if results else "skipped"
        return Check(name=name, verdict=verdict, detail=said)

    def _result(self, pairing: Pairing) -> tuple[OutputDifference, str]:
        """As `Pairing.result`; numbers below the absolute tolerance count where the relative one holds as well."""
        found = pairing.result(self.options)
        if found[0].verdict == "inconclusive" and pairing.count:
            strict = pairing.result(replace(self.options, atol=0.0))
            return strict if strict[0].verdict == "pass" else found
        return found

    def outputs(self) -> list[OutputDifference]:
        """The largest difference of each output from the original, over the training size and all windows."""
        named = [(self.pairings, " (training size)"), (self.windows, " (windows)"), (self.pooled, ""), (self.cams, "")]
        return [_named(self._result(p)[0], p.name + said) for every, said in named for p in every.values() if p.dtype]

    # ------------------------------------------------------------------ crops

    def crops(self) -> list[CropGap]:
        """Each cell of the maps on a larger image against the original on the crop that the cell stands for."""
        shapes = next(iter(self.larger()))
        given = self._feeds(shapes, 10)
        found = self.run(given)
        out: list[CropGap] = []
        for claim in self.claims.maps:
            if claim.windowed:
                out.append(self._crop(claim, given, found[claim.name]))
        return out

    def _crop(self, claim: MapClaim, given: feeds.Feeds, cells: Array) -> CropGap:
        places = [range(0, cells.shape[axis], claim.every.get(axis, 1)) for axis in claim.windowed]
        gaps = np.zeros([len(place) for place in places])
        total, reference = 0.0, 0.0
        for place in product(*places):
            at = dict(zip(claim.windowed, place, strict=True))
            crop = {name: self._cropped(name, array, claim, at) for name, array in given.items()}
            value = self._before(crop)[claim.original]
            wanted = as_map(value, claim.layout, claim.sizes)
            cell = cell_of(cells, claim, at)
            self.cropped[claim.original].add(wanted, cell)
            apart = np.abs(wanted.astype(np.float64) - cell.astype(np.float64))
            gaps[tuple(i // claim.every.get(axis, 1) for axis, i in at.items())] = apart.max()
            total += float(apart.mean())
            reference = max(reference, float(np.abs(wanted).max()))
        name = next(iter(self.claims.inputs))
        dims = self.claims.axes[name]
        return CropGap(
            output=claim.original,
            size=[given[name].shape[dims[axis]] for axis in sorted(dims)],
            max=float(gaps.max()),
            mean=total / gaps.size,
            reference=reference,
            map=gaps.tolist(),
        )

    def _cropped(self, name: str, array: Array, claim: MapClaim, at: Mapping[int, int]) -> Array:
        dims = {dim: axis for axis, dim in self.claims.axes.get(name, {}).items()}
        cut = [slice(None)] * array.ndim
        for dim, axis in dims.items():
            start = at[axis] // claim.every[axis] * claim.periods[axis] if axis in at else 0
            cut[dim] = slice(start, start + self.base[name][dim])
        return np.ascontiguousarray(array[tuple(cut)])

    def check_crops(self, crops: Sequence[CropGap]) -> Check:
        """Without padding a cell is the original on its crop; with padding the gap is told, and no fault."""
        padded = {claim.original: claim.padded for claim in self.claims.maps}
        for gap in crops:
            difference, why = self._result(self.cropped[gap.output])
            if not padded[gap.output] and difference.verdict == "fail":
                return Check(name="crops", verdict="fail", detail=f"though nothing pads, {why}")
        said = "; ".join(f"{gap.output}: max {gap.max:.3g}, mean {gap.mean:.3g}" for gap in crops)
        return Check(name="crops", verdict="pass" if crops else "skipped", detail=said)


def _named(difference: OutputDifference, name: str) -> OutputDifference:
    return msgspec.structs.replace(difference, output=name)
