"""The graph about a head: what is drawn of it, what changed, and which nodes belong together."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from textmodel import parse

import fc2conv
from fc2conv.diagrams.drawings import MAX_NODES, MAX_SITES
from fc2conv.options import Options
from fc2conv.report.parts import Graph, HeadDrawing

VGG = """graph (float[N,3,8,8] x) => (float[N,5] y)
<float[4,3,3,3] k, float[6,36] w1, float[5,6] w2>
{
  [c0] c = Conv (x, k)
  [r0] a = Relu (c)
  [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
  [flat] f = Flatten (p)
  [fc1] g = Gemm <transB = 1> (f, w1)
  [relu] r = Relu (g)
  [fc2] y = Gemm <transB = 1> (r, w2)
}"""


def drawing(text: str, **more: str) -> HeadDrawing:
    (head,) = fc2conv.plan(parse(text), Options(illustrate=True, **more)).heads  # type: ignore[arg-type]
    assert head.drawing is not None
    return head.drawing


def nodes(graph: Graph) -> list[tuple[str, str, str]]:
    return [(node.name, node.op_type, node.change) for node in graph.nodes if node.kind == "node"]


def edges(graph: Graph) -> list[tuple[str, str, str]]:
    names = [node.name or node.kind for node in graph.nodes]
    return [(names[edge.source], names[edge.target], edge.shape) for edge in graph.edges]


def test_before_and_after() -> None:
    found = drawing(VGG)
    assert nodes(found.before) == [
        ("pool", "MaxPool", "same"),
        ("flat", "Flatten", "removed"),
        ("fc1", "Gemm", "changed"),
        ("relu", "Relu", "rewired"),
        ("fc2", "Gemm", "changed"),
    ]
    assert nodes(found.after) == [
        ("pool", "MaxPool", "same"),
        ("fc1", "Conv", "changed"),
        ("relu", "Relu", "rewired"),
        ("fc2", "Conv", "changed"),
        ("y_flatten", "Flatten", "added"),
    ]
    assert ("flat", "fc1", "N x 36") in edges(found.before)
    assert ("pool", "fc1", "N x 4 x 3 x 3") in edges(found.after)
    assert [n.detail for n in found.after.nodes if n.op_type == "Conv"] == ["6 x 4 x 3 x 3", "5 x 6 x 1 x 1"]


def test_it_says_where_the_graph_goes_on_and_where_it_ends() -> None:
    for graph in (drawing(VGG).before, drawing(VGG).after):
        assert edges(graph)[0] == ("more", "pool", "N x 4 x 6 x 6")
        assert edges(graph)[-1][1:] == ("y", "N x 5")


def test_counterparts_lead_to_each_other() -> None:
    found = drawing(VGG)
    linked = [i for i, node in enumerate(found.before.nodes) if node.counterpart is not None]
    assert [found.before.nodes[i].name for i in linked] == ["pool", "fc1", "relu", "fc2"]
    for i in linked:
        other = found.before.nodes[i].counterpart
        assert other is not None
        assert found.after.nodes[other].counterpart == i
        assert found.after.nodes[other].name == found.before.nodes[i].name
    assert sum(node.counterpart is not None for node in found.after.nodes) == len(linked)


def test_nodes_without_names_are_paired_by_what_they_make() -> None:
    """The spatial form of `r` is `r_s`."""
    found = drawing(VGG.replace("[relu]", "").replace("[fc1]", ""))
    assert ("g", "Gemm", "changed") in nodes(found.before)
    assert ("r", "Relu", "rewired") in nodes(found.before)
    assert ("g", "Conv", "changed") in nodes(found.after)
    assert ("r_s", "Relu", "rewired") in nodes(found.after)


def test_a_long_head_is_clipped() -> None:
    layers = "\n".join(f"  [fc{i}] h{i + 1} = Gemm <transB = 1> (h{i}, w{i})" for i in range(30))
    weights = ", ".join(f"float[6,6] w{i}" for i in range(30))
    text = f"""graph (float[N,6,1,1] x) => (float[N,6] h30) <{weights}>
    {{ [flat] h0 = Flatten (x)\n{layers} }}"""
    found = drawing(text)
    assert found.sites_left_out == 30 - MAX_SITES
    for graph in (found.before, found.after):
        drawn = [name for name, _, _ in nodes(graph)]
        assert [f"fc{i}" for i in range(MAX_SITES)] == [name for name in drawn if name.startswith("fc")][:MAX_SITES]
        assert len(drawn) <= MAX_NODES
        assert edges(graph)[-1][1] == "more"


def test_a_value_that_many_read_does_not_flood_the_drawing() -> None:
    readers = "\n".join(f"  [tanh{i}] t{i} = Tanh (p)" for i in range(20))
    outputs = ", ".join(f"float[N,4,3,3] t{i}" for i in range(20))
    text = VGG.replace("(float[N,5] y)", f"(float[N,5] y, {outputs})").replace("\n}", f"\n{readers}\n}}")
    assert len(drawing(text).before.nodes) < 12


def test_a_constant_in_another_shape_is_a_change() -> None:
    text = VGG.replace("[relu] r = Relu (g)", "[relu] r = PRelu (g, slope)").replace("] w2", "] w2, float[6] slope")
    (node,) = [node for node in drawing(text).after.nodes if node.name == "relu"]
    assert (node.change, node.detail) == ("changed", "1 x 6 x 1 x 1")


def test_a_size_without_a_name_is_a_question_mark() -> None:
    model = parse(VGG)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, -1], np.int64), "shape"))
    model.graph.node[3].op_type = "Reshape"
    model.graph.node[3].input.append("shape")
    (head,) = fc2conv.plan(model, Options(illustrate=True)).heads
    assert head.drawing is not None
    shapes = {shape for graph in (head.drawing.before, head.drawing.after) for *_, shape in edges(graph) if shape}
    assert shapes >= {"? x 4 x 3 x 3", "? x 5"}
    assert all(shape.startswith("? x ") and "unk__" not in shape for shape in shapes)
