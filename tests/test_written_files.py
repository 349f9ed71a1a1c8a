"""What is written beside a model: as a whole or not at all, where it can be, and never over what is read."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
from batches import save, save_external
from onnx import numpy_helper
from PIL import Image
from textmodel import parse

import fc2conv
from fc2conv import Options, VerifyOptions
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, OutputError, OverlapError
from fc2conv.report import render
from fc2conv.verification import given

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with `in.onnx` and its `w.bin`; what hangs in it is an error."""

    def late(*_: object) -> NoReturn:
        raise TimeoutError

    monkeypatch.chdir(tmp_path)
    save_external(tmp_path / "in.onnx", "w.bin")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def there() -> dict[str, bytes]:
    """Every file below the working folder with its bytes, or what else it is."""
    return {
        str(path): path.read_bytes() if path.is_file() else b"a link" if path.is_symlink() else b""
        for path in sorted(Path().rglob("*"))
    }


def refused(
    capsys: Captured, *line: str, code: ExitCode = ExitCode.USAGE, reason: str = "would be written over"
) -> None:
    """The command stops with the code and one line, and every file is as it was."""
    before = there()
    capsys.readouterr()
    assert main([*line, "-q"]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err or (code == ExitCode.USAGE and "names no form of report" in err)
    assert there() == before


@pytest.fixture
def bad(folder: Path) -> str:
    """A model that `verify` finds to differ from `in.onnx`."""
    model = onnx.load(folder / "in.onnx")
    bias = next(each for each in model.graph.initializer if each.name == "fc_b")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1), bias.name))
    onnx.save(model, folder / "bad.onnx")
    return "bad.onnx"


def linked(kind: str, name: str) -> str:
    """Another name of a file."""
    path = {"itself": f"./{name}", "symbolic link": "link.json", "hard link": "hard.json"}[kind]
    if kind == "symbolic link":
        Path(path).symlink_to(name)
    elif kind == "hard link":
        Path(path).hardlink_to(name)
    return path


KINDS = ("itself", "symbolic link", "hard link")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["in.onnx", "w.bin"])
@pytest.mark.parametrize(
    "command",
    [
        ["in.onnx", "out.onnx"],
        ["in.onnx", "out.onnx", "--dry-run"],
        ["check", "in.onnx"],
        ["verify", "in.onnx", "in.onnx"],
    ],
    ids=["convert", "dry run", "check", "verify"],
)
def test_no_report_over_a_model_or_its_data(capsys: Captured, command: list[str], name: str, kind: str) -> None:
    refused(capsys, *command, "--report", linked(kind, name))


def test_no_report_over_a_model_that_cannot_be_converted(capsys: Captured) -> None:
    save(Path("good.onnx"))
    with Path("w.bin").open("r+b") as data:
        data.truncate(100)
    refused(capsys, "check", "good.onnx", "in.onnx", "--report", "w.bin")


@pytest.mark.parametrize("kind", KINDS)
def test_no_report_over_what_else_is_read(capsys: Captured, kind: str) -> None:
    np.savez("given.npz", x=np.zeros((1, 3, 4, 4), np.float32))
    assert main(["in.onnx", "out.onnx", "-q", "--report", "certificate.json"]) == ExitCode.DONE
    Path("fc2conv.toml").write_text("scope = 'spatial'\n", encoding="ascii")
    for name, line in {
        "given.npz": ["verify", "in.onnx", "out.onnx", "--load-inputs", "given.npz"],
        "certificate.json": ["verify", "in.onnx", "out.onnx", "--certificate", "certificate.json"],
        "fc2conv.toml": ["in.onnx", "out.onnx"],
    }.items():
        report = linked(kind, name)
        refused(capsys, *line, "--report", report)
        if kind != "itself":
            Path(report).unlink()


def test_no_output_over_what_else_is_read(capsys: Captured) -> None:
    np.savez("given.npz", x=np.zeros((1, 3, 4, 4), np.float32))
    refused(capsys, "in.onnx", "given.npz", "--load-inputs", "given.npz")
    Path("fc2conv.toml").write_text("scope = 'spatial'\n", encoding="ascii")
    refused(capsys, "in.onnx", "fc2conv.toml")
    refused(capsys, "heatmap", "in.onnx", "picture.png", "fc2conv.toml")
    refused(capsys, "in.onnx", "w.bin", code=ExitCode.OUTPUT, reason="is a data file of the model")


