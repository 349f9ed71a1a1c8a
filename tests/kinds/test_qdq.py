"""QuantizeLinear and DequantizeLinear about a layer: a weight of integers or of 8-bit floats stays what it is."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from proving_kinds import proved
from textmodel import parse
from typed import (
    FLOAT_FC,
    MAP,
    WEIGHTS,
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
    maker,
    model,
    only,
    op_types,
    scales,
    tensor,
)

import fc2conv

ACTIVATIONS = {"int8": (np.int8, 3), "uint8": (np.uint8, 130), "int16": (np.int16, -7), "uint16": (np.uint16, 32768)}


@pytest.mark.parametrize("between", ["q", "dq"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_quantized_activations(kind: str, between: str) -> None:
    """The Flatten is between Q and DQ, or behind both; a pair of the result is behind the layer."""
    dtype, zero = ACTIVATIONS[kind]
    scale = 0.0002 if kind.endswith("16") else 0.02
    middle = "fq = Flatten (q)\n f = DequantizeLinear (fq, s, z)"
    if between == "dq":
        middle = "d = DequantizeLinear (q, s, z)\n f = Flatten (d)"
    text = f"""graph (float[{MAP}] x) => (float[N,4] y)
    {{ q = QuantizeLinear (x, s, z)
       {middle}
       [fc1] a = Gemm <transB = 1> (f, w1, b1)
       aq = QuantizeLinear (a, s2, z)
       ad = DequantizeLinear (aq, s2, z)
       [fc2] y = Gemm <transB = 1> (ad, w2) }}"""
    arrays = {"s": np.float32(scale), "s2": np.float32(3 * scale), "z": dtype(zero), "w1": floats((M, K))}
    original = model(text, arrays | {"b1": floats((M,)), "w2": floats((4, M))}, 21)
    result, report = converted(original)
    assert kernels(report) == {"fc1": [2, 2], "fc2": [1, 1]}
    assert op_types(result).count("Flatten") == 1
    assert op_types(result)[-1] == "Flatten"
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("with_zero_point", [True, False], ids=["zero_point", "symmetric"])
@pytest.mark.parametrize("per_output", [True, False], ids=["per_output", "per_tensor"])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_quantized_weights_stay_integers(kind: str, trans_b: int, per_output: bool, with_zero_point: bool) -> None:
    dtype = WEIGHTS[kind]
    stored = integers((M, K), dtype)
    axis = 0 if trans_b else 1
    along = f"<axis = {axis}>" if per_output else ""
    text = f"""{FLOAT_FC}
       d = DequantizeLinear {along} (w, s{", z" if with_zero_point else ""})
       [fc] y = Gemm <transB = {trans_b}> (f, d, b) }}"""
    shape = (M,) if per_output else ()
    zeros = np.full(shape, 3).astype(dtype)
    if per_output:
        zeros[1] = 1
    arrays = {"w": stored if trans_b else np.ascontiguousarray(stored.T), "b": floats((M,))}
    arrays |= {"s": scales(M) if per_output else np.float32(0.02)} | ({"z": zeros} if with_zero_point else {})
    original = model(text, arrays, 21)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    dequantize = only(result, "DequantizeLinear")
    assert attributes(dequantize).get("axis", 0) == 0 or not per_output
    kept = tensor(result, dequantize.input[0])
    assert kept.data_type == tensor(original, "w").data_type
    assert np.array_equal(numpy_helper.to_array(kept), stored.reshape(M, C, H, W))
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("trans_b", [0, 1])
def test_scales_along_the_features_fit_no_kernel(trans_b: int) -> None:
    text = f"""{FLOAT_FC}
       d = DequantizeLinear <axis = {1 if trans_b else 0}> (w, s)
       [fc] y = Gemm <transB = {trans_b}> (f, d) }}"""
    stored = integers((M, K), np.int8)
    original = model(text, {"w": stored if trans_b else np.ascontiguousarray(stored.T), "s": scales(K)})
    (layer,) = fc2conv.plan(original).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC209"


@pytest.mark.parametrize("form", ["scaled", "integers"])
def test_a_bias_of_integers(form: str) -> None:
    """A bias that is DequantizeLinear of int32, one scale for each output; a beta makes floats of it."""
    layer = "Gemm <transB = 1>" if form == "integers" else "Gemm <transB = 1, beta = 0.5>"
    text = f"""graph (float[{MAP}] x) => (float[N,{M}] y)
    {{ q = QuantizeLinear (x, xs, xz)
       dq = DequantizeLinear (q, xs, xz)
       f = Flatten (dq)
       d = DequantizeLinear <axis = 0> (w, s)
       c = DequantizeLinear <axis = 0> (b, bs)
       [fc] y = {layer} (f, d, c) }}"""
    arrays = {"xs": np.float32(0.02), "xz": np.uint8(120), "w": integers((M, K), np.int8), "s": scales(M)}
    arrays |= {"b": np.arange(-200, 300, 100, dtype=np.int32), "bs": scales(M)}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    if form == "integers":
        assert maker(result, only(result, "Conv").input[2]).op_type == "DequantizeLinear"
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("opset", [7, 17])
def test_pairs_of_onnxruntimes_own_domain(opset: int) -> None:
    """Its quantizer writes them where ONNX has no such type yet (16 bits below opset 21), about weights as well."""
    text = f"""graph (float[{MAP}] x) => (float[N,{M}] y)
    {{ q = com.microsoft.QuantizeLinear (x, xs, xz)
       a = com.microsoft.DequantizeLinear (q, xs, xz)
       f = Flatten (a)
       d = com.microsoft.DequantizeLinear <axis = 0> (w, s, z)
       c = com.microsoft.DequantizeLinear <axis = 0> (b, bs, bz)
       [fc] g = Gemm <transB = 1> (f, d, c)
       r = com.microsoft.QuantizeLinear (g, ys, xz)
       y = com.microsoft.DequantizeLinear (r, ys, xz) }}"""
    arrays = {"xs": np.float32(0.0002), "xz": np.uint16(32768), "w": integers((M, K), np.int8), "s": scales(M)}
    arrays |= {"z": np.zeros(M, np.int8), "b": np.arange(-200, 300, 100, dtype=np.int32), "bs": scales(M)}
    original = model(text, arrays | {"bz": np.zeros(M, np.int32), "ys": np.float32(0.0005)}, opset)
    result, report = proved(original)
    assert kernels(report) == {"fc": [H, W]}
    weight = maker(result, only(result, "Conv").input[1])
    assert (weight.domain, weight.op_type, attributes(weight)["axis"]) == ("com.microsoft", "DequantizeLinear", 0)
    assert_equal(original, result, 1e-4)


def test_a_weight_in_four_bits_of_onnxruntimes_own_domain() -> None:
    """QuantizeLinear of the weight stays, if the quantizer is asked for that; no runtime runs such a node alone."""
    text = f"""{FLOAT_FC}
       q = com.microsoft.QuantizeLinear (w, s, z)
       d = com.microsoft.DequantizeLinear (q, s, z)
       [fc] y = MatMul (f, d) }}"""
    arrays = {"w": floats((K, M)), "s": np.float32(0.2), "z": np.array(7).astype(ml_dtypes.uint4)}
    result, report = proved(original := model(text, arrays))
    assert kernels(report) == {"fc": [H, W]}
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_float8_weights_stay_float8(kind: str, trans_b: int) -> None:
    stored = floats((M, K)).astype(getattr(ml_dtypes, kind))
    text = f"""{FLOAT_FC}
       d = DequantizeLinear (w, s)
       [fc] y = Gemm <transB = {trans_b}> (f, d) }}"""
    original = model(text, {"w": stored if trans_b else np.ascontiguousarray(stored.T), "s": np.float32(0.5)}, 19)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    kept = tensor(result, only(result, "DequantizeLinear").input[0])
    assert kept.data_type == tensor(original, "w").data_type
    assert numpy_helper.to_array(kept).tobytes() == stored.tobytes()
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize(
    ("turned", "stored"), [("t = Identity (z)", 1), ("t = Transpose <perm = [0, 2, 3, 1]> (z)", 2)]
)
def test_a_weight_of_two_names_is_stored_once_for_each_layout(turned: str, stored: int) -> None:
    """Exporters name a weight that layers share by an Identity; a DequantizeLinear of each kernel has its own name."""
    text = f"""graph (float[{MAP}] x, float[{MAP}] z) => (float[N,{M}] y, float[N,{M}] u)
    {{ [weight] d = DequantizeLinear (w, s, o)  i = Identity (d)  j = Identity (d)
       f = Flatten (x)  [fc1] y = MatMul (f, i)  {turned}  g = Flatten (t)  [fc2] u = MatMul (g, j) }}"""
    arrays = {"s": np.float32(0.02), "o": np.int8(0), "w": integers((K, M), np.int8)}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc1": [2, 2], "fc2": [2, 2]}
    assert op_types(result).count("DequantizeLinear") == stored
    names = [node.name for node in result.graph.node if node.name]
    assert len(names) == len(set(names))
    assert_equal(original, result, 1e-5)


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "INT4"])
def test_a_large_weight_of_packed_elements_is_permuted(kind: str) -> None:
    """A payload of 1 KiB and more whose elements share bytes is moved element by element."""
    text = """graph (float[N,64,3,4] x) => (float[N,64] y)
       { f = Flatten (x)  d = DequantizeLinear <axis = 1> (w, s)  [fc] y = MatMul (f, d) }"""
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    arrays = {"w": (integers((768, 64), np.uint8) % 2).astype(dtype), "s": scales(64)}
    original = parse(text, opset=25, ir_version=13)
    original.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    found = fc2conv.convert(original)
    assert kernels(found.report) == {"fc": [3, 4]}
    assert_equal(original, found.model, 1e-5)
