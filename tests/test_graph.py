"""The index over a scope: order, readers, names."""

from __future__ import annotations

import onnx
import pytest
from onnx import AttributeProto, GraphProto, NodeProto, helper
from textmodel import parse

from fc2conv.errors import InputError
from fc2conv.ir.attributes import made_attribute
from fc2conv.ir.graph import (
    Graph,
    attribute,
    float_attribute,
    int_attribute,
    ints_attribute,
    label,
    new_node,
    op,
    reads,
)

CHAIN = """graph (float[2] x) => (float[2] y) <float[2] w>
{ [one] a = Relu (x)
  [two] b = Add (a, w)
  [three] c = Neg (x)
  [four] y = Add (b, c) }"""
BRANCH = """graph (float[2] x, bool p) => (float[2] y) <float[2] w>
{ a = Relu (x)
  [if] y = If (p) <
     then_branch = then () => (float[2] t) { inner = Neg (a)  t = Add (inner, w) },
     else_branch = other () => (float[2] x) { }
  > }"""


def graph_of(text: str, order: list[int] | None = None, **options: object) -> Graph:
    model = parse(text)
    if order is not None:
        nodes = [NodeProto.FromString(model.graph.node[i].SerializeToString()) for i in order]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return Graph(model.graph, {"": 13}, **{"ir_version": 8, **options})  # type: ignore[arg-type]


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_nodes_in_order_stay_as_they_are() -> None:
    for order in ([0, 1, 2, 3], [2, 0, 1, 3], [0, 2, 1, 3]):
        wanted = [["one", "two", "three", "four"][i] for i in order]
        assert names(graph_of(CHAIN, order)) == wanted


@pytest.mark.parametrize(
    ("order", "wanted"),
    [([3, 2, 1, 0], ["one", "two", "three", "four"]), ([1, 2, 0, 3], ["one", "two", "three", "four"])],
)
def test_nodes_out_of_order_are_sorted(order: list[int], wanted: list[str]) -> None:
    graph = graph_of(CHAIN, order)
    assert names(graph) == wanted or names(graph)[-1] == "four"
    assert graph_of(CHAIN).ordered
    assert not graph.ordered
    for i, node in enumerate(graph.nodes):
        assert all(graph.producer.get(name, -1) < i for name in node.input)
    assert names(graph_of(CHAIN, order)) == names(graph)


def test_sorting_moves_no_more_than_it_must() -> None:
    assert names(graph_of(CHAIN, [2, 1, 0, 3])) == ["three", "one", "two", "four"]


def test_what_a_subgraph_reads_comes_first() -> None:
    graph = graph_of(BRANCH, [1, 0])
    assert [node.op_type for node in graph.nodes] == ["Relu", "If"]


def test_what_a_subgraph_makes_itself_it_does_not_wait_for() -> None:
    """A name that is made behind a node is not visible in its subgraphs, and may be that of another value there."""
    graph = parse(
        """g (float[N,2] x, bool c) => (float[N,2] y)
        { i = If (c) <then_branch = t () => (float[N,2] v) { h = Relu (x)  v = Neg (h) },
                      else_branch = e () => (float[N,2] u) { u = Loop (n, , x) <body = b (int64 k, bool d, float[N,2] h)
                          => (bool o, float[N,2] m) { o = Identity (d)  m = Neg (h) }> }>
          h = Neg (i)  y = Relu (h)  n = Constant <value = int64 {2}> () }"""
    ).graph
    assert [node.op_type for node in Graph(graph, {"": 13}, ir_version=8).nodes] == ["Constant", "If", "Neg", "Relu"]


@pytest.mark.parametrize("path", ["", "loop.body"])
def test_a_cycle_is_refused_by_the_name_of_a_node_in_it(path: str) -> None:
    model = parse(CHAIN)
    model.graph.node[0].input[0] = "b"
    with pytest.raises(InputError, match="cycle through node '(one|two)'" + (f" in {path}" if path else "")):
        Graph(model.graph, {"": 13}, ir_version=8, path=path)


def test_a_node_that_reads_itself_is_a_cycle() -> None:
    graph = GraphProto(node=[helper.make_node("Add", ["x", "y"], ["y"], "loop")])
    with pytest.raises(InputError, match="'loop'"):
        Graph(graph, {"": 13}, ir_version=8)


