"""Integer arithmetic: QLinearMatMul, QGemm, MatMulInteger and those that become floats, in integer convolutions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, version_converter
from typed import (
    FLOAT_FC,
    MAP,
    C,
    H,
    K,
    M,
    W,
    assert_equal,
    converted,
    floats,
    integers,
    kernels,
    model,
    op_types,
    scales,
)

import fc2conv

SIGNS = [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]
each_sign = pytest.mark.parametrize(("a", "b"), SIGNS, ids=lambda dtype: np.dtype(dtype).name)
each_width = pytest.mark.parametrize("per_output", [True, False], ids=["per_output", "per_tensor"])


def kind(dtype: Any) -> str:
    return np.dtype(dtype).name


def zero(dtype: Any, value: int) -> Any:
    """A zero point near the middle of a type's range."""
    return dtype(value + (128 if kind(dtype)[0] == "u" else 0))


def weight_of(b: Any, per_output: bool) -> dict[str, Any]:
    """A weight [K, M], its scale and its zero point."""
    many = np.full((M,) if per_output else (), zero(b, 4), b)
    return {"w": integers((K, M), b), "ws": scales(M) if per_output else np.float32(0.02), "wz": many}


@each_sign
@each_width
def test_qlinear_matmul(a: Any, b: Any, per_output: bool) -> None:
    text = f"""graph ({kind(a)}[{MAP}] x) => ({kind(a)}[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = QLinearMatMul (f, xs, xz, w, ws, wz, ys, yz) }}"""
    arrays = {"xs": np.float32(0.02), "xz": zero(a, -3), "ys": np.float32(0.7), "yz": zero(a, 5)}
    original = model(text, arrays | weight_of(b, per_output))
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert op_types(result) == ["QLinearConv", "Flatten"]
    assert_equal(original, result)


@pytest.mark.parametrize("given", ["MatMulInteger (f, w, zs)", "QLinearMatMul (f, ss, zs, w, s, z, s, xz)"])
def test_a_value_for_each_row_of_the_input_is_no_convolutions(given: str) -> None:
    """ONNX has them, and no runtime that is compared with."""
    result = "int32" if "Integer" in given else "uint8"
    text = f"graph (uint8[2,3,2,2] x) => ({result}[2,{M}] y) {{ f = Flatten (x)  [fc] y = {given} }}"
    arrays = {"w": integers((12, M), np.int8), "zs": np.array([100, 120], np.uint8), "ss": floats((2, 1))}
    arrays |= {"s": np.float32(0.1), "z": np.int8(1), "xz": np.uint8(9)}
    (layer,) = fc2conv.plan(model(text, {name: each for name, each in arrays.items() if name in given})).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC208"


@each_sign
@each_width
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_qgemm(a: Any, b: Any, per_output: bool, bias: bool) -> None:
    text = f"""graph ({kind(a)}[{MAP}] x) => ({kind(a)}[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = com.microsoft.QGemm <transB = 1> (f, xs, xz, w, ws, wz, {"b" if bias else '""'}, ys, yz) }}"""
    arrays = {"xs": np.float32(0.02), "xz": zero(a, -3), "ys": np.float32(0.7), "yz": zero(a, 5)}
    arrays |= weight_of(b, per_output) | {"w": integers((M, K), b)}
    original = model(text, arrays | ({"b": np.arange(-2000, 3000, 1000, dtype=np.int32)} if bias else {}))
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert op_types(result) == ["QLinearConv", "Flatten"]
    assert_equal(original, result)


def test_qgemm_with_a_floating_point_result_is_kept() -> None:
    text = f"""graph (uint8[{MAP}] x) => (float[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = com.microsoft.QGemm <transB = 1> (f, xs, xz, w, ws, wz) }}"""
    arrays = (
        {"xs": np.float32(0.02), "xz": np.uint8(120)} | weight_of(np.int8, False) | {"w": integers((M, K), np.int8)}
    )
    _, report = converted(model(text, arrays))
    assert kernels(report) == {"fc": "FC208"}


