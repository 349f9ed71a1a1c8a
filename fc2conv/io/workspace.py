"""The private folder in which an output is built: its name, its lock, and the sweeping of those that were left behind.

Nothing heavy is imported here: whoever is interrupted sweeps at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".fc2conv-"
_LOCK = ".fc2conv-lock"  # no output is called so
_PATIENCE = 10.0


class Workspace:
    """A private folder beside the output, locked while its process lives so that no other sweeps it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._lock = -1
        for _ in range(100):
            self.path = folder / f"{_PREFIX}{os.urandom(8).hex()}"
            self.path.mkdir(mode=0o700)
            try:
                self._lock = _locked(self.path / _LOCK, os.O_CREAT)
            except FileNotFoundError:
                continue  # another process swept it before it was locked
            except BaseException:
                self.remove()
                raise
            if self._lock >= 0:
                return
        raise OSError(errno.EAGAIN, "other processes keep removing temporary folders", os.fspath(folder))

    def remove(self) -> None:
        """Removes the folder and all in it; calling it again does nothing."""
        if self._lock >= 0:
            os.close(self._lock)  # first: a process without another descriptor has one now, to list the folder with
            self._lock = -1
        _remove(self.path)


def sweep(folder: Path) -> None:
    """Removes the private folders of processes of ours that were killed; those of live ones are left alone."""
    with suppress(OSError):
        stale = [each for each in folder.iterdir() if _is_private(each.name)]
        for each in stale:
            with suppress(OSError):
                _sweep_one(each)


def _is_private(name: str) -> bool:
    return name.startswith(_PREFIX) and re.fullmatch("[0-9a-f]{16}", name.removeprefix(_PREFIX)) is not None


def _sweep_one(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return
    try:
        lock = _locked(path / _LOCK, 0)
    except FileNotFoundError:
        path.rmdir()  # only an empty folder: killed before it was locked
        return
    if lock >= 0:
        _remove(path)
        os.close(lock)


def _remove(folder: Path) -> None:
    """Removes a private folder, with one file descriptor at most, which shutil.rmtree exceeds."""
    for here, folders, files in os.walk(folder, topdown=False):
        for name in files:
            with suppress(OSError):
                Path(here, name).unlink()
        for name in folders:
            with suppress(OSError):
                Path(here, name).rmdir()
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps other processes of ours from publishing in a folder meanwhile; waits for one that does, up to 10 s.

    A data file that two of them need is then either published with a model that names it or taken back, and never taken
    back from under the other. Where folders cannot be locked nothing is waited for.
    """
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        end = time.monotonic() + _PATIENCE
        while not _exclusive(descriptor) and time.monotonic() < end:
            time.sleep(0.01)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _locked(path: Path, flags: int) -> int:
    """Returns a descriptor that holds the lock, or -1 if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | flags, 0o600)
    try:
        held = _exclusive(descriptor) and os.fstat(descriptor).st_nlink > 0
    except BaseException:
        os.close(descriptor)
        raise
    if held:
        return descriptor
    os.close(descriptor)
    return -1


def _exclusive(descriptor: int) -> bool:
    """Takes the lock of an open file; returns False if another process holds it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
