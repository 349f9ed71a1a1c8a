"""Whole networks: at the training size, on larger images, at odd sizes, at the least and one below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from execute import run
from onnx import ModelProto, ValueInfoProto
from onnx.utils import Extractor
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from sliding_judge import CLOSE, at_crops, at_training_size, at_windows, geometry, image, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError
from fc2conv.fcn.stage import RECIPE

Load = Callable[[str], ModelProto]
NAMES = ("lenet", "mini_vgg", "keras_nhwc", "gap", "unpadded", "audio", "volume")
HEADS = {
    "lenet": ("p2", (5, 5)),
    "mini_vgg": ("p1", (7, 7)),
    "gap": ("r1", (5, 5)),
    "audio": ("n", (11,)),
    "volume": ("p", (2, 3, 4)),
}


def sizes_of(model: ModelProto, add: int = 0) -> dict[int, int]:
    """The training sizes by dimension, each some pixels larger."""
    axes = geometry(model, model.graph.output[0].name)["axes"]
    return {axis["dim"]: axis["size"] + add for axis in axes}


@pytest.mark.parametrize("name", NAMES)
def test_at_the_training_size_it_is_the_original(name: str, fixture: Load) -> None:
    original = fixture(name)
    for batch in (1, 3):
        assert at_training_size(original, slid(original), batch) < CLOSE


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("add", [9, 13])
def test_every_window_of_the_features_is_the_head_on_it(name: str, add: int, fixture: Load) -> None:
    original = fixture(name)
    sliding = slid(original)
    features, extent = HEADS[name]
    at_windows(original, sliding, features, extent, sizes_of(sliding, add))


@pytest.mark.parametrize(("name", "sizes"), [("unpadded", (26, 31)), ("unpadded", (33, 18)), ("audio", (171,))])
def test_without_padding_every_cell_is_the_network_on_its_crop(
    name: str, sizes: tuple[int, ...], fixture: Load
) -> None:
    original = fixture(name)
    assert at_crops(original, slid(original), sizes) < CLOSE


def test_with_padding_a_cell_is_not_the_network_on_its_crop(fixture: Load) -> None:
    original = fixture("lenet")
    assert at_crops(original, slid(original), (36, 36)) > 100 * CLOSE


@pytest.mark.parametrize("name", NAMES)
def test_the_least_image_and_one_below_it(name: str, fixture: Load) -> None:
    sliding = slid(fixture(name))
    axes = geometry(sliding, sliding.graph.output[0].name)["axes"]
    session = onnxruntime.InferenceSession(sliding.SerializeToString(), providers=["CPUExecutionProvider"])
    least = {axis["dim"]: axis["minimum"] for axis in axes}
    (found,) = session.run(None, image(sliding, least))
    assert found.shape[2:] == (1,) * len(axes)
    for axis in axes:
        below = {**least, axis["dim"]: axis["minimum"] - 1}
        try:
            (found,) = session.run(None, image(sliding, below))
        except (Fail, InvalidArgument, RuntimeException):
            continue
        assert found.size == 0, "one pixel less gives a cell as well"


def test_images_of_two_sizes_in_one_session(fixture: Load) -> None:
    sliding = slid(fixture("gap"))
    session = onnxruntime.InferenceSession(sliding.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [session.run(None, image(sliding, {2: h, 3: w}))[0].shape for h, w in ((20, 20), (57, 33), (20, 20))]
    assert shapes == [(1, 5, 1, 1), (1, 5, 11, 5), (1, 5, 1, 1)]


def declared(values: Sequence[ValueInfoProto]) -> list[list[int | str]]:
    return [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]


def test_inputs_and_outputs_have_symbols(fixture: Load) -> None:
    sliding = slid(fixture("keras_nhwc"))
    assert declared(sliding.graph.input) == [["N", "H", "W", 3]]
    assert declared(sliding.graph.output) == [["N", 10, "Identity:0_H", "Identity:0_W"]]
    sliding = slid(fixture("crnn"), reduce="max")
    assert declared(sliding.graph.output) == [["N", 12, "scores_H", "scores_W"], ["N", 12]]


def test_symbols_that_are_taken(fixture: Load) -> None:
    original = fixture("gap")
    original.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "H"
    sliding = slid(original)
    assert declared(sliding.graph.input) == [["H", 3, "image_H", "W"]]
    assert declared(sliding.graph.output) == [["H", 5, "logits_H", "logits_W"]]


def test_two_heads_have_a_map_each(fixture: Load) -> None:
    original = fixture("two_heads")
    sliding = slid(original)
    given = image(original, {2: 24, 3: 29})
    policy, value, features = run(sliding, given)
    assert (policy.shape, value.shape, features.shape) == ((1, 6, 3, 5), (1, 1, 3, 5), (1, 4, 6, 8))
    for row in range(3):
        for column in range(5):
            window = np.ascontiguousarray(features[:, :, row : row + 4, column : column + 4]).reshape(1, 64)
            head = Extractor(original).extract_model(["features"], ["policy", "value"])
            wanted = run(head, {"features": window})
            assert np.allclose(wanted[0][0], policy[0, :, row, column], rtol=1e-5, atol=1e-6)
            assert np.allclose(wanted[1][0], value[0, :, row, column], rtol=1e-5, atol=1e-6)


def test_a_recogniser_slides_over_the_height_and_keeps_its_columns(fixture: Load) -> None:
    original = fixture("crnn")
    sliding = slid(original)
    given = image(original, {})
    (wanted,), (found,) = run(original, given), run(sliding, given)
    assert found.shape == (1, 12, 1, 20)
    assert np.allclose(wanted, found[:, :, 0].transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
    assert run(sliding, image(original, {2: 24}))[0].shape == (1, 12, 3, 20)


def test_a_gate_within_the_backbone_still_reads_the_whole_image(fixture: Load) -> None:
    original = fixture("se_block")
    report = fc2conv.plan(original, Options(sliding=SlidingOptions())).sliding
    assert report is not None
    assert [(pool.node, pool.action) for pool in report.pools] == [("pool", "within")]
    assert report.padded
    sliding = slid(original)
    given = image(original, {})
    assert np.allclose(run(original, given)[0], run(sliding, given)[0], atol=1e-6)
    assert run(sliding, image(original, {2: 13, 3: 17}))[0].shape == (1, 8, 13, 17)


def test_the_same_input_gives_the_same_bytes(fixture: Load) -> None:
    one, other = (slid(fixture("gap"), cam=True, reduce="max") for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_the_argument_is_not_changed(fixture: Load) -> None:
    original = fixture("gap")
    before = original.SerializeToString()
    slid(original, score_map={"": "probabilities"})
    assert original.SerializeToString() == before


def test_old_files_list_new_constants_among_the_inputs(fixture: Load) -> None:
    """In IR 3 every initializer is an input; the checker, which `slid` calls, demands it."""
    original = fixture("keras_nhwc")
    original.ir_version = 3
    for tensor in original.graph.initializer:
        kind = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        original.graph.input.append(kind)
    sliding = slid(original)
    assert {t.name for t in sliding.graph.initializer} <= {v.name for v in sliding.graph.input}
    assert at_training_size(original, sliding) < CLOSE


def test_a_sliding_network_made_once_more_is_the_same(fixture: Load) -> None:
    once = slid(fixture("gap"))
    options = Options(sliding=SlidingOptions(), input_shapes={"image": (1, 3, 20, 20)}, verify=False)
    twice = fc2conv.convert(once, options=options).model
    assert twice is not None
    assert twice.graph.node == once.graph.node
    before, after = ({e.key: e.value for e in each.metadata_props} for each in (once, twice))
    assert '"image":[1,3,20,20]' in after.pop(RECIPE)  # of the last conversion, as all that is here
    assert before.pop(RECIPE)
    assert after == before


def test_a_map_that_grows_beside_heads_that_slide_over_it(tmp_path: Path) -> None:
    """`m` has three cells along the width at the training size and no windows there, and `y` one: both are proved."""
    model = parse(
        """g (float[N,2,6,5] x) => (float[N,3,1,3] m, float[N,4] y) <float[3,2,6,3] k, float[4,9] w>
        { m = Conv (x, k)
          f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    onnx.save(model, tmp_path / "in.onnx")
    options = Options(sliding=SlidingOptions(verify_crops=True))
    found = fc2conv.convert(tmp_path / "in.onnx", tmp_path / "out.onnx", options).report.verification
    assert found is not None
    verdicts = {check.name: check.verdict for check in found.checks}
    assert (found.verdict, verdicts["windows"], verdicts["crops"]) == ("proved", "proved", "agrees")
    assert at_training_size(model, onnx.load(tmp_path / "out.onnx")) < CLOSE


def test_without_an_output_of_an_image_nothing_slides() -> None:
    model = parse(
        "g (float[N,2,8,8] x, float[3] v) => (float[3] y) <float[4,2,3,3] k> { c = Conv (x, k)  y = Relu (v) }"
    )
    with pytest.raises(InputError, match="no output"):
        fc2conv.convert(model, options=Options(sliding=SlidingOptions()))


def test_a_sound_without_channels_is_an_output_as_well(tmp_path: Path) -> None:
    """[N, L] is a map of one channel that its layout does not name."""
    model = parse(
        """g (float[N,16] x) => (float[N,16] z, float[N,4,5] y) <float[4,1,12] k, int64[1] one = {1}>
        { z = Relu (x)  u = Unsqueeze (z, one)  y = Conv (u, k) }"""
    )
    onnx.save(model, tmp_path / "in.onnx")
    found = fc2conv.convert(tmp_path / "in.onnx", tmp_path / "out.onnx", Options(sliding=SlidingOptions())).report
    assert found.verification is not None
    assert found.verification.verdict == "proved"
