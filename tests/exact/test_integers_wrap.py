"""What is so of numbers is not so of integers that wrap around."""

from __future__ import annotations

import execute
import numpy as np
import pytest
from exact_models import compared, text
from onnx import numpy_helper

NEGATIVE = "n = Sub(z, x) "
PAIRS = {
    "the sign of a negative": ("y = Sign(x)", NEGATIVE + "s = Sign(n) y = Sub(z, s)"),
    "the least": ("y = ReduceMin<axes = [1]>(x)", NEGATIVE + "s = ReduceMax<axes = [1]>(n) y = Sub(z, s)"),
    "the place of the least": (
        "i = ArgMin<axis = 1>(x) y = Cast<to = {kind}>(i)",
        NEGATIVE + "i = ArgMax<axis = 1>(n) y = Cast<to = {kind}>(i)",
    ),
    "the least of a TopK": (
        "y, i = TopK<axis = 1, largest = 0>(x, one)",
        NEGATIVE + "w, i = TopK<axis = 1>(n, one) y = Sub(z, w)",
    ),
}
EXTREMES = {"int64": 7, "int8": 3}


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("name", PAIRS)
def test_negatives_of_integers_are_no_mirror(name: str, kind: str) -> None:
    head = f"graph ({kind}[N,4] x) => ({kind}[A,B] y) <{kind} z = {{0}}, int64[1] one = {{1}}>"
    one, other = (text(f"{head} {{ {each.format(kind=EXTREMES[kind])} }}") for each in PAIRS[name])
    least = np.iinfo(kind).min
    inputs = {"x": np.array([[least, 0, 5, 7], [3, 1, least, 2]], kind)}
    if not ((kind == "int8" and "place" in name) or "TopK" in name):  # onnxruntime has these of other types
        assert not np.array_equal(*(execute.run(each, inputs)[0] for each in (one, other)))
    assert not compared(one, other).proved


WITH_ZEROS = {
    "Pad": "a = Add(c, five) q = Pad(a, p) s = Sub(q, five)",
    "Trilu": "a = Add(c, five) q = Trilu(a) s = Sub(q, five)",
    "Relu": "n = Sub(none, c) z = Sub(n, five) q = Relu(z) s = Sub(q, five)",
}
"""What writes zeros among numbers that are 5 and more, or -5 and less; less 5 they are negative."""


@pytest.mark.parametrize("name", WITH_ZEROS)
def test_zeros_that_a_node_writes_are_within_the_bounds_of_its_result(name: str) -> None:
    head = """graph (uint8[4,4] x) => (int32[A,B] y)
        <int64[4] p = {0, 1, 0, 1}, int32 five = {5}, int32 none = {0}> { c = Cast<to = 6>(x) """
    one, other = (text(f"{head} {WITH_ZEROS[name]} {last} }}") for last in ("y = Relu(s)", "y = Identity(s)"))
    inputs = {"x": np.arange(16, dtype=np.uint8).reshape(4, 4)}
    assert not np.array_equal(*(execute.run(each, inputs)[0] for each in (one, other)))
    assert not compared(one, other).proved


@pytest.mark.parametrize(
    ("function", "kind", "same"),
    [("Neg", "int8", False), ("Abs", "int8", False), ("Neg", "float16", True), ("Relu", "int8", True)],
)
def test_a_type_of_integers_has_no_negative_of_each(function: str, kind: str, same: bool) -> None:
    code = {"int8": 3, "float16": 10}[kind]
    head = f"graph ({kind}[N,4] x) => (float[N,4] y)"
    one, other = (
        text(f"{head} {{ f = Cast<to = 1>(x) n = {function}(f) {each} }}")
        for each in ("y = Identity(n)", f"c = Cast<to = {code}>(n) y = Cast<to = 1>(c)")
    )
    inputs = {"x": np.array([[-128, 127, 5, -3]], kind)}
    assert np.array_equal(*(execute.run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same


@pytest.mark.parametrize(("kind", "by", "same"), [("uint8", 3, False), ("int8", 2, False), ("uint8", 5, True)])
def test_a_type_of_integers_has_not_those_of_another(kind: str, by: int, same: bool) -> None:
    head = f"graph ({kind}[N,4] x) => (float[N,4] y)"
    one, other = (
        text(f"{head} {{ f = Cast<to = 1>(x) {each} }}")
        for each in ("y = Identity(f)", f"c = Cast<to = {by}>(f) y = Cast<to = 1>(c)")
    )
    inputs = {"x": np.array([[-100, 127, 5, 3]]).astype(kind)}
    assert np.array_equal(*(execute.run(each, inputs)[0] for each in (one, other))) == same
    assert compared(one, other).proved == same


@pytest.mark.parametrize("same", [True, False])
def test_the_same_bits_are_other_numbers_in_another_type(same: bool) -> None:
    """As small integers are small numbers of 16 bits, of another size."""
    head = "graph (bool[N,65] x) => (float16[N,64] y) {{ u = Cast<to = {}>(x) {} }}"
    one = text(head.format(2, "i = MatMulInteger(u, w) y = Cast<to = 10>(i)"))
    other = text(head.format(10, "y = MatMul(u, w)"))
    whole = np.random.default_rng(0).integers(0, 3, (65, 64)).astype(np.int16)
    numbers = whole.astype(np.float16) if same else whole.view(np.float16)
    for model, weight in ((one, whole.astype(np.int8)), (other, numbers)):
        model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    inputs = {"x": np.ones((2, 65), bool)}
    assert np.allclose(*(execute.run(each, inputs)[0] for each in (one, other)), rtol=0.01) == same
    assert compared(one, other).proved == same
