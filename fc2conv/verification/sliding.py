"""The proof of a sliding model: its claims, written as a model, hold in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.sliding import CropGap
from fc2conv.report.verification import Check, OutputDifference, Verdict
from fc2conv.verification import expected, feeds, placements
from fc2conv.verification.drafts import Shape
from fc2conv.verification.exact.result import Exact
from fc2conv.verification.networks import Images, Network, Pairs, Values, known_shapes
from fc2conv.verification.numeric import judged
from fc2conv.verification.pair import skipped
from fc2conv.verification.placements import Modes
from fc2conv.verification.recorded import identity
from fc2conv.verification.runtime import RefusedError, Session, room_for_feeds
from fc2conv.verification.spec import Claims
from fc2conv.verification.trials import run_models

_MOST_TRIED = 1 << 12
_STRIDE = 32
"""An image that grows by this many pixels is padded as before, where padding depends on the rest modulo a stride."""


class Shown(msgspec.Struct, frozen=True):
    """The checks `training size`, `windows` and `crops`, the differences of all outputs, and the gaps to crops."""

    checks: list[Check]
    outputs: list[OutputDifference] = []
    crops: list[CropGap] = []


def prove(
    original: ModelFile,
    sliding: ModelFile,
    claims: Claims,
    options: VerifyOptions,
    crops: bool = False,
    modes: Modes | None = None,
) -> Shown:
    """Prove a sliding model by its claims; `crops` asks for the gap to crops as well.

    The model of `modes` is compared with the sliding one, which is then the plain one.
    """
    proof = _Proof(original, sliding, claims, options)
    checks = [proof.training()]
    wrong = checks[0].verdict is Verdict.DIFFERS
    checks.append(skipped("windows", "see above") if wrong else proof.windows())
    gaps: list[CropGap] = []
    try:
        if crops:
            gaps = proof.crops()
            checks.append(_gaps(gaps, claims))
    except RefusedError as error:
        checks.append(Check(name="crops", verdict=Verdict.INCONCLUSIVE, detail=str(error)))
    if modes is not None:
        checks.append(proof.placement(modes))
    return Shown(checks, proof.outputs, gaps)


def _gaps(gaps: Sequence[CropGap], claims: Claims) -> Check:
    """Report what was measured of each map, and the maps of which nothing was."""
    said = [f"{gap.output}: max {gap.max:.3g}, mean {gap.mean:.3g}" for gap in gaps]
    measured = {gap.output for gap in gaps}
    missing = [claim.original for claim in claims.maps if claim.original not in measured]
    said += [f"no crops of {', '.join(missing)}"] if gaps and missing else []
    return Check(name="crops", verdict=Verdict.AGREES if gaps else Verdict.SKIPPED, detail="; ".join(said))


class _Proof:
    """A sliding network and its original, and what was compared of them."""

    def __init__(self, original: ModelFile, sliding: ModelFile, claims: Claims, options: VerifyOptions) -> None:
        kinds = ("training size", "windows", "cells", "pixels")
        named = {f"{name} ({what})": rtol for name, rtol in options.per_output.items() for what in kinds}
        self.options = replace(options, per_output=named, load_inputs=())
        self.original, self.sliding, self.claims = original, sliding, claims
        self.by_size = _pads_by_size(self.original.model)
        self.network = Network(self.sliding, self.claims, options.input_shapes, _STRIDE if self.by_size else 1)
        self.key = repr((identity(self.original), identity(self.sliding))).encode()
        self.maps = [claim.original for claim in self.claims.maps]
        self.partly = {claim.original for claim in self.claims.maps if {*claim.windowed} < claim.periods.keys()}
        self.outputs: list[OutputDifference] = []

    def _pairs(self, name: str, outputs: Sequence[str], network: Network | None = None, label: str = "") -> Pairs:
        return Pairs(name, label or name, network or self.network, self.options, self.key, outputs)

    def _checked(self, found: Pairs) -> Check:
        check = found.check()
        self.outputs += found.differences.values()
        return check

    def training(self) -> Check:
        """Check that each map is the original's output at the training size."""
        found = self._pairs("training size", self.maps)
        pair = expected.at_training(self.original, self.sliding, self.claims)
        found.add(pair, self.claims.inputs, one_batch=False)
        return self._checked(found)

    def windows(self) -> Check:
        """Check on larger images that each cell of a map is the original's head on its window, and answers beside maps.

        Where there is no head after the padding, a map may be what the original itself makes of a larger image, or of
        crops of one.
        """
        found = self._pairs("windows", self.maps)
        for images in self.network.larger():
            values = self.network.values(images)
            sizes, why = known_shapes(values), self._unsized(values)
            if why and found.exacts:
                continue  # a size that is no multiple of the stride does not suit every network
            if why:
                found.fault(Verdict.INCONCLUSIVE, [why])
                break
            pair = expected.on_windows(self.original, self.sliding, self.claims, sizes)
            if self.partly.intersection(pair.cells):
                self._alone(found, self._partly(pair, sizes), images)
            elif pair.found.model.graph.output:
                found.add(pair, images)
            count = len(pair.cells)
            said = [f"{sum(pair.cells.values())} cells of {count} head{'s' * (count > 1)}"] if count else []
            if set(self.maps) - pair.cells.keys():
                said += self._whole(found, images, sizes)
            found.said += [f"{', '.join(said)} on {self.network.described(images)}"] if said else []
            found.fault(Verdict.DIFFERS, self.network.other_sizes(values, images))
            found.fault(Verdict.INCONCLUSIVE, self.network.beyond(values))
        return self._checked(found)

    def _whole(self, found: Pairs, images: Images, sizes: Mapping[str, Shape]) -> list[str]:
        """Compare maps without windows with what the original makes of the larger image, which may be another map."""
        before, own = (known_shapes(self.network.values(each, self.original)) for each in (self.claims.inputs, images))
        own = {name: size for name, size in own.items() if size != before.get(name)}
        files = self.original, self.sliding, self.claims, sizes
        ways = (expected.on_larger(*files, own, held) for held in ({}, self.claims.held))
        pairs = [*islice((pair for pair in ways if pair.cells), 1)]
        known = found.compared.union(*(pair.compared for pair in pairs))
        pairs.append(expected.on_crops(*files, [name for name in self.maps if name not in known]))
        taken = (pair for pair in pairs if pair.cells and self._alone(found, [pair], images))
        return [f"{sum(pair.cells.values())} cells of {', '.join(pair.cells)}" for pair in taken]

    def _partly(self, pair: expected.Expected, sizes: Mapping[str, Shape]) -> Iterator[expected.Expected]:
        """Yield a pair whose windows move along some axes, and the pair whose windows take all of the other axes."""
        yield pair
        yield expected.on_windows(self.original, self.sliding, self.claims, sizes, whole=True)

    def _alone(self, found: Pairs, ways: Iterable[expected.Expected], images: Images) -> bool:
        """Add a comparison with what the original makes of a larger image; leave it open where that is another map.

        Return whether one of several ways to write the pair is accepted: one is enough.
        """
        before = False
        for pair in ways:
            before = found.compared.issuperset(pair.compared)
            alone = self._pairs("windows", pair.compared)
            alone.add(pair, images)
            if alone.check().verdict.accepted:
                found.take(alone)
                return True
        if not (before and self.by_size):
            # else it was the same on an image that is padded as that of the training size
            found.fault(Verdict.INCONCLUSIVE, ["nothing compared: the original makes another map of a larger image"])
        return False

    def _unsized(self, values: Values) -> str:
        """Name a map, or a value from which windows are cut, whose shape is not known; "" where all are known."""
        names = [name for claim in self.claims.maps for name in (claim.name, *(f.name for f in claim.features))]
        missing = next((name for name in names if name not in values or values[name].shape is None), None)
        return "" if missing is None else f"the shape of {missing} is not known"

    def _fed(self, images: Images) -> feeds.Feeds:
        """Make numbers for one run on images of this size."""
        with room_for_feeds():
            fill = next(feeds.fills(self.original, self.options.val_range))
            return feeds.feeds(self.sliding.model, self.network.fed(images), fill, self.options.seed, 0)

    def crops(self) -> list[CropGap]:
        """Measure how far each cell on a larger image is from the original on the crop that it represents."""
        images = next(self.network.larger())
        shapes = known_shapes(self.network.values(images))
        pair = expected.on_windows(self.original, self.sliding, self.claims, shapes, crops=True)
        given = self._fed(images)
        sessions = (Session(file, providers=self.options.providers) for file in (pair.wanted, pair.found))
        one, other = (session.run(given) for session in sessions)
        name, dims = next(iter(self.claims.axes.items()))
        size = [images[name][dims[axis]] for axis in sorted(dims)]
        windowed = {claim.original: claim.windowed for claim in self.claims.maps}
        found = zip(pair.cells, one, other, strict=True)
        return [_gap(name, size, windowed[name], np.asarray(a), np.asarray(b)) for name, a, b in found]

    # ------------------------------------------------------------------ cells at other places

    def placement(self, modes: Modes) -> Check:
        """Check on two larger images that every cell of the plain map that the model has as well is the same there.

        With `same` padding there are ceil(N / stride) cells. Where nothing pads, the other cells are those of the plain
        map on the image without its first pixels, as in shift-and-stitch. A map at the size of the image is compared
        with the linear interpolation of its cells at the places that its geometry gives, by numbers.
        """
        made = Network(modes.file, modes.claims, self.options.input_shapes)
        found = self._pairs("placement", [each.output for each in modes.placements], made, "cells")
        cells = {axis: each for placement in modes.placements for axis, each in placement.axes.items()}
        between = {axis: each for axis, each in cells.items() if each.made < each.stride}
        shifts: list[dict[int, int]] = [{}]
        if between and not any(claim.padded for claim in self.claims.maps):
            shifts.append({axis: each.made for axis, each in between.items()})
            shifts.append({axis: each.stride - each.made for axis, each in between.items()})
        count = {True: 0, False: 0}
        for part in (0, 1):

            def size(name: str, axis: int, size: int, part: int = part) -> int:
                """Return a size one cell of the plain map larger than both need; for part 1 half a stride more."""
                most, runs = cells[axis].stride if axis in cells else 1, made.runs(name, axis)
                first = max(size, runs.minimum) + most + part * (most // 2 + 1)
                both = (n for n in range(first, first + _MOST_TRIED) if runs.runs(n))
                return next((n for n in both if self.network.runs(name, axis).runs(n)), first)

            images = made.resized(size)
            values = made.values(images)
            sizes = known_shapes(values)
            for moved in shifts:
                cut = {name: list(shape) for name, shape in images.items()}
                for name, axes in self.claims.axes.items():
                    for axis, dim in axes.items():
                        if axis in moved:
                            cut[name][dim] = self.network.runs(name, axis).below(cut[name][dim] - moved[axis])
                before = known_shapes(self.network.values({name: tuple(each) for name, each in cut.items()}))
                pair = placements.placed(self.sliding, modes, sizes, before, moved)
                if pair.cells:
                    found.add(pair, images)
                count[bool(moved)] += sum(pair.cells.values())
            found.fault(Verdict.DIFFERS, _counted(modes, sizes, images))
            found.fault(Verdict.DIFFERS, made.other_sizes(values, images))
            if any(each.upsampled for each in modes.placements):
                self._draw(found, modes, sizes, images)
        found.said.append(f"{count[False]} cells are those of the plain map")
        found.said += [f"{count[True]} others those of shifted images"] if count[True] else []
        return self._checked(found)

    def _draw(self, found: Pairs, modes: Modes, sizes: Mapping[str, Shape], images: Images) -> None:
        """Compare maps at the size of the image with interpolations between their cells, by numbers alone."""
        said = "what lies between cells is compared by numbers alone"
        check = Check(name="placement", verdict=Verdict.INCONCLUSIVE, detail=said)
        if self.options.only != "exact":
            pair = placements.interpolated(modes, sizes)
            atol = self.options.atol or 0.0
            options = replace(self.options, input_shapes=found.network.given(images), atol=atol)
            numeric = judged(run_models(pair.wanted, pair.found, options, brief=True))
            found.differences.update((each.output, each) for each in numeric.outputs)
            check = numeric.check
        found.exacts.append(Exact(check))
        found.numbers.append(check)


def _pads_by_size(model: ModelProto) -> bool:
    """Return whether some padding of a model is computed, or depends on the size of what is padded."""
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    kinds = {a.s for node in model.graph.node for a in node.attribute if a.name == "auto_pad"}
    pads = {name for node in model.graph.node if node.op_type == "Pad" for name in node.input[1:2]}
    return bool(kinds & {b"SAME_UPPER", b"SAME_LOWER"} or pads - given)


def _counted(modes: Modes, sizes: Mapping[str, Shape], images: Images) -> Iterator[str]:
    """Yield a line for each map that does not have the number of cells that it must have."""
    for each in modes.placements:
        for axis, cells in each.axes.items():
            size, count = images[cells.image][cells.dim], sizes[each.name][axis]
            wanted = -(-size // cells.made)
            if cells.covers and count != wanted:
                yield f"{each.output} has {count} cells along axis {axis}, and {size} pixels have {wanted}"


def _gap(name: str, size: list[int], windowed: Sequence[int], wanted: NDArray[Any], cells: NDArray[Any]) -> CropGap:
    if wanted.shape != cells.shape:
        raise RefusedError(f"{name} has the shape {list(cells.shape)}, where crops give {list(wanted.shape)}")
    apart = np.abs(wanted.astype(np.float64) - cells.astype(np.float64))
    gaps = apart.max(axis=tuple(axis for axis in range(apart.ndim) if axis not in windowed))
    reference = float(np.abs(wanted).max())
    mean, most = float(apart.mean()), float(apart.max())
    return CropGap(output=name, size=size, max=most, mean=mean, reference=reference, map=gaps.tolist())
