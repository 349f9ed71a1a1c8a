"""fc2conv as a process: what it loads, pipes, full disks, interrupts; and, on the fixture, the whole tool."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fc2conv import errors
from fc2conv.errors import ExitCode
from fc2conv.report.json import render
from fc2conv.report.types import Report

PACKAGE = Path(errors.__file__).parent

HEAVY = {"onnx", "onnxruntime", "numpy", "rich", "msgspec", "psutil", "jinja2", "graphlay"}

# Runs the command line on a library whose plan is read from a file (argv[1]; an empty name sleeps instead).
STUBBED = """
import sys, time
import msgspec, fc2conv
from fc2conv.__main__ import main
from fc2conv.report.types import Report
def plan(model, options, progress):
    if sys.argv[1]:
        return msgspec.json.decode(open(sys.argv[1], "rb").read(), type=Report)
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)
fc2conv.plan = plan
sys.exit(main(sys.argv[2:]))
"""

# Converts to argv[1] with a child that was killed while it wrote there, as Ctrl-C does, and says what was loaded.
INTERRUPTED = """
import sys
from fc2conv import api
def interrupted(*_, **__):
    raise KeyboardInterrupt
api.contained = interrupted
try:
    api.convert("in.onnx", sys.argv[1])
except KeyboardInterrupt:
    print("swept")
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def stubbed(planned: Report, tmp_path: Path) -> list[str]:
    """The beginning of a command that plans what the fixture `planned` says."""
    (tmp_path / "report.json").write_bytes(render(planned))
    return [sys.executable, "-c", STUBBED, str(tmp_path / "report.json")]


