"""Layers in every floating point type, and what casts between two types do."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from execute import feeds, run
from onnx import ModelProto
from proving_kinds import proved
from typed import (
    MAP,
    C,
    H,
    K,
    M,
    W,
    assert_equal,
    assert_equal_by_reference,
    converted,
    floats,
    kernels,
    model,
    op_types,
)

FLOATS = {"float16": np.float16, "float": np.float32, "double": np.float64, "bfloat16": ml_dtypes.bfloat16}


def floating(name: str, opset: int = 17) -> ModelProto:
    """Two layers, a bias and an activation in one element type."""
    dtype = FLOATS[name]
    text = f"""graph ({name}[{MAP}] x) => ({name}[N,4] y)
    {{ f = Flatten (x)
       [fc1] a = Gemm <transB = 1> (f, w1, b1)
       r = Relu (a)
       [fc2] m = MatMul (r, w2)
       y = Add (m, b2) }}"""
    arrays = {"w1": floats((M, K), dtype), "b1": floats((M,), dtype), "w2": floats((M, 4), dtype)}
    return model(text, arrays | {"b2": floats((4,), dtype)}, opset)


@pytest.mark.parametrize(("name", "tolerance"), [("float", 1e-6), ("float16", 4e-3)])
def test_types_that_onnxruntime_convolves(name: str, tolerance: float) -> None:
    original = floating(name)
    result, report = converted(original)
    assert kernels(report) == {"fc1": [2, 2], "fc2": [1, 1]}
    assert {t.data_type for t in result.graph.initializer} == {t.data_type for t in original.graph.initializer}
    assert_equal(original, result, tolerance)


@pytest.mark.parametrize(("name", "tolerance"), [("double", 1e-14), ("bfloat16", 0.03)])
def test_types_that_onnxruntime_does_not_convolve(name: str, tolerance: float) -> None:
    original = floating(name, 22)
    same, report = converted(original)
    assert kernels(report) == {"fc1": "FC401", "fc2": "FC401"}
    assert same == original

    result, report = converted(original, force=True)
    assert kernels(report) == {"fc1": [2, 2], "fc2": [1, 1]}
    assert "Gemm" not in op_types(result)
    assert_equal_by_reference(original, result, tolerance)


def test_no_convolution_where_the_operator_set_has_none_in_the_type() -> None:
    """Conv takes bfloat16 from opset 22 on: before, not even --force makes one."""
    original = floating("bfloat16", 17)
    same, report = converted(original, force=True)
    assert set(kernels(report).values()) <= {"FC401", "FC204"}
    assert same == original


@pytest.mark.parametrize("scale", [0.1, 1 / 3])
def test_alpha_and_beta_in_float64(scale: float) -> None:
    text = f"""graph (double[{MAP}] x) => (double[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = Gemm <transB = 1, alpha = {scale:.9f}, beta = -{scale:.9f}> (f, w, b) }}"""
    original = model(text, {"w": floats((M, K), np.float64), "b": floats((M,), np.float64)})
    result, _ = converted(original, force=True)
    assert_equal_by_reference(original, result, 1e-7)


@pytest.mark.parametrize("flatten_first", [True, False])
def test_casts_between_a_conv_and_a_layer(flatten_first: bool) -> None:
    steps = "f = Flatten (c)\n h = Cast <to = 10> (f)" if flatten_first else "g = Cast <to = 10> (c)\n h = Flatten (g)"
    text = f"""graph (float[N,2,{H},{W}] x) => (float[N,4] y)
    {{ c = Conv <kernel_shape = [1, 1]> (x, k)
       {steps}
       [fc1] a = Gemm <transB = 1> (h, w1)
       b = Cast <to = 1> (a)
       [fc2] y = Gemm <transB = 1> (b, w2) }}"""
    arrays = {"k": floats((C, 2, 1, 1)), "w1": floats((M, K), np.float16), "w2": floats((4, M))}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc1": [2, 2], "fc2": [1, 1]}
    assert op_types(result) == ["Conv", "Cast", "Conv", "Cast", "Conv", "Flatten"]
    assert_equal(original, result, 4e-3)


def test_a_bias_of_minus_infinity() -> None:
    """As a class has that is never chosen; a sum and such a constant are one function, whatever makes the sum."""
    text = f"""graph (float[{MAP}] x) => (float[N,{M}] y, float[N,{M}] z)
    {{ f = Flatten (x)  [fc1] y = Gemm <transB = 1> (f, w, b)  [fc2] m = MatMul (f, v)  z = Add (m, c) }}"""
    arrays = {"w": floats((M, K)), "v": floats((K, M)), "b": floats((M,)), "c": floats((M,))}
    arrays["b"][1] = arrays["c"][3] = -np.inf
    original = model(text, arrays)
    result, report = proved(original)
    assert kernels(report) == {"fc1": [H, W], "fc2": [H, W]}
    before, after = (run(each, feeds(original, {"N": 2})) for each in (original, result))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
