"""Sizes written into the model, and results left as maps: what changes of the signature, and that verify follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from execute import feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.errors import UsageError

HEAD = """graph (float[N,4,3,3] x) => (float[N,5] y) <float[36,8] w, float[8] b, float[8,5] v, float[5] c>
{ f = Flatten (x)  [fc1] m = Gemm (f, w, b)  r = Relu (m)  [fc2] y = Gemm (r, v, c) }"""
CELLS = """graph (float[N,4,3,H] x) => (float[N,L,5] y) <int64[3] s = {0, 4, -1}, float[4,5] w>
{ r = Reshape (x, s)  t = Transpose <perm = [0, 2, 1]> (r)  [fc] y = MatMul (t, w) }"""
KEPT = """graph (float[N,4] x) => (float[N,5] y) <float[4,5] w> { [fc] y = MatMul (x, w) }"""


def dims(model: ModelProto) -> dict[str, list[int | str]]:
    values = (*model.graph.input, *model.graph.output)
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


def made(text: str, options: Options, **more: int) -> ModelProto:
    """The converted model, which gives what the original does in its own shape, and which verify follows."""
    original = parse(text, **more)
    model = fc2conv.convert(original, None, options).model
    assert model is not None
    inputs = feeds(original, {"N": options.static or 2, "H": 5, "L": 15})
    (one,), (other,) = run(original, inputs), run(model, inputs)
    if one.ndim == 3 and other.ndim == 4:
        one = one.transpose(0, 2, 1)
    np.testing.assert_allclose(one.ravel(), other.ravel(), rtol=1e-4, atol=1e-6)
    found = fc2conv.verify(original, model)
    assert {check.name: check.verdict for check in found.checks}["exact"] == "proved"
    assert any("signature" in note for note in found.notes) == (dims(original) != dims(model))
    return model


@pytest.mark.parametrize("opset", [7, 13])
def test_the_batch_and_the_sizes_are_written(opset: int) -> None:
    assert dims(made(HEAD, Options(static=1), opset=opset)) == {"x": [1, 4, 3, 3], "y": [1, 5]}
    assert dims(made(HEAD, Options(static=3), opset=opset)) == {"x": [3, 4, 3, 3], "y": [3, 5]}
    sized = Options(static=2, input_shapes={"x": (0, 4, 3, 5)})
    assert dims(made(CELLS, sized, opset=opset)) == {"x": [2, 4, 3, 5], "y": [2, 15, 5]}


COMPUTED = """graph (float[N,4,3,3] x) => (float[M,5] y)
<int64[1] two = {2}, int64[1] four = {4}, int64[6] z = {0, 0, 0, 0, 0, 0}, float[64,5] w>
{ s = Shape (x)  h = Slice (s, two, four)  d = Div (h, two)  e = Concat <axis = 0> (z, d)
  p = Pad (x, e)  f = Flatten (p)  [fc] y = Gemm (f, w) }"""


def test_sizes_that_follow_from_those_of_the_inputs_are_numbers_then() -> None:
    """ONNX's own inference does not follow the Div."""
    assert dims(made(COMPUTED, Options(static=2))) == {"x": [2, 4, 3, 3], "y": [2, 5]}
    report = fc2conv.plan(parse(COMPUTED), target="rknn", static=1)
    assert report.target is not None
    assert report.target.findings == []


def test_a_size_that_values_decide_asks_for_no_static_a_second_time() -> None:
    text = """graph (float[N,4] x, bool[N] k) => (float[M,5] y) <float[4,5] w>
    { c = Compress <axis = 0> (x, k)  [fc] y = Gemm (c, w) }"""
    for options, wanted in ((Options(target="rknn"), True), (Options(target="rknn", static=1), False)):
        report = fc2conv.plan(parse(text), options)
        assert report.target is not None
        (finding,) = report.target.illegal
        assert (finding.code, "--static" in finding.remedy) == ("FC605", wanted)


def test_what_was_written_is_what_the_target_sees() -> None:
    """A 0 for the batch opens it for the analysis, and not once the batch is written."""
    options = Options(static=2, input_shapes={"x": (0, 4, 3, 5)}, target="dla", scope="all")
    report = fc2conv.plan(parse(CELLS), options)
    assert report.target is not None
    assert report.target.findings == []


