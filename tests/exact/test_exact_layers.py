"""Layers as products and as convolutions, with their weights in other places and in parts."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, edited, reweighted, text
from execute import feeds, run
from onnx import numpy_helper

from fc2conv.verification.exact import evaluate

HEAD = "graph (float[N,4,3,5] x) => (float[N,6] y) <float[6,60] w, float[6] b> {{ f = Flatten(x) {} }}"
GEMM = HEAD.format("y = Gemm<transB = 1>(f, w, b)")

CONVOLUTIONS = {
    "a convolution": "c = Conv(x, w, b) y = Flatten(c)",
    "with a bias of its own": "c = Conv(x, w) d = Flatten(c) y = Add(d, b)",
    "as a product": "y0 = Conv(x, w) y1 = Flatten(y0) y2 = Identity(y1) y = Add(b, y2)",
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_layer_is_a_convolution(name: str) -> None:
    original = text(GEMM)
    graph = f"graph (float[N,4,3,5] x) => (float[N,6] y) <float[6,4,3,5] w, float[6] b> {{ {CONVOLUTIONS[name]} }}"
    assert compared(original, reweighted(text(graph), original)).proved


@pytest.mark.parametrize("outputs", [6, 80])
def test_a_stored_weight_that_only_moves_is_a_stored_weight(outputs: int) -> None:
    head = f"graph (float[N,60] x) => (float[N,{outputs}] y) <float[{outputs},60] w> "
    turned = text(f"{head}{{ t = Transpose(w) y = MatMul(x, t) }}")
    shape = f"s = Constant<value_ints = [{outputs}, 60, 1, 1]>() e = Constant<value_ints = [0, -1, 1, 1]>()"
    kernel = text(f"{head}{{ {shape} k = Reshape(w, s) r = Reshape(x, e) c = Conv(r, k) y = Flatten(c) }}")
    found = compared(turned, kernel)
    assert (found.proved, found.check.detail.endswith("error below 2^-60")) == (True, True)  # by symbols alone


def test_what_is_chosen_by_a_condition_is_chosen_in_any_layout() -> None:
    """A norm that is 0 where all features are equal, as jax2onnx writes it."""
    head = "graph (float[N,4,6] x) => (float[N,5,6] y) <float[4,5] w, float zero = {0.0}>"
    sizes = " ".join(f"{name} = Constant<value_ints = {shape}>()"
                     for name, shape in {"s": [5, 4, 1, 1], "i": [0, 4, 6, 1], "o": [0, 5, 6]}.items())  # fmt: skip
    extrema = "a = ReduceMin<axes = [AXIS]>(m) b = ReduceMax<axes = [AXIS]>(m) e = Equal(a, b) n = Where(e, CHOICE)"
    tokens = f"t = Transpose<perm = [0, 2, 1]>(x) m = MatMul(t, w) {extrema} y = Transpose<perm = [0, 2, 1]>(n)"
    kernel = f"{sizes} v = Transpose(w) k = Reshape(v, s) r = Reshape(x, i) m = Conv(r, k) {extrema} y = Reshape(n, o)"
    original = text(f"{head} {{ {tokens} }}".replace("AXIS", "2").replace("CHOICE", "zero, m"))
    maps = f"{head} {{ {kernel} }}".replace("AXIS", "1")
    found = compared(original, text(maps.replace("CHOICE", "zero, m")))
    assert (found.proved, found.check.detail.endswith("error below 2^-60")) == (True, True)  # by symbols alone
    assert not compared(original, text(maps.replace("CHOICE", "m, zero"))).proved


def test_a_kernel_is_a_sum_of_smaller_ones() -> None:
    original = text(GEMM)
    split = text(
        "graph (float[N,4,3,5] x) => (float[N,6] y) <float[6,4,3,2] left, float[6,4,3,3] right, float[6] b> {"
        " s = Constant<value_ints = [2, 3]>() l, r = Split<axis = 3>(x, s)"
        " c = Conv(l, left) d = Conv(r, right, b) e = Add(c, d) y = Flatten(e) }"
    )
    whole = numpy_helper.to_array(original.graph.initializer[0]).reshape(6, 4, 3, 5)
    reweighted(split, original)
    made = edited(edited(split, "left", lambda _: whole[..., :2].copy()), "right", lambda _: whole[..., 2:].copy())
    assert compared(original, made).proved
    wrong = edited(made, "left", lambda kernel: kernel[..., ::-1].copy())
    assert compared(original, wrong).parted


def test_one_ulp_of_a_weight_or_bias_is_another_function() -> None:
    original = text(GEMM)
    for name in ("w", "b"):
        found = compared(original, edited(original, name, _one_ulp))
        assert found.check.verdict == "differs", found.check


def _one_ulp(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    flat = values.reshape(-1)
    flat[-1] = np.nextafter(flat[-1], np.float32(np.inf))
    return values


def test_memory_follows_what_is_needed_and_not_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_ROOM", 1 << 16)
    hold, sizes = evaluate.Evaluator._hold, [0]

    def holds(self: evaluate.Evaluator, made: evaluate.Residues) -> None:
        hold(self, made)
        sizes.append(self.memo_bytes)

    monkeypatch.setattr(evaluate.Evaluator, "_hold", holds)
    head = "graph (float[N,16,64] x0) => (float[N,16,64] x16) <float[64,64{}] w> {{ {} }}"
    block = "{1} r{0} = Relu(m{0}) x{2} = Add(r{0}, x{0})"
    product = "m{0} = MatMul(x{0}, w)"
    there, back = (
        "{} = Transpose<perm = [0, 2, 1]>({})".format(*each) for each in (("t{0}", "x{0}"), ("m{0}", "c{0}"))
    )
    spatial = f"{there} c{{0}} = Conv(t{{0}}, w) {back}"
    one, other = (
        text(head.format(dims, " ".join(block.format(i, nodes.format(i), i + 1) for i in range(16))))
        for dims, nodes in (("", product), (",1", spatial))
    )
    weight = numpy_helper.to_array(one.graph.initializer[0])
    right = edited(other, "w", lambda _: np.ascontiguousarray(weight.T)[..., None])
    assert compared(one, right).proved
    assert max(sizes) < 1 << 18  # 16 values of 16 KiB


def test_alpha_is_rounded_into_the_weight_and_said() -> None:
    original = text(HEAD.format("y = Gemm<transB = 1, alpha = 0.3>(f, w, b)"))
    graph = (
        "graph (float[N,4,3,5] x) => (float[N,6] y) <float[6,4,3,5] w, float[6] b> { c = Conv(x, w, b) y = Flatten(c) }"
    )
    alpha = next(a.f for node in original.graph.node for a in node.attribute if a.name == "alpha")
    made = reweighted(text(graph), original)
    folded = edited(made, "w", lambda w: (w.astype(np.float64) * alpha).astype(np.float32))
    found = compared(original, folded)
    assert found.proved
    assert "rounded" in found.check.detail
    assert compared(original, edited(folded, "w", _one_ulp)).parted


@pytest.mark.parametrize(("named", "same"), [("Tanh", True), ("Relu", False)])
def test_a_recurrent_layer_may_name_the_functions_that_it_has_anyway(named: str, same: bool) -> None:
    graph = (
        "graph (float[5,N,4] x) => (float[5,1,N,3] y) <float[1,9,4] w, float[1,9,3] r> "
        "{{ y = GRU<hidden_size = 3{}>(x, w, r) }}"
    )
    one, other = (text(graph.format(each)) for each in ("", f', activations = ["Sigmoid", "{named}"]'))
    inputs = feeds(one, {"N": 3})
    assert np.array_equal(*(run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same
