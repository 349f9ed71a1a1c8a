"""As many steps as an axis has items, and branches by its size: what two sizes show is not all that there is."""

from __future__ import annotations

import pytest
from exact_models import agree, compared, text
from onnx import ModelProto

GRAPH = """graph (float[N,4] x) => (float[N,4] y) <float[4,4] w, int64 most = {70}, int64 zero = {0}> {
    s = Shape<start = 0, end = 1>(x) size = Squeeze(s) less = Sub(size, most) small = Less(size, most) %s }"""
LOOP = (
    """%s y = Loop(%s, %s, first) <body = b (int64 i, bool c, float[M,4] v) => (bool d, float[M,4] r) { d = %s %s }>"""
)
BRANCH = "y = If(small) <then_branch = b () => (t) { %s }, else_branch = c () => (e) { %s }>"


def loop(
    body: str, count: str = "size", first: str = "Identity(x)", goes: str = '""', condition: str = "Identity(c)"
) -> ModelProto:
    return text(GRAPH % (LOOP % (f"first = {first}", count, goes, condition, body)))


def behind(end: str) -> ModelProto:
    body = "z = Constant<value_ints = [0]>() o = Unsqueeze(v, z) t = Tanh(o) r = Squeeze(t, z)"
    steps = LOOP % ("first = Identity(x)", "size", '""', "Identity(c)", body)
    return text(GRAPH % f"{steps.replace('y = Loop', 'last = Loop')} {end}")


def branch(then: str, other: str) -> ModelProto:
    return text(GRAPH % (BRANCH % (then, other)))


PRODUCT = "m = MatMul(v, w) r = Tanh(m)"
CONVOLUTION = """k = Transpose(w) a = Constant<value_ints = [2, 3]>() l = Unsqueeze(k, a) u = Unsqueeze(v, a)
    n = Conv(u, l) m = Squeeze(n, a) r = Tanh(m)"""
PARTS = "a, b = Split<axis = 1>(w) g = MatMul(v, a) h = MatMul(v, b) m = Concat<axis = 1>(g, h) r = Tanh(m)"
COPIES = " ".join(f"copy{i} = Identity(v)" for i in range(30))
SAME = {
    "the outputs of a layer in two parts": (loop(PRODUCT), loop(PARTS)),
    "more nodes in each of many steps": (loop(PRODUCT, "most"), loop(f"{COPIES} {PRODUCT}", "most")),
    "a layer in each step": (loop(PRODUCT), loop(CONVOLUTION)),
    "steps from seventy items on": (loop(PRODUCT, "less"), loop(CONVOLUTION, "less")),
    "below seventy items": (loop(PRODUCT, "most", goes="small"), loop(CONVOLUTION, "most", goes="small")),
    "while there are items": (
        loop(PRODUCT, '""', condition="Less(i, less)"),
        loop(CONVOLUTION, '""', condition="Less(i, less)"),
    ),
    "a layer behind a state that each step gives another shape and back": (
        behind("y = MatMul(last, w)"),
        behind(f"{CONVOLUTION.replace('(v', '(last').replace(' r = Tanh(m)', '')} y = Identity(m)"),
    ),
    "a layer in each branch": (
        branch("t = MatMul(x, w)", "m = Neg(x) e = MatMul(m, w)"),
        branch(f"v = Identity(x) {CONVOLUTION} t = Identity(m)", f"v = Neg(x) {CONVOLUTION} e = Identity(m)"),
    ),
}
PART = {
    "no steps below seventy items": (loop("r = Neg(v)", "less"), text(GRAPH % "y = Identity(x)")),
    "other steps from seventy items on": (loop("r = Neg(v)", "less"), loop("r = Abs(v)", "less")),
    "other steps behind seventy": (
        loop("r = Neg(v)"),
        loop("o = Less(i, most) n = Neg(v) a = Abs(v) r = Where(o, n, a)"),
    ),
    "another start where no step is taken": (
        loop("r = Neg(x)", "most", goes="small"),
        loop("r = Neg(x)", "most", "Abs(x)", "small"),
    ),
    "one step below 72 items": (
        loop("r = Neg(x)", '""', condition="Less(i, less)"),
        loop("o = Equal(i, zero) n = Neg(x) r = Where(o, n, x)", '""', condition="Less(i, less)"),
    ),
    "a part in steps that are not taken": (
        loop("r = Neg(v)", "less"),
        loop("a = Constant<value_ints = [0]>() z = Unsqueeze(most, a) p = Slice(v, a, z, a) r = Neg(p)", "less"),
    ),
    "another branch": (
        branch("t = MatMul(x, w)", "e = Neg(x)"),
        branch("t = MatMul(x, w)", "e = Abs(x)"),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_steps_that_are_the_same_functions_are_proved(name: str) -> None:
    one, other = SAME[name]
    assert all(agree(one, other, items) for items in (1, 2, 3, 69, 70, 71, 75))
    found = compared(one, other)
    assert found.proved, found.check


@pytest.mark.parametrize("name", PART)
def test_steps_that_part_where_none_was_run_are_not_proved(name: str) -> None:
    one, other = PART[name]
    assert all(agree(one, other, items) for items in (2, 3))
    assert not all(agree(one, other, items) for items in (70, 71, 75))
    found = compared(one, other)
    assert not found.proved, found.check
