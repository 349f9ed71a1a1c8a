"""What is chosen of the inputs, and what slides besides an image: two of them, a wave, sizes that nodes hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import run
from sliding_judge import CLOSE, accepted, apart, at_crops, at_training_size, image, slid
from sliding_networks import HEAD, Load, network
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError, UsageError


def test_one_axis_alone_may_slide(fixture: Load) -> None:
    original = fixture("unpadded")
    sliding = slid(original, input_axes={"image": (3,)})
    shape = sliding.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["N", 3, 18, "W"]
    assert run(sliding, image(original, {3: 30}))[0].shape == (1, 6, 1, 4)


@pytest.mark.parametrize(
    ("axes", "match"), [({"nobody": (2,)}, "no convolution reads"), ({"image": (1,)}, "not spatial")]
)
def test_axes_that_are_not_there(axes: dict[str, tuple[int, ...]], match: str, fixture: Load) -> None:
    with pytest.raises(UsageError, match=match):
        slid(fixture("unpadded"), input_axes=axes)


@pytest.mark.parametrize(
    ("options", "maps"),
    [
        ({}, [1, 7]),
        ({"output_stride": 1}, [1, 13]),
        ({"padding": "same"}, [1, 15]),
        ({"padding": "valid", "upsample": True}, [1, 30]),
    ],
)
def test_the_cells_of_the_axis_that_slides_lie_along_it(options: dict[str, Any], maps: list[int]) -> None:
    original = parse(
        """g (float[N,2,5,18] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,84] w>
        { c = Conv (x, k)  r = Relu (c)  m = MaxPool <kernel_shape = [1, 4], strides = [1, 2]> (r)  f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = SlidingOptions(input_axes={"x": (3,)}, **options)
    made = fc2conv.convert(original, options=Options(sliding=sliding))
    assert made.report.verification is not None
    assert made.report.verification.verdict.accepted
    assert made.model is not None
    assert list(run(made.model, image(original, {3: 30}))[0].shape[2:]) == maps


@pytest.mark.parametrize("pool", ["slide", "keep"])
@pytest.mark.parametrize("head", ["f = Flatten (r)", "p = GlobalAveragePool (r)  f = Flatten (p)"])
def test_a_network_of_one_dimension_slides_in_two(head: str, pool: Any) -> None:
    columns = 4 if "p =" in head else 48
    original = parse(
        f"""g (float[N,2,16] x) => (float[N,5] y) <float[4,2,5] k, float[{columns},5] w>
        {{ c = Conv (x, k)  r = Relu (c)  {head}  [fc] y = Gemm (f, w) }}"""
    )
    options = Options(sliding=SlidingOptions(global_pool=pool), conv_rank="2d")
    made = fc2conv.convert(original, options=options)
    assert made.report.verification is not None
    assert made.report.verification.verdict == "proved"
    assert made.model is not None
    ranks = {t.name: len(t.dims) for t in made.model.graph.initializer}
    assert [ranks[node.input[1]] for node in made.model.graph.node if node.op_type == "Conv"] == [4, 4]
    given = image(original, {2: 21})
    assert apart(run(slid(original, global_pool=pool), given)[0], run(made.model, given)[0][:, :, 0]) < CLOSE


def test_two_images_slide_together() -> None:
    original = parse(
        f"""g (float[N,2,8,8] left, float[N,2,8,8] right) => (float[N,5] y) <{HEAD}>
        {{
          a = Conv <kernel_shape = [3, 3], strides = [2, 2]> (left, k)
          d = Conv <kernel_shape = [3, 3], strides = [2, 2]> (right, k)
          e = Sub (a, d)  f = Flatten (e)  [fc] y = Gemm <transB = 1> (f, w, b)
        }}"""
    )
    found = fc2conv.convert(original, options=Options(sliding=SlidingOptions(verify_crops=True))).report
    assert found.verification is not None
    assert found.verification.verdict == "proved"
    assert found.sliding is not None
    assert [each.input for each in found.sliding.inputs] == ["left", "right"]
    assert found.sliding.crops[0].max < 1e-5


def test_a_wave_without_channels() -> None:
    original = parse(
        """g (float[N,40] wave) => (float[N,3] y) <float[4,1,5] k, float[3,72] w, int64[1] one = {1}>
        { u = Unsqueeze (wave, one)  c = Conv <kernel_shape = [5], strides = [2]> (u, k)
          f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(original)
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (62,)) < CLOSE


def test_pads_of_the_training_size_are_written_out() -> None:
    """With SAME the padding of an even image is not that of an odd one, and a cell would read another window."""
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,64] w>
        { c = Conv <auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(original)
    conv = sliding.graph.node[0]
    attributes = {a.name: list(a.ints) for a in conv.attribute}
    assert attributes["pads"] == [0, 0, 1, 1]
    assert "auto_pad" not in attributes
    assert at_training_size(original, sliding) < CLOSE


def test_sizes_of_a_resize_become_factors() -> None:
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,576] w, int64[4] large = {1, 4, 12, 12}>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  u = Resize <mode = "nearest"> (c, , , large)
          f = Flatten (u)  [fc] y = Gemm <transB = 1> (f, w) }""".replace("[N,", "[1,")
    )
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    assert run(sliding, image(original, {2: 10, 3: 12}))[0].shape == (1, 5, 5, 9)


def test_names_of_sizes_in_value_info_are_made_anew() -> None:
    from onnx import shape_inference

    original = shape_inference.infer_shapes(network("y = Tanh (s)"))
    sliding = slid(original)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in sliding.graph.value_info}
    assert shapes["c"][1:] == [4, 0, 0]


