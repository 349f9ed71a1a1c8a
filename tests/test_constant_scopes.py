"""What is constant: in which scope, and who may replace it."""

from __future__ import annotations

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from test_constants import constants_of
from textmodel import parse

import fc2conv
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, subgraphs


def listed(ir_version: int) -> ModelProto:
    """A weight that is also an input."""
    model = parse(
        "graph (float[2] x) => (float[2] y) <float[2] w> { t = Neg (w) y = Add (x, t) }", ir_version=ir_version
    )
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    return model


@pytest.mark.parametrize(("ir_version", "freeze", "constant"), [(3, False, True), (8, False, False), (8, True, True)])
def test_a_weight_that_is_also_an_input(ir_version: int, freeze: bool, constant: bool) -> None:
    constants = constants_of(listed(ir_version), freeze=freeze)
    assert constants.is_constant("w") == constants.is_constant("t") == constant
    assert constants.is_overridable("w") != constant
    assert (constants.array("w") is not None) == constant


def test_inputs_and_what_is_made_of_them_are_no_constants() -> None:
    constants = constants_of(listed(3))
    assert not any(constants.is_constant(name) for name in ("x", "y", "", "nothing"))
    assert constants.stored("x") is None


def inner_constants(model: ModelProto, branch: str) -> Constants:
    outer = constants_of(model)
    (node,) = [node for node in outer.graph.nodes if node.op_type == "If"]
    inner: GraphProto = dict(subgraphs(node))[branch]
    graph = Graph(inner, outer.graph.opsets, ir_version=4, outer=outer.graph, path=branch)
    return Constants(graph, outer.file, outer)


BRANCH = """graph (float[2,3] x, bool p) => (float[?,?] y) <float[3,2] w>
{ t = Transpose (w)
  h = Neg (x)
  y = If (p) <
     then_branch = a () => (float[?,?] o) { q = Mul (t, t)  o = Add (h, q) },
     else_branch = b () => (float[?,?] e) { t2 = Transpose (t)  e = Transpose (t2) }
  > }"""


def test_constants_of_outer_scopes_are_seen() -> None:
    model = parse(BRANCH)
    weight = numpy_helper.to_array(model.graph.initializer[0])
    constants = inner_constants(model, "then_branch")
    assert constants.is_constant("w")
    assert constants.is_constant("t")
    assert not constants.is_constant("h")
    np.testing.assert_array_equal(constants.array("t"), weight.T)
    np.testing.assert_allclose(constants.array("q"), weight.T * weight.T, rtol=1e-6)
    np.testing.assert_array_equal(inner_constants(model, "else_branch").array("e"), weight.T)


def test_what_a_caller_may_replace_is_no_constant_within_either() -> None:
    model = parse(BRANCH)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2]))
    constants = inner_constants(model, "then_branch")
    assert not constants.is_constant("t")
    assert constants.is_overridable("w")


def test_a_name_of_the_inner_scope_hides_the_outer_one() -> None:
    model = parse(BRANCH)
    branch = next(graph for name, graph in subgraphs(model.graph.node[2]) if name == "then_branch")
    branch.node[0].output[0] = "w"  # ONNX forbids it, and files do it
    branch.node[0].input[0] = branch.node[0].input[1] = "h"
    assert not inner_constants(model, "then_branch").is_constant("w")


@pytest.mark.parametrize("op_type", ["If", "Loop"])
def test_what_subgraphs_compute_is_no_constant(op_type: str) -> None:
    node = helper.make_node(op_type, ["p"], ["y"])
    tensors = [numpy_helper.from_array(np.array(True), "p")]
    constants = constants_of(helper.make_model(helper.make_graph([node], "g", [], [], tensors)))
    assert constants.is_constant("p")
    assert not constants.is_constant("y")


def test_operators_of_other_domains_are_no_constants() -> None:
    constants = constants_of(parse("graph () => (float[2] y) <float[2] w> { y = my.Thing (w) }", domains={"my": 1}))
    assert not constants.is_constant("y")


IN_A_HEAD = {
    "a bias": "float[24,5] w, int32[5] q = {1, 2, 3, 4, 5} | [fc] y = Gemm <beta = 0.5> (f, w, c)",
    "a factor": f"float[24,5] w, int8[24] q = {{{', '.join(map(str, range(24)))}}} |"
    " g = Mul (f, c) [fc] y = Gemm (g, w)",
}


@pytest.mark.parametrize("name", IN_A_HEAD)
def test_dequantized_constants_in_a_head(name: str) -> None:
    declared, nodes = IN_A_HEAD[name].split(" | ")
    model = parse(
        f"""graph (float[N,4,3,2] x) => (float[N,5] y) <{declared}, float s = {{0.5}}>
        {{ f = Flatten (x)
           c = DequantizeLinear (q, s)
           {nodes} }}"""
    )
    converted = fc2conv.convert(model, options=fc2conv.Options(verify=False))
    assert [layer.decision for layer in converted.report.sites] == ["convert"]
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(converted.model, inputs)) < 1e-5
