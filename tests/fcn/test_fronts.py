"""Networks with anything in front of the first convolution are the original on every crop."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from onnx import ModelProto, numpy_helper
from sliding_fronts import FRONTS, PLACES, behind, placed
from sliding_judge import CLOSE, apart, at_crops, at_training_size, at_windows, geometry, image, slid, with_outputs
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions


@pytest.mark.parametrize("name", FRONTS)
def test_every_cell_is_the_original_on_its_crop(name: str) -> None:
    original = behind(name)
    sliding = slid(original)
    axes = geometry(sliding, "y")["axes"]
    assert [axis["stride"] for axis in axes] == [FRONTS[name].stride] * 2
    assert at_training_size(original, sliding, 1) < CLOSE
    assert at_crops(original, sliding, [axis["size"] + 2 * axis["period"] for axis in axes]) < CLOSE


@pytest.mark.parametrize("name", ["resized between pixels", "sums of channels"])
def test_it_is_proved(name: str) -> None:
    found = fc2conv.convert(behind(name), options=Options(sliding=SlidingOptions())).report.verification
    assert found is not None
    assert found.verdict == "proved"


def coordinates(size: int, opset: int = 13) -> ModelProto:
    """A network whose image has two more channels: where each pixel lies, from -1 to 1."""
    even = np.linspace(-1, 1, size, dtype=np.float32)
    places = np.stack(np.meshgrid(even, even, indexing="ij"))[None]
    model = parse(
        f"""g (float[1,2,{size},{size}] x) => (float[1,5] y) <float[4,4,3,3] k, float[5,{4 * (size - 2) ** 2}] w>
        {{ j = Concat <axis = 1> (x, places)  c = Conv <kernel_shape = [3, 3]> (j, k)
           r = Tanh (c)  f = Flatten (r)  [fc] y = Gemm <transB = 1> (f, w) }}""",
        opset=opset,
    )
    model.graph.initializer.append(numpy_helper.from_array(places, "places"))
    return model


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_coordinates_are_those_of_the_larger_image(opset: int) -> None:
    original = coordinates(8, opset)
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    assert geometry(sliding, "y")["axes"][0]["field"] is None
    larger = with_outputs(coordinates(12, opset), "r")
    del larger.graph.output[0]
    given = image(larger, {})
    assert apart(run(larger, given)[0], run(with_outputs(sliding, "r"), given)[-1]) < CLOSE
    assert at_windows(original, sliding, "r", (6, 6), {2: 10, 3: 11}) == 12


@pytest.mark.parametrize("name", PLACES)
def test_places_that_are_computed_are_those_of_the_larger_image(name: str) -> None:
    original, larger = placed(name), with_outputs(placed(name, 12), "t")
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    del larger.graph.output[0]
    given = image(larger, {})
    assert apart(run(larger, given)[0], run(with_outputs(sliding, "t"), given)[-1]) < CLOSE
    assert geometry(sliding, "y")["axes"][0]["field"] is None


def test_other_values_of_each_pixel_are_no_coordinates() -> None:
    original = coordinates(8)
    original.graph.initializer[-1].CopyFrom(
        numpy_helper.from_array(np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32), "places")
    )
    report = fc2conv.plan(original, Options(sliding=SlidingOptions())).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC502"]


def test_a_constant_has_the_name_that_it_has_in_the_file() -> None:
    tokens = parse(
        """g (float[N,2,8,8] x) => (float[N,4] y)
        <float[4,2,3,3] k, int64[3] s = {0, 36, 4}, float[1,36,4] p, float[4,4] v>
        { c = Conv (x, k)  t = Transpose <perm = [0, 2, 3, 1]> (c)  r = Reshape (t, s)  a = Add (r, p)
          m = MatMul (a, v)  y = ReduceMean <axes = [1], keepdims = 0> (m) }"""
    )
    report = fc2conv.plan(tokens, Options(sliding=SlidingOptions())).sliding
    assert report is not None
    assert [(each.code, each.node, each.detail) for each in report.obstacles] == [("FC502", "a", "the operand p")]
