"""--padding and --upsample: which cells a map has, and where they lie on the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import run
from onnx import ModelProto
from sliding_judge import CLOSE, apart, geometry, image, slid
from sliding_networks import Load
from sliding_within import WHOLE, within
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.fcn.geometry import Step, windows

NAMES = ["unpadded", "mini_vgg", "gap", "keras_nhwc", "audio"]


def axes_of(model: ModelProto) -> list[dict[str, Any]]:
    axes: list[dict[str, Any]] = geometry(model, model.graph.output[0].name)["axes"]
    return axes


def together(plain: ModelProto, other: ModelProto, before: np.ndarray, now: np.ndarray) -> tuple[int, float]:
    """How many cells of both maps lie in the same places, and how far they are apart."""
    for axis, (one, two) in enumerate(zip(axes_of(plain), axes_of(other), strict=True), start=2):
        places = one["center"] + one["stride"] * np.arange(before.shape[axis])
        at = (places - two["center"]) / two["stride"]
        assert (at == np.round(at)).all()
        there = (at >= 0) & (at < now.shape[axis])
        before, now = np.compress(there, before, axis), np.take(now, at[there].astype(int), axis)
    return before[0, 0].size, apart(before, now)


@pytest.mark.parametrize("stride", [None, 1])
@pytest.mark.parametrize("name", NAMES)
def test_same_has_a_cell_for_each_stride_of_pixels(name: str, stride: int | None, fixture: Load) -> None:
    original = fixture(name)
    plain, same = slid(original), slid(original, padding="same", output_stride=stride)
    for more in range(5):
        sizes = {axis["dim"]: axis["size"] + 9 + more for axis in axes_of(plain)}
        given = image(original, sizes)
        (before,), (now,) = run(plain, given), run(same, given)
        wide = axes_of(same)
        assert list(now.shape[2:]) == [-(-sizes[axis["dim"]] // int(axis["stride"])) for axis in wide]
        assert all(abs(axis["center"] - (axis["stride"] - 1) / 2) <= axis["stride"] / 2 for axis in wide)
        count, gap = together(plain, same, before, now)
        assert count == before[0, 0].size
        assert gap < CLOSE


@pytest.mark.parametrize("stride", [None, 1])
@pytest.mark.parametrize("name", NAMES)
def test_valid_has_the_cells_that_read_no_padding(name: str, stride: int | None, fixture: Load) -> None:
    original = fixture(name)
    plain, valid = slid(original), slid(original, padding="valid", output_stride=stride)
    least = {axis["dim"]: axis["minimum"] for axis in axes_of(valid)}
    for more in (8, 11, 14):
        sizes = {dim: size + more for dim, size in least.items()}
        given = image(original, sizes)
        (before,), (now,) = run(plain, given), run(valid, given)
        count, gap = together(plain, valid, before, now)
        assert count
        assert gap < CLOSE
        for axis, place in enumerate(axes_of(valid), start=2):
            last = place["offset"] + place["stride"] * (now.shape[axis] - 1) + place["field"]
            assert place["offset"] >= 0
            assert last <= sizes[place["dim"]]


def test_same_of_images_below_the_plain_minimum() -> None:
    original = parse(
        """g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] k, float[64,5] w, float[5] b>
        { c = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)
          m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)  f = Flatten (m)  y = Gemm (f, w, b) }"""
    )
    same, given = slid(original, padding="same"), image(original, {2: 40, 3: 40})
    (whole,) = run(same, given)
    (rows, columns) = axes_of(same)
    assert columns["minimum"] < 16
    for size in range(columns["minimum"], 17):
        cut = {name: np.ascontiguousarray(each[..., :size]) for name, each in given.items()}
        (found,) = run(same, cut)
        assert found.shape[2:] == (10, -(-size // 4))
        last = (size - columns["offset"] - columns["field"]) // columns["stride"]  # the last cell that reads no rim
        count = max(0, min(found.shape[3], int(last) + 1))
        assert count == 0 or apart(whole[..., :count], found[..., :count]) < CLOSE
        assert count > 0 or size < columns["offset"] + columns["field"]
    assert rows["stride"] == 4


@pytest.mark.parametrize("stride", [1, 2])
def test_same_pads_a_maximum_with_holes(stride: int) -> None:
    original = parse(
        """g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] a, float[4,4,3,3] b, float[4,5] w, float[5] c>
        { d = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, a)
          e = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (d, b)
          p = GlobalMaxPool (e)  f = Flatten (p)  y = Gemm (f, w, c) }"""
    )
    chosen = Options(sliding=SlidingOptions(padding="same", output_stride=stride))
    converted = fc2conv.convert(original, options=chosen)
    assert converted.report.verification is not None
    assert converted.report.verification.verdict.accepted
    same, plain = converted.model, slid(original, output_stride=stride)
    assert same is not None
    given = image(original, {2: 27, 3: 30})
    (before,), (now,) = run(plain, given), run(same, given)
    assert now.shape[2:] == (-(-27 // stride), -(-30 // stride))
    assert np.isfinite(now).all()
    count, gap = together(plain, same, before, now)
    assert count == before[0, 0].size
    assert gap < CLOSE


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "GlobalMaxPool"])
def test_same_takes_no_image_that_pooling_with_holes_skips(pool: str) -> None:
    original = parse(
        f"""g (float[N,2,20,20] x) => (float[N,5] y) <float[4,2,3,3] a, float[4,4,3,3] b, float[4,5] w, float[5] c>
        {{ d = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, a)
          e = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (d, b)
          p = {pool} (e)  f = Flatten (p)  y = Gemm (f, w, c) }}"""
    )
    same, least = slid(original, padding="same", output_stride=1), 4
    assert [axis["minimum"] for axis in axes_of(same)] == [least, least]
    for size, finite in ((least - 1, False), (least, True), (least + 1, True)):
        (found,) = run(same, image(same, {2: size, 3: size}))
        assert found.shape[2:] == (size, size)
        assert np.isfinite(found).all() == finite


def test_same_has_no_mean_of_padding_alone() -> None:
    original = parse(
        """g (float[N,3,24] x) => (float[N,5] y) <float[4,3,3] a, float[4,4,3] b, float[4,5] w, float[5] c>
        { d = Conv <strides = [2]> (x, a)  m = MaxPool <kernel_shape = [2], strides = [2]> (d)  e = Conv (m, b)
          p = GlobalAveragePool (e)  f = Flatten (p)  y = Gemm (f, w, c) }"""
    )
    report = fc2conv.plan(original, Options(sliding=SlidingOptions(padding="same", output_stride=2))).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC512", "p")]


@pytest.mark.parametrize("bounds", ["one, far", "none, last"])
def test_valid_has_no_cell_that_reads_padding_where_the_image_was_cut(bounds: str) -> None:
    original = parse(
        f"""g (float[N,2,12,12] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[4,5] w, float[5] b, int64[2] one = {{1, 1}}, int64[2] none = {{0, 0}},
         int64[2] far = {{99999, 99999}}, int64[2] last = {{-1, -1}}, int64[2] dims = {{2, 3}}>
        {{ s = Slice (x, {bounds}, dims)  c = Conv <pads = [1, 1, 1, 1]> (s, k)  r = Relu (c)
          p = GlobalAveragePool (r)  f = Flatten (p)  y = Gemm (f, w, b) }}""",
        opset=13,
    )
    valid, given = slid(original, padding="valid"), image(original, {2: 30, 3: 30})
    (large,) = run(valid, given)
    (inner,) = run(valid, {name: np.ascontiguousarray(each[:, :, 4:26, 4:26]) for name, each in given.items()})
    count = inner.shape[2]
    assert count == 22 - axes_of(valid)[0]["minimum"] + 1
    assert apart(large[:, :, 4 : 4 + count, 4 : 4 + count], inner) < CLOSE


def test_a_chomp_of_padding_is_no_cut() -> None:
    steps = [Step("a", ("x",), 3, 1, 2, 2), Step("b", ("a",), after=-2), Step("c", ("b",), 3, 1, 2, 2)]
    assert (windows(steps, "x")["c"].offset, windows(steps, "x")["c"].field) == (-4, 5)


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"padding": "valid"}, {"output_stride": 1}])
@pytest.mark.parametrize("name", NAMES)
def test_upsampling_puts_each_cell_where_it_lies(name: str, options: dict[str, Any], fixture: Load) -> None:
    original = fixture(name)
    plain, large = slid(original, **options), slid(original, upsample=True, **options)
    sizes = {axis["dim"]: axis["minimum"] + 21 for axis in axes_of(plain)}
    given = image(original, sizes)
    (cells,), (drawn,) = run(plain, given), run(large, given)
    assert list(drawn.shape[2:]) == [sizes[axis["dim"]] for axis in axes_of(plain)]
    wanted = cells.astype(np.float64)
    for axis, place in enumerate(axes_of(plain), start=2):
        assert place["center"] >= 0
        at = (np.arange(drawn.shape[axis]) - place["center"]) / place["stride"]
        known = np.arange(cells.shape[axis])
        wanted = np.apply_along_axis(lambda row, at=at, known=known: np.interp(at, known, row), axis, wanted)
    assert apart(wanted, drawn) < CLOSE


def test_the_middle_of_a_cell_is_the_middle_of_its_crop(fixture: Load) -> None:
    (rows, _) = axes_of(slid(fixture("gap")))
    assert (rows["center"], rows["size"]) == (9.5, 20)


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding": "valid"}, {"upsample": True}])
@pytest.mark.parametrize("name", ["gap", "audio"])
def test_all_of_it_is_proved(name: str, options: dict[str, Any], fixture: Load) -> None:
    chosen = Options(sliding=SlidingOptions(reduce="mean", **options))
    verification = fc2conv.convert(fixture(name), options=chosen).report.verification
    assert verification is not None
    checks = {check.name: check.verdict for check in verification.checks}
    assert checks["placement"] == ("agrees" if "upsample" in options else "proved")
    assert checks["windows"] == "proved"
    assert verification.verdict.accepted


def test_a_value_of_fewer_dimensions_beside_the_map_is_no_head() -> None:
    original = within(WHOLE["a convolution along the channels"])
    same, given = slid(original, padding="same"), image(original, {2: 11, 3: 12})
    assert run(same, given)[0].shape[2:] == (11, 12)


def test_a_head_that_reads_the_last_cell_gets_no_padding() -> None:
    text = """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,4] w, int64[1] last = {-1}>
        { c = Conv (x, k)  l = Gather <axis = 2> (c, last)  m = Gather <axis = 3> (l, last)  f = Flatten (m)
          y = Gemm <transB = 1> (f, w) }"""
    report = fc2conv.plan(parse(text), Options(sliding=SlidingOptions(padding="same"))).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC512"]


def test_what_reads_the_whole_image_has_no_inner_cells(fixture: Load) -> None:
    options = Options(sliding=SlidingOptions(padding="valid"))
    report = fc2conv.plan(fixture("se_block"), options).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC512"]
