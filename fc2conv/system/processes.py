"""Processes, their ends, signals, pipes, and standard streams that may be closed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, TypeAlias

from fc2conv.system.offers import KILL, POLLS, STOPS, libc, psutil_

if TYPE_CHECKING:
    import subprocess

_PR_SET_PDEATHSIG = 1
CHUNK = 1 << 20
_SLICE = 0.1
"""Seconds after which a wait for a thread looks for Ctrl-C, which does not end it on every system."""
_STANDARD = 3
"""The first descriptor that is no standard stream."""


def fork() -> int:
    """Fork this process. The caller must hold no lock, and other threads may only wait."""
    if sys.platform != "win32":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    raise NotImplementedError


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends, however the parent ends."""
    if (prctl := libc("prctl")) is not None:
        prctl(_PR_SET_PDEATHSIG, KILL)
        if os.getppid() != parent:
            os._exit(1)
        return
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(pid: int) -> None:
    psutil = psutil_()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait()
    os._exit(1)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that began a session, and every process that it started."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return
    psutil = psutil_()
    with suppress(psutil.NoSuchProcess):
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.kill()


def cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int | None:
    """Return how many threads this process has, including those of libraries; None where nobody knows."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # no pathlib where start-up counts
    except OSError:
        return None


def hold(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """Block these signals, and return a function that unblocks them and delivers those that were sent meanwhile."""
    if sys.platform != "win32":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)

        def release() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

        return release
    return _hold_back(signals)


def _hold_back(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """Do the work of `hold` with handlers of Python, which only the main thread can set; do nothing in another one."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    came: list[int] = []
    known = [each for each in signals if signal.getsignal(each) is not None]
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in known}

    def release() -> None:
        while before:
            signal.signal(*before.popitem())
        while came:
            signal.raise_signal(came.pop())

    return release


def let_come(signals: Iterable[signal.Signals]) -> None:
    """Unblock signals that the parent had blocked when it made this process."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Call a function at intervals until the result is called; by a signal where it can, as a thread prevents forks."""
    if sys.platform != "win32":
        before = signal.signal(signal.SIGALRM, lambda *_: call())
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

        def stop() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

        return stop
    return _every(seconds, call)


def _every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    done = threading.Event()

    def work() -> None:
        while not done.wait(seconds):
            call()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def stop() -> None:
        done.set()
        thread.join()

    return stop


@contextmanager
def deferred_stops() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C and every other request to end until the body is done; yield a function that ends this early."""
    release = hold((signal.SIGINT, *STOPS))
    try:
        yield release
    finally:
        release()


def seat_standard_streams() -> None:
    """Open the null device for each closed standard stream, so that no other file gets its descriptor.

    Otherwise what a library prints would be written into that file.
    """
    with suppress(OSError):  # without /dev/null they stay closed
        while (descriptor := os.open(os.devnull, os.O_RDWR)) < _STANDARD:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)


def above_streams(descriptor: int) -> int:
    """Return a duplicate of a descriptor above the standard streams, if it has the number of a closed one."""
    below = []
    try:
        while descriptor < _STANDARD:
            below.append(descriptor)
            descriptor = os.dup(descriptor)
    finally:
        for each in below:
            os.close(each)
    return descriptor


def pump(stream: IO[bytes], give: Callable[[bytes], None]) -> threading.Thread:
    """Read an unbuffered stream in a thread of its own; pass each piece to `give` as it comes, and b"" at the end."""

    def work() -> None:
        with stream:
            while piece := stream.read(CHUNK):
                give(piece)
        give(b"")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class _Polled:
    """A pipe that the system watches, so that this process needs no thread and can fork."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, seconds: float) -> bytes | None:
        """Return what comes within a number of seconds: None where nothing comes, b"" at the end."""
        if sys.platform != "win32":
            import select

            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            if not poll.poll(min(seconds, 1e6) * 1000):
                return None
        return os.read(self._descriptor, CHUNK)

    def close(self) -> None:
        os.close(self._descriptor)


class _Pumped:
    """A pipe that a thread reads, and closes at its end."""

    def __init__(self, descriptor: int) -> None:
        import queue

        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._nothing = queue.Empty
        self._thread = pump(os.fdopen(descriptor, "rb", 0), self._pieces.put)

    def read(self, seconds: float) -> bytes | None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 or not self._pieces.empty():
            with suppress(self._nothing):
                return self._pieces.get(timeout=min(max(0.0, left), _SLICE))
        return None

    def close(self) -> None:
        self._thread.join(_SLICE)


Incoming: TypeAlias = _Polled | _Pumped
"""What comes out of a pipe."""


def incoming(descriptor: int) -> Incoming:
    """Take over the reading end of a pipe."""
    return _Polled(descriptor) if POLLS else _Pumped(descriptor)
