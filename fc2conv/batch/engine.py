"""What the driver knows of whoever does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fc2conv.batch.tasks import Answer, Task

SCRATCH = "fc2conv-process-"
"""How the name of a process's folder begins; what else is beside it belongs to others."""


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
