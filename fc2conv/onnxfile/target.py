"""Where a model is to be written: the checks of it, and what the system says of a write in one line."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fc2conv.errors import OutputError
from fc2conv.onnxfile.tensors import shown

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