@pytest.mark.parametrize(("a", "b"), SIGNS[:2], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("zeros", ["none", "x", "both", "per_output"])
def test_matmul_integer(a: Any, b: Any, zeros: str) -> None:
    given = {"none": "", "x": ", xz", "both": ", xz, wz", "per_output": ", xz, wz"}[zeros]
    text = f"""graph ({kind(a)}[{MAP}] x) => (int32[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = MatMulInteger (f, w{given}) }}"""
    made = weight_of(b, zeros == "per_output")
    used = {"none": {}, "x": {"xz": zero(a, 2)}}.get(zeros, {"xz": zero(a, 2), "wz": made["wz"]})
    original = model(text, {"w": made["w"], **used})
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert op_types(result) == ["ConvInteger", "Flatten"]
    assert_equal(original, result)


@pytest.mark.parametrize("between", ["before", "behind"])
@pytest.mark.parametrize("b", [np.int8, np.uint8], ids=kind)
@each_width
def test_dynamic_quantization(b: Any, per_output: bool, between: str) -> None:
    """DynamicQuantizeLinear, MatMulInteger, Cast, Mul, Add, with the Flatten before or behind the first."""
    start = "f = Flatten (x)\n q, qs, qz = DynamicQuantizeLinear (f)"
    if between == "behind":
        start = "m, qs, qz = DynamicQuantizeLinear (x)\n q = Flatten (m)"
    text = f"""graph (float[{MAP}] x) => (float[N,4] y)
    {{ {start}
       [fc1] i = MatMulInteger (q, w, qz, wz)
       c = Cast <to = 1> (i)
       s = Mul (qs, ws)
       p = Mul (c, s)
       h = Add (p, b)
       r = Relu (h)
       [fc2] y = Gemm <transB = 1> (r, v) }}"""
    original = model(text, weight_of(b, per_output) | {"b": floats((M,)) + 3, "v": floats((4, M))})
    result, report = converted(original)
    assert kernels(report) == {"fc1": [H, W], "fc2": [1, 1]}
    assert "MatMulInteger" not in op_types(result)
    assert op_types(result).count("Flatten") == 1
    assert_equal(original, result, 1e-6)


@each_width
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_matmul_integer_to_float(per_output: bool, bias: bool) -> None:
    text = f"""graph (uint8[{MAP}] x) => (float[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = com.microsoft.MatMulIntegerToFloat (f, w, xs, ws, xz, wz{", b" if bias else ""}) }}"""
    arrays = {"xs": np.float32(0.03), "xz": np.uint8(99)} | weight_of(np.int8, per_output)
    original = model(text, arrays | ({"b": floats((M,))} if bias else {}))
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert "ConvInteger" in op_types(result)
    assert_equal(original, result, 1e-6)


@each_width
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_dynamic_quantize_matmul(per_output: bool, bias: bool) -> None:
    text = f"""{FLOAT_FC}
       [fc] y = com.microsoft.DynamicQuantizeMatMul (f, w, ws, wz{", b" if bias else ""}) }}"""
    original = model(text, weight_of(np.int8, per_output) | ({"b": floats((M,))} if bias else {}))
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert "ConvInteger" in op_types(result)
    assert_equal(original, result, 1e-6)


ROWS = f"<int64[3] rows = {{0, {C}, {H * W}}}>"
"""What makes [N, C, L] of a map."""


@pytest.mark.parametrize("layer", ["QLinearMatMul (t, xs, xz, w, ws, wz, ys, yz)", "MatMulInteger (t, w, xz, wz)"])
@each_width
def test_integer_layers_on_tokens(layer: str, per_output: bool) -> None:
    made = "uint8" if layer.startswith("Q") else "int32"
    text = f"""graph (uint8[{MAP}] x) => ({made}[N,{H * W},{M}] y) {ROWS}
    {{ r = Reshape (x, rows)
       t = Transpose <perm = [0, 2, 1]> (r)
       [fc] y = {layer} }}"""
    arrays = weight_of(np.int8, per_output) | {"w": integers((C, M), np.int8), "xz": np.uint8(120)}
    if made == "int32":
        del arrays["ws"]
    else:
        arrays |= {"xs": np.float32(0.02), "ys": np.float32(0.3), "yz": np.uint8(110)}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    assert_equal(original, result)


@pytest.mark.parametrize("layer", ["QLinearMatMul (w, ws, wz, r, xs, xz, ys, yz)", "MatMulInteger (w, r, wz, xz)"])
def test_integer_layers_with_the_weight_on_the_left(layer: str) -> None:
    made = "uint8" if layer.startswith("Q") else "int32"
    text = f"""graph (uint8[{MAP}] x) => ({made}[N,{M},{H * W}] y) {ROWS}
    {{ r = Reshape (x, rows)
       [fc] y = {layer} }}"""
    arrays = {"w": integers((M, C), np.uint8), "wz": np.uint8(99), "xz": np.uint8(120)}
    if made == "uint8":
        arrays |= {"ws": np.float32(0.02), "xs": np.float32(0.02), "ys": np.float32(0.3), "yz": np.uint8(110)}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    assert_equal(original, result)


def test_scales_and_zero_points_of_one_element_in_a_vector() -> None:
    text = f"""graph (uint8[{MAP}] x) => (uint8[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = QLinearMatMul (f, xs, xz, w, ws, wz, ys, yz) }}"""
    scalars = {"xs": np.float32(0.02), "xz": np.uint8(3), "ws": np.float32(0.02), "wz": np.int8(1)}
    scalars |= {"ys": np.float32(0.7), "yz": np.uint8(110)}
    original = model(text, {"w": integers((K, M), np.int8)} | {k: np.array([v]) for k, v in scalars.items()})
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert_equal(original, result)


INTEGER_LAYERS = {
    "qlinear": (f"uint8[{MAP}] x", "uint8", "QLinearMatMul (f, xs, xz, w, ws, wz, ys, yz)"),
    "integer": (f"uint8[{MAP}] x", "int32", "MatMulInteger (f, w, xz, wz)"),
    "to_float": (f"uint8[{MAP}] x", "float", "com.microsoft.MatMulIntegerToFloat (f, w, xs, ws, xz, wz)"),
    "dynamic": (f"float[{MAP}] x", "float", "com.microsoft.DynamicQuantizeMatMul (f, w, ws, wz)"),
}


def unlike_zeros(name: str, dtype: Any, opset: int = 13) -> ModelProto:
    """One of these layers with another zero point for each output."""
    given, made, layer = INTEGER_LAYERS[name]
    used = {"w", "ws", "wz", "xs", "xz", "ys", "yz"} & set(layer.replace(",", " ").replace(")", " ").split())
    arrays = weight_of(dtype, True) | {"wz": zero(dtype, 0) + np.arange(M, dtype=dtype)}
    arrays |= {"xs": np.float32(0.02), "xz": np.uint8(9), "ys": np.float32(0.5), "yz": np.uint8(100)}
    text = f"graph ({given}) => ({made}[N,{M}] y) {{ f = Flatten (x)\n [fc] y = {layer} }}"
    return model(text, {key: value for key, value in arrays.items() if key in used}, opset)


def test_a_rounded_sum_with_zero_points_that_differ_is_kept() -> None:
    original = unlike_zeros("qlinear", np.int8)
    same, report = converted(original)
    assert kernels(report) == {"fc": "FC210"}
    assert same == original


@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=kind)
@pytest.mark.parametrize("name", ["integer", "to_float", "dynamic"])
def test_zero_points_that_differ_are_a_sum_of_their_own(name: str, dtype: Any) -> None:
    original = unlike_zeros(name, dtype)
    proved = fc2conv.convert(original)
    assert kernels(proved.report) == {"fc": [H, W]}
    assert proved.report.verification is not None
    assert {check.name: check.verdict for check in proved.report.verification.checks}["exact"] == "proved"
    assert_equal(original, proved.model, 0.0 if name == "integer" else 1e-6)
    assert not fc2conv.convert(proved.model).report.converted


