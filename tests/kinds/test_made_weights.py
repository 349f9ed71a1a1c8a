"""Weights that nodes make of others (Cast, QuantizeLinear, DequantizeLinear, a factor): replayed on the kernel."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper, shape_inference
from proving_kinds import proved
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
    converted,
    floats,
    integers,
    kernels,
    maker,
    model,
    only,
    scales,
    tensor,
)

import fc2conv


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
    assert {check.name: check.verdict for check in fc2conv.verify(original, result).checks}["exact"] == "proved"


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


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        ("int8", "c = Cast <to = 1> (w)  d = Mul (c, s)"),
        (
            "uint8",
            "c = Cast <to = 6> (w)  i = Cast <to = 6> (z)  m = Sub (c, i)  r = Cast <to = 1> (m)  d = Mul (r, s)",
        ),
        ("float", "c = Div (w, s)  r = Round (c)  k = Clip (r, low, high)  d = Mul (k, s)"),
        ("float", "t = Tanh (w)  a = Abs (t)  m = ReduceMax <keepdims = 0> (a)  d = Div (t, m)"),
        ("float", "d = GatherND (w, p)"),
        ("float", "d = Sin (w)"),
        ("float", "h = Celu (w)  g = Softsign (h)  d = Selu (g)"),
        ("float", "l = Less (w, s)  c = Cast <to = 1> (l)  d = Mul (c, w)"),
        ("float", "q, u, v = DynamicQuantizeLinear (w)  d = DequantizeLinear (q, u, v)"),
        (
            "uint8",
            """h = BitShift <direction = "RIGHT"> (w, four)  l = BitwiseAnd (w, mask)  o = BitwiseOr (h, l)
            c = Cast <to = 1> (o)  d = Mul (c, s)""",
        ),
    ],
)
def test_a_weight_that_arithmetic_decodes(stored: str, made: str) -> None:
    """As training-aware exports and decoders of compressed weights write it, of more than 1,024 elements."""
    outputs = 90
    shape = (K, outputs)
    weight = floats(shape) if stored == "float" else integers(shape, WEIGHTS[stored])
    arrays = {"w": weight, "s": scales(outputs), "z": integers((outputs,), np.uint8)}
    arrays |= {"low": np.float32(-8), "high": np.float32(7), "p": np.arange(K)[::-1, None].copy()}
    arrays |= {"four": np.uint8(4), "mask": np.uint8(3)}
    text = f"graph (float[{MAP}] x) => (float[N,{outputs}] y) {{ f = Flatten (x)  {made}  [fc] y = MatMul (f, d) }}"
    original = model(text, arrays, 18 if "Bitwise" in made else 13)
    result, report = proved(original)
    assert kernels(report) == {"fc": [H, W]}
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize(
    "made", ["d = Transpose <perm = [1, 0]> (w)", "t = Tanh (w)  d = Transpose <perm = [1, 0]> (t)"]
)
def test_the_shape_of_a_weight_that_nodes_make_is_not_said_of_the_kernel(made: str) -> None:
    """Exporters write down the shapes of all values; the kernel takes the name of the one that it is made of."""
    text = f"{FLOAT_FC} {made}  [fc] y = MatMul (f, d) }}"
    original = shape_inference.infer_shapes(model(text, {"w": floats((M, K))}))
    assert "d" in {value.name for value in original.graph.value_info}
    result, report = converted(original)
    assert kernels(report) == {"fc": [H, W]}
    assert list(tensor(result, "d").dims) == [M, C, H, W]
    assert_equal(original, result, 1e-6)


def test_the_node_is_named_that_is_not_evaluated() -> None:
    text = f"{FLOAT_FC} m = Softplus (u)  [sum] s = Add (w, m)  d = Mul (s, a)  [fc] y = MatMul (f, d) }}"
    arrays = {"w": floats((K, M)), "u": floats((K, M)), "a": np.float32(0.5)}
    layer = next(each for each in fc2conv.plan(model(text, arrays)).sites if each.node == "fc")
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.detail) == ("FC206", "by m (Softplus)")


@pytest.mark.parametrize("quantized", [False, True])
def test_a_part_of_a_weight_that_a_known_size_cuts_out(quantized: bool) -> None:
    """As the projections of cross attention: each is a part of one matrix, and how long that is a Shape says."""
    pair = "q = QuantizeLinear (p, s, z)  d = DequantizeLinear (q, s, z)" if quantized else "d = Identity (p)"
    text = f"""graph (float[N,3,{M}] x, float[N,5,{M}] m) => (float[N,3,{M}] y, float[N,5,{M}] u)
    {{ r = Shape (x)  n = Slice (r, last, end)  t = Add (n, n)
       p = Slice (w, n, t, first)  {pair}  a = Transpose <perm = [1, 0]> (d)  [fc] y = MatMul (x, a)
       k = Slice (w, none, n, first)  b = Transpose <perm = [1, 0]> (k)  [key] u = MatMul (m, b) }}"""
    arrays = {"w": floats((2 * M, M)), "last": np.array([2]), "end": np.array([9]), "none": np.array([0])}
    arrays |= {"first": np.array([0]), "s": np.float32(0.02), "z": np.int8(0)}
    original = model(text, {key: each for key, each in arrays.items() if quantized or key not in "sz"})
    result, report = proved(original, scope="all")
    assert kernels(report) == {"fc": [1, 1], "key": [1, 1]}
    assert_equal(original, result, 1e-5)


def test_random_numbers_of_the_shape_of_a_constant_are_none_beside_a_cut() -> None:
    """They are others on every run: what reads them keeps its layout, and the layer behind is converted."""
    text = f"""graph (float[{MAP}] x, float[N,{M}] m) => (float[N,{M}] y, float[N,{M}] u)
    {{ r = Shape (m)  n = Slice (r, one, end)  p = Slice (v, none, n, none)  [key] u = MatMul (m, p)
       o = RandomUniformLike (k)  a = Add (x, o)  f = Flatten (a)  [fc] y = MatMul (f, w) }}"""
    arrays = {"v": floats((2 * M, M)), "w": floats((K, M)), "k": floats((1, C, H, W)), "one": np.array([1])}
    arrays |= {"end": np.array([9]), "none": np.array([0])}
    report = fc2conv.plan(model(text, arrays), fc2conv.Options(scope="all"))
    assert kernels(report) == {"key": [1, 1], "fc": [H, W]}


REPEATED = {
    "one for each item": ("w = Expand (u, t)  [fc] y = MatMul (x, w)", (8, 5), True),
    "tiled, and on the left": ("w = Tile (u, r)  m = Transpose <perm = [0, 2, 1]> (x)  [fc] z = MatMul (w, m)  "
                               "y = Transpose <perm = [0, 2, 1]> (z)", (1, 5, 8), True),
    "rows as well": ("w = Expand (u, t)  [fc] y = MatMul (x, w)", (1, 1, 5), False),
    "of another batch": ("w = Expand (u, t)  s = ReduceMax <axes = [0]> (x)  [fc] y = MatMul (s, w)", (8, 5), False),
}  # fmt: skip


@pytest.mark.parametrize("name", REPEATED)
def test_a_weight_that_is_repeated_along_the_batch_is_one_weight(name: str) -> None:
    nodes, shape, is_one = REPEATED[name]
    sizes = f"n = Shape <end = 1> (x)  t = Concat <axis = 0> (n, k)  r = Concat <axis = 0> (n, o)  {nodes}"
    arrays = {"u": floats(shape), "k": np.array([8, 5]), "o": np.array([1, 1])}
    original = model(f"graph (float[N,7,8] x) => (float[N,7,5] y) {{ {sizes} }}", arrays, 17)
    if not is_one:
        assert [layer.code for layer in fc2conv.plan(original, scope="all").sites] == ["FC201"]
        return
    result, report = proved(original, scope="all")
    assert len(report.converted) == 1
    assert_equal(original, result, 1e-5)
