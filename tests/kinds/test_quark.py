"""AMD Quark's number formats: weights, biases and activations rounded by a scale, or in blocks along a dimension.

The tests give these operators a definition that rounds in the same places, so that onnxruntime runs both models.
"""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto
from proving_kinds import proved_as_defined
from textmodel import parse

import fc2conv
from fc2conv import Options

DOMAIN = "com.amd.quark"
FUNCTIONS = """
ExtendedQuantizeLinear (x, s, z) => (y) { d = Div (x, s)  y = Round (d) }
ExtendedDequantizeLinear (x, s, z) => (y) { y = Mul (x, s) }
BFPQuantizeDequantize <axis> (x) => (y) { zero = Constant <value_ints = [0]> ()
    a = Constant <value_int: int = @axis> ()  axes = Unsqueeze (a, zero)  u = Constant <value = float {0.02}> ()
    p = Abs (x)  t = ReduceSum <keepdims = 1> (p, axes)
    s = Mul (t, u)  d = Div (x, s)  r = Round (d)  y = Mul (r, s) }"""
WEIGHTS = "float[10,32] w, float[10] bias, float s = {0.04}, int16 z = {0}, float[2] each, float half = {0.5}"
GRAPH = "g (float[N,2,4,4] x) => (float[N,10] y) <%s> { %s }"


def scaled(made: str, value: str, scale: str = "s") -> str:
    return f"""{made}q = {DOMAIN}.ExtendedQuantizeLinear ({value}, {scale}, z)
        {made} = {DOMAIN}.ExtendedDequantizeLinear ({made}q, {scale}, z)"""


def blocked(made: str, value: str, axis: int) -> str:
    return f"{made} = {DOMAIN}.BFPQuantizeDequantize <axis = {axis}, block_size = 8> ({value})"


MODELS = {
    "scaled": f"""{scaled("a", "x")}  f = Flatten (a)  {scaled("b", "f")}  {scaled("v", "w")}  {scaled("c", "bias")}
        [fc] y = Gemm <transB = 1> (b, v, c)""",
    "blocks of the inputs": f"""f = Flatten (x)  {blocked("b", "f", 1)}  {blocked("v", "w", 1)}
        {blocked("c", "bias", 0)}  [fc] g = Gemm <transB = 1> (b, v, c)  {blocked("y", "g", 1)}""",
    "blocks of the outputs": f"f = Flatten (x)  {blocked('v', 'w', 0)}  [fc] y = Gemm <transB = 1> (f, v)",
    "blocks of the channels": f"""{blocked("a", "x", 1)}  f = Flatten (a)  {blocked("h", "half", 1)}
        [fc] g = Gemm <transB = 1> (f, w, bias)  y = Mul (g, h)""",
}


def model(nodes: str) -> ModelProto:
    return parse(GRAPH % (WEIGHTS, nodes), opset=17, domains={DOMAIN: 1})


def defined(made: ModelProto) -> ModelProto:
    """A model with definitions of the operators; a single number stays what it is."""
    copy = ModelProto()
    copy.CopyFrom(made)
    for node in copy.graph.node:
        for attribute in [each for each in node.attribute if node.domain == DOMAIN and each.name == "block_size"]:
            node.attribute.remove(attribute)
        if node.domain == DOMAIN and node.input[0] == "half":
            node.domain, node.op_type = "", "Identity"
            del node.attribute[:]
    for text in FUNCTIONS.strip().replace("\n    ", " ").splitlines():
        header = f'<domain: "{DOMAIN}", opset_import: ["": 17]> '
        copy.functions.append(onnx.parser.parse_function(header + text))
    return copy


@pytest.mark.parametrize("name", MODELS)
def test_what_is_rounded_becomes_a_convolution_that_rounds_in_the_same_places(name: str) -> None:
    proved_as_defined(model(MODELS[name]), defined, scope="all")


@pytest.mark.parametrize("name", [name for name in MODELS if name != "scaled"])
def test_blocks_along_another_dimension_are_another_function(name: str) -> None:
    original = model(MODELS[name])
    made = fc2conv.convert(original, options=Options(scope="all")).model
    assert made is not None
    rounds = [node for node in made.graph.node if node.domain == DOMAIN and node.input[0] not in ("half", "bias")]
    axis = next(each for each in rounds[0].attribute if each.name == "axis")
    axis.i = 1 - axis.i
    assert not fc2conv.verify(original, made).verdict.accepted


def test_blocks_of_a_flattened_map_take_one_layout_node_more() -> None:
    """A Reshape to [N, 32, 1, 1] in the place of the Flatten, in front of the blocks, and a Flatten at the end."""
    nodes = fc2conv.plan(model(MODELS["blocks of the inputs"]), options=Options(scope="all")).layout_nodes
    assert (nodes.before, nodes.after) == (1, 2)


def test_blocks_of_the_inputs_are_not_cut() -> None:
    report = fc2conv.plan(model(MODELS["blocks of the inputs"]), options=Options(scope="all", max_channels=8))
    assert [layer.reason and layer.reason.code for layer in report.sites] == ["FC602"]


def test_a_scale_for_each_output_along_an_axis_is_not_followed() -> None:
    nodes = f"f = Flatten (x)  {scaled('v', 'w', 'bias')}  [fc] y = Gemm <transB = 1> (f, v)"
    (layer,) = fc2conv.plan(model(nodes)).sites
    assert layer.reason is not None
    assert (layer.reason.code, "ExtendedQuantizeLinear" in layer.reason.detail) == ("FC206", True)
