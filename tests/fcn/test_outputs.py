"""What is chosen of the outputs: logits or probabilities, pooled answers, maps of the size of the image, and CAM."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from sliding_judge import accepted, geometry, image, slid
from sliding_networks import Load, network, pooled
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import UsageError


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
def test_a_pooled_answer_is_beside_the_map(kind: str, name: str, fixture: Load) -> None:
    sliding = slid(fixture(name), reduce=kind)
    names = [value.name for value in sliding.graph.output]
    assert names == [names[0], f"{names[0]}_{kind}"]
    axes = geometry(sliding, names[0])["axes"]
    cells, answer = run(sliding, image(sliding, {axis["dim"]: axis["size"] + 9 for axis in axes}))
    over = tuple(range(2, cells.ndim))
    assert answer.shape == cells.shape[:2]
    assert np.allclose(cells.mean(over) if kind == "mean" else cells.max(over), answer, atol=1e-6)


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
    found = geometry(sliding, "logits_cam")
    assert (found["kind"], found["of"], found["axes"][0]["field"]) == ("cam", "logits", 7)


def test_no_class_activation_maps_without_such_a_head(fixture: Load) -> None:
    for model in (fixture("lenet"), pooled("GlobalMaxPool")):
        report = fc2conv.plan(model, Options(sliding=SlidingOptions(cam=True))).sliding
        assert report is not None
        assert [obstacle.code for obstacle in report.obstacles] == ["FC509"]


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
    assert conversion.report.verification.verdict.accepted
    given = image(original, {2: 12, 3: 16})
    found = run(conversion.model, given)  # type: ignore[arg-type]
    maps = [each for each in found if each.ndim == 4]
    assert [each.shape for each in maps] == [(1, 4, 12, 16) if options else (1, 4, 3, 5)] * 3
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


PROBABILITIES = {
    "a softmax": ("y = Softmax (s)", "y", True),
    "a log": ("y = LogSoftmax (s)", "y_probabilities", True),
    "a log, laid out": ("l = LogSoftmax (s)  y = Reshape (l, shape)", "y_probabilities", True),
    "a log of a softmax": ("p = Softmax (s)  y = Log (p)", "y_probabilities", True),
    "a log, written out": ("l = ReduceLogSumExp <axes = [-1]> (s)  y = Sub (s, l)", "y_probabilities", True),
    "scores": ("y = Identity (s)", "y_probabilities", True),
    "scores, shifted": ("a = Add (s, b)  y = Div (a, two)", "y_probabilities", True),
    "dropout": ("y = Dropout (s)", "y_probabilities", True),
    "a gate": ("g = Sigmoid (s)  y = Mul (s, g)", "y", False),
    "an activation": ("y = Relu (s)", "y", False),
    "a sigmoid": ("y = Sigmoid (s)", "y", False),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_are_of_what_the_output_is(name: str) -> None:
    body, output, are = PROBABILITIES[name]
    sliding = slid(
        network(body, extra=", int64[2] shape = {-1, 5}, float two = {2.0}"), score_map={"": "probabilities"}
    )
    (found,) = run(sliding, image(sliding, {2: 12, 3: 13}))
    assert [value.name for value in sliding.graph.output] == [output]
    assert np.allclose(found.sum(1), 1, atol=1e-5) == are


@pytest.mark.parametrize(
    "log", ["p = Softmax (s)  y = Log (p)", "l = ReduceLogSumExp <axes = [1]> (s)  y = Sub (s, l)"]
)
def test_logits_in_front_of_a_log_of_a_softmax(log: str) -> None:
    sliding = slid(network(log), score_map={"": "logits"})
    assert [value.name for value in sliding.graph.output] == ["s"]


def test_a_network_that_gives_the_best_class_alone_is_compared_in_front_of_it() -> None:
    original = network(
        "p = Softmax (s)  q = Add (p, far)  y = ArgMax <axis = 1, keepdims = 0> (q)",
        13,
        "int64[N] y",
        ", float[5] far = {0.0, 9.0, 0.0, 0.0, 0.0}",
    )
    report = fc2conv.convert(original, options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    assert report.verification.verdict.accepted
    compared = {each.output: each.verdict for each in report.verification.outputs}
    assert compared["q (windows)"].accepted


def test_a_name_for_probabilities_that_is_taken() -> None:
    outputs = "float[N,5] y, float[N,5] y_probabilities"
    original = network("y = Identity (s)  y_probabilities = Relu (s)", outputs=outputs)
    sliding = slid(original, score_map={"y": "probabilities"})
    assert [value.name for value in sliding.graph.output] == ["y_probabilities_2", "y_probabilities"]
    found, other = run(sliding, image(sliding, {2: 12, 3: 13}))
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert (other >= 0).all()


def test_logits_of_another_type_than_the_probabilities() -> None:
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float16[4,5] w, float16[5] b>
        { c = Conv (x, k)  h = Cast <to = 10> (c)  p = GlobalAveragePool (h)  f = Flatten (p)  s = Gemm (f, w, b)
          t = Softmax (s)  y = Cast <to = 1> (t) }"""
    )
    sliding, given = accepted(original, score_map={"": "logits"}), image(original, {})
    (found,) = run(sliding, given)
    assert found.dtype == np.float16
    powers = np.exp(found.astype(np.float64))[:, :, 0, 0]
    assert np.allclose(powers / powers.sum(1), run(original, given)[0], atol=1e-3)
