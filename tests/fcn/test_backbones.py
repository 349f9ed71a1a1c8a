"""Backbones that make more cells, or join maps of several scales: judged by crops, shifts and the original."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from execute import run
from onnx import ModelProto
from sliding_judge import CLOSE, apart, at_crops, at_training_size, geometry, image, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError

_UP = "ConvTranspose <strides = [2, 2]"
TRANSPOSED = {
    "two for one": (f"a = Conv <strides = [2, 2]> (x, k)  u = {_UP}> (a, t2)", 7, True),
    "with holes": (
        "a = Conv <strides = [3, 3]> (x, k)  u = ConvTranspose <strides = [3, 3]> (a, t2)",
        8,
        True,
    ),
    "padded": (f"a = Conv <strides = [2, 2]> (x, k)  u = {_UP}, pads = [1, 1, 1, 1]> (a, t4)", 7, False),
    "some more cells": (f"a = Conv <strides = [2, 2]> (x, k)  u = {_UP}> (a, t3)", 8, False),
    "output padding": (
        f"a = Conv <strides = [2, 2]> (x, k)  u = {_UP}, pads = [1, 1, 1, 1], output_padding = [1, 1]> (a, t3)",
        7,
        False,
    ),
    "SAME": (f'a = Conv <strides = [2, 2]> (x, k)  u = {_UP}, auto_pad = "SAME_UPPER"> (a, t3)', 7, False),
    "of a size": (f"a = Conv <strides = [2, 2]> (x, k)  u = {_UP}, output_shape = [17, 17]> (a, t4)", 8, False),
    "dilated": ("a = Conv <strides = [2, 2]> (x, k)  u = ConvTranspose <dilations = [2, 2]> (a, t3)", 5, False),
}
"""Transposed convolutions of a map: the cells of what a convolution of stride 2 makes of them, whether nothing pads."""

SCALES = {
    "a pyramid": """p = MaxPool <kernel_shape = [8, 8], strides = [8, 8]> (c)
        q = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (c)  s = AveragePool <kernel_shape = [2, 2],
        strides = [2, 2]> (c)  f1 = Flatten (p)  f2 = Flatten (q)  f4 = Flatten (s)
        j = Concat <axis = 1> (f1, f2, f4)  [fc] y = Gemm <transB = 1> (j, w84)""",
    "two heads": """d = Conv <strides = [2, 2]> (c, k4)  p = GlobalAveragePool (c)  q = GlobalAveragePool (d)
        f1 = Flatten (p)  f2 = Flatten (q)  [one] g = Gemm <transB = 1> (f1, w4)
        [two] h = Gemm <transB = 1> (f2, v4)  [sum] y = Add (g, h)""",
}
"""Heads that join maps of several strides."""


def upsampled(name: str) -> ModelProto:
    body, cells, _ = TRANSPOSED[name]
    size = 18 if name == "with holes" else 17
    return parse(
        f"""g (float[1,2,{size},{size}] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,3,3] k4, float[4,4,2,2] t2,
            float[4,4,3,3] t3, float[4,4,4,4] t4, float[5,{4 * cells**2}] w>
        {{ {body}  c = Conv <strides = [2, 2]> (u, k4)  r = Tanh (c)  f = Flatten (r)
           [fc] y = Gemm <transB = 1> (f, w) }}"""
    )


def scales(name: str) -> ModelProto:
    return parse(
        f"""g (float[1,2,10,10] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,3,3] k4, float[5,84] w84,
            float[5,4] w4, float[5,4] v4> {{ c = Conv (x, k)  {SCALES[name]} }}"""
    )


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    """At the training size, on every crop of a period where nothing pads, and on the features of a larger image."""
    original = upsampled(name)
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    axes = geometry(sliding, "y")["axes"]
    assert all(axis["period"] % 2 == 0 for axis in axes)
    given = image(sliding, {axis["dim"]: axis["size"] + 3 * axis["period"] for axis in axes})
    larger = onnx.ModelProto()
    larger.CopyFrom(original)
    for model in (larger, sliding):
        model.graph.output.add(name="r")
    for dim in larger.graph.input[0].type.tensor_type.shape.dim:
        dim.Clear()
    kept = [node for node in larger.graph.node if node.op_type not in ("Flatten", "Gemm")]
    del larger.graph.node[:], larger.graph.output[:]
    larger.graph.node.extend(kept)
    larger.graph.output.add(name="r")
    if name != "of a size":  # whose pads depend on the size of the image in the original
        assert apart(run(larger, given)[0], run(sliding, given)[-1]) < CLOSE
    crop = image(sliding, {axis["dim"]: axis["size"] + axis["period"] for axis in axes})
    (cells,) = run(sliding, crop)[:1]
    if TRANSPOSED[name][2]:
        step = [round(axis["period"] / axis["stride"]) for axis in axes]
        start = [axis["period"] for axis in axes]
        (wanted,) = run(original, {"x": np.ascontiguousarray(crop["x"][:, :, start[0] :, start[1] :])})
        assert apart(wanted[0], cells[0, :, step[0], step[1]]) < CLOSE


@pytest.mark.parametrize("name", TRANSPOSED)
def test_what_a_cell_behind_a_transposed_convolution_reads(name: str) -> None:
    """Pixels around its field change nothing, and an image that moves by a period moves the cells of full fields."""
    sliding = slid(upsampled(name))
    row, column = geometry(sliding, "y")["axes"]
    pixels = row["size"] + 4 * row["period"]
    ((key, given),) = image(sliding, {2: pixels, 3: column["size"]}).items()
    (base,) = run(sliding, {key: given})
    cell = base.shape[2] // 2
    first = round(row["offset"] + row["stride"] * cell)
    other = np.random.default_rng(5).standard_normal(given.shape).astype(np.float32)
    inside = slice(max(first, 0), max(first + round(row["field"]), 0))
    other[:, :, inside] = given[:, :, inside]
    assert apart(base[:, :, cell], run(sliding, {key: other})[0][:, :, cell]) < CLOSE
    (moved,) = run(sliding, {key: np.ascontiguousarray(given[:, :, row["period"] :])})
    shift = round(row["period"] / row["stride"])
    for i in range(moved.shape[2]):
        start = row["offset"] + row["stride"] * i
        if start >= 0 and start + row["field"] <= pixels - row["period"]:
            assert apart(base[:, :, i + shift], moved[:, :, i]) < CLOSE


@pytest.mark.parametrize("name", SCALES)
def test_heads_of_several_scales_slide_with_one_stride(name: str) -> None:
    original = scales(name)
    with pytest.raises(InputError, match=r"FC510 .*--output-stride 1"):
        fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    options = Options(sliding=SlidingOptions(output_stride=1))
    conversion = fc2conv.convert(original, options=options)
    assert conversion.model is not None
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict.accepted
    assert at_crops(original, conversion.model, (13, 12)) < CLOSE


def test_images_that_grow_by_other_steps_are_refused() -> None:
    model = parse(
        """g (float[1,3,12,12] x, float[1,1,24,24] z) => (float[1,5] y) <float[4,3,3,3] k, float[4,1,3,3] k1,
            float[5,100] w>
        { a = Conv <strides = [2, 2]> (x, k)  b = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, k1)
          q = MaxPool <kernel_shape = [4, 4], strides = [2, 2]> (b)  [meet] m = Add (a, q)  f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    with pytest.raises(InputError, match="FC510 at meet"):
        fc2conv.convert(model, options=Options(sliding=SlidingOptions()))


