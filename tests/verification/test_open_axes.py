"""Two models that are the same at the sizes that are run first, and not at all sizes of an open axis."""

from __future__ import annotations

import onnx
import pytest
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Verdict, Verification
from fc2conv.verification.pair import verify_pair

ROWS = "graph (float[N,4] x) => (float[N,4] y) {{ {} }}"
TOKENS = "graph (float[N,T,4] x) => (float[N,T,4] y) {{ {} }}"
MAPS = "graph (float[N,1,H,W] x) => (float[N,1,A,B] y) {{ {} }}"
ITEM = "i = Constant<value_ints = [{}]>() g = Gather<axis = {}>(x, i) y = Add(x, g)"
MEAN = "m = ReduceMean<axes = [{}]>(x) y = Sub(x, m)"
QUOTIENT = (
    "a = Constant<value_ints = [{}]>() n = Constant<value_float = {}>() s = ReduceSum(x, a) m = Div(s, n) y = Sub(x, m)"
)
CUT = "s = Constant<value_ints = [0]>() e = Constant<value_ints = [{}]>() a = Constant<value_ints = [1]>() "
BEHIND = CUT.format(100).replace("[0]", "[2]").replace("[1]", "[0]") + "r = Slice(x, s, e, a) "
PAIR = "graph (float[N,4] x, float[M,4] z) => (float[A,4] y) {{ {} }}"
ORDER = "o = Constant<value_ints = [{}]>() d = Shape(x) e = Gather(d, o) y = Reshape(x, e)"
NORM = (
    " q0 = Mul(c, c) v = ReduceMean<axes = [1]>(q0) k = Constant<value_float = 0.5>() e = Add(v, k) s = Sqrt(e) "
    "y = Div(c, s)"
)
RESIZE = (
    "r = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>() "
    'y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, {})'
)
POOL = "y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]{}>(x)"

