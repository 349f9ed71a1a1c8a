"""convert, plan and verify as functions."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv import SlidingOptions
from fc2conv.errors import Fc2convError, InputError, OutputError, UsageError

HEAD = """graph (float[N,4,3,2] x) => (float[N,3] y) <float[8,24] w, float[8] b, float[3,8] v>
{ f = Flatten (x)
  [one] a = Gemm <transB = 1> (f, w, b)
  r = Relu (a)
  [two] y = Gemm <transB = 1> (r, v) }"""
NO_LAYER = "graph (float[N,4,3,2] x) => (float[N,4,3,2] y) { y = Relu (x) }"


@pytest.fixture
def model() -> ModelProto:
    return parse(HEAD)


@pytest.fixture
def path(model: ModelProto, tmp_path: Path) -> Path:
    onnx.save(model, tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# ------------------------------------------------------------------ convert


def test_a_model_in_memory_is_converted_in_memory(model: ModelProto) -> None:
    before = model.SerializeToString()
    conversion = fc2conv.convert(model)
    assert conversion.report.outcome == "converted"
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"
    assert conversion.model is not None
    assert kinds(conversion.model) == ["Conv", "Relu", "Conv", "Flatten"]
    assert model.SerializeToString() == before
    inputs = feeds(model, {"N": 3})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-5


def test_a_file_is_converted_to_a_file(path: Path, tmp_path: Path) -> None:
    source = path.read_bytes()
    conversion = fc2conv.convert(path, tmp_path / "out.onnx")
    assert conversion.model is None
    assert conversion.report.output is not None
    assert conversion.report.output.path == str(tmp_path / "out.onnx")
    assert conversion.report.output.bytes == (tmp_path / "out.onnx").stat().st_size
    assert path.read_bytes() == source
    assert {entry.name for entry in tmp_path.iterdir()} == {"in.onnx", "out.onnx"}


def test_every_way_gives_the_same_model(model: ModelProto, path: Path, tmp_path: Path) -> None:
    fc2conv.convert(path, tmp_path / "file_to_file.onnx")
    fc2conv.convert(model, tmp_path / "memory_to_file.onnx")
    results = [onnx.load(tmp_path / f"{name}.onnx") for name in ("file_to_file", "memory_to_file")]
    results += [fc2conv.convert(each).model for each in (path, str(path), model)]
    first = results[0].SerializeToString(deterministic=True)
    assert all(each.SerializeToString(deterministic=True) == first for each in results)


def test_a_model_converted_in_place(path: Path) -> None:
    fc2conv.convert(path, path)
    assert kinds(onnx.load(path)) == ["Conv", "Relu", "Conv", "Flatten"]


def test_the_result_is_independent(model: ModelProto) -> None:
    """The weights of the result are neither in the argument nor on a disk."""
    result = fc2conv.convert(model).model
    assert result is not None
    before = numpy_helper.to_array(model.graph.initializer[0]).copy()
    for tensor in model.graph.initializer:
        tensor.Clear()
    (kernel,) = [t for t in result.graph.initializer if t.name == "w"]
    np.testing.assert_array_equal(numpy_helper.to_array(kernel), before.reshape(8, 4, 3, 2))


def test_large_weights_are_whole_in_the_result(tmp_path: Path) -> None:
    large = parse(
        """graph (float[N,16,8,8] x) => (float[N,256] y) <float[256,1024] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    onnx.save(large, tmp_path / "large.onnx")
    for source in (large, tmp_path / "large.onnx"):
        result = fc2conv.convert(source).model
        assert result is not None
        (kernel,) = result.graph.initializer
        assert kernel.data_location == onnx.TensorProto.DEFAULT
        assert numpy_helper.to_array(kernel).tobytes() == numpy_helper.to_array(large.graph.initializer[0]).tobytes()


def test_nothing_to_do_changes_nothing(tmp_path: Path) -> None:
    model = parse(NO_LAYER)
    conversion = fc2conv.convert(model)
    assert conversion.report.outcome == "unchanged"
    assert conversion.model is not None
    assert conversion.model is not model
    assert conversion.model.SerializeToString() == model.SerializeToString()
    onnx.save(model, tmp_path / "in.onnx")
    fc2conv.convert(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "in.onnx").read_bytes()


