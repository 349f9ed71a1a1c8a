"""What the system does not give: file descriptors, memory, processes; and which limit is to be raised."""

from __future__ import annotations

import errno
import re
import resource

from fc2conv.errors import Fc2convError, Limit, LimitError

_WHAT: dict[str, tuple[str, Limit]] = {
    "files": ("too few file descriptors", "system"),
    "memory": ("ran out of memory", "memory"),
    "processes": ("no thread or process can be started", "system"),
}
_ERRNOS = {errno.EMFILE: "files", errno.ENFILE: "files", errno.ENOMEM: "memory"}
_SIGNS = {
    "files": re.compile("Too many open files"),
    "processes": re.compile("pthread_create|can't start new thread"),
    "memory": re.compile("annot allocate memory|failed to map segment|bad_alloc|Failed to allocate"),
}
"""What libraries say that have no type of exception for it."""

_TRUSTED = "if the model is to be trusted"


def shortage(error: BaseException) -> LimitError | None:
    """The LimitError that an error is, or that is behind what was made of it; None where it is something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) and cause is error:
            return limit_of("memory")
        if isinstance(cause, OSError) and cause.errno in _ERRNOS:
            return limit_of(_ERRNOS[cause.errno])
        cause = cause.__cause__ or cause.__context__
    return None if isinstance(error, Fc2convError) else said_by(str(error))


def said_by(text: str) -> LimitError | None:
    """The LimitError that a library speaks of; None where it speaks of something else."""
    return next((limit_of(what) for what, sign in _SIGNS.items() if sign.search(text)), None)


def not_started(error: OSError) -> LimitError:
    """What is said where no process can be started."""
    return limit_of(_ERRNOS.get(error.errno or 0, "processes"))


def limit_of(what: str) -> LimitError:
    """The LimitError for a want of files, memory or processes."""
    message, limit = _WHAT[what]
    return LimitError(message, _remedy(what), limit=limit)


def address_space() -> str:
    """The command that raises the limit of the address space; "" where there is none."""
    return _raised("-v", resource.RLIMIT_AS)


def _remedy(what: str) -> str:
    if what == "files":
        return f"raise `ulimit -n`, which is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    if what == "processes":
        return " or ".join(filter(None, ("raise `ulimit -u`", address_space())))
    return address_space() or _raised("-d", resource.RLIMIT_DATA, hard=True) or f"raise --memory-limit {_TRUSTED}"


def _raised(flag: str, kind: int, *, hard: bool = False) -> str:
    """`hard`: the soft limit is fc2conv's own."""
    limit = resource.getrlimit(kind)[hard]
    return "" if limit == resource.RLIM_INFINITY else f"raise `ulimit {flag}`, which is {limit >> 10}"
