"""A difference is one for certain, also behind functions, but not where a law of theirs may undo it."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, edited, text
from execute import feeds, run


def one_ulp(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    values.reshape(-1)[-1] = np.nextafter(values.reshape(-1)[-1], np.float32(np.inf))
    return values


def _both(nodes: str) -> str:
    return f"graph (float[N,4] x, float[N,4] x2) => (float[N,4] y) {{ u = Add(x, x2) {nodes} }}"


TWO_LAYERS = "graph (float[N,4] x) => (float[N,3] y) <float[4,5] v, float[5,3] w> {{ a = MatMul(x, v) r = {}(a) {} }}"
LAWS = {
    "sqrt(4x) is 2 sqrt(x)": ("m = Mul(u, f) y = Sqrt(m)", "r = Sqrt(u) y = Mul(r, t)"),
    "exp(a + b) is exp(a) exp(b)": ("y = Exp(u)", "a = Exp(x) b = Exp(x2) y = Mul(a, b)"),
    "what is picked may be multiplied before": (
        "i = ArgMax<axis = 1, keepdims = 0>(u) a = Gather(x, i) y = Mul(a, t)",
        "i = ArgMax<axis = 1, keepdims = 0>(u) a = Mul(x, t) y = Gather(a, i)"
    ),
    "a quarter is half of a half": (
        "i = Cast<to = 6>(u) h = Cast<to = 6>(t) a = Div(i, h) b = Div(a, h) y = Cast<to = 1>(b)",
        "i = Cast<to = 6>(u) q = Cast<to = 6>(f) b = Div(i, q) y = Cast<to = 1>(b)"
    ),
    "a norm knows no scale": (
        "a = Mul(u, t) y = LayerNormalization<epsilon = 0.0>(a, s)",
        "a = Mul(u, f) y = LayerNormalization<epsilon = 0.0>(a, s)"
    ),
}  # fmt: skip


HIGHEST = "m = ReduceMax<axes = [-1]>(u) a = Sub(u, m)"
SUM = "e = Exp(a) s = ReduceSum<keepdims = 1>(e, last)"
LESS = "c = Less(x, x2)"
TWO = f"{LESS} d = Less(u, zero)"
CHOSEN = "y = Where(n, u, x)"
PLACE = "{} f1 = Cast<to = 1>(i) y = Add(u, f1)"
ARGMAX = PLACE.format("i = ArgMax<axis = 1>(u)")
PROVED = {
    "a Softmax knows no shift": ("a = Add(u, t) y = Softmax(a)", "a = Add(u, f) y = Softmax(a)"),
    "Softmax in parts": ("y = Softmax(u)", f"{HIGHEST} {SUM} y = Div(e, s)"),
    "LogSoftmax of what is at most 0": ("y = LogSoftmax(u)", f"{HIGHEST} {SUM} l = Log(s) y = Sub(a, l)"),
    "the logarithm of a Softmax": ("y = LogSoftmax(u)", "s = Softmax(u) y = Log(s)"),
    "Sigmoid in parts": ("y = Sigmoid(u)", "n = Neg(u) e = Exp(n) a = Add(one, e) y = Div(one, a)"),
    "Sigmoid as a reciprocal": ("y = Sigmoid(u)", "n = Neg(u) e = Exp(n) a = Add(e, one) y = Reciprocal(a)"),
    **{f"2 {name}": (f"m = Mul(u, t) y = {node.format('m')}", f"r = {node.format('u')} y = Mul(t, r)")
       for name, node in {"Relu": "Relu({})", "LeakyRelu": "LeakyRelu<alpha = 0.25>({})", "Abs": "Abs({})",
                          "PRelu": "PRelu({}, several)"}.items()},
    "several factors of a Relu": ("m = Mul(u, several) y = Relu(m)", "r = Relu(u) y = Mul(r, several)"),
    "Sigmoid by Tanh": ("y = Sigmoid(u)", "h = Mul(half, u) a = Tanh(h) b = Add(a, one) y = Mul(half, b)"),
    "Sigmoid by exp(x)": ("y = Sigmoid(u)", "e = Exp(u) a = Add(e, one) y = Div(e, a)"),
    "Tanh of a negative": ("n = Tanh(u) y = Neg(n)", "n = Neg(u) y = Tanh(n)"),
    "Erf of a negative": ("n = Erf(u) y = Neg(n)", "n = Neg(u) y = Erf(n)"),
    "Softmax by the logarithm of a sum": (
        "y = Softmax(u)", "l = ReduceLogSumExp<axes = [1]>(u) a = Sub(u, l) y = Exp(a)"),
    "a norm as a root": ("y = LpNormalization<axis = 1>(u)",
                         "q = Mul(u, u) s = ReduceSum(q, last) r = Sqrt(s) y = Div(u, r)"),
    "mean and variance": (
        "y = MeanVarianceNormalization<axes = [1]>(u)",
        "m = ReduceMean<axes = [1]>(u) d = Sub(u, m) q = Mul(u, u) e = ReduceMean<axes = [1]>(q) p = Mul(m, m) "
        "v = Sub(e, p) s = Sqrt(v) l = Constant<value_float = 1e-9>() a = Add(s, l) y = Div(d, a)"),
    "exp of a LogSoftmax": ("y = Softmax(u)", "l = LogSoftmax(u) y = Exp(l)"),
    "a LeakyRelu as a maximum": ("y = LeakyRelu<alpha = 0.5>(u)", "m = Mul(half, u) y = Max(m, u)"),
    "a LeakyRelu as a minimum": ("y = LeakyRelu<alpha = 2.0>(u)", "m = Mul(u, t) y = Min(u, m)"),
    "Abs as a maximum": ("y = Abs(u)", "n = Neg(u) y = Max(u, n)"),
    "a LeakyRelu as a choice": (
        "y = LeakyRelu<alpha = 0.5>(u)", "c = Less(zero, u) m = Mul(half, u) y = Where(c, u, m)"),
    "Abs of a Relu": ("y = Relu(u)", "r = Relu(u) y = Abs(r)"),
    "Relu in double": ("y = Relu(u)", "d = Cast<to = 11>(u) r = Relu(d) y = Cast<to = 1>(r)"),
    "a choice as a product": (f"{LESS} y = Where(c, u, zero)", f"{LESS} g = Cast<to = 1>(c) y = Mul(u, g)"),
    "a choice by Not": (f"{LESS} y = Where(c, u, x)", f"{LESS} n = Not(c) y = Where(n, x, u)"),
    "De Morgan": (f"{TWO} a = Or(c, d) n = Not(a) {CHOSEN}", f"{TWO} a = Not(c) b = Not(d) n = And(a, b) {CHOSEN}"),
    **{f"ArgMax of a {f}": (ARGMAX, PLACE.format(f"s = {f}(u) i = ArgMax<axis = 1>(s)"))
       for f in ("Softmax", "Sigmoid")},
    "ArgMin": (PLACE.format("i = ArgMin<axis = 1>(u)"), PLACE.format("n = Neg(u) i = ArgMax<axis = 1>(n)")),
    "the place of the one of a TopK": (ARGMAX, PLACE.format("v, i = TopK(u, first)")),
    "a Relu of a multiple and a number": ("m = Mul(u, t) a = Add(m, one) y = Relu(a)",
                                          "a = Add(u, half) r = Relu(a) y = Mul(r, t)"),
    "a Clip of a multiple and a number": ("m = Mul(u, t) a = Add(m, one) y = Clip(a, zero, six)",
                                          "a = Add(u, half) c = Clip(a, zero, three) y = Mul(c, t)"),
    "Celu of 1": ("y = Celu(u)", "y = Elu(u)"),
    "Celu as a multiple of Elu": ("y = Celu<alpha = 2.0>(u)", "m = Mul(u, half) e = Elu(m) y = Mul(e, t)"),
    "the one of a TopK": ("m = ReduceMax<axes = [1]>(u) y = Sub(u, m)", "m, i = TopK(u, first) y = Sub(u, m)"),
}  # fmt: skip
APART = {
    "Relu(-2x) is not -2 Relu(x)": ("m = Mul(u, minus) y = Relu(m)", "r = Relu(u) y = Mul(r, minus)"),
    "a LeakyRelu of the other side": ("y = LeakyRelu<alpha = 0.5>(u)", "m = Mul(half, u) y = Min(m, u)"),
    "a maximum of a multiple of another value": ("y = LeakyRelu<alpha = 0.5>(u)", "m = Mul(half, x) y = Max(m, u)"),
    "a choice above one": ("y = LeakyRelu<alpha = 0.5>(u)", "c = Less(one, u) m = Mul(half, u) y = Where(c, u, m)"),
    "a choice of the other": (f"{LESS} y = Where(c, u, x)", f"{LESS} n = Not(c) y = Where(n, u, x)"),
    "And is not Xor": (f"{TWO} n = And(c, d) {CHOSEN}", f"{TWO} n = Xor(c, d) {CHOSEN}"),
    "ArgMax of a Softmax over the items": (
        ARGMAX,
        PLACE.format("s = Softmax<axis = 0>(u) i = ArgMax<axis = 1>(s)"),
    ),
    "ArgMax of a sine": (ARGMAX, PLACE.format("s = Sin(u) i = ArgMax<axis = 1>(s)")),
    "the least of a TopK": (
        ARGMAX,
        PLACE.format("v, i = TopK<largest = 0>(u, first)"),
    ),
    "a Clip of a multiple up to another number": (
        "m = Mul(u, t) a = Add(m, one) y = Clip(a, zero, six)",
        "a = Add(u, half) c = Clip(a, zero, six) y = Mul(c, t)",
    ),
    "a negative multiple and a number": (
        "m = Mul(u, minus) a = Add(m, one) y = Relu(a)",
        "a = Sub(u, half) r = Relu(a) y = Mul(r, minus)",
    ),
    "a number less a multiple": (
        "m = Mul(u, t) a = Sub(one, m) y = Relu(a)",
        "a = Sub(u, half) r = Relu(a) y = Mul(r, t)",
    ),
    "Celu of 2": ("y = Celu<alpha = 2.0>(u)", "y = Elu<alpha = 2.0>(u)"),
    "another factor": ("m = Mul(u, t) y = Relu(m)", "r = Relu(u) y = Mul(r, f)"),
    "another sum": ("y = Softmax(u)", "e = Exp(u) w = Mul(e, t) s = ReduceSum<keepdims = 1>(w, last) y = Div(e, s)"),
    "another half": ("y = Sigmoid(u)", "a = Tanh(u) b = Add(a, one) y = Mul(half, b)"),
    "Cos of a negative is Cos": ("n = Cos(u) y = Neg(n)", "n = Neg(u) y = Cos(n)"),
    "mean and variance of the other axis": (
        "y = MeanVarianceNormalization<axes = [1]>(u)",
        "y = MeanVarianceNormalization<axes = [0]>(u)",
    ),
    "a norm of the other axis": ("y = LpNormalization<axis = 1>(u)", "y = LpNormalization<axis = 0>(u)"),
    "another sign": ("y = Sigmoid(u)", "e = Exp(u) a = Add(e, one) y = Reciprocal(a)"),
    "two and exp(-x)": ("y = Sigmoid(u)", "n = Neg(u) e = Exp(n) a = Add(e, t) y = Reciprocal(a)"),
}
NUMBERS = (
    "t = Constant<value_float = 2.0>() f = Constant<value_float = 4.0>() minus = Constant<value_float = -2.0>() "
    "one = Constant<value_float = 1.0>() last = Constant<value_ints = [-1]>() "
    "several = Constant<value_floats = [1.0, 2.0, 0.5, 2.0]>() zero = Constant<value_float = 0.0>() "
    "half = Constant<value_float = 0.5>() first = Constant<value_ints = [1]>() "
    "three = Constant<value_float = 0.75>() six = Constant<value_float = 1.5>()"
)


@pytest.mark.parametrize("name", [*PROVED, *APART])
def test_what_a_law_makes_the_same_is_proved_and_nothing_besides(name: str) -> None:
    one, other = (text(_both(f"{NUMBERS} {nodes}")) for nodes in (PROVED | APART)[name])
    inputs = feeds(one, {"N": 9})
    (wanted,), (found,) = run(one, inputs), run(other, inputs)
    assert np.allclose(wanted, found, atol=1e-5) == (name in PROVED)
    assert compared(one, other).proved == (name in PROVED)


POOLS = "graph (float[N,2,9,9] x) => (float[N,2,{0},{0}] y) {{ {1} }}"


@pytest.mark.parametrize(
    ("size", "twice", "once", "same"),
    [
        (9, ("[3, 3], pads = [1, 1, 1, 1]", "[5, 5], pads = [2, 2, 2, 2]"), "[7, 7], pads = [3, 3, 3, 3]", True),
        (3, ("[2, 2]", "[3, 3], pads = [1, 1, 0, 0], strides = [3, 3]"),
         "[4, 4], pads = [1, 1, 0, 0], strides = [3, 3]", True),
        (9, ("[3, 3], pads = [1, 1, 1, 1]", "[5, 5], pads = [2, 2, 2, 2]"), "[5, 5], pads = [2, 2, 2, 2]", False),
        (3, ("[3, 3], strides = [2, 2]", "[2, 2]"), "[4, 4], strides = [2, 2], pads = [0, 0, 0, 0]", False),
        (3, ("[3, 3], strides = [2, 2]", "[2, 2]"), "[5, 5], strides = [2, 2]", True),
        (3, ("[3, 1], strides = [3, 1]", "[1, 3], strides = [1, 3]"), "[3, 3], strides = [3, 3]", True),
        (2, ("[2, 2], strides = [2, 2]", "[2, 2], strides = [2, 2]"), "[4, 4], strides = [4, 4]", True),
        (3, ("[1, 1], strides = [2, 2]", "[2, 2], strides = [2, 2]"), "[3, 3], strides = [4, 4]", False),
        (3, ("[2, 2], strides = [2, 2]", "[2, 2], strides = [2, 2], pads = [1, 1, 1, 1]"),
         "[4, 4], strides = [4, 4], pads = [2, 2, 2, 2]", False),
    ],
)  # fmt: skip
def test_a_pool_of_a_pool_is_one_pool(size: int, twice: tuple[str, str], once: str, same: bool) -> None:
    pools = [f"MaxPool<kernel_shape = {each}>" for each in (*twice, once)]
    one, other = (text(POOLS.format(size, each)) for each in (f"h = {pools[0]}(x) y = {pools[1]}(h)",
                                                              f"y = {pools[2]}(x)"))  # fmt: skip
    inputs = feeds(one, {"N": 2})
    (wanted,), (found,) = run(one, inputs), run(other, inputs)
    assert (wanted.shape == found.shape and np.array_equal(wanted, found)) == same
    assert compared(one, other).proved == same


QUANTIZED = """graph (float[N,4] x) => (float[N,4] y) <float s = {{0.05}}, uint8 z = {{{0}}}>
{{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = {1}(d) }}"""


@pytest.mark.parametrize(("point", "same"), [(0, True), (1, False)])
def test_what_is_quantized_from_the_least_number_on_is_not_negative(point: int, same: bool) -> None:
    one, other = (text(QUANTIZED.format(point, each)) for each in ("Relu", "Identity"))
    inputs = feeds(one, {"N": 9})
    assert np.array_equal(*(run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same


PADDED = "graph (float[N,2,6,6] x) => (float[N,2,3,3] y) {{ {} p = Pad<{}pads = [0, 0, 1, 1, 0, 0, {}]>(r) y = {}(p) }}"
STEPS = "kernel_shape = [3, 3], strides = [2, 2]"
FRONTS = {"a Relu": "r = Relu(x)", "a sum": "a = Relu(x) b = Sigmoid(x) r = Add(a, b)", "an image in parts":
          "a = Abs(x) b, c = Split<axis = 2>(a) r = Concat<axis = 2>(c, b)"}  # fmt: skip


@pytest.mark.parametrize(
    ("front", "value", "ends", "same"),
    [
        *((front, "", "0, 0", True) for front in FRONTS.values()),
        ("r = Identity(x)", "value = -3.4028234663852886e+38, ", "0, 0", True),
        ("r = Identity(x)", "", "0, 0", False),
        ("r = Tanh(x)", "", "0, 0", False),
        ("r = Relu(x)", "value = 0.5, ", "0, 0", False),
        ("n = Neg(x) r = Abs(n)", "", "1, 1", True),
    ],
)
def test_a_border_that_no_element_is_below_is_padding_of_a_pool(front: str, value: str, ends: str, same: bool) -> None:
    pads = f"pads = [1, 1, {ends}]"
    one = text(PADDED.format(front, value, ends, f"MaxPool<{STEPS}>"), opset=10)
    node = f"{front} y = MaxPool<{STEPS}, {pads}>(r)"
    other = text(f"graph (float[N,2,6,6] x) => (float[N,2,3,3] y) {{ {node} }}", opset=10)
    inputs = feeds(one, {"N": 2})
    assert np.array_equal(*(run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same


@pytest.mark.parametrize("border", [2, 3])
def test_a_border_of_a_pool_with_holes_is_padding_as_far_as_its_windows_reach(border: int) -> None:
    pooled = """graph (float[N,2,6,6] x) => (float[N,2,h,h] y) {{ r = Relu(x)
        p = Pad<pads = [0, 0, {0}, {0}, 0, 0, {0}, {0}]>(r)
        y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2], pads = [{1}, {1}, {1}, {1}]>(p) }}"""
    one, other = (text(pooled.format(border - pads, pads), opset=10) for pads in (0, 1))
    inputs = feeds(one, {"N": 2})
    assert np.array_equal(*(run(each, inputs)[0] for each in (one, other)))
    assert compared(one, other).proved == (border == 2)


@pytest.mark.parametrize(
    ("nodes", "clip", "same"),
    [
        ("c = Less(u, zero) y = Where(c, zero, u)", "y = Relu(u)", True),
        ("c = Greater(zero, u) y = Where(c, zero, u)", "y = Max(u, zero)", True),
        ("c = GreaterOrEqual(u, six) b = Where(c, six, u) d = Less(b, zero) y = Where(d, zero, b)",
         "y = Clip(u, zero, six)", True),
        ("c = Less(x, x2) y = Where(c, x2, x)", "y = Max(x, x2)", True),
        ("c = Less(x, x2) y = Where(c, x, x2)", "y = Max(x, x2)", False),
        ("c = Less(u, zero) y = Where(c, u, zero)", "y = Relu(u)", False),
        ("c = Less(u, six) y = Where(c, zero, u)", "y = Relu(u)", False),
    ],
)  # fmt: skip
def test_a_choice_by_a_comparison_is_a_clamp(nodes: str, clip: str, same: bool) -> None:
    numbers = "zero = Constant<value_float = 0.0>() six = Constant<value_float = 0.75>()"
    one, other = (text(_both(f"{numbers} {each}")) for each in (nodes, clip))
    inputs = feeds(one, {"N": 5})
    assert np.array_equal(*(run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Softmax"])
def test_one_other_weight_is_a_difference_for_certain_behind_functions_too(activation: str) -> None:
    original = text(TWO_LAYERS.format(activation, "y = MatMul(r, w)"))
    assert compared(original, edited(original, "v", one_ulp)).check.verdict == "differs"


def test_weights_scaled_in_two_layers_are_no_difference_for_certain() -> None:
    original = text(TWO_LAYERS.format("Relu", "y = MatMul(r, w)"))
    scaled = edited(edited(original, "v", lambda v: v * 2), "w", lambda w: w / 2)
    found = compared(original, scaled)
    assert found.parted, found.check
    assert found.check.verdict == "inconclusive"


@pytest.mark.parametrize("name", LAWS)
def test_what_a_law_may_undo_is_no_difference_for_certain(name: str) -> None:
    constants = (
        "t = Constant<value_float = 2.0>() f = Constant<value_float = 4.0>() "
        "s = Constant<value_floats = [1.0, 1.0, 1.0, 2.0]>()"
    )
    one, other = (text(_both(f"{constants} {nodes}")) for nodes in LAWS[name])
    found = compared(one, other)
    assert found.parted, found.check
    assert found.check.verdict == "inconclusive"


RECTIFIED = ("r = Relu(x) c = Conv(r, k) y = {}(c)", "r = Relu(x) y = Conv(r, k)")
STEP = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
STEPPED = (
    f"{STEP} c = Conv(d, k) o = QuantizeLinear(c, s, z) y = DequantizeLinear(o, s, z)",
    f"{STEP} y = Conv(d, k)",
)


@pytest.mark.parametrize(
    ("nodes", "kernel", "same"),
    [
        (tuple(each.format("Relu") for each in RECTIFIED), "1, 0, 0, 1", True),
        (tuple(each.format("Abs") for each in RECTIFIED), "0, 1, 1, 0", True),
        (tuple(each.format("Relu") for each in RECTIFIED), "1, 0, 0, -1", False),
        (STEPPED, "0, 1, 0, 1", True),
        (STEPPED, "0, 1, 1, 1", False),
        (STEPPED, "0, 2, 1, 0", False),
    ],
)
def test_a_convolution_that_copies_keeps_what_is_known_of_its_elements(
    nodes: tuple[str, str], kernel: str, same: bool
) -> None:
    head = f"g (float[N,2,3] x) => (float[N,2,3] y) <float[2,2,1] k = {{{kernel}}}, float s = {{0.02}}, int8 z = {{3}}>"
    one, other = (text(f"{head} {{ {each} }}", opset=13) for each in nodes)
    assert compared(one, other).proved == same
