"""Quantized layers as Conv between DequantizeLinear and QuantizeLinear: equal, proved, and no QLinear operator left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.report.types import Report

SCALES = "float sx = {0.02}, float sw = {0.03}, float sy = {0.1}, uint8 zx = {4}, int8 zw = {2}, uint8 zy = {99}"
EACH = """float sx = {0.02}, float[9] sws = {0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09}, float sy = {0.1},
 uint8 zx = {4}, uint8 zy = {99}"""
ZEROS = "int8[9] zws = {0, 1, 2, 3, -1, -2, -3, 4, 5}"
HEAD = "graph (uint8[N,6,5,7] x) => (uint8[N,9] y)"
FLOATS = "graph (float[N,6,5,7] x) => (float[N,9] y)"
WEIGHT = "int8[210,9] w"
MS = {"com.microsoft": 1}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "matmul": (
        f"{HEAD} <{WEIGHT}, {SCALES}> {{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sw, zw, sy, zy) }}",
        {"opset": 10},
    ),
    "matmul, a scale for each output": (
        f"{HEAD} <{WEIGHT}, {EACH}, {ZEROS}>"
        "{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sws, zws, sy, zy) }",
        {},
    ),
    "matmul, zero points alone for each output": (
        f"{HEAD} <{WEIGHT}, {SCALES}, {ZEROS}>"
        "{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sw, zws, sy, zy) }",
        {},
    ),
    "matmul, scales alone for each output": (
        f"{HEAD} <{WEIGHT}, {EACH}, int8 zw = {{2}}>"
        "{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sws, zw, sy, zy) }",
        {},
    ),
    "gemm": (
        f"{HEAD} <int8[9,210] w, {SCALES}, int32[9] c = {{1, -200, 3, 40, 5, 6, 7, 8, 9}}>"
        "{ f = Flatten (x)  [fc] y = com.microsoft.QGemm <transB = 1> (f, sx, zx, w, sw, zw, c, sy, zy) }",
        {"domains": MS},
    ),
    "gemm to float": (
        f"graph (uint8[N,6,5,7] x) => (float[N,9] y) <{WEIGHT}, {SCALES}>"
        "{ f = Flatten (x)  [fc] y = com.microsoft.QGemm <alpha = 0.5> (f, sx, zx, w, sw, zw) }",
        {"domains": MS},
    ),
    "gemm, whose alpha scales the bias as well": (
        f"graph (uint8[N,6,5,7] x) => (float[N,9] y) <{WEIGHT}, {SCALES},"
        " int32[9] c = {100000, -20000, 30000, 4, 5, 6, 700000, 8, 9}>"
        "{ f = Flatten (x)  [fc] y = com.microsoft.QGemm <alpha = 0.3> (f, sx, zx, w, sw, zw, c) }",
        {"domains": MS},
    ),
    "to float": (
        f"graph (uint8[N,6,5,7] x) => (float[N,9] y) <{WEIGHT}, {SCALES}, float[9] b>"
        "{ f = Flatten (x)  [fc] y = com.microsoft.MatMulIntegerToFloat (f, w, sx, sw, zx, zw, b) }",
        {"domains": MS},
    ),
    "dynamic": (
        f"{FLOATS} <{WEIGHT}, {SCALES}, float[9] b>"
        "{ f = Flatten (x)  [fc] y = com.microsoft.DynamicQuantizeMatMul (f, w, sw, zw, b) }",
        {"domains": MS},
    ),
    "chain": (
        f"{FLOATS} <{WEIGHT}, {SCALES}, float[9] b>"
        """{ f = Flatten (x)  q, s, z = DynamicQuantizeLinear (f)  [fc] i = MatMulInteger (q, w, z, zw)
             r = Cast <to = 1> (i)  k = Mul (s, sw)  p = Mul (r, k)  y = Add (p, b) }""",
        {},
    ),
    "chain, scaled one after the other": (
        f"{FLOATS} <{WEIGHT}, {EACH}, {ZEROS}>"
        """{ f = Flatten (x)  q, s, z = DynamicQuantizeLinear (f)  [fc] i = MatMulInteger (q, w, z, zws)
             r = Cast <to = 1> (i)  p = Mul (r, s)  y = Mul (p, sws) }""",
        {},
    ),
    "chain, of fixed scales": (
        f"{FLOATS} <{WEIGHT}, {SCALES}>"
        """{ f = Flatten (x)  q = QuantizeLinear (f, sx, zx)  [fc] i = MatMulInteger (q, w, zx, zw)
             r = Cast <to = 1> (i)  k = Mul (sx, sw)  y = Mul (r, k) }""",
        {},
    ),
    "chain, of a scale in two dimensions": (
        f"{FLOATS} <{WEIGHT}, {SCALES}, float[1,1] svar>"
        """{ f = Flatten (x)  q, s, z = DynamicQuantizeLinear (f)  [fc] i = MatMulInteger (q, w, z, zw)
             r = Cast <to = 1> (i)  k = Mul (s, svar)  y = Mul (r, k) }""",
        {},
    ),
    "chain, of a scale in three dimensions": (
        f"graph (float[N,6,5,7] x) => (float[1,N,9] y) <{WEIGHT}, {SCALES}, float[1,1,1] svar>"
        """{ f = Flatten (x)  q, s, z = DynamicQuantizeLinear (f)  [fc] i = MatMulInteger (q, w, z, zw)
             r = Cast <to = 1> (i)  k = Mul (s, svar)  y = Mul (r, k) }""",
        {},
    ),
    "chain, of the square of a scale that is computed": (
        f"{FLOATS} <{WEIGHT}, {SCALES}>"
        """{ f = Flatten (x)  q, s, z = DynamicQuantizeLinear (f)  [fc] i = MatMulInteger (q, w, z, zw)
             r = Cast <to = 1> (i)  k = Mul (s, s)  y = Mul (r, k) }""",
        {},
    ),
    "chain, of the square of a fixed scale": (
        f"{FLOATS} <{WEIGHT}, {SCALES}>"
        """{ f = Flatten (x)  q = QuantizeLinear (f, sx, zx)  [fc] i = MatMulInteger (q, w, zx, zw)
             r = Cast <to = 1> (i)  k = Mul (sx, sx)  y = Mul (r, k) }""",
        {},
    ),
    "chain, of one scale": (
        f"graph (uint8[N,6,5,7] x) => (float[N,9] y) <{WEIGHT}, {SCALES}>"
        "{ f = Flatten (x)  [fc] i = MatMulInteger (f, w, zx, zw)  r = Cast <to = 1> (i)  y = Mul (r, sw) }",
        {},
    ),
}
ONE_ROUNDING = 1.01


def converted(model: ModelProto, options: Options) -> tuple[ModelProto, Report]:
    """The converted model, proved and equal but for sums that lie between two integers."""
    done = fc2conv.convert(model, None, options)
    assert done.model is not None
    inputs = feeds(model, {"N": 2})
    before, after = run(model, inputs), run(done.model, inputs)
    whole = all(each.dtype.kind in "iu" for each in before)
    assert difference(before, after) < (ONE_ROUNDING if whole else 1e-4)
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert all(len(set(each.ravel().tolist())) > 5 for each in before)  # nothing is saturated
    return done.model, done.report


def operators(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [Options(qdq=True), Options(qdq=True, max_kernel=4)], ids=["whole", "cut"])
def test_a_layer_becomes_a_floating_point_convolution(name: str, options: Options) -> None:
    text, given = MODELS[name]
    model, report = converted(parse(text, scale=30, **given), options)
    made = operators(model)
    assert made["Conv"] == (1 if options.max_kernel is None else 4)
    assert not made.keys() & {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "QGemm"}
    assert {layer.decision for layer in report.sites} == {"convert"}


def test_a_layer_that_stays_is_not_written_apart() -> None:
    text, given = MODELS["matmul"]
    done = fc2conv.convert(parse(text, scale=30, **given), None, Options(qdq=True, exclude=("fc",)))
    assert done.model is not None
    assert operators(done.model)["QLinearMatMul"] == 1
    assert done.report.outcome == "unchanged"


@pytest.mark.parametrize(
    ("given", "asked", "remedy"),
    [
        ({}, False, "Use --qdq, or quantize the weight symmetrically (zero point 0)."),
        ({"include": ["other"]}, True, "Change the pattern."),
        ({"opset": 12}, False, "raise the model to opset 13, and use --qdq then."),
        ({"opset": 12}, True, "raise the model to opset 13, and use --qdq then."),
        ({"sx": "float sx"}, True, "Quantize the weight symmetrically (zero point 0)."),
    ],
)
def test_the_option_is_no_remedy_where_it_was_given_or_does_not_help(
    given: dict[str, Any], asked: bool, remedy: str
) -> None:
    text = f"{HEAD} <{WEIGHT}, {SCALES}, {ZEROS}>"
    text += "{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sw, zws, sy, zy) }"
    if "sx" in given:
        text = text.replace("float sx = {0.02}, ", "").replace("uint8[N,6,5,7] x)", "uint8[N,6,5,7] x, float sx)")
    model = parse(text, opset=given.get("opset", 13), scale=30)
    report = fc2conv.plan(model, qdq=asked, include=given.get("include", ()), for_many=True)
    assert report.sites[0].reason is not None
    assert report.sites[0].reason.remedy.endswith(remedy)


@pytest.mark.parametrize(
    ("opset", "asked", "scale", "code", "remedy"),
    [
        (9, False, "s", "FC402", "Raise the model to the named version"),
        (9, True, "s", "FC402", "Raise the model to the named version"),
        (12, False, "s", "FC208", "Use --qdq."),
        (12, False, "each", "FC208", "Raise the model to opset 13, and use --qdq then."),
        (12, True, "each", "FC208", "Raise the model to opset 13, and use --qdq then."),
        (13, False, "each", "FC208", "Use --qdq."),
    ],
)
def test_an_older_operator_set_is_raised_first(opset: int, asked: bool, scale: str, code: str, remedy: str) -> None:
    """DequantizeLinear is of version 10, and takes a scale for each output from 13 on."""
    model = parse(
        f"""graph (int8[N,6,5,7] x) => (float[N,3] y)
        <int8[210,3] w, float s = {{0.1}}, float[3] each = {{0.1, 0.2, 0.3}}, int8 z = {{0}}, int8[3] zeros>
        {{ f = Flatten (x)
           [fc] y = com.microsoft.QGemm (f, s, z, w, {scale}, {"z" if scale == "s" else "zeros"}) }}""",
        opset=opset,
        domains=MS,
    )
    (layer,) = fc2conv.plan(model, qdq=asked).sites
    assert layer.reason is not None
    assert layer.reason.code == code
    assert layer.reason.remedy.startswith(remedy)


def test_nothing_is_written_apart_where_the_operator_set_has_not_what_it_takes() -> None:
    text, _ = MODELS["to float"]
    done = fc2conv.convert(parse(text, opset=9, domains=MS, scale=30), None, Options(qdq=True))
    assert done.report.sites[0].reason is not None
    assert done.report.sites[0].reason.code == "FC402"


def test_a_zero_point_for_each_row_is_a_reason() -> None:
    text = f"""graph (uint8[3,6,5,7] x) => (float[3,9] y) <{WEIGHT}, uint8[3] z = {{1, 2, 3}}>
    {{ f = Flatten (x)  [fc] i = MatMulInteger (f, w, z)  y = Cast <to = 1> (i) }}"""
    (layer,) = fc2conv.plan(parse(text, scale=30), Options(qdq=True)).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC208"


def test_integers_that_are_read_as_integers_stay_so() -> None:
    text = f"graph (uint8[N,6,5,7] x) => (int32[N,9] y) <{WEIGHT}, {SCALES}>"
    model, _ = converted(
        parse(text + "{ f = Flatten (x)  [fc] y = MatMulInteger (f, w, zx, zw) }", scale=30), Options(qdq=True)
    )
    assert operators(model) == {"ConvInteger": 1, "Flatten": 1}


def test_the_scale_of_a_bias_is_a_rounding_that_is_listed() -> None:
    text, given = MODELS["gemm"]
    _, report = converted(parse(text, scale=30, **given), Options(qdq=True))
    assert report.verification is not None
    assert "rounded" in next(check.detail for check in report.verification.checks if check.name == "exact")


def test_a_target_may_ask_for_it() -> None:
    text, given = MODELS["matmul"]
    model, report = converted(parse(text.replace("[N", "[2"), scale=30, **given), Options(target="rknn"))
    assert "QLinearConv" not in operators(model)
    assert report.target is not None
    assert not report.target.findings
