"""Layers in branches and loops, or read by them; each is converted by hand and must be proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from byhand import KERNEL, B, W, proved
from cases import PARTED, model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from textmodel import parse

import fc2conv


def branch(op_type: str, output: str) -> onnx.GraphProto:
    made = helper.make_node(op_type, ["y0"], [output])
    return helper.make_graph([made], output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def test_a_layer_whose_result_a_subgraph_reads() -> None:
    start = "g (float[N,3,2,2] x, bool c) => (float[N,6] y) <int64[2] to = {-1, 6}> "
    layer = "{ flat = Flatten(x) [fc] y0 = Gemm<transB=1>(flat, W, b) y = Identity(y0) }"
    original = model(start + layer, {"W": W, "b": B})
    converted = model(start + "{ [fc] y_conv = Conv(x, K, b) y0 = Reshape(y_conv, to) y = Identity(y0) }", KERNEL)
    for proto in (original, converted):
        choice = helper.make_node("If", ["c"], ["y"], then_branch=branch("Neg", "a"), else_branch=branch("Abs", "e"))
        proto.graph.node[-1].CopyFrom(choice)
    proved(original, converted)
    converted.graph.node[-1].attribute[0].g.node[0].op_type = "Exp"
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] == "inconclusive", result.checks  # another function, in one branch
    assert result.verdict != "proved"


def test_a_branch_that_numbers_do_not_run() -> None:
    """The branches give other shapes, so that nothing is known of the result's."""

    def choice(op_type: str) -> ModelProto:
        proto = model("g (float[2,3] x, bool c) => (float[A,B] y) { y = Identity(x) }", {})
        turned = helper.make_node("Transpose", ["e0"], ["e"], perm=[1, 0])
        branches = {
            name: helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])
            for name, out, nodes in (
                ("then_branch", "t", [helper.make_node("Relu", ["x"], ["t"])]),
                ("else_branch", "e", [helper.make_node(op_type, ["x"], ["e0"]), turned]),
            )
        }
        proto.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["y"], "choice", **branches))
        return proto

    assert verify(choice("Abs"), choice("Abs"), False).verdict == "proved"
    result = verify(choice("Abs"), choice("Exp"), False)
    assert (verdicts(result)["exact"], result.verdict) == ("inconclusive", "inconclusive"), result.checks


def in_branch(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> ModelProto:
    """A model whose one branch is given, and reads the outer x and b."""
    shape = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    inner = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    one = helper.make_graph(nodes, "one", [], [shape], inner)
    zero = helper.make_node("Flatten", ["x"], ["f"])
    cut = helper.make_node("Slice", ["f", "start", "end", "axis"], ["out"])
    other = helper.make_graph([zero, cut], "other", [], [shape])
    consts = {"start": np.array([0]), "end": np.array([6]), "axis": np.array([1]), "b": B}
    proto = model("g (float[N,3,2,2] x, bool c) => (float[N,6] y) { y = Identity(x) }", {})
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in consts.items())
    proto.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["y"], "if", then_branch=one, else_branch=other))
    return proto


def test_a_layer_in_a_subgraph() -> None:
    original = in_branch(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "W", "b"], ["out"], "fc", transB=1),
        ],
        {"W": W},
    )
    nodes = [
        helper.make_node("Conv", ["x", "K", "b"], ["out_conv"], "fc"),
        helper.make_node("Reshape", ["out_conv", "to"], ["out"]),
    ]
    weights = {"K": KERNEL["K"], "to": np.array([-1, 6])}
    proved(original, in_branch(nodes, weights))
    wrong = in_branch(nodes, weights | {"K": np.ascontiguousarray(KERNEL["K"][:, :, ::-1])})
    result = verify(original, wrong, True)
    assert verdicts(result)["exact"] in PARTED
    assert verdicts(verify(original, wrong, True))["exact"] in PARTED


