"""Shapes and numbers of values, followed where inference loses them; and conversions of what they decide."""

from __future__ import annotations

import numpy as np
import pytest
from computed_sizes import KINDS, computed_sizes, substituted
from execute import feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir.arithmetic import MOST
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, opset_versions
from fc2conv.ir.propagation import Propagated, propagate
from fc2conv.ir.shapes import inferred
from fc2conv.layout.axes import Size


@pytest.mark.parametrize("batch", ["N", "1"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_behind_computed_sizes_is_converted(kind: str, batch: str) -> None:
    model = computed_sizes(kind, batch)
    result = fc2conv.convert(model, options=Options(verify=batch == "N"))
    assert [layer.decision for layer in result.report.sites] == ["convert"]
    assert result.model is not None
    for items in (1, 3) if batch == "N" else (1,):
        given = feeds(model, {"N": items, "T": 2})
        for one, other in zip(run(model, given), run(result.model, given), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ shapes


def known(model: ModelProto) -> Propagated:
    file = model_file_from_proto(model)
    graph = Graph(model.graph, opset_versions(model), ir_version=model.ir_version)
    return propagate(graph, Constants(graph, file), inferred(model, {})[""])


def shape_of(nodes: str, x: str = "N,4,6,H", opset: int = 14) -> str:
    """The shape of `y`, which nodes make of x."""
    constants = """int64 i0 = {0}, int64 i1 = {1}, int64[1] z = {0}, int64[1] one = {1}, int64[1] two = {2},
        int64[1] four = {4}, int64[1] minus = {-1}, float[1] scale = {2.0}, float[1] ones = {1.0}, float[2,1,1,3] c,
        float[5,3] table, float unit = {1.0}, int8 half = {0}, int8[6,3] w, bool[1] yes = {1},
        int64[1] nine = {9}, int64[1] below = {-9}, float[4] doubled = {1.0, 1.0, 2.0, 2.0}"""
    found = known(parse(f"g (float[{x}] x) => (float[?] y) <{constants}> {{ {nodes} }}", opset=opset))
    return ",".join(str(size) for size in found.shapes["y"])


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ("s = Shape (x)  b = Slice (s, z, one)  t = Concat <axis = 0> (b, minus)  y = Reshape (x, t)", "N,24*H"),
        ("s = Shape (x)  b = ReduceProd <keepdims = 1> (s)  y = Reshape (x, b)", "24*H*N"),
        ("s = Shape (x)  y = Expand (ones, s)", "N,4,6,H"),
        (
            """s = Shape (x)  n = Slice (s, z, one)  t = Concat <axis = 0> (nine, n, two)
            y = Resize <axes = [3, 0, -2]> (x, , , t)""",
            "N,4,2,9",
        ),
        ("s = Shape (x)  b = Gather <axis = 0> (s, i0)  y = Range (i0, b, i1)", "N"),
        ("s = Shape (x)  y = ConstantOfShape (s)", "N,4,6,H"),
        (
            "s = Shape (x)  b = Slice (s, z, one)  t = Concat <axis = 0> (b, one, one, two)  y = Tile (c, t)",
            "2*N,1,1,6",
        ),
        ('s = Shape (x)  t = Mul (s, two)  y = Resize <mode = "nearest"> (x, , , t)', "2*N,8,12,2*H"),
        ('y = Resize <mode = "nearest"> (x, , doubled)', "N,4,12,2*H"),
        ('y = Resize <mode = "nearest"> (x, , doubled, )', "N,4,12,2*H"),
        # A constant that is not computed, and one whose shape inference does not know.
        ('b = Resize <mode = "cubic"> (c, , doubled)  s = Shape (b)  a = Abs (s)  y = Expand (ones, a)', "2,1,2,6"),
        ("s = Shape (table)  a = Abs (s)  e = Expand (ones, a)  y = Concat <axis = 0> (e, e)", "10,3"),
        ("s = Shape (x)  b = Slice (s, one, two)  y = TopK <axis = 2> (x, b)", "N,4,4,H"),
        (
            """s = Shape (x)  b = Slice (s, z, one)  h = Gather (s, minus)  f = Concat <axis = 0> (z, z, one, z)
            t = Concat <axis = 0> (b, two, four, h)  y = Slice (x, f, t)""",
            "N,2,3,H",
        ),
        (
            """s = Shape (x)  b = Slice (s, z, one)  f = Concat <axis = 0> (z, below)  m = Sub (b, b)
            e = Sub (m, nine)  h = Concat <axis = 0> (b, e)  t = Concat <axis = 0> (one, minus)
            o = Concat <axis = 0> (z, two)  y = Slice (x, f, h, o, t)""",
            "N,4,1,H",
        ),
        ("s = Shape (x)  b = Slice (s, one, two)  a = Shape (b)  i = NonZero (s)  y = Cast <to = 1> (b)", "1"),
        # What is not floating-point has its own types: indices, conditions, quantized values.
        ("s = Shape (x)  b = Slice (s, z, two)  a = Abs (b)  i = Expand (z, a)  y = Gather (table, i)", "N,4,3"),
        ("s = Shape (x)  a = Abs (s)  b = Expand (yes, a)  m = Expand (ones, a)  y = Where (b, m, ones)", "N,4,6,H"),
        (
            """s = Shape (x)  k = Slice (s, z, two)  a = Abs (k)  f = Slice (s, two, minus)
            t = Concat <axis = 0> (a, f)  v = Expand (ones, t)  q = QuantizeLinear (v, unit, half)
            p = QLinearMatMul (q, unit, half, w, unit, half, unit, half)  y = DequantizeLinear (p, unit, half)""",
            "N,4,3",
        ),
    ],
)
def test_shapes_follow_from_sizes(nodes: str, wanted: str) -> None:
    if "TopK" in nodes:
        nodes = nodes.replace("y = TopK", "y, i = TopK")
    assert shape_of(nodes, opset=18 if "axes" in nodes else 14) == wanted


def test_what_is_learned_of_a_shape_is_known_behind_it() -> None:
    found = shape_of(
        """s = Shape (x)  b = Slice (s, one, two)  p = Div (b, two)  t = Concat <axis = 0> (z, z, p, z, z, z, z, z)
        q = Pad (x, t)  y = Relu (q)""",
        "N,4,6,8",
    )
    assert found == "N,4,8,8"


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Shape (x)  e = Slice (s, z, one)  f = Add (e, e)  t = Concat <axis = 0> (f, f)  y = Slice (x, one, t)",
        "s = Shape (x)  e = Slice (s, z, one)  y = Slice (x, z, e, four)",
        "s = Shape (x)  e = Slice (s, z, one)  y = Slice (x, z, e, z, z)",
        "s = Shape (x)  y = Range (i0, s, i1)",
        "q = Unknown (x)  y = ConvTranspose (q, table_of_one)",
    ],
)
def test_a_node_that_contradicts_itself_has_no_shape_of_numbers(nodes: str) -> None:
    """Lists of two lengths, an axis that is none, steps of nothing, several ends, a kernel of one dimension."""
    text = f"""g (float[N,4] x) => (float[?] y) <int64 i0 = {{0}}, int64 i1 = {{1}}, int64[1] z = {{0}},
        int64[1] one = {{1}}, int64[1] four = {{4}}, float[1] table_of_one = {{2.0}}> {{ {nodes} }}"""
    found = known(parse(text, opset=14)).shapes.get("y")
    assert found is None or not any(size.known for size in found)


