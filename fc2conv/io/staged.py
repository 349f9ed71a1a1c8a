"""A model that was written in full beside its final place, and the renames that publish it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import OutputError
from fc2conv.io.escape import shown
from fc2conv.io.files import Name, Target, as_output_error
from fc2conv.io.workspace import Workspace, one_at_a_time

_SAMPLES, _SAMPLE = 128, 4096
"""About how many samples name a file, and the bytes of a sample; names depend on them, so they never change."""

_READ = 1 << 20


@dataclass(frozen=True)
class Move:
    """A rename that is due when the model is published."""

    source: Path
    final: Path


@dataclass(eq=False)
class Staged:
    """A written model that nobody sees yet; leaving its context without `publish` removes every trace of it.

    `path` can be read as any model file, data beside it; `nbytes` is the size in bytes of the model and its data.
    `data_files` are where its data will be; `moves` bring those there that are not there yet.
    """

    target: Target
    workspace: Workspace | None
    path: Path
    data_files: list[Path]
    nbytes: int
    moves: Sequence[Move] = ()

    @property
    def data_names(self) -> list[str]:
        """The data files relative to the model's folder."""
        return [os.path.relpath(each, self.target.folder) for each in self.data_files]

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what was written and not published."""
        if self.workspace is not None:
            self.workspace.remove()

    def publish(self) -> None:
        """Rename the model to its place in one step; a file that was there stays intact until then.

        Raise OutputError if the system refuses; nothing has changed then.
        """
        if self.workspace is None:
            return
        placed: list[Path] = []
        with as_output_error(self.target.path):
            for path in (*(move.source for move in self.moves), self.path):
                system.sync(path)
        with as_output_error(self.target.path), one_at_a_time(self.target.folder):
            try:
                for move in self.moves:
                    self._place(move, placed)
                if self.moves:
                    system.sync(self.target.folder)
                system.replace(self.path, self.target.path)
            except BaseException:
                if self.path.exists():  # else Ctrl-C came just after the last rename, and the data belongs to the model
                    for path in reversed(placed):
                        _take_back(path)
                raise
            self.path = self.target.path
            self.discard()
            with suppress(OSError):  # the model is published; some file systems cannot sync a folder
                system.sync(self.target.folder)

    def _place(self, move: Move, placed: list[Path]) -> None:
        """Rename a data file to its final name, unless another process was faster."""
        for folder in reversed(move.final.parents):
            if not folder.exists():
                folder.mkdir()
                placed.append(folder)
        if os.path.lexists(move.final):
            refuse_different(move.source, move.final)
            return
        placed.append(move.final)
        system.replace(move.source, move.final)


def _take_back(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def refuse_different(new: Path, existing: Path) -> None:
    """Raise OutputError unless the file at a place is a regular file with the content to be put there."""
    if not same_content(new, existing):
        raise taken(existing)


def taken(place: Name) -> OutputError:
    """Return the error for another file at the place of a data file."""
    what = f"{shown(place)} exists, and is not the data file that the model needs there"
    return OutputError(what, "write the model to another folder, or remove that file if no other model needs it")


def same_content(one: Path, other: Path) -> bool:
    """Return whether two paths are regular files, no links, of the same bytes."""
    if other.is_symlink() or not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return one.samefile(other) or _equal(one, other)


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(_READ):
            if block != right.read(_READ):
                return False
    return True


def content_names(path: Path) -> Iterator[str]:
    """Yield names of a file's content in hex digits: of samples, then of all of it, where others have the first.

    So a file that was cloned, or is larger than the memory, is not read once more. A file of up to 512 KiB is all
    samples. Raise OSError if it cannot be read.
    """
    import hashlib

    size = path.stat().st_size
    found = hashlib.sha256(size.to_bytes(8, "little"))
    with path.open("rb", buffering=0) as file:
        for start in range(0, size, max(_SAMPLE, size // _SAMPLES)):
            file.seek(start)
            found.update(file.read(_SAMPLE))
    yield found.hexdigest()[:8]
    with path.open("rb", buffering=0) as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    yield whole[:16]
    yield whole
