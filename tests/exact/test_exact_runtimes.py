"""What runtimes compute in corners of operators: at old opsets, at infinity, on empty axes, past the last integer."""

from __future__ import annotations

import execute
import numpy as np
import pytest
from exact_models import DOMAINS, Array, compared
from onnx import ModelProto
from textmodel import parse

MAP = "graph (float[1,1,1,16] x) => (float[1,1,1,{}] y) <float[4] s = {{1, 1, 1, {}}}> {{ {} }}"
NORM = "graph (float[4,2] x) => (float[4,2] y) <float[2] s, float[2] b, float[2] m, float[2] var> {{ {} }}"
DROPPED = "graph (float[N,3] x) => (float[N,3] y) { d, m = Dropout(x) f = Cast<to = 1>(m) y = Mul(x, f) }"
KEPT = "graph (float[N,3] x) => (float[N,3] y) { y = Identity(x) }"
POWER = "graph (int32[N,2] p, int32[N,2] z) => (int32[N,2] y) {{ {} y = Pow(z, e) }}"
GREATER = (
    "graph (uint32[N,2] x) => (bool[N,2] y) <{0} k = {{2147483648}}, {0} c = {{2147484148}}, {0} z = {{0}}> {{ {1} }}"
)
SUMS = "b = Mul(a, k) s = Add(b, c) y = Greater(s, z)"
LARGEST = (
    "graph (uint8[2,M] x) => (int32[2] y) { i = Cast<to = 6>(x) r = ReduceMax<axes = [1], keepdims = 0>(i) y = %s(r) }"
)
SPREAD = "graph (float[1,1,3] x) => (float[1,1,7] y) <float[1,1,2] w, int64[6] p = {{0, 0, {}, 0, 0, {}}}> {{ {} }}"
BEHIND = "z = ConvTranspose<strides = [2]>(x, w) y = Pad(z, p)"
WIDE = 'ConvTranspose<strides = [2], output_shape = [7], auto_pad = "SAME_UPPER">(x, w)'
TOP = (
    "graph (float[1,40] x) => (float[1,2] y) <int64[1] k = {%s}, int64[1] b = {0}, int64[1] e = {2}, int64[1] a = {1}> "
    "{ v, i = TopK<axis = 1, sorted = 0>(x, k) y = Slice(v, b, e, a) }"
)
CLAMPED = 'graph (float[N,3] x) => (float[N,3] y) {{ n = Constant<value_string = "{}">() i = Cast<to = 1>(n) {} }}'

APART: dict[str, tuple[int, str, str, dict[str, Array]]] = {
    "a norm that trains": (
        9, NORM.format("y, mean, v, saved, u = BatchNormalization(x, s, b, m, var)"),
        NORM.format("y = BatchNormalization(x, s, b, m, var)"), {}),
    "the cells of a smaller map": (
        10, MAP.format(6, 0.375, 'y = Resize<mode = "nearest">(x, s)'),
        MAP.format(6, 0.375, "i = Constant<value = int64[6] {0, 2, 5, 8, 10, 13}>() y = Gather<axis = 3>(x, i)"), {}),
    "the first of more without an order": (17, TOP % 20, TOP % 2, {}),
    "an exponent that wraps around": (
        17, POWER.format("e = Mul(p, p)"), POWER.format("w = Cast<to = 7>(p) e = Mul(w, w)"),
        {"p": np.full((2, 2), 65536, np.int32), "z": np.full((2, 2), 0, np.int32)}),
    "a place that wraps around": (
        17, "graph (int32[N,2] p, int32[4] t) => (int32[N,2] y) { e = Mul(p, p) y = Gather(t, e) }",
        "graph (int32[N,2] p, int32[4] t) => (int32[N,2] y) { w = Cast<to = 7>(p) e = Mul(w, w) y = Gather(t, e) }",
        {}),
    "a sum near the largest integer": (
        17, GREATER.format("int64", "a = Cast<to = 7>(x) " + SUMS),
        GREATER.format("double", "a = Cast<to = 11>(x) " + SUMS),
        {"x": np.full((2, 2), 2**32 - 1, np.uint32)}),
    "the largest of nothing": (17, LARGEST % "Relu", LARGEST % "Identity", {"x": np.zeros((2, 0), np.uint8)}),
    "a transposed convolution with zeros behind": (
        17, SPREAD.format(0, 1, "y = " + WIDE), SPREAD.format(1, 0, BEHIND), {}),
    "a maximum with infinity": (
        17, CLAMPED.format("inf", "r = Relu(x) c = Max(r, i) y = Reciprocal(c)"),
        CLAMPED.format("inf", "y = Reciprocal(x)"), {}),
    "a minimum with the negative infinity": (
        17, CLAMPED.format("-inf", "r = Relu(x) c = Min(r, i) y = Reciprocal(c)"),
        CLAMPED.format("inf", "y = Reciprocal(x)"), {}),
    "the mask of an older Dropout": (10, DROPPED, KEPT, {}),
    "the mask of an old Dropout": (
        7, DROPPED.replace("f = Cast<to = 1>(m)", "f = Identity(m)"), KEPT, {}),
}  # fmt: skip


