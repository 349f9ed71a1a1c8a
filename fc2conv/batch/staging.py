"""A model and its external data as files that can be mapped, wherever they are stored, and temporary folders."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from fc2conv.batch.remote import opened
from fc2conv.batch.tasks import Item
from fc2conv.errors import Fc2convError, InputError, OutputError
from fc2conv.io.workspace import Workspace, sweep

MAX_BYTES = 16 << 30
"""The most bytes of a model and its data when they are unpacked or fetched, whatever size an archive states."""

_BLOCK = 1 << 20
_Open = Callable[[str], AbstractContextManager[IO[bytes]]]


@contextmanager
def staged(item: Item, limit: int = MAX_BYTES) -> Iterator[Path]:
    """Open a model as a path with its external data beside it: its own, or that of a copy in a private folder.

    Raise InputError for a model that does not exist or cannot be read, and for more than `limit` bytes. An error that
    names the folder, here or in the body, names the place from which the model came instead.
    """
    if item.problem:
        raise InputError(f"{item.shown} {item.problem}", "give the model itself")
    if item.kind == "file":
        yield Path(item.location)
        return
    with temporary("fc2conv-staged-") as folder:
        try:
            if item.kind == "zip":
                with archive_of(item.location) as archive:
                    path = _fetched(item, item.member, archive.open, folder, limit)
            else:
                path = _fetched(item, item.location, opened, folder, limit)
            yield path
        except Fc2convError as error:  # the private folder means nothing to users
            error.message = error.message.replace(str(folder), item.shown.rpartition("/")[0])
            raise


def inner_path(name: str) -> PurePosixPath | None:
    """Return the path that a name means inside of a folder; None for one that leaves it, or means no file."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    windows = PureWindowsPath(name)
    if not parts or "\0" in name or name.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        return None
    return PurePosixPath(*parts)


def archive_of(path: str) -> zipfile.ZipFile:
    """Open a ZIP archive; raise InputError for a file that is not one."""
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a ZIP archive ({error})", "fetch it again") from error


def _fetched(item: Item, member: str, source: _Open, folder: Path, limit: int) -> Path:
    """Copy a model and the data files that it names; skip names that leave the folder, which its reader refuses."""
    from fc2conv.io.reader import external_locations  # with numpy, which the driver of a batch does not need

    base, _, name = member.rpartition("/")
    path = folder / (inner_path(name) or "model.onnx")
    left = _copied(item, source, member, path, limit)
    for location in external_locations(path):
        inner = inner_path(location)
        if inner is None or folder / inner == path:
            continue
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        left = _copied(item, source, f"{base}/{inner}" if base else str(inner), target, left)
    return path


def _copied(item: Item, source: _Open, name: str, target: Path, limit: int) -> int:
    """Copy one file in blocks; return how many of the `limit` bytes are left."""
    try:
        with source(name) as stream, target.open("wb") as copy:
            while block := stream.read(_BLOCK):
                limit -= len(block)
                if limit < 0 or len(block) > shutil.disk_usage(target.parent).free:
                    raise InputError(f"{item.shown} unpacks to more than can be kept", "unpack it by hand")
                copy.write(block)
    except (KeyError, FileNotFoundError):
        what = "does not exist" if name in (item.member, item.location) else f"has no data file {name}"
        raise InputError(f"{item.shown} {what}", "put the model's external data beside it") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{item.shown} cannot be unpacked ({error})", "make the archive again") from error
    except OSError as error:
        if target.exists() and error.filename is not None and Path(error.filename) == target:
            raise OutputError(f"{target} cannot be written ({error.strerror})", "free some space") from error
        raise InputError(f"{item.shown} cannot be fetched ({error})", "check that it can be reached") from error
    return limit


def made(prefix: str, folder: Path | None = None) -> Workspace:
    """Make a private folder below `folder` or in TMPDIR, and sweep those of killed processes; raise OutputError."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        place = folder or Path(tempfile.gettempdir())
        sweep(place, prefix)
        return Workspace(place, prefix)
    except OSError as error:
        where = f"in {folder}" if folder is not None else "for temporary files"
        what = f"no folder can be made {where} ({error.strerror})"
        raise OutputError(what, "free some space, or have TMPDIR name a folder that may be written") from error


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Open a folder in TMPDIR for the time of the body; raise OutputError where no folder can be made."""
    workspace = made(prefix)
    try:
        yield workspace.path
    finally:
        workspace.remove()
