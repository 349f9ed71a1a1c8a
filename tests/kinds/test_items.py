"""Open batches of which the graph takes few sizes, and positions along them."""

from __future__ import annotations

from typing import Any

import pytest
from execute import difference, run
from proving_kinds import ints, proved
from typed import floats, kernels, model

Arrays = dict[str, Any]


BOTH = {"v": floats((5, 2)), "b": floats((2,))}
FEW: dict[str, tuple[str, Arrays, tuple[int, ...]]] = {
    "a factor": ("t = Transpose <perm = [1, 0]> (r)  z = MatMul (t, one)", {"one": floats((1, 3))}, (1,)),
    "a split": ("t = Transpose <perm = [1, 0]> (r)  z, q = Split <axis = 1> (t, parts)", {"parts": ints(2, 1)}, (3,)),
    "a product": ("z = MatMul (r, r)", {}, (5,)),
    "matrices": ("t = Reshape (r, s)  z = MatMul (t, three)", {"s": ints(0, 1, 5), "three": floats((3, 5, 2))}, (1, 3)),
    "slopes": ("t = Transpose <perm = [1, 0]> (r)  p = PRelu (t, rows)  z = MatMul (p, two)",
               {"rows": floats((2,)), "two": floats((2, 3))}, (2,)),
    "a sum": ("z = Add (r, rows)", {"rows": floats((3, 1))}, (1, 3)),
    "another sum": ("t = Transpose <perm = [1, 0]> (r)  u = Add (t, rows)  z = Softmax (u)",
                    {"rows": floats((5, 3))}, (1, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_items_of_which_the_graph_takes_few(name: str) -> None:
    """The layer is beside what runs with so many items alone: the proof is made at those sizes."""
    nodes, arrays, sizes = FEW[name]
    text = f"""graph (float[N,4,3,2] x) => (y, z)
    {{ f = Flatten (x)  [fc] r = Gemm <alpha = -1.3> (f, w)  [two] y = Gemm (r, v, b)  {nodes} }}"""
    original = model(text, {"w": floats((24, 5)), **BOTH, **arrays}, 17)
    result, report = proved(original, scope="all")
    assert {"fc", "two"} <= kernels(report).keys()
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    for size in sizes:
        feed = {"x": floats((size, 4, 3, 2))}
        assert difference(run(original, feed), run(result, feed)) < 1e-5


@pytest.mark.parametrize("rows", [1, 3])
def test_items_that_a_sum_repeats_are_not_as_many_as_its_constant(rows: int) -> None:
    """One item is repeated to three: the layer that reads the three says nothing of how many there were."""
    text = """graph (float[N,4] x) => (y)
    { m = ReduceMax <axes = [1], keepdims = 0> (x)  s = Max (m, three)  [fc] y = MatMul (s, w) }"""
    original = model(text, {"three": floats((3,)), "w": floats((3, 5))}, 17)
    result, report = proved(original, scope="all")
    assert len(report.converted) == 1
    feed = {"x": floats((rows, 4))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_position_is_counted_in_items() -> None:
    """Each item has 32 rows: 128 rows are 4 items, which are few enough to run."""
    text = """graph (float[N,4,2,2] x) => (y)
    { [fc] m = MatMul (x, w)  f = Flatten <axis = 0> (m)  y = Slice (f, from, to, axis) }"""
    arrays = {"w": floats((2, 4)), "from": ints(11), "to": ints(128), "axis": ints(1)}
    original = model(text, arrays, 17)
    result, report = proved(original, scope="all")
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    for size in (1, 3, 5):
        feed = {"x": floats((size, 4, 2, 2))}
        assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_what_has_no_shape_is_proved_behind_rounded_weights() -> None:
    """How many indices NonZero finds is not known: its operand is compared as any other."""
    text = """graph (float[N,4,3,2] x) => (y)
    { f = Flatten (x)  [fc] r = Gemm <alpha = -1.3> (f, w)  i = NonZero (r)  y = Cast <to = 1> (i) }"""
    original = model(text, {"w": floats((24, 5))}, 17)
    _, report = proved(original)
    assert report.verification is not None
    assert report.verification.verdict == "proved"
