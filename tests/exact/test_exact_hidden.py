"""What is empty, or the same number, at all sizes that are run says nothing of larger ones."""

from __future__ import annotations

import pytest
from exact_models import agree, compared, text

GRAPH = """graph (float[N,4] x) => (float[M,4] y)
    <int64[1] h = {70}, int64[1] z = {0}, int64[1] one = {1}, int64[1] four = {4}, int64[1] end = {100000}> {
    s = Shape<start = 0, end = 1>(x) less = Sub(s, h) more = Max(less, z) large = Greater(s, h) %s }"""
BEHIND = "p = Slice(x, h, end, z) "
EXPANDED = "r = Slice(x, z, one, z) t = Concat<axis = 0>(more, four) p = Expand(r, t) "
FACTOR = "f = Cast<to = 1>(large) k = Mul(f, x) "

PART = {
    "behind an item": (BEHIND + "y = Neg(p)", BEHIND + "y = Abs(p)"),
    "before the end": ("p = Slice(x, z, less, z) y = Neg(p)", "p = Slice(x, z, less, z) y = Abs(p)"),
    "before a number": ("p = Slice(x, z, more, z) y = Neg(p)", "p = Slice(x, z, more, z) y = Abs(p)"),
    "beside others": (
        BEHIND + "a = Neg(p) y = Concat<axis = 0>(x, a)",
        BEHIND + "a = Abs(p) y = Concat<axis = 0>(x, a)",
    ),
    "repeated": (
        EXPANDED + "a = Neg(p) y = Concat<axis = 0>(x, a)",
        EXPANDED + "a = Abs(p) y = Concat<axis = 0>(x, a)",
    ),
    "summed": (BEHIND + "a = ReduceSum(p) y = Add(x, a)", BEHIND + "b = Neg(p) a = ReduceSum(b) y = Add(x, a)"),
    "summed by both": (BEHIND + "a = ReduceSum(p) y = Add(x, a)", BEHIND + "a = ReduceSum(p) y = Sub(x, a)"),
    "a factor of 0": (FACTOR + "y = Add(x, k)", FACTOR + "y = Sub(x, k)"),
    "a choice": ("a = Neg(x) c = Where(large, a, x) y = Sub(c, x)", "a = Neg(x) c = Where(large, a, x) y = Sub(x, c)"),
}
PICKED = """u = Constant<value_int = 0>() v = Constant<value_int = 1>() n = Squeeze(s) r = Range(u, n, v) c = Less(r, h)
    b = Add(r, n) i = Where(c, r, b) """
PART |= {
    f"picked by {operator}": tuple(
        f"{PICKED} a = {other}(x) d = Concat<axis = 0>(x, a) {made}" for other in ("Neg", "Abs")
    )
    for operator, made in {
        "Gather": "y = Gather(d, i)",
        "GatherND": "o = Unsqueeze(i, one) y = GatherND(d, o)",
        "Slice": "g = Add(s, more) e = Slice(d, z, g, z) y = Neg(e)",
    }.items()
}
SAME = {
    "picked": (
        f"{PICKED} a = Neg(x) d = Concat<axis = 0>(x, a) y = Gather(d, i)",
        f"{PICKED} m = Constant<value_float = -1.0>() a = Mul(m, x) d = Concat<axis = 0>(x, a) y = Gather(d, i)",
    ),
    "a factor of 0": (FACTOR + "y = Add(x, k)", FACTOR + "n = Neg(x) d = Sub(n, k) y = Neg(d)"),
    "a choice": (
        "a = Neg(x) c = Where(large, a, x) y = Sub(c, x)",
        "a = Neg(x) c = Where(large, a, x) b = Sub(x, c) y = Neg(b)",
    ),
    "nothing at all": ("p = Slice(x, z, z, z) y = Neg(p)", "p = Slice(x, z, z, z) y = Abs(p)"),
    "behind the end": ("p = Slice(x, s, end, z) y = Neg(p)", "p = Slice(x, s, end, z) y = Abs(p)"),
}


@pytest.mark.parametrize("name", PART)
def test_what_is_hidden_at_the_sizes_that_are_run_is_not_proved(name: str) -> None:
    one, other = (text(GRAPH % nodes) for nodes in PART[name])
    assert all(agree(one, other, items) for items in (2, 3))
    assert not agree(one, other, 80)
    found = compared(one, other)
    assert not found.proved, found.check


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_behind_it_is(name: str) -> None:
    one, other = (text(GRAPH % nodes) for nodes in SAME[name])
    assert all(agree(one, other, items) for items in (2, 3, 80))
    found = compared(one, other)
    assert found.proved, found.check


@pytest.mark.parametrize(
    "nodes",
    [
        "e = Constant<value = float[0] {}>() c = Concat<axis = 0>(e, e) r = ReduceSum(c) y = Add(x, r)",
        "n = NonZero(x) p = Slice(n, z, less, one) c = Cast<to = 1>(p) r = ReduceSum(c) y = Add(x, r)",
    ],
)
def test_nodes_that_read_nothing_or_a_value_without_a_shape_are_followed(nodes: str) -> None:
    one, other = (text(GRAPH % each) for each in (nodes, nodes.replace("Add(x, r)", "Add(r, x)")))
    assert agree(one, other, 3)
    found = compared(one, other)
    assert found.proved, found.check
