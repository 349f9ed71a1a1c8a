"""Integer arithmetic on shapes, and the reshapes that it feeds."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from fc2conv.layout.integers import evaluate
from inferring import Seen, look
from textmodel import parse

from fc2conv.graph import label
from fc2conv.layout.context import Context
from fc2conv.layout.facts import Dies

CONSTANTS = """int64 zero = {0}, int64[1] z = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4},
 int64[1] minus = {-1}, int64[1] five = {5}, int64[1] three = {3}, int64[1] end = {9223372036854775807},
 int64 step = {2}, int64[2] pair = {1, 3}, int64[4] index = {0, 1, 2, 3}"""


def value(nodes: str, shape: str = "N,4,6,H", opset: int = 13) -> list[str] | None:
    """What is known of `v`, a tensor that is computed from the shape of x."""
    plan = look(f"graph (float[{shape}] x) => (int64[?] v) <{CONSTANTS}> {{ {nodes} }}", opset=opset).plan
    context = Context(plan.graph, plan.constants, {}, {}, views=dict(plan.facts.views))
    for node in plan.graph.nodes:
        found = evaluate(context, node)
        if found is not None:
            context.ints[node.output[0]] = found
    return None if "v" not in context.ints else [str(size) for size in context.ints["v"]]


def computed(nodes: str, shape: str = "1,4,6,2") -> list[str]:
    """What onnxruntime makes of it."""
    model = parse(f"graph (float[{shape}] x) => (int64[?] v) <{CONSTANTS}> {{ {nodes} }}")
    (v,) = run(model, {"x": np.zeros([int(size) for size in shape.split(",")], np.float32)})
    return [str(size) for size in v]


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ("v = Shape (x)", ["N", "4", "6", "H"]),
        ("s = Shape (x) v = Gather (s, zero)", ["N"]),
        ("s = Shape (x) v = Gather (s, pair)", ["4", "H"]),
        ("s = Shape (x) v = Gather (s, minus)", ["H"]),
        ("s = Shape (x) v = Slice (s, one, minus)", ["4", "6"]),
        ("s = Shape (x) v = Slice (s, minus, end)", ["H"]),
        ("s = Shape (x) a = Gather (s, zero) b = Unsqueeze (a, z) v = Concat <axis = 0> (b, minus)", ["N", "-1"]),
        ("s = Shape (x) a = Gather (s, one) b = Gather (s, two) v = Mul (a, b)", ["24"]),
        ("s = Shape (x) a = Gather (s, z) v = Mul (a, four)", ["4*N"]),
        ("s = Shape (x) a = Gather (s, z) b = Mul (a, four) v = Div (b, two)", ["2*N"]),
        ("s = Shape (x) a = Gather (s, z) b = Mul (a, four) v = Div (b, a)", ["4"]),
        ("s = Shape (x) a = Gather (s, one) v = Div (five, a)", ["1"]),
        ("s = Shape (x) a = Gather (s, one) v = Sub (a, five)", ["-1"]),
        ("s = Shape (x) a = Gather (s, z) v = Sub (a, a)", ["0"]),
        ("s = Shape (x) a = Gather (s, z) v = Add (a, z)", ["N"]),
        ("s = Shape (x) a = Gather (s, z) v = Add (a, a)", ["2*N"]),
        ("s = Shape (x) a = Gather (s, z) v = Sub (z, a)", ["?v[0]"]),
        ("s = Shape (x) a = Gather (s, z) v = Add (a, one)", ["?v[0]"]),
        ("s = Shape (x) a = Gather (s, z) v = Div (a, two)", ["?v[0]"]),
        ("v = Size (x)", ["24*H*N"]),
        ("s = Shape (x) a = Cast <to = 6> (s) v = Cast <to = 7> (a)", ["N", "4", "6", "H"]),
        ("s = Shape (x) o = ConstantOfShape <value = int64[1] {7}> (one) a = Gather (s, one) v = Mul (o, a)", ["28"]),
        ("s = Shape (x) a = Gather (s, one) v = ConstantOfShape <value = int64[1] {7}> (a)", ["7"] * 4),
        ("s = Shape (x) b = Slice (s, one, two) a = Squeeze (b) v = Range (zero, a, step)", ["0", "2"]),
    ],
)
def test_chains(nodes: str, wanted: list[str] | None) -> None:
    assert value(nodes) == wanted


def test_shape_with_start_and_end() -> None:
    assert value("v = Shape <start = 1, end = -1> (x)", opset=15) == ["4", "6"]
    assert value("v = Shape <start = -1> (x)", opset=15) == ["H"]


def test_where_around_the_target_of_expand() -> None:
    nodes = """s = Shape (x)
        e = Equal (s, minus)
        o = ConstantOfShape <value = int64[1] {1}> (four)
        v = Where (e, o, s)"""
    assert value(nodes) == ["N", "4", "6", "H"]


def test_a_comparison_of_symbols_is_not_decided() -> None:
    assert value("s = Shape (x) a = Gather (s, z) e = Equal (a, five) v = Where (e, five, a)") is None


def test_division_truncates_as_onnx_does() -> None:
    nodes = "s = Shape (x) a = Gather (s, one) b = Sub (z, a) v = Div (b, three)"
    assert value(nodes) == computed(nodes) == ["-1"]


def test_a_quotient_of_floats_is_not_truncated() -> None:
    nodes = """s = Shape (x) a = Gather (s, one) b = Gather (s, three) c = Gather (s, two)
        p = Cast <to = 1> (a) q = Cast <to = 1> (b) r = Cast <to = 1> (c)
        d = Div (p, q) m = Mul (d, r) v = Cast <to = 7> (m)"""
    assert computed(nodes, "1,4,6,3") == ["8"]  # 4 / 3 of 6
    assert value(nodes, "1,4,6,3") in (None, ["8"])


# ------------------------------------------------------------------ what they are for


def flattened_by(nodes: str, shape: str = "N,4,6,2") -> Seen:
    return look(f"graph (float[{shape}] x) => (float[?,?] y) <{CONSTANTS}> {{ {nodes} }}")


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Shape (x) a = Gather (s, zero) b = Unsqueeze (a, z) t = Concat <axis = 0> (b, minus) y = Reshape (x, t)",
        "s = Shape (x) b = Slice (s, z, one) t = Concat <axis = 0> (b, minus) y = Reshape (x, t)",
        """s = Shape (x) n = Gather (s, z) c = Gather (s, one) h = Gather (s, two) p = Mul (c, h) q = Mul (p, two)
           t = Concat <axis = 0> (n, q) y = Reshape (x, t)""",
        """s = Shape (x) c = Gather (s, one) h = Gather (s, two) p = Mul (c, h) q = Mul (p, two)
           t = Concat <axis = 0> (minus, q) y = Reshape (x, t)""",
    ],
)
def test_a_target_computed_from_the_shape(nodes: str) -> None:
    seen = flattened_by(nodes)
    assert (seen.dims("y"), seen.twin("y")) == ("x.0 | x.1 x.2 x.3", "x.0 | x.1 | x.2 | x.3")
    chain = [label(node) for node in seen.plan.graph.nodes[:-1]]
    assert all(isinstance(seen.recipe(name), Dies) for name in chain)


def test_a_symbol_that_nobody_knows_stands_for_what_is_left() -> None:
    seen = flattened_by(
        """s = Shape (x) n = Gather (s, z) more = Add (n, one) less = Sub (more, one)
        k = Constant <value = int64[1] {48}> () t = Concat <axis = 0> (less, k) y = Reshape (x, t)"""
    )
    assert seen.dims("y") == "x.0 | x.1 x.2 x.3"
