"""fc2conv where the system offers less: on Windows as it can be simulated, and the table of what each one offers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fc2conv import system
from fc2conv.sandbox.shortage import death
from fc2conv.system import files, processes

ROOT = Path(__file__).parents[1]
FEW = """
tests/test_contained.py::test_a_value_and_bytes_come_back[forked]
tests/test_contained.py::test_a_crash_names_the_stage_the_node_the_signal_and_the_last_words[spawned]
tests/test_contained.py::test_what_needs_too_much_memory_is_ended[spawned]
tests/io/test_onnxfile_write.py
tests/batch/test_batch_hostile.py::test_a_run_removes_nothing_of_others
"""
"""`make portable` runs many more."""


@pytest.mark.skipif(sys.platform != "linux", reason="the simulation is one for Linux")
def test_a_few_tests_on_another_system() -> None:
    home = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "elsewhere")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", *FEW.split()]
    done = subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_simulation_hides_what_is_not_there() -> None:
    probe = "import fc2conv.system as s; print(s.FORKS, [each.name for each in s.STOPS]); import fc2conv.io.workspace"
    home = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests' / 'elsewhere'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", probe], env=home, capture_output=True, text=True, check=True)
    assert done.stdout == "False ['SIGTERM']\n"


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("C:\\models\\a.onnx", "C:\\models\\a.onnx"),
        ("C:\\" + "m" * 240, "\\\\?\\C:\\" + "m" * 240),
        ("\\\\host\\share\\" + "m" * 240, "\\\\?\\UNC\\host\\share\\" + "m" * 240),
        ("\\\\?\\C:\\" + "m" * 240, "\\\\?\\C:\\" + "m" * 240),
    ],
)
def test_long_paths_of_windows(path: str, seen: str) -> None:
    assert files.reachable(path, windows=True) == seen
    assert files.reachable(path, windows=False) == path


@pytest.mark.parametrize(
    ("code", "expected", "limit"),
    [
        (0xC0000005, "died of SIGSEGV", "crash"),
        (-0x3FFFFFFB, "died of SIGSEGV", "crash"),
        (0xC0000409, "died of SIGABRT", "crash"),
        (0xC000013A, "died of SIGINT", "system"),
        (0xC0000017, "ended with 3221225495", "memory"),
    ],
)
def test_exit_codes_of_windows(code: int, expected: str, limit: str) -> None:
    found = death(code, "", begun=True)
    assert (found.message, found.limit) == (expected, limit)


def test_signals_are_deferred_by_handlers_where_there_are_no_masks() -> None:
    before = signal.getsignal(signal.SIGINT)
    release = processes._hold_back((signal.SIGINT, *system.STOPS))
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        release()
    release()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_calls_where_there_is_no_timer() -> None:
    called = threading.Event()
    stop = processes._every(0.001, called.set)
    assert called.wait(60)
    stop()
    called.clear()
    assert not called.is_set()


def test_a_thread_reads_where_a_pipe_cannot_be_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLLS", False)
    reader, writer = os.pipe()
    incoming = processes.incoming(reader)
    assert incoming.read(0.0) is None
    os.write(writer, b"word")
    assert incoming.read(60.0) == b"word"
    os.close(writer)
    assert incoming.read(60.0) == b""
    incoming.close()


def test_a_lock_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(FileNotFoundError):
        files._file_lock(path, os.O_RDWR)
    release = files._file_lock(path, os.O_RDWR | os.O_CREAT)
    assert release is not None
    assert files._file_lock(path, os.O_RDWR | os.O_CREAT) is None
    release()
    again = files._file_lock(path, os.O_RDWR | os.O_CREAT)
    assert again is not None
    again()


def test_a_file_that_another_program_looks_at_is_renamed_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_bytes(b"new")
    rename, refusals = Path.replace, [PermissionError(), PermissionError()]

    def refused(path: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    monkeypatch.setattr(files, "_PAUSES", (0.0,))
    with pytest.raises(PermissionError):
        system.replace(tmp_path / "new", tmp_path / "old")
    system.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new"
