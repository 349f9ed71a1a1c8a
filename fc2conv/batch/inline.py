"""The engine of a process that works itself: for stores that no other process sees, such as memory://."""

from __future__ import annotations

from collections.abc import Sequence

from fc2conv.batch.perform import perform
from fc2conv.batch.tasks import Answer, Task


class InlineEngine:
    """One model at a time, in this process; nothing is contained but what a conversion itself contains."""

    capacity = 1

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def finished(self, patience: float) -> Sequence[Answer]:  # noqa: ARG002 (of the protocol)
        return [perform(self._tasks.pop())] if self._tasks else []

    def close(self) -> None:
        self._tasks.clear()
