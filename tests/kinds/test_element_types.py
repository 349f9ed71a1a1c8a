"""Results of types that layout nodes do not take: the model that is written runs wherever the original does."""

from __future__ import annotations

from collections import Counter

import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv

HEAD = "<float[4,3,1,1] k, float[36,5] w, float[5] b> { m = Conv (x, k)  f = Flatten (m)  [fc] g = Gemm (f, w, b)"


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("int64", "y = Cast <to = 7> (g)"),
        ("uint8", "a = Abs (g)  y = Cast <to = 2> (a)"),
        ("bool", "a = Sigmoid (g)  y = Less (a, g)"),
        ("int32", "c = Cast <to = 6> (g)  y = Identity (c)"),
        ("bool", "a = Less (g, g)  y = Not (a)"),
    ],
)
@pytest.mark.parametrize("opset", [7, 8])
def test_a_flatten_of_old_takes_floats_alone(opset: int, kind: str, node: str, scope: str) -> None:
    model = parse(f"graph (float[N,3,3,3] x) => ({kind}[N,5] y) {HEAD}  {node} }}", opset=opset)
    conversion = fc2conv.convert(model, scope=scope)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(conversion.model, inputs)) == 0
    assert Counter(node.op_type for node in conversion.model.graph.node)["Conv"] == 2
    assert conversion.report.layout_nodes.after == 1


@pytest.mark.parametrize(
    ("opset", "kind", "to"), [(19, "float8e4m3fn", 17), (21, "float8e5m2", 19), (21, "int4", 22), (21, "uint4", 21)]
)
def test_numbers_that_no_layout_node_takes_keep_their_form(opset: int, kind: str, to: int) -> None:
    """Four bits and float8: such a result is made behind the layout node, and a pair of casts stays on the map."""
    left = parse(f"graph (float[N,3,3,3] x) => ({kind}[N,5] y) {HEAD}  y = Cast <to = {to}> (g) }}", opset=opset)
    nodes = [node.op_type for node in fc2conv.convert(left).model.graph.node]
    assert nodes == ["Conv", "Conv", "Flatten", "Cast"]
    text = f"graph (float[N,3,3,3] x) => (float[N,5] y) {HEAD}  c = Cast <to = {to}> (g)  y = Cast <to = 1> (c) }}"
    back = parse(text, opset=opset)
    conversion = fc2conv.convert(back)
    inputs = feeds(back, {"N": 2})
    assert difference(run(back, inputs), run(conversion.model, inputs)) < 1e-6
    assert [node.op_type for node in conversion.model.graph.node] == ["Conv", "Conv", "Cast", "Cast", "Flatten"]
