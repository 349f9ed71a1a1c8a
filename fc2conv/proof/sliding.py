"""The proof of a sliding model."""

from __future__ import annotations

import msgspec

from fc2conv.claims import Claims
from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof.runtime import RefusedError
from fc2conv.proof.windows import Sliding
from fc2conv.report.sliding import CropGap
from fc2conv.report.types import Check, OutputDifference


class Shown(msgspec.Struct, frozen=True):
    """The rungs `training size`, `windows` and `crops`, the differences of all outputs, and the gaps to crops."""

    checks: list[Check]
    outputs: list[OutputDifference] = []
    crops: list[CropGap] = []


def prove(original: ModelFile, sliding: ModelFile, claims: Claims, options: VerifyOptions, crops: bool) -> Shown:
    """Holds a sliding model against its original, by its claims; `crops` asks for the gap to crops as well."""
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
    return Shown(checks, state.outputs(), gaps)


def _refused(name: str, error: RefusedError) -> Check:
    return Check(name=name, verdict="fail", detail=f"onnxruntime does not run the sliding model: {error}")
