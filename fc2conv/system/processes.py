"""Processes, their ends, and signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from fc2conv.system.offers import KILL, libc, psutil_

if TYPE_CHECKING:
    import subprocess

_PR_SET_PDEATHSIG = 1


def fork() -> int:
    """Forks this process; the caller holds no lock, and other threads only wait."""
    if sys.platform != "win32":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    raise NotImplementedError


def die_with(parent: int) -> None:
    """Has this process killed when its parent ends, however that ends."""
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
    """Kills a process that began a session, and all that it started."""
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


def ready(descriptor: int, seconds: float) -> bool:
    """Whether a pipe has something to read, or its other end is gone, within so many seconds."""
    if sys.platform != "win32":
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(min(seconds, 1e6) * 1000))
    return True  # the read waits


def cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int | None:
    """How many threads this process has, those of libraries among them; None where nobody knows."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # no pathlib where start-up counts
    except OSError:
        return None


def hold(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """Lets none of these signals come; returns what lets them come again, also those that were sent meanwhile."""
    if sys.platform != "win32":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)

        def release() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

        return release
    return _hold_back(signals)


def _hold_back(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """Does as `hold` by handlers of Python's, which only its main thread calls."""
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
    """Unblocks signals that the parent had blocked when it made this process."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls again and again, until what it returns is called; by a signal where it can, as a thread prevents forks."""
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
