"""What lies beyond the sizes that are run: it is run as well, or a variable, or the verdict is inconclusive."""

from __future__ import annotations

import execute
import numpy as np
import pytest
from onnx import ModelProto
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Verdict
from fc2conv.verification.pair import verify_pair

NUMBERS = """int64[1] z = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] four = {4},
    int64[1] five = {5}, int64[1] eight = {8}, int64[1] last = {-1}, int64[1] hundred = {100}, int64 zero = {0},
    int64 unit = {1}, int64 pair = {2}, int64 many = {100}, int64[1] end = {9223372036854775807},
    int64[1] start = {-9223372036854775807}, bool yes = {1}"""
ROWS = f"graph (float[N,4] x) => (float[A,4] y) <{NUMBERS}> {{ n = Shape<start = 0, end = 1>(x) %s }}"
SIZE = "n = Shape<start = 1, end = 2>(x) count = Squeeze(n)"
TOKENS = f"graph (float[1,T,4] x) => (float[1,A,4] y) <{NUMBERS}> {{ {SIZE} %s }}"
TABLE = ROWS.replace("> {", ", float[50,4] table> {", 1)
LENGTH = TOKENS.replace("=> (", "=> (int64[1] l, ").replace("%s", "y = Relu(x) %s")
FORMS = TOKENS.replace("float[1,T,4] x", "float[1,12,T] x").replace("[1,A,4]", "[A,B,C]")
WINDOWS = "graph (float[1,2,L] x) => (float[1,2,A] y) { %s }"
TWO = ROWS.replace("float[N,4] x", "float[N,4] x, float[N,4] w")
NAMELESS = ROWS.replace("float[N,4] x", "float[?,4] x, float[?,4] w").replace("> {", ", float[1,4] row> {", 1).replace(
    "=> (", "=> (float[B,4] v, ")  # fmt: skip
FUNCTION = ROWS.replace("%s }", "%s } <domain: \"own\", opset_import: [\"\" : 17]> F (x, h) => (k) "
                        "{ a = Shape<start = 0, end = 1>(x) k = Div(a, h) }")  # fmt: skip

FACTOR = " f = Cast<to = 1>(k) p = Mul(x, f) y = Add(x, p)"
HUNDREDTH = (
    "k = If(yes) <then_branch = a () => (int64[1] t) { %s }, else_branch = b () => (int64[1] e) { e = Identity(n) }>"
)
STEPS = ("k = Loop(%s, , z) <body = b (int64 i, bool c, int64[1] v) => (bool d, int64[1] r) "
         "{ d = Identity(c) m = Shape<start = 0, end = 1>(x) r = Div(m, hundred) }>")  # fmt: skip
CHOICE = (
    "k = If(c) <then_branch = a () => (int64[1] t) { %s }, else_branch = b () => (int64[1] e) { e = Identity(two) }>"
)
TAIL = "h = Slice(x, z, %s, %s) t = Slice(x, %s, end, %s) "
BACK, WHOLE = "t2 = Slice(t, end, start, %s, last) y = Concat<axis = %s>(h, t2)", "y = Concat<axis = %s>(h, t)"
PLACES = "r = Range(zero, count, unit) "
COUNTS = (
    "a = Mul(n, three) k = Div(a, four) j = Sub(n, one) ck = Concat<axis = 0>(k, one) cj = Concat<axis = 0>(j, one) "
)

