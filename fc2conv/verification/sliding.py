"""The proof of a sliding model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.sliding import CropGap
from fc2conv.report.types import Check, OutputDifference
from fc2conv.verification.placement import check_placement
from fc2conv.verification.runtime import RefusedError
from fc2conv.verification.spec import Claims, Placement
from fc2conv.verification.windows import OriginalRefusedError, Sliding


class Shown(msgspec.Struct, frozen=True):
    """The rungs `training size`, `windows` and `crops`, the differences of all outputs, and the gaps to crops."""

    checks: list[Check]
    outputs: list[OutputDifference] = []
    crops: list[CropGap] = []


@dataclass(frozen=True)
class Modes:
    """A model that is the sliding one with other cells: of --output-stride, --padding and --upsample."""

    file: ModelFile
    placements: Sequence[Placement]
    claims: Claims


def prove(
    original: ModelFile,
    sliding: ModelFile,
    claims: Claims,
    options: VerifyOptions,
    crops: bool,
    modes: Modes | None = None,
) -> Shown:
    """Holds a sliding model against its original, by its claims; `crops` asks for the gap to crops as well.

    With `modes` the model there is held against the sliding one.
    """
    try:
        state = Sliding(original, sliding, claims, options)
    except RefusedError as error:
        return Shown([_refused("training size", error)])
    checks: list[Check] = []
    gaps: list[CropGap] = []
    for name, work in (("training size", state.check_training), ("windows", state.check_windows)):
        try:
            checks.append(work())
        except RefusedError as error:
            checks.append(_refused(name, error))
    if crops:
        try:
            gaps = state.crops()
            checks.append(state.check_crops(gaps))
        except RefusedError as error:
            checks.append(_refused("crops", error))
    outputs = state.outputs()
    if modes is not None:
        last, more = check_placement(state, modes.file, modes.placements, modes.claims, options)
        checks.append(last)
        outputs += more
    return Shown(checks, outputs, gaps)


def _refused(name: str, error: RefusedError) -> Check:
    if isinstance(error, OriginalRefusedError):
        return Check(name=name, verdict="inconclusive", detail=f"onnxruntime does not run the original: {error}")
    return Check(name=name, verdict="fail", detail=f"onnxruntime does not run the sliding model: {error}")