def test_long_chains_out_of_order_need_no_stack() -> None:
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(3000)]
    graph = Graph(GraphProto(node=nodes[::-1]), {"": 13}, ir_version=8)
    assert [node.input[0] for node in graph.nodes[:2]] == ["v0", "v1"]


def test_makers_and_readers() -> None:
    graph = graph_of(CHAIN)
    assert graph.producer == {"a": 0, "b": 1, "c": 2, "y": 3}
    assert (graph.uses["x"], graph.uses["w"]) == ([0, 2], [1])
    assert graph.kinds == ["Relu", "Add", "Neg", "Add"]
    assert (graph.operands[1], graph.results[1]) == (("a", "w"), ("b",))
    assert graph.made_by("b") is graph.nodes[1]
    assert graph.made_by("x") is None


def test_one_reader_counts_once_however_often_it_reads() -> None:
    graph = Graph(GraphProto(node=[helper.make_node("Mul", ["x", "x"], ["y"])]), {"": 13}, ir_version=8)
    assert graph.uses == {"x": [0]}


def test_what_subgraphs_read() -> None:
    graph = graph_of(BRANCH)
    assert graph.captured.keys() >= {"a", "w", "x"}
    assert graph.captured["a"] == [1]
    assert [(i, name) for i, name, _ in graph.bodies] == [(1, "then_branch"), (1, "else_branch")]
    assert list(reads([graph.nodes[1]])) == ["p", "a", "inner", "w", "t", "x"]


def test_every_name_in_use() -> None:
    names = graph_of(BRANCH).names
    assert names >= {"x", "p", "y", "a", "if", "w", "inner", "t"}


@pytest.mark.parametrize(("ir_version", "freeze", "wanted"), [(3, False, set()), (4, False, {"w"}), (8, True, set())])
def test_initializers_that_a_caller_may_replace(ir_version: int, freeze: bool, wanted: set[str]) -> None:
    model = parse("graph (float[2] x) => (float[2] y) <float[2] w> { y = Add (x, w) }")
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [2]))
    graph = Graph(model.graph, {"": 13}, ir_version=ir_version, freeze=freeze)
    assert graph.overridable == wanted


def test_no_caller_reaches_a_subgraph() -> None:
    model = parse("graph (float[2] x) => (float[2] y) <float[2] w> { y = Add (x, w) }")
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [2]))
    outer = graph_of(CHAIN)
    assert Graph(model.graph, {"": 13}, ir_version=8, outer=outer).overridable == set()


def test_opset_under_either_name_of_the_domain() -> None:
    for domain in ("", "ai.onnx"):
        assert Graph(GraphProto(), {domain: 17, "com.microsoft": 1}, ir_version=8).opset == 17
    assert Graph(GraphProto(), {}, ir_version=8).opset == 1


def test_operators_are_named_with_their_domain() -> None:
    assert op(helper.make_node("Gemm", [], [])) == op(helper.make_node("Gemm", [], [], domain="ai.onnx")) == "Gemm"
    assert op(helper.make_node("Gemm", [], [], domain="my")) == "my::Gemm"


def test_labels() -> None:
    assert label(helper.make_node("Relu", ["x"], ["y"], "act")) == "act"
    assert label(helper.make_node("Split", ["x"], ["", "y"])) == "y"
    assert label(helper.make_node("Sink", ["x"], [])) == "Sink"


def test_a_present_zero_is_not_absent() -> None:
    node = helper.make_node("Gemm", [], [], transB=0, alpha=0.0, axes=[1, 2])
    assert (int_attribute(node, "transB", 1), float_attribute(node, "alpha", 1.0)) == (0, 0.0)
    assert (int_attribute(node, "transA", 1), float_attribute(node, "beta", 1.0)) == (1, 1.0)
    assert (ints_attribute(node, "axes"), ints_attribute(node, "pads")) == ([1, 2], None)


def test_new_nodes_leave_out_what_is_none() -> None:
    node = new_node("Transpose", ["x"], ["y"], "t", perm=[1, 0], axis=None)
    assert [a.name for a in node.attribute] == ["perm"]
    found = attribute(node, "perm")
    assert found is not None
    assert found.type == AttributeProto.INTS


def test_an_empty_list_is_one_of_integers() -> None:
    made = made_attribute("axes", [])
    assert (made.name, made.type, list(made.ints)) == ("axes", AttributeProto.INTS, [])
