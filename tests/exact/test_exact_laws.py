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
    "a norm knows no scale": (
        "a = Mul(u, t) y = LayerNormalization<epsilon = 0.0>(a, s)",
        "a = Mul(u, f) y = LayerNormalization<epsilon = 0.0>(a, s)"
    ),
}  # fmt: skip


HIGHEST = "m = ReduceMax<axes = [-1]>(u) a = Sub(u, m)"
SUM = "e = Exp(a) s = ReduceSum<keepdims = 1>(e, last)"
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
}  # fmt: skip
APART = {
    "Relu(-2x) is not -2 Relu(x)": ("m = Mul(u, minus) y = Relu(m)", "r = Relu(u) y = Mul(r, minus)"),
    "another factor": ("m = Mul(u, t) y = Relu(m)", "r = Relu(u) y = Mul(r, f)"),
    "another sum": ("y = Softmax(u)", "e = Exp(u) w = Mul(e, t) s = ReduceSum<keepdims = 1>(w, last) y = Div(e, s)"),
    "another sign": ("y = Sigmoid(u)", "e = Exp(u) a = Add(e, one) y = Reciprocal(a)"),
    "two and exp(-x)": ("y = Sigmoid(u)", "n = Neg(u) e = Exp(n) a = Add(e, t) y = Reciprocal(a)"),
}
NUMBERS = (
    "t = Constant<value_float = 2.0>() f = Constant<value_float = 4.0>() minus = Constant<value_float = -2.0>() "
    "one = Constant<value_float = 1.0>() last = Constant<value_ints = [-1]>() "
    "several = Constant<value_floats = [1.0, 2.0, 0.5, 2.0]>()"
)


@pytest.mark.parametrize("name", [*PROVED, *APART])
def test_what_a_law_makes_the_same_is_proved_and_nothing_besides(name: str) -> None:
    one, other = (text(_both(f"{NUMBERS} {nodes}")) for nodes in (PROVED | APART)[name])
    inputs = feeds(one, {"N": 2})
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
