"""Nodes without a rule, and values without a shape: they hide no difference."""

from __future__ import annotations

import pytest
from exact_models import compared, text


def test_an_operator_without_a_rule_is_a_hash_of_its_operands() -> None:
    graph = "graph (float[N,3,4,4] x) => (float[N,3,1,1] y) {{ {} y = GlobalLpPool<p = 3>({}) }}"
    turned = "a = Transpose<perm = [0, 1, 3, 2]>(x) b = Transpose<perm = [0, 1, 3, 2]>(a)"
    assert compared(text(graph.format("r = Relu(x)", "r")), text(graph.format("r = Relu(x)", "r"))).proved
    assert compared(text(graph.format("", "x")), text(graph.format(turned, "b"))).proved
    apart = compared(text(graph.format("", "x")), text(graph.format("n = Neg(x)", "n")))
    assert not apart.proved


HIDING = "graph (float[N,3,4,4] x) => (float[N,3,1,1] y) { r = Relu(x) l = GlobalLpPool<p = 3>(r) y = Neg(l) }"
HIDDEN = {
    "elements that are not the same": HIDING.replace("GlobalLpPool<p = 3>(r)", "GlobalLpPool<p = 3>(s)").replace(
        "l = ", "o = Constant<value_float = 1e-30>() s = Add(r, o) l = "
    ),
    "another function behind it": HIDING.replace(
        "y = Neg(l)", "o = Constant<value_float = 1e-30>() n = Neg(l) y = Add(n, o)"
    ),
    "another function of another form of it": HIDING.replace("GlobalLpPool<p = 3>(r)", "GlobalLpPool<p = 3>(s)")
    .replace("l = ", "o = Constant<value_float = 2.0>() t = Mul(r, o) s = Div(t, o) l = ")
    .replace("y = Neg(l)", "p = Constant<value_float = 1e-30>() n = Neg(l) y = Add(n, p)"),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_a_node_without_a_rule_hides_no_difference(name: str) -> None:
    found = compared(text(HIDING), text(HIDDEN[name]))
    assert found.parted, found.check


TURNED = HIDING.replace("GlobalLpPool<p = 3>(r)", "GlobalLpPool<p = 3>(s)").replace(
    "l = ", "s = Transpose<perm = [0, 1, 3, 2]>(r) m = "
).replace("y = Neg(l)", "l = Transpose<perm = [0, 1, 3, 2]>(m) y = Neg(l)")  # fmt: skip


def test_a_node_without_a_rule_may_read_another_layout() -> None:
    found = compared(text(HIDING), text(TURNED))
    assert not found.proved
    assert not found.parted, found.check


ELSEWHERE = {
    "an offset": ("y = Neg(l)", "o = Constant<value_float = 1e-30>() n = Neg(l) y = Add(n, o)"),
    "a function": ("r = Relu(x)", "r = LeakyRelu<alpha = 0.000001>(x)"),
    "another operator": ("m = GlobalLpPool<p = 3>(s)", "m = Abs(s)"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_layout_of_a_node_without_a_rule_explains_no_other_difference(name: str) -> None:
    found = compared(text(HIDING), text(TURNED.replace(*ELSEWHERE[name])))
    assert found.parted, found.check


def test_another_layout_of_a_node_without_a_rule_explains_no_other_attribute() -> None:
    found = compared(text(HIDING), text(TURNED.replace("p = 3", "p = 4")))
    assert found.parted, found.check


def test_a_value_without_a_shape_explains_no_other_number() -> None:
    graph = "graph (float[N,4] x) => (float[M] y) {{ n = NonZero(x) t = Transpose(n) g = GatherND(x, t) {} }}"
    same, other = (f"o = Constant<value_float = {value}>() y = Add(g, o)" for value in ("0.5", "0.50000006"))
    assert compared(text(graph.format(same)), text(graph.format(same))).proved
    assert compared(text(graph.format(same)), text(graph.format(other))).parted


DRAWN = """graph (float[N,4] x, bool k) => (float[N,4] y) {{ {} y = Add(x, d) }}"""
BRANCH = """{0} = If(k)<then_branch = a () => (float[1,4] r) {{ {1} r = RandomNormal<shape = [1, 4]>() }},
    else_branch = b () => (float[1,4] s) {{ s = RandomNormal<shape = [1, 4]>() }}> """


def test_branches_of_several_nodes_draw_numbers_of_their_own() -> None:
    both = BRANCH.format("u", "") + BRANCH.format("v", "o = Constant<value_float = 1.0>()")
    one, other, same = (
        text(DRAWN.format(each)) for each in (f"{both} d = Sub(u, v)", "d = Sub(x, x)", f"{both} d = Sub(u, v)")
    )
    assert not compared(one, other).proved
    assert compared(one, same).proved


@pytest.mark.parametrize(("factor", "proved"), [(0.25, True), (0.5, False)])
def test_an_attention_over_heads_is_scaled_by_the_width_of_one(factor: float, proved: bool) -> None:
    head = "graph (float[2,4,3,16] q, float[2,4,3,16] k, float[2,4,3,16] v) => (float[2,4,3,16] y)"
    parts = f"""t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t) c = Constant<value_float = {factor}>()
        m = Mul(s, c) p = Softmax<axis = -1>(m) y = MatMul(p, v)"""
    attention = "y = Attention<q_num_heads = 4, kv_num_heads = 4>(q, k, v)"
    one, other = (text(f"{head} {{ {each} }}", opset=23) for each in (attention, parts))
    assert compared(one, other).proved == proved
