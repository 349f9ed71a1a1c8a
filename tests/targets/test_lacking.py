"""Layout operators that a target lacks become Reshapes."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from limited import converted
from textmodel import parse

import fc2conv
from fc2conv import Options


@pytest.mark.parametrize("target", ["dla", "axelera"])
def test_what_a_target_lacks_becomes_a_reshape(target: str) -> None:
    text = """graph (float[N,4,3,3] x) => (float[N,6] y, float[N,4,1,3,3] z) <int64[1] a = {2}, float[36,6] w>
    { f = Flatten (x)  [fc] y = Gemm (f, w)  z = Unsqueeze (x, a) }"""
    model, report = converted(parse(text), Options(target=target))
    operators = {node.op_type for node in model.graph.node}
    assert "Unsqueeze" not in operators
    assert ("Flatten" in operators) == (target == "axelera")
    assert report.operators["Unsqueeze"].before == 1
    assert report.operators["Unsqueeze"].after == 0
    assert "a" not in {tensor.name for tensor in model.graph.initializer}


def test_what_a_target_lacks_in_a_branch_is_exchanged_by_the_shapes_around_it() -> None:
    text = """graph (float[N,4,3,3] x, bool c) => (float[N,6] y, float[N,36] z) <float[36,6] w>
    { r = Relu (x)  f = Flatten (r)  [fc] y = Gemm (f, w)
      z = If (c) <then_branch = t () => (float[N,36] u) { u = Flatten (r) },
                  else_branch = e () => (float[N,36] v) { n = Neg (r)  v = Flatten (n) }> }"""
    _, report = converted(parse(text), Options(target="dla"))
    assert report.operators["Flatten"].after == 0


def test_the_batch_of_a_shape_that_was_given_is_not_written() -> None:
    """A shape of the command line counts only where the model's own sizes tell no target."""
    model = parse("""graph (float[N,2,3,4] x) => (float[N,7] y, float[P,Q] z) <float[24,7] w>
    { f = Flatten (x)  [fc] y = MatMul (f, w)  z = Flatten <axis = 2> (x) }""")
    done = fc2conv.convert(model, target="dla", input_shapes={"x": (2, 2, 3, 4)})
    assert "Flatten" not in {node.op_type for node in done.model.graph.node}
    inputs = feeds(model, {"N": 3})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
