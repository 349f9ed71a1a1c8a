"""Operators of onnxruntime that its CPU provider has not: they are followed, and proved by their definitions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, numpy_helper
from textmodel import parse

import fc2conv

SCALES = {"s": np.float32(0.5), "z": np.uint8(3), "t": np.float32(0.25)}


def made(text: str, arrays: Mapping[str, npt.ArrayLike]) -> ModelProto:
    model = parse(text, opset=17, domains={"com.microsoft": 1})
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
    return model


UNRUN = {
    "a convolution with channels last":
        ("g = com.microsoft.NhwcConv <kernel_shape = [3, 3]> (n, k, b)  f = Flatten (g)", 32, [2, 2]),
    "one with a sum and an activation":
        ('g = com.microsoft.NhwcFusedConv <kernel_shape = [3, 3], activation = "Relu"> (n, k, b, o)  f = Flatten (g)',
         32, [2, 2]),
    "a bias and a residual": ("h = Flatten (n)  f, m = com.microsoft.BiasDropout (h, c, h)", 48, None),
    "a bias": ("h = Flatten (n)  f = com.microsoft.BiasAdd (h, c, h)", 48, None),
    "a mean of integers": ("q = QuantizeLinear (x, s, z)  r = com.microsoft.QLinearReduceMean <axes = [2, 3]> "
        "(q, s, z, t, z)  d = DequantizeLinear (r, t, z)  f = Flatten (d)", 3, None),
    "a sum of integers": ("q = QuantizeLinear (x, s, z)  r = com.microsoft.ReduceSumInteger <axes = [2, 3], "
        "keepdims = 0> (q)  f = Cast <to = 1> (r)", 3, None),
}  # fmt: skip


@pytest.mark.parametrize("name", UNRUN)
def test_operators_that_no_cpu_runs_are_followed(name: str) -> None:
    """The proof knows what they give, as it is written in their definitions."""
    body, features, kernel = UNRUN[name]
    text = f"""graph (float[N,3,4,4] x, float[N,2,2,8] o) => (float[N,5] y)
    {{ n = Transpose <perm = [0, 2, 3, 1]> (x)  {body}  [fc] y = MatMul (f, w) }}"""
    arrays = {"k": (8, 3, 3, 3), "b": (8,), "c": (48,), "w": (features, 5)}
    floats = {each: np.random.default_rng(shape).random(shape, np.float32) for each, shape in arrays.items()}
    for scope in ("spatial", "all"):
        report = fc2conv.convert(made(text, floats | SCALES), scope=scope).report
        assert [layer.kernel_shape for layer in report.sites] == [kernel or ([1, 1] if scope == "all" else None)]
        assert report.verification is None or report.verification.verdict == "proved"