FAULTS = {
    "a branch that is taken": (ROWS, HUNDREDTH % "t = Div(n, hundred)" + FACTOR, "y = Identity(x)", 100),
    "a branch that asks for a size": (
        ROWS, HUNDREDTH % "m = Shape<start = 0, end = 1>(x) t = Div(m, hundred)" + FACTOR, "y = Identity(x)", 100),
    "a step that asks for a size": (ROWS, STEPS % "unit" + FACTOR, "y = Identity(x)", 100),
    "a call that asks for a size": (FUNCTION, "k = own.F(x, hundred)" + FACTOR, "y = Identity(x)", 100),
    "a branch that inputs choose": (
        ROWS.replace("x)", "x, bool c)", 1), CHOICE % "t = Div(n, hundred)" + FACTOR,
        CHOICE % "t = Identity(z)" + FACTOR,
        100),
    "a bound between both sizes": (
        ROWS, "d = Add(n, n) b = Less(d, five) c = Add(n, two) k = Where(b, five, c)" + FACTOR,
        "k = Identity(five)" + FACTOR, 7),
    "a cut that does nothing for one": (
        ROWS, "y = Slice(x, z, five)", "d = Slice(x, z, five) y = Identity(x)", 8),
    "a cut that both have": (
        ROWS.replace("=> (", "=> (float[B,4] v, "), "s = Slice(x, z, five) y = Relu(s) v = Neg(s)",
        "s = Slice(x, z, five) y = Relu(x) v = Neg(s)", 8),
    "the tail in another order": (ROWS, TAIL % ("two", "z", "two", "z") + WHOLE % 0,
                                  TAIL % ("two", "z", "two", "z") + BACK % ("z", 0), 4),
    "the tail of tokens in another order": (TOKENS, TAIL % ("eight", "one", "eight", "one") + WHOLE % 1,
                                            TAIL % ("eight", "one", "eight", "one") + BACK % ("one", 1), 10),
    "running sums of a tail": (
        TOKENS, TAIL % ("eight", "one", "eight", "one") + WHOLE % 1,
        TAIL % ("eight", "one", "eight", "one") + "s = CumSum(t, unit) y = Concat<axis = 1>(h, s)", 10),
    "each third in another order": (
        ROWS, "s = Slice(x, z, end, z, three) y = Slice(s, end, start, z, last)",
        "s = Slice(x, z, end, z, three) a = Slice(s, one, end, z) b = Slice(s, z, one, z) "
        "y = Concat<axis = 0>(a, b)", 7),
    "a length that is an output": (
        LENGTH, "a = Add(n, three) l = Div(a, four)", "a = Div(n, four) l = Identity(a)".replace(
            "Identity(a)", "Sub(n, s)").replace("a = Div(n, four)", "s = Constant<value_ints = [6]>()"), 12),
    "a form by a rounded size": (
        FORMS.replace("start = 1, end = 2", "start = 2, end = 3"),
        "d = Div(n, eight) k = Add(d, one) s = Concat<axis = 0>(one, k, last) y = Reshape(x, s)",
        "s = Concat<axis = 0>(one, two, last) y = Reshape(x, s)", 16),
    "an item of a sequence": (
        ROWS, "q = SplitToSequence<axis = 0>(x, many) y = SequenceAt(q, zero)", "y = Identity(x)", 120),
    "a window around the whole": (
        WINDOWS, "y = MaxPool<kernel_shape = [21], pads = [10, 10]>(x)",
        "m = ReduceMax<axes = [2]>(x) s = Shape(x) y = Expand(m, s)", 30),
    "half of the places": (
        TOKENS, PLACES + "d = Mul(r, pair) b = Less(d, n) c = Cast<to = 1>(b) u = Unsqueeze(c, one) y = Mul(x, u)",
        PLACES + "e = Sub(n, four) b = Less(r, e) c = Cast<to = 1>(b) u = Unsqueeze(c, one) y = Mul(x, u)", 12),
    "a table that ends before the next size": (
        TABLE, "w = Slice(table, z, n) a = Add(x, w) c = Constant<value_ints = [40]>() y = Slice(a, z, c)",
        "w = Slice(table, z, n) y = Add(x, w)", 45),
    "a power": (
        ROWS, "c = ConstantOfShape<value = int64[1] {2}>(n) k = ReduceProd(c)" + FACTOR,
        "a = Mul(n, four) k = Sub(a, four)" + FACTOR, 6),
    "a number that is nearly a bound": (
        ROWS, "c = Constant<value_floats = [1000000.0]>() b = Constant<value_floats = [1000004.0]>() "
        "e = Cast<to = 1>(n) a = Add(e, c) "
        "k = Max(a, b)" + FACTOR, "k = Constant<value_floats = [1000004.0]>()" + FACTOR, 60),
    "a range that is empty": (
        ROWS, "c = Constant<value_int = 4>() s = Squeeze(n) e = Sub(c, s) r = Range(zero, e, unit) "
        "k = Shape(r)" + FACTOR,
        "k = Sub(four, n)" + FACTOR, 6),
    "numbers in each other's place": (
        TWO, COUNTS + "u = Tile(x, ck) v = Tile(w, cj) y = Concat<axis = 0>(u, v)",
        COUNTS + "u = Tile(x, cj) v = Tile(w, ck) y = Concat<axis = 0>(u, v)", 5),
    "two batches without names": (
        NAMELESS, "c = Concat<axis = 0>(n, one) y = Tile(row, c) v = Concat<axis = 0>(x, w)",
        "m = Shape<start = 0, end = 1>(w) c = Concat<axis = 0>(m, one) y = Tile(row, c) v = Concat<axis = 0>(x, w)", 0),
}  # fmt: skip
OLDER = {
    "a bound that is an attribute": (
        10, "graph (float[N,4] x) => (float[N,4] y) { s = Shape(x) z = Constant<value = int64[1] {0}>() "
        "n = Gather(s, z) f = Cast<to = 1>(n) %s }", "c = Clip<max = 4.0>(f) y = Mul(x, c)", "y = Mul(x, f)"),
    "the moments of a norm": (
        7, "graph (float[2,3,4,4] x) => (float[2,3,4,4] y) { %s }",
        "y = MeanVarianceNormalization<across_channels = 1>(x)",
        "y = MeanVarianceNormalization(x)"),
}  # fmt: skip
SAME = {
    "a branch that is taken": (ROWS, HUNDREDTH % "t = Div(n, hundred)" + FACTOR, "k = Div(n, hundred)" + FACTOR),
    "a cut that both have": (
        ROWS, "s = Slice(x, z, five) a = Neg(s) y = Relu(a)",
        "s = Slice(x, z, five) c = Constant<value_float = -1.0>() a = Mul(s, c) y = Relu(a)"),
    "a cut that one puts together again": (
        ROWS, "s = Slice(x, z, five) r = Slice(x, five, end) y = Concat<axis = 0>(s, r)", "y = Identity(x)"),
    "a form by a rounded size in another layout": (
        FORMS.replace("start = 1, end = 2", "start = 2, end = 3"),
        "d = Div(n, eight) k = Add(d, one) s = Concat<axis = 0>(one, k, last) y = Reshape(x, s)",
        "d = Div(n, eight) k = Add(d, one) s = Concat<axis = 0>(k, last) r = Reshape(x, s) y = Unsqueeze(r, z)"),
    "blocks": (
        "graph (float[1,1,H,W] x) => (float[1,4,A,B] y) { %s }", "y = SpaceToDepth<blocksize = 2>(x)",
        "s = Constant<value_ints = [2, 2]>() a = Constant<value_ints = [2, 3]>() "
        "e = Constant<value_ints = [9223372036854775807, 9223372036854775807]>() "
        + " ".join(f"o{i} = Constant<value_ints = [{i // 2}, {i % 2}]>() p{i} = Slice(x, o{i}, e, a, s)"
                   for i in range(4))
        + " y = Concat<axis = 1>(p0, p1, p2, p3)"),
    "a sum over no axis": (
        "graph (float[2,4] x) => (float[2,4] y) { %s }", "y = ReduceSum<noop_with_empty_axes = 1>(x)",
        "y = Identity(x)"),
}  # fmt: skip


