"""Work in a process of its own: what it gives comes back, and what kills it is an answer."""

from __future__ import annotations

import copyreg
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inprocess import needs_fork

from fc2conv import system
from fc2conv.errors import ExitCode, Fc2convError, LimitError, MismatchError
from fc2conv.options import Limits
from fc2conv.report.types import Check, Verdict, Verification
from fc2conv.sandbox import START, FaultError, allow, attempt, contained, note, parent
from fc2conv.sandbox.child import dump

MIB = 1 << 20


@pytest.fixture(params=["forked", "spawned"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to start a child; the spawned one finds this file's functions by name."""
    START.set("fork" if request.param == "forked" else "fresh")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    return str(request.param)


def give(value: Any, blob: bytes = b"") -> tuple[Any, bytes]:
    return value, blob


def crash() -> tuple[None, bytes]:
    note("onnxruntime", "fc6")
    os.write(2, b"something was about to break\n")
    os.kill(os.getpid(), signal.SIGSEGV)
    return None, b""


def attempts(mark: str, count: int) -> tuple[list[str], bytes]:
    """Dies in the first `count` of three attempts, unless it is known that it does."""
    found = []
    for i in range(3):
        with Path(mark).open("a", encoding="utf-8") as stream:
            stream.write(str(i))
        if died := attempt(f"attempt {i}"):
            found.append(f"{died}, {died.signal}")
        elif i < count:
            os.kill(os.getpid(), signal.SIGSEGV)
    return found, b""


def leave() -> tuple[None, bytes]:
    os._exit(3)


def sleep(marks: str = "") -> tuple[None, bytes]:
    """Sleeps; where it is ended in Python it cleans up, which the mark shows."""
    note("a long sleep")
    try:
        if marks:
            (Path(marks) / "begun").touch()
        time.sleep(60)
    finally:
        if marks:
            (Path(marks) / "cleaned").touch()
    return None, b""


def deaf() -> tuple[None, bytes]:
    """What a library does that never comes back to Python."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    return None, b""


def eat(nbytes: int, of: int = 0) -> tuple[int, bytes]:
    allow(of)
    return len(bytearray(nbytes)), b""


def stop(error: Fc2convError) -> tuple[None, bytes]:
    raise error


def fault() -> tuple[None, bytes]:
    raise ZeroDivisionError("a fault")


def foreign() -> tuple[Any, bytes]:
    return Path("x"), b""


@pytest.mark.usefixtures("way")
def test_a_value_and_bytes_come_back() -> None:
    value = Verification(
        verdict=Verdict.AGREES, checks=[Check(name="numeric", verdict=Verdict.AGREES, detail="\udcff\n")]
    )
    found, blob = contained(Limits(), give, value, b"\0\xff" * MIB)
    assert found == value
    assert bytes(blob) == b"\0\xff" * MIB


@needs_fork
def test_the_largest_limit_of_memory_is_one() -> None:
    assert contained(Limits(memory_limit=(1 << 63) - 1), give, 7)[0] == 7


def test_a_full_disk_behind_stderr_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sys.stderr", Full())
    assert contained(Limits(), give, 7)[0] == 7


@pytest.mark.usefixtures("way")
def test_stops_come_back_as_what_they_are_with_all_that_they_hold() -> None:
    error = MismatchError("they differ", "look")
    error.report = Verification(verdict=Verdict.DIFFERS, checks=[])  # type: ignore[attr-defined]
    with pytest.raises(MismatchError, match="they differ: look") as found:
        contained(Limits(), stop, error)
    assert found.value.report == Verification(verdict=Verdict.DIFFERS, checks=[])  # type: ignore[attr-defined]
    with pytest.raises(LimitError) as limit:
        contained(Limits(), stop, LimitError("no", limit="memory", signal="SIGABRT"))
    assert (limit.value.limit, limit.value.signal) == ("memory", "SIGABRT")


def test_a_library_that_pickles_all_errors_in_its_own_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, MismatchError, lambda _: (os.getcwd, ()))
    with pytest.raises(MismatchError, match="they differ"):
        contained(Limits(), stop, MismatchError("they differ"))


@pytest.mark.usefixtures("way")
def test_a_fault_is_reported_with_its_traceback() -> None:
    with pytest.raises(FaultError, match="ZeroDivisionError: a fault") as found:
        contained(Limits(), fault)
    assert "in fault\n" in str(found.value.__cause__)


@pytest.mark.usefixtures("way")
def test_a_crash_names_the_stage_the_node_the_signal_and_the_last_words() -> None:
    with pytest.raises(LimitError) as found:
        contained(Limits(), crash)
    message = "onnxruntime, node 'fc6': died of SIGSEGV (something was about to break)"
    assert found.value.message == message
    assert (found.value.limit, found.value.signal) == ("crash", "SIGSEGV")
    assert found.value.exit_code == ExitCode.LIMIT


@pytest.mark.usefixtures("way")
def test_an_attempt_in_which_a_child_died_is_left_out_by_the_next(tmp_path: Path) -> None:
    died = "died of SIGSEGV: the model makes a native library crash: do not trust it, and report it to that library"
    found, _ = contained(Limits(), attempts, str(tmp_path / "mark"), 2)
    assert [each.replace(died, "it died") for each in found] == ["it died, SIGSEGV"] * 2
    assert (tmp_path / "mark").read_text() == "001012"


def test_attempts_end_with_the_time_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "_MOST_DEATHS", 1)
    with pytest.raises(LimitError, match="attempt 1: died of SIGSEGV"):
        contained(Limits(), attempts, str(tmp_path / "mark"), 2)


def test_a_silent_end_is_a_crash() -> None:
    with pytest.raises(LimitError, match="ended with 3") as found:
        contained(Limits(), leave)
    assert (found.value.limit, found.value.signal) == ("crash", "")


def test_what_takes_too_long_is_ended_and_cleans_up(way: str, tmp_path: Path) -> None:
    before = children()
    seconds = 0.5 if way == "forked" and system.FORKS else 6  # an interpreter starts first
    with pytest.raises(LimitError, match=f"not done in {seconds:g} s") as found:
        contained(Limits(timeout=seconds), sleep, str(tmp_path))
    assert found.value.limit == "time"
    assert {each.name for each in tmp_path.iterdir()} == {"begun", "cleaned"}
    assert children() <= before


def test_what_does_not_listen_is_killed() -> None:
    before, start = children(), time.monotonic()
    with pytest.raises(LimitError, match="not done in"):
        contained(Limits(timeout=0.3), deaf)
    assert time.monotonic() - start < 10
    assert children() <= before


@pytest.mark.usefixtures("way")
def test_what_needs_too_much_memory_is_ended() -> None:
    with pytest.raises(LimitError, match="out of memory") as found:
        contained(Limits(memory_limit=1024 * MIB), eat, 2048 * MIB)
    assert found.value.limit == "memory"
    assert contained(Limits(memory_limit=1024 * MIB), eat, 64 * MIB)[0] == 64 * MIB


@needs_fork
def test_the_default_of_memory_goes_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from fc2conv.sandbox import child

    monkeypatch.setattr(child, "_LEAST_MEMORY", 64 * MIB)
    with pytest.raises(LimitError, match="out of memory"):
        contained(Limits(), eat, 512 * MIB)
    assert contained(Limits(), eat, 512 * MIB, 100 * MIB)[0] == 512 * MIB


def test_the_parents_own_memory_does_not_count() -> None:
    kept = bytearray(512 * MIB)
    assert contained(Limits(memory_limit=256 * MIB), eat, MIB)[0] == MIB
    assert len(kept) == 512 * MIB


def test_a_broken_child_cannot_make_the_parent_run_anything() -> None:
    with pytest.raises(Exception, match="is no type of fc2conv"):
        contained(Limits(), foreign)


def test_threads_of_the_caller_keep_it_from_forking() -> None:
    START.set("auto")
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert not parent._may_fork()
        assert contained(Limits(), give, 7)[0] == 7
    finally:
        done.set()
        other.join()


def test_outside_of_a_child_notes_go_nowhere() -> None:
    note("a stage", "a node")
    allow(1)


def test_an_interrupt_ends_the_child_as_well(tmp_path: Path) -> None:
    before, start = children(), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted_when(tmp_path / "begun", lambda: contained(Limits(), sleep, str(tmp_path)))
    assert (tmp_path / "cleaned").exists()
    assert time.monotonic() - start < 30
    assert children() <= before


def interrupted_when(mark: Path, work: Callable[[], object]) -> None:
    """Sends this process SIGINT once the mark is there, by a timer, as a thread would keep the work from forking."""

    seen: list[bool] = []

    def look(_: int, __: object) -> None:
        seen.append(mark.exists())
        if seen[-2:] == [True, True]:  # this process may still be on its way out of the fork at the first
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def children() -> set[str]:
    """The processes that this one has started and not waited for."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())


@needs_fork
def test_what_was_said_in_time_counts_though_the_parent_was_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    START.set("fork")
    started = parent._started

    def looked_at_late(*arguments: Any) -> Any:
        child = started(*arguments)
        os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT)
        child.started -= 60
        return child

    monkeypatch.setattr(parent, "_started", looked_at_late)
    assert contained(Limits(timeout=30), give, 7)[0] == 7


def test_members_of_enumerations_are_sent_by_their_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11.2 pickles a member as what `getattr` gives."""
    monkeypatch.setattr(ExitCode, "__reduce_ex__", lambda self, _: (getattr, (ExitCode, self.name)))
    stream = io.BytesIO()
    dump((ExitCode.INPUT,), stream)
    assert parent._Words(io.BytesIO(stream.getvalue())).load() == (ExitCode.INPUT,)
