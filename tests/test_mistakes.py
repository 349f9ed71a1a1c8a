"""What a newcomer gives in place of a model, a file or a value: one line that says what to do, and the exit code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from fc2conv.__main__ import main
from fc2conv.errors import ExitCode


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return stream.getvalue()


@pytest.fixture
def folder(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a newcomer: a model, a folder, and files of other tools."""
    monkeypatch.chdir(lenet.parent)
    (lenet.parent / "models").mkdir()
    (lenet.parent / "net.pt").write_bytes(archive("net/data.pkl", "net/version"))
    (lenet.parent / "more.zip").write_bytes(archive("a.onnx"))
    return lenet.parent


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("lennet.onnx o.onnx", ExitCode.INPUT, "lennet.onnx does not exist: the nearest is lenet.onnx"),
        ("gone.onnx o.onnx", ExitCode.INPUT, "gone.onnx does not exist: check the path"),
        ("info lenet.onnx", ExitCode.INPUT, "info does not exist: check the path; `fc2conv --help` lists the commands"),
        ("https://x.org/m.onnx o.onnx", ExitCode.INPUT, "https://x.org/m.onnx is a URL: fetch the model first"),
        ("lenet.onnx s3://bucket/o.onnx", ExitCode.OUTPUT, "s3://bucket/o.onnx is a URL: give a file"),
        ("check *.onxx", ExitCode.INPUT, "*.onxx matches no file: check the pattern"),
        (
            "check models",
            ExitCode.INPUT,
            "give the model file in it; `fc2conv batch` takes folders",
        ),
        (
            "net.pt o.onnx",
            ExitCode.INPUT,
            "net.pt is a ZIP archive of PyTorch: export the model",
        ),
        ("more.zip o.onnx", ExitCode.INPUT, "more.zip is a ZIP archive: unpack it"),
        ("lenet.onnx", ExitCode.USAGE, "`fc2conv check IN` prints the plan and writes nothing"),
        ("lenet.onnx o.onnx --seed x", ExitCode.USAGE, "'x' is not a whole number"),
        ("lenet.onnx o.onnx --timeout soon", ExitCode.USAGE, "'soon' is not a number"),
        ("explain 102", ExitCode.USAGE, "'102' is not a code; the nearest is FC102; `fc2conv explain` lists them"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    folder: Path, words: str, code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.iterdir())
    assert main(words.split()) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert said in streams.err
    assert streams.err.count("\n") == 1
    assert set(folder.iterdir()) == before


def test_a_name_that_acts_on_a_terminal_is_escaped_where_it_is_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model\x1b[2J.onnx").touch()
    assert main(["model.onnx", "o.onnx"]) == ExitCode.INPUT
    assert "\x1b" not in capsys.readouterr().err
