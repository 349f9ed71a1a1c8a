"""The form of a converted layer: its kernel covers cells of a map alone, tokens are a picture, the batch stays it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, helper
from textmodel import parse

import fc2conv
from fc2conv import Options

LAYOUT = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
EVERY = Options(scope="all")
FLAT = Options(scope="all", conv_rank="2d")


def converted(text: str, options: Options, opset: int = 17, **sizes: int) -> tuple[ModelProto, fc2conv.Report]:
    """The proved conversion of a model, which computes the same."""
    model = parse(text, opset=opset)
    found = fc2conv.convert(model, options=options)
    inputs = feeds(model, {"N": 2, **sizes})
    assert difference(run(model, inputs), run(found.model, inputs)) < 1e-4
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"
    return found.model, found.report


def inputs_of_convolutions(model: ModelProto) -> list[list[int]]:
    """The shapes that convolutions run on, at batch 1."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.value_info, *graph.input)}
    return [shapes[node.input[0]] for node in model.graph.node if node.op_type == "Conv"]


def layout_nodes(model: ModelProto) -> int:
    return sum(node.op_type in LAYOUT for node in model.graph.node)


HEADS = """graph (float[N,4,6,6] x) => (float[N,9,8] y)
<float[8,4,2,2] k, int64[3] t = {0, 8, 9}, float[8,8] wq, float[8,8] wk, float[8,8] wv, float[8,8] wo,
 int64[4] split = {0, 9, 2, 4}, int64[3] merge = {0, 9, 8}, float[8] g>
{ c = Conv <kernel_shape = [2, 2], strides = [2, 2]> (x, k)
  r = Reshape (c, t)
  tokens = Transpose <perm = [0, 2, 1]> (r)
  n = LayerNormalization <axis = -1> (tokens, g)
  [q] q = MatMul (n, wq)
  [k] kk = MatMul (n, wk)
  [v] v = MatMul (n, wv)
  qs = Reshape (q, split)
  ks = Reshape (kk, split)
  vs = Reshape (v, split)
  qt = Transpose <perm = [0, 2, 1, 3]> (qs)
  kt = Transpose <perm = [0, 2, 3, 1]> (ks)
  vt = Transpose <perm = [0, 2, 1, 3]> (vs)
  s = MatMul (qt, kt)
  p = Softmax <axis = -1> (s)
  m = MatMul (p, vt)
  mt = Transpose <perm = [0, 2, 1, 3]> (m)
  o = Reshape (mt, merge)
  [out] y = MatMul (o, wo) }"""


def test_heads_are_channels_and_tokens_have_the_height_and_width_of_their_map() -> None:
    model, report = converted(HEADS, EVERY)
    assert {layer.node: layer.kernel_shape for layer in report.converted} == {name: [1, 1] for name in (*"qkv", "out")}
    assert inputs_of_convolutions(model)[1:] == [[1, 8, 3, 3]] * 4


def test_attention_runs_on_the_map_between_its_convolutions() -> None:
    model, _ = converted(HEADS, EVERY)
    # The norm 2, queries 2, keys 1, values 1, their weights 1, the result 1, and 2 at the end.
    assert layout_nodes(model) == 10


def test_features_behind_a_norm_are_channels() -> None:
    text = """graph (float[N,3,8,8] x) => (float[N,5] y) <float[6,3,3,3] k, float[6] g, float[5,6] w>
    { c = Conv <kernel_shape = [3, 3]> (x, k)
      p = GlobalAveragePool (c)
      t = Transpose <perm = [0, 2, 3, 1]> (p)
      n = LayerNormalization <axis = -1> (t, g)
      u = Transpose <perm = [0, 3, 1, 2]> (n)
      f = Flatten (u)
      [fc] y = Gemm <transB = 1> (f, w) }"""
    model, report = converted(text, Options())
    assert [layer.weight_after for layer in report.converted] == [[5, 6, 1, 1]]
    assert layout_nodes(model) <= 3


