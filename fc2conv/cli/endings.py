"""The end of a command's help: its exit codes and examples."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fc2conv.errors import ExitCode

MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done, also where there was nothing to do",
    ExitCode.CHECK_FOUND: "check found work or what it is to fail on, or --require is unmet",
    ExitCode.USAGE: "usage",
    ExitCode.INPUT: "the input is unreadable, invalid or not supported",
    ExitCode.MISMATCH: "the models differ; nothing was written",
    ExitCode.INCONCLUSIVE: "equality was neither proved nor refuted; nothing was written",
    ExitCode.OUTPUT: "the output could not be written",
    ExitCode.BATCH_FAILURES: "a model of the batch failed",
    ExitCode.LIMIT: "a limit was reached, or a native library crashed on the model",
    ExitCode.FAULT: "a fault of fc2conv",
    ExitCode.HUNG_UP: "hung up (SIGHUP)",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}
"""What each exit code says, for the help of every command."""


_ALWAYS = frozenset(ExitCode) - {ExitCode(code) for code in (1, 3, 4, 5, 6, 7, 8)}
"""The exit codes of every command."""


def exit_codes(own: Collection[int] = tuple(ExitCode)) -> str:
    """Draw the exit codes, those of every command and its `own`, one a line, as click prints them without folding."""
    lines = [f"  {code:>3d}  {meaning}" for code, meaning in MEANINGS.items() if code in _ALWAYS or code in own]
    return _block("Exit codes", lines)


def examples(commands: Sequence[str]) -> str:
    return _block("Examples", [f"  {line}" for line in commands])


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join(["\b", f"{title}:", *lines, ""])
