"""The engine of this machine: a pool of warm processes, each with one model at a time, watched from outside.

A process that dies, hangs or eats too much is killed with all that it started, is the row of its model, and is
replaced; so is one that has served for long, as native libraries do not give back all memory. The models of the others
go on. Each process computes with one thread: how many work at a time is what `--jobs` says.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import msgspec

from fc2conv.batch.engine import SCRATCH
from fc2conv.batch.tasks import STOPPED, TAIL, Answer, Task
from fc2conv.batch.temporary import made
from fc2conv.dataclass import dataclass
from fc2conv.errors import ExitCode, UsageError
from fc2conv.options import Limits
from fc2conv.report.json import line, of_line
from fc2conv.report.types import BatchRow, Outcome, Run
from fc2conv.sandbox import MEMORY_SHARE, interpreter, machine_memory
from fc2conv.sandbox.process import stops_held
from fc2conv.sandbox.shortage import death, starting

try:
    import psutil  # type: ignore[import-untyped]
except ImportError as error:
    raise UsageError("a batch needs psutil", "pip install 'fc2conv[batch]'") from error

SERVES = 100
"""Models after which a process is replaced."""

TIMEOUT = 1800.0
"""Seconds that a model may take, where no limit is given."""

WORKER = "fc2conv.batch.worker"
"""The module that a process of the pool runs."""

_TICK = 0.2
_GRACE, _SPARE = 2.0, 256 << 20
"""Seconds, and bytes, beyond the limits of the conversion, which keeps them by itself: what is over them does not."""
_CHUNK = 1 << 16
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class _Process:
    """One process of the pool, what it works on since when, and what it has said so far."""

    popen: subprocess.Popen[bytes]
    answers: int
    scratch: Path
    oom_kills: int
    task: Task | None = None
    since: float = 0.0
    served: int = 0
    said: bytearray = field(default_factory=bytearray)
    stderr: bytes = b""
    ready: bool = False

    @property
    def told(self) -> str:
        """The tail of what it said on stderr."""
        return self.stderr.decode("utf-8", "backslashreplace")

    @classmethod
    def start(cls, folder: Path | None) -> _Process:
        with starting(), contextlib.ExitStack() as undone:
            scratch = made(SCRATCH, folder)
            undone.callback(shutil.rmtree, scratch, ignore_errors=True)
            reader, writer = os.pipe()
            undone.callback(os.close, reader)
            try:
                popen = subprocess.Popen(
                    [*interpreter.command(WORKER), str(writer), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[writer],
                    start_new_session=True,
                    env={**interpreter.environment(), **_ONE_THREAD, "TMPDIR": str(scratch)},
                )
            finally:
                os.close(writer)
            undone.pop_all()
        assert popen.stderr is not None
        os.set_blocking(popen.stderr.fileno(), False)
        return cls(popen, reader, scratch, oom_kills())

    def send(self, task: Task) -> None:
        assert self.popen.stdin is not None
        self.task, self.since, self.stderr = task, time.monotonic(), b""
        self.served += 1
        with contextlib.suppress(BrokenPipeError):  # it is dead, which its pipe of answers tells as well
            self.popen.stdin.write(line(task))
            self.popen.stdin.flush()

    def hear(self) -> bool:
        """Keeps the tail of what is there on stderr; returns whether more may come."""
        assert self.popen.stderr is not None
        try:
            piece = os.read(self.popen.stderr.fileno(), _CHUNK)
        except BlockingIOError:
            return True
        self.stderr = (self.stderr + piece)[-TAIL:]
        return bool(piece)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kills it and what it started, removes its files, and returns its exit code (negative: the signal)."""
        self.kill()
        code = self.popen.wait()
        self._alone()
        self.hear()
        for stream in (self.popen.stdin, self.popen.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        os.close(self.answers)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return code

    def _alone(self) -> None:
        """Waits until what it started is gone as well, which holds the other end of its pipe until then."""
        end = time.monotonic() + _GRACE
        poll = select.poll()
        poll.register(self.answers, select.POLLIN)
        while poll.poll(max(0.0, end - time.monotonic()) * 1000) and os.read(self.answers, _CHUNK):
            pass


class LocalEngine:
    """At most `jobs` processes, started when there is work for them; their files are in `scratch`.

    A model without limits has TIMEOUT, and its share of nine tenths of the memory of the machine or the container.
    """

    def __init__(self, jobs: int, scratch: Path | None = None, serves: int = SERVES) -> None:
        self.capacity = jobs
        self._share = int(MEMORY_SHARE * machine_memory() / jobs)
        self._scratch = scratch
        self._serves = serves
        self._processes: list[_Process] = []
        self._watched = 0.0
        self._selector = selectors.DefaultSelector()

    def submit(self, task: Task) -> None:
        given = task.options.limits
        limits = Limits(given.timeout or TIMEOUT, given.memory_limit or self._share)
        task = msgspec.structs.replace(task, options=replace(task.options, limits=limits))
        idle = next((each for each in self._processes if each.task is None and each.popen.poll() is None), None)
        if idle is None:
            for dead in [each for each in self._processes if each.task is None]:
                self._end(dead)
            idle = _Process.start(self._scratch)
            self._processes.append(idle)
            assert idle.popen.stderr is not None
            self._selector.register(idle.answers, selectors.EVENT_READ, (idle, self._answers))
            self._selector.register(idle.popen.stderr, selectors.EVENT_READ, (idle, self._hears))
        idle.send(task)

    def finished(self, patience: float) -> Sequence[Answer]:
        end = time.monotonic() + patience
        found: list[Answer] = []
        while not found and any(each.task for each in self._processes):
            left = end - time.monotonic()
            if left <= 0:
                break
            for key, _ in self._selector.select(min(left, _TICK)):
                process, react = key.data
                if process in self._processes:  # else it was ended a moment ago
                    found += react(process)
            if time.monotonic() >= self._watched + _TICK:
                found += [row for each in list(self._processes) if (row := self._beyond(each)) is not None]
                self._watched = time.monotonic()
        return found

    def kill(self) -> None:
        """Ends what is worked on, from another thread: whoever waits for it has an answer at once."""
        for each in list(self._processes):
            each.kill()

    def close(self) -> None:
        with stops_held():
            for each in list(self._processes):
                self._end(each)
            self._selector.close()
            if self._scratch is not None:
                with contextlib.suppress(OSError):  # others keep files there
                    self._scratch.rmdir()

    def _hears(self, process: _Process) -> list[Answer]:
        if not process.hear():  # closed: the pipe of answers reports its end
            self._selector.unregister(process.popen.stderr)  # type: ignore[arg-type]
        return []

    def _answers(self, process: _Process) -> list[Answer]:
        piece = os.read(process.answers, _CHUNK)
        if not piece:
            return [self._died(process)] if process.task is not None else self._end_idle(process)
        process.said += piece
        if process.said.startswith(b"\n"):  # it has started, which was not the model's time
            process.since, process.ready = time.monotonic(), True
            del process.said[0]
        if not process.said.endswith(b"\n"):
            return []
        answer = of_line(bytes(process.said), Answer)
        process.said.clear()
        process.task = None
        row = answer.row
        worn = process.served >= self._serves
        if worn or (row is not None and (row.exit_code == ExitCode.FAULT or row.outcome == "out-of-memory")):
            self._end(process)
        return [answer]

    def _beyond(self, process: _Process) -> Answer | None:
        """The answer for a process that is over a limit, and is ended here."""
        task = process.task
        if task is None:
            return None
        limits = task.options.limits
        if limits.timeout is not None and time.monotonic() - process.since > limits.timeout + _GRACE:
            message = f"not done in {limits.timeout:g} s: raise --timeout"
            return self._ended(process, "timeout", message)
        if limits.memory_limit is not None and _private(process.popen.pid) > limits.memory_limit + _SPARE:
            message = f"it took more than {limits.memory_limit >> 20} MiB of memory: raise --memory-limit"
            return self._ended(process, "out-of-memory", message)
        return None

    def _died(self, process: _Process) -> Answer:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(_TICK * 10)  # its own end, which closed the pipe, and not ours
        code = process.popen.poll()
        if code == -signal.SIGKILL and oom_kills() > process.oom_kills:
            message = "the system was out of memory and killed the process: lower --jobs or --memory-limit"
            return self._ended(process, "out-of-memory", message)
        process.hear()
        last = process.told.strip().rpartition("\n")[2] if (code or 0) >= 0 else ""  # of a crash it is a traceback
        error = death(code or 0, last, begun=process.ready)
        return self._ended(process, STOPPED[error.limit], f"the process {error}", error.signal)

    def _ended(self, process: _Process, outcome: Outcome, message: str, signal_name: str = "") -> Answer:
        task, seconds = process.task, time.monotonic() - process.since
        assert task is not None
        self._end(process)
        row = BatchRow(
            name=task.item.name,
            outcome=outcome,
            exit_code=ExitCode.LIMIT,
            message=message,
            signal=signal_name,
            stderr=process.told,
            run=Run(seconds={"total": round(seconds, 4)}),
        )
        return Answer(name=row.name, row=row)

    def _end_idle(self, process: _Process) -> list[Answer]:
        self._end(process)
        return []

    def _end(self, process: _Process) -> None:
        self._processes.remove(process)
        for stream in (process.answers, process.popen.stderr):
            with contextlib.suppress(KeyError):
                self._selector.unregister(stream)  # type: ignore[arg-type]
        process.end()


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for text in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if text.startswith("oom_kill "):
                return int(text.split()[1])
    return 0


def _private(pid: int) -> int:
    """The resident bytes of a process and its children that no file backs: maps of model files do no harm."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(pid)
        for each in [whole, *whole.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                held: Any = each.memory_info()
                total += int(held.rss - getattr(held, "shared", 0))
    return total
