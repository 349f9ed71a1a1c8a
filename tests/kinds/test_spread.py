"""Functions of each element behind a Concat do not keep a layer from being the sum of its parts."""

from __future__ import annotations

from collections import Counter

import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv
from fc2conv import Options

HEAD = "graph (float[N,4,3,5] x, float[N,7] v) => (float[N,6] y{}) <float[67,6] w, float[6] b, float lo = {{0}}>"
MAP = "c = Sigmoid (x)  f = Flatten (c)"
FUNCTIONS = {
    "one": ("k = Concat <axis = 1> (f, v)  a = Relu (k)", 1),
    "several": ("k = Concat <axis = 1> (v, f)  d = Dropout (k)  e = Clip (d, lo)  a = LeakyRelu (e)", 3),
}


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_map_and_a_vector_behind_functions(name: str, scope: str) -> None:
    text, count = FUNCTIONS[name]
    model = parse(f"{HEAD.format('')} {{ {MAP}  {text}  [fc] y = Gemm (a, w, b) }}")
    done = fc2conv.convert(model, None, Options(scope=scope))  # type: ignore[arg-type]
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    made = Counter(node.op_type for node in done.model.graph.node)
    assert made["Conv"] == 2
    assert not made["Concat"]
    assert sum(made[each] for each in ("Relu", "Dropout", "Clip", "LeakyRelu")) == 2 * count
    assert done.report.layout_nodes.after == 2


@pytest.mark.parametrize("between", ["", "a = Tanh (j)"], ids=["plain", "function"])
def test_a_concat_of_a_concat_is_read_part_by_part(between: str) -> None:
    text = f"""graph (float[N,4,3,5] x, float[N,7] v, float[N,2] u) => (float[N,6] y) <float[69,6] w>
    {{ {MAP}  k = Concat <axis = 1> (v, f)  j = Concat <axis = -1> (u, k)  {between}
      [fc] y = MatMul ({"a" if between else "j"}, w) }}"""
    model = parse(text)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    made = Counter(node.op_type for node in done.model.graph.node)
    assert (made["Conv"], made["Concat"]) == (3, 0)
    # One for each vector, and the result.
    assert done.report.layout_nodes.after == 3


@pytest.mark.parametrize("axis", [None, 0], ids=["tensor", "output"])
def test_a_quantized_map_and_vector_are_a_sum(axis: int | None) -> None:
    """Rounding behind the Concat is one of each element, and the rows of a quantized weight share its scales."""
    scale, option = ("float s_var", "") if axis is None else ("float[6] s_var", "<axis = 0>")
    text = f"""graph (float[N,4,3,5] x, float[N,7] v) => (float[N,6] y)
    <int8[6,67] w, {scale}, float s = {{0.03}}, uint8 z = {{128}}>
    {{ {MAP}  k = Concat <axis = 1> (f, v)  q = QuantizeLinear (k, s, z)  a = DequantizeLinear (q, s, z)
      d = DequantizeLinear {option} (w, s_var)
      [fc] y = Gemm <transB = 1> (a, d) }}"""
    model = parse(text, scale=30)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-4
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    made = Counter(node.op_type for node in done.model.graph.node)
    assert (made["Conv"], made["Concat"], made["QuantizeLinear"]) == (2, 0, 2)
    assert done.report.layout_nodes.after == 2


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        (", float[N,67] a", "k = Concat <axis = 1> (f, v)  a = Relu (k)"),  # read outside
        ("", "k = Concat <axis = 1> (f, v)  a = Softmax <axis = 1> (k)"),  # no function of each element
    ],
)
def test_what_is_read_elsewhere_and_what_mixes_stays(outputs: str, text: str) -> None:
    model = parse(f"{HEAD.format(outputs)} {{ {MAP}  {text}  [fc] y = Gemm (a, w, b) }}")
    done = fc2conv.convert(model, None, Options(scope="all"))
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert "Concat" in {node.op_type for node in done.model.graph.node}


def test_maps_of_one_extent_are_joined_on_the_channels() -> None:
    text = """graph (float[N,4,3,5] x) => (float[N,6] y) <float[120,6] w>
    { c = Sigmoid (x)  f = Flatten (c)  d = Tanh (x)  g = Flatten (d)
      k = Concat <axis = 1> (f, g)  a = Relu (k)  [fc] y = MatMul (a, w) }"""
    made = Counter(node.op_type for node in fc2conv.convert(parse(text)).model.graph.node)
    assert (made["Relu"], made["Concat"], made["Conv"]) == (1, 1, 1)


@pytest.mark.parametrize(("opset", "plus"), [(6, "Sum"), (7, "Add")])
def test_the_sum_of_convolutions_is_an_operator_that_onnxruntime_has(opset: int, plus: str) -> None:
    model = parse(
        f"""{HEAD.format("")} {{ f = Flatten (x)  k = Concat <axis = 1> (f, v)  [fc] y = MatMul (k, w) }}""",
        opset=opset,
    )
    done = fc2conv.convert(model, None, Options(scope="all"))
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    made = [node.op_type for node in done.model.graph.node]
    assert made.count("Conv") == 2
    assert plus in made


@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_a_part_of_more_dimensions_than_the_map_is_a_vector(scope: str) -> None:
    """Rows of channels that Gather picks are a dimension of their own: two volumes beside an image."""
    model = parse(
        """graph (float[N,3,1,1] x) => (float[N,5] y, float[N,3] r)
        <float[7,5] w, int64[1,3] i = {1, 0, 2}, int64[2] t = {-1, 3}>
        { c = Sigmoid (x)  l = Flatten (c)  g = Gather <axis = 1> (c, i)  r = Reshape (g, t)
          m = GlobalAveragePool (g)  f = Flatten (m)  k = Concat <axis = 1> (r, l, f)  [fc] y = MatMul (k, w) }"""
    )
    done = fc2conv.convert(model, None, Options(scope=scope))  # type: ignore[arg-type]
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert len(done.report.converted) == 1


def test_a_constant_of_more_dimensions_than_the_parts_is_no_mismatch() -> None:
    """The layer is kept for its layout, or converted as it is, and not for a shape that only the parts would have."""
    text = f"""graph (float[N,4,3,5] x, float[N,7] v) => (float[1,N,6] y) <float[67,6] w, float[1,1,67] more>
    {{ {MAP}  k = Concat <axis = 1> (f, v)  a = Add (k, more)  [fc] y = MatMul (a, w) }}"""
    model = parse(text)
    (kept,) = fc2conv.plan(model).sites
    assert kept.reason is not None
    assert kept.reason.code == "FC301"
    done = fc2conv.convert(model, scope="all")
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert [layer.decision for layer in done.report.sites] == ["convert"]


def test_a_weight_on_the_left_that_a_node_makes_is_behind_no_concat() -> None:
    """A Constant reads nothing, so that it has no operand to look behind."""
    text = """graph (float[N,4,3,5] x, float[N,4,3,2] v) => (float[N,4,2,5] y, float[N,4,3,7] z)
    { c = Sigmoid (x)  z = Concat <axis = 3> (c, v)
      w = Constant <value = float[2,3] {0.5, 1.5, -0.25, 0.75, 1.0, 2.0}> ()  [fc] y = MatMul (w, c) }"""
    model = parse(text)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
