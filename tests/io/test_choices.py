"""Patterns that match no layer, and shapes that no input has: usage errors that name the nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, UsageError
from fc2conv.options import VerifyOptions

Captured = pytest.CaptureFixture[str]
TEXT = """graph (float[N,4,3,2] image, float[N,8] t) => (float[N,5] y, float[N,3] z) <float[24,5] w, float[8,3] v>
{ f = Flatten (image)
  [head_fc6] a = Gemm (f, w)
  y = Relu (a)
  [text_proj] z = MatMul (t, v) }"""
PATTERN = "--include 'head_fc7*' matches no fully connected layer: the nearest is 'head_fc6'"
SIZE = "--overwrite-input-shape gives 'image' the shape 1,3,3,2, and in the model it has N,4,3,2: the nearest is "
SIZE += "image:1,4,3,2"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(parse(TEXT), path)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"include": ("head_fc7*",)}, PATTERN),
        ({"exclude": ("fc6",)}, "the nearest is 'head_fc6', and '*fc6*' matches every name that holds it"),
        ({"exclude": ("head_*", "Relu_3")}, "--exclude 'Relu_3' matches no fully connected layer: the nearest is "),
        ({"input_shapes": {"image": (1, 3, 3, 2)}}, SIZE),
        (
            {"input_shapes": {"image": (4, 3, 2)}},
            "4,3,2, which has 3 dimensions: in the model it has N,4,3,2",
        ),
        ({"input_shapes": {"img": (1, 4, 3, 2)}}, "'img', which is no input: the nearest is 'image', of image, t"),
    ],
)
def test_the_library_raises_what_the_command_says(model: Path, capsys: Captured, options: Any, said: str) -> None:
    given = Options(**options)
    for call in (fc2conv.plan, fc2conv.convert):
        with pytest.raises(UsageError) as caught:
            call(str(model), options=given)
        assert said in str(caught.value)
    words = [f"--{name}={value}" for name in ("include", "exclude") for value in options.get(name, ())]
    for name, sizes in options.get("input_shapes", {}).items():
        words.append(f"--overwrite-input-shape={name}:{','.join(map(str, sizes))}")
    out = model.with_name("out.onnx")
    assert main(["convert", str(model), str(out), *words]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert main(["check", str(model), *words]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_shape_is_checked_where_models_are_compared(model: Path, capsys: Captured) -> None:
    with pytest.raises(UsageError, match="the nearest is image:1,4,3,2"):
        fc2conv.verify(str(model), str(model), VerifyOptions(input_shapes={"image": (1, 3, 3, 2)}))
    assert main(["verify", str(model), str(model), "--overwrite-input-shape", "imag:1,4,3,2"]) == ExitCode.USAGE
    assert "the nearest is 'image'" in capsys.readouterr().err


def test_a_shape_may_leave_open_what_the_model_fixes(model: Path) -> None:
    assert fc2conv.plan(str(model), Options(input_shapes={"image": (0, 4, 3, 2)})).converted


def test_an_inner_value_may_have_a_shape(tmp_path: Path, capsys: Captured) -> None:
    text = """graph (float[N,24] x, int64[k] sizes) => (float[?,5] y) <float[24,5] w>
    { flat = Reshape (x, sizes)  [fc] y = MatMul (flat, w) }"""
    model, feeds = tmp_path / "m.onnx", tmp_path / "feeds.npz"
    onnx.save(parse(text), model)
    np.savez(feeds, x=np.ones((3, 24), np.float32), sizes=np.array([3, 24]))
    words = ["convert", str(model), str(tmp_path / "out.onnx"), "--scope=all", f"--load-inputs={feeds}"]
    assert main([*words, "--overwrite-input-shape=flt:0,24"]) == ExitCode.USAGE
    assert "'flt', which is no input: the nearest is 'flat', of x, sizes" in capsys.readouterr().err
    assert main([*words, "--overwrite-input-shape=flat:0,24"]) == ExitCode.DONE
    assert "1 of 1 fully connected layer converted" in capsys.readouterr().out


def test_a_comparison_takes_shapes_of_inputs_alone() -> None:
    text = "graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w> { f = Flatten (x)  [fc] y = MatMul (f, w) }"
    for name in ("f", "xx"):
        given = VerifyOptions(input_shapes={name: (1, 24)})
        with pytest.raises(UsageError, match=f"'{name}', which is no input: the nearest is 'x'"):
            fc2conv.convert(parse(text), options=Options(verification=given))


def test_what_matches_a_product_of_activations_is_no_error() -> None:
    text = """graph (float[N,4,3,2] x) => (float[N,4,3,3] y)
    { t = Transpose <perm = [0, 1, 3, 2]> (x)  [attention] y = MatMul (x, t) }"""
    assert fc2conv.plan(parse(text), Options(exclude=("att*",))).sites


def test_a_model_without_layers_says_so() -> None:
    with pytest.raises(UsageError, match="matches no fully connected layer: there is none"):
        fc2conv.plan(parse("graph (float[N,4] x) => (float[N,4] y) { y = Relu (x) }"), Options(exclude=("fc",)))


def test_a_configuration_file_is_no_other(
    model: Path, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fc2conv.toml").write_text('include = ["head_fc7*"]\n')
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(model)]) == ExitCode.USAGE
    assert PATTERN in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["head_*", "nothing"])
def test_a_pattern_for_many_models_must_match_in_one(
    model: Path, tmp_path: Path, capsys: Captured, pattern: str
) -> None:
    other = tmp_path / "zoo" / "other.onnx"
    other.parent.mkdir()
    onnx.save(parse(TEXT.replace("head_fc6", "fc")), other)
    onnx.save(parse(TEXT), other.with_name("m.onnx"))
    missed = pattern == "nothing"
    said = "--include 'nothing' matches no fully connected layer"
    code = main(["check", str(model), str(other), "--include", pattern, "--fail-on", "nothing"])
    assert code == (ExitCode.USAGE if missed else ExitCode.DONE)
    assert (said in capsys.readouterr().err) == missed
    code = main(["batch", str(other.parent), str(tmp_path / "out"), "--include", pattern, "--jobs", "1"])
    assert code == (ExitCode.USAGE if missed else ExitCode.DONE)
    assert (said in capsys.readouterr().err) == missed
    assert (tmp_path / "out" / "other.onnx").exists()
