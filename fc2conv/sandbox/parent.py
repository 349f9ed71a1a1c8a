"""The parent: starts a child, waits for its last word, and sees it out."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import field
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import Fc2convError, LimitError
from fc2conv.options import Limits
from fc2conv.sandbox import interpreter
from fc2conv.sandbox.child import ATTEMPT, DONE, HEAD, LENGTH, LOADING, NOTE, STOP, Job, allowance, do, dump
from fc2conv.sandbox.shortage import TRUSTED, death, limit_of, starting

if TYPE_CHECKING:
    import subprocess

_T = TypeVar("_T")

START: ContextVar[Literal["auto", "fork", "fresh"]] = ContextVar("start", default="auto")
"""How a child starts, as the caller knows its own threads: a fork, a fresh interpreter, or whichever is safe.

A new thread has the default again.
"""

_GRACE = 0.3
"""Seconds that a child has to clean up when its work is to end."""

_LOOKS = 0.1
"""Seconds between two looks at the memory of a child, where the system does not limit it."""

_LEAST_TIME, _BYTES_PER_SECOND = 900.0, 1 << 21
"""The least time limit, in seconds, and the bytes of a model for which it grows by one second."""

_MOST_DEATHS = 3
"""How often work is begun again after a child died in an attempt; the next child leaves that out."""


class FaultError(RuntimeError):
    """A fault of fc2conv in the child; its cause is the traceback there."""


class _ChildTraceback(Exception):  # noqa: N818  # never raised: it is the cause of an error that is
    """Where in the child an error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass
class _Fork:
    """A fork of this process, with the methods of a process that `subprocess` starts."""

    pid: int

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(system.KILL)

    def wait(self) -> int:
        """Return the exit code (negative: the signal); 0 where the caller has the system forget its children."""
        with suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return 0

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class _Child:
    """A process at work: what it sends comes by `words`, and what it said on stderr is in `noise`."""

    process: _Fork | subprocess.Popen[bytes]
    words: system.Incoming
    noise: IO[bytes]
    progress: Callable[[str], None] | None = None
    started: float = field(default_factory=time.monotonic)
    stage: str = LOADING
    attempts: bool = False
    nbytes: int = 0
    buffer: bytearray = field(default_factory=bytearray)
    code: int | None = None


def contained(
    limits: Limits,
    work: Callable[..., tuple[_T, bytes]],
    *arguments: object,
    progress: Callable[[str], None] | None = None,
) -> tuple[_T, memoryview]:
    """Run `work(*arguments)` in a child process and return its result: a value of fc2conv's own types, and bytes.

    `work` is a function of a module; `progress` is called with each of its notes. Raise the Fc2convError that it
    raises; LimitError where the child dies, needs more memory than it may have, or is not done in time; FaultError for
    any other exception. Where a child dies in an attempt, another child does the work without it.
    """
    started, deaths = time.monotonic(), dict[str, LimitError]()
    while (found := _tried((work, arguments, limits, deaths), deaths, started, progress)) is None:
        pass
    return found


def _tried(
    job: Job, deaths: dict[str, LimitError], started: float, progress: Callable[[str], None] | None
) -> tuple[Any, memoryview] | None:
    """Return the result of one child; None, and note it in `deaths`, where it died in a stage that may be left out."""
    with _scratch() as noise, system.deferred_stops() as release:
        child = _started(job, noise)
        child.progress, child.started = progress, started
        try:
            release()
            kind, answer = _answer(child, job[2])
        except LimitError as error:
            if not child.attempts or error.limit != "crash" or len(deaths) == _MOST_DEATHS:
                raise
            error.message = error.message.removeprefix(f"{child.stage}: ")
            deaths[child.stage] = error
            return None
        finally:
            _end(child)
            child.words.close()
        noise.seek(0)
        said = noise.read(system.CHUNK).decode("utf-8", "backslashreplace")
    cut = LENGTH.unpack_from(answer)[0] + LENGTH.size
    value, trace = _Words(io.BytesIO(answer[LENGTH.size : cut])).load()
    if kind == STOP:
        _raise(value, trace + said, child)
    with suppress(AttributeError, OSError, ValueError):  # as in `_forked`
        sys.stderr.write(said)
    return value, answer[cut:]


def _forks() -> bool:
    """Return whether a child is a fork: that is safe here, and the caller asks for it or has no unknown threads."""
    return system.FORKS and START.get() != "fresh" and (START.get() == "fork" or _may_fork())


def _may_fork() -> bool:
    """Return whether this process has no threads but those of the libraries themselves.

    numpy's linear algebra has a thread for each core, this one among them, and onnxruntime one more before any session
    is opened; these only wait.
    """
    if threading.active_count() > 1 or (threads := system.threads()) is None:
        return False
    idle = (system.cores() - 1 if "numpy" in sys.modules else 0) + ("onnxruntime" in sys.modules)
    return threads <= 1 + idle


