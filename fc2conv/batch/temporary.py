"""Folders for what is needed for a while: by a process of the pool, for a model that is fetched, an output to send."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fc2conv.errors import OutputError
from fc2conv.io.workspace import Workspace, sweep


def made(prefix: str, folder: Path | None = None) -> Workspace:
    """Makes a private folder below `folder`, or in TMPDIR, and removes those that killed processes have left there.

    Raises OutputError where the system refuses.
    """
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
    """A folder in TMPDIR for the time of the body; raises OutputError where none can be made."""
    workspace = made(prefix)
    try:
        yield workspace.path
    finally:
        workspace.remove()
