"""A sliding model of --output-stride, --padding or --upsample against the plain one of the same network, by numbers.

Three things are shown on two larger images, one of them of a size that is no multiple of the stride. Every cell of the
plain map that the other has as well is the same there, and with `same` padding there are ceil(N / stride) cells. Where
nothing pads, the other cells are those of the plain map on the image without its first pixels, as in shift-and-stitch.
A map at the size of the image is the linear interpolation of its cells at the places that its geometry gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.io.escape import counted
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, OutputDifference, Verdict
from fc2conv.verification import feeds
from fc2conv.verification.arithmetic import Arithmetic
from fc2conv.verification.compare import Pairing
from fc2conv.verification.drafts import SPACE
from fc2conv.verification.images import Sizes as Images
from fc2conv.verification.inputs import fills
from fc2conv.verification.runtime import RefusedError, Session, room_for_feeds
from fc2conv.verification.spec import Claims, Placement, Sizes

Array = NDArray[Any]
_MOST_TRIED = 1 << 12
_AT_ONCE = 32
"""How many channels are interpolated at once."""


@dataclass(frozen=True)
class Modes:
    """A model that is the sliding one with other cells: of --output-stride, --padding and --upsample."""

    file: ModelFile
    placements: Sequence[Placement]
    claims: Claims


def check_placement(
    original: ModelFile, plain: ModelFile, claims: Claims, modes: Modes, options: VerifyOptions
) -> tuple[Check, list[OutputDifference]]:
    """Compare a model with the plain sliding one, of which `claims` are."""
    try:
        state = _Placed(original, plain, claims, modes, options)
        return state.check(), state.outputs()
    except RefusedError as error:
        detail = f"onnxruntime does not run the model: {error}"
        return Check(name="placement", verdict=Verdict.DIFFERS, detail=detail), []


class _Placed:
    """Both models, open for runs."""

    def __init__(
        self, original: ModelFile, plain: ModelFile, plain_claims: Claims, modes: Modes, options: VerifyOptions
    ) -> None:
        self.original, self.plain_claims, self.options = original, plain_claims, options
        self.placements, self.claims = modes.placements, modes.claims
        self.base = Images(plain_claims, plain, options.input_shapes).shapes(plain_claims.inputs)
        self.fill = next(fills(original, options.val_range))
        watched = [each.name for each in self.placements] + [name for each in self.claims.pooled for name in each[:2]]
        self.old = _session(plain, [each.of for each in self.placements], options)
        self.new = _session(modes.file, watched, options)
        names = [each.output for each in self.placements] + [name for name, _, _ in self.claims.pooled]
        whole = Arithmetic(original.model).whole()
        self.pairings = {name: Pairing(name, arithmetic=whole) for name in names}
        self.padded = any(claim.padded for claim in plain_claims.maps)
        self.cells = self.shifted = 0

    def check(self) -> Check:
        """All of it."""
        for index, shapes in enumerate(self._sizes(), start=20):
            with room_for_feeds():
                given = feeds.feeds(self.original.model, shapes, self.options.seed, index, False, self.fill)
            found = _ran(self.new, given)
            plain = _ran(self.old, given)
            for placement in self.placements:
                pairing = self.pairings[placement.output]
                self.cells += self._compare(placement, plain, found, pairing)
                if placement.upsampled:
                    _interpolated(placement, found, pairing)
                pairing.fault = pairing.fault or self._count(placement, found, shapes)
            for name, source, kind in self.claims.pooled:
                cells = np.asarray(found[source])
                over = tuple(range(SPACE, cells.ndim))
                self.pairings[name].add((cells.mean(over) if kind == "mean" else cells.max(over)), found[name])
            for moved in () if self.padded else self._shifts():
                part = {name: _without(array, self.claims.axes.get(name, {}), moved) for name, array in given.items()}
                old = _ran(self.old, part)
                for placement in self.placements:
                    self.shifted += self._compare(placement, old, found, self.pairings[placement.output], moved)
        for pairing in self.pairings.values():
            difference, why = self._result(pairing)
            if not difference.verdict.accepted:
                return Check(name="placement", verdict=difference.verdict, detail=why)
        said = f"equal to the plain map in {counted(self.cells, 'cell')}"
        said += f", and {self.shifted} others those of shifted images" if self.shifted else ""
        return Check(name="placement", verdict=Verdict.AGREES if self.cells else Verdict.INCONCLUSIVE, detail=said)

    def outputs(self) -> list[OutputDifference]:
        """The differences of all outputs."""
        return [self._result(pairing)[0] for pairing in self.pairings.values() if pairing.dtype]

    def _result(self, pairing: Pairing) -> tuple[OutputDifference, str]:
        """As `Pairing.result`; numbers below the absolute tolerance count where the relative one holds as well."""
        found = pairing.result(self.options)
        if found[0].verdict is not Verdict.INCONCLUSIVE or not pairing.count:
            return found
        strict = pairing.result(replace(self.options, atol=0.0))
        return strict if strict[0].verdict.accepted else found

    # ------------------------------------------------------------------ images

    def _sizes(self) -> Iterator[feeds.Shapes]:
        """Images with a cell of the plain map more than both models need, and half of its stride more."""
        for part in (0, 1):
            shapes = dict(self.base)
            for name, axes in self.claims.axes.items():
                sizes = list(shapes[name])
                for axis, dim in axes.items():
                    every = [each.axes[axis].stride for each in self.placements if axis in each.axes]
                    most = max(every, default=1)
                    first = max(sizes[dim], self._runs(self.claims, name, axis).minimum) + most + part * (most // 2 + 1)
                    sizes[dim] = self._runs_in_both(name, axis, first)
                shapes[name] = tuple(sizes)
            yield shapes

    def _runs_in_both(self, name: str, axis: int, first: int) -> int:
        every = [self._runs(claims, name, axis) for claims in (self.claims, self.plain_claims)]
        tried = range(first, first + _MOST_TRIED)
        return next((size for size in tried if all(each.runs(size) for each in every)), first)

    @staticmethod
    def _runs(claims: Claims, name: str, axis: int) -> Sizes:
        return claims.sizes.get(name, {}).get(axis, Sizes())

    def _shifts(self) -> Iterator[dict[int, int]]:
        """By how many pixels images are shifted: by the stride of the map, and by as far as its cells go."""
        every = {axis: cells for placement in self.placements for axis, cells in placement.axes.items()}
        for last in (False, True):
            moved = {
                axis: cells.stride - cells.made if last else cells.made
                for axis, cells in every.items()
                if cells.made < cells.stride
            }
            if moved:
                yield moved

    # ------------------------------------------------------------------ comparisons

    def _compare(
        self,
        placement: Placement,
        old: Mapping[str, Any],
        found: Mapping[str, Any],
        pairing: Pairing,
        moved: Mapping[int, int] | None = None,
    ) -> int:
        """Compares the cells that both maps have; returns how many there are."""
        one, other = np.asarray(old[placement.of]), np.asarray(found[placement.name])
        for axis, cells in placement.axes.items():
            first, step = (moved or {}).get(axis, 0), cells.stride
            at = (first + step * np.arange(one.shape[axis])) // cells.made - cells.shift
            there = (at >= 0) & (at < other.shape[axis])
            one, other = np.compress(there, one, axis), np.take(other, at[there], axis)
        pairing.add(one, other)
        return int(np.prod(one.shape[SPACE:]))

    @staticmethod
    def _count(placement: Placement, found: Mapping[str, Any], shapes: feeds.Shapes) -> str:
        for axis, cells in placement.axes.items():
            size, count = shapes[cells.image][cells.dim], np.asarray(found[placement.name]).shape[axis]
            if cells.covers and count != -(-size // cells.made):
                return (
                    f"has {counted(count, 'cell')} along axis {axis}, and {size} pixels have {-(-size // cells.made)}"
                )
            if placement.upsampled and np.asarray(found[placement.output]).shape[axis] != size:
                return f"has not the {size} pixels of its input along axis {axis}"
        return ""


def _session(file: ModelFile, watched: Sequence[str], options: VerifyOptions) -> Session:
    given = {value.name for value in feeds.inputs(file.model)}
    return Session(file, [name for name in dict.fromkeys(watched) if name not in given], False, options.providers)


def _ran(session: Session, given: feeds.Feeds) -> dict[str, Any]:
    """All outputs of a model, what is watched in it, and what was fed."""
    return {**given, **dict(zip(session.names, session.run(given), strict=True))}


def _without(array: Array, axes: Mapping[int, int], moved: Mapping[int, int]) -> Array:
    cut = [slice(None)] * array.ndim
    for axis, dim in axes.items():
        cut[dim] = slice(moved.get(axis, 0), None)
    return np.ascontiguousarray(array[tuple(cut)])


def _interpolated(placement: Placement, found: Mapping[str, Any], pairing: Pairing) -> None:
    """Compares a map at the size of the image with its cells, each at its place."""
    every = np.asarray(found[placement.output])
    for first in range(0, every.shape[1], _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        drawn, values = every[:, part], np.asarray(found[placement.name])[:, part].astype(np.float64)
        for axis, cells in placement.axes.items():
            at = (np.arange(drawn.shape[axis]) - cells.center) / cells.made
            values = np.moveaxis(_at(np.moveaxis(values, axis, -1), at), -1, axis)
        pairing.add(values.astype(drawn.dtype), drawn)


def _at(values: Array, at: Array) -> Array:
    """The values along the last axis at fractional places, level beyond the outermost."""
    at = np.clip(at, 0, values.shape[-1] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[-1] - 1)
    return np.asarray(values[..., low] * (1 - (at - low)) + values[..., high] * (at - low))