@pytest.mark.parametrize("channels", [40, 7500])
def test_a_cast_of_sums_of_many_products_is_proved(channels: int) -> None:
    """Bounds are those of the numbers in the kernels. Of 30,000 inputs those of the original tell that no sum wraps."""
    rng = np.random.default_rng(3)
    arrays = {
        "w": rng.integers(0, 256, (4 * channels, 5)).astype(np.uint8),
        "wz": np.array([3, 120, 250, 9, 77], np.uint8),
    }
    text = f"""graph (float[N,{channels},2,2] x) => (float[N,5] y)
    {{ m = Relu (x)  f = Flatten (m)  q, s, z = DynamicQuantizeLinear (f)
       [fc] p = MatMulInteger (q, w, z, wz)  c = Cast <to = 1> (p)  y = Mul (c, s) }}"""
    original = model(text, arrays)
    proved = fc2conv.convert(original)
    assert kernels(proved.report) == {"fc": [2, 2]}
    assert proved.report.verification is not None
    assert proved.report.verification.verdict == "proved"
    assert_equal(original, proved.model, 1e-6)


def changed(model: ModelProto, name: str, index: int) -> ModelProto:
    """The model with one number of an initializer larger by 1."""
    made = copy.deepcopy(model)
    tensor = next(t for t in made.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[index] += 1
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return made


def test_faults_in_the_sum_of_its_own_are_found() -> None:
    original = unlike_zeros("integer", np.uint8)
    right = fc2conv.convert(original).model
    swapped = copy.deepcopy(right)
    difference = next(node for node in swapped.graph.node if node.op_type == "Sub")
    difference.input[:] = list(reversed(difference.input))
    for wrong in (changed(right, "w_ones", 3), changed(right, "wz_each", 2), changed(right, "w", 7), swapped):
        found = fc2conv.verify(original, wrong)
        assert found.verdict == "differs"
        assert {check.name: check.verdict for check in found.checks}["exact"] != "proved"


@pytest.mark.parametrize(("name", "opset", "lacking"), [("dynamic", 10, "DynamicQuantizeLinear"), ("dynamic", 9, ""),
                                                        ("to_float", 9, "ConvInteger")])  # fmt: skip
def test_an_operator_set_without_the_convolution_is_a_reason(name: str, opset: int, lacking: str) -> None:
    original = unlike_zeros(name, np.uint8, opset)
    _, report = converted(original)
    (layer,) = report.sites
    assert layer.reason is not None
    assert layer.reason.code == "FC402"
    assert lacking in layer.reason.detail
    newer = version_converter.convert_version(original, 11)  # the remedy
    assert kernels(fc2conv.convert(newer).report) == {"fc": [H, W]}
