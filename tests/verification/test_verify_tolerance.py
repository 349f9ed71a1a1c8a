"""How far two models may part: the arithmetic that made a value, what the original itself makes of one ulp."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from cases import model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import fc2conv
from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Check, OutputDifference
from fc2conv.verification.compare import Value, arithmetic
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.numeric import judged
from fc2conv.verification.trials import run_models

W = random((6, 3), 0)


def compared(one: ModelProto, other: ModelProto) -> tuple[Check, dict[str, OutputDifference]]:
    found = judged(run_models(model_file_from_proto(one), model_file_from_proto(other), VerifyOptions()))
    return found.check, {each.output: each for each in found.outputs}


def built(text: str, weights: dict[str, NDArray[Any]]) -> ModelProto:
    proto = model(text, weights)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return proto


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(float[N,4] x) => (float[N,4] y) { y = Transpose(x) }", ""),
        ("(float[N,4] x) => (double[N,4] y) { y = Cast <to = 11> (x) }", ""),
        ("(float[N,4] x) => (float[N,4] y) { y = Exp(x) }", "float32"),
        ("(float[N,4] x) => (double[N,4] y) { e = Exp(x) y = Cast <to = 11> (e) }", "float32"),
        ("(float[N,4] x) => (double[N,4] y) { c = Cast <to = 11> (x) y = Exp(c) }", "float64"),
        ("(float[N,4] x) => (double[N,4] y) { e = Exp(x) c = Cast <to = 11> (e) y = Exp(c) }", "float32"),
        ("(float[N,4] x) => (float[N,4] y) { h = Cast <to = 10> (x) y = Cast <to = 1> (h) }", "float16"),
        ("(float[N,4] x) => (float[N,4] y) { w = Cast <to = 1> (h) y = MatMul(x, w) }", "float32"),
        ("(float[N,4] x) => (int64[N] y) { e = Exp(x) y = ArgMax <axis = 1> (e) }", "float32"),
        ("(float[N,4] x) => (float[N,4] y) { q = QuantizeLinear(x, s) y = DequantizeLinear(q, s) }", "quantized"),
        ("(float[N,4] x) => (float[N,4] y, double[N,4] z) { q = QuantizeLinear(x, s) z = Exp(d) }", "float64"),
        ("(float[N,4] x) => (double[N,4] y) { z = ai.onnx.ml.Scaler(x) y = Cast <to = 11> (z) }", "float32"),
        ("(float[N,4] x) => (double[2] y) { n = Shape(x) a = Add(n, n) y = Cast <to = 11> (a) }", ""),
        ("(float16[N,4] x) => (double[N,4] y) { y = If (b) <then_branch = g () => (double[N,4] o) "
         "{ e = Exp(x) o = Cast <to = 11> (e) }, else_branch = g () => (double[N,4] p) { p = Cast <to = 11> (x) }> }",
         "float16"),
    ],
)  # fmt: skip
def test_the_arithmetic_that_made_a_value(text: str, kind: str) -> None:
    weights: dict[str, NDArray[Any]] = {"s": np.float32(0.1), "h": np.float16([[1]] * 4), "b": np.bool_(True)}
    proto = built(f"g {text}", weights | {"d": np.float64([1])})
    walk = Walk(model_file_from_proto(proto), {"x": (2, 4)})
    walk.run()
    assert arithmetic(walk)[proto.graph.output[-1].name] == kind


@pytest.mark.parametrize("end", ["y = Cast <to = 11> (s)", "y = Identity(s)"])
@pytest.mark.parametrize(("off", "verdict"), [(1e-6, "agrees"), (1e-2, "differs")])
def test_a_head_in_float32_is_as_exact_as_float32_is(end: str, off: float, verdict: str) -> None:
    kind = "double" if "Cast" in end else "float"
    text = f"g (float[N,6] x) => ({kind}[N,3] y) {{ m = MatMul(x, W) s = Add(m, c) {end} }}"
    one, other = (model(text, {"W": W, "c": np.float32([c])}) for c in (0, off))
    assert compared(one, other)[0].verdict == verdict


@pytest.mark.parametrize(
    ("start", "w", "off"),
    [("d = Cast <to = 11> (x) y = MatMul(d, W)", W.astype(np.float64), 1e-7),
     ("d = Cast <to = 1> (W) y = MatMul(x, d)", W.astype(np.float16), 1e-2)],
)  # fmt: skip
def test_a_cast_to_a_wider_type_rounds_nothing(start: str, w: NDArray[Any], off: float) -> None:
    """What is computed in float64 has its tolerance, and weights that are kept in 16 bits give nobody theirs."""
    kind = "double" if w.dtype == np.float64 else "float"
    text = f"g (float[N,6] x) => ({kind}[N,3] z) {{ {start} z = Add(y, c) }}"
    one, other = (model(text, {"W": w, "c": np.array([c], np.float64 if kind == "double" else np.float32)})
                  for c in (0, off))  # fmt: skip
    assert compared(one, other)[0].verdict == "differs"


@pytest.mark.parametrize(("off", "verdict"), [(1e-6, "agrees"), (1e-2, "differs")])
def test_numbers_in_a_map_are_those_of_the_tensor_behind_it(off: float, verdict: str) -> None:
    text = "g (float[N,6] x) => (float[N,3] y) { m = MatMul(x, W) s = Add(m, c) }"
    pair = [built(text, {"W": W, "c": np.float32([c, 0, 0])}) for c in (0, off)]
    for proto in pair:
        node = helper.make_node("ZipMap", ["s"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"])
        proto.graph.node.append(node)
        kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        proto.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kind))
    check, outputs = compared(*pair)
    assert check.verdict == outputs["y"].verdict == verdict
    assert verdict == "agrees" or ", 'a'] it is" in check.detail


STARTS = {
    "floats": ("float[N,8,8,8]", "x = MaxPool <kernel_shape = [1, 1]> (image)"),
    "bytes": ("uint8[N,8,8,8]", "c = Cast <to = 1> (image) x = Mul(c, byte)"),
    "words": ("int64[N,8,8]", "e = Gather(table, image) x = Transpose <perm = [0, 3, 1, 2]> (e)"),
}


def sensitive(start: str = "floats") -> ModelProto:
    """A head that makes much of the last bits of a layer."""
    kind, head = STARTS[start]
    text = f"""g ({kind} image) => (float[N,20] y) {{
        {head} p = MaxPool <kernel_shape = [1, 1]> (x) f = Flatten(p) [fc] s = MatMul(f, W0) m = Mul(s, k) y = Sin(m)
    }}"""
    weights = {"W0": random((512, 20), 1), "k": np.float32(2000), "byte": np.float32(1 / 255)}
    return model(text, weights | {"table": random((9, 8), 2)})


@pytest.mark.parametrize("start", STARTS)
def test_a_proved_conversion_may_part_by_rounding(start: str) -> None:
    found = fc2conv.convert(sensitive(start)).report.verification
    assert found is not None
    assert (verdicts(found)["exact"], verdicts(found)["numeric"], found.verdict) == ("proved", "inconclusive", "proved")
    (output,) = [each for each in found.outputs if each.output == "y"]
    assert (output.verdict, output.exact, output.numeric) == ("proved", "proved", "inconclusive")
    assert output.input_ulp is not None
    assert output.bound is not None
    assert output.max_abs_difference is not None
    assert output.bound < output.max_abs_difference
    assert "the original moves by" in found.checks[-1].detail
    strict = fc2conv.convert(sensitive(start), options=fc2conv.Options(verification=VerifyOptions(rtol=1e-9))).report
    assert strict.verification is not None
    assert strict.verification.verdict == "proved"


def test_what_is_not_proved_may_not() -> None:
    original = sensitive()
    converted = fc2conv.convert(original, options=fc2conv.Options(verify=False)).model
    kernel = next(t for t in converted.graph.initializer if len(t.dims) == 4)
    array = numpy_helper.to_array(kernel).copy()
    array[3, 0, 0, 0] = np.nextafter(array[3, 0, 0, 0], np.float32(9))
    kernel.CopyFrom(numpy_helper.from_array(array, kernel.name))
    found = verify(original, converted, False)
    assert (verdicts(found)["exact"], found.verdict) == ("differs", "differs")
    assert verdicts(found)["numeric"] == "differs"
    for proto in (original, converted):
        for node in proto.graph.node:
            node.name = ""  # no layer is recognised
    found = verify(original, converted, False)
    assert verdicts(found)["exact"] != "proved"
    assert verdicts(found)["numeric"] == "differs"
    assert next(each for each in found.outputs if each.output == "y").input_ulp is not None


def test_a_label_of_a_proved_conversion_may_follow_its_rounding() -> None:
    original = sensitive()
    original.graph.node.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    original.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1]))
    onnx.checker.check_model(original)
    found = fc2conv.convert(original).report.verification
    assert found is not None
    assert [(each.output, each.verdict) for each in found.outputs] == [("y", "proved"), ("label", "proved")]


BRITTLE = {
    "NaN in other places": ("Sqrt", TensorProto.FLOAT, ["N", 20]),
    "another shape": ("NonZero", TensorProto.INT64, [2, "K"]),
}


@pytest.mark.parametrize("kind", BRITTLE)
def test_what_follows_the_rounding_of_a_proved_conversion_is_no_fault(kind: str) -> None:
    """Under one ulp of its inputs the original itself is NaN in other places, or finds another number of elements."""
    original = sensitive()
    op_type, element, shape = BRITTLE[kind]
    original.graph.node.append(helper.make_node("Mul", ["y", "k"], ["m2"]))
    original.graph.node.append(helper.make_node("Sin", ["m2"], ["s2"]))
    original.graph.node.append(helper.make_node("Relu", ["s2"], ["r2"]))
    original.graph.node.append(helper.make_node(op_type, ["s2" if op_type == "Sqrt" else "r2"], ["z"]))
    original.graph.output.append(helper.make_tensor_value_info("z", element, shape))
    onnx.checker.check_model(original)
    found = fc2conv.convert(original).report.verification
    assert found is not None
    assert [(each.output, each.verdict) for each in found.outputs] == [("y", "proved"), ("z", "proved")]
    (output,) = [each for each in found.outputs if each.output == "z"]
    assert output.numeric == "inconclusive"


def test_a_shape_that_no_rounding_makes_is_a_fault() -> None:
    value = Value("y")
    value.add(np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32))
    assert value.result(VerifyOptions(), proved=True)[0].verdict == "differs"
    value.unsteady = True
    assert value.result(VerifyOptions(), proved=True)[0].verdict == "inconclusive"
    assert value.result(VerifyOptions())[0].verdict == "differs"


DRAWN = {
    "noise": "r = RandomNormalLike(a) y = Add(a, r)",
    "a Dropout in training": "y, m = Dropout(a, ratio, train)",
    "a choice": "s = Sigmoid(a) y = Bernoulli(s)",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_behind_a_factor_that_is_rounded_into_the_weight(kind: str) -> None:
    text = f"""g (float[N,3,4,4] x) => (float[N,5] y) {{
        c = Conv(x, K) f = Flatten(c) a = Gemm<transB=1, alpha=0.3>(f, W0) {DRAWN[kind]} }}"""
    weights = {
        "K": random((3, 3, 1, 1), 0),
        "W0": random((5, 48), 1),
        "ratio": np.float32(0.5),
        "train": np.bool_(True),
    }
    found = fc2conv.convert(model(text, weights)).report.verification
    assert found is not None
    assert found.verdict == "proved", found.checks


def test_a_model_for_which_onnxruntime_has_no_kernels_is_proved() -> None:
    """There is a Gemm of doubles, and no convolution."""
    text = "g (double[N,2,3,3] x) => (double[N,4] y) {{ {} }}"
    weights = {"W0": np.random.default_rng(0).standard_normal((4, 18))}
    one = model(text.format("f = Flatten(x) y = Gemm<transB=1>(f, W0)"), weights)
    other = model(text.format("c = Conv(x, K) y = Flatten(c)"), {"K": weights["W0"].reshape(4, 2, 3, 3)})
    found = verify(one, other, False)
    assert (verdicts(found)["exact"], verdicts(found)["numeric"], found.verdict) == ("proved", "inconclusive", "proved")
    assert found.checks[-1].detail.startswith("onnxruntime lacks what the converted model needs: ")
