"""`fc2conv check` as a gate, `--report` and annotations: exit codes, and what is said where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made import kept_layer

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, InputError, MismatchError
from fc2conv.reasons import Code
from fc2conv.report.types import Check, LayoutNodes, Report, Verdict, Verification

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planned: Report, idle: Report) -> dict[str, Report]:
    """What `plan` says of each name; the working directory is empty."""
    product = kept_layer("qk", Code.WEIGHT_NOT_CONSTANT, "")
    found = {
        "mixed": planned,
        "idle": idle,
        "all": msgspec.structs.replace(planned, sites=planned.sites[:3], layout_nodes=LayoutNodes(before=1, after=1)),
        "kept": msgspec.structs.replace(planned, sites=[planned.sites[3], product]),
        "products": msgspec.structs.replace(planned, sites=[product]),
        "costly": msgspec.structs.replace(planned, layout_nodes=LayoutNodes(before=1, after=4)),
    }

    def plan(model: str, *_: Any, **__: Any) -> Report:
        if model not in found:
            raise InputError(f"{model} is empty", "export it again")
        return msgspec.structs.replace(found[model], input=msgspec.structs.replace(planned.input, path=model))

    monkeypatch.setitem(vars(fc2conv), "plan", plan)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ("mixed", "can be converted"),
        ("idle kept products", None),
        ("mixed --fail-on nothing", None),
        ("mixed --fail-on convertible", "3 layers can be converted (--fail-on convertible)"),
        ("all --fail-on kept", None),
        ("products --fail-on kept", None),
        ("mixed --fail-on kept", "mixed: 1 layer would be kept: FC102 x1 (--fail-on kept)"),
        ("mixed --allow fc102", None),
        ("mixed --allow FC101", "FC102 x1"),
        ("mixed --allow FC102 --fail-on convertible", "3 layers can be converted"),
        ("mixed --require 3", None),
        ("mixed --require 4", "3 of at least 4 layers can be converted (--require 4)"),
        ("all kept --require 1", "kept: 0 of at least 1 layer can be converted"),
        ("mixed --fail-on added-transposes", None),
        ("costly --fail-on added-transposes", "3 layout nodes would be added (--fail-on added-transposes)"),
        ("all costly --fail-on added-transposes --fail-on kept --allow FC102", "costly: 3 layout nodes"),
    ],
)
def test_what_fails(models: dict[str, Report], capsys: Captured, line: str, failed: str | None) -> None:
    assert models
    assert main(["check", *line.split()]) == (ExitCode.DONE if failed is None else ExitCode.CHECK_FOUND)
    err = capsys.readouterr().err
    if "--" in line and failed is not None:
        assert failed in err
        assert all(each.startswith("fc2conv: ") for each in err.splitlines())
    else:
        assert err == ""  # the text says what can be converted


@pytest.mark.parametrize("more", ["--fail-on kept", "--allow FC101", "--require 1"])
def test_nothing_goes_with_nothing_else(models: dict[str, Report], capsys: Captured, more: str) -> None:
    assert main(["check", *models, "--fail-on", "nothing", *more.split()]) == ExitCode.USAGE
    assert "--fail-on nothing excludes every other condition" in capsys.readouterr().err


def test_a_model_that_cannot_be_read_counts_more(models: dict[str, Report], capsys: Captured) -> None:
    assert main(["check", "mixed", "empty", "--fail-on", "kept"]) == ExitCode.INPUT
    assert main(["check", "empty", "mixed", "--fail-on", "nothing"]) == ExitCode.INPUT
    assert capsys.readouterr().err.count("empty is empty") == 2
    assert models


def test_annotations_of_a_gate(models: dict[str, Report], capsys: Captured) -> None:
    assert main(["check", "mixed", "empty", "idle", "--allow", "FC101", "--output-format", "github"]) == ExitCode.INPUT
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("::") and "stop-commands" not in line]
    assert "::error title=fc2conv::empty is empty: export it again" in lines
    assert "::error file=mixed,title=fc2conv check::mixed: 1 layer would be kept: FC102 x1 (--fail-on kept)" in lines
    assert sum(line.startswith("::notice file=") for line in lines) == 2
    assert "FC102" in out
    assert err.splitlines()[0] == "fc2conv: error: empty is empty: export it again"
    assert models


def test_a_quiet_run_has_its_annotations(models: dict[str, Report], capsys: Captured) -> None:
    main(["check", "mixed", "-q", "--output-format", "github"])
    out = capsys.readouterr().out
    assert all(line.startswith("::") for line in out.splitlines())
    assert "::error file=mixed,title=fc2conv check::mixed: 3 layers can be converted (--fail-on convertible)\n" in out
    assert models


def test_an_error_is_an_annotation_too(models: dict[str, Report], capsys: Captured) -> None:
    assert main(["empty", "out", "--dry-run", "--output-format", "github"]) == ExitCode.INPUT
    out, err = capsys.readouterr()
    assert out == "::error title=fc2conv::empty is empty: export it again\n"
    assert err == "fc2conv: error: empty is empty: export it again\n"
    assert main(["empty", "out", "--dry-run"]) == ExitCode.INPUT
    assert capsys.readouterr().out == ""
    assert models


def test_reports_in_several_forms(models: dict[str, Report], capsys: Captured) -> None:
    assert main(["check", "mixed", "idle", "-q", "--report", "a.json", "--report", "a.md"]) == ExitCode.CHECK_FOUND
    reports = [msgspec.json.decode(line, type=Report) for line in Path("a.json").read_bytes().splitlines()]
    assert [report.input.path for report in reports] == ["mixed", "idle"]
    assert Path("a.md").read_text(encoding="utf-8").count("### ") == 2
    assert capsys.readouterr() == ("", "")
    assert models


def test_a_plan_that_is_not_enough_is_reported(models: dict[str, Report]) -> None:
    assert main(["mixed", "out", "--require", "4", "-q", "--report", "a.json"]) == ExitCode.CHECK_FOUND
    assert json.loads(Path("a.json").read_bytes())["outcome"] == "planned"
    assert models


def test_a_report_that_cannot_be_written(models: dict[str, Report], capsys: Captured) -> None:
    assert main(["check", "mixed", "--report", "missing/a.json"]) == ExitCode.OUTPUT
    assert "missing/a.json cannot be written: its folder does not exist" in capsys.readouterr().err
    assert models


def test_verify_writes_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured, passed: Verification
) -> None:
    monkeypatch.setitem(vars(fc2conv), "verify", lambda *_, **__: passed)
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "a", "b", "--report", "v.md", "--output-format", "github"]) == ExitCode.DONE
    assert (
        Path("v.md")
        .read_text(encoding="utf-8")
        .startswith("### `a, b`: the two models are proved to be the same function\n")
    )
    assert (
        "::notice file=b,title=fc2conv verify::a, b: the two models are proved to be the same function\n"
        in capsys.readouterr().out
    )


def test_a_failed_proof_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured, converted: Report
) -> None:
    checks = [Check(name="numeric", verdict=Verdict.DIFFERS, detail="y differs by 3")]
    verification = Verification(verdict=Verdict.DIFFERS, checks=checks)
    report = msgspec.structs.replace(converted, outcome="differs", output=None, verification=verification)

    def convert(*_: Any, **__: Any) -> None:
        raise MismatchError("verification failed, numeric: y differs by 3", "nothing was written", report=report)

    monkeypatch.setitem(vars(fc2conv), "convert", convert)
    monkeypatch.chdir(tmp_path)
    line = ["a", "b", "--output-format", "github", "--report", "a.md", "--report", "a.json"]
    assert main(line) == ExitCode.MISMATCH
    assert msgspec.json.decode(Path("a.json").read_bytes(), type=Report) == report
    assert "| `numeric` | ❌ differs | `y differs by 3` |" in Path("a.md").read_text(encoding="utf-8")
    out, err = capsys.readouterr()
    assert "::error file=vgg16.onnx,title=fc2conv verification::vgg16.onnx: numeric: differs, y differs by 3\n" in out
    assert out.endswith("::error title=fc2conv::verification failed, numeric: y differs by 3: nothing was written\n")
    assert err == "fc2conv: error: verification failed, numeric: y differs by 3: nothing was written\n"


def test_nothing_on_the_command_line_overrides_a_file(models: dict[str, Report], capsys: Captured) -> None:
    assert models
    Path("fc2conv.toml").write_text('allow = ["FC101"]\nrequire = 9\n', encoding="utf-8")
    assert main(["check", "kept", "-q"]) == ExitCode.CHECK_FOUND
    assert main(["check", "kept", "-q", "--fail-on", "nothing"]) == ExitCode.DONE
    assert main(["check", "kept", "-q", "--fail-on", "nothing", "--allow", "FC101"]) == ExitCode.USAGE
    assert "excludes every other condition" in capsys.readouterr().err


def test_a_word_of_another_command_in_a_file(models: dict[str, Report], capsys: Captured) -> None:
    """`targets` prints no annotations."""
    assert models
    Path("fc2conv.toml").write_text('output-format = "github"\n', encoding="utf-8")
    assert main(["targets"]) == ExitCode.DONE
    assert "::" not in capsys.readouterr().out
    assert main(["check", "kept"]) == ExitCode.DONE
    assert "::" in capsys.readouterr().out
    for text in ('output-format = "gitlab"', '[targets]\noutput-format = "github"'):
        Path("fc2conv.toml").write_text(text, encoding="utf-8")
        assert main(["targets"]) == ExitCode.USAGE
