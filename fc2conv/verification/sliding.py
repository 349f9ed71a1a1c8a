"""The proof of a sliding model."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fc2conv.errors import InputError
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.sliding import CropGap
from fc2conv.report.verification import Check, OutputDifference, Verdict
from fc2conv.verification.feeds import Feeds
from fc2conv.verification.runtime import RefusedError, Session
from fc2conv.verification.spec import Claims
from fc2conv.verification.windows import OriginalRefusedError, Sliding


class Shown(msgspec.Struct, frozen=True):
    """The rungs `training size`, `windows` and `crops`, the differences of all outputs, and the gaps to crops."""

    checks: list[Check]
    outputs: list[OutputDifference] = []
    crops: list[CropGap] = []


def one_output(file: ModelFile, given: Feeds, output: str) -> NDArray[Any]:
    """One output of a model on these inputs; raises InputError where onnxruntime refuses."""
    try:
        (found,) = Session(file).run(given, [output])
    except RefusedError as error:
        raise InputError(f"onnxruntime does not run the model: {error}", "check the model and its input") from None
    return np.asarray(found)


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
    if isinstance(error, OriginalRefusedError):
        return Check(name=name, verdict=Verdict.INCONCLUSIVE, detail=f"onnxruntime does not run the original: {error}")
    return Check(name=name, verdict=Verdict.DIFFERS, detail=f"onnxruntime does not run the sliding model: {error}")
