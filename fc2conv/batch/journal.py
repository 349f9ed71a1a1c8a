"""The journal of a run folder: JSON lines, appended and synced by the driver alone, and what is read from them.

A line is a run's beginning, a row, or the name of a model whose earlier row is still valid. A run that was killed
leaves at most one incomplete line, the last, which the next run cuts off.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, OutputError
from fc2conv.report.json import line, of_line
from fc2conv.report.types import BatchRow

NAME, LOCK = "journal.jsonl", "lock"
_PATIENCE = 1.0
"""Seconds for which a shard waits for another one that is starting as well."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A run: where it reads and writes, how many models there are for it, and with which versions.

    Its paths are those of the command line, and `began_in` is the folder in which that was given.
    """

    source: str
    destination: str
    began_in: str = ""
    models: int
    versions: dict[str, str]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; exactly one of its fields is set."""

    run: Header | None = None
    row: BatchRow | None = None
    same: str | None = None


@dataclass(frozen=True)
class Shard:
    """The part `index` (from 1) of `count` of a batch."""

    index: int
    count: int

    @property
    def folder(self) -> str:
        return f"shard-{self.index}-of-{self.count}"


class Journal:
    """The journal of one run, open and locked; a second run on the same folder is refused with OutputError.

    Runs of different shards share the folder; a run of the whole batch has it for itself. A shard has the lock of the
    folder only while it takes its own.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder / shard.folder if shard else folder
        self._undone = ExitStack()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shard:
                with ExitStack() as brief:
                    _lock(folder, brief, _PATIENCE)
                    _lock(self.folder, self._undone)
            else:
                _lock(folder, self._undone)
                with ExitStack() as brief:
                    for path in folder.glob(f"shard-*/{LOCK}"):
                        _lock(path.parent, brief)
            self._descriptor = self._opened(self.folder / NAME)
            self._cut()
        except OSError as error:
            self.close()
            raise OutputError(f"{self.folder} cannot be written ({error.strerror})", "name another DST") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Write one line. A row is on the disk when this returns."""
        try:
            text = memoryview(line(entry))
            while text:
                text = text[os.write(self._descriptor, text) :]
            if entry.same is None:
                os.fsync(self._descriptor)
        except OSError as error:
            what = f"{self.folder / NAME} cannot be written ({error.strerror})"
            raise OutputError(what, "free some space; the same command goes on from here") from error

    def close(self) -> None:
        self._undone.close()

    def _opened(self, path: Path) -> int:
        _check(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | system.NO_LINK | system.NO_WAIT | system.BINARY
        descriptor = os.open(path, flags, 0o644)
        self._undone.callback(os.close, descriptor)
        return descriptor

    def _cut(self) -> None:
        """Cut off an incomplete last line."""
        size = end = os.fstat(self._descriptor).st_size
        while end:
            begin = max(0, end - (1 << 16))
            os.lseek(self._descriptor, begin, os.SEEK_SET)
            at = os.read(self._descriptor, end - begin).rfind(b"\n")
            end = begin + at + 1 if at >= 0 else begin
            if at >= 0:
                break
        if end < size:
            os.ftruncate(self._descriptor, end)


def _lock(folder: Path, undone: ExitStack, patience: float = 0.0) -> None:
    """Take the lock of a run folder until `undone`; raise OutputError where another run has it."""
    path = folder / LOCK
    _check(path)
    release = system.lock(path, os.O_RDWR | os.O_CREAT | system.NO_WAIT, patience)
    if release is None:
        raise OutputError(f"another run works in {folder}", "wait for it, or name another DST")
    undone.callback(release)


def _check(path: Path) -> None:
    """Refuse a file to be changed in place that could belong to others: a link, or no regular file."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        what = "is a symbolic link" if stat.S_ISLNK(status.st_mode) else ""
        if not what and not stat.S_ISREG(status.st_mode):
            what = "is not a regular file"
        if not what and status.st_nlink > 1:
            what = "has hard links elsewhere"
        if what:
            raise OutputError(f"{path} {what}", "remove it, or name another DST")


def known_of(folder: Path) -> dict[str, BatchRow]:
    """Return the last row of each model in the journals below a run folder, without its report."""
    found: dict[str, BatchRow] = {}
    for path in journals(folder):
        for entry, _ in entries(path):
            if (row := entry.row) is not None:
                found[row.name] = msgspec.structs.replace(row, report=None, stderr="")
    return found


def last_run(folder: Path) -> tuple[Header, list[BatchRow]]:
    """Return the last run of a run folder, with all its shards, and its rows by name; raise InputError for no run."""
    headers: dict[str, Header] = {}
    rows: dict[str, bytes] = {}
    there: dict[str, set[str]] = {}
    newest = ""
    for path in journals(folder):
        part = "" if path.parent == folder else path.parent.name
        for entry, text in entries(path):
            if entry.run is not None:  # a run that has just begun has no line yet
                headers[part], there[part], newest = entry.run, set(), part
            elif (name := entry.same or (entry.row.name if entry.row else None)) is not None:
                there.setdefault(part, set()).add(name)
                if entry.row is not None:
                    rows[name] = text
    if not headers:
        raise InputError(f"{folder} holds no journal of a batch", "give the DST of a batch, or its --run folder")
    count = newest.rpartition("-of-")[2]
    parts = [part for part in headers if part.rpartition("-of-")[2] == count]
    names = sorted(set().union(*(there[part] for part in parts)) & set(rows))
    total = sum(headers[part].models for part in parts)
    found = [of_line(rows[name], Entry).row for name in names]
    return msgspec.structs.replace(headers[newest], models=total), [row for row in found if row is not None]


def journals(folder: Path) -> list[Path]:
    """Return the journals below a run folder, the one that was written last at the end."""
    shards = folder.glob(f"shard-*/{NAME}") if os.path.isdir(folder) else ()
    found = [path for path in [folder / NAME, *shards] if os.path.isfile(path)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))


def entries(path: Path) -> Iterator[tuple[Entry, bytes]]:
    """Yield each whole line, decoded and as bytes; raise InputError for a line that fc2conv did not write."""
    number = 0
    try:
        with path.open("rb") as stream:
            for text in stream:
                number += 1
                if text.endswith(b"\n"):
                    yield of_line(text, Entry), text
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "check its permissions") from error
    except ValueError as error:
        what = f"{path} is damaged at line {number} ({error})"
        raise InputError(what, "remove it: the models are then converted again") from error