def test_a_size_that_nothing_says_is_asked_for() -> None:
    with pytest.raises(UsageError, match="--overwrite-input-shape x:1,4,3,D3"):
        fc2conv.plan(parse(CELLS), Options(static=1))


def test_the_size_of_a_vector_is_no_batch() -> None:
    text = """graph (float[N,4,3,3] x, float[{}] v) => (float[N,5] y) <float[36,5] w>
    {{ f = Flatten (x)  [fc] m = MatMul (f, w)  s = ReduceSum <keepdims = 0> (v)  y = Mul (m, s) }}"""
    with pytest.raises(UsageError, match="--overwrite-input-shape v:D0"):
        fc2conv.plan(parse(text.format("K")), Options(static=2))
    sized = fc2conv.convert(parse(text.format("K")), static=2, input_shapes={"v": (7,)}).model
    assert dims(sized) == {"x": [2, 4, 3, 3], "v": [7], "y": [2, 5]}
    assert dims(fc2conv.convert(parse(text.format("N")), static=2).model)["v"] == [2]
    vector = parse("graph (float[K] v) => (float[5] y) <float[3,5] w> { [fc] y = MatMul (v, w) }")
    assert dims(fc2conv.convert(vector, static=3).model)["v"] == [3]


def test_a_batch_that_no_input_takes_is_refused() -> None:
    fixed = parse(HEAD.replace("[N,", "[1,"))
    with pytest.raises(UsageError, match="--static=2, and the model has a batch of its own: 'x' of 1"):
        fc2conv.plan(fixed, Options(static=2))
    assert fc2conv.plan(fixed, Options(static=1)).sites[0].decision == "convert"


def test_sizes_with_which_a_model_does_not_run_are_refused(tmp_path: Path) -> None:
    """An open batch that a constant fixes all the same."""
    text = """graph (float[N,4,3,3] x) => (float[M,5] y) <float[36,5] w, int64[2] one = {1, 36}>
    { r = Relu (x)  f = Reshape (r, one)  [fc] y = MatMul (f, w) }"""
    target = tmp_path / "out.onnx"
    with pytest.raises(UsageError, match="--static=2 writes sizes with which the model does not run"):
        fc2conv.convert(parse(text), target, Options(static=2))
    assert not target.exists()
    assert fc2conv.convert(parse(text), target, Options(static=1)).report.outcome == "converted"


@pytest.mark.parametrize(("opset", "ir_version"), [(7, 3), (13, 8)])
def test_results_stay_maps(opset: int, ir_version: int) -> None:
    model = made(HEAD, Options(outputs="4d"), opset=opset, ir_version=ir_version)
    assert dims(model)["y"] == ["N", 5, 1, 1]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Conv"]


def test_a_result_that_needs_a_node_for_it_stays_as_it_is() -> None:
    model = made(KEPT, Options(outputs="4d"))
    assert dims(model)["y"] == ["N", 5]


def test_tokens_stay_maps_in_one_row() -> None:
    text = CELLS.replace("H]", "5]").replace("L,", "15,")
    model = made(text, Options(outputs="4d", scope="all"))
    assert dims(model)["y"] in (["N", 15, 5], ["N", 5, 1, 15])


def test_a_model_without_layers_is_written_with_its_sizes(tmp_path: Path) -> None:
    source, output = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(parse("graph (float[N,4] x) => (float[N,4] y) { y = Relu (x) }"), source)
    report = fc2conv.convert(source, output, Options(static=2)).report
    assert report.signature == "x 2,4"
    assert dims(onnx.load(output)) == {"x": [2, 4], "y": [2, 4]}


def test_a_false_signature_is_not_believed() -> None:
    original = parse(HEAD)
    other = parse(HEAD)
    other.metadata_props.add(key="fc2conv.signature", value='{"inputs": {"x": [1, 4, 9, 9]}, "outputs": ["z"]}')
    found = fc2conv.verify(original, other)
    assert found.verdict == "proved"
    assert not any("second model's signature" in note for note in found.notes)


def test_it_excludes_networks_of_any_size() -> None:
    options = Options(static=1, sliding=fc2conv.SlidingOptions())
    with pytest.raises(UsageError, match="--fully-convolutional"):
        fc2conv.plan(parse(HEAD), options)