# ------------------------------------------------------------------ options


def test_options_choose(model: ModelProto) -> None:
    report = fc2conv.plan(model, fc2conv.Options(exclude=("two",)))
    assert [(layer.node, layer.decision) for layer in report.sites] == [("one", "convert"), ("two", "keep")]
    assert [layer.node for layer in fc2conv.plan(model, fc2conv.Options(include=("o*",))).kept] == ["two"]


def test_without_verification_there_is_none(model: ModelProto) -> None:
    assert fc2conv.convert(model, options=fc2conv.Options(verify=False)).report.verification is None


def test_a_shape_for_no_input_is_the_callers_mistake(model: ModelProto) -> None:
    with pytest.raises(UsageError, match="which is no input"):
        fc2conv.convert(model, options=fc2conv.Options(input_shapes={"image": (1, 4, 3, 2)}))


def test_options_are_values() -> None:
    assert fc2conv.Options() == fc2conv.Options()
    with pytest.raises(AttributeError):
        fc2conv.Options().scope = "all"  # type: ignore[misc]


# ------------------------------------------------------------------ plan and verify


def test_a_plan_writes_nothing_and_says_what_would_be(path: Path, tmp_path: Path) -> None:
    planned = fc2conv.plan(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.onnx"]
    done = fc2conv.convert(path).report
    assert (planned.outcome, planned.output, planned.verification) == ("planned", None, None)
    assert planned.sites == done.sites
    assert planned.layout_nodes == done.layout_nodes


def test_a_plan_does_not_touch_its_argument(model: ModelProto) -> None:
    before = model.SerializeToString()
    fc2conv.plan(model)
    assert model.SerializeToString() == before


def test_verification_of_two_models(model: ModelProto, tmp_path: Path) -> None:
    converted = fc2conv.convert(model).model
    assert converted is not None
    onnx.save(converted, tmp_path / "b.onnx")
    before = model.SerializeToString(), converted.SerializeToString()
    assert fc2conv.verify(model, tmp_path / "b.onnx").verdict == "proved"
    assert fc2conv.verify(model, converted, fc2conv.VerifyOptions(seed=3, check_n=2)).verdict == "proved"
    assert (model.SerializeToString(), converted.SerializeToString()) == before


def test_verification_finds_a_kernel_that_is_turned(model: ModelProto) -> None:
    converted = fc2conv.convert(model).model
    assert converted is not None
    (kernel,) = [t for t in converted.graph.initializer if t.name == "w"]
    turned = numpy_helper.to_array(kernel)[:, :, ::-1]
    kernel.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), "w"))
    assert fc2conv.verify(model, converted).verdict == "differs"


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("function", [fc2conv.convert, fc2conv.plan])
def test_a_file_that_is_not_there(function: object, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        function(tmp_path / "none.onnx")  # type: ignore[operator]
    assert isinstance(caught.value, Fc2convError)
    assert caught.value.exit_code == 3


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError):
        fc2conv.plan(tmp_path / "text.onnx")


def test_names_that_are_not_exported() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transmogrify'"):
        _ = fc2conv.transmogrify  # type: ignore[attr-defined]
    for name in fc2conv.__all__:
        assert getattr(fc2conv, name) is not None


def test_the_example_of_the_readme_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fixtures").symlink_to(root / "fixtures")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (root / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "out.onnx").is_file()


