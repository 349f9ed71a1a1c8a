"""Pooling over the whole map in every form, in front of a layer, in a norm or in a gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import run
from sliding_judge import CLOSE, accepted, apart, at_crops, at_training_size, geometry, image, slid, with_outputs
from sliding_networks import HEAD, POOLED, Load, pooled
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions


@pytest.mark.parametrize("name", POOLED)
def test_pooling_slides_cell_by_cell(name: str) -> None:
    original = pooled(name)
    sliding = slid(original)
    assert [axis["stride"] for axis in geometry(sliding, "y")["axes"]] == [1, 1]
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (10, 13)) < CLOSE


@pytest.mark.parametrize("name", POOLED)
def test_kept_pooling_gives_one_answer(name: str) -> None:
    original = pooled(name)
    sliding = slid(original, global_pool="keep")
    assert at_training_size(original, sliding) < CLOSE
    (found,) = run(sliding, image(original, {2: 11, 3: 17}))
    assert found.shape == (1, 5, 1, 1)
    features = run(with_outputs(sliding, "c"), image(original, {2: 11, 3: 17}))[1]
    whole = features.max((2, 3)) if "Max" in name else features.mean((2, 3))
    weight = {t.name: t for t in original.graph.initializer}
    from onnx import numpy_helper

    wanted = whole @ numpy_helper.to_array(weight["w"]).T + numpy_helper.to_array(weight["b"])
    assert np.allclose(wanted, found[:, :, 0, 0], atol=1e-5)


def test_refused_pooling_is_an_obstacle(fixture: Load) -> None:
    report = fc2conv.plan(fixture("gap"), Options(sliding=SlidingOptions(global_pool="error"))).sliding
    assert report is not None
    assert [(obstacle.code, obstacle.node) for obstacle in report.obstacles] == [("FC505", "pool")]


def test_a_norm_over_the_image_reads_all_of_it() -> None:
    model = parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <{HEAD}, float[4] g, float[4] h>
        {{
          c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          [norm] r = InstanceNormalization (c, g, h)
          f = Flatten (r)
          [fc] y = Gemm <transB = 1> (f, w, b)
        }}"""
    )
    sliding = slid(model)
    assert at_training_size(model, sliding) < CLOSE
    assert geometry(sliding, "y")["axes"][0]["field"] is None
    assert at_crops(model, sliding, (12, 12)) > 100 * CLOSE
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions(verify_crops=True))).report
    assert report.sliding is not None
    assert report.sliding.padded
    assert [(pool.node, pool.action) for pool in report.sliding.pools] == [("norm", "within")]


def test_pooling_without_a_form_with_a_kernel_may_stand_within_the_backbone() -> None:
    """Global response normalization: the map is divided by its own norm."""
    model = parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <{HEAD}>
        {{
          c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          [norm] n = ReduceL2 <axes = [2, 3]> (c)
          r = Div (c, n)
          f = Flatten (r)
          [fc] y = Gemm <transB = 1> (f, w, b)
        }}"""
    )
    sliding = slid(model)
    assert at_training_size(model, sliding) < CLOSE
    assert run(sliding, image(model, {2: 12, 3: 14}))[0].shape == (1, 5, 3, 4)


def test_a_gate_of_two_poolings_with_kernels() -> None:
    """Channel attention as exported: the mean and the maximum of the whole map as AveragePool and MaxPool."""
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,4,6,6] y) <float[4,2,3,3] k, float[4,4] w, int64[2] cells = {2, 3}>
        {
          c = Conv <kernel_shape = [3, 3]> (x, k)
          a = AveragePool <kernel_shape = [6, 6], strides = [6, 6]> (c)
          m = MaxPool <kernel_shape = [6, 6], strides = [6, 6]> (c)
          fa = Flatten (a)  [one] ga = Gemm (fa, w)
          fm = Flatten (m)  [two] gm = Gemm (fm, w)
          s = Add (ga, gm)  g = Sigmoid (s)  u = Unsqueeze (g, cells)
          y = Mul (c, u)
        }"""
    )
    sliding = slid(original)
    given = image(original, {})
    assert np.allclose(run(original, given)[0], run(sliding, given)[0], atol=1e-6)
    assert {node.op_type for node in sliding.graph.node} >= {"GlobalAveragePool", "GlobalMaxPool"}
    assert run(sliding, image(original, {2: 11, 3: 19}))[0].shape == (1, 4, 9, 17)