@pytest.mark.parametrize(("count", "shape"), [(36, [6, 6]), (10, [2, 5]), (7, [1, 7])])
def test_rows_are_no_batch(count: int, shape: list[int]) -> None:
    text = f"""graph (float[1,4,{count}] x) => (float[{count},5] y) <int64[2] s = {{{count}, 4}}, float[4,5] w>
    {{ t = Transpose <perm = [0, 2, 1]> (x)
       r = Reshape (t, s)
       [fc] y = MatMul (r, w) }}"""
    model, _ = converted(text, EVERY)
    assert inputs_of_convolutions(model) == [[1, 4, *shape]]


def test_an_open_count_of_tokens_is_one_row() -> None:
    text = "graph (float[N,L,4] x) => (float[N,L,5] y) <float[4,5] w> { [fc] y = MatMul (x, w) }"
    model, _ = converted(text, EVERY, L=6)
    assert inputs_of_convolutions(model)[0][:3] == [1, 4, 1]


def test_windows_are_cells_of_the_map() -> None:
    text = """graph (float[N,4,4,4] x) => (float[W,4,5] y)
    <float[4,4,1,1] k, int64[6] cut = {-1, 2, 2, 2, 2, 4}, int64[3] windows = {-1, 4, 4}, float[4,5] w>
    { c = Conv <kernel_shape = [1, 1]> (x, k)
      t = Transpose <perm = [0, 2, 3, 1]> (c)
      d = Reshape (t, cut)
      p = Transpose <perm = [0, 1, 3, 2, 4, 5]> (d)
      r = Reshape (p, windows)
      [fc] y = MatMul (r, w) }"""
    model, _ = converted(text, EVERY)
    assert inputs_of_convolutions(model)[1] == [1, 4, 4, 4]


@pytest.mark.parametrize("pool", ["MaxPool <kernel_shape = [2], strides = [2], pads = [1, 0]>", "GlobalAveragePool"])
def test_a_network_of_one_dimension_is_lifted_once(pool: str) -> None:
    size = 5 if "Max" in pool else 1
    text = f"""graph (float[N,3,16] x) => (float[N,5] y)
    <float[4,3,3] k, float[4] b, float[6,4,2] k2, float[4] scale, float[4] shift, float[4] mean, float[4] var,
     float[5,{6 * size - 6 if size > 1 else 6}] w>
    {{ c = Conv <kernel_shape = [3], strides = [2], pads = [1, 1], dilations = [1]> (x, k, b)
       n = BatchNormalization (c, scale, shift, mean, var)
       r = Relu (n)
       d = Conv <kernel_shape = [2]> (r, k2)
       p = {pool} (d)
       f = Flatten (p)
       [fc] y = Gemm <transB = 1> (f, w) }}"""
    model, report = converted(text, FLAT)
    assert {len(shape) for shape in inputs_of_convolutions(model)} == {4}
    assert len(report.converted) == 1
    assert layout_nodes(model) == 2


@pytest.mark.parametrize("size", [(16, 1), (1, 16), (4, 4)], ids=["column", "row", "map"])
def test_tokens_that_are_convolved_are_lifted_as_their_map_is(size: tuple[int, int]) -> None:
    """A convolution of one dimension behind a norm of tokens, as in a recogniser of speech."""
    text = f"""graph (float[N,3,{size[0]},{size[1]}] x) => (float[N,16,5] y)
    <float[4,3,1,1] k, int64[3] s = {{0, 4, 16}}, float[4] g, float[6,4,1] k1, float[6,1,3] k2, float[6,5] w>
    {{ c = Conv (x, k)
      f = Reshape (c, s)
      t = Transpose <perm = [0, 2, 1]> (f)
      n = LayerNormalization <axis = -1> (t, g)
      u = Transpose <perm = [0, 2, 1]> (n)
      d = Conv (u, k1)
      e = Conv <group = 6, pads = [4, 0], strides = [1], dilations = [2], kernel_shape = [3]> (d, k2)
      v = Transpose <perm = [0, 2, 1]> (e)
      [fc] y = MatMul (v, w) }}"""
    model, report = converted(text, FLAT)
    assert {len(shape) for shape in inputs_of_convolutions(model)} == {4}
    assert len(report.converted) == 1
    # The norm 2, the result 2; a picture of tokens is one row for what is convolved along them.
    assert layout_nodes(model) == (5 if size == (4, 4) else 4)


