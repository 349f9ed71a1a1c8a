"""The calls and constants that depend on the system; each name has an answer on every system."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

FORKS = sys.platform == "linux"
"""Whether a fork is safe: the libraries of other systems do not survive one."""

LIMITS_MEMORY = sys.platform == "linux"
"""Whether a process that limits its own data is kept to it; else its parent watches it."""

NAMES_BY_PROC = sys.platform == "linux"
"""Whether onnxruntime asks /proc for the name of a file that it has opened."""

STOPS = tuple(signal.Signals[each] for each in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, each))
"""The signals that end the process as Ctrl-C does; Windows sends SIGBREAK where a console is closed."""

KILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that no process outlives."""

BINARY = getattr(os, "O_BINARY", 0)
"""What every file is opened with, as Windows else changes the ends of lines."""

NO_LINK, NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
"""What opens no symbolic link, and does not wait for the other end of a FIFO."""

POLLS = sys.platform != "win32"
"""Whether one can wait for a pipe; else a thread reads it."""

PRIVATE = 0o777 if sys.platform == "win32" else 0o700
"""The mode of a private folder. On Windows a file that is moved out of it keeps the rights that it has from there."""

Copy = Callable[[int, int, int, int], int]
"""Copies bytes of one open file to another: takes both files, an offset and a count; returns how many it copied."""

kernel_copy: Copy | None = None
"""How the kernel copies within a file system, which may clone; None where it does not."""

if sys.platform == "linux":

    def kernel_copy(source: int, sink: int, offset: int, count: int) -> int:
        return os.copy_file_range(source, sink, count, offset)


def libc(name: str) -> Any:
    """Return a function that only a C library of Linux has; None on other systems."""
    if not FORKS:
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), name, None)


def psutil_() -> Any:
    """Import and return psutil, which is not loaded before it is needed."""
    import psutil  # type: ignore[import-untyped]

    return psutil
