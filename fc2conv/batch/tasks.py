"""What the driver asks of whoever does the work, and what that answers: frozen types that travel as lines of JSON."""

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
"""How the name of a process's folder begins; what else is beside it belongs to others."""

STOPPED: dict[Limit, Outcome] = {"time": "timeout", "memory": "out-of-memory", "crash": "crashed", "system": "error"}
"""What came of a model by the limit that ended the work on it."""


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


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal has of a model: the key, what came of it, and the SHA-256 of each file below DST."""

    key: str
    outcome: Outcome
    outputs: dict[str, str] = {}
    message: str = ""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One model to convert into `destination`, a folder or a URL.

    Where `known` still holds, there is nothing to do.
    """

    item: Item
    destination: str
    options: Options
    known: Known | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task: a row, or None where what the journal has still holds."""

    name: str
    row: BatchRow | None


class Engine(Protocol):
    """Takes tasks, gives answers in any order; every task gets exactly one, whatever becomes of who works on it."""

    @property
    def capacity(self) -> int:
        """How many tasks may be in its hands at a time; it may change."""

    def submit(self, task: Task) -> None:
        """Takes one task; the caller keeps to `capacity`."""

    def finished(self, patience: float) -> Sequence[Answer]:
        """The answers that are there, or that come within `patience` seconds; none where none came."""

    def close(self) -> None:
        """Ends whatever still runs, and waits for that."""
