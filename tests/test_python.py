"""fc2conv as Python users meet it: what it takes as a model, keywords, and reports in a shell and in a notebook."""

from __future__ import annotations

import builtins
import io
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from execute import difference, feeds, run
from onnx import ModelProto

import fc2conv
from fc2conv.errors import InputError, OutputError, UsageError


@pytest.fixture
def lenet(root: Path) -> Path:
    return root / "fixtures" / "lenet.onnx"


class Program:
    """Has what a torch.onnx.ONNXProgram has."""

    def __init__(self, model: ModelProto) -> None:
        self.model_proto = model


FORMS: list[Callable[[Path], Any]] = [
    lambda path: str(path),
    lambda path: path,
    lambda path: path.read_bytes(),
    lambda path: bytearray(path.read_bytes()),
    lambda path: memoryview(path.read_bytes()),
    lambda path: io.BytesIO(path.read_bytes()),
    lambda path: onnx.load(path),
    lambda path: Program(onnx.load(path)),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_model_comes_in_any_form(lenet: Path, form: Callable[[Path], Any]) -> None:
    assert len(fc2conv.plan(form(lenet)).converted) == 3


def test_a_model_in_bytes_is_converted_and_verified(lenet: Path) -> None:
    data = lenet.read_bytes()
    made = fc2conv.convert(data).model
    assert made is not None
    original = onnx.load(lenet)
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(made, inputs)) < 1e-5
    with lenet.open("rb") as file:
        assert fc2conv.verify(file, made).verdict == "proved"