def test_known_numbers_pass_through_any_operator() -> None:
    """NonZero, Sin and others have no rule of their own: ONNX's reference computes them."""
    found = known(
        parse(
            """g (float[N,4,6,2] x) => (int64[?] v) <int64[1] one = {1}, int64[1] four = {4}>
            { s = Shape (x)  b = Slice (s, one, four)  f = Cast <to = 1> (b)  e = Log (f)  g = Exp (e)  h = Round (g)
              i = Cast <to = 7> (h)  v, k = TopK <axis = 0> (i, one) }"""
        )
    )
    assert found.numbers["v"].ints() == [6]
    assert found.numbers["k"].ints() == [1]


def test_a_random_number_is_not_known() -> None:
    found = known(
        parse("g (float[2,3] x) => (float[?] v) { s = Shape (x)  f = Cast <to = 1> (s)  v = RandomUniformLike (f) }")
    )
    assert "v" not in found.numbers


def test_numbers_of_many_elements_are_not_followed() -> None:
    nodes = "s = Shape (x)  b = Gather <axis = 0> (s, i)  v = Range (z, b, o)"
    for length, followed in ((MOST, True), (MOST + 1, False)):
        text = (
            f"g (float[{length}] x) => (int64[?] v) <int64 i = {{0}}, int64 z = {{0}}, int64 o = {{1}}> {{ {nodes} }}"
        )
        found = known(parse(text))
        assert ("v" in found.numbers) is followed
        assert found.shapes["v"] == (Size(length),)


def test_numbers_of_an_outer_scope_are_seen_in_a_body() -> None:
    model = parse(
        """g (float[N,2,3,3] x, bool p) => (float[N,5] y)
        <float[4,2,3,3] k, float[5,4] w, int64[1] z = {0}, int64[1] one = {1}, int64[1] minus = {-1}>
        { s = Shape (x)  n = Slice (s, z, one)  t = Concat <axis = 0> (n, minus)
          y = If (p) <
            then_branch = a () => (float[N,5] u) { c = Conv (x, k)  f = Reshape (c, t)  u = Gemm <transB = 1> (f, w) },
            else_branch = b () => (float[N,5] e) { d = Conv (x, k)  r = Flatten (d)  e = Gemm <transB = 1> (r, w) }
          > }"""
    )
    report = fc2conv.convert(model, options=Options(verify=False)).report
    assert [layer.decision for layer in report.sites] == ["convert", "convert"]


