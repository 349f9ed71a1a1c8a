"""Models that do not slide as they are: without an image, of unknown shapes, contradictory, or sliding already."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from obstacle_case import Case
from sliding_judge import CLOSE, at_training_size, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, InputError

SLIDING = Options(sliding=SlidingOptions())


def test_the_node_is_named_at_which_a_shape_is_lost() -> None:
    model = parse(
        """g (float[N,2,8,8] x, int64[4] s) => (float[A,B,C,D] y) <float[4,2,3,3] k, float[4,4,3,3] l>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  [resized] r = Resize <mode = "nearest"> (c, , , s)
          e = Conv <kernel_shape = [3, 3]> (r, l)  y = Slice (e, a, b)
          a = Constant <value_ints = [0]> ()  b = Constant <value_ints = [4]> () }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert ("FC508", "resized") in [(each.code, each.node) for each in report.obstacles]
    assert all("--overwrite-input-shape" not in each.remedy for each in report.obstacles)


AS_IS = SlidingOptions()
OPEN = """g (float[N,2,H,W] x) => (float[N,5,A,B] y) <float[4,2,3,3] k, float[5,4,1,1] w>
{ c = Conv <kernel_shape = [3, 3]> (x, k)  r = Relu (c)  y = Conv (r, w) }"""


def test_a_network_that_slides_already_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(parse(OPEN), source)
    assert main([str(source), str(target), "--fully-convolutional"]) == ExitCode.DONE
    assert "it is already fully convolutional, the model is unchanged" in capsys.readouterr().out
    assert target.read_bytes() == source.read_bytes()
    made = slid(Case("d = Relu (c)", "").model())
    report = fc2conv.convert(made, options=SLIDING).report
    assert report.outcome == "unchanged"
    assert report.sliding is not None
    assert report.sliding.already


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (OPEN, SlidingOptions(reduce="mean")),  # more is asked for
        (OPEN.replace("y = Conv (r, w)", "g = GlobalAveragePool (r)  y = Conv (g, w)"), AS_IS),
        (OPEN.replace("r = Relu (c)", "r = CumSum (c, a)").replace("<float", "<int64 a = {3}, float"), AS_IS),
    ],
)
def test_a_network_of_unknown_size_in_which_something_is_to_be_done(text: str, options: SlidingOptions) -> None:
    report = fc2conv.plan(parse(text, opset=14), Options(sliding=options)).sliding
    assert report is not None
    assert not report.already
    assert "FC508" in [each.code for each in report.obstacles]


def test_the_node_is_named_in_front_of_which_no_convolution_is_found() -> None:
    """Not one that computes with sizes; a norm of rows is no convolution."""
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,4,6,6] y, int64 n) <float[4,2,3,3] k, int64 zero = {0}>
        { s = Shape (x)  n = Gather (s, zero)
          [bgr] f = ScatterElements <axis = 1> (x, i, x)  i = Cast <to = 7> (x)  y = Conv (f, k) }""",
        opset=18,
    )
    with pytest.raises(InputError, match=r"behind bgr \(ScatterElements\), in front of a convolution"):
        fc2conv.convert(model, options=SLIDING)
    rows = parse(
        """g (float[N,6] x) => (float[N,4] y) <float[6,4] w, float[4] g, float[4] v_var>
        { m = MatMul (x, w)  y = BatchNormalization (m, g, g, g, v_var) }"""
    )
    with pytest.raises(InputError, match="no input of the model is read by a convolution"):
        fc2conv.convert(rows, options=SLIDING)


def test_a_model_without_images_is_refused() -> None:
    model = parse("g (float[N,8] x) => (float[N,5] y) <float[8,5] w> { y = MatMul (x, w) }")
    with pytest.raises(InputError, match="nothing slides"):
        fc2conv.convert(model, options=SLIDING)


def test_arithmetic_on_shapes_that_only_leads_to_a_reshape_is_no_obstacle() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y)
        <float[4,2,3,3] k, float[5,144] w, int64 zero = {0}, int64[1] front = {0}, int64[1] rest = {-1}>
        {
          c = Conv <kernel_shape = [3, 3]> (x, k)
          t = Transpose <perm = [0, 2, 3, 1]> (c)
          s = Shape (t)  n = Gather (s, zero)  u = Unsqueeze (n, front)  target = Concat <axis = 0> (u, rest)
          f = Reshape (t, target)  [fc] y = Gemm <transB = 1> (f, w)
        }"""
    )
    assert at_training_size(model, slid(model)) < CLOSE


@pytest.mark.parametrize(
    "body",
    [
        "d = Transpose <perm = [0, 1, 2]> (c)",
        "d = Transpose <perm = [0, 1, 2, 5]> (c)",
        "d = Transpose <perm = [0, 1, 2, 2]> (c)",
        "u = Flatten (c)  d = MaxPool <kernel_shape = [2, 2]> (u)",
        "d = Unsqueeze <axes = [2, 2]> (c)",
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(body: str, tmp_path: Path) -> None:
    onnx.save(Case(body, "d").model(), tmp_path / "m.onnx")
    with pytest.raises(InputError):
        fc2conv.convert(tmp_path / "m.onnx", tmp_path / "out.onnx", SLIDING)
    assert not (tmp_path / "out.onnx").exists()


def test_an_input_that_is_turned_by_no_permutation_is_refused(tmp_path: Path) -> None:
    text = """g (float[N,8,8,2] x) => (float[N,4,6,6] y) <float[4,2,3,3] k>
    { t = Transpose <perm = [0, 3, 1, 7]> (x)
      y = Conv <kernel_shape = [3, 3]> (t, k) }"""
    onnx.save(parse(text), tmp_path / "m.onnx")
    with pytest.raises(InputError):
        fc2conv.convert(tmp_path / "m.onnx", tmp_path / "out.onnx", SLIDING)