@starting()
def _scratch() -> IO[bytes]:
    """Open a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(system.above_streams(os.memfd_create("fc2conv")), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


@starting()
def _started(job: Job, noise: IO[bytes]) -> _Child:
    reader, writer = map(system.above_streams, os.pipe())
    try:
        start = _forked if _forks() else _spawned
        return _Child(start(job, noise, reader, writer), system.incoming(reader), noise)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)


def _forked(job: Job, noise: IO[bytes], reader: int, writer: int) -> _Fork:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    parent, pid = os.getpid(), system.fork()
    if not pid:
        os.close(reader)
        for stream in (1, 2):
            os.dup2(noise.fileno(), stream)
        do(job, writer, parent)
    return _Fork(pid)


def _spawned(job: Job, noise: IO[bytes], _: int, writer: int) -> subprocess.Popen[bytes]:
    import subprocess

    with _scratch() as words:
        dump((job, os.getpid()), words)
        words.seek(0)
        command, variables = interpreter.command(do.__module__), interpreter.environment()
        return subprocess.Popen(command, stdin=words, stdout=writer, stderr=noise, env=variables)


def _answer(child: _Child, limits: Limits) -> tuple[bytes, memoryview]:
    """Read notes until the last word comes; raise LimitError where it does not."""
    while True:
        seconds = limits.timeout
        if seconds is None:
            seconds = _LEAST_TIME + child.nbytes / _BYTES_PER_SECOND
        left = max(0.0, child.started + seconds - time.monotonic())
        piece = child.words.read(left if system.LIMITS_MEMORY else min(left, _LOOKS))
        if piece is None and not left:  # what was said in time counts, also where this process was kept waiting
            raise LimitError(f"{child.stage}: not done in {seconds:g} s", f"raise --timeout {TRUSTED}", limit="time")
        if piece == b"":
            raise _death(child)
        child.buffer += piece or b""
        if (last := _unpacked(child)) is not None:
            return last
        if not system.LIMITS_MEMORY and system.data(child.process.pid) > allowance(limits, child.nbytes):
            _raise(None, "", child)


def _unpacked(child: _Child) -> tuple[bytes, memoryview] | None:
    """Take whole notes off the buffer; return the last word once it is complete."""
    while len(child.buffer) >= HEAD.size:
        kind, length = HEAD.unpack_from(child.buffer)
        end = HEAD.size + length
        if len(child.buffer) < end:
            return None
        body = memoryview(child.buffer)[HEAD.size : end]
        if kind in (DONE, STOP):
            return kind, body
        content = bytes(body)
        body.release()
        del child.buffer[:end]
        if kind in (NOTE, ATTEMPT):
            child.attempts = kind == ATTEMPT
            child.stage = content.decode("utf-8", "replace")
            if child.progress is not None:
                child.progress(child.stage)
        else:
            child.nbytes = LENGTH.unpack(content)[0]
    return None


def _end(child: _Child) -> None:
    """End a child: one that has answered exits by itself; another one gets a moment to clean up and is then killed."""
    if child.code is not None:
        return
    with system.deferred_stops():
        child.process.terminate()
        end = time.monotonic() + _GRACE
        while (left := end - time.monotonic()) > 0:
            if child.words.read(left) == b"":
                break  # it is gone
        child.process.kill()
        child.code = child.process.wait()


def _death(child: _Child) -> LimitError:
    """Return what killed a child that sent no last word."""
    child.code = child.process.wait()
    found = death(child.code, _last_words(child.noise), begun=child.stage != LOADING)
    found.message = f"{child.stage}: {found.message}"
    return found


def _last_words(noise: IO[bytes]) -> str:
    """Return the last line that a library wrote before it died."""
    noise.seek(max(0, noise.seek(0, os.SEEK_END) - 4096))
    lines = noise.read().decode("utf-8", "backslashreplace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


class _Words(pickle.Unpickler):
    """Reads fc2conv's own types, and no others; a child that a model has broken could send anything."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("msgspec.") and name == "rebuild":
            return super().find_class(module, name)
        if module.split(".")[0] == "fc2conv" and isinstance(found := super().find_class(module, name), type):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no type of fc2conv")


def _raise(error: object, trace: str, child: _Child) -> NoReturn:
    if error is None:
        error = limit_of("memory")
    if isinstance(error, LimitError):
        error.message = f"{child.stage}: {error.message}"
    if isinstance(error, Fc2convError):
        raise error from _ChildTraceback(trace)
    raise FaultError(trace.rstrip().splitlines()[-1]) from _ChildTraceback(trace)