def test_an_image_may_have_room_for_more_cells_than_windows() -> None:
    """The last pixel of 12 is read by no cell, so that a larger image has a cell behind the last whole window."""
    original = parse(
        f"""g (float[1,2,12,12] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,2,2] t2, float[4,4,3,3] k4,
            float[5,4] w> {{ a = Conv <strides = [2, 2]> (x, k)  u = {_UP}> (a, t2)  c = Conv (u, k4)
           p = GlobalAveragePool (c)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w) }}"""
    )
    conversion = fc2conv.convert(original, sliding=SlidingOptions())
    assert conversion.report.verification.verdict == "proved"
    assert [axis.period for axis in conversion.report.sliding.outputs[0].axes] == [2, 2]


def test_a_scale_that_drifts_has_no_period() -> None:
    """3 / 0.6 is a little less than 5 in float32: a floor then reads the pixel before."""
    model = parse(
        """g (float[1,2,20,20] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,400] w,
            float[4] less = {1.0, 1.0, 0.6, 0.6}>
        { s = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , less)
          c = Conv (s, k)  r = Tanh (c)  f = Flatten (r)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    conversion = fc2conv.convert(model, options=Options(sliding=SlidingOptions()))
    assert conversion.report.sliding is not None
    assert [axis.period for axis in conversion.report.sliding.outputs[0].axes] == [None, None]


def test_a_map_that_wraps_around_reads_the_whole_image() -> None:
    model = parse(
        """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,256] w,
            int64[8] rim = {0, 0, 1, 1, 0, 0, 1, 1}>
        { p = Pad <mode = "wrap"> (x, rim)  c = Conv (p, k)  f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }""",
        opset=19,
    )
    conversion = fc2conv.convert(model, options=Options(sliding=SlidingOptions()))
    assert conversion.report.sliding is not None
    assert [axis.field for axis in conversion.report.sliding.outputs[0].axes] == [None, None]


def test_the_indices_of_a_pooling_that_nobody_reads() -> None:
    model = parse(
        """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,16] w>
        { p, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)  c = Conv (p, k)  f = Flatten (c)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    assert at_crops(model, slid(model), (12, 10)) < CLOSE