SIZE = (
    "n = Shape<end = 1>(x) z = Constant<value_ints = [0]>() s = Constant<value_ints = [7]>() "
    "f = Constant<value_ints = [500]>() "
)
ROOTS = (
    "t = Constant<value_ints = [2]>() h = Constant<value_ints = [3]>() i = Constant<value_ints = [5]>() "
    "a = Sub(n, t) b = Sub(n, h) d = Sub(n, i) "
)
SIZES = {
    "every seventh batch": "m = Mod(n, s) e = Equal(m, z) c = Cast<to = 1>(e) y = Add(x, c)",
    "each seventh item": "d = Div(n, s) e = Sub(n, d) y = Slice(x, z, e, z)",
    "a large batch": "g = Greater(n, f) c = Cast<to = 1>(g) y = Add(x, c)",
    "a batch of more than three":
        "t = Constant<value_ints = [3]>() g = LessOrEqual(n, t) c = Cast<to = 1>(g) o = Constant<value_float = 1.0>() "
        "d = Sub(c, o) y = Add(x, d)",
    "a batch of thirty": "t = Constant<value_ints = [30]>() g = Equal(n, t) c = Cast<to = 1>(g) y = Add(x, c)",
    "a batch of one": "t = Constant<value_ints = [1]>() g = LessOrEqual(n, t) c = Cast<to = 1>(g) y = Add(x, c)",
    "a batch that is not zero beside thirty": "t = Constant<value_ints = [30]>() d = Sub(n, t) g = Cast<to = 9>(d) "
        "o = Not(g) c = Cast<to = 1>(o) y = Add(x, c)",
    "a polynomial": "t = Constant<value_ints = [2]>() h = Constant<value_ints = [3]>() a = Sub(n, t) b = Sub(n, h) "
                    "p = Mul(a, b) c = Cast<to = 1>(p) y = Add(x, c)",
    "a cubic polynomial": ROOTS + "p = Mul(a, b) q = Mul(p, d) c = Cast<to = 1>(q) y = Add(x, c)",
    "the root of a polynomial": "m = Sub(s, n) p = Mul(n, m) e = Cast<to = 9>(p) o = Not(e) c = Cast<to = 1>(o) "
                                "y = Add(x, c)",
    "a value by one factor after the other": ROOTS + "e = Cast<to = 1>(a) f1 = Cast<to = 1>(b) p = Mul(x, e) "
                                             "q = Mul(p, f1) y = Add(x, q)",
    "a square of a value by a factor": ROOTS + "m = Mul(a, b) e = Cast<to = 1>(m) p = Mul(x, e) q = Mul(p, p) "
                                       "y = Add(x, q)",
}  # fmt: skip
ROWS_OF_ONES = "z1 = Sub(x, x) o1 = Constant<value_float = 1.0>() ones = Add(z1, o1) "
VANISHING = (
    "l2 = Constant<value_float = 2.0>() l3 = Constant<value_float = 3.0>() "
    "v2 = Sub(c1, l2) v3 = Sub(c1, l3) v = Mul(v2, v3) y = Add(x, v)"
)
POWERS = "q = Mul(x, x) c = Mul(q, x) f4 = Mul(q, q) " + " ".join(
    f"p{i} = ReduceSum({each}, z)" for i, each in enumerate(["x", "q", "c", "f4"], start=1)
)
COUNTS = {
    "as many rows as a sum of ones": f"{ROWS_OF_ONES} c1 = ReduceSum(ones, z) {VANISHING}",
    "the places of rows as running sums": f"{ROWS_OF_ONES} p0 = Constant<value_int = 0>() b1 = CumSum(ones, p0) "
        f"c1 = Add(b1, o1) {VANISHING}",
    "as many rows as a sum has means": "a1 = ReduceSum(x, z) b1 = ReduceMean<axes = [0]>(x) c1 = Div(a1, b1) "
        f"{VANISHING}",
    "as many rows as a product has": f"{ROWS_OF_ONES} t1 = Transpose(ones) a1 = MatMul(t1, ones) "
        f"c1 = ReduceMean<axes = [0]>(a1) {VANISHING}",
    "rows of a Softmax": f"{ROWS_OF_ONES} a1 = Softmax<axis = 0>(z1) c1 = Reciprocal(a1) {VANISHING}",
    "rows of a constant": "w1 = Constant<value_ints = [3000]>() a1 = Concat<axis = 0>(n, w1) "
        "b1 = ConstantOfShape<value = float[1] {1.0}>(a1) d1 = ReduceSum(b1, z) e1 = Constant<value_ints = [4]>() "
        f"i1 = Constant<value_ints = [1]>() c1 = Slice(d1, z, e1, i1) {VANISHING}",
    "products of four rows": f"{POWERS} k3 = Constant<value_float = 3.0>() k6 = Constant<value_float = 6.0>() "
        "k8 = Constant<value_float = 8.0>() a1 = Mul(p1, p1) a2 = Mul(a1, a1) b1 = Mul(a1, p2) b2 = Mul(b1, k6) "
        "c1 = Mul(p2, p2) c2 = Mul(c1, k3) d1 = Mul(p1, p3) d2 = Mul(d1, k8) e1 = Mul(p4, k6) s1 = Sub(a2, b2) "
        "s2 = Add(s1, c2) s3 = Add(s2, d2) s4 = Sub(s3, e1) y = Add(x, s4)",
    "places in eight bits": "e = Squeeze(n) o = Constant<value_int = 0>() i = Constant<value_int = 1>() "
        "r = Range(o, e, i) b = Cast<to = 3>(r) k = Cast<to = 7>(b) y = Gather(x, k)",
}  # fmt: skip
REST = "m{0} = Mod(n, d{0}) e{0} = Equal(m{0}, z) c{0} = Cast<to = 1>(e{0}) {1} = Add(x, c{0}) "
RESTS = (
    "graph (float[N,4] x) => (float[N,4] y, float[N,4] w) {{ "
    "d7 = Constant<value_ints = [7]>() d8 = Constant<value_ints = [8]>() {} }}"
)
WAVE = (
    "n = Shape<start = 1, end = 2>(x) l = Squeeze(n) o = Constant<value_int = 0>() i = Constant<value_int = 1>() "
    "r = Range(o, l, i) f = Cast<to = 1>(r) u = Constant<value_ints = [-1, 1]>() k = Reshape(f, u) "
    "v = Constant<value_floats = [1.0, 0.1, 0.01, 0.001]>() a = Mul(k, v) p = Sin(a) "
)
KEPT = {
    "as many as there are": "y = Slice(x, z, n, z)",
    "a size that is none": "t = Constant<value_ints = [-1]>() g = Equal(n, t) c = Cast<to = 1>(g) y = Add(x, c)",
    "a seventh of seven": "m = Mul(n, s) d = Div(m, s) y = Slice(x, z, d, z)",
    "numbers that come more often": "c = Constant<value_floats = [1.0, -1.0]>() p = Constant<value_ints = [2, 1]>() "
        "q = Constant<value_ints = [2]>() r = Reshape(c, p) t = Concat<axis = 0>(q, n) e = Expand(r, t) "
        "m = Constant<value_ints = [-1]>() g = Reshape(e, m) a = Abs(g) b = Reshape(a, t) k = Gather(b, z) "
        "j = Transpose(k) y = Mul(x, j)",
    "numbers that come more often and are cut in other places": "c = Constant<value_floats = [1.0, -1.0]>() "
        "p = Constant<value_ints = [2, 1]>() q = Constant<value_ints = [2]>() r = Reshape(c, p) "
        "t = Concat<axis = 0>(q, n) e = Expand(r, t) m = Constant<value_ints = [-1, 2]>() g = Reshape(e, m) "
        "a = Abs(g) b = Reshape(a, t) k = Gather(b, z) j = Transpose(k) y = Mul(x, j)",
    "at least one": "t = Constant<value_ints = [1]>() m = Max(n, t) y = Slice(x, z, m, z)",
}  # fmt: skip
FAULTS = {
    "the last item": (ROWS.format(ITEM.format(1, 0)), ROWS.format(ITEM.format(-1, 0))),
    "the last token": (TOKENS.format(ITEM.format(7, 1)), TOKENS.format(ITEM.format(-1, 1))),
    "a mean of two": (ROWS.format(MEAN.format(0)), ROWS.format(QUOTIENT.format(0, 2.0))),
    "a mean of eight": (TOKENS.format(MEAN.format(1)), TOKENS.format(QUOTIENT.format(1, 8.0))),
    "a diagonal": (ROWS.format("y = Identity(x)"), ROWS.format("k = Constant<value_int = -1>() y = Trilu(x, k)")),
    "a cut behind the tokens": (
        TOKENS.format("y = Identity(x)"), TOKENS.format(CUT.format(20) + "y = Slice(x, s, e, a)")),
    "a cut of a padded sequence": (
        TOKENS.format("y = Identity(x)"),
        TOKENS.format(CUT.format(8) + "p = Constant<value_ints = [0, 0, 0, 0, 3, 0]>() l = Pad(x, p) "
                      "y = Slice(l, s, e, a)"),
    ),
    "the item before": (
        ROWS.format("a = Constant<value_int = 0>() y = CumSum(x, a)"),
        ROWS.format(CUT.format(-1).replace("[1]", "[0]") + "p = Constant<value_ints = [1, 0, 0, 0]>() l = Pad(x, p) "
                    "h = Slice(l, s, e, a) y = Add(x, h)"),
    ),
    "a shape": (
        TOKENS.format("y = Softmax<axis = 1>(x)"),
        TOKENS.format("a = Constant<value_ints = [2, 8, 4]>() r = Reshape(x, a) y = Softmax<axis = 1>(r)"),
    ),
    "sides in another order": (MAPS.format("y = Identity(x)"), MAPS.format(ORDER.format("0, 1, 3, 2"))),
    "tokens in the place of features": (
        TOKENS.replace("4", "F").format("y = Identity(x)"), TOKENS.replace("4", "F").format(ORDER.format("0, 2, 1"))),
    "two batches, one of which is cut as the other": (
        PAIR.format("y = Concat<axis = 0>(x, z)"),
        PAIR.format(CUT.format(0).replace("[1]", "[0]") + "c = Concat<axis = 0>(x, z) d = Shape<end = 1>(x) "
                    "f = Add(d, d) y = Slice(c, s, f, a)"),
    ),
    "two batches, of an even sum": (
        PAIR.format("y = Concat<axis = 0>(x, z)"),
        PAIR.format("c = Concat<axis = 0>(x, z) e = Constant<value_ints = [-1, 8]>() r = Reshape(c, e) "
                    "f = Constant<value_ints = [-1, 4]>() y = Reshape(r, f)"),
    ),
    **{name: (ROWS.format("y = Identity(x)"), ROWS.format(SIZE + nodes)) for name, nodes in (SIZES | COUNTS).items()},
    **{
        f"{what} of {n} items alone": tuple(
            ROWS.format(SIZE + f"t = Constant<value_ints = [{n}]>() k = Constant<value_float = {k}>() "
                        f"g = Equal(n, t) m = Mul(x, k) {use}") for k in (2.0, 3.0)
        )
        for n in (1, 30)
        for what, use in {"a choice": "y = Where(g, m, x)",
                          "a factor": "c = Cast<to = 1>(g) p = Mul(m, c) y = Add(x, p)"}.items()
    },
    "a factor of both sides up to a hundred": (
        MAPS.format(RESIZE.format('"", r')),
        MAPS.format("k = Constant<value_ints = [1, 1, 2, 2]>() n = Shape(x) h = Constant<value_ints = [500]>() "
                    "m = Div(n, h) l = Sub(n, m) e = Mul(l, k) " + RESIZE.format('"", "", e')),
    ),
    "a height that is less than the width by one": (
        MAPS.format("y = Identity(x)"),
        MAPS.format("n = Shape(x) i = Constant<value_int = 2>() j = Constant<value_int = 3>() h = Gather(n, i) "
                    "w = Gather(n, j) o = Constant<value_int = 1>() d = Sub(w, h) e = Sub(d, o) f = Cast<to = 1>(e) "
                    "y = Add(x, f)")),
    "a size that is a number": (
        ROWS.format("t = Constant<value_floats = [2.0]>() y = Mul(x, t)"),
        ROWS.format(SIZE + "t = Cast<to = 1>(n) y = Mul(x, t)")),
    "a size of tokens that is a number": (
        TOKENS.format("t = Constant<value_floats = [8.0]>() y = Mul(x, t)"),
        TOKENS.format("n = Shape<start = 1, end = 2>(x) t = Cast<to = 1>(n) y = Mul(x, t)")),
    "the first of each hundred cells": (
        MAPS.format("y = MaxPool<kernel_shape = [1, 1], strides = [1, 100]>(x)"),
        MAPS.format(CUT.format(1).replace("a = Constant<value_ints = [1]>", "a = Constant<value_ints = [3]>")
                    + "y = Slice(x, s, e, a)")),
    "one of each fourth item": (
        ROWS.replace("[N,4] y", "[A,4] y").format(CUT.format(9223372036854775807).replace("[1]", "[0]")
            + "t = Constant<value_ints = [4]>() y = Slice(x, s, e, a, t)"),
        ROWS.replace("[N,4] y", "[A,4] y").format("s = Constant<value_ints = [0]>() y = Gather(x, s)")),
    "half of a map of three cells": tuple(
        MAPS.format("r = Constant<value_floats = [1.0, 1.0, 1.0, 0.5]>() "
                    f'y = Resize<mode = "linear", coordinate_transformation_mode = "{how}half_pixel">(x, "", r)')
        for how in ("", "pytorch_")),
    "a mean behind pools": tuple(
        MAPS.format("".join(f"m{i + 1} = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>({m}) "
                            for i, m in enumerate(("x", "m1", "m2"))) + f"y = {mean}(m3)")
        for mean in ("GlobalAveragePool", "AveragePool<kernel_shape = [8, 8], strides = [8, 8]>")),
    "a product of items and tokens": tuple(
        TOKENS.format("n = Shape<end = 1>(x) t = Shape<start = 1, end = 2>(x) e = Constant<value_ints = [8]>() "
                      f"a = Mul(n, e) b = Add(t, t) {nodes} f = Cast<to = 1>(c) y = Add(x, f)")
        for nodes in ("c = Mul(n, t)", "d = Add(a, b) h = Add(e, e) c = Sub(d, h)")),
    "rests of two outputs, swapped": (
        RESTS.format(SIZE + REST.format(7, "y") + REST.format(8, "w")),
        RESTS.format(SIZE + REST.format(7, "w") + REST.format(8, "y"))),
    "the last cell of an odd map": (MAPS.format(POOL.format("")), MAPS.format(POOL.format(", ceil_mode = 1"))),
}  # fmt: skip
SAME = {
    "each seventh cell": (
        MAPS.format("y = MaxPool<kernel_shape = [1, 1], strides = [1, 7]>(x)"),
        MAPS.format(CUT.format(9223372036854775807).replace("[1]", "[3]")
                    + "t = Constant<value_ints = [7]>() y = Slice(x, s, e, a, t)")),
    "a mean": (
        TOKENS.format(MEAN.format(1)),
        TOKENS.format("t = Transpose<perm = [0, 2, 1]>(x) m = ReduceMean<axes = [2]>(t) d = Sub(t, m) "
                      "y = Transpose<perm = [0, 2, 1]>(d)"),
    ),
    "a norm over the tokens": (
        TOKENS.format(MEAN.format(1).replace("y =", "c =") + NORM),
        TOKENS.format("a1 = ReduceMean<axes = [1]>(x) b1 = Mul(x, x) d1 = ReduceMean<axes = [1]>(b1) e1 = Mul(a1, a1) "
                      "f1 = Sub(d1, e1) g1 = Sub(x, a1) k1 = Constant<value_float = 0.5>() h1 = Add(f1, k1) "
                      "i1 = Sqrt(h1) y = Div(g1, i1)"),
    ),
    "a product of items and tokens": tuple(
        TOKENS.format(
            f"n = Shape<end = 1>(x) t = Shape<start = 1, end = 2>(x) {nodes} f = Cast<to = 1>(c) y = Add(x, f)")
        for nodes in ("c = Mul(n, t)", "k = Constant<value_ints = [4]>() d = Size(x) c = Div(d, k)")),
    "a factor of both sides": (
        MAPS.format(RESIZE.format('"", r')),
        MAPS.format("k = Constant<value_ints = [1, 1, 2, 2]>() n = Shape(x) e = Mul(n, k) "
                    + RESIZE.format('"", "", e')),
    ),
    "the last token": (
        TOKENS.format(ITEM.format(-1, 1)),
        TOKENS.format("s = Constant<value_ints = [-1]>() e = Constant<value_ints = [9223372036854775807]>() "
                      "a = Constant<value_ints = [1]>() g = Slice(x, s, e, a) y = Add(g, x)"),
    ),
    **{name: (ROWS.format("y = Identity(x)"), ROWS.format(SIZE + nodes)) for name, nodes in KEPT.items()},
    "rows behind the second, which no runtime lays out where there are none": (
        ROWS.replace("[N,4] y", "[A,4] y").format(BEHIND + "k = Constant<value_ints = [0, -1]>() y = Reshape(r, k)"),
        ROWS.replace("[N,4] y", "[A,4] y").format(BEHIND + "y = Flatten(r)"),
    ),
    "positions in another layout": (
        TOKENS.format(WAVE + "y = Add(x, p)"),
        TOKENS.format(WAVE + "q = Transpose(p) t = Transpose<perm = [0, 2, 1]>(x) b = Add(t, q) "
                      "y = Transpose<perm = [0, 2, 1]>(b)"),
    ),
    "a pool": (
        MAPS.format(POOL.format("")),
        MAPS.format("t = Transpose<perm = [0, 1, 3, 2]>(x) " + POOL.format("").replace("y", "p").replace("(x)", "(t)")
                    + " y = Transpose<perm = [0, 1, 3, 2]>(p)"),
    ),
}  # fmt: skip


