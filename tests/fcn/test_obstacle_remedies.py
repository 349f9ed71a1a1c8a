"""The remedy of what keeps a network from sliding helps in that very case."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from sliding_judge import CLOSE, at_training_size, image, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError

SLIDING = Options(sliding=SlidingOptions())

ALONG_ROWS = {
    "a constant": "h = Mul (c, rows)  d = Conv (h, one)",
    "a constant, channels last": "t = Transpose <perm = [0, 2, 3, 1]> (c)  m = Mul (t, last)"
    "  h = Transpose <perm = [0, 3, 1, 2]> (m)  d = Conv (h, one)",
    "a value of one row": "e = Conv (c, tall)  h = Add (c, e)  d = Conv (h, one)",
}


@pytest.mark.parametrize("name", ALONG_ROWS)
def test_what_is_in_the_way_along_one_axis_leaves_the_other(name: str) -> None:
    """The remedy names the dimension, and helps."""
    model = parse(
        f"""g (float[1,8,8,2] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,6,1] tall, float[1,4,6,1] rows,
            float[1,6,1,4] last, float[5,144] w, float[4,4,1,1] one>
        {{ i = Transpose <perm = [0, 3, 1, 2]> (x)  c = Conv (i, k)  {ALONG_ROWS[name]}  f = Flatten (d)
           [fc] y = Gemm <transB = 1> (f, w) }}"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [each.remedy for each in report.obstacles] == ["Slide along the other axes alone, with --input-axes x:2."]
    sliding = slid(model, input_axes={"x": (2,)})
    assert at_training_size(model, sliding, 1) < CLOSE
    assert run(sliding, image(sliding, {2: 11}))[0].shape == (1, 5, 1, 4)


def test_one_stride_for_all_maps_where_no_window_reads_the_rim() -> None:
    """A spatial pyramid on 20x20, of which 19x19 are read: a larger image has a cell more than it has crops."""
    model = parse(
        """g (float[1,2,20,20] x) => (float[1,5] y) <float[4,2,3,3] k, float[20,5] w>
        { c = Conv <strides = [2, 2]> (x, k)  a = GlobalAveragePool (c)
          m = MaxPool <kernel_shape = [5, 5], strides = [4, 4]> (c)
          f = Flatten (a)  g = Flatten (m)  j = Concat <axis = 1> (f, g)  [fc] y = MatMul (j, w) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC510"]
    assert report.obstacles[0].remedy.startswith("Give --output-stride 1")
    sliding = slid(model, output_stride=1)
    pixels = image(sliding, {2: 22, 3: 23})
    (cells,) = run(sliding, pixels)
    for row, column in ((0, 0), (2, 3)):
        (crop,) = run(model, {"x": pixels["x"][:, :, row : row + 20, column : column + 20]})
        assert np.abs(crop[0] - cells[0, :, row, column]).max() < CLOSE


def test_a_node_without_a_name_is_named_by_its_result_as_it_was() -> None:
    model = parse(
        """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,5] w>
        { c = Conv (x, k)  a = GlobalLpPool <p = 3> (c)  f = Flatten (a)  [fc] y = MatMul (f, w) }"""
    )
    with pytest.raises(InputError, match="FC506 at a: "):
        fc2conv.convert(model, options=SLIDING)


def test_a_batch_within_the_sizes_of_a_resize_is_to_be_given() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, int64[4] sizes = {1, 4, 12, 12}, float[4,5] w>
        { c = Conv (x, k)  [up] r = Resize <mode = "nearest"> (c, , , sizes)  p = GlobalMaxPool (r)  f = Flatten (p)
          [fc] y = MatMul (f, w) }"""
    )
    with pytest.raises(InputError, match=r"FC503 at up: .*--overwrite-input-shape x:1,2,8,8"):
        fc2conv.convert(model, options=SLIDING)
    helped = fc2conv.convert(model, options=Options(sliding=SlidingOptions(), input_shapes={"x": (1, 2, 8, 8)}))
    assert len(helped.report.converted) == 1


def test_a_norm_of_windows_has_holes_in_the_operator_set_that_is_named() -> None:
    text = """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[16,5] w>
    { c = Conv (x, k)  e = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
      d = LpPool <kernel_shape = [2, 2]> (e)  f = Flatten (d)  [fc] y = MatMul (f, w) }"""
    options = Options(sliding=SlidingOptions(output_stride=1))
    with pytest.raises(InputError, match="Raise the model to operator set 18"):
        fc2conv.convert(parse(text, opset=13), options=options)
    assert len(fc2conv.convert(parse(text, opset=18), options=options).report.converted) == 1


