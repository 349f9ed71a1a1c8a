"""QONNX, as Brevitas writes it for FINN: weights, biases and activations behind operators that no runtime has.

The tests give these operators a definition, so that onnxruntime runs both models.
"""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto
from proving_kinds import proved_as_defined
from textmodel import parse

import fc2conv
from fc2conv import Options

DOMAIN = "qonnx.custom_op.general"
QUANT = f"""<domain: "{DOMAIN}", opset_import: ["": 17]>
Quant (x, s, z, b) => (y) {{ two = Constant <value = float {{2}}> ()  one = Constant <value = float {{1}}> ()
    c = Sub (b, one)  p = Pow (two, c)  high = Sub (p, one)  low = Neg (p)  d = Div (x, s)  a = Add (d, z)
    r = Round (a)  m = Min (r, high)  n = Max (m, low)  e = Sub (n, z)  y = Mul (e, s) }}"""
WEIGHTS = """float[10,32] w, float[32,10] v, float[10] bias, float s = {0.04}, float zero = {0}, float four = {4},
    float[10,1] rows = {0.02, 0.03, 0.04, 0.05, 0.06, 0.02, 0.03, 0.04, 0.05, 0.06},
    float[10] each = {0.02, 0.03, 0.04, 0.05, 0.06, 0.02, 0.03, 0.04, 0.05, 0.06}, float[1,2,1,1] maps = {0.25, 0.5}"""
GRAPH = "g (float[N,2,4,4] x) => (float[N,10] y) <%s> { f = Flatten (x)  %s }"


def quant(value: str, scale: str) -> str:
    return f'{DOMAIN}.Quant <signed = 1, narrow = 0, rounding_mode = "ROUND"> ({value}, {scale}, zero, four)'


MODELS = {
    "one scale": f"q = {quant('w', 's')}  [fc] y = Gemm <transB = 1> (f, q, bias)",
    "a scale for each output": f"q = {quant('w', 'rows')}  [fc] y = Gemm <transB = 1> (f, q, bias)",
    "of a MatMul": f"q = {quant('v', 'each')}  [fc] m = MatMul (f, q)  y = Add (m, bias)",
    "in front of a Transpose": f"q = {quant('w', 'rows')}  t = Transpose (q)  [fc] y = MatMul (f, t)",
    "a factor behind it": f"q = {quant('w', 'rows')}  [fc] y = Gemm <transB = 1, alpha = 0.5> (f, q)",
    "of a bias": f"q = {quant('w', 's')}  c = {quant('bias', 'each')}  [fc] y = Gemm <transB = 1> (f, q, c)",
    "of a bias behind": f"q = {quant('v', 's')}  c = {quant('bias', 's')}  [fc] m = MatMul (f, q)  y = Add (m, c)",
    "of the map": f"""a = {quant("x", "maps")}  b = Flatten (a)  q = {quant("w", "s")}
        [fc] y = Gemm <transB = 1> (b, q)""",
}


def model(nodes: str, ir_version: int = 8) -> ModelProto:
    return parse(GRAPH % (WEIGHTS, nodes), opset=17, ir_version=ir_version, domains={DOMAIN: 2})


def defined(made: ModelProto) -> ModelProto:
    """A model with a definition of Quant, which leaves its attributes aside: they are those of the definition."""
    copy = ModelProto()
    copy.CopyFrom(made)
    for node in copy.graph.node:
        if node.op_type == "Quant":
            del node.attribute[:]
    copy.functions.append(onnx.parser.parse_function(QUANT))
    return copy


@pytest.mark.parametrize("options", [{}, {"max_kernel": 2}, {"max_channels": 8}], ids=["", "cut", "split"])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_rounded_by_quant_becomes_a_kernel_that_is(name: str, options: dict[str, int]) -> None:
    original = model(MODELS[name])
    made, _ = proved_as_defined(original, defined, **options)
    quants = [node for node in made.graph.node if node.op_type == "Quant"]
    assert len(quants) >= MODELS[name].count("Quant")
    for node in quants:
        next(a for a in node.attribute if a.name == "narrow").i = 1
    assert not fc2conv.verify(original, made).verdict.accepted


def test_a_scale_for_each_input_is_no_kernel() -> None:
    nodes = f"q = {quant('w', 'columns')}  [fc] y = Gemm <transB = 1> (f, q)"
    report = fc2conv.plan(parse(GRAPH % (f"{WEIGHTS}, float[1,32] columns", nodes), opset=17, domains={DOMAIN: 2}))
    assert [layer.reason and layer.reason.code for layer in report.sites] == ["FC209"]


@pytest.mark.parametrize("scale", ["float[10,1] large", "float[3,32] other"])
def test_a_scale_that_does_not_broadcast_to_its_weight_is_no_kernel(scale: str) -> None:
    nodes = f"q = {quant('row', scale.split()[1])}  [fc] y = Gemm <transB = 1> (f, q)"
    report = fc2conv.plan(parse(GRAPH % (f"{WEIGHTS}, float[1,32] row, {scale}", nodes), opset=17, domains={DOMAIN: 2}))
    assert [layer.reason and layer.reason.code for layer in report.sites] == ["FC206"]


def test_another_operator_on_a_weight_is_named() -> None:
    nodes = f"[unknown] q = {DOMAIN}.Thresholds (w)  [fc] y = Gemm <transB = 1> (f, q)"
    (layer,) = fc2conv.plan(model(nodes)).sites
    assert layer.reason is not None
    assert (layer.reason.code, "unknown" in layer.reason.detail) == ("FC206", True)


def test_a_weight_that_a_caller_may_replace_is_named_behind_quant() -> None:
    original = model(MODELS["one scale"])
    weight = next(each for each in original.graph.initializer if each.name == "w")
    original.graph.input.append(onnx.helper.make_tensor_value_info("w", weight.data_type, weight.dims))
    (layer,) = fc2conv.plan(original).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.detail) == ("FC202", "initializer w")
    assert [each.decision for each in fc2conv.plan(original, Options(freeze_initializers=True)).sites] == ["convert"]
