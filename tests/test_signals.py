"""SIGTERM and SIGHUP: as Ctrl-C they end the work at any time, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import files_of, save, wait_for
from inprocess import needs_fork
from test_contained import children
from test_hostile import hanging
from test_process import STUBBED

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, LimitError
from fc2conv.options import Limits
from fc2conv.report.types import Report
from fc2conv.sandbox import contained
from fc2conv.system import STOPS

ENDS = [(number, ExitCode(128 + number)) for number in STOPS if number.name != "SIGBREAK"]


@pytest.fixture(autouse=True)
def _no_nohup() -> Iterator[None]:
    """The suite may run under nohup, which has SIGHUP ignored in what it starts."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number, _ in ENDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signalled_when(mark: Path, number: int) -> None:
    """Sends this process a signal once the mark is there, by a timer, as a thread would keep the work from forking."""

    def look(_: int, __: object) -> None:
        if mark.exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_a_process_says_what_ended_it(number: signal.Signals, code: ExitCode) -> None:
    command = [sys.executable, "-c", STUBBED, "", "check", "a"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
        assert process.stderr.read() == f"fc2conv: ended by {number.name}\n"
    assert process.returncode == code == 128 + number


@needs_fork
@pytest.mark.parametrize(
    ("stage", "deaf", "number", "code"),
    [("converting", False, *ENDS[0]), ("verifying", True, *ENDS[-1])],
    ids=["in Python", "in native code"],
)
def test_with_a_child_at_work(
    stage: str,
    deaf: bool,
    number: signal.Signals,
    code: ExitCode,
    lenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mark, out, before = lenet.with_name("mark"), lenet.parent / "out", children()
    out.mkdir()
    (out / "out.onnx").write_bytes(b"old")
    fc2conv.plan(lenet)
    hanging(monkeypatch, stage, mark, deaf=deaf)
    signalled_when(mark, number)
    assert main([str(lenet), str(out / "out.onnx"), "--external-data"]) == code
    assert capfd.readouterr().err == f"fc2conv: ended by {number.name}\n"
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("out.onnx", b"old")]
    assert children() <= before
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_nohup_has_ignored_stays_ignored(planned: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*_: object, **__: object) -> Report:
        os.kill(os.getpid(), signal.SIGHUP)
        return planned

    monkeypatch.setitem(vars(fc2conv), "plan", plan)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["check", "a", "-q"]) == ExitCode.CHECK_FOUND
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_batch_with_a_conversion_at_work(engine: str, tmp_path: Path) -> None:
    """A library that hangs while it is loaded does so with the folder of the output made."""
    save(tmp_path / "zoo" / "a.onnx")
    library = tmp_path / "hangs.so"
    source = tmp_path / "hangs.c"
    source.write_text("#include <unistd.h>\nvoid *RegisterCustomOps(void *o, const void *a) { for (;;) pause(); }\n")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler here to make a library with")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fc2conv", "batch", str(tmp_path / "zoo"), str(out), "--jobs", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    before = set(tmp_path.iterdir())
    with subprocess.Popen(
        [*command, "--engine", engine, "--custom-op-library", str(library)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as driver:
        wait_for(lambda: [*out.glob(".fc2conv-*/a.onnx")])
        driver.send_signal(signal.SIGTERM)
        _, printed = driver.communicate(timeout=30)
    assert driver.returncode == ExitCode.TERMINATED
    assert printed.splitlines()[-2:] == [
        f"fc2conv: stopped; the same command continues, and `fc2conv report {out}/.fc2conv` shows what is done",
        "fc2conv: ended by SIGTERM",
    ]
    assert files_of(out) == {}
    assert [path.name for path in out.iterdir()] == [".fc2conv"]
    assert not (out / ".fc2conv" / "scratch").exists()
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"out", "dask-scratch-space"}


def wait_to_be_ended() -> tuple[None, bytes]:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
    return None, b""


def test_a_child_that_another_process_ends_is_no_fault_of_the_model() -> None:
    with pytest.raises(LimitError, match="died of SIGTERM: another process ended it") as found:
        contained(Limits(), wait_to_be_ended)
    assert (found.value.limit, found.value.signal) == ("system", "SIGTERM")
