"""The engine of this machine: a pool of warm processes, each with one model at a time, watched from outside.

A process that dies, hangs or takes too much is killed with all that it started, becomes the row of its model, and is
replaced; so is a process that has served for long, as native libraries do not give back all memory. The other models
go on. Each process computes with one thread: `--jobs` says how many work at a time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path

import msgspec

from fc2conv import system
from fc2conv.batch.staging import made
from fc2conv.batch.tasks import SCRATCH, STOPPED, TAIL, Answer, Task
from fc2conv.dataclass import dataclass
from fc2conv.errors import ExitCode, UsageError
from fc2conv.io.workspace import Workspace
from fc2conv.options import Limits
from fc2conv.report.json import line, of_line
from fc2conv.report.types import BatchRow, Outcome, Run
from fc2conv.sandbox import MEMORY_SHARE, interpreter
from fc2conv.sandbox.shortage import death, starting

try:
    import psutil  # type: ignore[import-untyped]  # noqa: F401 (that `system` needs)
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
"""Seconds and bytes beyond the limits of the conversion, which keeps these by itself: a process over both is ended."""
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(eq=False)
class _Process:
    """One process of the pool, its task and when that began, and what the process has said so far."""

    popen: subprocess.Popen[bytes]
    scratch: Workspace
    oom_kills: int
    task: Task | None = None
    since: float = 0.0
    served: int = 0
    said: bytearray = field(default_factory=bytearray)
    stderr: bytes = b""
    ready: bool = False
    readers: list[threading.Thread] = field(default_factory=list)

    @property
    def stderr_tail(self) -> str:
        return self.stderr.decode("utf-8", "backslashreplace")

    @classmethod
    def start(cls, folder: Path | None, words: queue.SimpleQueue[tuple[_Process, bytes]]) -> _Process:
        """Start a process whose answers come by `words`, piece by piece, with b"" when it is gone."""
        with starting(), contextlib.ExitStack() as undone:
            scratch = made(SCRATCH, folder)
            undone.callback(scratch.remove)
            popen = subprocess.Popen(
                [*interpreter.command(WORKER), str(os.getpid())],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**interpreter.environment(), **_ONE_THREAD, **dict.fromkeys(_TEMPORARY, str(scratch.path))},
            )
            undone.pop_all()
        process = cls(popen, scratch, oom_kills())
        assert popen.stdout is not None
        assert popen.stderr is not None
        process.readers = [
            system.pump(popen.stdout, lambda piece: words.put((process, piece))),
            system.pump(popen.stderr, process.hear),
        ]
        return process

    def send(self, task: Task) -> None:
        assert self.popen.stdin is not None
        self.task, self.since, self.stderr = task, time.monotonic(), b""
        self.served += 1
        with contextlib.suppress(BrokenPipeError):  # it is dead, which its pipe of answers tells as well
            self.popen.stdin.write(line(task))
            self.popen.stdin.flush()

    def hear(self, piece: bytes) -> None:
        self.stderr = (self.stderr + piece)[-TAIL:]

    def listen(self) -> None:
        """Wait until the process and those that it started, which have the same pipes, have closed them."""
        end = time.monotonic() + _GRACE
        for each in self.readers:
            each.join(max(0.0, end - time.monotonic()))

    def end(self) -> int:
        """Kill the process and all that it started, remove its files, return its exit code (negative: the signal)."""
        system.kill_all(self.popen)
        code = self.popen.wait()
        self.listen()
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        self.scratch.remove()
        return code


LEAST_SHARE = 256 << 20
"""The bytes of memory that a small model takes, with the libraries that read it."""


def share(jobs: int) -> int:
    """Return the bytes of memory that each of `jobs` models at a time may take."""
    return int(MEMORY_SHARE * system.machine_memory() / jobs)


class LocalEngine:
    """At most `jobs` processes, started when there is work for them; their files are in `scratch`.

    A model without limits has TIMEOUT, and its share of nine tenths of the memory of the machine or the container.
    """

    def __init__(self, jobs: int, scratch: Path | None = None, serves: int = SERVES) -> None:
        self.capacity = jobs
        self._share = share(jobs)
        self._scratch = scratch
        self._serves = serves
        self._processes: list[_Process] = []
        self._watched = 0.0
        self._words: queue.SimpleQueue[tuple[_Process, bytes]] = queue.SimpleQueue()

    def submit(self, task: Task) -> None:
        given = task.options.limits
        limits = Limits(given.timeout or TIMEOUT, given.memory_limit or self._share)
        task = msgspec.structs.replace(task, options=replace(task.options, limits=limits))
        idle = next((each for each in self._processes if each.task is None and each.popen.poll() is None), None)
        if idle is None:
            for dead in [each for each in self._processes if each.task is None]:
                self._end(dead)
            idle = _Process.start(self._scratch, self._words)
            self._processes.append(idle)
        idle.send(task)

    def finished(self, patience: float) -> Sequence[Answer]:
        end = time.monotonic() + patience
        found: list[Answer] = []
        while not found and any(each.task for each in self._processes):
            left = end - time.monotonic()
            if left <= 0:
                break
            with contextlib.suppress(queue.Empty):
                process, piece = self._words.get(timeout=min(left, _TICK))
                if process in self._processes:  # else it was ended a moment ago
                    found += self._answers(process, piece)
            if time.monotonic() >= self._watched + _TICK:
                found += [row for each in list(self._processes) if (row := self._beyond(each)) is not None]
                self._watched = time.monotonic()
        return found

    def kill(self) -> None:
        """End the work in progress, from another thread: whoever waits for it gets an answer at once."""
        for each in list(self._processes):
            system.kill_all(each.popen)

    def close(self) -> None:
        with system.deferred_stops():
            for each in list(self._processes):
                self._end(each)
            if self._scratch is not None:
                with contextlib.suppress(OSError):  # others keep files there
                    self._scratch.rmdir()

    def _answers(self, process: _Process, piece: bytes) -> list[Answer]:
        if not piece:
            if process.task is not None:
                return [self._died(process)]
            self._end(process)
            return []
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
        """End a process that is over a limit and return its answer; None for any other process."""
        task = process.task
        if task is None:
            return None
        limits = task.options.limits
        if limits.timeout is not None and time.monotonic() - process.since > limits.timeout + _GRACE:
            message = f"not done in {limits.timeout:g} s: raise --timeout"
            return self._ended(process, "timeout", message)
        if limits.memory_limit is not None and system.private(process.popen.pid) > limits.memory_limit + _SPARE:
            message = f"it took more than {limits.memory_limit >> 20} MiB of memory: raise --memory-limit"
            return self._ended(process, "out-of-memory", message)
        return None

    def _died(self, process: _Process) -> Answer:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(_TICK * 10)  # its own end, which closed the pipe, and not ours
        code = process.popen.poll()
        if code == -system.KILL and oom_kills() > process.oom_kills:
            message = "the system was out of memory and killed the process: lower --jobs or --memory-limit"
            return self._ended(process, "out-of-memory", message)
        process.listen()
        last = process.stderr_tail.strip().rpartition("\n")[2] if (code or 0) >= 0 else ""  # a crash: a traceback
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
            stderr=process.stderr_tail,
            run=Run(seconds={"total": round(seconds, 4)}),
        )
        return Answer(name=row.name, row=row)

    def _end(self, process: _Process) -> None:
        self._processes.remove(process)
        process.end()


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory since its start; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for text in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if text.startswith("oom_kill "):
                return int(text.split()[1])
    return 0
