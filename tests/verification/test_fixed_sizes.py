"""A size that an input leaves open and the graph fixes: the models are compared at that size."""

from __future__ import annotations

import platform

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from textmodel import parse

import fc2conv
from fc2conv.errors import LimitError
from fc2conv.io.reader import model_file_from_proto
from fc2conv.verification.exact.required import requirements
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.fitting import ITEMS, grown

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
BODIES = {
    "batch, by a weight on the left": ("float[N,4] x", [5, 3], [], "y = MatMul(w, x)"),
    "batch, by a target": ("float[N,5] x", [2, 15], [1, 15], "r = Reshape(x, to) y = Gemm<transB = 1>(r, w)"),
    "batch, of which others run": ("float[N,5] x", [2, 15], [-1, 15], "r = Reshape(x, to) y = Gemm<transB = 1>(r, w)"),
    "batch, by a broadcast": (
        "float[N,5] x",
        [10, 4],
        [],
        "k = Constant<value = float[3,1] {1.0, 2.0, 3.0}>() m = Mul(x, k) j = Concat<axis = 1>(m, x) y = MatMul(j, w)",
    ),
    "batch, by an Expand": (
        "float[N,5] x",
        [9, 6],
        [1, 1, -1],
        """r = Reshape(x, to) b = Constant<value = int64[3] {1, 2, 5}>() e = Expand(r, b)
           k = Constant<value = float[2,2,1] {0.5, -0.25, 1.5, 0.75}>() c = ConvTranspose<strides = [2]>(e, k)
           m = MatMul(c, w) a = Constant<value = float[1] {0.3}>() y = Add(m, a)""",
    ),
    "batch, by a weight of a branch": (
        "float[2,N] x",
        [3, 5],
        [],
        """c = Constant<value = bool {1}>() b = If(c) <
             then_branch = t () => (float[2,5] u) { m = MatMul(x, w) u = Relu(m) },
             else_branch = e () => (float[2,5] v) { g = MatMul(x, w) v = Neg(g) }>
           k = Constant<value = float[2,1] {-0.5, 0.25}>() p = PRelu(b, k) n = ReduceMin<axes = [0]>(p) y = Neg(n)""",
    ),
    "batch, by letters": (
        "float[N,6] x",
        [2, 6, 7, 2],
        [0],
        """u = Unsqueeze(x, to) e = Einsum<equation = LETTERS>(u, w)
           k = Constant<value = float[2,2] {1.5, 2.5, -1.0, 0.5}>() y = MatMul(e, k)""",
    ),
    "batch, by scales": (
        "float[N,5,1] x",
        [1, 4],
        [0, 1],
        """o = Constant<value = int64[1] {1}>() s = ReduceSum(x, o) f = Reshape(s, to) g = Flatten<axis = 0>(f)
           a = Constant<value = float[3] {0.5, 0.25, 0.125}>() z = Constant<value = int8[3] {3, 3, 3}>()
           q = QuantizeLinear<axis = 1>(g, a, z) d = DequantizeLinear<axis = 1>(q, a, z)
           t = Transpose(d) y = Gemm<alpha = 0.3>(t, w)""",
    ),
    "one item or two": (
        "float[N,5,5,1] x",
        [7, 7],
        [77],
        """h = Constant<value = float[5,1,3] {THIRDS}>() g = MatMul(x, h) f = Flatten(g)
           o = Constant<value = float[2,75] {HALVES}>() m = Max(f, o) t = Flatten<axis = -1>(m)
           b = Constant<value = int64[1] {68}>() l = Constant<value = int64[1] {-1}>() s = Slice(t, b, to, l)
           y = Einsum<equation = RIGHT>(s, w)""",
    ),
    "features": ("float[N,L] x", [37, 6], [], "y = MatMul(x, w)"),
    "length, by what a Scan carries": (
        "float[1,L,1] x",
        [301, 6],
        [0],
        """m = Constant<value = int64[1] {300}>() i = Constant<value = int64[1] {1}>() l = Shape<start = 1, end = 2>(x)
           h = Slice(x, to, m, i) r = Slice(x, m, l, i)
           e, s = Scan<scan_input_axes = [1], scan_output_axes = [1], num_scan_inputs = 1,
             body = windows (float[1,300,1] p, float[1,1] c) => (float[1,300,1] n, float[1,301] f) {
               o = Constant<value = int64[1] {1}>() b = Constant<value = int64[1] {301}>() u = Unsqueeze(c, o)
               a = Concat<axis = 1>(p, u) f = Flatten(a) n = Slice(a, o, b, o) }>(h, r)
           y = MatMul(s, w)""",
    ),
    "space": ("float[1,2,H,W] x", [3, 5], [], "p = AveragePool<kernel_shape = [2, 2]>(x) y = MatMul(w, p)"),
}
WORDS = {
    "LETTERS": '"abc,bcmo->moab"',
    "RIGHT": '"ab,bm->am"',
    "THIRDS": ", ".join(str(i / 3 - 2) for i in range(15)),
    "HALVES": ", ".join(str(i % 7 / 2) for i in range(150)),
}

