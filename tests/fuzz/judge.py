"""Converts a random model and says what is wrong with the result, if anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from execute import difference, feeds, run
from onnx import ModelProto, checker
from onnx.shape_inference import InferenceError
from onnxruntime.capi import onnxruntime_pybind11_state as errors

import fc2conv
from fc2conv.errors import ExitCode, Fc2convError

from .builder import RandomModel
from .graphs import random_graph
from .options import random_options, same_signature

TOLERANCE = 1e-3  # a fault of layout is of the order of 1; rounding through a norm may reach 1e-4
ROUNDING = 1e-6  # of a mean that is almost zero, which is nothing beside the values that it is of
STEP = 0.05  # where activations are quantized, a rounding error may become a whole step of one element
_SPREAD = 10
"""So many times what the original moves by itself is rounding: a chain of layers rounds more often than its inputs."""
SCOPES = ("spatial", "all")


FAULTS = ("wrong", "invalid", "crash", *(f"exit {code.value}" for code in ExitCode if code is not ExitCode.DONE))
"""What a fault begins with; a number is that with which the command would have ended."""
UNRUN = "unrun"
"""What is said in place of a fault where onnxruntime does not run the original, so that nothing is compared."""


@dataclass(frozen=True)
class Verdict:
    """What became of one model: a fault ("" for none), how many layers were converted, and why others were kept."""

    fault: str
    converted: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return sum(self.codes.values())


def judge(random_model: RandomModel, options: fc2conv.Options) -> Verdict:
    """Converts the model and compares it with the original, at every batch at which the original runs.

    A refusal of the proof is a fault, and so is a usage error or that of an input where no option asks for one.
    """
    model = random_model.model
    try:
        conversion = fc2conv.convert(model, options=options)
    except Fc2convError as error:
        asked = error.exit_code in (ExitCode.USAGE, ExitCode.INPUT) and options != _plain(options.scope, options.verify)
        return Verdict("" if asked else f"exit {error.exit_code.value}: {error}")
    converted = conversion.model
    try:
        checker.check_model(converted, full_check=True)
    except (checker.ValidationError, InferenceError) as error:
        return Verdict(f"invalid: {error}")
    fault = _first_difference(random_model, converted) if same_signature(options) else ""
    kept = Counter(layer.reason.code for layer in conversion.report.kept if layer.reason is not None)
    return Verdict(fault, len(conversion.report.converted), kept)


def _first_difference(random_model: RandomModel, converted: ModelProto) -> str:
    for batch in _batches(random_model):
        inputs = feeds(random_model.model, {"N": batch})
        try:
            expected = run(random_model.model, inputs)
        except (errors.Fail, errors.InvalidArgument, errors.RuntimeException) as error:
            if batch == random_model.batch:
                return f"{UNRUN}: {error}"
            continue
        if batch != random_model.batch and not all(array.size for array in expected):
            continue  # onnxruntime has a MatMul of nothing, and no Conv of nothing
        found = run(converted, inputs)
        apart = [pair for pair in zip(expected, found, strict=True) if not _close(*pair)]
        distance = max((difference([one], [other]) for one, other in apart), default=0.0)
        if distance > (STEP if random_model.quantized else TOLERANCE) and distance > _SPREAD * _moved(
            random_model.model, inputs, expected
        ):
            return f"wrong: {distance:.3g} at batch {batch}"
    return ""


def _close(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether results part by rounding alone, whatever their size."""
    alike = expected.dtype == found.dtype and expected.shape == found.shape
    atol = ROUNDING if expected.dtype.kind == "f" else 0
    return alike and np.allclose(expected, found, rtol=0, atol=atol, equal_nan=True)


def _moved(model: ModelProto, inputs: Mapping[str, np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """How far the original itself moves where each of its inputs moves by one unit in the last place."""
    floats = {name: value for name, value in inputs.items() if value.dtype.kind == "f"}
    moved = {name: np.nextafter(value, np.full_like(value, np.inf)) for name, value in floats.items()}
    return difference(expected, run(model, {**inputs, **moved}))


def _batches(random_model: RandomModel) -> list[int]:
    batch = random_model.batch
    if not random_model.dynamic:
        return [batch]
    if any(node.op_type in ("Einsum", "PRelu") for node in random_model.model.graph.node):
        # These broadcast over the batch where either side has size 1, and mean something else there.
        return [batch, batch + 1] if batch > 1 else [batch]
    return sorted({batch, 1, batch + 1})


def judge_seed(seed: int, scope: str, *, verify: bool = False, optioned: bool = False) -> Verdict:
    """As `judge_whole`, for the model of a seed, with options of that seed as well if it is `optioned`."""
    model = random_graph(seed)
    options = replace(random_options(seed, model.batch, scope), verify=verify) if optioned else _plain(scope, verify)
    return judge_whole(model, options)


def _plain(scope: str, verify: bool) -> fc2conv.Options:
    return fc2conv.Options(scope=scope, verify=verify)  # type: ignore[arg-type]


def judge_whole(random_model: RandomModel, options: fc2conv.Options) -> Verdict:
    """As `judge`, where an exception, with which the command ends with 70, is a fault too."""
    try:
        return judge(random_model, options)
    except Exception as error:  # noqa: BLE001  a fuzzer reports whatever happens
        return Verdict(f"crash: {type(error).__name__}: {error}")
