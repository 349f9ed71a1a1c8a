"""fc2conv on a terminal: the line of progress, colour, and what a shell completes."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fc2conv import errors
from fc2conv.errors import ExitCode
from fc2conv.report.json import render
from fc2conv.report.types import Report

PACKAGE = Path(errors.__file__).parent
LIMIT = 60

# A plan that reads its report from argv[1] and is not done before the file argv[2] is there; the timer is fast.
WAITING = """
import os, sys, time
import msgspec, fc2conv
from fc2conv.__main__ import main
from fc2conv.cli import progress_line as line
from fc2conv.report.types import Report
line._EVERY = 0.02
def plan(model, options, progress):
    for stage in ("reading", "converting"):
        if progress:
            progress(stage)
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.005)
    return msgspec.json.decode(open(sys.argv[1], "rb").read(), type=Report)
fc2conv.plan = plan
sys.exit(main(sys.argv[3:]))
"""


class Terminal:
    """A process on a terminal of its own, and what has come out of it so far."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.seen = ""

    def until(self, pattern: str) -> str:
        """Reads on until the pattern is there."""
        while not re.search(pattern, self.seen):
            assert self._more(), self.seen
        return self.seen

    def end(self) -> int:
        """Reads all that comes, and returns the exit code."""
        while self._more():
            pass
        return self.process.wait(LIMIT)

    def _more(self) -> bool:
        assert select.select([self.master], [], [], LIMIT)[0], self.seen
        try:
            data = os.read(self.master, 4096)
        except OSError:  # EIO: the last process that had the terminal has closed it
            return False
        self.seen += data.decode()
        return bool(data)