def test_a_loop_whose_body_is_converted() -> None:
    """The body's input is known only by its place: `h` is a map that each turn makes into a map again."""

    def loop(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> ModelProto:
        float4 = [2, 3, 2, 2]
        body = helper.make_graph(
            [*nodes, helper.make_node("Identity", ["more"], ["still"])],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("more", TensorProto.BOOL, []),
                helper.make_tensor_value_info("h", TensorProto.FLOAT, float4),
            ],
            [
                helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                helper.make_tensor_value_info("back", TensorProto.FLOAT, float4),
            ],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        proto = model("g (float[2,3,2,2] x) => (float[2,3,2,2] y) { y = Identity(x) }", {})
        proto.graph.initializer.append(numpy_helper.from_array(np.array(3), "turns"))
        proto.graph.node[0].CopyFrom(helper.make_node("Loop", ["turns", "", "x"], ["y"], "loop", body=body))
        return proto

    square = random((12, 12), 4) / np.float32(8)
    make = helper.make_node
    to = {"to": np.array([2, 3, 2, 2])}
    layer = [make("Flatten", ["h"], ["f"]), make("Gemm", ["f", "W"], ["g"], "fc", transB=1)]
    original = loop([*layer, make("Reshape", ["g", "to"], ["back"])], {"W": square} | to)
    nodes = [make("Conv", ["h", "K"], ["g_conv"], "fc"), make("Reshape", ["g_conv", "to"], ["back"])]
    kernel = square.reshape(12, 3, 2, 2)
    proved(original, loop(nodes, {"K": kernel} | to))
    wrong = loop(nodes, {"K": np.ascontiguousarray(kernel[::-1])} | to)
    result = verify(original, wrong, True)
    assert verdicts(result)["exact"] == "differs", result.checks
    assert result.verdict == "differs"


SCAN = """g (float[N,3,4,5] x) => (float[A,B,C] y)
<float[3,2] p, float[6,2] r, float[2,2] s, int64[3] to = {{-1, 10, 6}}>
{{ m = GlobalMaxPool (x)  z = Flatten (m)  h = MatMul (z, p)  t = Flatten (x)  rows = Reshape (t, to)
  l, y = Scan <{axes}, num_scan_inputs = 1, body = b (state, row) => (next, seen) {{
     i = MatMul (row, r)  c = MatMul (state, s)  u = Add (i, c)  next = Tanh (u)  seen = Relu (next) }}> (h, rows) }}"""
AXES = {
    "forwards": "scan_input_axes = [1], scan_output_axes = [1]",
    "backwards": "scan_input_axes = [-2], scan_output_axes = [-1], scan_input_directions = [1]",
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_a_scan_over_rows_is_proved_by_what_one_step_does(axes: str) -> None:
    original = parse(SCAN.format(axes=axes))
    made = fc2conv.convert(original, options=fc2conv.Options(scope="all"))
    assert {layer.decision for layer in made.report.sites} == {"convert"}
    assert made.model is not None
    assert verdicts(verify(original, made.model, True))["exact"] == "proved"
    body = next(a for a in made.model.graph.node[-1].attribute if a.name == "body")
    next(node for node in body.g.node if node.op_type == "Relu").op_type = "Abs"
    result = verify(original, made.model, True)
    assert not result.verdict.accepted, result.checks


@pytest.mark.parametrize(
    ("split", "item", "read"),
    [
        ("<axis = 1> (x)", "float[N,1,4,2] item", "SequenceAt (m, second)"),
        ("<axis = 1> (x)", "float[N,1,4,2] item", "ConcatFromSequence <axis = 1> (m)"),
        ("<axis = 0> (x)", "item", "SequenceAt (m, first)"),
        ("<axis = 0, keepdims = 0> (x)", "item", "SequenceAt (m, first)"),
    ],
)
def test_what_a_sequence_map_makes_of_each_item_is_proved(split: str, item: str, read: str) -> None:
    original = parse(
        f"""g (float[N,3,4,2] x) => (y) <float[2,5] w, int64 first = {{0}}, int64 second = {{1}}>
        {{ s = SplitToSequence {split}
           m = SequenceMap (s) <body = b ({item}) => (made) {{ a = MatMul (item, w)  made = Relu (a) }}>
           y = {read} }}""",
        opset=17,
    )
    made = fc2conv.convert(original, options=fc2conv.Options(scope="all"))
    assert [layer.decision for layer in made.report.sites] == ["convert"]
    assert made.model is not None
    assert verdicts(verify(original, made.model, True))["exact"] == "proved"
    body = next(a.g for node in made.model.graph.node for a in node.attribute if a.name == "body")
    next(node for node in body.node if node.op_type == "Relu").op_type = "Abs"
    assert not verify(original, made.model, True).verdict.accepted


@pytest.mark.parametrize("sizes", [1, 2])
def test_what_fits_only_some_items_of_a_sequence_is_not_proved(sizes: int) -> None:
    text = """g (float[N,4,2] x) => (y)
    <float[2,5] w, int64 first = {0}, int64 size = {SIZE}, int64[3] to = {SIZE, 4, 2}>
    { s = SplitToSequence <axis = 0> (x, size)
      m = SequenceMap (s) <body = b (item) => (made) { READ  made = MatMul (i, w) }>
      y = SequenceAt (m, first) }""".replace("SIZE", str(sizes))
    reads = ("i = Relu (item)", "r = Relu (item)  i = Reshape (r, to)")
    plain, fixed = (parse(text.replace("READ", read), opset=17) for read in reads)
    assert (verify(plain, fixed, True).verdict == "proved") is (sizes == 1)


def test_a_weight_in_a_loop_of_a_loop_fixes_an_open_size() -> None:
    original = parse(
        """g (float[N,5,4] x) => (y) <float[1,1] w, float[1] b, int64 last = {2}>
        { t = Transpose <perm = [1, 2, 0]> (x)  s = Shape (t)  n = Gather (s, last)
          y = Loop (n, "", t) <body = outer (int64 i, bool on, around) => (going, next) { going = Identity (on)
            z = Loop (n, "", around) <body = inner (int64 k, bool go, state) => (goes, sum) { goes = Identity (go)
              m = MatMul (state, w)  sum = Add (m, b) }>
            next = Tanh (z) }> }""",
        opset=17,
    )
    made = fc2conv.convert(original, options=fc2conv.Options(scope="all"))
    assert [layer.decision for layer in made.report.sites] == ["convert"]
    assert made.report.verification is not None
    assert verdicts(made.report.verification)["exact"] == "proved"


def test_a_compress_by_a_constant_takes_these_places() -> None:
    text = """g (float[N,3,2,2] x) => (float[A,B] y)
    <float[12,5] w, bool[5] c = {{0, 1, 1, 0, 1}}, int64[3] i = {{1, 2, {}}}>
    {{ f = Flatten (x)  m = MatMul (f, w)  y = {} }}"""
    compressed = parse(text.format(4, "Compress <axis = 1> (m, c)"))
    assert verify(compressed, parse(text.format(4, "Gather <axis = 1> (m, i)")), False).verdict == "proved"
    assert verify(compressed, parse(text.format(3, "Gather <axis = 1> (m, i)")), False).verdict == "differs"


@pytest.mark.parametrize(
    "node",
    [
        "y = Scan <num_scan_inputs = 1, body = b (s, v) => (n, o) { n = Add (s, v)  o = Relu (n) }> (x, r)",
        """y, z = Scan <num_scan_inputs = 1, scan_input_axes = [7], scan_output_axes = [1, 1],
               body = b (s, v) => (n, o) { n = Add (s, v)  o = Relu (n) }> (x, r)""",
        """q = SplitToSequence <axis = 1> (x)
           m = SequenceMap (q) <body = b (v) => (n, o) { n = Neg (v)  o = Relu (v) }>
           y = SequenceAt (m, at)""",
    ],
)
def test_bodies_with_other_results_than_their_node_are_no_fault(node: str) -> None:
    """No runtime takes such a model, and it is the same as itself."""
    broken = parse(f"g (float[2,3] x, float[4,2,3] r) => (y) <int64 at = {{0}}> {{ {node} }}", opset=17)
    assert verdicts(verify(broken, broken, False))["exact"] == "proved"
