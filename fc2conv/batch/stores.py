"""Where outputs go: a folder into which they are written, or a store into which they are put when they are complete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from fc2conv.batch import remote
from fc2conv.batch.staging import temporary
from fc2conv.dataclass import dataclass
from fc2conv.errors import OutputError
from fc2conv.io.files import as_output_error, opened, resolved
from fc2conv.io.staged import taken

RUN_FOLDER = ".fc2conv"
"""The folder below DST that holds the journal and the reports."""


@dataclass(frozen=True)
class Folder:
    """A folder: a conversion replaces its output by a rename, so that nothing is to be done after it."""

    root: Path

    def place(self, name: str) -> str:
        """Return the name of an output in a report."""
        return os.fspath(self.root / name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Open the path at which to write the output of this name; it is published at the end, or before."""
        target = self.root / name
        if not resolved(target).is_relative_to(resolved(self.root)):
            raise OutputError(f"{target} is a link that leads out of {self.root}", "remove it")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{target.parent} cannot be made ({error.strerror})", "name another DST") from error
        yield target


@dataclass(frozen=True)
class Remote:
    """A store: an output is written to a private folder; data that the store lacks is put first, then the model."""

    root: str

    def place(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with temporary("fc2conv-output-") as folder:
            root = folder / "output"  # beside the folder's lock
            path = root / name
            with as_output_error(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            yield path
            data = [each for each in sorted(root.rglob("*")) if each.is_file() and each != path]
            names = {each: each.relative_to(root).as_posix() for each in [*data, path]}
            there = {each: digest(self.place(names[each])) for each in data}
            for each, found in there.items():
                if found not in ("", sha256(each)):
                    raise taken(self.place(names[each]))
            for each, inner in names.items():
                if not there.get(each):
                    self._put(each, inner)

    def _put(self, file: Path, name: str) -> None:
        files, path = remote.store(self.place(name))
        try:
            with remote.as_os_error():
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
                files.put_file(os.fspath(file), path)
        except OSError as error:
            raise OutputError(f"{self.place(name)} cannot be written ({error})", "check that it may be") from error


Destination: TypeAlias = Folder | Remote
"""DST, as a folder or as a store."""


def destination(where: str) -> Destination:
    """Return DST as a folder, or as a store for a URL of fsspec."""
    return Remote(where.rstrip("/")) if remote.is_url(where) else Folder(Path(where))


def sha256(file: Path | str) -> str:
    """Compute the SHA-256 of a file or of what a URL names, as `sha256sum` prints it; raise OSError."""
    with remote.opened(file) if isinstance(file, str) and remote.is_url(file) else opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(file: Path | str) -> str:
    """Compute the SHA-256 as `sha256` does; "" where the file is missing or cannot be read."""
    try:
        return sha256(file)
    except OSError:
        return ""


def still_there(where: Destination, outputs: Mapping[str, str]) -> bool:
    return all(digest(where.place(name)) == recorded for name, recorded in outputs.items())
