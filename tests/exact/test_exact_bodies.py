"""Loops and scans: functions of what they carry and read."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, text
from execute import feeds, run

LOOP = """graph (float[N,4] x, int64 n) => (float[N,4] y) {{
    t = Constant<value = bool {{1}}>()
    l = Loop(n, t, x) <body = b (int64 i, bool c, float[N,4] v) => (bool d, float[N,4] w) {{
        d = Identity(c)
        {}
    }}>
    {}
}}"""


def test_a_loop_is_a_function_of_what_it_carries() -> None:
    one = text(LOOP.format("w = Sub(v, x)", "y = Relu(l)"))
    assert compared(one, text(LOOP.format("m = Neg(x) w = Add(v, m)", "y = Relu(l)"))).proved
    for body, end in (("w = Sub(x, v)", "y = Relu(l)"), ("w = Sub(v, x)", "y = LeakyRelu<alpha = 0.000001>(l)")):
        found = compared(one, text(LOOP.format(body, end)))
        assert found.parted, found.check
    found = compared(one, text(LOOP.format("m = Neg(x) w = Add(v, m)", "y = LeakyRelu<alpha = 0.000001>(l)")))
    assert found.parted, found.check


SCAN = """graph (float[5,N,4] x, float[N,4] s) => (float[N,4] y, float[5,N,4] z) {{
    y, z = Scan(s, x) <num_scan_inputs = 1, body = b (v, e) => (w, o) {{ {} o = Relu(w) }}>
}}"""
GROWS = """graph (float[N,4] x, int64 n) => (float[N,4] y) {{
    t = Constant<value = bool {{1}}>()
    l = Loop(n, t, x) <body = b (int64 i, bool c, v) => (bool d, w) {{ d = Identity(c) {} }}>
    m = ReduceMax<axes = [0], keepdims = 1>(l)
    y = Mul(x, m)
}}"""


def test_a_scan_is_a_function_of_what_it_carries_and_reads() -> None:
    one = text(SCAN.format("w = Sub(v, e)"))
    assert compared(one, text(SCAN.format("m = Neg(e) w = Add(v, m)"))).proved
    assert compared(one, text(SCAN.format("w = Sub(e, v)"))).parted


def test_a_scan_with_a_batch_is_one_as_well() -> None:
    """Before version 9 a Scan ran over the items of a batch, and its first operand was their lengths."""
    both = "graph (float[N,5,4] x, float[N,3] s) => (float[N,3] y, float[N,5,3] z) <float[4,3] w> {{ {} }}"
    scan = (
        'y, z = Scan("", s, x) <num_scan_inputs = 1, body = b (float[3] v, float[4] e) => (p, o) {{ {} o = Relu(p) }}>'
    )
    one, same, other = (
        text(both.format(scan.format(f"m = MatMul(e, w) {step}")), opset=8)
        for step in ("p = Add(v, m)", "n = Neg(m) p = Sub(v, n)", "p = Sub(v, m)")
    )
    assert compared(one, same).proved
    assert not compared(one, other).proved


def test_a_state_that_grows_is_a_whole() -> None:
    one = text(GROWS.format("w = Concat<axis = 0>(v, x)"))
    assert compared(one, one).proved
    assert not compared(one, text(GROWS.format("w = Concat<axis = 0>(x, v)"))).proved
    halves = "k = Constant<value_ints = [0]>() e = Constant<value_ints = [9]>() r = Slice(v, k, e, k)"
    assert not compared(one, text(GROWS.format(f"{halves} w = Concat<axis = 0>(r, x)"))).proved


STEPS = """graph (float[N,4] x) => (float[N,4] y, float[M,N,4] z)
    <float[4,4] w, int64 n = {3}, int64 two = {2}, bool t = {1}> {
    y, z = Loop(@) <body = b (int64 i, bool c, float[N,4] v) => (bool d, float[N,4] r, float[N,4] o) {
        d = % m = MatMul(v, w) f = Cast<to = 1>(i) r = Add(m, f) o = Relu(v)
    }>
}"""
WRITTEN = """graph (float[N,4] x) => (float[N,4] y, float[M,N,4] z) <float[4,4] w, int64[1] k = {0}> {
    one = Constant<value_float = 1.0>() two = Constant<value_float = 2.0>()
    a = MatMul(x, w) m = MatMul(a, w) b = Add(m, one) n = MatMul(b, w) y = Add(n, two)
    p = Relu(x) q = Relu(a) r = Relu(b) s = Unsqueeze(p, k) t = Unsqueeze(q, k) u = Unsqueeze(r, k)
    z = Concat<axis = 0>(s, t, u)
}"""


@pytest.mark.parametrize(
    ("operands", "condition", "edit", "same"),
    [
        ("n, t, x", "Identity(c)", ("", ""), True),
        ('n, "", x', "Identity(c)", ("", ""), True),
        ('"", t, x', "Less(i, two)", ("", ""), True),
        ('"", t, x', "LessOrEqual(i, two)", ("", ""), False),
        ("n, t, x", "Identity(c)", ("(s, t, u)", "(s, u, t)"), False),
        ("n, t, x", "Identity(c)", ("Add(m, one)", "Add(m, two)"), False),
        ("two, t, x", "Identity(c)", ("", ""), False),
    ],
)
def test_a_loop_of_known_steps_is_its_steps(operands: str, condition: str, edit: tuple[str, str], same: bool) -> None:
    one, other = text(STEPS.replace("@", operands).replace("%", condition)), text(WRITTEN.replace(*edit))
    inputs = feeds(one, {"N": 2})
    wanted, found = run(one, inputs), run(other, inputs)
    assert all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(wanted, found, strict=True)) == same
    assert compared(one, other).proved == same


def test_a_loop_of_as_many_steps_as_the_batch_has_items_is_not_that_of_one_batch() -> None:
    graph = "graph (float[N,4] x) => (float[N,4] y) {{ {} }}"
    nodes = 's = Shape<end = 1>(x) t = Constant<value_int = 2>() n = {} y = Loop(n, "", x) <{}>'
    body = "body = b (int64 i, bool c, float[N,4] v) => (bool d, float[N,4] w) { d = Identity(c) w = Neg(v) }"
    one, other = (text(graph.format(nodes.format(n, body))) for n in ("Squeeze(s)", "Identity(t)"))
    assert not compared(one, other).proved


SCANNED = """graph (float[N,4,3,2] x) => (float[N,24] y) <int64 one = {1}, int64[1] s = {1}, int64[1] e = {9}> {
    d = Shape(x) z = Slice(d, s, e) p, q = Scan(one, z) <num_scan_inputs = 1, body = b (a, v) => (r, o) {
        r = Mul(a, v) o = Add(r, v) }>
    n = Shape<end = 1>(x) %s t = Concat<axis = 0>(n, m) y = Reshape(x, t) }"""


def test_a_scan_over_sizes_is_its_steps() -> None:
    """Their product is 24, and what each step gives is 8, 15 and 26, of which the second is taken less the first."""
    plain = text("graph (float[N,4,3,2] x) => (float[N,24] y) { y = Flatten(x) }")
    picked = (
        "i = Constant<value_ints = [1, 2]>() w = Gather(q, i) a, b = Split<axis = 0>(w) k = Sub(b, a) m = Add(k, {})"
    )
    for made, same in (("u = Constant<value_ints = [0]>() m = Unsqueeze(p, u)", True), (picked.format("s"), False)):
        found = compared(plain, text(SCANNED % made))
        assert found.proved == same, found.check
    assert compared(plain, text(SCANNED % ("c = Constant<value_ints = [13]>() " + picked.format("c")))).proved
