"""Quantized products with a matrix for each head: integer convolutions in groups."""

from __future__ import annotations

import numpy as np
import pytest
from typed import assert_equal, converted, integers, kernels, model, op_types, scales

import fc2conv

EACH_HEAD = {
    "plain": ("MatMulInteger (x, w, xz, wz)", "int32", "ConvInteger"),
    "scaled": ("QLinearMatMul (x, xs, xz, w, ws, wz, ys, xz)", "uint8", "QLinearConv"),
    "to floats": ("com.microsoft.MatMulIntegerToFloat (x, w, xs, ws, xz, wz)", "float", "ConvInteger"),
}


@pytest.mark.parametrize("many", ["", "wz", "ws"])
@pytest.mark.parametrize("name", EACH_HEAD)
def test_a_matrix_for_each_head_is_a_group(name: str, many: str) -> None:
    """In as many groups as there are heads; but where each output of each matrix has a scale or zero point."""
    call, result_type, operator = EACH_HEAD[name]
    text = f"graph (uint8[N,2,4,6] x) => ({result_type}[N,2,4,5] y) {{ [fc] y = {call} }}"
    arrays = {"w": integers((2, 6, 5), np.uint8), "xz": np.uint8(120), "wz": np.uint8(131)}
    arrays |= {"xs": np.float32(0.02), "ws": np.float32(0.03), "ys": np.float32(0.7)}
    if many:
        arrays[many] = np.full((2, 1, 5), 131, np.uint8) if many == "wz" else scales(10).reshape(2, 1, 5)
    original = model(text, {each: array for each, array in arrays.items() if each in call})
    if many and many in call:
        (layer,) = fc2conv.plan(original, scope="all").sites
        assert layer.reason is not None
        assert (layer.reason.code, layer.reason.detail.split()[0]) == ("FC203", many)
        return
    result, report = converted(original, scope="all")
    assert kernels(report) == {"fc": [1, 1]}
    assert operator in op_types(result)
    assert_equal(original, result)
