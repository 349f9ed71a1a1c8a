"""Workflow commands: read back as a runner reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
from made import converted_layer, kept_layer

from fc2conv.errors import ExitCode
from fc2conv.reasons import Code
from fc2conv.report.github import LIMIT, Annotation, command, commands, quoted
from fc2conv.report.types import BatchReport, BatchRow, Check, Comparison, Report, Verdict, Verification


def run(text: str) -> list[tuple[str, dict[str, str], str]]:
    """What a runner makes of a step's output: the commands that it obeys, as (command, properties, message)."""
    found, token = [], ""
    for line in text.splitlines():
        read = re.match(r"\s*::([^ :]+)(?: (.*?))?::(.*)$", line)
        if read is None:
            continue
        name, properties, message = read[1], read[2] or "", read[3]
        if token:
            token = "" if name == token else token
            continue
        if name == "stop-commands":
            token = message
            continue
        values = dict(pair.split("=", 1) for pair in properties.split(",")) if properties else {}
        found.append((name, {key: _plain(value) for key, value in values.items()}, _plain(message)))
    assert not token
    return found


def _plain(text: str) -> str:
    for char, coded in ((",", "%2C"), (":", "%3A"), ("\n", "%0A"), ("\r", "%0D"), ("%", "%25")):
        text = text.replace(coded, char)
    return text


def test_a_runner_reads_what_was_meant() -> None:
    hostile = "100 %25, a:b::c\n::error::x"
    (read,) = run(command(Annotation("warning", hostile, hostile, file=hostile)))
    assert read == (
        "warning",
        {"file": "100 %25, a:b::c\\n::error::x", "title": hostile},
        "100 %25, a:b::c\\n::error::x",
    )


def test_a_report_is_a_headline_and_its_reasons(converted: Report) -> None:
    kept, headline = run(commands([converted]))
    assert kept[:2] == ("warning", {"file": "vgg16.onnx", "title": "fc2conv FC102"})
    assert "1 layer kept: aux/MatMul." in kept[2]
    assert Code.VIEW_LOST.remedy in kept[2]
    assert headline[0] == "notice"
    assert headline[2].endswith("3 of 4 fully connected layers converted, proved")


def test_a_failed_comparison_is_errors() -> None:
    checks = [
        Check(name="signature", verdict=Verdict.AGREES),
        Check(name="numeric", verdict=Verdict.DIFFERS, detail="y differs"),
    ]
    comparison = Comparison(a="a.onnx", b="b.onnx", verification=Verification(verdict=Verdict.DIFFERS, checks=checks))
    messages = run(commands([comparison]))
    assert [kind for kind, _, _ in messages] == ["error", "error"]
    assert messages[0][2] == "b.onnx: numeric: differs, y differs"


def test_failures_of_a_batch_and_of_a_gate_are_errors(converted: Report) -> None:
    rows = [
        BatchRow(name="ok.onnx", outcome="converted", report=converted),
        BatchRow(name="bad.onnx", outcome="timeout", message="not done in 9 s"),
    ]
    found = run(commands([BatchReport(source="in", destination="out", rows=rows)], [("c.onnx", "2 layers are kept")]))
    assert [each[2] for each in found if each[0] == "error"] == [
        "c.onnx: 2 layers are kept",
        "bad.onnx: not done in 9 s",
    ]
    assert found[-1][2] == "in -> out: 1 converted, 1 timeout"


def test_ten_of_each_kind_the_worst_first(planned: Report) -> None:
    reports = [
        msgspec.structs.replace(planned, sites=[kept_layer(f"n{i}", Code.NO_FEATURE_MAP, "")] * (i + 1))
        for i in range(15)
    ]
    messages = run(commands(reports))
    warnings = [message for kind, _, message in messages if kind == "warning"]
    assert len(warnings) == LIMIT
    assert "15 layers kept: n14, n14, n14, ..." in warnings[0]
    assert warnings[-1] == "6 more, see the log"
    assert sum(kind == "notice" for kind, _, _ in messages) == LIMIT


def test_a_path_outside_of_the_repository_is_no_file_of_it(converted: Report) -> None:
    elsewhere = msgspec.structs.replace(converted, input=msgspec.structs.replace(converted.input, path="/m/a.onnx"))
    assert all("file" not in properties for _, properties, _ in run(commands([elsewhere])))


def test_text_holds_no_commands() -> None:
    text = "::error::evil\n  ::stop-commands::x\n::x::\n"
    assert run(quoted(text) + command(Annotation("notice", "t", "m"))) == [("notice", {"title": "t"}, "m")]
    assert quoted(text) == quoted(text)


def test_what_only_looks_like_a_layer_is_not_reported(planned: Report) -> None:
    layers = [converted_layer("fc", [2, 2], [2, 2, 1, 1]), kept_layer("qk", Code.WEIGHT_NOT_CONSTANT, "")]
    assert [kind for kind, _, _ in run(commands([msgspec.structs.replace(planned, sites=layers)]))] == ["notice"]


def test_the_command_of_a_batch(root: Path, tmp_path: Path) -> None:
    """A real run of one model and one file that is none."""
    source = tmp_path / "models"
    source.mkdir()
    shutil.copy(root / "fixtures" / "se_block.onnx", source / "a.onnx")
    (source / "b.onnx").write_text("no model")
    words = ["batch", "models", "out", "--jobs", "1", "--output-format", "github"]
    done = subprocess.run(
        [sys.executable, "-m", "fc2conv", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ExitCode.BATCH_FAILURES, done.stderr
    errors, notices = ([each for each in run(done.stdout) if each[0] == kind] for kind in ("error", "notice"))
    assert [properties["title"] for _, properties, _ in errors] == ["fc2conv invalid"]
    assert errors[0][2].startswith("b.onnx: ")
    assert [message for _, _, message in notices] == ["models -> out: 1 converted, 1 invalid"]
