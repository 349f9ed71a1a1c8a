"""Layers in other forms (batched, Einsum, side by side) whose weights are integers or half floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typed import (
    MAP,
    C,
    H,
    K,
    M,
    W,
    assert_equal,
    attributes,
    converted,
    floats,
    integers,
    kernels,
    model,
    only,
    scales,
)


@pytest.mark.parametrize("form", ["per_tensor", "blocked", "half"])
def test_batched_weights(form: str) -> None:
    """A matrix for each of four groups, in integers or half floats: a grouped convolution."""
    nodes = {
        "per_tensor": "d = DequantizeLinear (w, s)",
        "blocked": "d = DequantizeLinear <axis = 1, block_size = 3> (w, s)",
        "half": "d = Cast <to = 1> (w)",
    }
    text = f"graph (float[N,4,2,6] x) => (float[N,4,2,{M}] y) {{ {nodes[form]}\n [fc] y = MatMul (x, d) }}"
    arrays: dict[str, Any] = {"w": integers((4, 6, M), np.int8)}
    if form == "half":
        arrays = {"w": floats((4, 6, M), np.float16)}
    else:
        arrays["s"] = np.float32(0.02) if form == "per_tensor" else np.abs(floats((4, 2, M))) * np.float32(0.01)
    original = model(text, arrays, 21)
    result, report = converted(original, scope="all")
    assert isinstance(kernels(report)["fc"], list) or form == "blocked"
    assert_equal(original, result, 1e-6)


def test_an_einsum_with_a_quantized_weight() -> None:
    text = f"""graph (float[{MAP}] x) => (float[N,{M},{H},{W}] y)
    {{ d = DequantizeLinear <axis = 1> (w, s)
       [fc] y = Einsum <equation = "nchw,cm->nmhw"> (x, d) }}"""
    original = model(text, {"w": integers((C, M), np.int8), "s": scales(M)})
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    assert attributes(only(result, "DequantizeLinear"))["axis"] == 0
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("quantized", [True, False], ids=["integers", "half"])
def test_branches_of_unequal_extents(quantized: bool) -> None:
    nodes = "d = DequantizeLinear <axis = 0> (w, s)" if quantized else "d = Cast <to = 1> (w)"
    text = f"""graph (float[{MAP}] x, float[N,{C},1,2] z) => (float[N,{M}] y)
    {{ a = Flatten (x)
       b = Flatten (z)
       c = Concat <axis = 1> (a, b)
       {nodes}
       [fc] y = Gemm <transB = 1> (c, d) }}"""
    shape = (M, K + 2 * C)
    arrays = {"w": integers(shape, np.int8), "s": scales(M)} if quantized else {"w": floats(shape, np.float16)}
    original = model(text, arrays)
    result, report = converted(original, scope="all")
    assert not report.kept
    assert_equal(original, result, 1e-6)