@pytest.mark.parametrize("layer", ["Conv (i, k)", "ConvTranspose <group = 2> (i, t)"])
def test_what_a_convolution_gives_has_the_channels_of_its_weight(layer: str) -> None:
    """What an If gives has no shape here; half of the channels is 2."""
    text = """g (float[N,4,8,8] x, bool p) => (float[N,5] y)
        <float[4,4,3,3] k, float[4,2,3,3] t, float[2,5] w, int64[1] z = {0}, int64[1] one = {1}, int64[1] two = {2}>
        { i = If (p) <
            then_branch = a () => (u) { u = Neg (x) },
            else_branch = b () => (e) { s = Shape (x)  o = Reshape (x, s)  e = Squeeze (o) }
          >
          c = Conv (i, k)  h = Slice (c, z, two, one)
          m = GlobalAveragePool (h)  f = Flatten (m)  y = MatMul (f, w) }"""
    model = parse(text.replace("Conv (i, k)", layer))
    result = fc2conv.convert(model)
    assert [layer.kernel_shape for layer in result.report.sites] == [[1, 1]]
    for branch in (True, False):
        given = feeds(model, {"N": 3}) | {"p": np.array(branch)}
        np.testing.assert_allclose(*(run(each, given)[0] for each in (model, result.model)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "followed"), [(20, True), (200, False)])
def test_loops_within_loops_are_followed_as_long_as_they_are_short(steps: int, followed: bool) -> None:
    found = known(
        parse(
            f"""g (float[N,3] x) => (int64 y) <int64 n = {{{steps}}}, int64 one = {{1}}>
            {{ s = Shape (x)  c = Gather (s, one)
              y = Loop (n, , c) <body = a (int64 i, bool g, int64 d) => (bool h, int64 u) {{ h = Identity (g)
                u = Loop (n, , d) <body = b (int64 j, bool k, int64 e) => (bool l, int64 v)
                  {{ l = Identity (k)  v = Add (e, one) }}> }}> }}"""
        )
    )
    assert [each.ints() for name, each in found.numbers.items() if name == "y"] == [[steps * steps + 3]] * followed


# ------------------------------------------------------------------ at random

OF_TWO = ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"]
OF_ONE = ["Neg", "Abs", "floor_half", "ceil_third", "turned", "halves", "cumulated", "clipped", "chosen", "scattered"]


def random_chain(seed: int) -> ModelProto:
    """Integer arithmetic on the shape of x, each step of results before and of constants; every result is an output."""
    random = np.random.default_rng(seed)
    names, lines = ["v0", "c1", "c2"], ["v0 = Shape (x)"]
    for i in range(1, 9):
        a, b = random.choice(names, 2)
        kind = str(random.choice(OF_TWO + OF_ONE))
        if kind in ("Div", "Mod"):
            b = str(random.choice(["c1", "c2", "v0"]))
        rounding = (
            f"f{i} = Cast <to = 11> ({a})  g{i} = Div (f{i}, {{}})  h{i} = {{}} (g{i})  v{i} = Cast <to = 7> (h{i})"
        )
        steps = {
            "floor_half": rounding.format("half", "Floor"),
            "ceil_third": rounding.format("third", "Ceil"),
            "turned": f"v{i} = Gather <axis = 0> ({a}, order)",
            "halves": f"l{i}, r{i} = Split <axis = 0> ({a})  v{i} = Concat <axis = 0> (r{i}, l{i})",
            "cumulated": f"v{i} = CumSum <exclusive = 1> ({a}, axis)",
            "clipped": f"v{i} = Clip ({a}, low, high)",
            "chosen": f"e{i} = Greater ({a}, {b})  v{i} = Where (e{i}, {a}, {b})",
            "scattered": f"q{i} = ReduceSum <keepdims = 1> ({b})  v{i} = ScatterND ({a}, at, q{i})",
        }
        operands = a if kind in ("Neg", "Abs") else f"{a}, {b}"
        lines.append(steps.get(kind, f"v{i} = {kind} ({operands})"))
        names.append(f"v{i}")
    outputs = ", ".join(f"int64[4] v{i}" for i in range(1, 9))
    return parse(
        f"""g (float[N,8,H,W] x) => ({outputs}) <int64[4] c1 = {{2, 3, 1, 7}}, int64[4] c2 = {{4, 4, 5, 6}},
        double half = {{2.0}}, double third = {{3.0}}, int64[4] order = {{-1, 0, 2, 1}}, int64 axis = {{0}},
        int64 low = {{0}}, int64 high = {{9}}, int64[1, 1] at = {{2}}> {{ {"  ".join(lines)} }}""",
        opset=15,
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_arithmetic_is_what_onnxruntime_computes(seed: int) -> None:
    model = random_chain(seed)
    found = known(model)
    for sizes in ({"N": 1, "H": 5, "W": 12}, {"N": 3, "H": 8, "W": 1}):
        given = {"x": np.zeros((sizes["N"], 8, sizes["H"], sizes["W"]), np.float32)}
        for value, true in zip(model.graph.output, run(model, given), strict=True):
            if np.abs(true).max() > 1 << 20:
                break  # products of products, which wrap around at last
            numbers = found.numbers.get(value.name)
            for cell, number in zip(numbers.cells.flat if numbers is not None else (), true, strict=False):
                said = substituted(cell, sizes)
                assert said is None or said == number, (value.name, str(cell))
