"""What stands on the way and at the end of a network: softmaxes of every opset, pooling, norms, and what is chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from execute import run
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from sliding_judge import CLOSE, apart, at_crops, at_training_size, geometry, image, slid, with_outputs
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import UsageError

Load = Callable[[str], ModelProto]
HEAD = "float[4,2,3,3] k, float[5,36] w, float[5] b"
"""A convolution without padding of [N,2,8,8], every second pixel, and a layer over its 4x3x3 map."""


def network(tail: str, opset: int = 13, outputs: str = "float[N,5] y", extra: str = "") -> ModelProto:
    """An unpadded network whose scores are `s` [N,5]; `tail` makes the output of it."""
    return parse(
        f"""g (float[N,2,8,8] x) => ({outputs}) <{HEAD}{extra}>
        {{
          c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          r = Relu (c)
          f = Flatten (r)
          [fc] s = Gemm <transB = 1> (f, w, b)
          {tail}
        }}""",
        opset=opset,
    )


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
    "split and joined": ("a, d = Split <axis = 1> (s, parts)  y = Concat <axis = 1> (d, a)", (13,)),
    "slice": ("a = Slice (s, one, five, one)  d = Slice (s, zero, one, one)  y = Concat <axis = -1> (a, d)", (13,)),
    "gather": ("y = Gather <axis = 1> (s, order)", (13,)),
    "two halves": ("a = Relu (s)  d = Neg (s)  e = Max (a, d)  y = Sum (e, s)", (13,)),
    "own softmax": (
        "m0 = ReduceMax <axes = [1]> (s)  d = Sub (s, m0)  e = Exp (d)  z = ReduceSum (e, one)  y = Div (e, z)",
        (13,),
    ),
}
EXTRA = (
    ", float[5] g, float[5] h, float[5] m, float[5] v_var, int64[3] col = {0, 5, 1}, int64[2] row = {-1, 5}, "
    "int64[4] last = {-1, 1, 1, 5}, int64[2] parts = {2, 3}, int64[1] zero = {0}, int64[1] one = {1}, "
    "int64[1] five = {5}, int64[5] order = {4, 2, 0, 1, 3}"
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


# ------------------------------------------------------------------ pooling over the whole map

POOLED = {
    "GlobalAveragePool": ("p = GlobalAveragePool (c)  f = Flatten (p)", 13),
    "GlobalMaxPool": ("p = GlobalMaxPool (c)  f = Flatten (p)", 13),
    "ReduceMean": ("f = ReduceMean <axes = [2, 3], keepdims = 0> (c)", 13),
    "ReduceMean, kept dimensions": ("p = ReduceMean <axes = [-1, -2]> (c)  f = Reshape (p, row)", 13),
    "ReduceMean of opset 18": ("p = ReduceMean (c, axes)  f = Flatten (p)", 18),
    "twice ReduceMean": (
        "q = ReduceMean <axes = [3], keepdims = 0> (c)  f = ReduceMean <axes = [2], keepdims = 0> (q)",
        13,
    ),
    "tokens": ("q = Reshape (c, rows)  f = ReduceMean <axes = [2], keepdims = 0> (q)", 13),
    "channels last": (
        "t = Transpose <perm = [0, 2, 3, 1]> (c)  f = ReduceMean <axes = [1, 2], keepdims = 0> (t)",
        13,
    ),
    "ReduceMax": ("f = ReduceMax <axes = [2, 3], keepdims = 0> (c)", 13),
    "AveragePool": ("p = AveragePool <kernel_shape = [6, 6]> (c)  f = Flatten (p)", 13),
    "AveragePool, wide stride": ("p = AveragePool <kernel_shape = [6, 6], strides = [6, 6]> (c)  f = Flatten (p)", 9),
    "AveragePool, larger than the map": (
        "p = AveragePool <kernel_shape = [7, 8], pads = [0, 1, 1, 1]> (c)  f = Flatten (p)",
        9,
    ),
    "squeezed": ("p = GlobalAveragePool (c)  f = Squeeze <axes = [2, 3]> (p)", 11),
}


def pooled(name: str) -> ModelProto:
    body, opset = POOLED[name]
    return parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,4] w, float[5] b,
            int64[2] row = {{-1, 4}}, int64[3] rows = {{0, 4, 36}}, int64[2] axes = {{2, 3}}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body}  [fc] y = Gemm <transB = 1> (f, w, b) }}""",
        opset=opset,
    )


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


