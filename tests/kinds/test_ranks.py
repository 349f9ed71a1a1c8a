"""Ranks, places of axes, and shapes that a node passes on: each conversion runs wherever the original does."""

from __future__ import annotations

import numpy as np
import pytest
from execute import difference, run
from proving_kinds import ints, proved
from typed import floats, kernels, model

import fc2conv


def test_a_global_pool_keeps_the_rank_of_what_it_reads() -> None:
    """A map of one dimension whose channels are one: behind the pool all sizes are 1, whatever its rank."""
    text = """graph (float[2,6,5] x) => (y)
    { c = Conv (x, k)  g = GlobalMaxPool (c)  [first] e = Einsum <equation = "abc,mco->aomb"> (g, m)
      [second] n = MatMul (e, w)  d = Conv (n, p)  f = Flatten (d)  [head] y = Gemm (f, h) }"""
    arrays = {"k": floats((1, 6, 3)), "m": floats((2, 1, 1)), "w": floats((1, 6)), "p": floats((3, 1, 1, 2)),
              "h": floats((30, 4))}  # fmt: skip
    original = model(text, arrays, 13)
    result, report = proved(original)
    assert "first" in kernels(report)
    feed = {"x": floats((2, 6, 5))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_kernel_without_places_tells_no_rank() -> None:
    """No runtime takes such a Conv; a layer beside it is planned as in any model."""
    text = """graph (float[N,3,4,3] x, float[N,8] z) => (c, float[N,5] y)
    { c = Conv (x, k)  [fc] y = MatMul (z, w) }"""
    original = model(text, {"k": floats((4, 3)), "w": floats((8, 5))}, 17)
    report = fc2conv.convert(original, options=fc2conv.Options(scope="all", verify=False)).report
    assert kernels(report) == {"fc": [1, 1]}


def test_a_global_pool_over_a_squeezed_volume() -> None:
    text = """graph (float[1,3,1,1,1] x) => (y, z)
    { c = Conv (x, k)  s = Squeeze (x, axes)  [fc] y = MatMul (s, w)  z = GlobalMaxPool (s) }"""
    arrays = {"k": floats((3, 3, 1, 1, 1)), "axes": ints(3, 4), "w": floats((1, 5))}
    original = model(text, arrays, 17)
    result, report = proved(original)
    assert "fc" in kernels(report)
    feed = {"x": floats((1, 3, 1, 1, 1))}
    before, after = run(original, feed), run(result, feed)
    assert [each.shape for each in before] == [each.shape for each in after]
    assert difference(before, after) < 1e-5


@pytest.mark.parametrize("equation", ["abcd,modbc->moab", "abcd,cmobd->amcob", "abcd,dbmo->abmoc"])
def test_matrices_for_an_axis_beside_several_that_are_summed(equation: str) -> None:
    """All axes have one size, so that a wrong one would pass for the right one."""
    letters = equation.partition(",")[2].partition("-")[0]
    text = f"""graph (float[3,3,3,3] x) => (y) {{ [fc] y = Einsum <equation = "{equation}"> (x, w) }}"""
    original = model(text, {"w": floats(tuple(2 if each in "mo" else 3 for each in letters))}, 17)
    result, report = proved(original, scope="all")
    assert "fc" in kernels(report)
    feed = {"x": floats((3, 3, 3, 3))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_what_an_attention_gives_is_as_its_queries_are() -> None:
    """The Attention of ONNX itself has a row for each query, as those of onnxruntime have."""
    text = """graph (float[N,16,4,4] x) => (y)
    { c = Conv (x, k)  r = Reshape (c, s)  t = Transpose <perm = [0, 2, 1]> (r)
      q = MatMul (t, wq)  e = MatMul (t, wk)  v = MatMul (t, wv)
      a = Attention <q_num_heads = 4, kv_num_heads = 4> (q, e, v)
      [out] o = MatMul (a, wo)  h = Add (o, t)  y = Transpose <perm = [0, 2, 1]> (h) }"""
    arrays = {name: floats((16, 16), seed=i) for i, name in enumerate(("wq", "wk", "wv", "wo"))}
    original = model(text, arrays | {"k": floats((16, 16, 1, 1)), "s": ints(0, 16, 16)}, 23)
    result, report = proved(original)
    assert "out" in kernels(report)
    feed = {"x": floats((2, 16, 4, 4))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_cast_to_the_type_of_another_value() -> None:
    text = """graph (float[N,4,3,2] x, float16[1] like) => (y, z)
    { h = CastLike (x, like)  c = CastLike (h, x)  f = Flatten (c)  [fc] y = Gemm (f, w)  z = Add (like, like) }"""
    original = model(text, {"w": floats((24, 5))}, 19)
    result, report = proved(original)
    assert kernels(report) == {"fc": [3, 2]}
    feed = {"x": floats((2, 4, 3, 2)), "like": np.ones(1, np.float16)}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_weights_that_are_declared_as_inputs_change_their_shape() -> None:
    """Files of older versions list their initializers among the inputs, with the shapes that these have."""
    text = "graph (float[N,4,3,2] x, float[24,5] w) => (float[N,5] y) { f = Flatten (x)  [fc] y = Gemm (f, w) }"
    original = model(text, {"w": floats((24, 5))}, 11)
    original.ir_version = 3
    result, report = proved(original)
    assert kernels(report) == {"fc": [3, 2]}
    feed = {"x": floats((2, 4, 3, 2))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_layer_over_a_value_of_rank_5_beside_one_with_a_frame_of_its_own() -> None:
    """The second layer sums over a matrix's own axis, so that its frame has the rank of the network's convolutions."""
    text = """graph (float[N,1,1,2,1] x) => (y, z)
    { [first] y = Einsum <equation = "bm,abcde->daemc"> (k, x)
      e = Einsum <equation = "bcmo,...bcde->...bdemo"> (m, x)  [second] n = MatMul (w, e)
      c = Concat <axis = -4> (n, n)  [third] z = Einsum <equation = "abcdef,ebm->acdmf"> (c, t) }"""
    arrays = {"k": floats((1, 5)), "m": floats((1, 1, 2, 3)), "w": floats((4, 2)), "t": floats((4, 1, 7))}
    original = model(text, arrays, 17)
    result, report = proved(original, scope="all")
    assert kernels(report)["second"] == [1, 1]
    feed = {"x": floats((2, 1, 1, 2, 1))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_border_that_is_cut_off_by_an_attribute() -> None:
    """Before opset 11 a Pad has no operands; a network of one dimension is lifted."""
    text = """graph (float[1,5,5] x) => (y) { c = Conv (x, k)  p = Pad <pads = [0, -1, -1, 0, 0, 1], value = 0.5> (c)
      d = Conv (p, m)  f = Flatten (d)  [fc] y = MatMul (f, w) }"""
    original = model(text, {"k": floats((5, 5, 2)), "m": floats((3, 4, 1)), "w": floats((12, 5))}, 7)
    result, report = proved(original, conv_rank="2d")
    assert kernels(report) == {"fc": [1, 4]}
    feed = {"x": floats((1, 5, 5))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5
