"""Sizes that values decide: proved where both models have them in common, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, edited, reweighted, text

GRAPH = """graph (float[3,4] x, float[3,4] u) => (float[A,B] y) {{ n = NonZero(x) n2 = NonZero(u)
    z = Constant<value_ints = [0]>() o = Constant<value_ints = [1]>() m = Constant<value_ints = [-1]>()
    v = Constant<value_ints = [5]>() h = Constant<value_ints = [100]>() mo = Concat<axis = 0>(m, o)
    s = Shape<start = 1>(n) s2 = Shape<start = 1>(n2) t = Transpose<perm = [1, 0]>(n) t2 = Transpose<perm = [1, 0]>(n2)
    g = GatherND(x, t) g2 = GatherND(u, t2) c2 = Constant<value_float = 2.0>() c3 = Constant<value_float = 3.0>()
    d = Mul(g, c2) e = Mul(g, c3) {} }}"""
COLUMN, FORM = "y = Unsqueeze(g, o)", "y = Reshape(g, mo)"
CHOICE = "c = {}(s, {}) a = Where(c, {}, d) y = Unsqueeze(a, o)"
BRANCH = """c = Equal(s, z) y = If(c) <then_branch = t() => (float[P,Q] p) {{ w = Mul(g, {}) p = Unsqueeze(w, o) }},
    else_branch = e() => (float[P1,Q1] q) {{ q = {} }}>"""
EITHER = """c = Equal(s, z) w = If(c) <then_branch = t() => (float[P] p) { p = Constant<value_floats = [1.0]>() },
    else_branch = e() => (float[Q] q) { q = Mul(g, c2) }>"""
AS_MANY = """a = Greater(x, c2) b = Cast<to = 7>(a) c = ReduceSum<keepdims = 0>(b) k = Reshape(c, o)
    w, i = TopK<axis = 0>(g, k)"""
BOXES = """graph (float[1,6,4] b, float[1,1,6] c, float[1,2,8,8] x) => (float[A,B] y) <float[{}] W> {{
    k = Constant<value_ints = [5]>() f = Constant<value_floats = [0.5]>() n = NonMaxSuppression(b, c, k, f)
    i = Constant<value_int = 2>() j = Gather<axis = 1>(n, i) z = Constant<value_ints = [0]>() a = Squeeze(b, z)
    r = Gather(a, j) o = Constant<value_int = 0>() t = Gather<axis = 1>(n, o)
    p = RoiAlign<output_height = 2, output_width = 2>(x, r, t) {} }}"""
DENSE = "l = Flatten(p) h = Gemm<transB = 1>(l, W) y = Relu(h)"
CONVOLVED = "q = Conv(p, W) h = Flatten(q) y = Relu(h)"

SAME = {
    "another form": (COLUMN, FORM),
    "a form by the size itself": (COLUMN, "k = Concat<axis = 0>(s, o) y = Reshape(g, k)"),
    "all of them": (COLUMN, "a = Slice(g, z, s) y = Reshape(a, mo)"),
    "of equal operands": (
        "a = Greater(x, c2) b = NonZero(a) f = Transpose(b) r = GatherND(x, f) y = Unsqueeze(r, o)",
        "a = Less(c2, x) b1 = NonZero(a) f1 = Transpose(b1) r1 = GatherND(x, f1) y = Reshape(r1, mo)",
    ),
    "of both in order": (
        "a = Unsqueeze(g, o) b = Unsqueeze(g2, o) y = Concat<axis = 0>(a, b)",
        "b = Concat<axis = 0>(g, g2) y = Unsqueeze(b, o)",
    ),
    "the largest, as many": (
        "k, i = TopK<axis = 0>(g, s) y = Unsqueeze(k, o)",
        "k, i = TopK<axis = 0>(g, s) y = Reshape(k, mo)",
    ),
    "the largest, as many as values say": (f"{AS_MANY} y = Unsqueeze(w, o)", f"{AS_MANY} y = Reshape(w, mo)"),
    "of equal operands of other names": (
        "a = Greater(x, c2) b = NonZero(a) f = Transpose(b) r = GatherND(x, f) y = Unsqueeze(r, o)",
        "l = Less(c2, x) b1 = NonZero(l) f1 = Transpose(b1) r1 = GatherND(x, f1) y = Reshape(r1, mo)",
    ),
    "a branch of another size": (f"{EITHER} y = Unsqueeze(w, o)", f"{EITHER} y = Reshape(w, mo)"),
    "a branch for none": (BRANCH.format("c2", "Unsqueeze(g, o)"), BRANCH.format("c2", "Reshape(g, mo)")),
}
OTHER = {
    "another number of them": (COLUMN, "k = Concat<axis = 0>(s2, o) y = Reshape(g, k)"),
    "a row": (COLUMN, "k = Concat<axis = 0>(o, m) y = Reshape(g, k)"),
    "the number of others": (
        "a = Unsqueeze(s, o) y = Cast<to = 1>(a)",
        "b = Sub(s2, o) a = Unsqueeze(b, o) y = Cast<to = 1>(a)",
    ),
    "five of them": (COLUMN, "a = Slice(g, z, v) y = Reshape(a, mo)"),
    "a hundred of them": (COLUMN, "a = Slice(g, z, h) y = Reshape(a, mo)"),
    "as many as of others": (COLUMN, "a = Slice(g, z, s2) y = Reshape(a, mo)"),
    "at most a hundred": ("k = Min(s, h) a = Slice(g, z, k) y = Unsqueeze(a, o)", FORM),
    "other values of one": (CHOICE.format("Equal", "o", "g"), CHOICE.format("Equal", "o", "e")),
    "other values of five": (CHOICE.format("Equal", "v", "g"), CHOICE.format("Equal", "v", "e")),
    "other values of many": (CHOICE.format("Greater", "h", "g"), CHOICE.format("Greater", "h", "e")),
    "dimensions of one item": (COLUMN, "a = Reshape(g, mo) b = Unsqueeze(a, z) y = Squeeze(b)"),
    "another order of both": (
        "b = Concat<axis = 0>(g, g2) y = Unsqueeze(b, o)",
        "b = Concat<axis = 0>(g2, g) y = Unsqueeze(b, o)",
    ),
    "another branch for none": (BRANCH.format("c2", "Unsqueeze(g, o)"), BRANCH.format("c3", "Reshape(g, mo)")),
    "the mean of none": (
        "a = ReduceMean<keepdims = 0>(g) y = Reshape(a, mo)",
        "a = ReduceSum<keepdims = 0>(g) k = Max(s, o) b = Cast<to = 1>(k) q = Div(a, b) y = Reshape(q, mo)",
    ),
    "none or one": ("k = Min(s, o) f = Cast<to = 1>(k) y = Unsqueeze(f, o)", "f = Cast<to = 1>(o) y = Unsqueeze(f, o)"),
}


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_what_values_decide_is_an_open_size_that_both_models_share(name: str) -> None:
    one, other = (text(GRAPH.format(body)) for body in (SAME | OTHER)[name])
    found = compared(one, other)
    assert found.proved == (name in SAME), found.check.detail


def test_layers_behind_boxes_that_are_found_are_convolutions() -> None:
    """A weight that is one unit in the last place off is another layer."""
    dense = BOXES.format("3,8", DENSE)
    convolved = BOXES.format("3,2,2,2", CONVOLVED)
    one, other = text(dense), reweighted(text(convolved), text(dense))
    assert compared(one, other).proved
    assert not compared(one, edited(other, "W", lambda w: np.nextafter(w, np.float32(9)))).proved