@pytest.mark.parametrize("wrong", [3, None, io.StringIO("model"), object()])
def test_what_is_no_model_is_refused_by_its_type(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is not a model; give a path, bytes"):
        fc2conv.plan(wrong)


def test_bytes_that_are_no_model_are_an_input_error() -> None:
    with pytest.raises(InputError, match="not a valid ONNX model"):
        fc2conv.plan(b"hello")


def test_keywords_reach_the_options_and_those_within(lenet: Path) -> None:
    report = fc2conv.plan(lenet, scope="all", target="dla", exclude=["fc3"], rtol=1e-3, timeout=100)
    found = {"scope": "all", "target": "dla", "exclude": "fc3", "rtol": "0.001", "timeout": "100"}
    assert report.options == found
    given = fc2conv.Options(scope="all", verification=fc2conv.VerifyOptions(seed=3))
    assert fc2conv.plan(lenet, given, rtol=1e-3).options == {"scope": "all", "seed": "3", "rtol": "0.001"}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"scop": "all"}, TypeError, "'scope'"),
        ({"timeot": 3}, TypeError, "'timeout'"),
        ({"scope": "al"}, ValueError, "'all'"),
        ({"include": "fc1"}, TypeError, "give a tuple of strings"),
        ({"include": [3]}, TypeError, "include is 3; give a string"),
        ({"target": 3}, TypeError, "target is 3; give a string"),
        ({"force": "no"}, TypeError, "force is 'no'; give True or False"),
        ({"max_kernel": 0}, ValueError, "max_kernel is 0; give a whole number of at least 1"),
        ({"max_kernel": "3"}, TypeError, "give a whole number of at least 1"),
        ({"static": 1 << 63}, ValueError, f"at most {(1 << 63) - 1}"),
        ({"rtol": -1}, ValueError, "rtol is -1; give a number of at least 0"),
        ({"atol": float("nan")}, ValueError, "atol is nan; give a number"),
        ({"timeout": "soon"}, TypeError, "timeout is 'soon'; give a number"),
        ({"memory_limit": 0.5}, TypeError, "memory_limit is 0.5; give a whole number"),
        ({"val_range": (0, 1, 2)}, ValueError, "give two numbers"),
        (
            {"input_shapes": {"image": "1,1,28,28"}},
            TypeError,
            r"input_shapes\['image'\] is the string '1,1,28,28'; give a",
        ),
        ({"input_shapes": [("image", (1, 2))]}, TypeError, r"such as \{'input': \(1, 3, 224, 224\)\}"),
        ({"input_shapes": {"image": (1, -2)}}, ValueError, "is -2; give sizes of at least 0"),
        ({"per_output": {"y": "small"}}, TypeError, r"per_output\['y'\] is 'small'; give a number"),
        ({"fully_convolutional": True}, TypeError, r"not an option; write sliding=fc2conv.SlidingOptions\(\)"),
        ({"no_verify": True}, TypeError, "write verify=False"),
        ({"cam": True}, TypeError, r"write sliding=fc2conv.SlidingOptions\(cam=...\)"),
        ({"sliding": True}, TypeError, "sliding is True; give a SlidingOptions"),
        ({"options": "all"}, TypeError, "options is 'all'; give a fc2conv.Options, or each option by its name"),
    ],
)
def test_a_wrong_option_is_answered_with_the_nearest(
    lenet: Path, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        fc2conv.plan(lenet, **given)


def test_words_in_a_dict_are_checked() -> None:
    with pytest.raises(ValueError, match=r"score_map\['y'\] is 'logit'; the nearest right value is 'logits'"):
        fc2conv.SlidingOptions(score_map={"y": "logit"})  # type: ignore[dict-item]


def test_values_of_other_libraries_and_paths_are_options(lenet: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('title = "mine"\nabout = "a test"\nlike = "dla"\n')
    given = {"target": profile, "static": np.int64(2), "rtol": np.float32(0.5), "scope": "all"}
    options = fc2conv.plan(lenet, input_shapes={"image": np.array([2, 1, 28, 28])}, **given).options
    assert options["target"] == str(profile)
    assert options["static"] == "2"


def test_a_report_prints_as_the_command_does(converted: fc2conv.Report, passed: fc2conv.Verification) -> None:
    text = str(converted)
    assert text.startswith("vgg16.onnx -> out.onnx: 3 of 4 fully connected layers converted, proved\n")
    assert text.splitlines()[-1].startswith("Convolutions only: no.")
    assert str(passed).startswith("Verification: proved")
    conversion = fc2conv.Conversion(converted, ModelProto())
    assert str(conversion) == text
    assert "ModelProto" not in repr(conversion)


def test_a_report_is_a_table_in_a_notebook_and_escapes_names(converted: fc2conv.Report) -> None:
    import msgspec

    layer = msgspec.structs.replace(converted.sites[0], node="<script>alert(1)</script>\x1b[2J")
    page = msgspec.structs.replace(converted, sites=[layer, *converted.sites[1:]])._repr_html_()
    assert page.count("<tr>") == 1 + len(converted.sites)
    assert "4096x512x7x7" in page
    assert "<script>" not in page
    assert "\x1b" not in page
    assert fc2conv.Conversion(converted)._repr_html_() == converted._repr_html_()


class ZMQInteractiveShell:
    """Is what a notebook has; rich looks for its name."""


def test_a_report_is_text_in_a_notebook_as_elsewhere(
    converted: fc2conv.Report, passed: fc2conv.Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(str(each), each._repr_html_()) for each in (converted, passed)]
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    assert [(str(each), each._repr_html_()) for each in (converted, passed)] == expected


def test_a_report_is_saved_in_the_form_of_its_suffix(converted: fc2conv.Report, tmp_path: Path) -> None:
    for name in ("a.json", "a.md", "a.csv", "a.nodes.json"):
        converted.save(tmp_path / name)
    assert (tmp_path / "a.json").read_text().startswith('{"after":')
    assert '"results"' in (tmp_path / "a.nodes.json").read_text()
    with pytest.raises(UsageError, match="names no form of report"):
        converted.save(tmp_path / "a.txt")
    with pytest.raises(OutputError, match="its folder does not exist"):
        converted.save(tmp_path / "gone" / "a.json")


def test_records_are_flat_and_alike_in_their_keys(converted: fc2conv.Report, passed: fc2conv.Verification) -> None:
    for records in (converted.records(), passed.records()):
        assert records
        assert all(each.keys() == records[0].keys() for each in records)
    kept = next(each for each in converted.records() if each["decision"] == "keep")
    assert (kept["code"], kept["node"]) == ("FC102", "aux/MatMul")


def test_the_module_says_what_it_has() -> None:
    assert {"convert", "plan", "verify", "errors", "Options", "Report"} <= set(dir(fc2conv))
    page = pydoc.plain(pydoc.render_doc(fc2conv))
    assert "convert(" in page
    assert "Rewrite the fully connected layers" in page
    assert all(getattr(fc2conv, name).__doc__ for name in fc2conv.__all__ if name != "__version__")
