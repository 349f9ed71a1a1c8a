"""What the system does not give: file descriptors, memory, processes, time; and which limit is to be raised."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from fc2conv import system
from fc2conv.errors import Fc2convError, Limit, LimitError

TRUSTED = "if the model is to be trusted"

_WHAT: dict[str, tuple[str, Limit]] = {
    "files": ("too few file descriptors", "system"),
    "memory": ("ran out of memory", "memory"),
    "processes": ("no thread or process can be started", "system"),
}
_ERRNOS = {errno.EMFILE: "files", errno.ENFILE: "files", errno.ENOMEM: "memory"}
_SIGNS = {
    "files": re.compile("Too many open files"),
    "processes": re.compile("pthread_create|can't start new thread"),
    "memory": re.compile(
        "bad_alloc|MemoryError|[Oo]ut of memory|allocate memory|[Mm]emory allocation|failed to map segment"
        "|array is too big"
    ),
}
"""What libraries say that have no exception for it."""

_FROM_OUTSIDE = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT")

_STATUS = {0xC0000005: "SIGSEGV", 0xC00000FD: "SIGSEGV", 0xC000001D: "SIGILL", 0xC0000094: "SIGFPE",
           0xC0000409: "SIGABRT", 0xC000013A: "SIGINT"}  # fmt: skip
"""The signals of what Windows has as exit codes."""

_NO_ROOM = (0xC0000017, 0xC000012D)
"""The exit codes by which Windows says that memory is out."""


def shortage(error: BaseException) -> LimitError | None:
    """Return the LimitError for the shortage that an error is or was caused by; None for any other error."""
    if isinstance(error, MemoryError):
        return limit_of("memory")
    own = isinstance(error, Fc2convError)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _ERRNOS:
            return limit_of(_ERRNOS[cause.errno])
        if not own and (found := said_by(str(cause))):
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def said_by(text: str) -> LimitError | None:
    """Return the LimitError that a library's message is about; None if it is about something else."""
    return next((limit_of(what) for what, sign in _SIGNS.items() if sign.search(text)), None)


@contextmanager
def starting() -> Iterator[None]:
    """Guard the start of a process: raise LimitError where the system does not have what a start needs."""
    try:
        yield
    except OSError as error:
        what = "processes" if error.errno == errno.EAGAIN else _ERRNOS.get(error.errno or 0)
        if what is None:
            raise
        raise limit_of(what) from error


def limit_of(what: str) -> LimitError:
    """Return the LimitError for a shortage of files, memory or processes."""
    message, limit = _WHAT[what]
    return LimitError(message, _remedy(what), limit=limit)


def death(code: int, last: str, *, begun: bool) -> LimitError:
    """Return what a process died of that did not say why, by its exit code (negative: the signal).

    `last` is its last line on stderr, and `begun` is whether it had reached the model.
    """
    code = code if -signal.NSIG < code < 0 else code & 0xFFFFFFFF
    name = signal.Signals(-code).name if code < 0 else _STATUS.get(code, "")
    how = f"died of {name}" if name else f"ended with {code}"
    said = limit_of("memory") if name == "SIGKILL" or code in _NO_ROOM else said_by(last)
    limit, remedy = (said.limit, said.remedy) if said is not None else _blame(name, begun=begun)
    if name == "SIGKILL":
        how += ", as where the machine runs out of memory"
        if spent := _raised("-t"):
            how, limit, remedy = f"{how} or `ulimit -t` is reached", "time", f"{spent}, or {remedy}"
    return LimitError(f"{how} ({last})" if last else how, remedy, limit=limit, signal=name)


def _blame(name: str, *, begun: bool) -> tuple[Limit, str]:
    """Return what a signal, or an end without one, means where no library said anything, and what to do."""
    if name == "SIGXCPU":
        return "time", "raise `ulimit -t`"
    if name in _FROM_OUTSIDE:
        return "system", "another process ended it, run fc2conv again"
    if space := _raised("-v"):
        return "crash", f"{space}; if it crashes then too, do not trust the model"
    if not begun:
        return "crash", "the libraries do not load here, install fc2conv and its requirements again"
    return "crash", "the model makes a native library crash: do not trust it, and report it to that library"


def _remedy(what: str) -> str:
    if what == "files":
        return "raise `ulimit -n`" + (f", which is {most[0]}" if (most := system.ulimit("-n")) else "")
    space = _raised("-v")
    if what == "processes":
        return f"raise `ulimit -u`, or {space}" if space else "raise `ulimit -u`"
    return space or _raised("-d") or f"raise --memory-limit {TRUSTED}"


def _raised(flag: str) -> str:
    """Return the command that raises a limit of the system; "" for a limit that is not set."""
    most = system.ulimit(flag)
    return f"raise `ulimit {flag}`, which is {most[0]}" if most is not None and most[1] else ""
