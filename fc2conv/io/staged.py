"""A model that was written in full beside its final place, and the renames that publish it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import OutputError
from fc2conv.io.escape import shown
from fc2conv.io.files import Target, as_output_error
from fc2conv.io.workspace import Workspace, one_at_a_time

HASH_BLOCK = 1 << 23
"""Bytes per leaf of the content hash; part of what a name means, so it never changes."""

_READ = 1 << 20


@dataclass(frozen=True)
class Move:
    """A rename that is due when the model is published; `source` is None where the final file is there already."""

    source: Path | None
    final: Path


class Staged:
    """A written model that nobody sees yet; leaving its context without `publish` removes every trace of it.

    `path` can be read as any model file, data beside it; `nbytes` is the size in bytes of the model and its data.
    """

    def __init__(self, target: Target, workspace: Workspace | None, path: Path, data: list[Move], nbytes: int) -> None:
        self.path = path
        self.nbytes = nbytes
        self._target = target
        self._workspace = workspace
        self._data = data

    @property
    def data_files(self) -> list[Path]:
        return [move.final for move in self._data]

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Removes what was written and not published."""
        if self._workspace is not None:
            self._workspace.remove()

    def publish(self) -> None:
        """Makes the model appear at its place in one step; what was there stays intact until then.

        Raises OutputError if the system refuses; nothing has changed then.
        """
        if self._workspace is None:
            return
        placed: list[Path] = []
        moves = [move for move in self._data if move.source is not None]
        with as_output_error(self._target.path):
            for path in (*(move.source for move in moves if move.source), self.path):
                system.sync(path)
        with as_output_error(self._target.path), one_at_a_time(self._target.folder):
            try:
                for move in moves:
                    self._place(move, placed)
                if moves:
                    system.sync(self._target.folder)
                system.replace(self.path, self._target.path)
            except BaseException:
                if self.path.exists():  # else Ctrl-C came just after the last rename, and the data belongs to the model
                    for path in reversed(placed):
                        _take_back(path)
                raise
            self.path = self._target.path
            self.discard()
            with suppress(OSError):  # the model is published; some file systems cannot sync a folder
                system.sync(self._target.folder)

    def _place(self, move: Move, placed: list[Path]) -> None:
        """Renames a data file to its final name, unless another process was faster."""
        assert move.source is not None
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
    """Raises OutputError unless the file at a place is a regular file with the content to be put there."""
    if not same_content(new, existing):
        what = f"{shown(existing)} exists, and is not the data file that the model needs there"
        raise OutputError(what, "write the model to another folder")


def same_content(one: Path, other: Path) -> bool:
    """Returns whether two paths are regular files, no links, of the same bytes."""
    if other.is_symlink() or not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return one.samefile(other) or content_digest(one) == content_digest(other)


def content_digest(path: Path) -> str:
    """Returns 64 hex digits of a file's content: SHA-256 over the SHA-256 of each block and the size in bytes.

    SHA-256 is the fastest cryptographic hash of hashlib where the processor has instructions for it (1.9 GB/s, against
    0.7 for BLAKE2b), and blocks are hashed on two threads. Raises OSError if the file cannot be read.
    """
    import hashlib
    from concurrent.futures import ThreadPoolExecutor

    size = path.stat().st_size
    with ThreadPoolExecutor(2) as pool:
        leaves = pool.map(lambda start: _leaf(path, start), range(0, size, HASH_BLOCK))
        root = hashlib.sha256(size.to_bytes(8, "little"))
        for leaf in leaves:
            root.update(leaf)
    return root.hexdigest()


def _leaf(path: Path, start: int) -> bytes:
    import hashlib

    leaf = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        for _ in range(start, start + HASH_BLOCK, _READ):
            leaf.update(file.read(_READ))
    return leaf.digest()
