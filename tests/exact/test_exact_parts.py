"""Fused and quantized operators against what they are in parts: onnxruntime gives the same, and it is proved."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, text
from execute import feeds, run

HEAD = (
    "graph (float[N,4,6,6] x) => (float[N,{},{},{}] y) <{}>"
    " {{ q = QuantizeLinear(x, u, i) @ y = DequantizeLinear(o, s, z) }}"
)
NUMBERS = "float u = {0.03}, uint8 i = {130}, float v = {0.02}, uint8 j = {7}, float s = {0.05}, uint8 z = {120}"
MAP = HEAD.format(4, 6, 6, NUMBERS)
REAL, BACK = "c = DequantizeLinear(q, u, i)", "o = QuantizeLinear(r, s, z)"
OTHER = "p = QuantizeLinear(x, v, j)"
BOTH = f"{OTHER} {REAL} d = DequantizeLinear(p, v, j)"
WEIGHTS = ", uint8[3,4,3,3] w, float[3] k = {0.01, 0.02, 0.03}, uint8[3] h = {3, 128, 200}, int32[3] b = {5, -70, 900}"
BIAS = "t = Mul(u, k) e = DequantizeLinear<axis = 0>(b, t)"
POOL = "kernel_shape = [3, 2], strides = [3, 2]"
QUANTIZED: dict[str, tuple[str, str, str]] = {
    "QLinearConv": (HEAD.format(3, 2, 2, NUMBERS + WEIGHTS),
        "o = QLinearConv<strides = [2, 2], dilations = [1, 1], pads = [0, 0, 1, 1]>(q, u, i, w, k, h, s, z, b)",
        f"{REAL} d = DequantizeLinear<axis = 0>(w, k, h) {BIAS} "
        f"r = Conv<strides = [2, 2], pads = [0, 0, 1, 1]>(c, d, e) {BACK}"),
    "QLinearConv without bias": (HEAD.format(3, 4, 4, NUMBERS + WEIGHTS),
        "o = QLinearConv(q, u, i, w, k, h, s, z)",
        f"{REAL} d = DequantizeLinear<axis = 0>(w, k, h) r = Conv(c, d) {BACK}"),
    "QLinearMatMul": (HEAD.format(4, 6, 3, NUMBERS + ", uint8[6,3] w, float k = {0.01}, uint8 h = {3}"),
        "o = QLinearMatMul(q, u, i, w, k, h, s, z)", f"{REAL} d = DequantizeLinear(w, k, h) r = MatMul(c, d) {BACK}"),
    "QLinearAdd": (MAP,
        f"{OTHER} o = com.microsoft.QLinearAdd(q, u, i, p, v, j, s, z)", f"{BOTH} r = Add(c, d) {BACK}"),
    "QLinearMul": (MAP,
        f"{OTHER} o = com.microsoft.QLinearMul(q, u, i, p, v, j, s, z)", f"{BOTH} r = Mul(c, d) {BACK}"),
    "QLinearSigmoid": (MAP, "o = com.microsoft.QLinearSigmoid(q, u, i, s, z)", f"{REAL} r = Sigmoid(c) {BACK}"),
    "QLinearLeakyRelu": (MAP, "o = com.microsoft.QLinearLeakyRelu<alpha = 0.25>(q, u, i, s, z)",
        f"{REAL} r = LeakyRelu<alpha = 0.25>(c) {BACK}"),
    "QLinearSoftmax": (MAP, "o = com.microsoft.QLinearSoftmax<axis = -1, opset = 13>(q, u, i, s, z)",
        f"{REAL} r = Softmax(c) {BACK}"),
    "QLinearAveragePool": (HEAD.format(4, 2, 3, NUMBERS),
        f"o = com.microsoft.QLinearAveragePool<{POOL}>(q, u, i, s, z)",
        f"{REAL} r = AveragePool<{POOL}>(c) {BACK}"),
    "QLinearGlobalAveragePool": (HEAD.format(4, 1, 1, NUMBERS),
        "o = com.microsoft.QLinearGlobalAveragePool<channels_last = 0>(q, u, i, s, z)",
        f"{REAL} r = GlobalAveragePool(c) {BACK}"),
    "QLinearConcat": (HEAD.format(8, 6, 6, NUMBERS),
        f"{OTHER} o = com.microsoft.QLinearConcat<axis = 1>(s, z, q, u, i, p, v, j)",
        f"{BOTH} r = Concat<axis = 1>(c, d) {BACK}"),
}  # fmt: skip
TOKENS = "graph (float[N,3,4] x, float[N,3,4] x2) => (float[N,3,{}] y) <{}> {{ @ }}"
INTEGERS = "uint8[4,5] w, float k = {0.01}, uint8 h = {100}, float[5] b"
TABLES = (
    "float[9,8] w, float[20,8] p, float[4,8] z, float[8] g, float[8] h, int64[1] o = {0}, int64[1] l = {6}, "
    "int32[1,6] n = {3, 0, 2, 1, 5, 4}"
)
PARTS: dict[str, tuple[str, str, str]] = {
    "SkipLayerNormalization": (TOKENS.format(4, "float[4] w, float[4] g, float[4] b"),
        "y = com.microsoft.SkipLayerNormalization<epsilon = 0.001>(x, x2, w, g, b)",
        "a = Add(x2, b) s = Add(x, a) y = LayerNormalization<epsilon = 0.001>(s, w, g)"),
    "QuickGelu": (TOKENS.format(4, "float a = {1.702}"), "y = com.microsoft.QuickGelu(x)",
        "m = Mul(x, a) g = Sigmoid(m) y = Mul(g, x)"),
    "HardSwish": (TOKENS.format(4, "float a = {0.16666667}, float h = {0.5}, float o = {1}, float n = {0}"),
        "y = HardSwish(x)", "m = Mul(x, a) s = Add(m, h) c = Clip(s, n, o) y = Mul(c, x)"),
    **{f"EmbedLayerNormalization of {name}": (
        f"graph (int32[N,6] i, int32[N,6] j) => (float[N,6,8] y) <{TABLES}> {{ @ }}",
        f"y, m = com.microsoft.EmbedLayerNormalization<epsilon = 0.001>({operands})",
        f"a = Gather(w, i) {nodes} s = Add(q, b) y = LayerNormalization<epsilon = 0.001>(s, g, h)",
    ) for name, operands, nodes in (
        ("words", 'i, "", w, p, "", g, h', "q = Identity(a) b = Slice(p, o, l)"),
        ("words and segments", "i, j, w, p, z, g, h", "c = Gather(z, j) q = Add(c, a) b = Slice(p, o, l)"),
        ("words at places", 'i, j, w, p, z, g, h, "", n', "c = Gather(z, j) q = Add(a, c) b = Gather(p, n)"),
    )},
    "DynamicQuantizeMatMul": (TOKENS.format(5, INTEGERS), "y = com.microsoft.DynamicQuantizeMatMul(x, w, k, h, b)",
        "q, u, i = DynamicQuantizeLinear(x) p = MatMulInteger(q, w, i, h) f = Cast<to = 1>(p) s = Mul(k, u) "
        "m = Mul(f, s) y = Add(m, b)"),
    "MatMulIntegerToFloat": (TOKENS.format(5, INTEGERS),
        "q, u, i = DynamicQuantizeLinear(x) y = com.microsoft.MatMulIntegerToFloat(q, w, u, k, i, h, b)",
        "q, u, i = DynamicQuantizeLinear(x) p = MatMulInteger(q, w, i, h) f = Cast<to = 1>(p) s = Mul(k, u) "
        "m = Mul(f, s) y = Add(m, b)"),
    "FusedConv with a Clip": (
        "graph (float[N,2,4,4] x) => (float[N,3,2,2] y) <float[3,2,3,3] w,"
        " float l = {-0.5}, float h = {1.5}> { @ }",
        'y = com.microsoft.FusedConv<activation = "Clip", activation_params = [-0.5, 1.5]>(x, w)',
        "c = Conv(x, w) y = Clip(c, l, h)"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*QUANTIZED, *PARTS])
def test_a_fused_operator_is_what_it_is_in_parts(name: str) -> None:
    graph, *nodes = (QUANTIZED | PARTS)[name]
    one, other = (text(graph.replace("@", each)) for each in nodes)
    inputs = feeds(one, {"N": 2})
    (wanted,), (found,) = run(one, inputs), run(other, inputs)
    assert np.abs(wanted - found).max() < (0.051 if name in QUANTIZED else 1e-4)
    assert np.ptp(wanted) > 0.1
    result = compared(one, other)
    assert result.proved, result.check


HEADS = """graph (float[N,2,5,4] q, float[N,{0},3,4] k, float[N,{0},3,4] v) => (float[N,2,5,4] y)
    <float half = {{0.5}}> {{ {1} }}"""
SCORES = "t = Transpose<perm = [0, 1, 3, 2]>(k) a = MatMul(q, t) m = Mul(a, half) p = Softmax(m) y = MatMul(p, v)"


@pytest.mark.parametrize(
    ("heads", "scores", "proved"),
    [(2, SCORES, True), (2, SCORES.replace("m = Mul(a, half)", "m = Identity(a)"), False), (1, SCORES, False)],
)
def test_an_attention_of_heads_is_two_products_and_a_softmax(heads: int, scores: str, proved: bool) -> None:
    """Fewer heads of keys than of queries are repeated, of which no rule tells."""
    one, other = (text(HEADS.format(heads, each), opset=23) for each in ("y = Attention(q, k, v)", scores))
    inputs = feeds(one, {"N": 2})
    (wanted,), (found,) = run(one, inputs), run(other, inputs)
    assert np.allclose(wanted, found, atol=1e-5) == (scores == SCORES)
    assert compared(one, other).proved is proved


def test_clamps_of_a_value_of_unknown_type_are_left_as_they_are() -> None:
    one, other = (
        text(f"g (float[N,4] x) => (float[N,4] y) {{ z = com.microsoft.NobodyKnows(x) r = Relu(z) {end} }}")
        for end in ("y = Relu(r)", "s = Relu(r) y = Identity(s)")
    )
    assert compared(one, other).proved


@pytest.mark.parametrize(("low", "proved"), [("-0.25", True), ("-0.2500001", False)])
def test_clamps_with_layout_nodes_between_are_one_behind_which_these_come(low: str, proved: bool) -> None:
    graph = """graph (float[N,2,3,1] x) => (float[N,6] y)
        <int64[2] to = {-1, 6}, float a = {-0.25}, float b = {-1.5}, float low = {LOW}, float h = {2.0}>"""
    one = text(f"{graph.replace('LOW', low)} {{ m = Max(x, b) n = Min(m, h) f = Reshape(n, to) y = Max(f, a) }}")
    other = text(f"{graph.replace('LOW', low)} {{ c = Clip(x, low, h) y = Flatten(c) }}")
    inputs = feeds(one, {"N": 3})
    (wanted,), (found,) = run(one, inputs), run(other, inputs)
    assert np.abs(wanted - found).max() < 1e-6
    assert compared(one, other).proved is proved
