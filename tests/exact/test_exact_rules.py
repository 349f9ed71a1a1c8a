"""Fused, quantized and recurrent operators, and what they are in parts: right pairs run the same and are proved."""

from __future__ import annotations

import pytest
from exact_models import compared, text
from execute import difference, feeds, run

GELU = """graph (float[N,4] x) => (float[N,4] y)
<float[4] b, float two = {1.4142135}, float one = {1}, float half = {0.5}>
{ s = Add(x, b) d = Div(s, two) e = Erf(d) a = Add(e, one) m = Mul(s, a) y = Mul(m, half) }"""
FAST_GELU = """graph (float[N,4] x) => (float[N,4] y)
<float[4] b, float three = {3}, float c = {0.044715}, float k = {0.7978845608}, float one = {1}, float half = {0.5}>
{ s = Add(x, b) p = Pow(s, three) q = Mul(p, c) r = Add(s, q) u = Mul(r, k) t = Tanh(u) a = Add(t, one)
  h = Mul(s, half) y = Mul(h, a) }"""
QDQ = """graph (float[N,2,4,4] x) => (float[N,2,2,2] y) <float s = {{0.03}}, {zero}>
{{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(d)
  t = Transpose<perm = [0, 1, 3, 2]>(p) o = QuantizeLinear(t, s, z) y = DequantizeLinear(o, s, z) }}"""
MOVED = """graph (float[N,2,4,4] x) => (float[N,2,2,2] y) <float s = {{0.03}}, {zero}>
{{ q = QuantizeLinear(x, s, z) p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(q)
  t = Transpose<perm = [0, 1, 3, 2]>(p) y = DequantizeLinear(t, s, z) }}"""
