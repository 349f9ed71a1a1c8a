"""A damaged model as it runs, in onnxruntime or in the reference evaluator, on seeded inputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from execute import Array
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

MAX_ELEMENTS = 100_000
"""Elements of an input beyond which a mutant is not run."""

Runner = Callable[[Mapping[str, Array]], list[Any]]


def attempted(runner: Callable[[Path], Runner], path: Path, inputs: Mapping[str, Array]) -> list[Any] | None:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return runner(path)(inputs)
    except Exception:  # noqa: BLE001  a mutant that does not run is nothing to compare
        return None


def optimized(path: Path) -> Runner:
    return in_onnxruntime(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)


def in_onnxruntime(path: Path, level: Any = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL) -> Runner:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))  # type: ignore[no-any-return]


def in_reference(path: Path) -> Runner:
    evaluator = ReferenceEvaluator(onnx.load(path))
    return lambda inputs: evaluator.run(None, dict(inputs))  # type: ignore[no-any-return]


def feeds(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, Array] | None:
    """Seeded inputs; None where an input is no tensor, or its shape is not to be made."""
    given = {tensor.name for tensor in model.graph.initializer}
    arrays = {}
    for number, value in enumerate(model.graph.input):
        if value.name in given:
            continue
        kind = value.type.tensor_type
        shape = [
            dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param, sizes.get("*", 2))
            for dim in kind.shape.dim
        ]
        if not value.type.HasField("tensor_type") or min(shape, default=1) < 0 or math.prod(shape) > MAX_ELEMENTS:
            return None
        try:
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        except KeyError:
            return None
        draw = np.random.default_rng([0, number])
        if dtype.kind == "O":
            return None
        if dtype.kind in "biu":
            arrays[value.name] = draw.integers(0, 2 if dtype.kind == "b" else 4, shape).astype(dtype)
        else:
            arrays[value.name] = np.asarray(draw.standard_normal(shape)).astype(dtype)
    return arrays
