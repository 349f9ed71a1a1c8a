"""What is at the end of a network: softmaxes of every opset, norms, layout, and the choice of the best class."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from sliding_judge import CLOSE, at_crops, at_training_size, image, slid, with_outputs
from sliding_networks import network
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions

TAILS = {
    "softmax": ("y = Softmax <axis = 1> (s)", (8, 11, 13, 17)),
    "softmax of the last": ("y = Softmax <axis = -1> (s)", (11, 13)),
    "log": ("y = LogSoftmax <axis = 1> (s)", (9, 11, 13)),
    "hard": ("y = Hardmax <axis = 1> (s)", (9, 13)),
    "sigmoid": ("y = Sigmoid (s)", (9, 13)),
    "dropout": ("y = Dropout (s)", (9, 13)),
    "batch norm": ("y = BatchNormalization (s, g, h, m, v)", (9, 15)),
    "unsqueezed batch norm": (
        "u = Unsqueeze <axes = [2]> (s)  n = BatchNormalization (u, g, h, m, v)  y = Squeeze <axes = [2]> (n)",
        (9, 11),
    ),
    "constants": ("a = Mul (s, g)  y = Add (h, a)", (9, 13)),
    "reshape and back": ("q = Reshape (s, col)  t = Tanh (q)  y = Reshape (t, row)", (9, 13)),
    "transposes": (
        "q = Reshape (s, last)  t = Relu (q)  p = Transpose <perm = [0, 3, 1, 2]> (t)  y = Flatten (p)",
        (13,),
    ),
    "layer norm": ("y = LayerNormalization (s, g, h)", (17,)),
    "layer norm of dimensions of one element": (
        "q = Reshape (s, tall)  n = LayerNormalization <axis = -3> (q, g3, h3)  y = Flatten (n)",
        (17,),
    ),
    "split and joined": ("a, d = Split <axis = 1> (s, parts)  y = Concat <axis = 1> (d, a)", (13,)),
    "mean and variance": ("y = MeanVarianceNormalization <axes = [-1]> (s)", (9, 13)),
    "slice": ("a = Slice (s, one, five, one)  d = Slice (s, zero, one, one)  y = Concat <axis = -1> (a, d)", (13,)),
    "gather": ("y = Gather <axis = 1> (s, order)", (13,)),
    "two halves": ("a = Relu (s)  d = Neg (s)  e = Max (a, d)  y = Sum (e, s)", (13,)),
    "own softmax": (
        "m0 = ReduceMax <axes = [1]> (s)  d = Sub (s, m0)  e = Exp (d)  z = ReduceSum (e, one)  y = Div (e, z)",
        (13,),
    ),
    "zeros of its shape": ("z = Shape (s)  e = Expand (none, z)  p = Greater (s, none)  y = Where (p, s, e)", (9, 13)),
    "one score beside thresholds": ("q = ReduceSum <axes = [1]> (s)  y = Add (q, g)", (11,)),
    "norm of groups": (
        "q = Reshape (s, group)  i = InstanceNormalization (q, k1, n1)  z = Shape (s)  p = Reshape (i, z)"
        "  a = Mul (p, g)  y = Add (h, a)",
        (11,),
    ),
    "a one for each item": (
        "q = ReduceSum <axes = [1]> (s)  z = Shape (q)  o = ConstantOfShape (z)  j = Concat <axis = 1> (q, o)"
        "  t = MatMul (j, two)  y = Add (t, s)",
        (9,),
    ),
}
EXTRA = (
    ", float[5] g, float[5] h, float[5] m, float[5] v_var, int64[3] col = {0, 5, 1}, int64[2] row = {-1, 5}, "
    "int64[4] last = {-1, 1, 1, 5}, int64[2] parts = {2, 3}, int64[1] zero = {0}, int64[1] one = {1}, "
    "int64[1] five = {5}, int64[5] order = {4, 2, 0, 1, 3}, float none = {0}, float[2,5] two, "
    "int64[3] group = {0, 1, -1}, float[1] k1, float[1] n1, int64[4] tall = {0, 5, 1, 1}, "
    "float[5,1,1] g3, float[5,1,1] h3"
)


@pytest.mark.parametrize(("name", "opset"), [(name, opset) for name, (_, opsets) in TAILS.items() for opset in opsets])
def test_a_tail_is_the_same_at_every_cell(name: str, opset: int) -> None:
    original = network(TAILS[name][0].replace("m, v)", "m, v_var)"), opset, extra=EXTRA)
    sliding = slid(original, scope="all")
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (12, 14)) < CLOSE


def test_the_best_class_is_that_of_every_cell() -> None:
    original = network("y = ArgMax <axis = 1, keepdims = 0> (s)", outputs="int64[N] y")
    sliding = slid(original)
    given = image(original, {2: 12, 3: 12})
    (best,), scores = run(sliding, given), run(with_outputs(sliding, "s_s"), given)[1]
    assert best.shape == (1, 1, 3, 3)
    assert np.array_equal(best[:, 0], scores.argmax(1))


GRIDS = {
    "boxes": "y = Reshape (s, grid)",
    "boxes in another order": "q = Reshape (s, grid)  y = Transpose <perm = [0, 2, 1]> (q)",
    "a softmax of each": "q = Reshape (s, grid)  y = Softmax <axis = 2> (q)",
    "the largest of each": "q = Reshape (s, grid)  y = ReduceMax <axes = [2]> (q)",
    "all of them": "q = Reshape (s, grid)  p = Softmax <axis = 2> (q)  y = ReduceSum (p, axes)",
    "parts of each": "q = Reshape (s, grid)  a = Slice (q, i0, i1, i2)  b = Slice (q, i1, i3, i2)  d = Sigmoid (a)"
    "  e = Exp (b)  y = Concat <axis = 2> (e, d)",
}


@pytest.mark.parametrize("name", GRIDS)
def test_scores_in_several_dimensions_are_the_channels_of_a_map(name: str) -> None:
    original = parse(
        f"""g (float[N,2,8,8] x) => (float[A,B,C] y) <float[4,2,3,3] k, float[6,36] w, int64[3] grid = {{-1, 2, 3}},
            int64[2] axes = {{1, 2}}, int64[1] i0 = {{0}}, int64[1] i1 = {{1}}, int64[1] i2 = {{2}},
            int64[1] i3 = {{3}}>
        {{ c = Conv <strides = [2, 2]> (x, k)  f = Flatten (c)  [fc] s = Gemm <transB = 1> (f, w)  {GRIDS[name]} }}""",
        opset=13,
    )
    sliding = slid(original)
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (12, 14)) < CLOSE


def test_channels_on_both_sides_of_the_cells_are_those_of_a_map() -> None:
    original = parse(
        """g (float[1,2,8,8] x) => (float[1,2,6,6,3] y) <float[6,2,3,3] k, int64[5] grid = {1, 2, 3, 6, 6}>
        { c = Conv (x, k)  q = Reshape (c, grid)  t = Transpose <perm = [0, 1, 3, 4, 2]> (q)  y = Sigmoid (t) }"""
    )
    found = fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"
    given = image(original, {})
    (wanted,), (cells,) = run(original, given), run(found.model, given)
    assert np.array_equal(cells, wanted.transpose(0, 1, 4, 2, 3).reshape(cells.shape))


def test_numbers_for_the_whole_image_are_joined_as_channels() -> None:
    """The batch is one, so that each of them is a list of one element: its only dimension is that of the channels."""
    weights = ", ".join(f"{value:.3f}" for value in np.random.default_rng(0).standard_normal(48 * 3))
    model = parse(
        f"""g (float[1,3,4,4] x) => (float[2] y) <float[48,3] w = {{{weights}}}>
        {{ f = Flatten (x)  g = Gemm (f, w)  r = ReduceMean <axes = [1], keepdims = 0> (g)  s = Relu (r)
          y = Concat <axis = 0> (r, s) }}"""
    )
    result = fc2conv.convert(model, options=Options(sliding=SlidingOptions()))
    assert result.report.verification is not None
    assert result.report.verification.verdict == "proved"
    assert result.model is not None
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 5)).astype(np.float32)
    (cells,), crops = run(result.model, {"x": x}), [x[..., i : i + 4, j : j + 4] for i in range(3) for j in range(2)]
    wanted = np.stack([run(model, {"x": np.ascontiguousarray(crop)})[0] for crop in crops], 1).reshape(1, 2, 3, 2)
    np.testing.assert_allclose(cells, wanted, rtol=1e-4, atol=1e-5)


def test_a_map_of_one_cell_that_a_larger_one_spreads_and_that_is_joined_as_well() -> None:
    weights = ", ".join(f"{value:.3f}" for value in np.random.default_rng(0).standard_normal(6 * 6 * 2))
    model = parse(
        f"""g (float[1,6,1,2,1] x) => (float[A,B,C,D,E] j, float[F,G,H,I] y) <float[6,6,1,2,1] k = {{{weights}}}>
        {{ c = Conv (x, k)  j = Concat <axis = 1> (c, c)  t = Concat <axis = 2> (x, x, x)  m = Mul (c, t)
          y = Squeeze <axes = [4]> (m) }}""",
        opset=9,
    )
    result = fc2conv.convert(model, options=Options(sliding=SlidingOptions()))
    assert result.report.verification is not None
    assert result.report.verification.verdict == "proved"
