"""Where a model is to be written: the checks of it, and the private folder in which it is built."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fc2conv.errors import OutputError
from fc2conv.onnxfile.tensors import shown

_PRIVATE = re.compile(r"\.fc2conv-[0-9a-f]{16}", re.ASCII)
_LOCK = "lock"
_PATIENCE = 10.0
_REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some of the quota, or write elsewhere",
    errno.EROFS: "the file system is read-only: write elsewhere",
    errno.EACCES: "check the permissions of the folder, or write elsewhere",
    errno.EPERM: "check the permissions of the folder, or write elsewhere",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EFBIG: "the file size is limited (`ulimit -f`, or the file system): write elsewhere",
}


@dataclass(frozen=True)
class Target:
    """A file that may be written: its path behind all links, and the mode of what stands there (-1: nothing does)."""

    path: Path
    mode: int

    @property
    def folder(self) -> Path:
        return self.path.parent


def checked_target(path: str | os.PathLike[str]) -> Target:
    """Returns the file to write for `path`; a symbolic link stands for what it points to.

    Raises OutputError if it could not be replaced by a rename: no such folder, no regular file, not writable.
    """
    name = shown(path)
    with as_output_error(path):
        resolved = Path(os.path.realpath(path))
        if os.fspath(path).endswith(("/", os.sep)) or resolved.is_dir():
            raise OutputError(f"{name} is a folder", "give a file name")
        if not resolved.parent.is_dir():
            raise OutputError(f"{name} cannot be written: its folder does not exist", "make the folder first")
        mode = -1
        with suppress(FileNotFoundError):
            status = resolved.stat()
            if not stat.S_ISREG(status.st_mode):
                raise OutputError(f"{name} is not a regular file", "give another name")
            mode = stat.S_IMODE(status.st_mode)
        if os.statvfs(resolved.parent).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if mode >= 0 and not _allowed(resolved, os.W_OK):
            raise OutputError(f"{name} may not be written", "check its permissions, or give another name")
        if not _allowed(resolved.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{name} cannot be written: its folder is not writable", _REMEDIES[errno.EACCES])
    return Target(resolved, mode)


def _allowed(path: Path, mode: int) -> bool:
    """Whether this process may; by its effective user where the system can tell."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


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


@contextmanager
def as_output_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what the system says about a write into an OutputError that names the output."""
    try:
        yield
    except OSError as error:
        what = f"{shown(path)} cannot be written ({error.strerror or error})"
        raise OutputError(what, _REMEDIES.get(error.errno or 0, "write elsewhere")) from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise OutputError(f"{shown(path)} is not a possible file name", "give another name") from error


class Workspace:
    """A private folder beside the output, locked while its process lives so that no other sweeps it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._lock = -1
        for _ in range(100):
            self.path = folder / f".fc2conv-{secrets.token_hex(8)}"
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
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(folder: Path) -> None:
    """Removes the private folders of processes of ours that were killed; those of live ones are left alone."""
    with suppress(OSError):
        stale = [each for each in folder.iterdir() if _PRIVATE.fullmatch(each.name)]
        for each in stale:
            with suppress(OSError):
                _sweep_one(each)


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
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


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
