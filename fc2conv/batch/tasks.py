"""What the driver asks of an engine, and what that answers: frozen types that travel as lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from fc2conv.errors import Limit
from fc2conv.options import Options
from fc2conv.report.types import BatchRow, Outcome

TAIL = 4096
"""Characters that are kept of a traceback, and bytes of what a process wrote to stderr."""

SCRATCH = "fc2conv-process-"
"""How the name of a process's folder begins; other folders beside it belong to others."""

STOPPED: dict[Limit, Outcome] = {"time": "timeout", "memory": "out-of-memory", "crash": "crashed", "system": "error"}
"""The outcome of a model by the limit that ended the work on it."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was found.

    `name` is its path below SRC with `/` between, which is also the output's below DST. `kind` says what `location` is:
    a path, a ZIP archive in which `member` is the model, or a URL. `problem` is why it is no model, if known.
    """

    name: str
    kind: Literal["file", "zip", "url"]
    location: str
    member: str = ""
    problem: str = ""

    @property
    def shown(self) -> str:
        """What people call it."""
        return f"{self.location}!{self.member}" if self.member else self.location


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One model to convert into `destination`, a folder or a URL.

    `known` is its row in the journal, without the report; where that is still valid, there is nothing to do.
    """

    item: Item
    destination: str
    options: Options
    known: BatchRow | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a task: a row, or None where the journal's entry is still valid."""

    name: str
    row: BatchRow | None


class Engine(Protocol):
    """Takes tasks and gives answers in any order; every task gets exactly one, even if its worker is lost."""

    @property
    def capacity(self) -> int:
        """How many tasks the engine takes at a time; it may change."""

    def submit(self, task: Task) -> None:
        """Take one task. The caller keeps to `capacity`."""

    def finished(self, patience: float) -> Sequence[Answer]:
        """Return the answers that are ready or come within `patience` seconds; an empty sequence where none came."""

    def close(self) -> None:
        """End whatever still runs, and wait for that."""