# ------------------------------------------------------------------ outputs


def test_logits_in_place_of_probabilities(fixture: Load) -> None:
    original = fixture("unpadded")
    sliding = slid(original, score_map={"": "logits"})
    assert [value.name for value in sliding.graph.output] == ["h"]
    given = image(original, {2: 26, 3: 26})
    logits, probabilities = run(sliding, given)[0], run(slid(original), given)[0]
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(shifted / shifted.sum(1, keepdims=True), probabilities, atol=1e-6)


def test_probabilities_in_place_of_logits(fixture: Load) -> None:
    original = fixture("gap")
    sliding = slid(original, score_map={"logits": "probabilities"})
    (found,) = run(sliding, image(original, {2: 32, 3: 40}))
    assert [value.name for value in sliding.graph.output] == ["logits_probabilities"]
    assert found.shape == (1, 5, 4, 6)
    assert np.allclose(found.sum(1), 1, atol=1e-6)
    assert run(slid(fixture("unpadded"), score_map={"": "probabilities"}), image(fixture("unpadded"), {}))


@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("name", ["gap", "audio", "volume"])
def test_a_pooled_answer_stands_beside_the_map(kind: str, name: str, fixture: Load) -> None:
    sliding = slid(fixture(name), reduce=kind)
    names = [value.name for value in sliding.graph.output]
    assert names == [names[0], f"{names[0]}_{kind}"]
    axes = geometry(sliding, names[0])["axes"]
    cells, answer = run(sliding, image(sliding, {axis["dim"]: axis["size"] + 9 for axis in axes}))
    over = tuple(range(2, cells.ndim))
    assert answer.shape == cells.shape[:2]
    assert np.allclose(cells.mean(over) if kind == "mean" else cells.max(over), answer, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sizes"), [("gap", {2: 31, 3: 44}), ("keras_nhwc", {1: 20, 2: 25}), ("audio", {2: 150})]
)
def test_a_map_at_the_size_of_the_image(name: str, sizes: dict[int, int], fixture: Load) -> None:
    original = fixture(name)
    given = image(original, sizes)
    (plain,), (large,) = run(slid(original), given), run(slid(original, upsample=True), given)
    assert large.shape[2:] == tuple(sizes.values())
    resize = parse(
        f"g (float[A,B,{'C,' * (len(sizes) - 1)}D] x, int64[{plain.ndim}] s) => (float[E] y) "
        '{ y = Resize <mode = "linear"> (x, , , s) }'
    )
    wanted = ReferenceEvaluator(resize).run(None, {"x": plain, "s": np.array(large.shape)})[0]
    assert apart(np.asarray(wanted), large) < CLOSE


def test_upsampling_needs_resize() -> None:
    with pytest.raises(UsageError, match="opset 9"):
        slid(pooled("AveragePool, wide stride"), upsample=True)


def test_class_activation_maps_are_the_pooling_and_the_layer_exchanged(fixture: Load) -> None:
    original = fixture("gap")
    sliding = slid(original, cam=True)
    scores, activations = run(sliding, image(original, {2: 32, 3: 36}))
    assert activations.shape == (1, 5, 8, 9)
    windows = np.lib.stride_tricks.sliding_window_view(activations, (5, 5), axis=(2, 3))
    assert np.allclose(windows.mean((-1, -2)), scores, atol=1e-6)
    told = geometry(sliding, "logits_cam")
    assert (told["kind"], told["of"], told["axes"][0]["field"]) == ("cam", "logits", 7)


def test_no_class_activation_maps_without_such_a_head(fixture: Load) -> None:
    for model in (fixture("lenet"), pooled("GlobalMaxPool")):
        report = fc2conv.plan(model, Options(sliding=SlidingOptions(cam=True))).sliding
        assert report is not None
        assert [obstacle.code for obstacle in report.obstacles] == ["FC509"]


# ------------------------------------------------------------------ inputs


