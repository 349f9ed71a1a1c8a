"""What NNCF, ModelOpt, Quark and PPQ write around constants: quantization in other domains, and of biases.

The tests give operators of no runtime a definition, so that onnxruntime runs both models.
"""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto
from proving_kinds import proved_as_defined
from textmodel import parse

import fc2conv

OPENVINO, TENSORRT = "org.openvinotoolkit", "trt"
FUNCTIONS = {
    OPENVINO: [
        """FakeQuantize (x, a, b, c, d) => (y) { n = Constant <value = float {15}> ()  l = Max (x, a)  h = Min (l, b)
        u = Sub (h, a)  r = Sub (b, a)  s = Div (r, n)  k = Div (u, s)  i = Round (k)  o = Sub (d, c)  t = Div (o, n)
        m = Mul (i, t)  y = Add (m, c) }"""
    ],
    TENSORRT: [
        "TRT_FP8QuantizeLinear (x, s) => (y) { d = Div (x, s)  y = Round (d) }",
        "TRT_FP8DequantizeLinear (x, s) => (y) { y = Mul (x, s) }",
    ],
}
WEIGHTS = """float[10,32] w, float[10] bias, float s = {0.05}, float[1] low = {-2}, float[1] high = {2},
    float[10,1] least = {-1, -2, -3, -1, -2, -3, -1, -2, -3, -1}, float[10,1] most = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1}"""
GRAPH = "g (float[N,2,4,4] x) => (float[N,10] y) <%s> { %s }"


def rounded(made: str, value: str) -> str:
    return f"""{made}q = {TENSORRT}.TRT_FP8QuantizeLinear ({value}, s)
        {made} = {TENSORRT}.TRT_FP8DequantizeLinear ({made}q, s)"""


MODELS = {
    OPENVINO: f"""a = {OPENVINO}.FakeQuantize <levels = 16> (x, low, high, low, high)  f = Flatten (a)
        v = {OPENVINO}.FakeQuantize <levels = 16> (w, least, most, least, most)
        [fc] y = Gemm <transB = 1> (f, v, bias)""",
    TENSORRT: f"""{rounded("a", "x")}  f = Flatten (a)  {rounded("b", "f")}  {rounded("v", "w")}
        [fc] y = Gemm <transB = 1> (b, v, bias)""",
}


def defined(made: ModelProto, domain: str) -> ModelProto:
    """A model with definitions of a domain's operators, which leave their attributes aside."""
    copy = ModelProto()
    copy.CopyFrom(made)
    for node in copy.graph.node:
        if node.domain == domain:
            del node.attribute[:]
    for text in FUNCTIONS[domain]:
        copy.functions.append(onnx.parser.parse_function(f'<domain: "{domain}", opset_import: ["": 17]> {text}'))
    return copy


@pytest.mark.parametrize("domain", MODELS)
def test_what_a_quantizer_of_another_domain_rounds_becomes_a_convolution(domain: str) -> None:
    original = parse(GRAPH % (WEIGHTS, MODELS[domain]), opset=17, domains={domain: 1})
    proved_as_defined(original, lambda made: defined(made, domain))


def test_a_constant_that_onnxruntimes_operator_dequantizes_stays_what_it_is() -> None:
    """Its product with the scale is not computed, as the original rounds it (Quark's position embeddings)."""
    text = """g (float[N,3,8,8] x) => (float[N,16,5] y) <float[8,3,2,2] k, int64[3] t = {0, 8, -1}, float s = {0.0034},
        int8 z = {0}, int8[1,16,8] positions, float[8,5] w>
    { c = Conv <kernel_shape = [2, 2], strides = [2, 2]> (x, k)  r = Reshape (c, t)
      tokens = Transpose <perm = [0, 2, 1]> (r)  p = com.microsoft.DequantizeLinear (positions, s, z)
      a = Add (tokens, p)  [fc] y = MatMul (a, w) }"""
    original = parse(text, opset=17, domains={"com.microsoft": 1})
    proved_as_defined(original, lambda made: made, scope="all")


def test_a_bias_that_is_quantized_to_a_type_that_nothing_computes_is_added_behind() -> None:
    """PPQ quantizes biases to int32, which QuantizeLinear has not: no runtime takes the model, but RKNN's tool."""
    text = """g (float[N,2,4,4] x) => (float[N,10] y) <float[10,32] w, float[10] bias, float s = {0.01}, int32 z = {0}>
    { f = Flatten (x)  q = QuantizeLinear (bias, s, z)  b = DequantizeLinear (q, s, z)
      [fc] y = Gemm <transB = 1> (f, w, b) }"""
    made = fc2conv.convert(parse(text, opset=13))
    assert made.model is not None
    assert [layer.decision for layer in made.report.sites] == ["convert"]
    assert made.report.verification is not None
    assert made.report.verification.verdict == "proved"
    assert [node.op_type for node in made.model.graph.node] == [
        *("QuantizeLinear", "DequantizeLinear", "Conv", "Add", "Flatten")
    ]
