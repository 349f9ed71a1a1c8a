"""The private folder in which an output is built: its name, its lock, and the removal of abandoned ones.

Nothing heavy is imported here: a process that is interrupted sweeps at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fc2conv import system

_LOCK = ".fc2conv-lock"  # no output has this name
_OUTPUT = ".fc2conv-"
"""How the name of a private folder beside an output begins."""

_TOKEN = "[0-9a-f]{16}"
_PATIENCE = 10.0


class Workspace:
    """A private folder beside the output, locked while its process lives so that no other sweeps it."""

    def __init__(self, folder: Path, prefix: str = _OUTPUT) -> None:
        self.path = folder
        self._release: Callable[[], None] | None = None
        for _ in range(100):
            self.path = folder / f"{prefix}{os.urandom(8).hex()}"
            self.path.mkdir(mode=system.PRIVATE)
            try:
                self._release = system.lock(self.path / _LOCK, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:
                continue  # another process swept it before it was locked
            except BaseException:
                self.remove()
                raise
            if self._release is not None:
                return
        raise OSError(errno.EAGAIN, "other processes keep removing temporary folders", os.fspath(folder))

    def remove(self) -> None:
        """Remove the folder and all in it; do nothing when called again."""
        if self._release is not None:
            self._release()  # first: a process without another descriptor has one now, to list the folder with
            self._release = None
        _remove(self.path)


def sweep(folder: Path, prefix: str = _OUTPUT) -> None:
    """Remove the private folders of fc2conv's processes that were killed; leave those of live ones alone."""
    with suppress(OSError):
        names = [each for each in os.listdir(folder) if each.startswith(prefix)]  # noqa: PTH208  # temporary folders fill
        for name in names:
            if re.fullmatch(_TOKEN, name.removeprefix(prefix)):
                with suppress(OSError):
                    _sweep_one(folder / name)


@contextmanager
def building(folder: Path) -> Iterator[Workspace]:
    """Open a private folder for an output, and remove it where the body raises; sweep abandoned ones first."""
    sweep(folder)
    workspace = Workspace(folder)
    try:
        yield workspace
    except BaseException:
        workspace.remove()
        raise


def _sweep_one(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return
    try:
        release = system.lock(path / _LOCK)
    except FileNotFoundError:
        path.rmdir()  # only an empty folder: killed before it was locked
        return
    if release is not None:
        _remove(path, but=_LOCK)
        release()
        _remove(path)


def _remove(folder: Path, but: str = "") -> None:
    """Remove a private folder, with one file descriptor at most, which shutil.rmtree exceeds."""
    for here, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if name == but:
                continue
            with suppress(OSError):
                Path(here, name).unlink()
        for name in folders:
            with suppress(OSError):
                Path(here, name).rmdir()
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Guard a folder against publishing by other processes of fc2conv; wait up to 10 s for one that publishes.

    A data file that two of them need is then either published with a model that names it or taken back, and never taken
    back while the other one needs it. Where folders cannot be locked, wait for nothing.
    """
    release = None
    with suppress(OSError):
        path, flags = system.lock_of(folder)
        release = system.lock(path, flags, _PATIENCE)
    try:
        yield
    finally:
        if release is not None:
            release()
