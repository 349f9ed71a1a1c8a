"""A layout in which a node works is made once; every other form is made of the nearest that is there."""

from __future__ import annotations

import pytest
from proving_kinds import proved
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, opset_versions
from fc2conv.layout.axes import Axis, Layout, Size
from fc2conv.planning.costs import Costs
from fc2conv.rewrite.layout_nodes import LayoutNodes
from fc2conv.rewrite.tensors import Tensors

LAYOUT = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
NORMS = """graph (float[N,3,8,8] x) => (float[N,36,6] y)
<float[6,3,3,3] k, int64[3] t = {{0, 6, 36}}, float[6] g, float[6] h, float[6,6] a, float[6,6] b>
{{ c = Conv <kernel_shape = [3, 3]> (x, k)
  r = Reshape (c, t)
  tokens = Transpose <perm = [0, 2, 1]> (r)
  n = LayerNormalization <axis = -1> (tokens, g)
  m = LayerNormalization <axis = -1> ({again}, h)
  [a] u = MatMul (m, a)
  s = Add (n, u)
  [b] y = MatMul (s, b) }}"""
MAP: Layout = tuple((Axis(name, Size(size)),) for name, size in (("n", 2), ("c", 3), ("h", 4), ("w", 5)))
LAST: Layout = (MAP[0], MAP[2], MAP[3], MAP[1])
TOKENS: Layout = (MAP[0], MAP[2] + MAP[3], MAP[1])


@pytest.mark.parametrize("again", ["n", "tokens"])
def test_norms_share_the_layout_in_which_they_work(again: str) -> None:
    # A Transpose in front of both, one behind each, and two nodes at the end.
    model, report = proved(parse(NORMS.format(again=again), opset=17), scope="all")
    assert len(report.converted) == 2
    assert sum(node.op_type in LAYOUT for node in model.graph.node) == 5
    assert [head.layout_after for head in report.heads] == [5]


@pytest.mark.parametrize(
    ("beside", "target", "read", "made"),
    [
        (None, TOKENS, "map", ["Transpose", "Reshape"]),
        (LAST, TOKENS, "last", ["Reshape"]),
        (LAST, LAST, "last", ["Identity"]),
        (TOKENS, LAST, "last", ["Reshape"]),
        (TOKENS, MAP[:1] + MAP[:0:-1], "map", ["Transpose"]),
    ],
)
def test_a_form_is_made_of_the_nearest_that_is_there(
    beside: Layout | None, target: Layout, read: str, made: list[str]
) -> None:
    model = parse("graph (float[2,3,4,5] map) => (float[2,3,4,5] y) { y = Relu (map) }")
    graph = Graph(model.graph, opset_versions(model), ir_version=8)
    nodes = LayoutNodes(
        graph, Tensors(Constants(graph, model_file_from_proto(model)), set(), {}, lambda _: False), Costs()
    )
    if beside is not None:
        nodes.remember((MAP, "map"), (beside, "last"))
    written = nodes.write(MAP, target, "map", "made", "map")
    assert [node.op_type for node in written] == made
    assert written[0].input[0] == read
