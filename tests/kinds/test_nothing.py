"""Maps without elements, and what nodes select, which may be nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import difference, run
from proving_kinds import ints, proved
from typed import floats, kernels, model

Arrays = dict[str, Any]

NOTHING = {
    "slice": "p = Slice (x, nil, one, axis)  f = Flatten (p)  [fc] y = Gemm (f, w)",
    "rows": "p = Slice (x, nil, one, axis)  f = Reshape (p, s)  r = Relu (f)  [fc] y = Gemm (r, w)",
    "gather": "p = Gather <axis = 0> (x, none)  f = Flatten (p)  [fc] y = Gemm (f, w)",
}


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("name", NOTHING)
def test_a_map_without_elements_is_left(name: str, scope: str) -> None:
    arrays: Arrays = {"nil": ints(0), "one": ints(-1), "axis": ints(0), "none": ints(), "s": ints(-1, 24)}
    used = {key: value for key, value in arrays.items() if key in NOTHING[name]} | {"w": floats((24, 5))}
    original = model(f"graph (float[1,4,3,2] x) => (float[M,5] y) {{ {NOTHING[name]} }}", used, 17)
    result, report = proved(original, scope=scope)
    assert kernels(report) == {"fc": "FC106"}
    assert result == original


@pytest.mark.parametrize(
    ("rows", "node", "expected"),
    [
        ("i = NonZero (g)  t = Transpose (i)  q = GatherND (x, t)", "", "convert"),  # [count, 8]: they are the batch
        ("i = NonZero (g)  t = Transpose (i)  r = GatherND (x, t)  q = Unsqueeze (r, nil)", "i", "FC106"),
        ("f = Squeeze (g, nil)  [select] q = Compress <axis = 1> (x, f)", "select", "FC106"),
    ],
)
def test_a_layer_of_what_is_selected_runs_where_nothing_is(rows: str, node: str, expected: str) -> None:
    text = f"""graph (float[1,T,8] x) => (y)
    {{ z = ReduceMean <axes = [2], keepdims = 0> (x)  g = Greater (z, o)  {rows}  [fc] y = MatMul (q, w) }}"""
    arrays = {"o": floats((1,)) * 0, "w": floats((8, 5)), "nil": ints(0)}
    original = model(text, {key: value for key, value in arrays.items() if key != "nil" or "nil" in rows}, 17)
    result, report = proved(original, scope="all")
    (layer,) = report.sites
    assert (layer.reason.code if layer.reason else "convert") == expected
    assert layer.reason is None or layer.reason.node == node
    for x in (floats((1, 6, 8)), -np.abs(floats((1, 6, 8)))):
        before, after = run(original, {"x": x}), run(result, {"x": x})
        assert [each.shape for each in before] == [each.shape for each in after]
        assert not before[0].size or difference(before, after) < 1e-5


@pytest.mark.parametrize(("first", "expected"), [(0, "convert"), (1, "FC106")])
def test_a_part_of_the_batch_may_be_empty(first: int, expected: str) -> None:
    """Where the batch is one item, the second to third is none, over which no convolution runs."""
    text = """graph (float[N,1,2,1] x) => (y, z)
    { t = Transpose <perm = [1, 0, 2, 3]> (x)  m = GlobalAveragePool (t)  z = Mul (m, t)
      [part] p = Slice (m, b, e, a)  [fc] y = MatMul (p, w) }"""
    original = model(text, {"b": ints(first), "e": ints(first + 2), "a": ints(1), "w": floats((1, 5))}, 17)
    result, report = proved(original, scope="all")
    (layer,) = report.sites
    assert (layer.reason.code if layer.reason else "convert") == expected
    assert layer.reason is None or layer.reason.node == "part"
    for items in (1, 2, 4):
        x = floats((items, 1, 2, 1))
        assert difference(run(original, {"x": x}), run(result, {"x": x})) < 1e-5


def test_a_part_of_all_elements_of_a_batch_may_be_empty() -> None:
    """Behind Flatten <axis = 0> one item has six elements, and the seventh to eighth are those of a second one."""
    text = """graph (float[N,3,2,1] x) => (y)
    { f = Flatten <axis = 0> (x)  u = Unsqueeze (f, last)
      [part] p = Slice (u, b, e, a)  [fc] y = MatMul (p, w) }"""
    arrays = {"last": ints(2), "b": ints(6), "e": ints(8), "a": ints(1), "w": floats((1, 5))}
    original = model(text, arrays, 17)
    result, report = proved(original, scope="all")
    (layer,) = report.sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC106", "part")
    for items in (1, 2, 4):
        x = floats((items, 3, 2, 1))
        assert difference(run(original, {"x": x}), run(result, {"x": x})) < 1e-5


def test_a_value_whose_name_begins_with_a_zero_is_not_empty() -> None:
    """As older exporters number them; its open batch has no name."""
    original = model(
        "graph (float[N,4,3,2] x) => (float[N,5] y) { f = Flatten (x)  y = MatMul (f, w) }", {"w": floats((24, 5))}
    )
    original.graph.input[0].name = original.graph.node[0].input[0] = "0"
    original.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    assert len(proved(original)[1].converted) == 1
