"""Operators within a backbone, and poolings side by side at its end, against the original in onnxruntime."""

from __future__ import annotations

import pytest
from execute import run
from sliding_judge import CLOSE, apart, at_crops, at_training_size, at_windows, geometry, image, slid, with_outputs
from sliding_within import CUTS, POOLING, WHOLE, WITHIN, channels, pooling, within
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions


@pytest.mark.parametrize("name", WITHIN)
def test_along_the_channels_every_cell_is_the_original_on_its_crop(name: str) -> None:
    original = within(WITHIN[name], channels(name))
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    assert at_crops(original, sliding, (10, 13)) < CLOSE


def test_a_global_pool_of_tokens_is_a_reduction_of_the_channels() -> None:
    sliding = slid(within(WITHIN["pools of tokens, which are along the channels"]))
    assert [node.op_type for node in sliding.graph.node] == ["Conv", "ReduceMean", "ReduceMax", "Sub", "Mul", "Conv"]


@pytest.mark.parametrize("name", WHOLE)
def test_what_reads_the_whole_image_is_what_the_original_computes_of_it(name: str) -> None:
    original = within(WHOLE[name], channels(name))
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    assert geometry(sliding, "y")["axes"][0]["field"] is None
    larger = with_outputs(within(WHOLE[name], channels(name), size=12), "r")
    del larger.graph.output[0]
    given, made = image(larger, {}), {name for node in sliding.graph.node for name in node.output}
    there = "r" if "r" in made else "r_s"  # it may have been converted to a map before
    assert apart(run(larger, given)[0], run(with_outputs(sliding, there), given)[-1]) < CLOSE
    assert "r" not in made or at_windows(original, sliding, "r", (6, 6), {2: 10, 3: 11}) == 12


@pytest.mark.parametrize("name", POOLING)
@pytest.mark.parametrize("joined", ["r = Concat <axis = 1> (a, b)", "r = Add (a, b)"])
def test_poolings_side_by_side_slide_together(name: str, joined: str) -> None:
    original = pooling(POOLING[name], joined)
    sliding = slid(original)
    assert [axis["stride"] for axis in geometry(sliding, "y")["axes"]] == [1, 1]
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (10, 13)) < CLOSE


_CELLS = {
    "the middle, counted from both ends": 18,
    "rows as columns, pooled": 24,
    "rows as columns, convolved": 12,
    "the middle": 12,
    "the first": 12,
    "the last": 6,
    "up to the last": 12,
    "one row": 3,
    "every second": 6,
}


@pytest.mark.parametrize("name", CUTS)
def test_a_part_that_is_cut_out_is_that_of_every_window(name: str) -> None:
    original = within(CUTS[name], cells=_CELLS.get(name, 1))
    sliding = slid(original, scope="all")
    assert at_training_size(original, sliding, 1) < CLOSE
    assert at_crops(original, sliding, (10, 13)) < CLOSE


def test_a_pooling_within_the_backbone_of_an_image_with_the_channels_last_is_proved() -> None:
    original = parse(
        """g (float[N,8,8,3] x) => (float[N,5] y) <float[4,3,3,3] k, float[4,4,1,1] e, float[4,5] w>
        { t = Transpose <perm = [0, 3, 1, 2]> (x)  c = Conv (t, k)  p = GlobalAveragePool (c)  q = Conv (p, e)
          s = Sigmoid (q)  m = Mul (c, s)  a = GlobalAveragePool (m)  f = Flatten (a)  [fc] y = MatMul (f, w) }"""
    )
    found = fc2conv.convert(original, options=Options(sliding=SlidingOptions())).report.verification
    assert found is not None
    assert found.verdict == "proved"


_OF_WHOLE = "m = ReduceMean <axes = [1, 2, 3]> (c)  s = Mul (m, places)  d = Mul (c, s)"
_TO_THE_END = """a = Slice (c, zero, end, both, two)  b = Slice (c, one, end, both, two)
    j = Concat <axis = 1> (a, b)  d = Conv (j, mixed)"""


@pytest.mark.parametrize(
    ("body", "cells", "made"), [(_OF_WHOLE, 36, (5, 3)), (_TO_THE_END, 9, (3, 2))], ids=["one size", "to the end"]
)
def test_what_meets_a_map_that_grows_is_proved(body: str, cells: int, made: tuple[int, int]) -> None:
    """A number of the whole image has a factor for each cell of a window; a Slice ends where tf2onnx says "the end"."""
    original = parse(
        f"""g (float[N,3,8,8] x) => (float[N,5] y) <float[4,3,3,3] k, float[4,8,1,1] mixed, float[{4 * cells},5] w,
            float[1,4,6,6] places, int32[2] zero = {{0, 0}}, int32[2] one = {{1, 1}}, int32[2] two = {{2, 2}},
            int32[2] both = {{2, 3}}, int32[2] end = {{1000000000, 1000000000}}>
        {{ c = Conv (x, k)  {body}  f = Flatten (d)  [fc] y = MatMul (f, w) }}"""
    )
    done = fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    assert done.model is not None
    assert at_training_size(original, done.model) < CLOSE
    assert run(done.model, image(done.model, {2: 12, 3: 10}))[0].shape[2:] == made
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
