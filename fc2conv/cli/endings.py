"""The end of a command's help: its exit codes and examples."""

from __future__ import annotations

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


def exit_codes(without: frozenset[ExitCode] = frozenset()) -> str:
    """Draw the exit codes, one a line, as click prints them without folding."""
    lines = [f"  {code:>3d}  {meaning}" for code, meaning in MEANINGS.items() if code not in without]
    return "\b\nExit codes:\n" + "\n".join(lines) + "\n"


def ending(*examples: str, without: frozenset[ExitCode] = frozenset()) -> str:
    """Draw the exit codes and the examples; a line that is no command says what the next one is for."""
    lines = [f"  {line}" for line in examples]
    return f"{exit_codes(without)}\n\b\nExamples:\n" + "\n".join(lines) + "\n"
