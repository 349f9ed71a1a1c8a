"""Small models of every element type, and how a converted one is compared with its original: integers exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from execute import difference, feeds, run
from onnx import ModelProto, NodeProto, TensorProto, checker, numpy_helper
from onnx.reference import ReferenceEvaluator
from textmodel import parse

import fc2conv
from fc2conv.report.types import Report

Array = npt.NDArray[Any]
M, C, H, W = 5, 3, 2, 2
K = C * H * W
MAP = f"N,{C},{H},{W}"
DOMAINS = {"com.microsoft": 1}
FLOAT_FC = f"graph (float[{MAP}] x) => (float[N,{M}] y) {{ f = Flatten (x)\n"
WEIGHTS = {
    "int8": np.int8,
    "uint8": np.uint8,
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
    "int16": np.int16,
}


def integers(shape: tuple[int, ...], dtype: Any, seed: int = 0, whole: bool = False) -> Array:
    """Integers over most of the range of a type.

    int8 has half of it unless `whole`: onnxruntime adds pairs of uint8 * int8 in 16 bits on processors without VNNI,
    and saturates.
    """
    bits = {"int4": 4, "uint4": 4}.get(np.dtype(dtype).name, 8)
    low, high = (0, 1 << bits) if np.dtype(dtype).name.startswith("u") else (-(1 << (bits - 1)), 1 << (bits - 1))
    drawn = np.random.default_rng([seed, *shape]).integers(low, high, shape)
    return (drawn // 2 if dtype == np.int8 and not whole else drawn).astype(dtype)


def floats(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng([seed, 7, *shape]).standard_normal(shape)).astype(dtype)


def scales(count: int) -> Array:
    return (np.abs(floats((count,))) * 0.01 + 0.01).astype(np.float32)


def model(text: str, arrays: Mapping[str, Any], opset: int = 13) -> ModelProto:
    """The model of a text, with these initializers."""
    made = parse(text, opset=opset, ir_version=10 if opset >= 19 else 8, domains=DOMAINS)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
    return made


def converted(original: ModelProto, **options: Any) -> tuple[ModelProto, Report]:
    """What fc2conv makes of a model, unverified; it is valid and keeps its inputs and outputs."""
    checker.check_model(original, full_check=True)
    result = fc2conv.convert(original, options=fc2conv.Options(verify=False, **options))
    checker.check_model(result.model, full_check=True)
    assert list(result.model.graph.input) == list(original.graph.input)
    assert list(result.model.graph.output) == list(original.graph.output)
    return result.model, result.report


def feed(original: ModelProto, batch: int) -> dict[str, Array]:
    """Random inputs, integers over most of their range."""
    given = feeds(original, {"N": batch})
    return {
        name: integers(array.shape, array.dtype, whole=True) if array.dtype.kind in "iu" else array
        for name, array in given.items()
    }


def assert_equal(original: ModelProto, other: ModelProto, tolerance: float = 0.0) -> None:
    """Both give the same in onnxruntime: integers exactly, floats to a tolerance relative to the largest."""
    for batch in (1, 3):
        inputs = feed(original, batch)
        expected, actual = run(original, inputs), run(other, inputs)
        assert any(np.unique(each).size > 3 for each in expected), "the outputs say nothing"
        assert difference(expected, actual) <= tolerance


def assert_equal_by_reference(original: ModelProto, other: ModelProto, tolerance: float) -> None:
    """As `assert_equal`, by the reference evaluator, for what onnxruntime's CPU has not."""
    for batch in (1, 3):
        inputs = feeds(original, {"N": batch})
        expected, actual = (ReferenceEvaluator(each).run(None, inputs) for each in (original, other))
        pairs = zip(expected, actual, strict=True)
        assert difference(*zip(*((wide(a), wide(b)) for a, b in pairs), strict=True)) <= tolerance


def wide(array: Any) -> Array:
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.name == "bfloat16" else array


def kernels(report: Report) -> dict[str, list[int] | str | None]:
    """The kernel of each layer, or the reason why there is none."""
    return {layer.node: layer.kernel_shape if layer.reason is None else layer.reason.code for layer in report.sites}


def tensor(of: ModelProto, name: str) -> TensorProto:
    return next(each for each in of.graph.initializer if each.name == name)


def only(of: ModelProto, op_type: str) -> NodeProto:
    (node,) = [node for node in of.graph.node if node.op_type == op_type]
    return node


def maker(of: ModelProto, name: str) -> NodeProto:
    return next(node for node in of.graph.node if name in node.output)


def attributes(node: NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def op_types(of: ModelProto) -> list[str]:
    return [node.op_type for node in of.graph.node]
