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


LONG = "y" * 300
"""A name that no file system takes."""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (f"{LONG} o.onnx", ExitCode.INPUT, "cannot be read (File name too long)"),
        (f"help {LONG}", ExitCode.USAGE, "No such command"),
        (f"lenet.onnx o.onnx --static {'1' * 300}", ExitCode.USAGE, "the value of --static is joined to it"),
        (f"lenet.onnx o.onnx --custom-op-library {LONG}", ExitCode.USAGE, "cannot be loaded"),
        (f"batch {LONG} o", ExitCode.INPUT, "does not exist"),
        (f"batch {LONG}.json o", ExitCode.INPUT, "cannot be read (File name too long)"),
        (f"batch {LONG}.zip o", ExitCode.INPUT, "does not exist"),
        (f"batch *{LONG} o", ExitCode.INPUT, "holds no model"),
        (f"report {LONG}", ExitCode.INPUT, "holds no journal of a batch"),
        ("lenet.onnx o.onnx --val-range=-1.7e308,1.7e308", ExitCode.USAGE, "is not LOW,HIGH such as 0,255"),
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
        ("lenet.onnx o.onnx --include", ExitCode.USAGE, "requires an argument: see `fc2conv convert --help`"),
        ("check lenet.onnx --static 4", ExitCode.USAGE, "the value of --static is joined to it; write --static=4"),
        ("lenet.onnx o.onnx --static=9223372036854775808", ExitCode.USAGE, "is more than 9223372036854775807"),
        ("lenet.onnx o.onnx --memory-limit 99999999999999999999", ExitCode.USAGE, "is more than 8796093022207"),
        ("lenet.onnx o.onnx --channel-multiple 1000000", ExitCode.USAGE, "1000000 is more than 4096"),
        ("lenet.onnx o.onnx --providers ,", ExitCode.USAGE, "',' names no provider"),
        ("lenet.onnx o.onnx --timeout nan", ExitCode.USAGE, "'nan' is not a finite number"),
        (
            "lenet.onnx o.onnx --no-verify --exact-only",
            ExitCode.USAGE,
            "--exact-only and --no-verify exclude each",
        ),
        (
            "lenet.onnx o.onnx --per-output scores:1e-3",
            ExitCode.USAGE,
            "lenet.onnx: --per-output names 'scores', which is no output: the nearest is 'probabilities'",
        ),
        ("verify lenet.onnx lenet.onnx --per-output a:1", ExitCode.USAGE, "--per-output names 'a', which is no output"),
        ("lenet.onnx o.onnx --overwrite-input-shape x:1,1,28,28", ExitCode.USAGE, "the nearest is 'image'"),
        ("lenet.onnx o.onnx --load-inputs lenet.onnx", ExitCode.USAGE, "'lenet.onnx' cannot be read: give FILE.npz"),
        (
            "lenet.onnx o.onnx --custom-op-library lenet.onnx",
            ExitCode.USAGE,
            "give a library that is built for this system",
        ),
        ("verify lenet.onnx lenet.onnx --certificate net.pt", ExitCode.USAGE, "'net.pt' is no certificate ("),
        ("check lenet.onnx --fail-on FC999", ExitCode.USAGE, "'FC999' is not a code; `fc2conv explain` lists them"),
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


@pytest.mark.parametrize("words", [["", "o.onnx"], ["lenet.onnx", ""], ["check", ""]])
@pytest.mark.usefixtures("folder")
def test_an_empty_path_is_called_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.USAGE
    assert "the path is empty" in capsys.readouterr().err


def test_a_name_that_acts_on_a_terminal_is_escaped_where_it_is_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model\x1b[2J.onnx").touch()
    assert main(["model.onnx", "o.onnx"]) == ExitCode.INPUT
    assert "\x1b" not in capsys.readouterr().err


def test_more_jobs_than_the_memory_has_room_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psutil")
    monkeypatch.setattr("fc2conv.system.machine_memory", lambda: 1 << 30)
    for name in "abcdef":
        (tmp_path / f"{name}.onnx").touch()
    words = ["batch", str(tmp_path), str(tmp_path / "out"), "--jobs"]
    assert main([*words, "99"]) == ExitCode.USAGE
    assert "--jobs 99 leaves 153 MiB of memory to each model: give at most --jobs 3" in capsys.readouterr().err