def test_one_axis_alone_may_slide(fixture: Load) -> None:
    original = fixture("unpadded")
    sliding = slid(original, input_axes={"image": (3,)})
    shape = sliding.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["N", 3, 18, "W"]
    assert run(sliding, image(original, {3: 30}))[0].shape == (1, 6, 1, 4)


@pytest.mark.parametrize(
    ("axes", "match"), [({"nobody": (2,)}, "no convolution reads"), ({"image": (1,)}, "not spatial")]
)
def test_axes_that_are_not_there(axes: dict[str, tuple[int, ...]], match: str, fixture: Load) -> None:
    with pytest.raises(UsageError, match=match):
        slid(fixture("unpadded"), input_axes=axes)


def test_two_images_slide_together() -> None:
    original = parse(
        f"""g (float[N,2,8,8] left, float[N,2,8,8] right) => (float[N,5] y) <{HEAD}>
        {{
          a = Conv <kernel_shape = [3, 3], strides = [2, 2]> (left, k)
          d = Conv <kernel_shape = [3, 3], strides = [2, 2]> (right, k)
          e = Sub (a, d)  f = Flatten (e)  [fc] y = Gemm <transB = 1> (f, w, b)
        }}"""
    )
    found = fc2conv.convert(original, options=Options(sliding=SlidingOptions(verify_crops=True))).report
    assert found.verification is not None
    assert found.verification.verdict == "pass"
    assert found.sliding is not None
    assert [each.input for each in found.sliding.inputs] == ["left", "right"]
    assert found.sliding.crops[0].max < 1e-5


def test_a_wave_without_channels() -> None:
    original = parse(
        """g (float[N,40] wave) => (float[N,3] y) <float[4,1,5] k, float[3,72] w, int64[1] one = {1}>
        { u = Unsqueeze (wave, one)  c = Conv <kernel_shape = [5], strides = [2]> (u, k)
          f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(original)
    assert at_training_size(original, sliding) < CLOSE
    assert at_crops(original, sliding, (62,)) < CLOSE


def test_pads_of_the_training_size_are_written_out() -> None:
    """With SAME the padding of an even image is not that of an odd one, and a cell would read another window."""
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,64] w>
        { c = Conv <auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(original)
    conv = sliding.graph.node[0]
    attributes = {a.name: list(a.ints) for a in conv.attribute}
    assert attributes["pads"] == [0, 0, 1, 1]
    assert "auto_pad" not in attributes
    assert at_training_size(original, sliding) < CLOSE


def test_sizes_of_a_resize_become_factors() -> None:
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,576] w, int64[4] large = {1, 4, 12, 12}>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  u = Resize <mode = "nearest"> (c, , , large)
          f = Flatten (u)  [fc] y = Gemm <transB = 1> (f, w) }""".replace("[N,", "[1,")
    )
    sliding = slid(original)
    assert at_training_size(original, sliding, 1) < CLOSE
    assert run(sliding, image(original, {2: 10, 3: 12}))[0].shape == (1, 5, 5, 9)


def test_names_of_sizes_in_value_info_are_made_anew() -> None:
    from onnx import shape_inference

    original = shape_inference.infer_shapes(network("y = Tanh (s)"))
    sliding = slid(original)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in sliding.graph.value_info}
    assert shapes["c"][1:] == [4, 0, 0]


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


@pytest.mark.parametrize("options", [{}, {"upsample": True}, {"reduce": "max", "upsample": True}])
def test_outputs_that_are_maps_already_or_share_one(options: dict[str, object]) -> None:
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,4,1,1] y, float[N,4] flat, float[N,4] again)
        <float[4,2,3,3] k>
        {
          c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          y = GlobalAveragePool (c)
          flat = Flatten (y)
          again = Identity (flat)
        }"""
    )
    sliding = SlidingOptions(**options)  # type: ignore[arg-type]
    conversion = fc2conv.convert(original, options=Options(sliding=sliding))
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "pass"
    given = image(original, {2: 12, 3: 16})
    found = run(conversion.model, given)  # type: ignore[arg-type]
    maps = [each for each in found if each.ndim == 4]
    assert [each.shape for each in maps] == [(1, 4, 12, 16) if options else (1, 4, 3, 5)] * 3
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


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
