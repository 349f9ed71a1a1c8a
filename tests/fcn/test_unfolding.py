"""What computes with the flattened map of a window: each cell is the original on its crop, and that is proved."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from execute import run
from sliding_judge import CLOSE
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions

_NORM = """m = ReduceMean <axes = [1]> (f)  z = Sub (f, m)  q = Mul (z, z)  v = ReduceMean <axes = [1]> (q)
e = Add (v, one)  s = Sqrt (e)  d = Div (z, s)"""
_POOLED = "r = Reshape (c, rows)  a = Softmax (r)  p = Mul (a, {of})  d = ReduceSum <keepdims = 0> (p, last)"
NETWORKS = {
    "a norm": "f = Flatten (c)  d = LayerNormalization <axis = 1> (f, scale, shift)",
    "a norm of a map": "d = LayerNormalization <axis = 1> (c, whole, shift_whole)",
    "a norm as reductions": f"f = Flatten (c)  {_NORM}",
    "a norm of length 1": "f = Flatten (c)  n = ReduceL2 <axes = [1]> (f)  d = Div (f, n)",
    "a length that is spread": """f = Flatten (c)  n = ReduceL2 <axes = [1]> (f)  l = Clip (n, one)  s = Shape (f)
        g = Expand (l, s)  d = Div (f, g)""",
    "shares of what is not negative": "q = Relu (c)  f = Flatten (q)  n = ReduceL1 <axes = [1]> (f)  d = Div (f, n)",
    "the same in one node": "f = Flatten (c)  d = LpNormalization <axis = 1> (f)",
    "a share of the greatest": "f = Flatten (c)  n = ReduceMax <axes = [1]> (f)  d = Div (f, n)",
    "a factor for each feature": "f = Flatten (c)  m = Mul (f, scale)  d = Add (m, shift)",
    "channels last": "t = Transpose <perm = [0, 2, 3, 1]> (c)  f = Flatten (t)  d = Mul (f, scale)",
    "a norm for each feature": "f = Flatten (c)  d = BatchNormalization (f, scale, shift, shift, v_var)",
    "positions": "d = Add (c, whole)",
    "a window and its cells": "e = Conv (c, kernel)  d = Add (c, e)",
    "a mean of places": "m = Mul (c, whole)  d = GlobalAveragePool (m)",
    "the sum of powers": "d = ReduceLogSumExp <axes = [2, 3]> (c)",
    "attention over the cells": _POOLED.format(of="r"),
    "attention over the cells, as a product": """r = Reshape (c, rows)  t = Transpose <perm = [0, 2, 1]> (r)
        a = Softmax <axis = 2> (r)  d = MatMul (a, t)""",
    "attention between the cells": """r = Reshape (c, rows)  t = Transpose <perm = [0, 2, 1]> (r)  q = MatMul (t, r)
        a = Softmax <axis = 2> (q)  d = MatMul (a, t)""",
    "places that attention sees": _POOLED.format(of="places"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_cell_is_the_original_on_its_crop(name: str) -> None:
    body = NETWORKS[name]
    columns = {"ReduceSum": 4, "GlobalAveragePool": 4, "LogSumExp": 4, "as a product": 16}
    count = next((size for word, size in columns.items() if word in name + body), 80)
    model = parse(
        f"""g (float[N,2,6,7] x) => (float[N,5] y) <float[4,2,3,3] k, float[{count},5] w, float[80] scale,
            float one = {{1}}, float[80] shift, float[80] v_var, float[4,4,5] whole, float[4,4,5] shift_whole,
            float[4,4,4,5] kernel, int64[3] rows = {{0, 4, 20}}, int64[1] last = {{2}}, float[20] places>
        {{ c = Conv (x, k)  {body}  f_last = Flatten (d)  y = MatMul (f_last, w) }}""",
        opset=17,
    )
    done = fc2conv.convert(model, options=Options(sliding=SlidingOptions()))
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert done.report.sliding is not None
    assert [pool.action for pool in done.report.sliding.pools if pool.action != "slide"] == []
    assert done.model is not None
    image = np.random.default_rng(0).standard_normal((2, 2, 8, 9)).astype(np.float32)
    (cells,) = run(done.model, {"x": image})
    assert cells.shape == (2, 5, 3, 3)
    for row, column in product(range(3), range(3)):
        (crop,) = run(model, {"x": image[:, :, row : row + 6, column : column + 7]})
        assert np.abs(cells[:, :, row, column] - crop).max() < CLOSE * np.abs(crop).max()


@pytest.mark.parametrize(
    "sliding", [SlidingOptions(padding="same"), SlidingOptions(output_stride=1)], ids=["same", "1"]
)
def test_the_windows_of_other_cells(sliding: SlidingOptions) -> None:
    model = parse(
        """g (float[N,2,12,12] x) => (float[N,5] y) <float[4,2,3,3] k, float[144,5] w, float[144] scale>
        { c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, k)  f = Flatten (c)
          d = LayerNormalization <axis = 1> (f, scale)  y = MatMul (d, w) }""",
        opset=17,
    )
    found = fc2conv.convert(model, options=Options(sliding=sliding)).report.verification
    assert found is not None
    assert found.verdict == "proved"


def test_a_norm_of_the_image_in_a_backbone_stays_that_of_the_image() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[4,4,3,3] l, float[64,5] w>
        { c = Conv (x, k)  n = ReduceL2 <axes = [1, 2, 3]> (c)  d = Div (c, n)  e = Conv (d, l)  f = Flatten (e)
          y = MatMul (f, w) }"""
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions())).report.sliding
    assert report is not None
    assert [(pool.node, pool.action) for pool in report.pools] == [("n", "within")]


@pytest.mark.parametrize("body", ["m = ReduceMean <axes = [1, 2, 3]> (c)  y = Sub (c, m)", "y = Add (c, places)"])
def test_a_map_of_cells_is_no_map_of_windows(body: str) -> None:
    """Where the output is the map itself, its cells do not become channels."""
    model = parse(
        f"""g (float[N,2,8,8] x) => (float[N,4,6,6] y) <float[4,2,3,3] k, float[1,1,6,6] places>
        {{ c = Conv (x, k)  {body} }}"""
    )
    report = fc2conv.plan(model, Options(sliding=SlidingOptions())).sliding
    assert report is not None
    found = [pool.action for pool in report.pools] + [obstacle.code for obstacle in report.obstacles]
    assert found == (["within"] if "ReduceMean" in body else ["FC502"])
