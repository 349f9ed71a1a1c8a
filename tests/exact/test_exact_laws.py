"""A difference is one for certain, also behind functions, but not where a law of theirs may undo it."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, edited, text


def one_ulp(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    values.reshape(-1)[-1] = np.nextafter(values.reshape(-1)[-1], np.float32(np.inf))
    return values


def _both(nodes: str) -> str:
    return f"graph (float[N,4] x, float[N,4] x2) => (float[N,4] y) {{ u = Add(x, x2) {nodes} }}"


TWO_LAYERS = "graph (float[N,4] x) => (float[N,3] y) <float[4,5] v, float[5,3] w> {{ a = MatMul(x, v) r = {}(a) {} }}"
LAWS = {
    "Relu(2x) is 2 Relu(x)": ("m = Mul(u, t) y = Relu(m)", "r = Relu(u) y = Mul(r, t)"),
    "sqrt(4x) is 2 sqrt(x)": ("m = Mul(u, f) y = Sqrt(m)", "r = Sqrt(u) y = Mul(r, t)"),
    "exp(a + b) is exp(a) exp(b)": ("y = Exp(u)", "a = Exp(x) b = Exp(x2) y = Mul(a, b)"),
    "a Softmax knows no shift": ("a = Add(u, t) y = Softmax(a)", "a = Add(u, f) y = Softmax(a)"),
    "a norm knows no scale": (
        "a = Mul(u, t) y = LayerNormalization<epsilon = 0.0>(a, s)",
        "a = Mul(u, f) y = LayerNormalization<epsilon = 0.0>(a, s)"
    ),
}  # fmt: skip


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
