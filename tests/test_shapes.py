"""Inferred shapes: nothing is believed that the file merely claims."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from onnx import AttributeProto, TensorProto, ValueInfoProto, helper
from textmodel import parse

from fc2conv.errors import InputError
from fc2conv.ir.graph import Graph
from fc2conv.ir.node_shapes import at_node
from fc2conv.ir.shapes import inferred
from fc2conv.layout.axes import Size

CONV = """graph (float[N,3,8,8] x) => (float[N,?,?,?] y) <float[4,3,3,3] w>
{ a = Conv (x, w)
  y = Relu (a) }"""
BRANCH = """graph (float[N,3,8,8] x, bool p) => (float[N,?,?,?] y) <float[4,3,3,3] w>
{ [choose] y = If (p) <
     then_branch = g () => (float[N,?,?,?] t) { a = Conv (x, w)  t = Relu (a) },
     else_branch = h () => (float[N,?,?,?] e) { e = Conv (x, w) }
  > }"""
N = Size(1, ("N",))
TRUTH = (N, Size(4), Size(6), Size(6))


def lie(name: str, shape: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_shapes_are_inferred() -> None:
    shapes = inferred(parse(CONV), {})[""]
    assert shapes["a"] == shapes["y"] == TRUTH


def test_a_value_info_that_lies_is_not_believed() -> None:
    model = parse(CONV)
    model.graph.value_info.append(lie("a", ["N", 16, 3, 3]))
    before = model.SerializeToString()
    assert inferred(model, {})[""]["a"] == TRUTH
    assert model.SerializeToString() == before


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(1, 2, 0), (2, 3, 0), (2, 2, 1), (3, 2, 1), (3, 4, 1)])
def test_windows_of_ceil_mode_that_begin_behind_the_map_do_not_count(
    pool: str, kernel: int, stride: int, pad: int
) -> None:
    """Two pools in a row, as the sizes of the second are right where those of the first are."""
    how = f"kernel_shape = [{kernel}], strides = [{stride}], ceil_mode = 1, "
    how += f"pads = [{pad}, {pad}]" if pad else 'auto_pad = "VALID"'
    text = f"graph (float[N,1,{{}}] x) => (float[N,1,M] y) {{{{ a = {pool} <{how}> (x)  y = {pool} <{how}> (a) }}}}"
    for size in range(kernel + stride, 20):
        (found,) = run(parse(text.format("L")), {"x": np.zeros((1, 1, size), np.float32)})
        assert inferred(parse(text.format(size)), {})[""]["y"][2] == Size(found.shape[2]), size


@pytest.mark.parametrize("operands", ["Resize (x, , s)", "Resize <axes = [2]> (x, , last)", "Upsample (x, s)"])
@pytest.mark.parametrize("scale", [1.3, 2.6, 3.3333333])
def test_cells_of_a_scale_are_those_of_float32(operands: str, scale: float) -> None:
    """10 cells are 13 at a scale of 1.3, and 12 to inference; the second reads what the first makes."""
    opset = {"Upsample": 9}.get(operands.partition(" ")[0], 18)
    again = operands.replace("(x", "(a")
    text = f"""graph (float[N,1,{{}}] x) => (float[N,1,M] y) <float[3] s = {{{{1.0, 1.0, {scale}}}}},
        float[1] last = {{{{{scale}}}}}> {{{{ a = {operands}  y = {again} }}}}"""
    for size in range(4, 24):
        (found,) = run(parse(text.format("L"), opset=opset), {"x": np.zeros((1, 1, size), np.float32)})
        assert inferred(parse(text.format(size), opset=opset), {})[""]["y"][2] == Size(found.shape[2]), size


def test_a_value_info_in_a_subgraph_is_not_believed() -> None:
    model = parse(BRANCH)
    model.graph.node[0].attribute[0].g.value_info.append(lie("a", ["N", 16, 3, 3]))
    assert inferred(model, {})["choose.then_branch"]["a"] == TRUTH


def test_every_scope_has_its_shapes() -> None:
    shapes = inferred(parse(BRANCH), {})
    assert shapes.keys() == {"", "choose.then_branch", "choose.else_branch"}
    assert shapes["choose.else_branch"]["e"] == TRUTH


@pytest.mark.parametrize("size", [0, -1])
def test_zero_and_minus_one_are_written_for_what_nobody_knows(size: int) -> None:
    model = parse("graph (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    first, second = inferred(model, {})[""]["x"]
    assert (first.known, second) == (False, Size(3))


def test_unnamed_sizes_are_symbols_of_their_own() -> None:
    shapes = inferred(parse("graph (float[?,?] x, float[?] z) => (float[?,?] y) { y = Relu (x) }"), {})[""]
    assert len({shapes["x"][0], shapes["x"][1], shapes["z"][0]}) == 3


def test_sizes_of_one_name_are_one_size() -> None:
    shapes = inferred(parse("graph (float[N,H] x, float[N] z) => (float[N,H] y) { y = Relu (x) }"), {})[""]
    assert shapes["x"][0] == shapes["z"][0] == shapes["y"][0] == N


def test_operators_that_nobody_knows_do_not_stop_inference() -> None:
    model = parse(
        """graph (float[N,3,8,8] x) => (float[N,?,?,?] y) <float[4,3,3,3] w>
        { a = Conv (x, w)
          u = my.Thing (a)
          y = Relu (a) }""",
        domains={"my": 1},
    )
    shapes = inferred(model, {})[""]
    assert shapes["y"] == TRUTH
    assert "u" not in shapes


def test_a_size_that_no_model_can_say_is_passed_on() -> None:
    shape = Size(1 << 64), Size(2)
    assert at_node(helper.make_node("Relu", ["x"], ["y"]), {"": 17}, {"x": shape}, {}) == {"y": shape}


@pytest.mark.parametrize("lists", [{"strides": []}, {"strides": [0, 1]}, {"pads": [1]}, {"dilations": [1]}])
def test_a_pool_with_lists_of_another_length_has_no_shape(lists: dict[str, list[int]]) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], ceil_mode=1)
    node.attribute.extend(
        AttributeProto(name=name, type=AttributeProto.INTS, ints=ints) for name, ints in lists.items()
    )
    assert at_node(node, {"": 17}, {"x": (N, Size(3), Size(8), Size(8))}, {}) == {}


def test_a_fused_convolution_with_an_empty_list_is_inferred() -> None:
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft", kernel_shape=[3, 3])
    node.attribute.append(AttributeProto(name="dilations", type=AttributeProto.INTS))
    shapes = {"x": (N, Size(3), Size(8), Size(8)), "w": (Size(4), Size(3), Size(3), Size(3))}
    assert at_node(node, {"": 17, "com.microsoft": 1}, shapes, {}) == {"y": TRUTH}


@pytest.mark.parametrize(("scales", "axes"), [(np.ones((2, 2), np.float32), None), (np.ones(1, np.float32), [9])])
def test_scales_that_no_resize_takes_give_no_shape(scales: np.ndarray, axes: list[int] | None) -> None:
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], axes=axes)
    assert at_node(node, {"": 18}, {"x": (Size(2), Size(3))}, {"s": scales}) == {}


def test_a_model_that_inference_refuses_is_an_input_error() -> None:
    model = parse(CONV)
    model.ClearField("opset_import")
    with pytest.raises(InputError, match=r"shape inference fails.*No opset import"):
        inferred(model, {})


def test_a_contradiction_leaves_the_result_unknown() -> None:
    model = parse("graph (float[2,3] x) => (float[?,?] y) <float[4,5] w> { y = MatMul (x, w) }")
    assert not any(size.known for size in inferred(model, {})[""]["y"])


def test_nodes_out_of_order_are_inferred_all_the_same() -> None:
    model = parse(CONV)
    first = model.graph.node.pop(0)
    model.graph.node.append(first)
    assert inferred(model, {})[""]["y"] == TRUTH


# ------------------------------------------------------------------ shapes that the caller gives


def test_a_given_shape_reaches_every_value() -> None:
    shapes = inferred(parse(CONV), {"x": (5, 3, 6, 7)})[""]
    assert shapes["x"] == (Size(5), Size(3), Size(6), Size(7))
    assert shapes["a"] == (Size(5), Size(4), Size(4), Size(5))


def test_a_given_shape_may_leave_a_size_open() -> None:
    (batch, *rest) = inferred(parse(CONV), {"x": (0, 3, 6, 7)})[""]["a"]
    assert not batch.known
    assert rest == [Size(4), Size(4), Size(5)]


def test_a_shape_for_an_input_of_unknown_rank() -> None:
    model = parse("graph (float[2] x) => (float[2] y) { y = Relu (x) }")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    assert "x" not in inferred(model, {})[""]
    assert inferred(model, {"x": (2, 3)})[""]["y"] == (Size(2), Size(3))


def test_an_output_that_lies_is_not_believed() -> None:
    """onnxruntime only warns of such a file; what is flattened is the truth."""
    model = parse(CONV)
    model.graph.output.append(lie("a", ["N", 16, 3, 3]))
    assert inferred(model, {})[""]["a"] == TRUTH


CUT = """graph (float[N,2,4] x) => (float[N,?,4] y)
<int64[1] begin = {-1}, int64[1] end = {-2}, int64[1] one = {1}, int64[1] step = {-2}>
{ y = Slice (x, begin, end, one, step) }"""


def test_initializers_that_are_no_inputs_count_below_ir_version_4() -> None:
    model = parse(CUT, ir_version=3)
    assert inferred(model, {})[""]["y"] == (N, Size(1), Size(4))
    assert model.ir_version == 3


def test_what_a_caller_may_replace_is_no_constant() -> None:
    model = parse(CUT)
    model.graph.input.append(helper.make_tensor_value_info("end", TensorProto.INT64, [1]))
    assert not inferred(model, {}, Graph.of(model))[""]["y"][1].known
    assert inferred(model, {})[""]["y"] == (N, Size(1), Size(4))


@pytest.mark.parametrize(
    "node", ["Slice (x, zero, two, odd)", "Slice (x, zero, two, one, odd)", "Pad (x, pads, , odd)"]
)
def test_an_operand_of_unknown_shape_is_not_an_absent_one(node: str) -> None:
    ints = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[6] pads = {1,0,0,0,0,0}"
    text = f"graph (float[4,4,4] x) => (float[A,B,C] y) <{ints}> {{ odd = somebody.s (x)\n z = {node}\n y = Relu (z) }}"
    shapes = inferred(parse(text, opset=18, domains={"somebody": 1}), {})[""]
    assert not any(size.known for size in shapes.get("z", ()))
    assert not any(size.known for size in shapes["y"])


def test_a_shape_of_more_elements_than_can_be_counted_has_no_sizes() -> None:
    model = parse("graph (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = (1 << 63) - 1
    assert not any(size.known for size in inferred(model, {})[""]["x"])
    assert inferred(model, {"x": (7, 3)})[""]["x"] == (Size(7), Size(3))


def test_a_stand_in_has_the_type_that_an_output_declares() -> None:
    """Inference refuses a body of another type than the other branch, and a result of another than declared."""
    text = """graph (float[N,3] x, bool p) => (uint8[N,3] y, uint8[N,3] o) <float s, uint8 z>
    { o = com.microsoft.QuantizeLinear (x, s, z)
      y = If (p) <then_branch = a () => (uint8[N,3] t) { t = com.microsoft.QuantizeLinear (x, s, z) },
                  else_branch = b () => (uint8[N,3] e) { e = QuantizeLinear (x, s, z) }> }"""
    model = parse(text, domains={"com.microsoft": 1})
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    shapes = inferred(model, {})[""]
    assert shapes["y"] == shapes["o"] == (N, Size(3))


def test_a_function_of_the_model_is_no_operator_of_that_name() -> None:
    text = """graph (float[N,3] x) => (float[N,?] y) <float[3,5] w> { g = com.microsoft.Gelu (x, w)  y = Relu (g) }
    <domain: "com.microsoft", opset_import: ["": 13]> Gelu (a, b) => (c) { c = MatMul (a, b) }"""
    assert inferred(parse(text, domains={"com.microsoft": 1}), {})[""]["y"] == (N, Size(5))


def test_an_operator_of_onnxruntime_in_a_function() -> None:
    text = """graph (float[N,3] x) => (float[N,?] y) <float[3,5] w> { y = own.F (x, w) }
    <domain: "own", opset_import: ["": 13, "com.microsoft": 1]> F (a, b) => (c)
    { g = com.microsoft.Gelu (a)  c = MatMul (g, b) }"""
    model = parse(text, domains={"own": 1})
    assert inferred(model, {})[""]["y"] == (N, Size(5))


@pytest.mark.parametrize("stored", ["initializer", "node"])
def test_a_body_knows_the_numbers_of_constants_around_it(stored: str) -> None:
    """The axes of an Unsqueeze, of which inference sees those alone that the body itself holds."""
    declared, node = (
        ("int64[2] a = {2, 3}, ", "") if stored == "initializer" else ("", "a = Constant <value_ints = [2, 3]> ()")
    )
    text = f"""graph (float[N,4,3,3] x) => (float[?,?,?,?] y) <{declared}int64 n = {{3}}, bool on = {{1}}>
    {{ {node} y = Loop (n, on, x) <body = b (int64 i, bool g, float[N,4,3,3] s) => (bool h, float[?,?,?,?] t)
        {{ h = Identity (g)  p = GlobalAveragePool (s)  f = Flatten (p)  u = Unsqueeze (f, a)  t = Mul (s, u) }}> }}"""
    shapes = inferred(parse(text), {})
    assert shapes["y.body"]["t"] == shapes[""]["y"] == (N, Size(4), Size(3), Size(3))


def test_a_state_that_is_one_number_has_a_shape() -> None:
    """The number of elements, counted size by size."""
    text = """graph (float[N,4,3,3] x) => (float[?,?] y) <int64 one = {1}, int64[1] zero = {0}, int64[1] last = {-1}>
    { s = Shape (x)  n = Size (s)  e = Loop (n, , one) <body = b (int64 i, bool g, int64 v) => (bool h, int64 w)
        { h = Identity (g)  d = Gather (s, i)  w = Mul (v, d) }>
      u = Unsqueeze (e, zero)  t = Concat <axis = 0> (last, u)  y = Reshape (x, t) }"""
    shapes = inferred(parse(text), {})
    assert (shapes[""]["e"], len(shapes[""]["y"])) == ((), 2)


@pytest.mark.parametrize(
    ("back", "wanted"),
    [
        ("t = MatMul (r, w)", "N,5"),
        ("t = Concat <axis = 1> (r, r)", "N,?"),  # a state that grows
        ("t = Unsqueeze (r, axes)", ""),  # and one whose rank does
    ],
)
@pytest.mark.parametrize("said", ["s", "float[N,5] s"])
def test_a_state_keeps_the_shape_that_every_iteration_gives_back(back: str, wanted: str, said: str) -> None:
    """Also where the body does not declare it, and around a Loop in a Loop."""
    inner = said.replace("s", "r")
    text = f"""graph (float[N,5] x, int64 n) => (float y) <float[5,5] w, int64[1] axes = {{0}}>
    {{ z = Loop (n, , x) <body = b (int64 i, bool g, {said}) => (bool h, u)
        {{ h = Identity (g)  u = Loop (n, , s) <body = c (int64 j, bool k, {inner}) => (bool l, q)
            {{ l = Identity (k)  q = Relu (r) }}> }}>
      y = Loop (n, , z) <body = d (int64 i, bool g, {said}) => (bool h, v)
        {{ h = Identity (g)  v = Loop (n, , s) <body = e (int64 j, bool k, {inner}) => (bool l, t)
            {{ l = Identity (k)  {back} }}> }}> }}"""
    shapes = inferred(parse(text), {})
    assert shapes["z.body"]["u"] == shapes[""]["z"] == (N, Size(5))
    for scope, name in (("y.body/v.body", "r"), ("y.body", "v"), ("", "y")):
        found = shapes.get(scope, {}).get(name, ())
        assert ",".join("?" if str(size).startswith(("?", "unk")) else str(size) for size in found) == wanted
