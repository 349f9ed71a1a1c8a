"""Loops and scans: functions of what they carry and read."""

from __future__ import annotations

from exact_models import compared, text

LOOP = """graph (float[N,4] x) => (float[N,4] y) {{
    n = Constant<value_int = 3>()
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
GROWS = """graph (float[N,4] x) => (float[N,4] y) {{
    n = Constant<value_int = 3>()
    t = Constant<value = bool {{1}}>()
    l = Loop(n, t, x) <body = b (int64 i, bool c, v) => (bool d, w) {{ d = Identity(c) {} }}>
    m = ReduceMax<axes = [0], keepdims = 1>(l)
    y = Mul(x, m)
}}"""


def test_a_scan_is_a_function_of_what_it_carries_and_reads() -> None:
    one = text(SCAN.format("w = Sub(v, e)"))
    assert compared(one, text(SCAN.format("m = Neg(e) w = Add(v, m)"))).proved
    assert compared(one, text(SCAN.format("w = Sub(e, v)"))).parted


def test_a_state_that_grows_is_a_whole() -> None:
    one = text(GROWS.format("w = Concat<axis = 0>(v, x)"))
    assert compared(one, one).proved
    assert not compared(one, text(GROWS.format("w = Concat<axis = 0>(x, v)"))).proved
    halves = "k = Constant<value_ints = [0]>() e = Constant<value_ints = [9]>() r = Slice(v, k, e, k)"
    assert not compared(one, text(GROWS.format(f"{halves} w = Concat<axis = 0>(r, x)"))).proved
