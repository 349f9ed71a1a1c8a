"""The mode on the command line, and in the report as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import ModelProto
from sliding_judge import geometry

from fc2conv.cli import main
from fc2conv.errors import Fc2convError
from fc2conv.report.json import render
from fc2conv.report.types import Report

Load = Callable[[str], ModelProto]


@pytest.fixture
def gap(fixture: Load, tmp_path: Path) -> Path:
    onnx.save(fixture("gap"), tmp_path / "gap.onnx")
    return tmp_path / "gap.onnx"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_whole_mode(gap: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    words = "--fully-convolutional --reduce mean --cam --verify-crops --output-format json".split()
    done = run(gap, out, *words)
    assert not isinstance(done.exception, Fc2convError), done.exception
    report = json.loads(done.stdout)
    assert report["outcome"] == "converted"
    assert [check["name"] for check in report["verification"]["checks"]][-3:] == ["training size", "windows", "crops"]
    sliding = report["sliding"]
    runs = {"minimum": [17, 17], "step": [1, 1], "remainders": [[0], [0]]}
    assert sliding["inputs"] == [{"dims": [2, 3], "input": "image", "sizes": [20, 20]} | runs]
    assert [(o["output"], o["kind"]) for o in sliding["outputs"]] == [
        ("logits", "map"),
        ("logits_mean", "mean"),
        ("logits_cam", "cam"),
    ]
    (crop,) = sliding["crops"]
    assert crop["size"] == [28, 28]
    assert max(max(row) for row in crop["map"]) == crop["max"] > crop["mean"] > 0
    model = onnx.load(out)
    axis = geometry(model, "logits")["axes"][0]
    runs = {"minimum": 17, "step": 1, "remainders": [0]}
    assert (
        axis
        == {"center": 9.5, "dim": 2, "field": 23, "input": "image", "offset": -3, "period": 4, "size": 20, "stride": 4}
        | runs
    )
    assert axis.items() <= {**sliding["outputs"][0]["axes"][0]}.items()


@pytest.mark.parametrize(
    "words",
    [
        ["--cam"],
        ["--reduce", "mean"],
        ["--global-pool", "keep"],
        ["--score-map", "logits"],
        ["--input-axes", "image:2"],
        ["--upsample"],
        ["--verify-crops"],
        ["--fully-convolutional", "--score-map", "numbers"],
        ["--fully-convolutional", "--input-axes", "image"],
        ["--fully-convolutional", "--input-axes", "image:2", "--input-axes", "image:3"],
        ["--fully-convolutional", "--global-pool", "none"],
        ["--fully-convolutional", "--verify-crops", "--no-verify"],
    ],
)
def test_options_that_make_no_sense(words: list[str], gap: Path, tmp_path: Path) -> None:
    done = run(gap, tmp_path / "out.onnx", *words)
    assert done.exit_code == 2
    assert not (tmp_path / "out.onnx").exists()


def test_a_plan_tells_what_would_be(gap: Path, tmp_path: Path) -> None:
    done = run(gap, tmp_path / "out.onnx", "--fully-convolutional", "--dry-run")
    assert done.exit_code == 0
    assert "Fully convolutional: image of 17x17 and more (trained on 20x20)" in done.stdout
    assert "pool (GlobalAveragePool) slides with a window of 5x5" in done.stdout
    done = run(gap, tmp_path / "out.onnx", "--fully-convolutional", "--dry-run", "--global-pool", "error")
    assert "Fully convolutional: no, because of" in done.stdout
    assert "FC505" in done.stdout
    assert not (tmp_path / "out.onnx").exists()


def test_text_of_gaps_and_their_map(gap: Path, tmp_path: Path) -> None:
    done = run(gap, tmp_path / "out.onnx", "--fully-convolutional", "--verify-crops", "-v")
    lines = done.stdout.splitlines()
    assert any("crops are padded where the larger" in line for line in lines)
    start = lines.index("  logits:")
    assert [len(line.split()) for line in lines[start + 1 : start + 4]] == [3, 3, 3]


def test_a_report_with_the_mode_reads_back(gap: Path, tmp_path: Path) -> None:
    import msgspec

    file = tmp_path / "report.json"
    run(gap, tmp_path / "out.onnx", "--fully-convolutional", "--verify-crops", "--report", file, "-q")
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    assert report.sliding is not None
    assert render(report) == file.read_bytes()


def test_in_place(gap: Path) -> None:
    done = run(gap, gap, "--fully-convolutional", "-q")
    assert done.exit_code == 0
    assert geometry(onnx.load(gap), "logits")["axes"][0]["stride"] == 4
