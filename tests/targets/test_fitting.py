"""Layers cut to limits: the two models give the same numbers, the kernels keep the limits, and all is proved."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from limited import CELLS, MAP, converted, kernels, written
from onnx import TensorProto, helper, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv import Options

LAST = """graph (float[N,6,5,7] x) => (float[N,9] y) <int64[2] s = {0, -1}, float[210,9] w, float[9] b>
{ t = Transpose <perm = [0, 2, 3, 1]> (x)  f = Reshape (t, s)  [fc] m = MatMul (f, w)  y = Add (m, b) }"""
LINE = """graph (float[N,6,11] x) => (float[N,9] y) <float[66,9] w, float[9] b>
{ c = Relu (x)  f = Flatten (c)  [fc] y = Gemm (f, w, b) }"""
VOLUME = """graph (float[N,4,3,2,5] x) => (float[N,9] y) <float[120,9] w>
{ f = Flatten (x)  [fc] y = Gemm <alpha = 0.5> (f, w) }"""
BRANCHES = """graph (float[N,4,3,3] x, float[N,5,2,2] z) => (float[N,9] y) <float[56,9] w, float[9] b>
{ f = Flatten (x)  g = Flatten (z)  c = Concat <axis = 1> (f, g)  [fc] y = Gemm (c, w, b) }"""
SCALED = """graph (float[N,6,5,7] x) => (float[N,9] y) <int8[9,210] q, float[9] svar, float[9] b>
{ f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, svar)  [fc] y = Gemm <transB = 1> (f, w, b) }"""
INTEGER = """graph (uint8[N,6,5,7] x) => (int32[N,9] y) <uint8[210,9] w, uint8 z = {3}, uint8 wz = {4}>
{ f = Flatten (x)  [fc] y = MatMulInteger (f, w, z, wz) }"""
FILLED = """graph (float[N,6,5,7] x) => (float[N,9] y) <int64[2] s = {210, 9}>
{ f = Flatten (x)  w = ConstantOfShape (s)  [fc] y = MatMul (f, w) }"""
QUANTIZED = """graph (uint8[N,6,5,7] x) => (uint8[N,9] y)
<float sx = {0.25}, uint8 zx = {3}, int8[210,9] w, float[9] svar, int8[9] zw = {0, 0, 0, 0, 0, 0, 0, 0, 0},
 float sy = {9.0}>
{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, svar, zw, sy, zx) }"""
MODELS = {
    "map": MAP,
    "last": LAST,
    "cells": CELLS,
    "line": LINE,
    "volume": VOLUME,
    "branches": BRANCHES,
    "scaled": SCALED,
    "integer": INTEGER,
    "filled": FILLED,
}
LIMITS = {
    "kernel": Options(max_kernel=2),
    "area": Options(max_kernel_area=6),
    "channels": Options(max_channels=4),
    "multiple": Options(channel_multiple=4),
    "both": Options(max_channels=8, channel_multiple=4, max_kernel=3),
    "point": Options(layer_form="point"),
    "points": Options(layer_form="point", max_channels=64),
    "rank": Options(target="tidl"),
}


@pytest.mark.parametrize(("kind", "limit"), list(product(MODELS, LIMITS)))
def test_every_kind_of_layer_within_every_limit(kind: str, limit: str) -> None:
    options = LIMITS[limit]
    model, report = converted(parse(MODELS[kind], opset=13), options)
    if report.sites[0].reason is not None:  # zeros pad no integers with a zero point
        assert kind == "integer"
        assert options.channel_multiple is not None
        assert report.sites[0].reason.code in ("FC601", "FC602")
        return
    for shape in kernels(model):
        outputs, inputs, *sides = shape
        most = options.max_channels or 1 << 40
        assert max(outputs, inputs) <= most
        assert outputs % (options.channel_multiple or 1) == inputs % (options.channel_multiple or 1) == 0
        assert all(side <= (options.max_kernel or side) for side in sides)
        if options.target == "tidl":
            assert len(sides) == 2
            assert set(sides) <= {1, 3, 5, 7}


@pytest.mark.parametrize("opset", [7, 9, 10, 12])
@pytest.mark.parametrize("limit", LIMITS)
def test_old_operator_sets(opset: int, limit: str) -> None:
    """Slice, Pad and Reshape have attributes there in place of operands."""
    converted(parse(LINE if limit == "rank" else MAP, opset=opset, ir_version=3), LIMITS[limit])


@pytest.mark.parametrize("limit", ["kernel", "channels"])
def test_parts_are_added_by_an_operator_that_onnxruntime_has(limit: str) -> None:
    text = """graph (float[N,6,5,7] x) => (float[N,9] y) <float[210,9] w, int64[2] s = {-1, 210}>
    { f = Reshape (x, s)  [fc] y = MatMul (f, w) }"""
    model, _ = converted(parse(text, opset=6), LIMITS[limit])
    assert {"Sum", "Add"} & {node.op_type for node in model.graph.node} == {"Sum"}


def test_the_bias_is_added_once_and_at_the_end() -> None:
    model, _ = converted(parse(MAP), Options(max_kernel=3))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [len(node.input) for node in convolutions] == [2] * 5 + [3]
    assert [node.op_type for node in model.graph.node].count("Add") == 5
    assert next(node for node in model.graph.node if node.name == "fc").op_type == "Add"


def test_a_quantized_result_is_cut_along_its_outputs_alone() -> None:
    original = parse(QUANTIZED)
    model, _ = converted(original, Options(max_channels=6))
    assert kernels(model) == [(5, 6, 5, 7), (4, 6, 5, 7)]
    model, _ = converted(original, Options(max_kernel=3))
    assert kernels(model) == [(9, 210, 1, 1)]
    refused = fc2conv.plan(original, Options(max_kernel=3, max_channels=6)).sites[0].reason
    assert refused is not None
    assert refused.code == "FC601"
    assert refused.detail == "kernel height 5, and this conversion takes at most 3 (--max-kernel 3)"


QDQ = """graph (float[N,6,5,7] x) => (float[N,9] y)
<int8[9,210] q, float[9] svar, int8[9] z = {{0, 0, 0, 0, 0, 0, 0, 0, {last}}},
 int32[9] c = {{1, -200, 30, 4, 50, -6, 7, 800, 9}}, float[9] tvar>
{{ f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, svar, z)  b = DequantizeLinear <axis = 0> (c, tvar)
  [fc] y = Gemm <transB = 1> (f, w, b) }}"""


@pytest.mark.parametrize("limit", LIMITS)
def test_weights_and_biases_of_integers_stay_so(limit: str) -> None:
    model = parse(QDQ.format(last=0), scale=30)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in ("svar", "tvar"):
        scales = numpy_helper.to_array(weights[name]) / 300
        weights[name].CopyFrom(numpy_helper.from_array(scales, name))
    made, report = converted(model, LIMITS[limit])
    assert {layer.decision for layer in report.sites} == {"convert"}
    kinds = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    read = [node.input[0] for node in made.graph.node if node.op_type == "DequantizeLinear"]
    assert {kinds[name] for name in read} == {TensorProto.INT8, TensorProto.INT32}
    computed = {node.output[0] for node in made.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    assert all(name in computed for node in convolutions for name in node.input[1:])


@pytest.mark.parametrize("options", [Options(channel_multiple=4), Options(max_channels=4)])
def test_a_bias_of_one_scale_in_a_vector_is_cut(options: Options) -> None:
    """Quantizers write the scale of a whole tensor as a vector of one value."""
    text = QDQ.format(last=0).replace("float[9] tvar", "float[1] tvar").replace("<axis = 0> (c,", "(c,")
    _, report = converted(parse(text, scale=30), options)
    assert {layer.decision for layer in report.sites} == {"convert"}


def test_a_remedy_is_none_that_was_tried() -> None:
    for text, options, wanted in (
        (QDQ.format(last=5), Options(channel_multiple=4), "zero point 0"),
        (INTEGER, Options(channel_multiple=4), "zero point 0"),
        (QUANTIZED, Options(channel_multiple=4), "zero point 0"),
        (QUANTIZED, Options(max_kernel=3, max_channels=6), "--qdq"),
    ):
        (layer,) = fc2conv.plan(parse(text, scale=30), options=options).sites
        assert layer.reason is not None
        assert layer.reason.code in ("FC601", "FC602")
        assert wanted in layer.reason.remedy


def test_integers_that_no_cast_takes_to_floats_ask_for_no_qdq() -> None:
    for text, wanted in (
        (INTEGER, False),
        (INTEGER.replace("int32[N,9] y", "float[N,9] o").replace("wz) }", "wz)  o = Cast <to = 1> (y) }"), True),
    ):
        (layer,) = fc2conv.plan(parse(text), target="dpu").sites
        assert layer.reason is not None
        assert (layer.reason.code, "--qdq" in layer.reason.remedy) == ("FC604", wanted)
        (layer,) = fc2conv.plan(parse(text), target="dpu", qdq=True).sites
        assert (layer.decision == "convert") == wanted


@pytest.mark.parametrize(("target", "code"), [("ane", "FC604"), ("kneron", "FC606")])
def test_a_quantized_operator_that_a_target_lacks_asks_for_floats(target: str, code: str) -> None:
    (layer,) = fc2conv.plan(parse(QUANTIZED, scale=30), target=target).sites
    assert layer.reason is not None
    assert (layer.reason.code, "--qdq" in layer.reason.remedy) == (code, True)
    (written,) = fc2conv.plan(parse(QUANTIZED, scale=30), target=target, qdq=True).sites
    assert written.decision == "convert"


FACTS = {
    "input-channels = [{odd = true}]": [(9, 7, 5, 7)],
    "input-channels = [{allowed = [4, 9]}]": [(9, 9, 5, 7)],
    "input-channels = [{least = 7, multiple = 5}]": [(9, 10, 5, 7)],
    "input-channels = [{allowed = [4, 5], odd = true}]": [(9, 5, 5, 7)] * 2,
    "output-channels = [{least = 4, most = 8}, {multiple = 3, most = 7}]": [(6, 6, 5, 7)] * 2,
    "output-channels = [{allowed = [4]}]": [(4, 6, 5, 7)] * 3,
    "kernel-height = [{least = 40}]": [(9, 6, 40, 7)],
    "kernel-width = [{odd = true, multiple = 3}]": [(9, 6, 5, 9)],
    "kernel-width = [{allowed = [2, 4]}]": [(9, 6, 5, 4)] * 2,
}


@pytest.mark.parametrize("facts", FACTS)
def test_limits_of_one_side_odd_sizes_and_sizes_of_a_list(facts: str, tmp_path: Path) -> None:
    path = written(tmp_path, facts)
    model, report = converted(parse(MAP), Options(target=path))
    assert kernels(model) == FACTS[facts]
    assert report.target is not None
    assert not report.target.findings


def test_a_weight_of_one_value_is_padded_with_zeros(tmp_path: Path) -> None:
    """A kernel that is larger than the layer needs reads cells beside it, which count nothing."""
    text = CELLS.replace("float[6,9] w", "int64[2] f = {6, 9}").replace(
        "[fc]", "w = ConstantOfShape <value = float[1] {0.5}> (f)  [fc]"
    )
    model, _ = converted(parse(text), Options(target=written(tmp_path, "kernel-width = [{allowed = [3]}]")))
    assert kernels(model) == [(9, 6, 1, 3)]


def test_the_limit_that_is_named_is_the_one_that_nothing_helps_against(tmp_path: Path) -> None:
    """The kernel becomes a sum and the weight is cut, but nothing pads integers with a zero point."""
    path = written(tmp_path, "output-channels = [{multiple = 4}]")
    (layer,) = fc2conv.plan(parse(INTEGER), Options(target=path, max_kernel=3, max_channels=5)).sites
    assert layer.reason is not None
    assert layer.reason.detail.startswith("output channels 9, and mine takes a multiple of 4")


def test_groups_are_not_cut_and_ask_for_no_option(tmp_path: Path) -> None:
    text = """graph (float[N,12,3,3] x) => (float[N,3,9,5] y) <float[3,4,5] w, int64[4] s = {0, 3, 4, 9}>
    { p = Relu (x)  r = Reshape (p, s)  t = Transpose <perm = [0, 1, 3, 2]> (r)  [fc] y = MatMul (t, w) }"""
    for facts in ("groups = [{allowed = [1]}]", "input-channels = [{most = 2}]"):
        target = written(tmp_path, facts)
        (layer,) = fc2conv.plan(parse(text), Options(target=target, scope="all")).sites
        assert layer.reason is not None
        assert layer.reason.code == "FC602"
        assert "one layer for each group" in layer.reason.remedy


def test_even_kernels_become_odd_without_a_node_more() -> None:
    text = """graph (float[N,4,6,4] x) => (float[N,3] y) <float[96,3] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"""
    model, _ = converted(parse(text), Options(target="tidl", layer_form="map"))
    assert kernels(model) == [(3, 4, 7, 7)]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Flatten"]
    assert helper.get_attribute_value(model.graph.node[0].attribute[1]) == [0, 0, 1, 3]


def test_layers_that_read_one_map_share_what_is_made_of_it() -> None:
    text = """graph (float[N,4,6,4] x) => (float[N,3] y, float[N,2] z) <float[96,3] v, float[96,2] w>
    { f = Flatten (x)  [one] y = Gemm (f, v)  [two] z = Gemm (f, w) }"""
    model, _ = converted(parse(text), Options(max_kernel=3))
    operators = [node.op_type for node in model.graph.node]
    assert (operators.count("Slice"), operators.count("Conv")) == (4, 8)
    model, _ = converted(parse(text), Options(layer_form="point"))
    assert [node.op_type for node in model.graph.node].count("Reshape") == 1
    model, _ = converted(parse(text), Options(channel_multiple=3))
    assert [node.op_type for node in model.graph.node].count("Pad") == 1


@pytest.mark.parametrize("options", [Options(max_kernel=2), Options(max_channels=3), Options(target="max78000")])
def test_a_cut_network_slides(options: Options) -> None:
    """Each cell is the original on its crop, whatever parts its head has."""
    text = """graph (float[N,2,9,8] x) => (float[N,3] y) <float[4,2,3,3] k, float[168,5] w, float[5,3] v>
    { c = Conv (x, k)  f = Flatten (c)  [one] m = Gemm (f, w)  r = Relu (m)  [two] y = Gemm (r, v) }"""
    sliding = fc2conv.SlidingOptions(verify_crops=True)
    report = fc2conv.convert(parse(text), None, replace(options, sliding=sliding)).report
    assert report.verification is not None
    assert report.verification.verdict in ("proved", "agrees")
    assert report.sliding is not None
    assert [axis.field for output in report.sliding.outputs for axis in output.axes] == [9, 8]
    (gap,) = report.sliding.crops
    assert gap.max is not None
    assert gap.max < 1e-5


def test_a_head_of_very_many_outputs() -> None:
    text = """graph (float[N,2,2,2] x) => (float[N,70000] y) <float[8,70000] w, float[70000] b>
    { f = Flatten (x)  [fc] y = Gemm (f, w, b) }"""
    model, _ = converted(parse(text), Options(target="dpu"))
    assert max(shape[0] for shape in kernels(model)) <= 4096
    assert sum(shape[0] for shape in kernels(model)) == 70_000
    assert [node.op_type for node in model.graph.node].count("Concat") == 1


VGG = """graph (float[1,512,7,7] x) => (float[1,12] y) <float[12,25088] w>
{ f = Flatten (x)  [fc] y = Gemm <transB = 1> (f, w) }"""


@pytest.mark.parametrize(
    ("target", "wanted"),
    {
        "dpu-czdx8g": [(12, 512, 7, 7)],
        "dpu-cvdx8h": [(12, 256, 7, 7)] * 2,
        "dla": [(12, 512, 7, 7)],
        "mdla": [(12, 512, 7, 7)],
        "intel-npu": [(12, 512, 7, 7)],
        "max78000": [(12, 512, 3, 3)] * 9,
        "ethos-n78": [(12, 25088, 1, 1)],
    }.items(),
    ids=str,
)
def test_the_first_layer_of_a_vgg(target: str, wanted: list[tuple[int, ...]]) -> None:
    model, report = converted(parse(VGG, scale=0.02), Options(target=target))
    assert kernels(model) == wanted
    assert report.target is not None
    assert report.target.illegal == []


def test_weights_of_any_layout_are_cut_as_they_are_stored() -> None:
    """A large weight is never in memory as a whole: what is written is the block of the file."""
    original = parse(LAST.replace("5,7", "16,16").replace("210", "1536"))
    model, _ = converted(original, Options(max_channels=5, max_kernel=7))
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}["w"]
    parts = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name.startswith("w_part")]
    assert sum(part.size for part in parts) == whole.size
    assert abs(sum(float(part.sum()) for part in parts) - float(whole.sum())) < 1e-2


def test_a_layer_behind_what_nobody_can_follow_is_cut_by_the_numbers() -> None:
    """An item of a sequence that values choose has no shape in the proof: that the parts have numbers says nothing."""
    text = """graph (float[N,8,3,2] x) => (float[N,5] y) <float[24,5] w, int64 four = {4}, float none = {0}>
    { s = SplitToSequence <axis = 1> (x, four)  m = ReduceMax <keepdims = 0> (x)  z = Mul (m, none)
      i = Cast <to = 7> (z)  c = SequenceAt (s, i)  f = Flatten (c)  [fc] y = MatMul (f, w) }"""
    report = fc2conv.convert(parse(text), scope="all", max_channels=8).report
    assert [len(layer.parts) for layer in report.converted] == [3]
    assert report.verification is not None
    assert report.verification.verdict == "agrees"
