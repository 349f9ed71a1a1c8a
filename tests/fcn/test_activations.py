"""Class activation maps: where the pooling of a map is the score, and the node that is in the way where none is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import run
from onnx import ModelProto
from sliding_judge import image, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions

_WEIGHTS = """float[4,2,3,3] k, float[5,4] w, float[5] b, float[5,4] w2, float[5,8] w8, float[4] g, float[4] h,
    float[5,9] w9, float[1,4] w1, float[5,2] w22, int64[1] one = {1}, int64[1] four = {4},
    float[4] m, float[4] v_var, float[5] s, float half = {0.5}, float less = {-0.5}, float[5] up_var,
    float[5,4,1,1] k1, int64[2] cells = {2, 3}, int64[1] two = {2}, int64[1] three = {3}"""
_MEAN = "p = GlobalAveragePool (c)  f = Flatten (p)"
_FC = "t = Gemm <transB = 1> (f, w, b)"


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-scores)))


def mean(windows: np.ndarray) -> np.ndarray:
    return np.asarray(windows.mean((-1, -2)))


def largest(windows: np.ndarray) -> np.ndarray:
    return np.asarray(windows.max((-1, -2)))


def same(scores: np.ndarray) -> np.ndarray:
    return scores


MAPS: dict[str, tuple[str, Any, Any]] = {
    "one layer": (f"{_MEAN} y = Gemm <transB = 1> (f, w, b)", mean, same),
    "negatives": (f"{_MEAN} n = Neg (f)  y = Gemm <transB = 1> (n, w, b)", mean, same),
    "some channels": (f"{_MEAN} n = Slice (f, two, four, one)  y = Gemm <transB = 1> (n, w22, b)", mean, same),
    "softmax": (f"{_MEAN} {_FC} y = Softmax <axis = 1> (t)", mean, softmax),
    "sigmoid": (f"{_MEAN} {_FC} y = Sigmoid (t)", mean, sigmoid),
    "log": (f"{_MEAN} {_FC} y = LogSoftmax <axis = 1> (t)", mean, lambda each: np.log(softmax(each))),
    "log of a softmax": (
        f"{_MEAN} {_FC} o = Softmax <axis = 1> (t)  y = Log (o)",
        mean,
        lambda each: np.log(softmax(each)),
    ),
    "log, written out": (
        f"{_MEAN} {_FC} l = ReduceLogSumExp <axes = [1]> (t)  y = Sub (t, l)",
        mean,
        lambda each: np.log(softmax(each)),
    ),
    "dropout": (
        f"{_MEAN} d = Dropout (f) t = Gemm <transB = 1> (d, w, b) i = Identity (t) y = Softmax (i)",
        mean,
        softmax,
    ),
    "temperature": (f"{_MEAN} {_FC} d = Div (t, half) y = Softmax (d)", mean, softmax),
    "negative factor": (f"{_MEAN} {_FC} y = Mul (t, less)", mean, same),
    "factors of the classes": (f"{_MEAN} {_FC} a = Mul (t, s) y = Add (a, b)", mean, same),
    "batch normalization": (
        f"{_MEAN} n = BatchNormalization (f, g, h, m, v_var) y = Gemm <transB = 1> (n, w, b)",
        mean,
        same,
    ),
    "two layers and nothing between": (
        f"{_MEAN} {_FC} y = Gemm <transB = 1> (t, w5)",
        mean,
        same,
    ),
    "convolution": ("p = GlobalAveragePool (c) t = Conv (p, k1, b) y = Flatten (t)", mean, same),
    "no layer behind": ("d = Conv (c, k1, b) r = Relu (d) p = GlobalAveragePool (r) y = Flatten (p)", mean, same),
    "mean of means": (
        "q = ReduceMean <axes = [3], keepdims = 0> (c) f = ReduceMean <axes = [2], keepdims = 0> (q) "
        "y = Gemm <transB = 1> (f, w, b)",
        mean,
        same,
    ),
    "maximum": ("d = Conv (c, k1, b) p = GlobalMaxPool (d) t = Flatten (p) y = Softmax (t)", largest, softmax),
    "maximum with a kernel": (
        "d = Conv (c, k1, b) p = MaxPool <kernel_shape = [6, 6]> (d) y = Flatten (p)",
        largest,
        same,
    ),
    "maximum, twice": (
        "d = Conv (c, k1, b) p = GlobalMaxPool (d) q = Div (p, half) y = Flatten (q)",
        lambda each: largest(each) * 2,
        same,
    ),
    "mean and maximum": (
        """d = Conv (c, k1, b) p = GlobalAveragePool (d) q = GlobalMaxPool (d) r = Add (p, q) e = Mul (r, half)
        y = Flatten (e)""",
        lambda each: (mean(each) + largest(each)) / 2,
        same,
    ),
    "sum": ("f = ReduceSum <keepdims = 0> (c, cells) y = Gemm <transB = 1> (f, w, b)", mean, same),
    "less their mean": (
        f"{_MEAN} {_FC} a = ReduceMean <axes = [1]> (t) y = Sub (t, a)",
        mean,
        same,
    ),
    "a value and advantages": (
        f"{_MEAN} v = Gemm <transB = 1> (f, w1) i = Identity (f) {_FC.replace('(f', '(i')} "
        "a = ReduceMean <axes = [1]> (t) d = Sub (t, a) e = Add (d, v) y = Softmax <axis = 1> (e)",
        mean,
        softmax,
    ),
    "means of two maps": (
        """d = Conv (c, k1, b) r = Relu (d) p = GlobalAveragePool (c) q = ReduceMean <axes = [2, 3]> (r)
        j = Concat <axis = 1> (p, q) f = Flatten (j) y = Gemm <transB = 1> (f, w9, b)""",
        mean,
        same,
    ),
    "two maps added": (
        """d = Conv (c, k1, b) r = Relu (d) p = GlobalAveragePool (d) q = GlobalAveragePool (r) a = Add (p, q)
        y = Flatten (a)""",
        mean,
        same,
    ),
}
NONE = {
    "two layers": (
        f"{_MEAN} [a] t = Gemm <transB = 1> (f, w, b) [relu] r = Relu (t) y = Gemm <transB = 1> (r, w5)",
        "relu",
    ),
    "relu in one branch": (f"{_MEAN} {_FC} [relu] r = Relu (t) y = Add (t, r)", "relu"),
    "relu behind": (f"{_MEAN} {_FC} [relu] y = Relu (t)", "relu"),
    "gate": (f"{_MEAN} {_FC} e = Gemm <transB = 1> (f, w2) i = Sigmoid (e) [gate] y = Mul (t, i)", "gate"),
    "maximum, scaled": (
        "d = Conv (c, k1, b) p = ReduceMax <axes = [2, 3], keepdims = 0> (d) [scale] q = Mul (p, up_var) "
        "y = Add (q, s)",
        "scale",
    ),
    "maximum and a layer": ("p = GlobalMaxPool (c) f = Flatten (p) [fc] y = Gemm <transB = 1> (f, w, b)", "fc"),
    "maximum turned over": ("d = Conv (c, k1, b) p = GlobalMaxPool (d) f = Flatten (p) [neg] y = Mul (f, less)", "neg"),
    "mean and maximum joined": (
        """p = GlobalAveragePool (c) q = GlobalMaxPool (c) [joined] r = Concat <axis = 1> (p, q) f = Flatten (r)
        y = Gemm <transB = 1> (f, w8, b)""",
        "joined",
    ),
    "mean and maximum, shifted": (
        """d = Conv (c, k1, b) p = GlobalAveragePool (d) q = GlobalMaxPool (d) r = Add (p, q) f = Flatten (r)
        [shift] y = Add (f, s)""",
        "shift",
    ),
    "generalized mean": (
        "a = Abs (c) e = Pow (a, half) p = GlobalAveragePool (e) [root] r = Pow (p, half) f = Flatten (r) "
        "y = Gemm <transB = 1> (f, w, b)",
        "root",
    ),
    "no pooling": ("f = Flatten (c) [fc] y = Gemm <transB = 1> (f, w144)", "fc"),
}


def model(body: str, outputs: str = "float[N,5] y") -> ModelProto:
    extra = ", float[5,5] w5" if "w5" in body else ", float[5,144] w144" if "w144" in body else ""
    return parse(
        f"""g (float[N,2,8,8] x) => ({outputs}) <{_WEIGHTS}{extra}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body} }}"""
    )


@pytest.mark.parametrize("name", MAPS)
def test_the_pooling_of_the_map_is_the_score(name: str) -> None:
    body, pooling, activation = MAPS[name]
    original = model(body)
    options = Options(sliding=SlidingOptions(cam=True))
    done = fc2conv.convert(original, options=options)
    assert done.report.verification is not None
    assert done.report.verification.verdict.accepted
    assert done.model is not None
    found = dict(
        zip([v.name for v in done.model.graph.output], run(done.model, image(original, {2: 10, 3: 11})), strict=True)
    )
    windows = np.lib.stride_tricks.sliding_window_view(found["y_cam"], (6, 6), axis=(2, 3))
    assert np.allclose(activation(pooling(windows)), found["y"], atol=1e-5)


@pytest.mark.parametrize("name", NONE)
def test_the_node_that_is_in_the_way_is_named(name: str) -> None:
    body, node = NONE[name]
    report = fc2conv.plan(model(body), Options(sliding=SlidingOptions(cam=True))).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC509", node)]


def test_every_head_has_its_map() -> None:
    body = f"{_MEAN} y = Gemm <transB = 1> (f, w, b)  e = Gemm <transB = 1> (f, w2)  z = Softmax (e)"
    sliding = slid(model(body, "float[N,5] y, float[N,5] z"), cam=True)
    assert [value.name for value in sliding.graph.output] == ["y", "z", "y_cam", "z_cam"]


def test_the_best_class_has_the_map_of_its_scores() -> None:
    original = model(f"{_MEAN} {_FC} s1 = Softmax (t) y = ArgMax <axis = 1, keepdims = 0> (s1)", "int64[N] y")
    done = fc2conv.convert(original, options=Options(sliding=SlidingOptions(cam=True)))
    assert done.model is not None
    best, activations = run(done.model, image(original, {2: 10, 3: 11}))
    windows = np.lib.stride_tricks.sliding_window_view(activations, (6, 6), axis=(2, 3))
    assert np.array_equal(best, mean(windows).argmax(1)[:, None])


def test_one_answer_for_the_image_is_the_mean_of_its_map() -> None:
    original = model(MAPS["softmax"][0])
    sliding = slid(original, cam=True, global_pool="keep")
    scores, activations = run(sliding, image(original, {2: 10, 3: 11}))
    assert np.allclose(softmax(activations.mean((2, 3), keepdims=True)), scores, atol=1e-6)


def test_a_softmax_that_flattens_is_that_of_each_cell() -> None:
    """Before opset 13 a Softmax works on all dimensions from its axis on, and a map has more of them than scores."""
    model = parse(
        """g (float[1,2,8,8] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,4] w>
        { c = Conv (x, k)  p = GlobalAveragePool (c)  f = Flatten (p)  s = Gemm <transB = 1> (f, w)
          y = Softmax <axis = 1> (s) }""",
        opset=11,
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions(cam=True))).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"