def proved(one: str, other: str) -> Verification:
    files = (model_file_from_proto(parse(each, opset=17)) for each in (one, other))
    return verify_pair(*files, False, VerifyOptions(only="exact"))


@pytest.mark.parametrize("name", FAULTS)
def test_what_one_size_alone_shows_is_not_proved(name: str) -> None:
    verdicts = {check.name: check.verdict for check in proved(*FAULTS[name]).checks}
    assert verdicts["checker"] is Verdict.AGREES
    assert verdicts["exact"] in (Verdict.DIFFERS, Verdict.INCONCLUSIVE)


WITHIN = {
    "a call": "y = own.F(x) }} <domain: \"own\", opset_import: [\"\" : 17]> F (x) => (y) {{ {} }}",
    "a branch": "y = If(k) <then_branch = t () => (float[N,4] y) {{ {} }}, "
                "else_branch = e () => (float[N,4] o) {{ o = Neg(x) }}> }}",
}  # fmt: skip
INNER = [SIZE + SIZES["every seventh batch"], SIZE + SIZES["a large batch"], SIZE + "y = Slice(x, z, f, z)"]


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("nodes", INNER)
def test_what_is_in_a_call_or_a_branch_is_looked_at_as_well(within: str, nodes: str) -> None:
    head = '<ir_version: 9, opset_import: ["" : 17, "own" : 1]> g (float[N,4] x, bool k) => (float[N,4] y) {{ '
    one, other = (onnx.parser.parse_model((head + WITHIN[within]).format(each)) for each in ("y = Identity(x)", nodes))
    files = (model_file_from_proto(each) for each in (one, other))
    assert verify_pair(*files, False, VerifyOptions(only="exact")).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", SAME)
