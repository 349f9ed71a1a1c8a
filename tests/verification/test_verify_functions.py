"""Layers in model-local functions: each call is followed, and what one call reveals is compared with the function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import PARTED, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, parser

HEADER = '<ir_version: 8, opset_import: ["" : 17, "local" : 1]> '
CALLS = "g (float[N,3,2,2] x) => (float[N,6] y) { f = Relu(x) [one] a = local.Head<scale=0.5>(f, W, b) "
CALLS += "s = Sigmoid(x) [two] c = local.Head<scale=0.25>(s, W, b) y = Add(a, c) } "
BEFORE = """<opset_import: ["" : 17], domain: "local">
Head<scale>(v, w, b) => (out) { flat = Flatten(v) [fc] d = Gemm<transB=1>(flat, w, b) out = Elu<alpha:float=@scale>(d) }
"""
AFTER = """<opset_import: ["" : 17], domain: "local">
Head<scale>(v, w, b) => (out) {
    k = Constant<value_ints=[6, 3, 2, 2]>() w4 = Reshape(w, k) [fc] d_conv = Conv(v, w4, b)
    e = Elu<alpha:float=@scale>(d_conv) out = Flatten(e)
}
"""


def built(function: str, calls: str = CALLS) -> ModelProto:
    made = parser.parse_model(HEADER + calls + function)
    weights: dict[str, NDArray[Any]] = {"W": random((6, 12), 0), "b": random((6,), 1)}
    made.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in weights.items())
    return made


def test_a_function_that_was_converted_in_place() -> None:
    result = verify(built(BEFORE), built(AFTER), True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert result.verdict == "proved"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[6, 3, 2, 2]>() w4 = Reshape(w, k)", "[6, 2, 2, 3]>() h = Reshape(w, k) w4 = Transpose<perm=[0,3,1,2]>(h)"),
        ("Conv(v, w4, b)", "Conv(v, w4)"),
        ("alpha:float=@scale", "alpha:float=0.5"),
        ("w4 = Reshape(w, k)", "w3 = Reshape(w, k) w4 = Transpose<perm=[0,1,3,2]>(w3)"),
    ],
)
def test_a_fault_in_a_function_is_contradicted(old: str, new: str) -> None:
    assert old in AFTER
    assert verdicts(verify(built(BEFORE), built(AFTER.replace(old, new)), True))["exact"] in PARTED


def test_a_function_that_is_declared_in_another_way_is_another_structure() -> None:
    other = built(BEFORE.replace("(v, w, b)", "(v, w, b, u)"))
    assert verdicts(verify(built(BEFORE), other, True))["structure"] == "differs"


def test_an_input_that_a_call_leaves_out() -> None:
    calls = CALLS.replace("W, b)", "W)")
    result = verify(built(BEFORE, calls), built(AFTER, calls), True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert np.isfinite(result.outputs[0].max_abs_difference or 0.0)