TWO_LAYERS = ("batch, by letters", "one item or two", "batch, by a weight of a branch")


@pytest.mark.parametrize("kind", BODIES)
def test_conversion_is_proved(kind: str) -> None:
    of_input, shape, target, body = BODIES[kind]
    for word, text in WORDS.items():
        body = body.replace(word, text)
    model = onnx.parser.parse_model(f"{HEAD} fixed ({of_input}) => (float y) {{ {body} }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    if target:
        model.graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), "to"))
    conversion = fc2conv.convert(model, options=fc2conv.Options(scope="all"))
    assert len(conversion.report.converted) == (2 if kind in TWO_LAYERS else 1)
    assert conversion.report.verification is not None
    checks = {check.name: check.verdict for check in conversion.report.verification.checks}
    assert (checks["exact"], checks["numeric"]) == ("proved", "agrees")


@pytest.mark.contained
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="no other processor dies of a division")
@pytest.mark.parametrize("every", [False, True])
def test_sizes_of_which_onnxruntime_dies_are_left_out(every: bool) -> None:
    """The least integer, divided by -1: with 8 tokens, which are tried first, or with any number of them."""
    model = onnx.parser.parse_model(
        f"""{HEAD} dying (float[1,4,T] x) => (float[1,T,5] y)
        <int64[1] least = {{-9223372036854775808}}, int64[1] nine = {{9}}>
        {{ s = Shape<start = 2>(x) e = Sub(s, {"s" if every else "nine"}) o = Div(s, s) d = {
            "Sub(e, o)" if every else "Identity(e)"
        } q = Div(least, d) z = Sub(q, q) c = Cast<to = 1>(z) t = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(t, w) y = Add(p, c) }}"""
    )
    weight = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    if every:
        with pytest.raises(LimitError, match=r"running the model on .*: died of SIGFPE"):
            fc2conv.convert(model, options=fc2conv.Options(scope="all"))
        return
    found = fc2conv.convert(model, options=fc2conv.Options(scope="all")).report.verification
    assert found is not None
    numeric = found.checks[-1]
    assert numeric.verdict == "agrees"
    assert numeric.detail.endswith("; the original died of SIGFPE, on inputs of [1, 4, 8]")


def test_slopes_that_onnxruntime_repeats_for_one_item() -> None:
    model = onnx.parser.parse_model(
        f"""{HEAD} slopes (float[N,5] x) => (float[5,N] p, float[5,3] y)
        {{ r = Relu(x) t = Transpose(r) p = PRelu(t, k) y = MatMul(p, w) }}"""
    )
    random = np.random.default_rng(1)
    for name, shape in (("k", [2]), ("w", [2, 3])):
        model.graph.initializer.append(numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name))
    conversion = fc2conv.convert(model, options=fc2conv.Options(scope="all"))
    assert len(conversion.report.converted) == 1
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"


def test_axes_grow_beside_the_largest_number_of_items_that_is_tried() -> None:
    """Where all smaller numbers do not run, as behind a Reshape."""
    file = model_file_from_proto(parse("graph (float[N,6,L] x) => (float[N,6,L] y) { y = Relu (x) }"))
    least = max(ITEMS)
    found = grown(file, {least: {"x": (least, 6, 4)}}, {})
    assert found
    assert all(one[least] == {"x": (least, 6, 4)} and len({*map(str, one.values())}) > 1 for one in found)


@pytest.mark.parametrize(
    ("node", "items"),
    [("GridSample (x, g)", 1), ("ReverseSequence <batch_axis = 0, time_axis = 1> (x, lengths)", 3)],
)
def test_a_constant_for_each_item_fixes_the_batch(node: str, items: int) -> None:
    constants = "<float[1,2,3,2] g, int64[3] lengths = {1, 4, 2}>"
    file = model_file_from_proto(
        parse(f"graph (float[N,4,3,4] x) => (float[A,B,C,D] y) {constants} {{ y = {node} }}", opset=17)
    )
    met = {n: all(each.met for each in requirements(Walk(file, {"x": (n, 4, 3, 4)}).run()["y"])) for n in (1, 2, 3)}
    assert met == {n: n == items for n in (1, 2, 3)}