def test_what_all_sizes_show_is_proved(name: str) -> None:
    assert proved(*SAME[name]).verdict is Verdict.PROVED


def test_a_polynomial_of_a_size_is_compared_at_as_many_sizes_as_its_degree_asks_for() -> None:
    detail = next(check.detail for check in proved(*SAME["a norm over the tokens"]).checks if check.name == "exact")
    assert "[2, 8, 4], [2, 9, 4], [2, 11, 4], [2, 12, 4]" in detail


def test_sizes_that_do_not_suit_a_model_are_left_for_larger_ones() -> None:
    head = "graph (float[1,A,8] x) => (float[1,B,9] y) { s = Constant<value_ints = [1, -1, 9]>() r = Reshape(x, s) "
    assert proved(head + "y = Relu(r) }", head + "z = Relu(r) y = Identity(z) }").verdict is Verdict.PROVED
    assert proved(head + "y = Relu(r) }", head + "y = Abs(r) }").verdict is not Verdict.PROVED


def test_the_verdict_lists_the_sizes() -> None:
    exact = next(check for check in proved(*SAME["a mean"]).checks if check.name == "exact")
    assert "proved on 2 and 3 items and inputs of [2, 8, 4] and [2, 9, 4]" in exact.detail


def test_an_axis_that_is_one_or_as_large_as_what_it_meets_is_run_at_both() -> None:
    """onnxruntime runs it at 1 first, where the row that the second model reads is the only one."""
    text = """graph (float[N,L,4] x, float[N,24] z) => (float[N,6,4] y)
    {{ t = Constant<value_ints = [-1, 6, 4]>() r = Reshape(z, t) {} y = Add(r, a) }}"""
    one = parse(text.format("a = Identity(x)"))
    row = "s = Constant<value_ints = [0]>() e = Constant<value_ints = [1]>() a = Slice(x, s, e, e)"
    files = (model_file_from_proto(each) for each in (one, parse(text.format(row))))
    assert verify_pair(*files, False, VerifyOptions()).verdict is Verdict.DIFFERS


def test_the_shape_of_a_sum_over_an_open_axis_is_no_sum() -> None:
    """The number of features is no number of tokens, though what has them sums over these."""
    text = """graph (float[N,T,4] x) => (float[N,T,B] y)
    <int64[1] two = {{2}}, int64[1] four = {{4}}, int64[1] zero = {{0}}, int64[1] last = {{-1}}>
    {{ t = Transpose <perm = [0, 2, 1]> (x)  {}  s = Shape (b)  n = Gather (s, two)  k = Add (n, two)
       e = Div (k, four)  y = Slice (b, zero, e, {}) }}"""
    one = text.format("a = MatMul (x, t)  c = MatMul (a, x)  d = MatMul (c, t)  b = MatMul (d, x)", "two")
    other = text.format("a = MatMul (t, x)  c = MatMul (x, a)  b = MatMul (c, a)", "last")
    files = (model_file_from_proto(parse(each, opset=17)) for each in (one, other))
    assert verify_pair(*files, False, VerifyOptions()).verdict is Verdict.PROVED