@pytest.mark.parametrize("opset", [17, 18])
def test_a_reduction_that_names_no_axes_has_them_where_its_operator_set_keeps_them(opset: int) -> None:
    text = """g (float[1,2,9,9] x) => (float[1,4,7,7] y) <float[4,2,3,3] k>
        { c = Conv (x, k)  m = ReduceMean (c)  y = Mul (c, m) }"""
    original = parse(text, opset=opset)
    sliding = slid(original)
    assert at_training_size(original, sliding) < CLOSE
    found, features = run(with_outputs(sliding, "c"), image(original, {2: 11, 3: 17}))
    assert np.allclose(found, features * features.mean(), atol=1e-5)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceMax"])
def test_pooling_along_one_axis_is_kept_while_the_other_slides(axis: int, kind: str) -> None:
    text = """g (float[N,2,{},{}] x) => (float[N,5] y) <float[4,2,3,3] k, float[28,5] w, float[5] b>
        {{ c = Conv <strides = [2, 2]> (x, k)  r = {} <axes = [{}]> (c)  f = Flatten (r)  y = Gemm (f, w, b) }}"""
    original, other = parse(text.format(*((21, 16) if axis == 2 else (16, 21)), kind, axis)), 5 - axis
    sliding = accepted(parse(text.format(16, 16, kind, axis)), global_pool="keep")
    given = image(original, {other: 20})
    (found,) = run(sliding, given)
    assert found.shape[2:] == ((1, 3) if axis == 2 else (3, 1))
    for i in range(3):
        crop = np.take(given["x"], range(2 * i, 2 * i + 16), other)
        assert apart(run(original, {"x": crop})[0][0], np.take(found, i, other).reshape(-1)) < CLOSE


@pytest.mark.parametrize("options", [{"output_stride": 1}, {"padding": "same"}, {"padding": "valid"}])
def test_other_cells_along_the_axis_that_slides(options: dict[str, Any]) -> None:
    text = """g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] k, float[28,5] w, float[5] b>
        { c = Conv <strides = [2, 2]> (x, k)  r = ReduceMean <axes = [2]> (c)  f = Flatten (r)  y = Gemm (f, w, b) }"""
    sliding = accepted(parse(text), global_pool="keep", **options)
    plain, given = slid(parse(text), global_pool="keep"), image(sliding, {2: 21, 3: 24})
    first, every = (3, 1) if "same" in options.values() else (0, 2 if "output_stride" in options else 1)
    (before,), (now,) = run(plain, given), run(sliding, given)
    assert apart(before, now[..., first::every][..., : before.shape[3]]) < CLOSE


def test_an_answer_for_a_whole_axis_is_not_brought_to_the_size_of_the_image() -> None:
    text = """g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] k, float[28,5] w, float[5] b>
        { c = Conv <strides = [2, 2]> (x, k)  r = ReduceMean <axes = [2]> (c)  f = Flatten (r)  y = Gemm (f, w, b) }"""
    options = Options(sliding=SlidingOptions(global_pool="keep", upsample=True))
    report = fc2conv.plan(parse(text), options).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC512", "y")]


INTEGERS = {
    "a sum": """g = Greater (c, zero)
        i = Cast <to = 7> (g)  p = ReduceSum <keepdims = 0> (i, axes)  q = Cast <to = 1> (p)
        y = Gemm (q, w, b)""",
    "a maximum": """i = Cast <to = 6> (c)  p = ReduceMax <axes = [2, 3], keepdims = 0> (i)  q = Cast <to = 1> (p)
        y = Gemm (q, w, b)""",
}


@pytest.mark.parametrize("name", INTEGERS)
def test_no_kernel_pools_integers(name: str) -> None:
    original = parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[4,5] w, float[5] b, float zero = {{0.0}}, int64[2] axes = {{2, 3}}>
        {{ c = Conv (x, k)  {INTEGERS[name]} }}"""
    )
    report = fc2conv.plan(original, Options(sliding=SlidingOptions())).sliding
    assert report is not None
    (obstacle,) = report.obstacles
    kind = "int64" if name == "a sum" else "int32"
    assert (obstacle.code, obstacle.node) == ("FC506", "p")
    assert obstacle.detail.endswith(f"of {kind}")
    sliding, given = accepted(original, global_pool="keep"), image(original, {})
    assert np.allclose(run(original, given)[0], run(sliding, given)[0][:, :, 0, 0], atol=1e-5)


def test_a_norm_of_a_map_that_has_cells_along_a_fixed_axis_alone() -> None:
    original = parse(
        """g (float[N,2,16,3] x) => (float[N,5] y) <float[4,2,3,3] k, float[4] s, float[4] t, float[56,5] w, float[5] b>
        { c = Conv (x, k)  n = InstanceNormalization (c, s, t)  r = Relu (n)  f = Flatten (r)  y = Gemm (f, w, b) }"""
    )
    assert at_training_size(original, accepted(original, input_axes={"x": (3,)})) < CLOSE
