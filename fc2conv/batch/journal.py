"""The journal of a run folder: JSON lines, appended and synced by the driver alone, and what is read from them.

A line is a run's beginning, a row, or the name of a model of which an earlier row still holds. A run that was killed
leaves at most one line that is not whole, the last, which the next run cuts off.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from fc2conv.batch.tasks import Known
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, OutputError
from fc2conv.report.json import line, of_line
from fc2conv.report.types import BatchRow

NAME = "journal.jsonl"
_SHARD = re.compile(r"shard-([0-9]+)-of-([0-9]+)", re.ASCII)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A run: where it reads and writes, how many models there are for it, and with which versions."""

    source: str
    destination: str
    models: int
    versions: dict[str, str]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; exactly one of its fields is there."""

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

    Runs of different shards share the folder; a run of the whole has it for itself.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder / shard.folder if shard else folder
        self._descriptors: list[int] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shard:
                self._lock(folder, fcntl.LOCK_SH)
            self._lock(self.folder, fcntl.LOCK_EX)
            self._descriptor = self._own(self.folder / NAME, os.O_APPEND)
            self._cut()
        except OSError as error:
            self.close()
            raise OutputError(f"{self.folder} cannot be written ({error.strerror})", "name another DST") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Writes one line; a row is on the disk when this returns."""
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
        """Gives up the lock."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _lock(self, folder: Path, kind: int) -> None:
        descriptor = self._own(folder / "lock")
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another run works in {folder}", "wait for it, or name another DST") from None

    def _own(self, path: Path, flags: int = 0) -> int:
        """Opens a file of the run folder, which is changed in place: no link, by which it could be a file of others."""
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link", "remove it, or name another DST")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o644)
        self._descriptors.append(descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            what = "has hard links elsewhere" if status.st_nlink > 1 else "is not a regular file"
            raise OutputError(f"{path} {what}", "remove it, or name another DST")
        return descriptor

    def _cut(self) -> None:
        """Cuts off a last line that is not whole."""
        size = end = os.fstat(self._descriptor).st_size
        while end:
            begin = max(0, end - (1 << 16))
            at = os.pread(self._descriptor, end - begin, begin).rfind(b"\n")
            end = begin + at + 1 if at >= 0 else begin
            if at >= 0:
                break
        if end < size:
            os.ftruncate(self._descriptor, end)


def known_of(folder: Path) -> dict[str, Known]:
    """What the journals below a run folder have last said of each model."""
    found: dict[str, Known] = {}
    for path in journals(folder):
        for entry, _ in entries(path):
            if (row := entry.row) is not None:
                found[row.name] = Known(key=row.key, outcome=row.outcome, outputs=row.outputs, message=row.message)
    return found


def last_run(folder: Path) -> tuple[Header, list[BatchRow]]:
    """The last run of a run folder, all of its shards together, and its rows by name.

    Raises InputError where there is none.
    """
    headers: dict[str, Header] = {}
    rows: dict[str, bytes] = {}
    there: dict[str, set[str]] = {}
    whole = journals(folder)
    newest = max(whole, key=lambda path: path.stat().st_mtime_ns, default=None)
    for path in whole:
        part = path.parent.name
        for entry, text in entries(path):
            if entry.run is not None:
                headers[part], there[part] = entry.run, set()
            elif (name := entry.same or (entry.row.name if entry.row else None)) is not None:
                there.setdefault(part, set()).add(name)
                if entry.row is not None:
                    rows[name] = text
    if newest is None or newest.parent.name not in headers:
        raise InputError(f"{folder} holds no journal of a batch", "give the DST of a batch, or its --run folder")
    header = headers[newest.parent.name]
    parts = [part for part in headers if _count(part) == _count(newest.parent.name)]
    names = sorted(set().union(*(there[part] for part in parts)) & set(rows))
    total = sum(headers[part].models for part in parts)
    found = [of_line(rows[name], Entry).row for name in names]
    return msgspec.structs.replace(header, models=total), [row for row in found if row is not None]


def journals(folder: Path) -> list[Path]:
    """The journals below a run folder, that which was written last at the end."""
    found = [path for path in [folder / NAME, *folder.glob(f"shard-*/{NAME}")] if path.is_file()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))


def entries(path: Path) -> Iterator[tuple[Entry, bytes]]:
    """Each whole line and what it says; raises InputError for one that nobody wrote."""
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


def _count(part: str) -> str:
    found = _SHARD.fullmatch(part)
    return found[2] if found else ""
