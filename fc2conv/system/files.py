"""Locks of files, and other calls in which file systems differ."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fc2conv.system.offers import BINARY, NO_LINK


def lock(path: Path, flags: int = os.O_RDWR, patience: float = 0.0) -> Callable[[], None] | None:
    """Lock a file until this process ends, and return a function that unlocks it; None if another process has the lock.

    `flags` are those of `os.open`, and `patience` is how many seconds to wait for another process. Raise OSError where
    the file cannot be opened.
    """
    end = time.monotonic() + patience
    while (release := _locked(path, flags)) is None and time.monotonic() < end:
        time.sleep(0.01)
    return release


def _locked(path: Path, flags: int) -> Callable[[], None] | None:
    if sys.platform != "win32":
        import fcntl

        descriptor = os.open(path, flags | NO_LINK, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return partial(os.close, descriptor)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None
    return _file_lock(path, flags)


def _file_lock(path: Path, flags: int) -> Callable[[], None] | None:
    from filelock import FileLock, Timeout

    if not flags & os.O_CREAT:
        path.lstat()
    found = FileLock(path, mode=0o600)
    try:
        found.acquire(timeout=0)
    except Timeout:
        return None
    return partial(found.release, force=True)


def lock_of(folder: Path) -> tuple[Path, int]:
    """Return the path to lock for a folder and the flags for `lock`: the folder itself where the system can lock it."""
    if sys.platform != "win32":
        return folder, os.O_RDONLY
    import hashlib
    import tempfile

    name = hashlib.sha256(os.fsencode(os.path.normcase(folder))).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"fc2conv-{name}.lock"), os.O_RDWR | os.O_CREAT


def read_only(folder: Path) -> bool:
    """Return whether a folder is in a file system that nobody may write to."""
    if sys.platform != "win32":
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    return False


_PAUSES = (0.05, 0.1, 0.2, 0.4) if sys.platform == "win32" else ()
"""Seconds to wait between two tries, where a scanner that looks at a new file keeps it from being renamed."""

DENIED = "check the permissions of the folder, or write elsewhere"
"""What to do where a file may not be written."""

if sys.platform == "win32":
    DENIED = f"close the programs that use it, {DENIED}"


def replace(path: Path, target: Path) -> None:
    """Rename a file, and replace the file that has the target's name."""
    for pause in _PAUSES:
        try:
            path.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    path.replace(target)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Windows has no call for a folder."""
    windows = sys.platform == "win32"
    if windows and path.is_dir():
        return
    descriptor = os.open(path, (os.O_RDWR if windows else os.O_RDONLY) | BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_LONG, _SPARE = 260, 30
"""The characters at which a path is too long for Windows as it is, and those that a private folder adds."""


def reachable(path: str, *, windows: bool = sys.platform == "win32") -> str:
    r"""Return an absolute path in the form that the system takes: on Windows a long one begins with \\?\."""
    if not windows or len(path) < _LONG - _SPARE or path.startswith("\\\\?\\"):
        return path
    return f"\\\\?\\UNC\\{path[2:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"