def test_what_is_written_is_written_once(capsys: Captured) -> None:
    refused(capsys, "in.onnx", "out.json", "--report", "./out.json")
    refused(capsys, "in.onnx", "out.onnx", "--report", "a.json", "--report", "./a.json")
    refused(capsys, "in.onnx", "failing-inputs.npz", "--save-failing-inputs", ".")
    refused(capsys, "in.onnx", "o.onnx", "--report", "d/../failing-inputs.npz", "--save-failing-inputs", ".")


def test_no_report_over_the_data_of_the_output(capsys: Captured) -> None:
    assert main(["in.onnx", "out.onnx", "-q"]) == ExitCode.DONE
    (data,) = map(str, Path().glob("out-*.data"))
    refused(capsys, "in.onnx", "out.onnx", "--report", data, "--rtol", "0", "--atol", "0")
    Path("out.onnx").unlink()
    Path(data).unlink()
    refused(capsys, "in.onnx", "out.onnx", "--report", data, reason="over a data file of the output")
    Path("other").mkdir()
    save(Path("plain.onnx"), text="plain (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")
    onnx.save(onnx.load("in.onnx"), "kept.onnx", save_as_external_data=True, location="k.bin", size_threshold=1024)
    refused(capsys, "kept.onnx", "other/kept.onnx", "--exclude", "*", "--report", "other/k.bin")


def test_failing_inputs_over_nothing_that_is_read(capsys: Captured, bad: str) -> None:
    Path("failing").mkdir()
    for name in ("in.onnx", "w.bin", bad):
        Path("failing/failing-inputs.npz").hardlink_to(name)
        refused(capsys, "verify", "in.onnx", bad, "--save-failing-inputs", "failing")
        Path("failing/failing-inputs.npz").unlink()
    shutil.copy("in.onnx", "failing/failing-inputs.npz")
    options = VerifyOptions(save_failing_inputs="failing")
    with pytest.raises(OverlapError):
        fc2conv.convert("failing/failing-inputs.npz", "out.onnx", Options(verification=options))


def test_in_place_the_model_is_read_before_it_is_replaced() -> None:
    """The report of a target reads constants that are stored in IN."""
    random = np.random.default_rng(5)
    made = parse(
        """
        gathers (float[N,8,2,2] image) => (float[N,300] y)
        { x = MaxPool <kernel_shape = [1, 1]> (image)
          f = Flatten (x)
          [fc] g = Gemm <transB = 1> (f, w)
          i = Add (index, one)
          y = Gather <axis = 1> (g, i) }"""
    )
    values = {"w": random.standard_normal((400, 32)).astype(np.float32), "index": random.integers(0, 399, 300)}
    made.graph.initializer.extend(
        numpy_helper.from_array(each, name) for name, each in {**values, "one": np.array(1)}.items()
    )
    onnx.save(made, "gathers.onnx")
    assert main(["gathers.onnx", "gathers.onnx", "--external-data", "--target", "mdla", "-q"]) == ExitCode.DONE
    assert "Conv" in [node.op_type for node in onnx.load("gathers.onnx").graph.node]