RECTIFIED = "graph (float[N,4] x) => (uint8[N,4] y) <float s = {{0.03}}, uint8 z = {{{}}}> {{ {} }}"
JOINED = """graph (float[2,4] x) => (uint8[2,12] y)
<float s = {{0.03}}, float v = {{0.05}}, uint8 z = {{0}}, float[2,4] m, float e = {{2}}>
{{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) n = Pow(m, e) {} }}"""
LSTM = """graph (float[5,2,3] x) => (float[5,1,2,4] y) <float[1,16,3] w, float[1,16,4] r{}>
{{ y = LSTM<hidden_size = 4>(x, w, r{}) }}"""
ZEROS = f", float[1,32] b = {{{', '.join('0' * 32)}}}, float[1,2,4] h = {{{', '.join('0' * 8)}}}, int32[2] n = {{5, 5}}"
PAIRS: dict[str, tuple[str, str]] = {
    "Gelu": (GELU, "graph (float[N,4] x) => (float[N,4] y) <float[4] b> { s = Add(x, b) y = com.microsoft.Gelu(s) }"),
    "BiasGelu": (GELU, "graph (float[N,4] x) => (float[N,4] y) <float[4] b> { y = com.microsoft.BiasGelu(x, b) }"),
    "FastGelu": (FAST_GELU, "graph (float[N,4] x) => (float[N,4] y) <float[4] b> { y = com.microsoft.FastGelu(x, b) }"),
    "a maximum of quantized values": (QDQ.format(zero="uint8 z = {7}"), MOVED.format(zero="uint8 z = {7}")),
    "Relu before the least number": (
        RECTIFIED.format(0, "r = Relu(x) y = QuantizeLinear(r, s, z)"),
        RECTIFIED.format(0, "y = QuantizeLinear(x, s, z)"),
    ),
    "values of two steps side by side": (
        JOINED.format("c = Concat<axis = 1>(d, x, n) y = QuantizeLinear(c, s, z)"),
        JOINED.format("a = QuantizeLinear(x, s, z) b = QuantizeLinear(n, s, z) y = Concat<axis = 1>(q, a, b)"),
    ),
    "LpPool": (
        "graph (float[N,2,7] x) => (float[N,2,4] y) <float k = {3}> { q = Mul(x, x) m = AveragePool<kernel_shape = [3],"
        " strides = [2], pads = [1, 1], count_include_pad = 1>(q) s = Mul(m, k) y = Sqrt(s) }",
        "graph (float[N,2,7] x) => (float[N,2,4] y)"
        " { y = LpPool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x) }",
    ),
    "LSTM": (LSTM.format("", ""), LSTM.format(ZEROS, ", b, n, h, h")),
    "wider and back": (
        "graph (float[N,4] x) => (float[N,4] y) { y = Relu(x) }",
        "graph (float[N,4] x) => (float[N,4] y) { r = Relu(x) w = Cast<to = 11>(r) t = Transpose(w) u = Transpose(t)"
        " y = Cast<to = 1>(u) }",
    ),
    "FusedConv": (
        "graph (float[N,2,4,4] x, float[N,3,2,2] z) => (float[N,3,2,2] y) <float[3,2,3,3] k, float[3] b>"
        " { c = Conv(x, k, b) s = Add(c, z) y = Relu(s) }",
        "graph (float[N,2,4,4] x, float[N,3,2,2] z) => (float[N,3,2,2] y) <float[3,2,3,3] k, float[3] b>"
        ' { y = com.microsoft.FusedConv<activation = "Relu">(x, k, b, z) }',
    ),
    "FusedGemm": (
        "graph (float[N,4] x) => (float[N,3] y) <float[4,3] w, float[3] b>"
        " { g = Gemm(x, w, b) y = LeakyRelu<alpha = 0.25>(g) }",
        "graph (float[N,4] x) => (float[N,3] y) <float[4,3] w, float[3] b>"
        ' { y = com.microsoft.FusedGemm<activation = "LeakyRelu", activation_alpha = 0.25>(x, w, b) }',
    ),
    "FusedMatMul": (
        "graph (float[5,N,4] x, float[5,N,4] z) => (float[N,5,5] y) <float a = {0.25}>"
        " { t = Transpose<perm = [1, 0, 2]>(x) u = Transpose<perm = [1, 2, 0]>(z) m = MatMul(t, u) y = Mul(m, a) }",
        "graph (float[5,N,4] x, float[5,N,4] z) => (float[N,5,5] y) { y = com.microsoft.FusedMatMul<transBatchA = 1,"
        " transBatchB = 1, transB = 1, alpha = 0.25>(x, z) }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_an_operator_is_what_it_is_in_parts(name: str) -> None:
    one, other = (text(graph) for graph in PAIRS[name])
    inputs = feeds(one, {"N": 3})
    assert difference(run(one, inputs), run(other, inputs)) < 1e-5
    found = compared(one, other)
    assert found.proved, found.check


def test_an_activation_has_numbers_of_its_own() -> None:
    """The alpha of a FusedGemm is that of its product. No runtime runs it without `activation_alpha`."""
    head = "graph (float[N,4] x) => (float[N,3] y) <float[4,3] w, float[3] b>"
    fused = head + ' { y = com.microsoft.FusedGemm<activation = "LeakyRelu", alpha = 0.5>(x, w, b) }'
    parts = head + " { g = Gemm<alpha = 0.5>(x, w, b) y = LeakyRelu(g) }"
    assert compared(text(fused), text(parts)).proved


PARTED: dict[str, tuple[str, str]] = {
    "another root": (GELU.replace("1.4142135", "1.4142137"), PAIRS["BiasGelu"][1]),
    "erf and tanh": (PAIRS["BiasGelu"][1], PAIRS["FastGelu"][1]),
    "another scale of a maximum": (QDQ.format(zero="uint8 z = {7}").replace("o = QuantizeLinear(t, s, z)",
                                   "v = Constant<value_float = 0.031>() o = QuantizeLinear(t, v, z)"),
                                   MOVED.format(zero="uint8 z = {7}")),
    "Relu before another number": (
        RECTIFIED.format(1, "r = Relu(x) y = QuantizeLinear(r, s, z)"),
        RECTIFIED.format(1, "y = QuantizeLinear(x, s, z)"),
    ),
    "another step side by side": (
        JOINED.format("c = Concat<axis = 1>(d, x, n) y = QuantizeLinear(c, v, z)"),
        JOINED.format("a = QuantizeLinear(x, v, z) b = QuantizeLinear(n, v, z) y = Concat<axis = 1>(q, a, b)"),
    ),
    "a state that is not 0": (LSTM.format("", ""), LSTM.format(ZEROS.replace("{0, 0, 0, 0, 0, 0, 0, 0}", "{0, 0, 0, 0, "
                              "0, 0, 0, 1}"), ", b, n, h, h")),
    "shorter sequences": (LSTM.format("", ""), LSTM.format(ZEROS.replace("{5, 5}", "{5, 4}"), ", b, n, h, h")),
    "through half the width": (
        PAIRS["wider and back"][0], PAIRS["wider and back"][1].replace("to = 11", "to = 10"),
    ),
    "rows and batch": (PAIRS["FusedMatMul"][0].replace("[N,5,5] y", "[5,N,N] y").replace("perm = [1, 0, 2]",
                       "perm = [0, 1, 2]").replace("perm = [1, 2, 0]", "perm = [0, 2, 1]"), PAIRS["FusedMatMul"][1]
                       .replace("[N,5,5] y", "[5,N,N] y")),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTED)
def test_what_is_nearly_so_is_not_proved(name: str) -> None:
    one, other = (text(graph) for graph in PARTED[name])
    found = compared(one, other)
    assert not found.proved, found.check
    assert found.parted, found.check


@pytest.mark.parametrize(
    ("name", "newer", "same"),
    [("LSTM<hidden_size = 4>(x, w, r)", 22, True), ("Softmax(x)", 13, False), ("NonZero(x)", 13, True)],
)
def test_a_newer_definition_that_takes_more_types_is_the_same(name: str, newer: int, same: bool) -> None:
    whole = "graph (float[2,3,8] x) => (float[A,B,C,D] y) <float[1,16,8] w, float[1,16,4] r> {{ y = {} }}"
    rank = "A,B,C" if "Softmax" in name else "A,B" if "NonZero" in name else "A,B,C,D"
    graph = whole.format(name).replace("A,B,C,D", rank).replace("float[A,B]", "int64[A,B]")
    assert compared(text(graph, opset=12), text(graph, opset=newer)).proved == same


@pytest.mark.parametrize("opset", [18, 22])
def test_dilations_of_one_are_none(opset: int) -> None:
    pool = "graph (float[N,2,9,9] x) => (float[N,2,7,7] y) {{ y = LpPool<kernel_shape = [3, 3]{}>(x) }}"
    one, other = (text(pool.format(each), opset=opset) for each in ("", ", dilations = [1, 1]"))
    assert compared(one, other).proved
