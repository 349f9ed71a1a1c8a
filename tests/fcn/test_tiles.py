"""An image run in tiles gives the map of the whole image, and what cannot be tiled says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import execute
import numpy as np
import onnx
import pytest
from sliding_judge import image, slid
from sliding_networks import Load, network
from textmodel import parse

import fc2conv
from fc2conv.errors import InputError, LimitError, UsageError
from fc2conv.fcn import tiles
from fc2conv.fcn.placed import image_input, placed, working_set
from fc2conv.io.reader import model_file_from_proto

CLOSE = 1e-5
"""max|a - b| against the range: onnxruntime's sums depend on the size of the tile."""

CHOICES: list[dict[str, Any]] = [
    {},
    {"upsample": True},
    {"padding": "same"},
    {"padding": "valid", "upsample": True},
    {"output_stride": 1},
]


def runner(model: onnx.ModelProto) -> tuple[tiles.Runner, dict[int, int]]:
    """A model to run, and its least sizes by dimension."""
    file = model_file_from_proto(model)
    name, geometry = placed(file, None, None)
    image_input(file, name, geometry)
    return tiles.Runner(file, name, geometry), {axis.dim: axis.minimum for axis in geometry.axes}


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize("name", ["unpadded", "mini_vgg", "gap", "keras_nhwc"])
def test_tiles_give_the_map_of_the_whole(
    name: str, options: dict[str, Any], fixture: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliding = slid(fixture(name), **options)
    run, least = runner(sliding)
    (given,) = image(sliding, {dim: size + 33 + dim for dim, size in least.items()}).values()
    whole = tiles.whole_map(run, given, np.float32)
    counts = set()
    for side in (max(least.values()), max(least.values()) + 14):
        monkeypatch.setattr(run, "_chosen", lambda shape, _, __, side=side: (side, run._tiles(shape, side)))
        found = tiles.whole_map(run, given, np.float32)
        counts.add(len(run._tiles(given.shape, side)[0]))
        assert np.abs(found - whole).max() <= CLOSE * np.ptp(whole)
    assert min(counts) > 1


@pytest.mark.parametrize(("name", "more"), [("audio", 90), ("volume", 15)])
def test_signals_and_volumes_are_run_as_pictures_are(
    name: str, more: int, fixture: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliding = slid(fixture(name))
    run, least = runner(sliding)
    (given,) = image(sliding, {dim: size + more + dim for dim, size in least.items()}).values()
    onnx.save(sliding, tmp_path / "fcn.onnx")
    whole = fc2conv.run_sliding(tmp_path / "fcn.onnx", given)
    np.testing.assert_array_equal(fc2conv.run_sliding(str(tmp_path / "fcn.onnx"), given.tolist()), whole)
    side = max(least.values())
    monkeypatch.setattr(run, "_chosen", lambda shape, *_: (side, run._tiles(shape, side)))
    assert all(len(spans) > 1 for spans in run._tiles(given.shape, side))
    assert whole.ndim == len(least) + 2
    assert np.abs(tiles.whole_map(run, given, np.float32) - whole).max() <= CLOSE * np.ptp(whole)


def test_tiles_keep_the_period_of_a_backbone_that_upsamples(monkeypatch: pytest.MonkeyPatch) -> None:
    original = parse(
        """g (float[N,2,24,24] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[5,1600] w, float[4] s = {1.0, 1.0, 2.0, 2.0}> {
          c = Conv (x, k)
          p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          r = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (p, , s)
          a = Slice (r, a0, a1, ax)  b = Slice (c, a0, a1, ax)
          d = Add (a, b)
          f = Flatten (d)  [fc] y = Gemm <transB = 1> (f, w) }""".replace(
            "float[4] s", "int64[2] a0 = {2, 2}, int64[2] a1 = {99999, 99999}, int64[2] ax = {2, 3}, float[4] s"
        ),
        opset=13,
    )
    run, least = runner(slid(original))
    (given,) = image(original, {dim: size + 30 for dim, size in least.items()}).values()
    whole = tiles.whole_map(run, given, np.float32)
    monkeypatch.setattr(run, "_chosen", lambda shape, _, __: (0, run._tiles(shape, max(least.values()))))
    found = tiles.whole_map(run, given, np.float32)
    assert len(run._tiles(given.shape, max(least.values()))[0]) > 1
    assert np.abs(found - whole).max() <= CLOSE * np.ptp(whole)


CUT = {
    "in front": "s = Slice (x, one, far, dims)  c = Conv <pads = [1, 1, 1, 1]> (s, k)",
    "at the end": "s = Slice (x, none, last, dims)  c = Conv <pads = [1, 1, 1, 1]> (s, k)",
    "at the end, before a convolution without padding": """s = Slice (x, none, last, dims)  a = Conv (s, k2)
        c = Conv <pads = [1, 1, 1, 1]> (a, k)""",
    "by a Resize that rounds down": """s = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
        nearest_mode = "floor"> (x, , half)  c = Conv <pads = [1, 1, 1, 1]> (s, k)""",
}


@pytest.mark.parametrize("where", CUT)
def test_tiles_of_a_network_that_pads_where_it_has_cut(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = parse(
        f"""g (float[N,2,16,16] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[2,2,2,2] k2, float[4,5] w, float[5] b,
         int64[2] one = {{1, 1}}, int64[2] none = {{0, 0}},
         int64[2] far = {{99999, 99999}}, int64[2] last = {{-1, -1}}, int64[2] dims = {{2, 3}},
         float[4] half = {{1.0, 1.0, 0.5, 0.5}}>
        {{ {CUT[where]}  r = Relu (c)  p = GlobalAveragePool (r)  f = Flatten (p)  y = Gemm (f, w, b) }}""",
        opset=13,
    )
    run, least = runner(slid(original))
    (given,) = image(original, {dim: size + 38 + dim for dim, size in least.items()}).values()
    whole = tiles.whole_map(run, given, np.float32)
    side = max(least.values()) + 4
    monkeypatch.setattr(run, "_chosen", lambda shape, *_: (side, run._tiles(shape, side)))
    assert len(run._tiles(given.shape, side)[0]) > 1
    assert np.abs(tiles.whole_map(run, given, np.float32) - whole).max() <= CLOSE * np.ptp(whole)


def large_network() -> onnx.ModelProto:
    """A network that keeps 64 maps of the size of the image at once."""
    return parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[64,2,3,3] k, float[5,2304] w>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  r = Sin (c)  f = Flatten (r)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )


@pytest.mark.contained
def test_a_run_under_a_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "fcn.onnx"
    onnx.save(slid(large_network()), path)
    given = np.random.default_rng(0).standard_normal((1, 2, 500, 600)).astype(np.float32)
    shape = {"x": given.shape}
    assert working_set(onnx.load(path), shape) > 70 << 20
    found = fc2conv.run_sliding(path, given, 110 << 20)
    part = fc2conv.run_sliding(path, given[:, :, 300:360, 400:480])
    assert found.shape == (1, 5, 493, 593)
    assert np.abs(found[:, :, 300:353, 400:473] - part).max() <= CLOSE * np.ptp(part)


@pytest.mark.contained
def test_what_is_too_large_says_what_fits(tmp_path: Path, fixture: Load) -> None:
    path = tmp_path / "fcn.onnx"
    onnx.save(slid(large_network()), path)
    given = np.zeros((1, 2, 900, 1100), np.float32)
    with pytest.raises(
        LimitError, match=r"the map itself and a tile of 8x8 pixels take about .*raise --memory-limit to"
    ):
        fc2conv.run_sliding(path, given, 60 << 20)
    onnx.save(slid(fixture("se_block")), path)
    (value,) = [
        v for v in onnx.load(path).graph.input if v.name not in {t.name for t in onnx.load(path).graph.initializer}
    ]
    wide = np.zeros((1, value.type.tensor_type.shape.dim[1].dim_value, 1500, 1400), np.float32)
    with pytest.raises(
        LimitError,
        match=r"pool \(GlobalAveragePool\) reads the whole image.*give one of \d+x\d+, which fits \(--size\), or raise",
    ):
        fc2conv.run_sliding(path, wide, 170 << 20)


def test_images_that_do_not_fit_the_network(tmp_path: Path) -> None:
    path = tmp_path / "fcn.onnx"
    onnx.save(slid(network("y = Relu (s)")), path)
    with pytest.raises(UsageError, match="has 3 dimensions"):
        fc2conv.run_sliding(path, np.zeros((2, 20, 20), np.float32))
    with pytest.raises(InputError, match="dimension 1 of the image is 3: x takes 2"):
        fc2conv.run_sliding(path, np.zeros((1, 3, 20, 20), np.float32))
    with pytest.raises(InputError, match=r"dimension 2 of the image is 5, .*: pad it to 7"):
        fc2conv.run_sliding(path, np.zeros((1, 2, 5, 20), np.float32))
    assert fc2conv.run_sliding(path, np.zeros((2, 2, 20, 20), np.uint8)).shape[:2] == (2, 5)


ONE_AXIS: list[dict[str, Any]] = [{"input_axes": {"x": (3,)}}, {"input_axes": {"x": (2,)}}, {"global_pool": "keep"}]


@pytest.mark.parametrize("options", ONE_AXIS, ids=str)
def test_an_image_that_slides_along_one_axis_alone(options: dict[str, Any], tmp_path: Path) -> None:
    original = parse(
        """g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] k, float[28,5] w, float[5] b>
        { c = Conv <strides = [2, 2]> (x, k)  r = ReduceMean <axes = [2]> (c)  f = Flatten (r)  y = Gemm (f, w, b) }"""
    )
    sliding = slid(original, **options)
    onnx.save(sliding, tmp_path / "one.onnx")
    sizes = {dim: 37 for axes in options.get("input_axes", {}).values() for dim in axes} or {2: 20, 3: 37}
    given = image(original, sizes)
    (whole,) = execute.run(sliding, given)
    found = fc2conv.run_sliding(tmp_path / "one.onnx", given["x"])
    assert found.shape == whole.shape
    assert np.abs(found - whole).max() <= CLOSE * np.ptp(whole)


def test_tiles_along_one_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    original = parse(
        """g (float[N,2,16] x) => (float[N,5] y) <float[4,2,3] k, float[4,5] w, float[5] b>
        { c = Conv <strides = [2]> (x, k)  p = GlobalAveragePool (c)  f = Flatten (p)  y = Gemm (f, w, b) }"""
    )
    file = model_file_from_proto(fc2conv.convert(original, options=lifted()).model or original)
    run = tiles.Runner(file, *placed(file, None, None))
    (given,) = image(original, {2: 90}).values()
    whole = tiles.whole_map(run, given, np.float32)
    monkeypatch.setattr(run, "_chosen", lambda shape, *_: (20, run._tiles(shape, 20)))
    assert len(run._tiles(given.shape, 20)[0]) > 1
    found = tiles.whole_map(run, given, np.float32)
    assert found.shape == whole.shape == (1, 5, 1, 38)
    assert np.abs(found - whole).max() <= CLOSE * np.ptp(whole)


def lifted() -> fc2conv.Options:
    return fc2conv.Options(sliding=fc2conv.SlidingOptions(), conv_rank="2d", verify=False)