def run(*command: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command with the package that is under test here, whatever the folder it runs in; `env` is added."""
    roots = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": roots, **(env or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run(command, text=True, timeout=120, check=False, env=environment, **streams)


def fc2conv(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "fc2conv", *arguments, **more)


def started() -> set[str]:
    """What an interpreter loads by itself: in a simulated system more than Python."""
    return set(run(sys.executable, "-c", "import sys; print(*sys.modules)").stdout.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["convert", "--help"], ["--version"], ["explain"], ["explain", "FC102"], ["no-output"]]
)
def test_what_needs_no_model_loads_nothing_heavy(arguments: list[str]) -> None:
    code = "import sys; from fc2conv.__main__ import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = run(sys.executable, "-c", code, *arguments)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & HEAVY - started()


def test_who_is_interrupted_sweeps_and_loads_nothing_heavy(tmp_path: Path) -> None:
    left = tmp_path / ".fc2conv-0123456789abcdef"
    left.mkdir()
    (left / ".fc2conv-lock").touch()
    (left / "model.onnx").write_bytes(b"half")
    done = run(sys.executable, "-c", INTERRUPTED, str(tmp_path / "out.onnx"))
    assert done.stdout == "swept\n"
    assert not list(tmp_path.iterdir())
    assert not {name.split(".")[0] for name in done.stderr.split()} & HEAVY - started()


def test_exit_code_and_streams_of_the_module() -> None:
    done = fc2conv("model.onnx")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    remedy = "`fc2conv check IN` prints the plan and writes nothing; see `fc2conv convert --help`"
    assert done.stderr == f"fc2conv: error: Missing argument 'OUT': {remedy}\n"


def test_a_pipe_gets_ascii_and_whole_lines(stubbed: list[str]) -> None:
    done = run(*stubbed, "check", "a", env={"FORCE_COLOR": "1", "COLUMNS": "300"})
    assert done.returncode == ExitCode.CHECK_FOUND
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 80


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["check", "a"], ["check", "a", "b", "--output-format", "json"]])
def test_a_reader_that_leaves_changes_nothing(stubbed: list[str], arguments: list[str], unbuffered: str) -> None:
    assert _with_closed_reader([*stubbed, *arguments], unbuffered) == (ExitCode.CHECK_FOUND, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain"], ["check", "--help"]])
def test_a_reader_that_leaves_the_help(arguments: list[str], unbuffered: str) -> None:
    assert _with_closed_reader([sys.executable, "-m", "fc2conv", *arguments], unbuffered) == (ExitCode.DONE, "")


def _with_closed_reader(command: list[str], unbuffered: str) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*command, stdout=writer, env={"PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["check", "a"], ["--help"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here to write to")
def test_a_full_disk_behind_stdout_is_an_error(stubbed: list[str], arguments: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run(*stubbed, *arguments, stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == ExitCode.OUTPUT
    assert done.stderr.startswith("fc2conv: error: the report could not be written to stdout (No space left")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors as a POSIX shell does")
def test_closed_streams_are_no_fault(stubbed: list[str]) -> None:
    done = run("sh", "-c", 'exec "$@" >&- 2>&-', "sh", *stubbed, "check", "a")
    assert done.returncode == ExitCode.CHECK_FOUND


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent to a POSIX process")
def test_ctrl_c_exits_with_130_in_one_line() -> None:
    command = [sys.executable, "-c", STUBBED, "", "check", "a"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "fc2conv: interrupted\n"
    assert process.returncode == ExitCode.INTERRUPTED


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_names_that_the_terminal_cannot_spell(planned: Report, tmp_path: Path, encoding: str) -> None:
    text = render(planned).replace(b'"fc6"', '"層"'.encode())
    (tmp_path / "report.json").write_bytes(text)
    command = [sys.executable, "-c", STUBBED, str(tmp_path / "report.json"), "check", "a"]
    done = run(*command, env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (ExitCode.CHECK_FOUND, "")
    assert "\\u5c64" in done.stdout


# --- The whole tool on fixtures/lenet.onnx: no stubs from here on. The fixture `lenet` skips what is not built yet. ---


def test_lenet_is_converted_and_proved(lenet: Path) -> None:
    done = fc2conv("lenet.onnx", "out.onnx", cwd=lenet.parent)
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")
    headline = done.stdout.splitlines()[0]
    assert headline == "lenet.onnx -> out.onnx: 3 of 3 fully connected layers converted, proved"
    assert sorted(path.name for path in lenet.parent.iterdir()) == ["lenet.onnx", "out.onnx"]


def test_lenet_as_json(lenet: Path) -> None:
    done = fc2conv("lenet.onnx", "out.onnx", "--output-format", "json", cwd=lenet.parent)
    report = json.loads(done.stdout)
    assert [layer["kernel_shape"] for layer in report["sites"]] == [[5, 5], [1, 1], [1, 1]]
    assert report["verification"]["verdict"] == "proved"
    assert report["output"]["bytes"] == (lenet.parent / "out.onnx").stat().st_size


def test_check_then_convert_then_nothing_is_left_to_do(lenet: Path, command: Path) -> None:
    fc2conv, before = partial(run, str(command)), lenet.read_bytes()
    assert fc2conv("check", str(lenet)).returncode == ExitCode.CHECK_FOUND
    assert fc2conv(str(lenet), str(lenet), "--dry-run").returncode == ExitCode.DONE
    assert fc2conv(str(lenet), str(lenet), "--require", "4").returncode == ExitCode.CHECK_FOUND
    assert lenet.read_bytes() == before
    assert fc2conv(str(lenet), str(lenet), "--require", "3").returncode == ExitCode.DONE
    assert lenet.read_bytes() != before
    assert fc2conv("check", str(lenet)).returncode == ExitCode.DONE


def test_verify_compares_two_files(lenet: Path, command: Path) -> None:
    fc2conv, out = partial(run, str(command)), lenet.with_name("out.onnx")
    fc2conv(str(lenet), str(out))
    assert fc2conv("verify", str(lenet), str(out)).returncode == ExitCode.DONE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"\xff" * 99,
        None,
    ],
    ids=["empty", "html", "lfs", "noise", "missing"],
)
def test_a_file_that_is_no_model_is_one_line_and_leaves_the_old_output(
    lenet: Path, command: Path, content: bytes | None
) -> None:
    lenet.unlink()
    if content is not None:
        lenet.write_bytes(content)
    (lenet.parent / "out.onnx").write_bytes(b"old")
    done = run(str(command), "lenet.onnx", "out.onnx", cwd=lenet.parent)
    assert (done.returncode, done.stdout) == (ExitCode.INPUT, "")
    assert re.fullmatch(r"fc2conv: error: .*lenet\.onnx.*\n", done.stderr)
    assert (lenet.parent / "out.onnx").read_bytes() == b"old"


@pytest.mark.usefixtures("lenet")
@pytest.mark.parametrize(
    "first", ["fc2conv.plan", "fc2conv.Report", "find_spec('fc2conv.convert') and import_module('fc2conv.convert')"]
)
def test_the_function_convert_is_not_hidden_by_its_module(first: str) -> None:
    """An import of the submodule binds its name in the package, after which a lazy lookup is never asked."""
    imports = "import fc2conv; from importlib import import_module; from importlib.util import find_spec"
    assert run(sys.executable, "-c", f"{imports}; {first}; assert callable(fc2conv.convert)").stderr == ""


def test_the_readme_has_the_two_commands(root: Path) -> None:
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    for command in (
        "pip install . && fc2conv fixtures/lenet.onnx out.onnx",
        "pip install '.[test]' && python -m pytest",
    ):
        assert lines.count(command) == 1
        assert lines[lines.index(command) - 1].startswith("```")
