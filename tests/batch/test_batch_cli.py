"""The command as people see it: progress and failures on stderr, the summary on stdout, reports in files."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from batches import KEPT, PLAIN, batch, outcomes_of, save, timeless

from fc2conv.__main__ import main
from fc2conv.batch.run import Batch
from fc2conv.errors import ExitCode
from fc2conv.report.json import render
from fc2conv.report.types import BatchReport

pytestmark = pytest.mark.usefixtures("inline")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """The DST of a batch of five models, one of them invalid."""
    for seed in range(2):
        save(tmp_path / "zoo" / f"{seed}.onnx", seed)
    save(tmp_path / "zoo" / "kept.onnx", text=KEPT)
    save(tmp_path / "zoo" / "plain.onnx", text=PLAIN)
    (tmp_path / "zoo" / "\x1b[2J.onnx").touch()
    assert batch(tmp_path / "zoo", tmp_path / "out", "--jobs", "1") == ExitCode.BATCH_FAILURES
    return tmp_path / "out"


def test_what_is_printed_where(capsys: Captured, done: Path) -> None:
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == f"{done.parent}/zoo -> {done}: 5 models, 4 written, 1 failed"
    assert "2  converted  layers became convolutions" in printed.out
    assert "2 of 3 fully connected layers converted" in printed.out
    assert "Kept: 1 FC101" in printed.out or "Kept: 1 FC1" in printed.out
    assert "fc2conv: \\x1b[2J.onnx: invalid: " in printed.err
    assert "fc2conv: 5 of 5 models" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_the_reports_agree(done: Path) -> None:
    folder = done / ".fc2conv"
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=BatchReport)
    assert (folder / "report.json").read_bytes() == render(report)
    with (folder / "report.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    suite = ElementTree.parse(folder / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert len(report.rows) == len(lines) == len(suite) == 5
    assert [line["outcome"] for line in lines] == [row.outcome for row in report.rows]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "1")
    assert dict(report.counts) == {"converted": 2, "unchanged": 1, "kept": 1, "invalid": 1}


def test_reports_are_made_again_from_the_journal(done: Path, tmp_path: Path, capsys: Captured) -> None:
    before = {path.name: path.read_bytes() for path in (done / ".fc2conv").glob("report.*")}
    for name in before:
        (done / ".fc2conv" / name).unlink()
    capsys.readouterr()
    assert main(["report", str(done)]) == ExitCode.BATCH_FAILURES
    assert "5 models, 4 written, 1 failed" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (done / ".fc2conv").glob("report.*")} == before

    assert main(["report", str(done / ".fc2conv"), "--output-format", "json"]) == ExitCode.BATCH_FAILURES
    assert capsys.readouterr().out.encode() == before["report.json"]
    other = tmp_path / "other.csv"
    assert main(["report", str(done), "-q", "--report", str(other)]) == ExitCode.BATCH_FAILURES
    assert other.read_bytes() == before["report.csv"]
    assert capsys.readouterr().out == ""
    assert timeless(done)["rows"]


def test_a_report_of_nothing(tmp_path: Path, capsys: Captured) -> None:
    assert main(["report", str(tmp_path)]) == ExitCode.INPUT
    assert "holds no journal of a batch" in capsys.readouterr().err
    main(["report", "--help"])
    assert f"\n    {ExitCode.INPUT:>3d}  " in capsys.readouterr().out


def test_the_journal_may_be_elsewhere(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    out, run = tmp_path / "out", tmp_path / "run"
    assert batch(tmp_path / "zoo", out, "--jobs", "1", "-q", "--run", str(run)) == ExitCode.DONE
    assert [path.name for path in out.iterdir()] == ["a.onnx"]
    assert outcomes_of(run) == {"a.onnx": "converted"}
    save(tmp_path / "other" / "b.onnx")
    assert batch(tmp_path / "other", tmp_path / "more", "--jobs", "1", "-q") == ExitCode.DONE
    (tmp_path / "more" / ".fc2conv").rename(run / ".fc2conv")
    assert batch(tmp_path / "zoo", out, "--jobs", "1", "-q", "--run", str(run)) == ExitCode.DONE
    assert outcomes_of(run) == {"a.onnx": "converted"}
    assert json.loads((run / "report.json").read_bytes())["rows"][0]["name"] == "a.onnx"
    assert outcomes_of(run / ".fc2conv") == {"b.onnx": "converted"}


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    (tmp_path / "zoo" / "b.onnx").touch()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fc2conv", "batch", str(tmp_path / "zoo"), str(tmp_path / "out"), "--jobs", "1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == ExitCode.BATCH_FAILURES
    assert b"/2" in shown
    assert b"b.onnx: invalid" in shown
    assert b"elapsed" in shown
    assert b" of 2 models" not in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("zoo out --shard 3/2", "'3/2' is not I/N"),
        ("zoo out --shard 0/2", "'0/2' is not I/N"),
        ("zoo out --jobs 0", "0 is not in the range"),
        ("zoo out --timeout 0", "0.0 is not in the range"),
        ("zoo out --external-data --inline", "exclude each other"),
        ("zoo out --timeout inf", "'inf' is not a finite number"),
        ("zoo memory://out/x", "name a folder with --run"),
    ],
)
def test_usage(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, argv: str, message: str) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    monkeypatch.chdir(tmp_path)
    assert main(["batch", *argv.split()]) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_json_is_the_report(tmp_path: Path, capsys: Captured) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    assert batch(tmp_path / "zoo", tmp_path / "out", "--jobs", "1", "--output-format", "json") == ExitCode.DONE
    printed = json.loads(capsys.readouterr().out)
    assert [row["outcome"] for row in printed["rows"]] == ["converted"]


def test_defaults_of_the_library_are_those_of_the_command() -> None:
    from fc2conv.cli.batch import batch as command

    defaults = {param.name: param.default for param in command.params}
    fields = Batch(source="", destination="", items=[])
    assert defaults["resume"] == fields.resume
