"""Every element type and every quantized kind of layer: converted and run beside the original, integers equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
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


def integers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    """Integers over most of the range of a type."""
    bits = {"int4": 4, "uint4": 4}.get(np.dtype(dtype).name, 8)
    low, high = (0, 1 << bits) if np.dtype(dtype).name.startswith("u") else (-(1 << (bits - 1)), 1 << (bits - 1))
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


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
        name: integers(array.shape, array.dtype) if array.dtype.kind in "iu" else array for name, array in given.items()
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
    return {site.node: site.kernel_shape if site.reason is None else site.reason.code for site in report.sites}


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


# ------------------------------------------------------------------ floating point

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


# ------------------------------------------------------------------ QDQ

ACTIVATIONS = {"int8": (np.int8, 3), "uint8": (np.uint8, 130), "int16": (np.int16, -7), "uint16": (np.uint16, 32768)}


@pytest.mark.parametrize("between", ["q", "dq"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_quantized_activations(kind: str, between: str) -> None:
    """The Flatten stands between Q and DQ, or behind both; a pair of the result stands behind the layer."""
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


WEIGHTS = {
    "int8": np.int8,
    "uint8": np.uint8,
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
    "int16": np.int16,
}


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
def test_scales_along_the_features_fit_a_kernel_whose_channels_they_are(trans_b: int) -> None:
    text = f"""{FLOAT_FC}
       d = DequantizeLinear <axis = {1 if trans_b else 0}> (w, s)
       [fc] y = Gemm <transB = {trans_b}> (f, d) }}"""
    stored = integers((M, K), np.int8)
    original = model(text, {"w": stored if trans_b else np.ascontiguousarray(stored.T), "s": scales(K)})
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    assert attributes(only(result, "DequantizeLinear"))["axis"] == 1
    assert_equal(original, result, 1e-6)


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


def blocked(pooled: bool, axis: int, dtype: Any, trans_b: int) -> ModelProto:
    """A weight [M, K] (or [K, M]) in blocks of 4 of the features, over a map with or without spatial extent."""
    shape = f"N,{K},1,1" if pooled else MAP
    text = f"""graph (float[{shape}] x) => (float[N,{M}] y)
    {{ f = Flatten (x)
       d = DequantizeLinear <axis = {axis}, block_size = 4> (w, s, z)
       [fc] y = Gemm <transB = {trans_b}> (f, d) }}"""
    form = [M, K] if trans_b else [K, M]
    blocks = [size // 4 if i == axis else size for i, size in enumerate(form)]
    arrays = {"w": integers(tuple(form), dtype), "s": np.abs(floats(tuple(blocks))) * np.float32(0.01) + 0.01}
    return model(text, arrays | {"z": (integers(tuple(blocks), np.uint8) % 4).astype(dtype)}, 21)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
@pytest.mark.parametrize("kind", ["int4", "uint4", "int8"])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_weights_in_blocks_of_features(pooled: bool, kind: str, trans_b: int) -> None:
    """They fit the 1x1 kernel of a frame in which all features are channels."""
    original = blocked(pooled, trans_b, WEIGHTS[kind], trans_b)
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    dequantize = only(result, "DequantizeLinear")
    assert attributes(dequantize) == {"axis": 1, "block_size": 4}
    assert tensor(result, dequantize.input[0]).data_type == tensor(original, "w").data_type
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
def test_weights_in_blocks_are_expanded_on_request(pooled: bool) -> None:
    original = blocked(pooled, 1, ml_dtypes.int4, 1)
    result, report = converted(original, expand_block_quantized=True)
    assert kernels(report) == {"fc": [1, 1] if pooled else [H, W]}
    assert "DequantizeLinear" not in op_types(result)
    assert tensor(result, only(result, "Conv").input[1]).data_type == TensorProto.FLOAT
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
def test_weights_in_blocks_of_outputs(pooled: bool) -> None:
    """M = 8 in blocks of 4, each feature with scales of its own: a 1x1 kernel, or floating point."""
    shape = f"N,{K},1,1" if pooled else MAP
    text = f"""graph (float[{shape}] x) => (float[N,8] y)
    {{ f = Flatten (x)
       d = DequantizeLinear <axis = 1, block_size = 4> (w, s)
       [fc] y = MatMul (f, d) }}"""
    original = model(text, {"w": integers((K, 8), np.int8), "s": np.abs(floats((K, 2))) * np.float32(0.01)}, 21)
    result, report = converted(original)
    assert kernels(report)["fc"] in ([1, 1], [H, W])
    assert_equal(original, result, 1e-6)


def test_one_block_and_blocks_of_one() -> None:
    """A scale [1, 1] is blocked by its rank alone, and a dimension of size 1 has blocks of 1."""
    text = """graph (float[N,1,1,1] x) => (float[N,3] y, float[N,3] u, float[N,4] z)
    { f = Flatten (x)
      d = DequantizeLinear <axis = 0, block_size = 1> (w, s)
      [fc1] y = MatMul (f, d)
      e = DequantizeLinear <axis = 1, block_size = 3> (v, t)
      [fc2] u = MatMul (f, e)
      q = DequantizeLinear <axis = 0, block_size = 3> (p, r)
      [fc3] z = MatMul (y, q) }"""
    arrays = {"w": integers((1, 3), np.int8), "s": scales(3).reshape(1, 3), "v": integers((1, 3), np.int8)}
    arrays |= {"t": scales(1).reshape(1, 1), "p": integers((3, 4), np.int8), "r": scales(4).reshape(1, 4)}
    original = model(text, arrays, 21)
    result, report = converted(original)
    assert not report.kept or {site.reason.code for site in report.kept if site.reason} == {"FC101"}
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


# ------------------------------------------------------------------ weights that nodes make


def test_a_cast_of_half_floats_is_replayed_on_the_kernel() -> None:
    text = f"{FLOAT_FC} d = Cast <to = 1> (w)\n [fc] y = MatMul (f, d) }}"
    original = model(text, {"w": floats((K, M), np.float16)})
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    cast = only(result, "Cast")
    assert only(result, "Conv").input[1] == cast.output[0]
    assert tensor(result, cast.input[0]).data_type == TensorProto.FLOAT16
    assert list(tensor(result, cast.input[0]).dims) == [M, C, H, W]
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("per_output", [True, False], ids=["per_output", "per_tensor"])
def test_a_pair_on_floats_is_replayed_on_the_kernel(per_output: bool) -> None:
    """As training-aware exports hold a weight: float -> Q -> DQ (-> Transpose)."""
    along = "<axis = 0>" if per_output else ""
    text = f"""{FLOAT_FC}
       q = QuantizeLinear {along} (w, s, z)
       d = DequantizeLinear {along} (q, s, z)
       t = Transpose <perm = [1, 0]> (d)
       [fc] y = MatMul (f, t) }}"""
    zeros = np.zeros((M,) if per_output else (), np.int8)
    arrays = {"w": floats((M, K)), "s": scales(M) if per_output else np.float32(0.02), "z": zeros}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    dequantize, quantize = only(result, "DequantizeLinear"), only(result, "QuantizeLinear")
    assert dequantize.input[0] == quantize.output[0]
    assert only(result, "Conv").input[1] == dequantize.output[0]
    assert np.array_equal(numpy_helper.to_array(tensor(result, quantize.input[0])).reshape(M, K), arrays["w"])
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("per_output", [True, False])
def test_alpha_over_quantized_weights_is_a_factor_of_the_kernel(per_output: bool) -> None:
    """Folded into the scales, alpha would be rounded otherwise than in fl(alpha * W)."""
    axis = "<axis = 0>" if per_output else ""
    text = f"""{FLOAT_FC} d = DequantizeLinear {axis} (w, s)
       [fc] y = Gemm <transB = 1, alpha = 0.3, beta = 0.7> (f, d, b) }}"""
    arrays = {"w": integers((M, K), np.int8), "s": scales(M) if per_output else np.float32(0.02), "b": floats((M,))}
    original = model(text, arrays)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert tensor(result, only(result, "DequantizeLinear").input[0]).data_type == TensorProto.INT8
    assert maker(result, only(result, "Conv").input[1]).op_type == "Mul"
    assert_equal(original, result, 1e-6)
    assert {check.name: check.verdict for check in fc2conv.verify(original, result).checks}["certificate"] == "pass"


@pytest.mark.parametrize(("alpha", "decision"), [("0.5", [H, W]), ("0.3", "FC208")])
def test_alpha_over_half_floats_that_do_not_hold_it(alpha: str, decision: list[int] | str) -> None:
    text = f"""graph (float16[{MAP}] x) => (float16[N,{M}] y)
    {{ f = Flatten (x)
       d = DequantizeLinear (w, s)
       [fc] y = Gemm <transB = 1, alpha = {alpha}> (f, d) }}"""
    original = model(text, {"w": integers((M, K), np.int8), "s": np.float16(0.02)}, opset=19)
    result, report = converted(original)
    assert kernels(report) == {"fc": decision}
    assert_equal(original, result, 1e-2)


def test_a_cast_of_dequantized_integers() -> None:
    """Integers -> DQ to float16 -> Cast to float."""
    text = f"{FLOAT_FC} d = DequantizeLinear (w, s)\n c = Cast <to = 1> (d)\n [fc] y = Gemm <transB = 1> (f, c) }}"
    original = model(text, {"w": integers((M, K), np.int8), "s": np.float16(0.01)}, 19)
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert tensor(result, only(result, "DequantizeLinear").input[0]).data_type == TensorProto.INT8
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_two_layers_share_quantized_weights(scope: str) -> None:
    text = f"""graph (float[{MAP}] x, float[{MAP}] v) => (float[N,{M}] y)
    {{ f = Flatten (x)
       t = Transpose <perm = [0, 2, 3, 1]> (v)
       g = Flatten (t)
       d = DequantizeLinear <axis = 0> (w, s)
       [fc1] a = Gemm <transB = 1> (f, d)
       [fc2] b = Gemm <transB = 1> (g, d)
       y = Sub (a, b) }}"""
    original = model(text, {"w": integers((M, K), np.int8), "s": scales(M)})
    result, report = converted(original, scope=scope)
    assert kernels(report) == {"fc1": [H, W], "fc2": [H, W]}
    assert_equal(original, result, 1e-6)


# ------------------------------------------------------------------ integer arithmetic

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
    original = model(text, weight_of(b, per_output) | {"b": floats((M,)), "v": floats((4, M))})
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


@pytest.mark.parametrize("name", INTEGER_LAYERS)
def test_zero_points_that_differ_are_a_reason(name: str) -> None:
    given, made, layer = INTEGER_LAYERS[name]
    used = {"w", "ws", "wz", "xs", "xz", "ys", "yz"} & set(layer.replace(",", " ").replace(")", " ").split())
    arrays = weight_of(np.int8, True) | {"wz": np.arange(M, dtype=np.int8)}
    arrays |= {"xs": np.float32(0.02), "xz": np.uint8(9), "ys": np.float32(0.5), "yz": np.uint8(100)}
    text = f"graph ({given}) => ({made}[N,{M}] y) {{ f = Flatten (x)\n [fc] y = {layer} }}"
    original = model(text, {key: value for key, value in arrays.items() if key in used})
    same, report = converted(original)
    assert kernels(report) == {"fc": "FC210"}
    assert same == original


# ------------------------------------------------------------------ other forms in other types


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


# ------------------------------------------------------------------ blocks of a few bits


def nbits(bits: int, zero_points: bool, bias: bool, features: int = 48) -> ModelProto:
    """MatMulNBits over a flattened map [N, 3, 4, 4], in blocks of 16."""
    block, outputs = 16, 8
    blocks = features // block
    random = np.random.default_rng(bits)
    packed = random.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8)
    arrays: dict[str, Any] = {"w": packed, "s": (random.random(outputs * blocks) * 0.01 + 0.01).astype(np.float32)}
    if zero_points:
        arrays["z"] = random.integers(0, 256, outputs * -(-blocks * bits // 8)).astype(np.uint8)
    if bias:
        arrays["b"] = floats((outputs,))
    names = ["f", "w", "s", "z" if zero_points else '""', '""', "b" if bias else '""']
    while names[-1] == '""':
        names.pop()
    text = f"""graph (float[N,3,4,4] x) => (float[N,{outputs}] y)
    {{ f = Flatten (x)
       [fc] y = com.microsoft.MatMulNBits <K = {features}, N = {outputs}, bits = {bits}, block_size = {block}>
         ({", ".join(names)}) }}"""
    return model(text, arrays, 17)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero_points", [True, False], ids=["zero_points", "symmetric"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_matmul_nbits(bits: int, zero_points: bool, bias: bool) -> None:
    original = nbits(bits, zero_points, bias)
    same, report = converted(original)
    assert kernels(report) == {"fc": "FC211"}
    assert same == original

    result, report = converted(original, expand_block_quantized=True)
    assert kernels(report) == {"fc": [4, 4]}
    assert op_types(result) == ["Conv", "Flatten"]
    assert_equal(original, result, 1e-5)