@pytest.mark.parametrize("stride", [None, 1])
def test_images_of_two_sizes_need_one(stride: int | None) -> None:
    """No --output-stride gives the maps of two images one stride."""
    model = parse(
        """g (float[1,2,16,16] z, float[1,2,8,8] x) => (float[1,5] y)
        <float[4,2,3,3] k, float[2,2,3,3] l, float[5,144] w>
        { p = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, l)  a = Add (x, p)  c = Conv (a, k)  f = Flatten (c)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    report = fc2conv.plan(model, Options(sliding=SlidingOptions(output_stride=stride))).sliding
    assert report is not None
    assert report.obstacles[0].code == "FC510"
    assert report.obstacles[0].remedy.startswith("Export the network with a Resize in front")


DOUBLE = """g (double[N,2,8,8] x) => (double[N,5] y) <double[5,128] w>
{ r = Relu (x)  p = MaxPool <kernel_shape = [1, 1]> (r)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w) }"""
BLOCKS = """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, uint8[5,5,16] w, float[25] s>
{ c = Conv <kernel_shape = [3, 3]> (x, k)  f = Flatten (c)
  [fc] y = com.microsoft.MatMulNBits <K = 144, N = 5, bits = 4, block_size = 32> (f, w, s) }"""


@pytest.mark.parametrize(("text", "code", "help"), [(DOUBLE, "FC401", "--force"), (BLOCKS, "FC211", "--expand-block")])
def test_a_layer_that_was_kept_has_the_remedy_of_its_own_reason(text: str, code: str, help: str) -> None:
    report = fc2conv.plan(parse(text, domains={"com.microsoft": 1}), SLIDING).sliding
    assert report is not None
    (obstacle,) = report.obstacles
    assert (obstacle.code, obstacle.node) == ("FC504", "fc")
    assert code in obstacle.detail
    assert help in obstacle.remedy


def test_a_constant_beside_a_volume_of_one_row_is_an_obstacle() -> None:
    """A side of 1 has no axis that another one could be slid along in the place of."""
    model = parse(
        """g (float[N,2,3,1,3] x) => (float[N,4] y) <float[1,2,3,1,3] w, float[3,7] q, float[42,4] m>
        { i = Identity (x)  [sum] s = Sum (i, w, x)  n = MatMul (s, q)  f = Flatten (n)  y = MatMul (f, m) }"""
    )
    with pytest.raises(InputError, match="FC50"):
        fc2conv.convert(model, None, SLIDING)


def test_a_flat_input_is_to_be_given_as_the_map_that_it_becomes() -> None:
    model = parse(
        """g (float[N,64] x) => (float[N,4,6,6] y) <float[4,1,3,3] k, int64[4] s = {0, 1, 8, 8}>
        { [shaped] r = Reshape (x, s)  y = Conv (r, k) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC503", "shaped")]
    assert report.obstacles[0].remedy.startswith("Cut the model behind that node")


def test_sizes_that_a_caller_may_replace_are_to_be_frozen() -> None:
    model = parse(
        """g (float[N,1,8,8] x, int64[4] s) => (float[N,4,6,6] y) <float[4,1,3,3] k, int64[4] s = {0, 4, 6, 6}>
        { c = Conv (x, k)  [shaped] y = Reshape (c, s) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC508", "shaped")]
    assert report.obstacles[0].remedy.startswith("Use --freeze-initializers")
    frozen = fc2conv.plan(model, Options(sliding=SlidingOptions(), freeze_initializers=True)).sliding
    assert frozen is not None
    assert frozen.obstacles == []


@pytest.mark.parametrize("shaped", [True, False])
def test_the_size_of_an_image_is_asked_for_with_the_channels_that_a_kernel_has(shaped: bool) -> None:
    model = parse(
        """g (float[?,?,?,?] x) => (float[N,5] y) <float[4,3,3,3] k, float[4,5] w>
        { c = Conv (x, k)  m = GlobalAveragePool (c)  f = Flatten (m)  y = MatMul (f, w) }"""
    )
    if not shaped:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC508", "x")]
    assert report.obstacles[0].remedy.endswith("--overwrite-input-shape x:1,3,224,224.")
    found = fc2conv.plan(model, Options(sliding=SlidingOptions(), input_shapes={"x": (1, 3, 24, 24)})).sliding
    assert found is not None
    assert found.obstacles == []


@pytest.mark.parametrize("stride", [None, 1])
def test_maps_of_odd_sizes_that_meet_need_even_ones(stride: int | None) -> None:
    text = """g (float[1,2,{0},{0}] x) => (float[1,5] y)
        <float[4,2,3,3] k, float[4,4,3,3] l, float[4,5] w, int64[4] large = {{1, 4, {1}, {1}}}>
        {{ c = Conv <strides = [2, 2], pads = [1, 1, 0, 0]> (x, k)
           d = Conv <strides = [2, 2], pads = [1, 1, 0, 0]> (c, l)  u = Resize (d, , , large)  q = Add (c, u)
           p = GlobalAveragePool (q)  f = Flatten (p)  y = MatMul (f, w) }}"""
    report = fc2conv.plan(parse(text.format(14, 7)), Options(sliding=SlidingOptions(output_stride=stride))).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC510", "q")]
    assert report.obstacles[0].remedy.startswith("Export the network for images whose maps have even sizes")
    even = parse(text.format(16, 8))
    assert at_training_size(even, slid(even), 1) < CLOSE


def test_channels_in_several_dimensions_are_named_by_the_node_that_reads_them() -> None:
    text = """g (float[N,3,16,16] x) => (float[N,5] y)
        <float[48,4] v, float[4,5] w, int64[6] apart = {0, 3, 4, 4, 4, 4}, int64[3] tokens = {0, 16, 48}>
        { a = Reshape (x, apart)  b = Transpose <perm = [0, 2, 4, 3, 5, 1]> (a)  e = Reshape (b, tokens)
          m = MatMul (e, v)  r = Relu (m)  q = ReduceMean <axes = [1], keepdims = 0> (r)  y = MatMul (q, w) }"""
    model = parse(text)
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC503"]
    assert report.obstacles[0].node in {node.output[0] for node in model.graph.node}