@contextmanager
def on_a_terminal(*command: str, out: int | None = None, **env: str) -> Iterator[Terminal]:
    """The command with stderr, and stdout unless `out` is given, on a terminal."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
    master, slave = pty.openpty()
    variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    environment = {**variables, "PYTHONPATH": str(PACKAGE.parent), "TERM": "xterm", **env}
    streams = {"stdin": slave, "stdout": slave if out is None else out, "stderr": slave}
    with subprocess.Popen(command, env=environment, **streams) as process:
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            os.close(master)


@pytest.fixture
def waiting(planned: Report, tmp_path: Path) -> list[str]:
    (tmp_path / "report.json").write_bytes(render(planned))
    return [sys.executable, "-c", WAITING, str(tmp_path / "report.json"), str(tmp_path / "done")]


def test_a_long_plan_says_what_it_does_and_takes_it_back(waiting: list[str], tmp_path: Path) -> None:
    with on_a_terminal(*waiting, "check", "models/vgg\x1b16.onnx") as terminal:
        terminal.until(r"fc2conv: vgg\\x1b16\.onnx: converting, \d+ s")
        (tmp_path / "done").touch()
        assert terminal.end() == ExitCode.CHECK_FOUND
    *_, behind = terminal.seen.split("\r\x1b[2K")
    assert "fully connected layers can be converted" in behind
    assert "converting," not in behind


@pytest.mark.parametrize(
    ("more", "env"), [(["-q"], {}), ([], {"TERM": "dumb"})], ids=["quiet", "a terminal that takes nothing back"]
)
def test_nothing_is_shown_to_who_does_not_want_it(
    waiting: list[str], tmp_path: Path, more: list[str], env: dict[str, str]
) -> None:
    (tmp_path / "done").touch()
    with on_a_terminal(*waiting, "check", "a.onnx", *more, **env) as terminal:
        assert terminal.end() == ExitCode.CHECK_FOUND
    assert "converting," not in terminal.seen
    assert "\x1b" not in terminal.seen


def test_a_short_plan_says_nothing(waiting: list[str], tmp_path: Path) -> None:
    (tmp_path / "done").touch()
    patient = [word.replace("_EVERY = 0.02", "_EVERY = 60") for word in waiting]
    with on_a_terminal(*patient, "check", "a.onnx") as terminal:
        assert terminal.end() == ExitCode.CHECK_FOUND
    assert "a.onnx: " not in terminal.seen
    assert "\x1b[2K" not in terminal.seen


def test_a_pipe_has_no_progress(waiting: list[str], tmp_path: Path) -> None:
    (tmp_path / "done").touch()
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "TERM": "xterm"}
    done = subprocess.run([*waiting, "check", "a"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.CHECK_FOUND, "")


def test_a_conversion_is_still_done_in_a_process_of_its_own(lenet: Path) -> None:
    """A thread that drew the line would make a fork unsafe."""
    script = (
        "import sys; from fc2conv.cli import progress_line; progress_line._EVERY = 0.001\n"
        "from fc2conv.sandbox import parent; old = parent._forked\n"
        "parent._forked = lambda *a: (print('IN A CHILD', file=sys.stderr), old(*a))[1]\n"
        "from fc2conv.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    out = lenet.with_name("out.onnx")
    with on_a_terminal(sys.executable, "-c", script, str(lenet), str(out)) as terminal:
        assert terminal.end() == ExitCode.DONE
    assert "verifying, " in terminal.seen
    assert sys.platform != "linux" or "IN A CHILD" in terminal.seen
    assert out.exists()


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_and_lines_in_80_columns(lenet: Path, env: dict[str, str], coloured: bool) -> None:
    command = [sys.executable, "-m", "fc2conv", "check", str(lenet), "--diff"]
    with on_a_terminal(*command, PYTHONIOENCODING="utf-8", COLUMNS="80", **env) as terminal:
        assert terminal.end() == ExitCode.CHECK_FOUND
    assert ("\x1b[3" in terminal.seen) == coloured
    shown = re.sub(r"\x1b\[[0-9;]*[mK]", "", terminal.seen)
    assert "─" in shown
    assert all(len(line.rstrip("\r")) <= 80 for line in shown.split("\n")[1:])


# --- completion -----------------------------------------------------------------------------------------------------

SHELLS = {"bash": "complete -o nosort -F", "zsh": "#compdef fc2conv", "fish": "complete --no-files --command fc2conv"}


def complete(instruction: str, words: str = "", position: int | str = 0) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE.parent),
        "_FC2CONV_COMPLETE": instruction,
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
    }
    command = [sys.executable, "-m", "fc2conv"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT, check=False)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script(shell: str) -> None:
    done = complete(f"{shell}_source")
    assert (done.returncode, done.stderr) == (0, "")
    assert SHELLS[shell] in done.stdout


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("fc2conv ", 1, {"convert", "check", "verify", "explain", ""}),
        ("fc2conv mod", 1, {"mod"}),
        ("fc2conv model.onnx ", 2, {""}),
        ("fc2conv a b --sc", 3, {"--scope"}),
        ("fc2conv check --fail-on ", 3, {"convertible", "kept", "added-transposes", "nothing"}),
        ("fc2conv check --fail-on FC60", 3, {"FC601", "FC607"}),
        ("fc2conv batch ", 2, {""}),
        ("fc2conv heatmap fcn.onnx ca", 3, {"ca"}),
        ("fc2conv report ", 2, {""}),
        ("fc2conv check --report ", 3, {""}),
        ("fc2conv batch zoo out --global-pool ", 5, {"slide", "keep", "error"}),
        ("fc2conv heatmap fcn.onnx a.png --channels ", 5, {"rgb", "bgr"}),
        ("fc2conv explain fc10", 2, {"FC101", "FC102", "FC103", "FC104", "FC105"}),
    ],
)
def test_what_may_follow(words: str, position: int, expected: set[str]) -> None:
    done = complete("bash_complete", words, position)
    assert (done.returncode, done.stderr) == (0, "")
    assert expected <= {line.partition(",")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(("instruction", "position"), [("bash_complete", "first"), ("no_shell", "0")])
def test_what_no_shell_asks_is_a_mistake(instruction: str, position: str) -> None:
    done = complete(instruction, "fc2conv", position)
    said = f"fc2conv: error: _FC2CONV_COMPLETE is '{instruction}', and no shell asks for completions"
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr.startswith(said)
    assert not complete("", "", 0).stderr.startswith(said)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes(tmp_path: Path) -> None:
    """The script as bash runs it, with a command `fc2conv` on the PATH."""
    command = tmp_path / "fc2conv"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fc2conv "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_FC2CONV_COMPLETE=bash_source fc2conv)"
        COMP_WORDS=(fc2conv check --fail-on k) COMP_CWORD=3
        _fc2conv_completion fc2conv
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=LIMIT, check=False
    )
    assert (done.stdout, done.returncode) == ("kept\n", 0), done.stderr
