"""Every reason code, with a case that produces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from inferring import look
from onnx import ModelProto, TensorProto, helper, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.reasons import Code
from fc2conv.report.terminal import Look
from fc2conv.report.text import report_text

MICROSOFT = {"com.microsoft": 1}
FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"


@dataclass(frozen=True)
class Kept:
    """A model whose layer `fc` is kept, and the node that is to blame."""

    text: str
    blocked_by: str = "fc"
    opset: int = 13
    options: Options = field(default_factory=Options)
    domains: Mapping[str, int] = field(default_factory=dict)


KEPT: dict[Code, list[Kept]] = {
    Code.NO_FEATURE_MAP: [
        Kept("graph (float[N,8] x) => (float[N,5] y) <float[8,5] w> { [fc] y = MatMul (x, w) }"),
    ],
    Code.VIEW_LOST: [
        Kept(
            f"""{FLAT} <int64[1] k = {{24}}, float[24,5] w>
            {{ f = Flatten (x)  [sort] t, i = TopK (f, k)  [fc] y = Gemm (t, w) }}""",
            "sort",
        ),
    ],
    Code.BATCH_CONTRACTED: [
        Kept(
            """graph (float[24,4,1,1] x) => (float[4,5] y) <float[24,5] w>
            { f = Flatten (x)  t = Transpose <perm = [1, 0]> (f)  [fc] y = MatMul (t, w) }"""
        ),
        Kept(  # both items in one row
            """graph (float[2,4,3,2] x) => (float[1,5] y) <int64[2] s = {1, -1}, float[48,5] w>
            { f = Reshape (x, s)  [fc] y = Gemm (f, w) }"""
        ),
    ],
    Code.UNKNOWN_SIZE: [
        Kept("graph (float[N,4,H,W] x) => (float[N,5] y) <float[24,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"),
    ],
    Code.UNKNOWN_RANK: [
        Kept(
            f"{FLAT} <float[24,5] w> {{ [odd] f = my.Mystery (x)  g = Relu (f)  [fc] y = MatMul (g, w) }}",
            domains={"my": 1},
            blocked_by="odd",
        ),
    ],
    Code.NO_ELEMENTS: [
        Kept("graph (float[N,4,3,2] x) => (float[N,5] y) <float[0,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"),
        Kept(
            """graph (float[1,4,3,2] x) => (float[0,5] y)
            <int64[1] s = {0}, int64[1] e = {-1}, int64[1] a = {0}, float[24,5] w>
            { p = Slice (x, s, e, a)  f = Flatten (p)  [fc] y = Gemm (f, w) }"""
        ),
    ],
    Code.WEIGHT_NOT_CONSTANT: [
        Kept("graph (float[N,4,3,2] x, float[24,5] w) => (float[N,5] y) { f = Flatten (x)  [fc] y = Gemm (f, w) }"),
    ],
    Code.WEIGHT_BATCHED: [
        Kept("graph (float[N,C,3,2] x) => (float[N,4,3,5] y) <float[4,2,5] w> { [fc] y = MatMul (x, w) }"),
    ],
    Code.WEIGHT_TYPE: [
        Kept("graph (int32[N,4,3,2] x) => (int32[N,5] y) <int32[24,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"),
    ],
    Code.WEIGHT_SHAPE: [
        Kept(f"{FLAT} <float[23,5] w> {{ f = Flatten (x)  [fc] y = Gemm (f, w) }}"),
    ],
    Code.WEIGHT_CHAIN: [
        Kept(
            f"""{FLAT} <float[24,5] w>
            {{ f = Flatten (x)  e = MeanVarianceNormalization <axes = [0]> (w)  [fc] y = Gemm (f, e) }}"""
        ),
    ],
    Code.BOTH_CONSTANT: [
        Kept(
            """graph (float[N,4,3,2] x) => (float[N,4,3,2] y) <float[3,4] u, float[4,2] w>
            { [fc] k = MatMul (u, w)  y = Mul (x, k) }"""
        ),
    ],
    Code.KIND_NOT_SUPPORTED: [
        Kept(
            """graph (float[2,4,3,2] x) => (float[3,4,2,5] y) <float[2,5] w>
            { [fc] y = com.microsoft.FusedMatMul <transBatchA = 1> (x, w) }""",
            domains=MICROSOFT,
        ),
    ],
    Code.QUANTIZED_AXIS: [
        Kept(  # scales along the outer part of the features, which the channels do not keep
            """graph (float[N,6,4,1] x) => (float[N,5] y) <int8[4,6,5] q, float[4] s, int8[4] z, int64[2] t = {24, 5}>
            { f = Flatten (x)
              d = DequantizeLinear <axis = 0> (q, s, z)
              w = Reshape (d, t)
              [fc] y = Gemm (f, w) }"""
        ),
    ],
    Code.ZERO_POINTS_DIFFER: [
        Kept(
            """graph (uint8[N,4,3,2] x) => (uint8[N,5] y)
            <int8[24,5] w, float s = {0.5}, uint8 xz = {3}, int8[5] z = {1, 2, 3, 4, 5}>
            { f = Flatten (x)  [fc] y = QLinearMatMul (f, s, xz, w, s, z, s, xz) }"""
        ),
    ],
    Code.BLOCK_QUANTIZED: [
        Kept(
            f"""{FLAT} <uint8[5,1,16] w, float[5] s>
            {{ f = Flatten (x)
               [fc] y = com.microsoft.MatMulNBits <K = 24, N = 5, bits = 4, block_size = 32> (f, w, s) }}""",
            domains=MICROSOFT,
        ),
    ],
    Code.ADDS_LAYOUT: [
        Kept(
            f"""{FLAT} <float[24,5] w>
            {{ f = Flatten (x)  [norm] n = Trilu (f)  [fc] y = Gemm (n, w) }}""",
            "norm",
            opset=17,
        ),
    ],
    Code.EXCLUDED: [
        Kept(f"{FLAT} <float[24,5] w> {{ f = Flatten (x)  [fc] y = Gemm (f, w) }}", options=Options(exclude=("f*",))),
        Kept(
            f"{FLAT} <float[24,5] w> {{ f = Flatten (x)  [fc] y = Gemm (f, w) }}", options=Options(include=("head*",))
        ),
    ],
    Code.RUNTIME_TYPE: [
        Kept("graph (double[N,4,3,2] x) => (double[N,5] y) <double[24,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"),
    ],
    Code.OPSET_TOO_OLD: [
        Kept(
            f"""{FLAT} <uint8[24,5] w, float s = {{0.5}}, uint8 z = {{3}}>
            {{ f = Flatten (x)  [fc] y = com.microsoft.DynamicQuantizeMatMul (f, w, s, z) }}""",
            opset=10,
            domains=MICROSOFT,
        ),
    ],
}
OVERRIDABLE = f"{FLAT} <float[24,5] w> {{ f = Flatten (x)  [fc] y = Gemm (f, w) }}"

"""Codes that nothing produces yet: what an old opset lacks is opaque, and FC301 or FC102 name the node."""


def list_the_weight(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [24, 5]))


@pytest.mark.parametrize(("code", "kept"), [(code, each) for code, all_ in KEPT.items() for each in all_])
def test_code_is_produced(code: Code, kept: Kept) -> None:
    seen = look(kept.text, opset=kept.opset, options=kept.options, domains=kept.domains)
    assert seen.decided == {"fc": f"{code.value}@{kept.blocked_by}"}


def test_a_weight_that_a_caller_may_replace() -> None:
    assert look(OVERRIDABLE, edit=list_the_weight).decided == {"fc": f"{Code.WEIGHT_OVERRIDABLE.value}@fc"}
    frozen = Options(freeze_initializers=True)
    assert look(OVERRIDABLE, edit=list_the_weight, options=frozen).decided == {"fc": "3x2"}
    assert look(OVERRIDABLE, edit=list_the_weight, ir_version=3).decided == {"fc": "3x2"}


def test_a_layer_that_is_kept_always_names_a_node() -> None:
    seen = look("graph (float[N,4,3,2] x) => (float[N,4,3,5] y) <float[4,2,5] w> { [fc] y = MatMul (x, w) }")
    assert all(decided.partition("@")[2] for decided in seen.decided.values())


def test_every_code_has_a_case() -> None:
    sliding = {code for code in Code if code.value.startswith("FC5")}  # in tests/fcn/test_obstacles.py
    targets = {code for code in Code if code.value.startswith("FC6")}  # in tests/targets/test_legality.py
    assert set(Code) == set(KEPT) | {Code.WEIGHT_OVERRIDABLE} | sliding | targets


@pytest.mark.parametrize(
    ("code", "options", "wanted"),
    [
        (Code.NO_FEATURE_MAP, Options(scope="all"), {"fc": "1x1"}),
        (Code.VIEW_LOST, Options(scope="all"), {"fc": "1x1"}),
        (Code.UNKNOWN_SIZE, Options(input_shapes={"x": (1, 4, 3, 2)}), {"fc": "3x2"}),
        (Code.ADDS_LAYOUT, Options(scope="all"), {"fc": "1x1"}),
        (Code.ADDS_LAYOUT, Options(max_added_transposes=3), {"fc": "1x1"}),
        (Code.RUNTIME_TYPE, Options(force=True), {"fc": "3x2"}),
        (Code.BLOCK_QUANTIZED, Options(expand_block_quantized=True), {"fc": "3x2"}),
    ],
)
def test_the_remedy_that_is_an_option_helps(code: Code, options: Options, wanted: dict[str, str]) -> None:
    kept = KEPT[code][0]
    assert look(kept.text, opset=kept.opset, domains=kept.domains, options=options).decided == wanted


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_codes_are_one_line_each(code: Code) -> None:
    assert code.value[:3] in ("FC1", "FC2", "FC3", "FC4", "FC5", "FC6")
    for line in (code.meaning, code.remedy):
        assert line.endswith(".")
        assert "\n" not in line


BRAIN = (
    """graph (bfloat16[N,4,3,2] x) => (bfloat16[N,5] y) <bfloat16[24,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"""
)
SQUEEZED = f"{FLAT} <float[4,5] w> {{ p = GlobalMaxPool (x)  q = Squeeze (p)  [fc] y = MatMul (q, w) }}"
NORMED = KEPT[Code.ADDS_LAYOUT][0].text
OPEN = KEPT[Code.UNKNOWN_SIZE][0].text
SIZED = "graph (float[N,4,{} x, int64[{}] s) => (float[N,5] y) <float[24,5] w> {{ {} }}"
RESIZED = SIZED.format("H,W]", 4, "u = Resize (x, , , s)  f = Flatten (u)  [fc] y = Gemm (f, w)")
RESHAPED = SIZED.format("3,2]", "K", "r = Reshape (x, s)  f = Relu (r)  [fc] y = MatMul (f, w)")
BODY = """graph (float[N,4,H,W] x, bool c) => (float[N,5] y) <float[4,4,1,1] k, float[24,5] w>
{ y = If (c) <then_branch = t () => (float[N,5] a) { m = Conv (x, k)  f = Flatten (m)  [fc] a = Gemm (f, w) },
              else_branch = e () => (float[N,5] b) { z = ReduceMax <keepdims = 0> (x)  g = Expand (z, s) b = Neg (g)
                s = Constant <value = int64[2] {1, 5}> () }> }"""
SHAPELESS = parse(
    """graph (float[N] x) => (float[N,5] y) <float[4,4,1,1] k, float[24,5] w>
    { m = Conv (x, k)  f = Flatten (m)  [fc] y = Gemm (f, w) }""",
    opset=17,
)
FUNCTION = """graph (float[N,4,H,W] x) => (float[N,5] y) <float[24,5] w> { [call] y = my.Head (x, w) }
<domain: "my", opset_import: ["": 17]> Head (x, w) => (y) { f = Flatten (x)  [fc] y = Gemm (f, w) }"""
BESIDE = FUNCTION.replace("(float[N,5] y)", "(float[N,5] y, float[N,5] z)").replace(
    "{ [call]",
    """{ m = MaxPool
<kernel_shape = [1, 1]> (x)  a = GlobalMaxPool (m)  g = Flatten (a)  [own] z = Gemm (g, v)  [call]""",
)
BESIDE = BESIDE.replace("float[24,5] w", "float[24,5] w, float[4,5] v")
GROUPED = f"""{FLAT} <uint8[5,1,16] w, float[5] s, int32[24] g>
{{ f = Flatten (x)
   [fc] y = com.microsoft.MatMulNBits <K = 24, N = 5, bits = 4, block_size = 32> (f, w, s, , g) }}"""


@pytest.mark.parametrize(
    ("text", "options", "code", "remedy"),
    [
        (BRAIN, Options(), "FC204", "Raise the model to opset 22"),
        (SQUEEZED, Options(), "FC105", "Give the Squeeze its axes"),
        (NORMED, Options(), "FC301", "Allow them with --max-added-transposes 2, or use --scope all."),
        (NORMED, Options(scope="all", max_added_transposes=1), "FC301", "Allow them with --max-added-transposes 2."),
        *((text, Options(), "FC104", "--overwrite-input-shape x:1,4,D2,D3, with") for text in (OPEN, BODY, FUNCTION)),
        (RESIZED, Options(), "FC104", "Make s a constant of the model, as its numbers are sizes."),
        (
            RESHAPED,
            Options(),
            "FC105",
            "Make s a constant of the model, as its numbers are sizes; or give the shape of r",
        ),
        (GROUPED, Options(expand_block_quantized=True), "FC211", "Export the model with a weight in floating point."),
    ],
)
def test_the_remedy_is_that_of_the_case(text: str, options: Options, code: str, remedy: str) -> None:
    domains = {**MICROSOFT, **({"my": 1} if text is FUNCTION else {})}
    (layer,) = fc2conv.plan(parse(text, opset=17, domains=domains), options).sites
    assert layer.reason is not None
    assert layer.reason.code == code
    assert remedy in layer.reason.remedy


def test_sizes_that_are_made_a_constant_help() -> None:
    for text, sizes in ((RESIZED, [1, 4, 3, 2]), (RESHAPED, [0, 24])):
        (model := parse(text, opset=17)).graph.input.pop()
        model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "s"))
        assert fc2conv.convert(model).report.converted


def test_an_input_without_a_shape_is_named() -> None:
    for code, dims in (("FC104", ["N"]), ("FC105", None)):  # one dimension, as no Conv takes it, and none known
        model = ModelProto.FromString(SHAPELESS.SerializeToString())
        model.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, dims))
        (layer,) = fc2conv.plan(model).sites
        assert layer.reason is not None
        assert layer.reason.code == code
    assert "--overwrite-input-shape x:0,3,224,224" in layer.reason.remedy
    assert len(fc2conv.convert(model, input_shapes={"x": (1, 4, 3, 2)}).report.converted) == 1


def test_a_layer_that_is_kept_within_a_function_has_its_reason_beside_one_that_is_converted() -> None:
    model = parse(BESIDE, opset=17, domains={"my": 1})
    conversion = fc2conv.convert(model)
    assert [node.op_type for node in conversion.model.graph.node].count("Head") == 1
    why = {each.node: each.reason.code if each.reason else "" for each in conversion.report.sites}
    assert why == {"own": "", "fc__1": "FC104"}
    assert [node.node for node in fc2conv.trace(model)] == ["m", "a", "g", "own", "call", "f__1", "fc__1"]
    helped = fc2conv.convert(model, input_shapes={"x": (0, 4, 3, 2)})
    assert len(helped.report.converted) == 2


def test_a_squeeze_that_is_settled_hides_no_shape() -> None:
    axes = SQUEEZED.replace("(p)", "(p, a)").replace("w>", "w, int64[2] a = {2, 3}>")
    for text, options in ((SQUEEZED, Options(static=2)), (axes, Options())):
        (layer,) = fc2conv.plan(parse(text, opset=17), options).sites
        assert layer.decision == "convert"


def test_the_budget_that_is_named_is_enough() -> None:
    (layer,) = fc2conv.plan(parse(NORMED, opset=17), Options(max_added_transposes=2)).sites
    assert layer.decision == "convert"
    (layer,) = fc2conv.plan(parse(NORMED, opset=17), Options(max_added_transposes=1)).sites
    assert layer.decision == "keep"


def test_each_remedy_of_a_code_is_shown_once() -> None:
    report = fc2conv.plan(parse(NORMED, opset=17))
    (layer,) = report.sites
    assert layer.reason is not None
    other = msgspec.structs.replace(layer.reason, remedy="Another one.")
    layers = [layer, msgspec.structs.replace(layer, reason=other), layer]
    shown = " ".join(report_text(msgspec.structs.replace(report, sites=layers), Look()).split())
    assert shown.count(layer.reason.meaning) == 1
    assert shown.count(f"{layer.reason.remedy} Another one.") == 1