def _models(opset: int, *graphs: str) -> list[ModelProto]:
    return [parse(graph, opset=opset, domains=DOMAINS) for graph in graphs]


@pytest.mark.parametrize("name", APART)
def test_what_runtimes_compute_otherwise_is_not_proved(name: str) -> None:
    opset, one, other, inputs = APART[name]
    models = _models(opset, one, other)
    found = compared(*models)
    assert not found.same, found.check
    assert compared(models[0], models[0]).same
    if name != "a place that wraps around":  # past the end there is none
        given = execute.feeds(models[0], {"N": 2, "M": 2}) | inputs
        assert execute.difference(*(execute.run(model, given) for model in models[::-1])) > 0.01


TOGETHER = {
    "a transposed convolution with zeros behind": (
        17, SPREAD.format(0, 1, "y = " + WIDE), SPREAD.format(0, 1, BEHIND)),
    "the cells of a smaller map": (
        10, MAP.format(6, 0.375, 'y = Resize<mode = "nearest">(x, s)'),
        MAP.format(6, 0.375, "i = Constant<value = int64[6] {0, 3, 6, 8, 11, 14}>() y = Gather<axis = 3>(x, i)")),
    "the cells of a larger map": (
        10, MAP.format(24, 1.5, 'y = Resize<mode = "nearest">(x, s)'),
        MAP.format(24, 1.5, 'e = Constant<value_floats = [0.0]>() y = Resize<mode = "nearest">(x, s)')),
    "the mask of a Dropout": (13, DROPPED, KEPT),
    "a Dropout that drops nothing": (
        17, "graph (float[N,3] x) => (float[N,3] y) <float r = {0}, bool t = {1}> { y = Dropout(x, r, t) }", KEPT),
    "bounds that are finite": (
        17, CLAMPED.format("inf", "r = Relu(x) y = Min(r, i)"), CLAMPED.format("inf", "y = Relu(x)")),
}  # fmt: skip


@pytest.mark.parametrize("name", TOGETHER)
def test_what_runtimes_compute_is_proved(name: str) -> None:
    opset, one, other = TOGETHER[name]
    models = _models(opset, one, other)
    given = execute.feeds(models[0], {"N": 2})
    assert execute.difference(*(execute.run(model, given) for model in models)) < 1e-5
    found = compared(*models)
    assert found.proved, found.check


def test_a_dropout_that_drops_all_is_not_one_that_drops_nothing() -> None:
    text = "graph (float[N,3] x, float r) => (float[N,3] y) <bool t = {1}> { y = Dropout(x, r, t) }"
    fixed = "graph (float[N,3] x) => (float[N,3] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }"
    for graph in (text, fixed):
        assert not compared(
            *_models(17, graph, KEPT.replace("x) =>", "x, float r) =>") if graph is text else KEPT)
        ).same


def test_a_word_is_one_constant_as_a_number_is() -> None:
    whole = (
        'graph (float[N,3] x) => (string[N,3] y) <float h = {0.5}, string[1] s = {"yes"}, string[1] t = {"%s"}> '
        "{ c = Greater(x, h) y = Where(c, s, t) }"
    )
    one, other, number = _models(17, whole % "no", whole % "never", whole % "1.5")
    assert compared(one, one).proved
    assert not compared(one, other).same
    assert compared(number, number).proved


NBITS = """graph (float[N,4,2048] x) => (float[N,4,128] y)
    <uint8[128,64,16] w, float16[8192] s, float16[8192] t, int64[2] to = {{-1, 2048}}, int64[3] back = {{-1, 4, 128}}>
    {{ z = Cast<to = 1>({}) {} }}"""
PRODUCT = "com.microsoft.MatMulNBits<K = 2048, N = 128, bits = 4, block_size = 32>"


@pytest.mark.parametrize(("scales", "same"), [("s", True), ("t", False)])
def test_packed_weights_may_have_computed_scales(scales: str, same: bool) -> None:
    one = NBITS.format("s", f"y = {PRODUCT}(x, w, z)")
    other = NBITS.format(scales, f"f = Reshape(x, to) p = {PRODUCT}(f, w, z) y = Reshape(p, back)")
    models = _models(17, one, other)
    given = execute.feeds(models[0], {"N": 2})
    assert (execute.difference(*(execute.run(model, given) for model in models)) < 1e-5) is same
    found = compared(*models)
    assert found.proved if same else not found.same
