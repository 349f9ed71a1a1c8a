"""The proof of a sliding model: its claims, written as a model, hold in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fc2conv.io.escape import counted
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.sliding import CropGap
from fc2conv.report.verification import Check, OutputDifference, Verdict
from fc2conv.verification import feeds
from fc2conv.verification.drafts import SPACE
from fc2conv.verification.exact.check import Exact, check_exact
from fc2conv.verification.exact.terms import Shape, Term
from fc2conv.verification.expected import Expected, at_training, on_windows
from fc2conv.verification.images import Sizes
from fc2conv.verification.inputs import fills
from fc2conv.verification.judging import Comparison
from fc2conv.verification.numeric import run_models
from fc2conv.verification.pair import outputs_of, sizes_of
from fc2conv.verification.placement import Modes, check_placement
from fc2conv.verification.recorded import identity
from fc2conv.verification.runtime import RefusedError, Session, room_for_feeds
from fc2conv.verification.spec import Claims

_ORIGINAL = "original/"


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
    crops: bool,
    modes: Modes | None = None,
) -> Shown:
    """Prove a sliding model by its claims; `crops` asks for the gap to crops as well.

    With `modes` the model there is compared with the sliding one, which then is the plain one.
    """
    proof = _Proof(original, sliding, claims, options)
    checks = [proof.training()]
    wrong = checks[0].verdict is Verdict.DIFFERS
    checks.append(_check("windows", Verdict.SKIPPED, "see above") if wrong else proof.windows())
    gaps: list[CropGap] = []
    if crops:
        try:
            gaps = proof.crops()
            said = "; ".join(f"{gap.output}: max {gap.max:.3g}, mean {gap.mean:.3g}" for gap in gaps)
            checks.append(_check("crops", Verdict.AGREES if gaps else Verdict.SKIPPED, said))
        except RefusedError as error:
            checks.append(_check("crops", Verdict.INCONCLUSIVE, str(error)))
    outputs = proof.outputs
    if modes is not None:
        last, more = check_placement(original, sliding, claims, modes, options)
        checks, outputs = [*checks, last], [*outputs, *more]
    return Shown(checks, outputs, gaps)


def _check(name: str, verdict: Verdict, detail: str) -> Check:
    return Check(name=name, verdict=verdict, detail=detail)


class _Proof:
    """A sliding model and its original, and what was compared of them."""

    def __init__(self, original: ModelFile, sliding: ModelFile, claims: Claims, options: VerifyOptions) -> None:
        self.original, self.sliding, self.claims = original, sliding, claims
        named = {f"{name} ({what})": rtol for name, rtol in options.per_output.items()
                 for what in ("training size", "windows")}  # fmt: skip
        self.options = replace(options, per_output=named, load_inputs=())
        self.outputs: list[OutputDifference] = []
        self.key = repr((identity(original), identity(sliding))).encode()
        self.sizes = Sizes(claims, sliding, options.input_shapes)

    # ------------------------------------------------------------------ checks

    def training(self) -> Check:
        """At the training size each map is the original's output."""
        pair, images = at_training(self.original, self.sliding, self.claims), self.claims.inputs
        exact = self._exact(pair, images)
        if not exact.proved:  # numbers then look at values by name, which are maps in one model alone
            pair = at_training(self.original, self.sliding, self.claims, _ORIGINAL)
        return self._judged("training size", pair, [exact], self._numeric(pair, images, exact, exact.proved))

    def windows(self) -> Check:
        """On larger images each cell of a map is the original's head on its window; so are answers beside the maps."""
        exacts: list[Exact] = []
        seen: list[Check] = []
        numeric: Comparison | None = None
        first: Expected | None = None
        said: list[str] = []
        for images in self.sizes.larger():
            values = self.sizes.values(images)
            why = self._unsized(values)
            if why and exacts:
                continue  # a size that is no multiple of the stride does not suit every network
            if why:
                return self._run_alone(images, Verdict.INCONCLUSIVE, why)
            pair = on_windows(self.original, self.sliding, self.claims, _shapes(values))
            if not pair.found.model.graph.output:
                return self._run_alone(images, Verdict.SKIPPED, "nothing compared: no head behind the padding")
            exacts.append(self._exact(pair, images, one_batch=True))
            numeric = numeric or self._numeric(pair, images, exacts[0], brief=True)
            first = first or pair
            count = sum(pair.cells.values())
            said.append(
                f"{counted(count, 'cell')} of {counted(len(pair.cells), 'head')} on {self.sizes.described(images)}"
            )
            seen += (_check("windows", Verdict.DIFFERS, each) for each in self._other_sizes(values, images))
            seen += (_check("windows", Verdict.INCONCLUSIVE, each) for each in self.sizes.beyond(values))
        assert numeric is not None
        assert first is not None
        return self._judged("windows", first, exacts, numeric, seen, said)

    def _exact(self, pair: Expected, images: Mapping[str, Shape], one_batch: bool = False) -> Exact:
        """Prove one pair; what nodes do to a batch is looked at once, at the training size."""
        if self.options.only == "numeric":
            return Exact(_check("exact", Verdict.SKIPPED, "only numbers are asked for"))
        sizes = sizes_of(pair.wanted, None, self.sizes.given(images))
        least = min(sizes)
        return check_exact(
            pair.wanted, pair.found, {least: sizes[least]} if one_batch else sizes, self.options.seed, self.key
        )

    def _numeric(self, pair: Expected, images: Mapping[str, Shape], exact: Exact, brief: bool) -> Comparison:
        if self.options.only == "exact":
            return Comparison(_check("numeric", Verdict.SKIPPED, "only a proof is asked for"))
        options = replace(self.options, input_shapes=self.sizes.given(images))
        runs = run_models(pair.wanted, pair.found, options, (), brief and options.check_n == 1)
        return runs.judged(exact.same)

    def _judged(
        self,
        name: str,
        pair: Expected,
        exacts: Sequence[Exact],
        numeric: Comparison,
        seen: Sequence[Check] = (),
        said: Sequence[str] = (),
    ) -> Check:
        """The verdict of exact arithmetic and of what was `seen`; where those do not decide, that of the numbers."""
        self.outputs += outputs_of(pair.wanted, exacts[0], numeric, exacts[0].unseen)
        decided = [*seen, *(exact.check for exact in exacts if exact.parted or exact.unseen)]
        numbers = numeric.check
        for check in (*decided, numbers):
            if check.verdict is Verdict.DIFFERS:
                return _check(name, Verdict.DIFFERS, check.detail)
        if decided:
            return _check(name, decided[0].verdict, decided[0].detail)
        proved = all(exact.proved for exact in exacts)
        last = next((exact.check.detail for exact in exacts if not exact.proved), exacts[0].check.detail)
        detail = "; ".join(filter(None, (last, *said, "" if proved else numbers.detail)))
        open_ = Verdict.INCONCLUSIVE if numbers.verdict is Verdict.SKIPPED else numbers.verdict
        return _check(name, Verdict.PROVED if proved else open_, detail)

    def _unsized(self, values: Mapping[str, Term]) -> str:
        """A map, or a value from which windows are cut, whose shape is not known, in words; "" for none."""
        names = [name for claim in self.claims.maps for name in (claim.name, *(f.name for f in claim.features))]
        missing = next((name for name in names if name not in values or values[name].shape is None), None)
        return "" if missing is None else f"the shape of {missing} is not known"

    def _run_alone(self, images: Mapping[str, Shape], verdict: Verdict, why: str) -> Check:
        """Run the sliding model where nothing can be compared: it must run on larger images."""
        try:
            with room_for_feeds():
                given = feeds.feeds(self.sliding.model, self.sizes.shapes(images), self.options.seed, 0, False)
            Session(self.sliding, (), False, self.options.providers).run(given)
        except RefusedError as error:
            return _check("windows", Verdict.DIFFERS, f"onnxruntime does not run the sliding model: {error}")
        return _check("windows", verdict, why)

    def _other_sizes(self, values: Mapping[str, Term], images: Mapping[str, Shape]) -> Iterator[str]:
        """The outputs that are to be as large as an image and are not, in words."""
        for name, _, source in self.claims.upsampled:
            dims = self.claims.axes[source]
            wanted = tuple(images[source][dims[axis]] for axis in sorted(dims))
            shape = values[name].shape
            if shape is not None and shape[SPACE:] != wanted:
                yield f"{name} has the shape {list(shape)}, and its image {list(wanted)}"

    # ------------------------------------------------------------------ crops

    def crops(self) -> list[CropGap]:
        """Measure how far each cell on a larger image is from the original on the crop that it stands for."""
        images = next(iter(self.sizes.larger()))
        shapes = _shapes(self.sizes.values(images))
        pair = on_windows(self.original, self.sliding, self.claims, shapes, crops=True)
        with room_for_feeds():
            fill = next(fills(self.original, self.options.val_range))
            given = feeds.feeds(self.sliding.model, self.sizes.shapes(images), self.options.seed, 0, False, fill)
        one, other = (Session(file, (), False, self.options.providers).run(given) for file in (pair.wanted, pair.found))
        name, dims = next(iter(self.claims.axes.items()))
        size = [images[name][dims[axis]] for axis in sorted(dims)]
        windowed = {claim.original: claim.windowed for claim in self.claims.maps}
        found = zip(pair.cells, one, other, strict=True)
        return [_gap(name, size, windowed[name], np.asarray(a), np.asarray(b)) for name, a, b in found]


def _gap(name: str, size: list[int], windowed: Sequence[int], wanted: NDArray[Any], cells: NDArray[Any]) -> CropGap:
    if wanted.shape != cells.shape:
        raise RefusedError(f"{name} has the shape {list(cells.shape)}, where crops give {list(wanted.shape)}")
    apart = np.abs(wanted.astype(np.float64) - cells.astype(np.float64))
    gaps = apart.max(axis=tuple(axis for axis in range(apart.ndim) if axis not in windowed))
    reference = float(np.abs(wanted).max())
    mean, most = float(apart.mean()), float(apart.max())
    return CropGap(output=name, size=size, max=most, mean=mean, reference=reference, map=gaps.tolist())


def _shapes(values: Mapping[str, Term]) -> dict[str, Shape]:
    return {name: term.shape for name, term in values.items() if term.shape is not None}
