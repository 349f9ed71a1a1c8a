"""Converts a random model and says what is wrong with the result, if anything."""

from __future__ import annotations

from dataclasses import dataclass

from execute import difference, feeds, run
from onnx import ModelProto, checker
from onnx.shape_inference import InferenceError
from onnxruntime.capi import onnxruntime_pybind11_state as errors

import fc2conv

from .strategies import RandomModel, random_graph

TOLERANCE = 1e-3  # a fault of layout is of the order of 1; rounding through a norm may reach 1e-4
SCOPES = ("spatial", "all")


@dataclass(frozen=True)
class Verdict:
    """What became of one model: a fault ("" for none), and how many layers were converted and kept."""

    fault: str
    converted: int = 0
    kept: int = 0


def judge(random_model: RandomModel, scope: str) -> Verdict:
    """Converts the model and compares it with the original, at every batch at which the original runs."""
    model = random_model.model
    options = fc2conv.Options(scope=scope, verify=False)  # type: ignore[arg-type]
    conversion = fc2conv.convert(model, options=options)
    converted = conversion.model
    try:
        checker.check_model(converted, full_check=True)
    except (checker.ValidationError, InferenceError) as error:
        return Verdict(f"invalid: {error}")
    fault = _first_difference(random_model, converted)
    return Verdict(fault, len(conversion.report.converted), len(conversion.report.kept))


def _first_difference(random_model: RandomModel, converted: ModelProto) -> str:
    batches = {random_model.batch, 1, random_model.batch + 1} if random_model.dynamic else {random_model.batch}
    for batch in sorted(batches):
        inputs = feeds(random_model.model, {"N": batch})
        try:
            expected = run(random_model.model, inputs)
        except (errors.Fail, errors.InvalidArgument, errors.RuntimeException):
            if batch == random_model.batch:
                raise
            continue
        distance = difference(expected, run(converted, inputs))
        if distance > TOLERANCE:
            return f"wrong: {distance:.3g} at batch {batch}"
    return ""


def judge_seed(seed: int, scope: str) -> Verdict:
    """As `judge`, with a crash told as a fault too."""
    try:
        return judge(random_graph(seed), scope)
    except Exception as error:  # noqa: BLE001  a fuzzer reports whatever happens
        return Verdict(f"crash: {type(error).__name__}: {error}")