def verdict(one: ModelProto, other: ModelProto) -> Verdict:
    files = (model_file_from_proto(each) for each in (one, other))
    checks = {check.name: check.verdict for check in verify_pair(*files, False, VerifyOptions(only="exact")).checks}
    assert checks["checker"] is not Verdict.DIFFERS
    return checks["exact"]


def read(whole: str, nodes: str, opset: int = 17) -> ModelProto:
    return parse(whole.replace("%s", nodes), opset=opset, domains={"own": 1} if "own." in whole + nodes else None)


def agree(one: ModelProto, other: ModelProto, size: int) -> bool:
    inputs = execute.feeds(one, dict.fromkeys("NTL", size)) if "" not in dims(one) else {
        "x": np.ones((size, 4), np.float32), "w": np.ones((size + 2, 4), np.float32)}  # fmt: skip
    found = zip(execute.run(one, inputs), execute.run(other, inputs), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b) for a, b in found)


def dims(model: ModelProto) -> set[str]:
    return {str(dim.dim_param) for value in model.graph.input for dim in value.type.tensor_type.shape.dim if not
            dim.HasField("dim_value")}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_other_sizes_show_is_not_proved(name: str) -> None:
    whole, *nodes, size = FAULTS[name]
    one, other = (read(str(whole), each) for each in nodes)
    assert not agree(one, other, size)
    assert verdict(one, other) in (Verdict.DIFFERS, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("name", OLDER)
def test_what_older_operators_do_with_attributes_is_looked_at(name: str) -> None:
    opset, whole, *nodes = OLDER[name]
    one, other = (read(str(whole), str(each), int(opset)) for each in nodes)
    assert not agree(one, other, 6)
    assert verdict(one, other) in (Verdict.DIFFERS, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_at_all_sizes_is_proved(name: str) -> None:
    whole, *nodes = SAME[name]
    assert verdict(*(read(whole, each, 18 if "noop" in nodes[0] else 17) for each in nodes)) is Verdict.PROVED


def test_numbers_run_more_than_one_item_behind_a_position() -> None:
    tail = TAIL % ("two", "z", "two", "z")
    one = read(ROWS, tail + "s = Softmax<axis = 0>(t) y = Concat<axis = 0>(h, s)")
    other = read(ROWS, tail + "d = Sub(t, t) s = Exp(d) y = Concat<axis = 0>(h, s)")
    files = (model_file_from_proto(each) for each in (one, other))
    assert agree(one, other, 3)
    assert not agree(one, other, 4)
    assert verify_pair(*files, False, VerifyOptions()).verdict is Verdict.DIFFERS