TOKENS = """g (float[N,12,8] x) => (float[N,5] y) <float[8,6] w, float[6,5] v, int64[1] one = {1}>
    { [one_token] a = MatMul (x, w)  r = Relu (a)  m = ReduceMean <axes = [1], keepdims = 0> (r)
      [fc] y = MatMul (m, v) }"""


def test_tokens_of_no_picture_slide_as_a_row() -> None:
    """As a picture of 4x3 they would be those of one size alone."""
    original = parse(TOKENS)
    sliding = slid(original, scope="all")
    assert [value.dim_param for value in sliding.graph.input[0].type.tensor_type.shape.dim] == ["N", "L", ""]
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (15,)) < CLOSE


def test_tokens_that_are_no_map_in_their_scope_slide_in_the_other_one() -> None:
    with pytest.raises(InputError, match="no input of the model is read by a convolution") as caught:
        slid(parse(TOKENS))
    assert "use --scope all for one of tokens" in str(caught.value.remedy)


LARGER = {
    "scales of some axes, which are rounded": 'u = Resize <axes = [-2, -1], mode = "linear"> (c, , scales)',
    "a result larger than the kernels reach": "u = ConvTranspose <strides = [2, 2], output_shape = [12, 12]> (c, t)",
}


@pytest.mark.parametrize("name", LARGER)
def test_what_makes_more_cells_is_what_it_was(name: str) -> None:
    original = parse(
        f"""g (float[N,2,11,11] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[4,4,3,3] t, float[4,5] w, float[2] scales = {{1.5, 1.5}}>
        {{ c = Conv <strides = [2, 2]> (x, k)  {LARGER[name]}  r = Relu (u)  p = GlobalAveragePool (r)  f = Flatten (p)
           y = MatMul (f, w) }}""",
        opset=18,
    )
    assert at_training_size(original, accepted(original)) < CLOSE


@pytest.mark.parametrize("pads", [("", ""), ("<pads = [1, 1, 1, 1]>", ""), ("", "<pads = [1, 1, 1, 1]>")])
def test_an_image_that_grows_beside_one_of_one_size(pads: tuple[str, str]) -> None:
    one, other = pads
    original = parse(
        f"""g (float[N,2,10,10] x, float[N,2,6,6] z) => (float[N,5] y) <float[4,2,3,3] k, float[4,5] w, float[5] b>
        {{ c = Conv {one} (x, k)  d = Conv {other} (z, k)  p = GlobalAveragePool (c)  q = GlobalAveragePool (d)
           e = Sub (p, q)  f = Flatten (e)  y = Gemm (f, w, b) }}"""
    )
    sliding, random = accepted(original, input_axes={"x": (2, 3)}), np.random.default_rng(0)
    given = {name: random.standard_normal((1, 2, n, n)).astype(np.float32) for name, n in (("x", 13), ("z", 6))}
    (cells,) = run(sliding, given)
    assert cells.shape == (1, 5, 4, 4)
    if not one:
        (crop,) = run(original, {**given, "x": np.ascontiguousarray(given["x"][:, :, 2:12, 3:13])})
        assert apart(crop[0], cells[0, :, 2, 3]) < CLOSE
