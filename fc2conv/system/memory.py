"""How much memory a process has, and may have."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fc2conv.system.offers import LIMITS_MEMORY, psutil_

if TYPE_CHECKING:
    import mmap


def limit_data(nbytes: int) -> None:
    """Limit the data of this process, and write no core on a crash; do nothing where the system has no such limits."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = min(nbytes, sys.maxsize if hard == resource.RLIM_INFINITY else hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


_ULIMITS = {
    "-n": ("RLIMIT_NOFILE", 1),
    "-t": ("RLIMIT_CPU", 1),
    "-v": ("RLIMIT_AS", 1024),
    "-d": ("RLIMIT_DATA", 1024),
}
"""The limits of a process, by the flag of the shell: the name in Python, and the unit in which the shell has it."""


def ulimit(flag: str) -> tuple[int, bool] | None:
    """Return a limit in the shell's unit, and whether the system set it; None where nothing is limited.

    A soft limit below the hard one is fc2conv's own.
    """
    if sys.platform != "win32":
        import resource

        name, unit = _ULIMITS[flag]
        soft, hard = resource.getrlimit(getattr(resource, name))
        return None if soft == resource.RLIM_INFINITY else (soft // unit, soft == hard)
    return None


def data(pid: int | None = None) -> int:
    """Return the bytes that a process (None: this one) has for itself, as its limit counts them; 0 if nobody knows."""
    if LIMITS_MEMORY and sys.platform != "win32":
        with suppress(OSError):
            fields = Path(f"/proc/{pid or 'self'}/statm").read_text("ascii").split()
            return int(fields[5]) * os.sysconf("SC_PAGE_SIZE")
        return 0
    return private(pid)


def private(pid: int | None) -> int:
    """Return the resident bytes that no file backs, as maps of model files do no harm: of a process and its children.

    If `pid` is None, return those of this process alone.
    """
    psutil = psutil_()
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [process, *(process.children(recursive=True) if pid else ())]:
            with suppress(psutil.NoSuchProcess):
                usage = each.memory_info()
                total += int(getattr(usage, "private", usage.rss - getattr(usage, "shared", 0)))
    return total


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    usage = psutil_().Process().memory_info()
    return int(getattr(usage, "peak_wset", usage.rss))


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the control group that this process is in."""
    if sys.platform != "win32":
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        whole = psutil_().virtual_memory().total
    with suppress(OSError, ValueError):
        whole = min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    return int(whole)


def forget(pages: mmap.mmap) -> None:
    """Release the pages of a map that were read, so that they no longer count as this process's memory."""
    if sys.platform != "win32":
        import mmap

        pages.madvise(mmap.MADV_DONTNEED)
