"""The ways in which fc2conv stops, each with its exit code (a contract: see docs/reference.md)."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

Limit = Literal["time", "memory", "crash", "system"]
"""What ended the work on a model from outside: a limit of time or memory, a native library that crashed, or a limit of
the system (file descriptors, processes) that has nothing to do with the model."""


class ExitCode(IntEnum):
    """What the process says to its caller; 128 + the number of a signal is the shell's convention."""

    DONE = 0
    CHECK_FOUND = 1
    USAGE = 2
    INPUT = 3
    MISMATCH = 4
    INCONCLUSIVE = 5
    OUTPUT = 6
    BATCH_FAILURES = 7
    LIMIT = 8
    FAULT = 70
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class Stopped(KeyboardInterrupt):  # no error: what Ctrl-C does, by another signal
    """The process is asked to end by a signal; whatever cleans up after Ctrl-C cleans up after this."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Fc2convError(Exception):
    """A stop that the user can act on: one line that says what and where, and one that says what to do."""

    exit_code: ExitCode = ExitCode.FAULT

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class UsageError(Fc2convError):
    """An option that makes no sense for this model, such as a shape for an input that it lacks."""

    exit_code = ExitCode.USAGE


class OverlapError(UsageError):
    """A file that was to be written is also another one of the same work; nothing was written."""


class InputError(Fc2convError):
    """A model that is missing, unreadable, invalid or not supported."""

    exit_code = ExitCode.INPUT


class UnprovedError(Fc2convError):
    """The converted model was not proved, and nothing was written; `report` (report.types.Report) tells all of it."""

    def __init__(self, message: str, remedy: str = "", *, report: object = None) -> None:
        super().__init__(message, remedy)
        self.report = report


class MismatchError(UnprovedError):
    """The converted model does not do what the original does; nothing was written."""

    exit_code = ExitCode.MISMATCH


class InconclusiveError(UnprovedError):
    """Nothing could be compared, so nothing was proved; nothing was written."""

    exit_code = ExitCode.INCONCLUSIVE


class OutputError(Fc2convError):
    """The output could not be written; what was there before is intact."""

    exit_code = ExitCode.OUTPUT


class LimitError(Fc2convError):
    """A limit was reached, or a native library crashed on this model; `signal` is the name of what killed it."""

    exit_code = ExitCode.LIMIT

    def __init__(self, message: str, remedy: str = "", *, limit: Limit = "crash", signal: str = "") -> None:
        super().__init__(message, remedy)
        self.limit: Limit = limit
        self.signal = signal
