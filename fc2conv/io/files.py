"""Files by name: only regular files are read. What is written appears as a whole, and replaces nothing else."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import OutputError
from fc2conv.io.escape import shown
from fc2conv.io.mistaken import url
from fc2conv.io.workspace import building

Name: TypeAlias = str | os.PathLike[str]

_REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some of the quota, or write elsewhere",
    errno.EROFS: "the file system is read-only: write elsewhere",
    errno.EACCES: system.DENIED,
    errno.EPERM: system.DENIED,
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EFBIG: "the file size is limited (`ulimit -f`, or the file system): write elsewhere",
}


def opened(path: Name) -> io.BufferedReader:
    """Open a regular file for reading; raise OSError for anything else, which may have no end or never open."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except ValueError:  # it holds a NUL
        raise OSError(errno.EINVAL, "not a possible name", os.fspath(path)) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return os.fdopen(os.open(path, os.O_RDONLY | system.BINARY | system.NO_WAIT), "rb")


@dataclass(frozen=True)
class Target:
    """A file that may be written: its path with links resolved, and its mode (-1: the file does not exist yet)."""

    path: Path
    mode: int

    @property
    def folder(self) -> Path:
        return self.path.parent


def checked_target(path: Name) -> Target:
    """Return the file to write for `path`, with symbolic links followed.

    Raise OutputError if a rename could not replace it: its folder is missing, it is no regular file, or not writable.
    """
    name = shown(path)
    with as_output_error(path):
        resolved = Path(system.reachable(os.path.realpath(path)))
        if os.fspath(path).endswith(("/", os.sep)) or resolved.is_dir():
            raise OutputError(f"{name} is a folder", "give a file name")
        if not resolved.parent.is_dir():
            if address := url(Path(path)):
                raise OutputError(f"{address} is a URL", "give a file; `fc2conv batch` writes to URLs")
            raise OutputError(f"{name} cannot be written: its folder does not exist", "make the folder first")
        mode = -1
        with suppress(FileNotFoundError):
            status = Path(path).stat()
            if not stat.S_ISREG(status.st_mode) or not resolved.exists():  # /dev/stdout may be a file without a name
                raise OutputError(f"{name} is not a regular file", "give another name")
            mode = stat.S_IMODE(status.st_mode)
        if system.read_only(resolved.parent):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if mode >= 0 and not _allowed(resolved, os.W_OK):
            raise OutputError(f"{name} may not be written", "check its permissions, or give another name")
        if not _allowed(resolved.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{name} cannot be written: its folder is not writable", _REMEDIES[errno.EACCES])
    return Target(resolved, mode)


def resolved(path: Name) -> Path:
    """Return a path with all links resolved, or unchanged if its working folder is gone or it holds a NUL."""
    try:
        return Path(os.path.realpath(path))
    except (FileNotFoundError, ValueError):
        return Path(path)


def check_folder(path: Name) -> None:
    """Raise OutputError unless a folder exists and may be written, or can be made."""
    with as_output_error(path):
        here = Path(os.path.realpath(path))
        while not os.path.lexists(here):
            here = here.parent
        if not here.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not _allowed(here, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _allowed(path: Path, mode: int) -> bool:
    """Return whether this process has access to a path; by its effective user where the system can tell."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def same_file(one: Name, other: Name) -> bool:
    """Return whether two paths name one file: by name after links are resolved, or as hard links."""
    return not {*identities(one)}.isdisjoint(identities(other))


def identities(path: Name) -> list[tuple[str | int, ...]]:
    """Return what tells a file apart: its name after links are resolved, and its place on the disk if it is there."""
    found: list[tuple[str | int, ...]] = []
    with suppress(OSError, ValueError):  # it is not there, or cannot be
        found.append((os.path.normcase(os.path.realpath(path)),))
        status = os.stat(path)  # noqa: PTH116
        found.append((status.st_dev, status.st_ino))
    return found


@contextmanager
def written(path: Name) -> Iterator[IO[bytes]]:
    """Open a stream whose bytes are put at `path`, as a whole, at the end of the body. An error there leaves nothing.

    Raise OutputError where the system refuses; a file that was at `path` is intact then.
    """
    target = checked_target(path)
    with as_output_error(path), building(target.folder) as workspace:
        made = workspace.path / target.path.name
        with made.open("xb") as stream:
            if target.mode >= 0:
                made.chmod(target.mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        system.replace(made, target.path)
        workspace.remove()


@contextmanager
def as_output_error(path: Name) -> Iterator[None]:
    """Convert what the system says about a write into an OutputError that names the output."""
    try:
        yield
    except OSError as error:
        what = f"{shown(path)} cannot be written ({error.strerror or error})"
        raise OutputError(what, _REMEDIES.get(error.errno or 0, "write elsewhere")) from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise OutputError(f"{shown(path)} is not a possible file name", "give another name") from error
