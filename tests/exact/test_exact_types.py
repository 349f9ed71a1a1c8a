"""Pairs that are one function of real numbers and two functions of numbers of their types, or of their bits."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, edited, text
from onnx import numpy_helper

TABLE = (
    "graph (float[N,64,80] x) => (float[N,64,80] y) <float[64,80] a, float[64,80] b> {{ c = Add(x, a) y = Add(c, {}) }}"
)


def test_sums_of_bits_are_no_sums_of_numbers() -> None:
    """The bits of 2c, doubled, are those of c and of 4c."""
    whole = text(TABLE.format("b"))
    table = numpy_helper.to_array(whole.graph.initializer[0])
    twice, parts, turned = (
        edited(edited(whole, "a", lambda _, n=n: n * table), "b", lambda _, m=m: m * table)
        for n, m in ((2, 2), (1, 4), (4, 1))
    )
    assert not compared(twice, parts).same
    assert compared(parts, turned).same


@pytest.mark.parametrize("seed", range(4))
def test_sums_of_hashed_columns_are_no_sums_of_columns(seed: int) -> None:
    """Two columns of 2w, of one element of the input, are no columns of w and of 4w."""
    whole = (
        "graph (float[N,1] x) => (float[N,5000] y) <float[2,5000] w> { c = Concat<axis = 1>(x, x) y = MatMul(c, w) }"
    )
    one = text(whole)
    row = numpy_helper.to_array(one.graph.initializer[0])[:1]
    found = [edited(one, "w", lambda _, by=by: np.concatenate([by[0] * row, by[1] * row])) for by in ((2, 2), (1, 4))]
    assert not compared(*found, seed=seed).same


BYTES = "graph (uint8[N,4] x, uint8[N,4] z) => ({}[N,4] y) {{ {} }}"
WORDS = "graph (int32[N,4] x) => ({}[N,{}] y) {{ {} }}"
SCALE = "s = Constant<value_float = 0.5>() "
WIDE = "a = Cast<to = 6>(x) b = Cast<to = 6>(z) "


def words(kind: str, width: int, body: str) -> str:
    return WORDS.format(kind, width, body)


KEPT = words("int32", 4, "y = Identity(x)")

FAULTS = {
    "a sum of bytes that is dequantized": (
        BYTES.format("float", SCALE + "c = Add(x, z) y = DequantizeLinear(c, s)"),
        BYTES.format("float", SCALE + "a = Cast<to = 1>(x) b = Cast<to = 1>(z) c = Add(a, b) y = Mul(c, s)"),
    ),
    "a sum of bytes that is compared": (
        BYTES.format("bool", "k = Constant<value = uint8[1] {44}>() c = Add(x, z) y = Equal(c, k)"),
        BYTES.format("bool", WIDE + "k = Constant<value = int32[1] {44}>() c = Add(a, b) y = Equal(c, k)"),
    ),
    "a difference of bytes that is compared": (
        BYTES.format("bool", "k = Constant<value = uint8[1] {0}>() c = Sub(x, z) y = Greater(c, k)"),
        BYTES.format("bool", WIDE + "k = Constant<value = int32[1] {0}>() c = Sub(a, b) y = Greater(c, k)"),
    ),
    "bytes that are shifted": (
        BYTES.format("int32", 'c = BitShift<direction = "LEFT">(x, z) y = Cast<to = 6>(c)'),
        BYTES.format("int32", WIDE + 'c = Cast<to = 12>(a) d = Cast<to = 12>(b) '
                     'e = BitShift<direction = "LEFT">(c, d) y = Cast<to = 6>(e)'),
    ),
    "bits of bytes": (
        BYTES.format("int32", "c = BitwiseNot(x) y = Cast<to = 6>(c)"),
        BYTES.format("int32", "c = Cast<to = 6>(x) y = BitwiseNot(c)"),
    ),
    "a sum of squares": (
        words("int64", 1, "c = ReduceSumSquare<axes = [1]>(x) y = Cast<to = 7>(c)"),
        words("int64", 1, "c = Cast<to = 7>(x) y = ReduceSumSquare<axes = [1]>(c)"),
    ),
    "a mean of integers": (
        words("int32", 1, "c = ReduceMean<axes = [1]>(x) y = Sum(c, c, c, c)"),
        words("int32", 1, "a = Constant<value_ints = [1]>() y = ReduceSum(x, a)"),
    ),
    "a root of integers": (
        words("float", 1, "c = ReduceL2<axes = [1]>(x) y = Cast<to = 1>(c)"),
        words("float", 1, "c = Cast<to = 1>(x) y = ReduceL2<axes = [1]>(c)"),
    ),
    "to half and back": (KEPT, words("int32", 4, "h = Cast<to = 10>(x) y = Cast<to = 6>(h)")),
    "to float and back": (KEPT, words("int32", 4, "h = Cast<to = 1>(x) y = Cast<to = 6>(h)")),
    "a Clip whose lower bound is the upper one": (
        "graph (float[N,4] x, float a, float b) => (float[N,4] y) { y = Clip(x, a, b) }",
        "graph (float[N,4] x, float a, float b) => (float[N,4] y) { m = Min(x, b) y = Max(m, a) }",
    ),
    "saturation": (
        "graph (float[N,4] x) => (float8e5m2[N,4] y) { y = Cast<to = 19>(x) }",
        "graph (float[N,4] x) => (float8e5m2[N,4] y) { y = Cast<to = 19, saturate = 0>(x) }",
    ),
    "saturation of what is cast like another": (
        "graph (float[N,4] x) => (float8e5m2[N,4] y) { a = Cast<to = 19>(x) y = CastLike(x, a) }",
        "graph (float[N,4] x) => (float8e5m2[N,4] y) { a = Cast<to = 19>(x) y = CastLike<saturate = 0>(x, a) }",
    ),
}  # fmt: skip

SAME = {
    "to double and back": (KEPT, words("int32", 4, "h = Cast<to = 11>(x) y = Cast<to = 6>(h)")),
    "bytes to half and back": (
        BYTES.format("uint8", "y = Add(x, z)"),
        BYTES.format("uint8", "h = Cast<to = 10>(x) c = Cast<to = 2>(h) y = Add(c, z)"),
    ),
    "the sum of wide bytes": (
        BYTES.format("float", WIDE + "c = Add(a, b) y = Cast<to = 1>(c)"),
        BYTES.format("float", "a = Cast<to = 1>(x) b = Cast<to = 1>(z) y = Add(a, b)"),
    ),
    "a Clip between inputs": (
        "graph (float[N,4] x, float a, float b) => (float[N,4] y) { y = Clip(x, a, b) }",
        "graph (float[N,4] x, float a, float b) => (float[N,4] y) { m = Max(x, a) y = Min(m, b) }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_type_changes_is_another_function(name: str) -> None:
    assert not compared(*(text(graph, opset=19 if "saturation" in name else 18 if "bits" in name else 17)
                          for graph in FAULTS[name])).same  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_no_type_changes_is_the_same_function(name: str) -> None:
    assert compared(*map(text, SAME[name])).same


def test_operands_of_the_oldest_definitions_are_broadcast_by_an_axis() -> None:
    whole = "graph (float[N,3,3,3] x) => (float[N,3,3,3] y) <float[3] b> {{ y = Add<broadcast = 1, axis = {}>(x, b) }}"
    assert not compared(*(text(whole.format(axis), opset=6) for axis in (1, 3))).same


@pytest.mark.parametrize("given", ["group = 0", 'auto_pad = "SAME_LOWER"'])
def test_attributes_that_contradict_each_other_are_another_function(given: str) -> None:
    whole = "graph (float[N,1,7,5] x) => (float[N,1,4,2] y) <float[1,1,3,3] w> {{ y = Conv<{}>(x, w) }}"
    pads = "strides = [2, 2], pads = [1, 0, 1, 0]"
    assert not compared(*(text(whole.format(each)) for each in (pads, f"{pads}, {given}"))).same


def test_texts_are_constants_as_numbers_are() -> None:
    whole = 'graph (string[N,2] x) => (bool[N,2] y) <string[2] a = {{"p", "q"}}> {{ c = Equal(x, a) y = {}(c) }}'
    same, other = text(whole.format("Not"), opset=19), text(whole.format("Not").replace('"q"', '"r"'), opset=19)
    assert compared(same, same).proved
    assert compared(same, other).parted