def test_numbers_that_are_not_finite_stay_so_without_a_word() -> None:
    model = parse("""graph (float[N,2,1,1] x) => (float[N,2] y) <float[2,2] w, float[2] b>
    { f = Flatten (x)
      y = Gemm <alpha = 4.0, beta = 4.0, transB = 1> (f, w, b) }""")
    values = [np.array([[np.nan, np.inf], [3e38, 1.0]], np.float32), np.array([np.nan, 3e38], np.float32)]
    for tensor, array in zip(model.graph.initializer, values, strict=True):
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    with np.errstate(all="raise"):  # what would be a warning
        made = fc2conv.convert(model, options=fc2conv.Options(verify=False)).model
    assert made is not None
    kernel, bias = (numpy_helper.to_array(tensor) for tensor in made.graph.initializer if tensor.data_type == 1)
    np.testing.assert_array_equal(kernel.ravel(), np.array([np.nan, np.inf, np.inf, 4.0], np.float32))
    np.testing.assert_array_equal(bias, np.array([np.nan, np.inf], np.float32))


# ------------------------------------------------------------------ options


def test_options_are_given_by_name(model: ModelProto) -> None:
    assert fc2conv.plan(model, exclude=["two"]).sites[1].decision == "keep"
    base = fc2conv.Options(exclude=("two",))
    report = fc2conv.convert(model, options=base, scope="all").report
    assert (report.scope, [layer.decision for layer in report.sites]) == ("all", ["convert", "keep"])


@pytest.mark.parametrize(
    ("given", "kind", "nearest"),
    [
        ({"scope": "spacial"}, ValueError, "'spatial'"),
        ({"conv_rank": 2}, ValueError, "'2d'"),
        ({"val_range": (1, 0)}, ValueError, "the smaller one first"),
        ({"val_range": (-1.7e308, 1.7e308)}, ValueError, "the smaller one first"),
        ({"rtol": 10**400}, ValueError, "a number of at least 0"),
        ({"per_output": {"y": -1.0}}, ValueError, "a number of at least 0"),
        ({"verify": False, "sliding": SlidingOptions(verify_crops=True)}, ValueError, "part of a verification"),
    ],
)
def test_a_wrong_option_is_answered_with_the_nearest(
    model: ModelProto, given: dict[str, object], kind: type[Exception], nearest: str
) -> None:
    with pytest.raises(kind, match=nearest):
        fc2conv.convert(model, **given)


def test_a_name_that_holds_a_nul_is_no_fault(path: Path) -> None:
    with pytest.raises(OutputError, match="is not a possible file name"):
        fc2conv.convert(path, "a\0b")
    with pytest.raises(UsageError, match="not a possible name"):
        fc2conv.plan(path, target="./a\0.toml")


def test_arguments_of_another_type_are_named(path: Path, tmp_path: Path) -> None:
    assert [each.node for each in fc2conv.trace(path, "one")] == ["one"]
    with pytest.raises(TypeError, match="patterns"):
        fc2conv.trace(path, [5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not int"):
        fc2conv.heatmap(path, 5, tmp_path / "x.png")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is not there"):
        fc2conv.heatmaps(path, tmp_path / "none", tmp_path)


class Word(str):
    """A string of another type, as numpy has them; no process that is started anew can read this one."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError("it cannot be sent")


class Place:
    def __fspath__(self) -> str:
        return Word("in.onnx")

    __reduce__ = Word.__reduce__


def test_paths_and_names_of_any_type_are_plain(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = fc2conv.Options(include=(Word("one"),), target=Word("onnx"))
    assert [type(each) for each in (*options.include, options.target)] == [str, str]
    done = threading.Event()
    thread = threading.Thread(target=done.wait)  # the work is done in a new process then, and not in a fork
    thread.start()
    try:
        assert fc2conv.convert(Place(), Word("out.onnx"), options).report.input.path == path.name
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("label", "found"), [(np.int64(3), 3), ("cat", "cat"), ([1, np.str_("cat")], (1, "cat")), (None, None)]
)
def test_classes_by_number_or_name(label: object, found: object) -> None:
    assert fc2conv.HeatmapOptions(label=label).label == found  # type: ignore[arg-type]
    for wrong in (True, 1.5, (1, None)):
        with pytest.raises(TypeError, match="label"):
            fc2conv.HeatmapOptions(label=wrong)  # type: ignore[arg-type]


def test_completion_shows_what_there_is() -> None:
    assert dir(fc2conv) == sorted(fc2conv.__all__)