@pytest.mark.parametrize("name", ["fifo", "/dev/null", "no/report.json", "folder", "in.onnx/report.json"])
def test_where_nothing_can_be_written_no_work_begins(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.mkfifo("fifo")
    Path("folder").mkdir()
    reason = "not a regular file" if name in ("fifo", "/dev/null") else "fold"
    with monkeypatch.context() as without:
        for work in ("convert", "plan", "verify"):
            without.delitem(vars(fc2conv), work)
        for line in (["in.onnx", "out.onnx"], ["check", "in.onnx"], ["verify", "in.onnx", "in.onnx"]):
            refused(capsys, *line, "--report", name, code=ExitCode.OUTPUT, reason=reason)
    refused(capsys, "in.onnx", name, code=ExitCode.OUTPUT, reason=reason)


def test_a_folder_for_failing_inputs_is_looked_at_first(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(fc2conv), "verify")
    for name in ("in.onnx", "in.onnx/below", "/dev/null/x"):
        line = ["verify", "in.onnx", "in.onnx", "--save-failing-inputs", name]
        refused(capsys, *line, code=ExitCode.OUTPUT, reason="Not a directory")
    Path("d").mkdir()
    os.mkfifo("d/failing-inputs.npz")
    line = ["verify", "in.onnx", "in.onnx", "--save-failing-inputs", "d"]
    refused(capsys, *line, code=ExitCode.OUTPUT, reason="not a regular file")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["check", "fifo"], ExitCode.INPUT),
        (["check", "in.onnx", "--config", "fifo"], ExitCode.USAGE),
        (["verify", "in.onnx", "in.onnx", "--certificate", "fifo"], ExitCode.USAGE),
        (["verify", "in.onnx", "in.onnx", "--load-inputs", "x:fifo"], ExitCode.USAGE),
        (["verify", "in.onnx", "in.onnx", "--custom-op-library", "./fifo"], ExitCode.USAGE),
        (["batch", "fifo.csv", "out"], ExitCode.INPUT),
        (["heatmap", "fcn.onnx", "fifo", "out.png"], ExitCode.INPUT),
        (["heatmap", "fcn.onnx", "picture.png", "fifo"], ExitCode.OUTPUT),
    ],
    ids=lambda each: each[0] + each[-1] if isinstance(each, list) else "",
)
def test_nobody_waits_for_the_other_end(capsys: Captured, line: list[str], code: ExitCode) -> None:
    os.mkfifo("fifo")
    os.mkfifo("fifo.csv")
    sliding()
    refused(capsys, *line, code=code, reason="not a regular file")


def sliding() -> None:
    """A network for `heatmap`, and a picture."""
    save(
        Path("fixed.onnx"),
        text="""
        fixed (float[N,3,4,4] x) => (float[N,2] y) <float[3,3,1,1] k, float[2,12] w>
        { c = Conv (x, k)
          p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          f = Flatten (p)
          y = Gemm <transB = 1> (f, w) }""",
    )
    assert main(["fixed.onnx", "fcn.onnx", "--fully-convolutional", "--external-data", "-q"]) == ExitCode.DONE
    Image.new("RGB", (8, 8), (200, 0, 0)).save("picture.png")


def test_a_picture_over_nothing_that_is_read(capsys: Captured) -> None:
    sliding()
    for name in ("fcn.onnx", "picture.png"):
        for kind in KINDS:
            refused(capsys, "heatmap", "fcn.onnx", "picture.png", linked(kind, name))
            for link in ("link.json", "hard.json"):
                Path(link).unlink(missing_ok=True)
    refused(capsys, "heatmap", "fcn.onnx", "picture.png", "no/out.png", code=ExitCode.OUTPUT, reason="folder does not")
    Path("to.png").touch(mode=0o600)
    Path("link.png").symlink_to("to.png")
    assert main(["heatmap", "fcn.onnx", "picture.png", "link.png", "-q"]) == ExitCode.DONE
    assert Path("link.png").is_symlink()
    assert (Image.open("to.png").size, Path("to.png").stat().st_mode & 0o777) == ((8, 8), 0o600)


def test_a_report_is_the_old_one_or_the_new_one(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [b"half a report"]

    def half(*_: object) -> bytes:
        if parts:
            return parts.pop()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path("report.json").write_bytes(b"old")
    Path("link.json").symlink_to("report.json")
    line = ["check", "in.onnx", "in.onnx", "--report", "link.json"]
    with monkeypatch.context() as full:
        full.setattr(render, "rendered", half)
        refused(capsys, *line, code=ExitCode.OUTPUT, reason="the report link.json cannot be written (No space left")
    assert main([*line, "-q"]) == ExitCode.CHECK_FOUND
    assert Path("link.json").is_symlink()
    assert Path("report.json").read_bytes().startswith(b'{"')


def test_failing_inputs_are_whole_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(stream: object, **_: object) -> None:
        stream.write(b"PK half")  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = there()
    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OutputError, match=r"failing-inputs\.npz cannot be written \(No space left"):
        given.save({"x": np.zeros(1)}, "d/failing-inputs.npz", [])
    shutil.rmtree("d")
    assert there() == before


def test_an_output_may_be_called_as_the_lock_was() -> None:
    assert main(["in.onnx", "lock", "-q", "--report", "lock.json"]) == ExitCode.DONE
    assert Path("lock").is_file()