def test_a_volume_is_brought_to_rank_4() -> None:
    text = """graph (float[N,2,3,4,5] x) => (float[N,7] y) <float[7,120] w>
    { f = Flatten (x) [fc] y = Gemm <transB = 1> (f, w) }"""
    _, report = converted(text, FLAT)
    assert [layer.weight_after for layer in report.converted] == [[7, 120, 1, 1]]


@pytest.mark.parametrize(
    ("other", "flatten", "size", "nodes"),
    [
        ("float[N,3]", "b = Identity (z)", 3, 2),
        ("float[N,2,3]", "b = Flatten (z)", 6, 2),
        ("float[N,2]", "b = Relu (z)", 2, 2),
        ("float[N,1]", "b = Relu (z)", 1, 2),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_map_and_a_vector_side_by_side_are_a_sum(
    other: str, flatten: str, size: int, nodes: int, first: bool
) -> None:
    order = "a, b" if first else "b, a"
    text = f"""graph (float[N,4,3,2] x, {other} z) => (float[N,5] y)
    <float[4,4,1,1] k, float[{24 + size},6] w, float[6,5] v>
    {{ c = Conv <kernel_shape = [1, 1]> (x, k)
       a = Flatten (c)
       {flatten}
       j = Concat <axis = 1> ({order})
       [one] m = MatMul (j, w)
       r = Relu (m)
       [two] y = MatMul (r, v) }}"""
    model, report = converted(text, Options())
    assert len(report.converted) == 2
    assert layout_nodes(model) == nodes
    assert "Concat" not in {node.op_type for node in model.graph.node}


def test_maps_of_other_ranks_side_by_side_are_a_sum() -> None:
    text = """graph (float[N,4,3,2] x, float[N,2,8] z) => (float[N,5] y)
    <float[4,4,1,1] k, float[3,2,3] q, float[42,5] w>
    { c = Conv <kernel_shape = [1, 1]> (x, k)
      d = Conv <kernel_shape = [3]> (z, q)
      a = Flatten (c)
      b = Flatten (d)
      j = Concat <axis = 1> (a, b)
      [fc] y = MatMul (j, w) }"""
    model, report = converted(text, Options())
    assert [layer.parts for layer in report.converted] == [[[5, 4, 3, 2], [5, 3, 1, 6]]]
    assert layout_nodes(model) == 2


@pytest.mark.parametrize(
    ("equation", "weight", "result"),
    [("ngk,gkm->ngm", "3,4,5", "N,3,5"), ("ngk,gkm->nmg", "3,4,5", "N,5,3"), ("ngk,mgk->gnm", "5,3,4", "3,N,5")],
)
def test_an_einsum_with_a_matrix_for_each_index_is_one_grouped_convolution(
    equation: str, weight: str, result: str
) -> None:
    text = f"""graph (float[N,3,4] x) => (float[{result}] y) <float[{weight}] w>
    {{ [fc] y = Einsum <equation = "{equation}"> (x, w) }}"""
    model, _ = converted(text, EVERY)
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert {a.name: helper.get_attribute_value(a) for a in conv.attribute}["group"] == 3


@pytest.mark.parametrize(
    "bias",
    ["b = Identity (b0)", "b = Cast <to = 1> (d0)", "b = Mul (b0, b0)", "t = Transpose (b1) b = Squeeze (t, zero)"],
)
def test_biases_that_are_constant_are_initializers(bias: str) -> None:
    text = f"""graph (float[N,4,2,2] x) => (float[N,5] y)
    <float[5] b0, double[5] d0, float[5,1] b1, int64[1] zero = {{0}}, float[16,5] w0>
    {{ {bias}
       w = Identity (w0)
       f = Flatten (x)
       [fc] y = Gemm (f, w, b) }}"""
    model, _ = converted(text, Options())
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert set(conv.input[1:]) <= {tensor.name for tensor in model.graph.initializer}


def test_layers_over_other_axes_are_one_transpose_apart() -> None:
    """Heads are mixed, then the features of each, then all: no original is written that nobody reads."""
    text = """graph (float[N,24,3,3] x) => (float[N,5,9] y)
    <float[24,24,1,1] k, int64[3] s = {0, 24, 9}, int64[4] heads = {0, 9, 4, 6}, int64[3] whole = {0, 9, 24},
     float[4,4] a, float[6,6] b, float[24,5] w>
    { c = Conv (x, k)
      f = Reshape (c, s)
      t = Transpose <perm = [0, 2, 1]> (f)
      h = Reshape (t, heads)
      u = Transpose <perm = [0, 1, 3, 2]> (h)
      [mix] m = MatMul (u, a)
      v = Transpose <perm = [0, 1, 3, 2]> (m)
      r = Relu (v)
      [each] e = MatMul (r, b)
      j = Reshape (e, whole)
      [all] o = MatMul (j, w)
      y = Transpose <perm = [0, 2, 1]> (o) }"""
    model, report = converted(text, Options())
    assert len(report.converted) == 3
    operators = [node.op_type for node in model.graph.node]
    assert all(pair != ("Transpose", "Transpose") for pair in pairwise(operators))
    # Two in front of the first, one between the two, two in front of the last, and the result.
    assert layout_nodes(model) == 6


def test_layout_nodes_directly_behind_a_recurrent_layer_stay() -> None:
    text = """graph (float[N,4,1,6] x) => (float[6,N,5] y)
    <float[1,9,4] w9, float[1,9,3] r9, float[3,5] v, int64[1] one = {1}, int64[1] two = {2}>
    { s = Squeeze (x, two)
      t = Transpose <perm = [2, 0, 1]> (s)
      h, last = GRU <hidden_size = 3> (t, w9, r9)
      q = Squeeze (h, one)
      [fc] y = MatMul (q, v) }"""
    model, _ = converted(text, EVERY)
    behind = [node.op_type for node in model.graph.node if "h" in node.input]
    assert behind == ["Squeeze"]
    assert inputs_of_convolutions(model)[0][0] == 1


def test_a_reshape_of_the_network_behind_those_of_a_recurrent_layer_goes() -> None:
    """As a recogniser of text writes it: rows of all steps and items for the layer, and steps again behind it."""
    text = """graph (float[6,2,4] x) => (float[6,2,5] y)
    <float[2,9,4] w9, float[2,9,3] r9, float[6,5] v, int64[3] both = {6, 2, 6}, int64[2] rows = {12, 6},
     int64[3] steps = {6, 2, 5}>
    { h, last = GRU <hidden_size = 3, direction = "bidirectional"> (x, w9, r9)
      t = Transpose <perm = [0, 2, 1, 3]> (h)
      q = Reshape (t, both)
      f = Reshape (q, rows)
      [fc] g = MatMul (f, v)
      y = Reshape (g, steps) }"""
    model, _ = converted(text, EVERY)
    operators = [node.op_type for node in model.graph.node]
    assert operators[:3] == ["GRU", "Transpose", "Reshape"]
    assert layout_nodes(model) <= 6
    assert all(pair != ("Reshape", "Reshape") for pair in pairwise(operators))


def test_a_class_token_is_one_cell_more() -> None:
    text = """graph (float[1,3,6,6] x) => (float[1,5] y)
    <float[8,3,2,2] k, int64[3] t = {0, 8, 9}, float[1,1,8] cls, float[1,10,8] place, float[8,8] w, float[8,5] v,
     int64 zero = {0}>
    { c = Conv <kernel_shape = [2, 2], strides = [2, 2]> (x, k)
      r = Reshape (c, t)
      tokens = Transpose <perm = [0, 2, 1]> (r)
      j = Concat <axis = 1> (cls, tokens)
      p = Add (j, place)
      [one] m = MatMul (p, w)
      g = Gather <axis = 1> (m, zero)
      [two] y = MatMul (g, v) }"""
    model, _ = converted(text, EVERY)
    assert inputs_of_convolutions(model)[1:] == [[1, 8, 2, 5], [1, 8, 1, 1]]
    # To a row of nine for the token, to 2 x 5, to a row for its choice, and the end.
    assert layout_nodes(model) == 4
    assert np.all([node.op_type != "Transpose" for node in model.graph.node])
