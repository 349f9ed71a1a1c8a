"""Weights quantized along their inputs: kept, or quantized per output, which is no proof and says its error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions

MAP = """graph (float[N,6,3,2] x) => (float[N,9] y) <int8[36,9] q, float[36] svar, float[9] b>
{ f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, svar)  [fc] m = MatMul (f, w)  y = Add (m, b) }"""
GEMM = """graph (float[N,6,3,2] x) => (float[N,9] y) <int8[9,36] q, float[36] svar, float[9] b>
{ f = Flatten (x)  w = DequantizeLinear <axis = 1> (q, svar)  [fc] y = Gemm <transB = 1, alpha = 0.5> (f, w, b) }"""
TURNED = """graph (float[N,6,3,2] x) => (float[N,9] y) <int8[9,36] q, float[36] svar>
{ f = Flatten (x)  w = DequantizeLinear <axis = 1> (q, svar)  t = Transpose (w)  [fc] y = MatMul (f, t) }"""
SHARED = """graph (float[N,6,3,2] x) => (float[N,9] y, float[36,9] v) <int8[36,9] q, float[36] svar>
{ f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, svar)  [fc] y = MatMul (f, w)  v = Neg (w) }"""
MODELS = {"map": MAP, "gemm": GEMM, "turned": TURNED, "shared": SHARED}
EIGHT_BITS = 1 / 127


def model(name: str) -> ModelProto:
    return parse(MODELS[name], scale=30)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_kept_unless_it_is_asked_for(name: str) -> None:
    done = fc2conv.convert(model(name), None)
    assert [layer.reason.code for layer in done.report.sites if layer.reason is not None] == ["FC209"]
    assert "--requantize" in next(layer.reason.remedy for layer in done.report.sites if layer.reason is not None)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_quantized_per_output_and_the_error_is_said(name: str) -> None:
    original = model(name)
    done = fc2conv.convert(original, None, Options(requantize=True))
    assert done.model is not None
    (layer,) = done.report.sites
    assert layer.decision == "convert"
    assert layer.requantized is not None
    assert 0 < layer.requantized < EIGHT_BITS
    inputs = feeds(original, {"N": 3})
    before, after = run(original, inputs)[0], run(done.model, inputs)[0]
    moved = difference([before], [after])
    assert 0 < moved < 0.05 * float(np.abs(before).max())
    found = done.report.verification
    assert found is not None
    assert found.verdict == "agrees"
    assert {each.verdict for each in found.outputs} == {"agrees"}
    assert {check.name: check.verdict for check in found.checks}["exact"] == "proved"
    (said,) = (check.detail for check in found.checks if check.name == "requantized")
    assert "y by 0.0" in said
    assert said.startswith("weights of 1 layer were")


def test_a_layer_that_the_target_refuses_all_the_same_says_why() -> None:
    (layer,) = fc2conv.plan(model("map"), requantize=True, target="k210").sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.detail[:10]) == ("FC603", "map height")


def test_only_the_new_integers_are_left() -> None:
    done = fc2conv.convert(model("map"), None, Options(requantize=True))
    assert done.model is not None
    assert Counter(node.op_type for node in done.model.graph.node) == Counter(["DequantizeLinear", "Conv", "Flatten"])
    shapes = {tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in done.model.graph.initializer}
    assert ((9, 6, 3, 2), 3) in shapes.values()
    assert "q" not in shapes
    assert "svar" not in shapes


def test_two_models_that_were_requantized_apart_differ() -> None:
    original = model("map")
    done = fc2conv.convert(original, None, Options(requantize=True))
    assert done.model is not None
    found = fc2conv.verify(original, done.model)
    assert found.verdict == "differs"


def test_a_layer_that_stays_keeps_its_weight() -> None:
    done = fc2conv.convert(model("map"), None, Options(requantize=True, target="ethos-u"))
    assert done.report.outcome == "unchanged"
    assert [layer.requantized for layer in done.report.sites] == [None]


def test_weights_of_zeros_and_of_one_output_are_no_trouble() -> None:
    original = parse(
        """graph (float[N,4,1,1] x) => (float[N,1] y) <int8[4,1] q = {0, 0, 0, 0}, float[4] s = {0.1, 0.2, 0.3, 0.4}>
        { f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, s)  [fc] y = MatMul (f, w) }"""
    )
    done = fc2conv.convert(original, None, Options(requantize=True))
    assert [layer.requantized for layer in done.report.sites] == [0.0]


@pytest.mark.parametrize("scale", [1e-7, 1e-5])
def test_scales_that_the_type_of_the_weight_has_not_leave_the_layer(scale: float) -> None:
    """Weights that are so small have no scale in float16, or one of a few bits."""
    original = parse(
        """graph (float16[N,4,1,1] x) => (float16[N,2] y) <int8[4,2] q = {1, -2, 3, 4, -5, 6, 7, -8}>
        { f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, s)  [fc] y = MatMul (f, w) }""",
        opset=19,
        ir_version=9,
    )
    original.graph.initializer.append(numpy_helper.from_array(np.full(4, scale, np.float16), "s"))
    done = fc2conv.convert(original, None, Options(requantize=True))
    (layer,) = done.report.sites
    assert (layer.decision, layer.requantized) == ("keep", None)
    assert layer.reason is not None
    assert (layer.reason.code, "--requantize" in layer.reason.remedy) == ("FC209", False)


def test_a_network_that_slides_is_proved_against_the_weights_that_it_has() -> None:
    text = MAP.replace("(x)  w", "(c)  w").replace("{ f", "{ c = MaxPool <kernel_shape = [1, 1]> (x)  f")
    done = fc2conv.convert(parse(text, scale=30), None, Options(requantize=True, sliding=SlidingOptions()))
    found = done.report.verification
    assert found is not None
    assert found.verdict == "agrees"
    assert {check.name: check.verdict for check in found.checks}["windows"] == "proved"
