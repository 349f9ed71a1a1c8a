"""The process: one call of the command line, and an exit code for everything that can come of it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click
from click.core import ParameterSource
from click.shell_completion import shell_complete

from fc2conv import cli
from fc2conv.cli.config import CONFIG
from fc2conv.cli.console import complain, log, stdout
from fc2conv.cli.parameters import DEBUG, GITHUB
from fc2conv.errors import ExitCode, Fc2convError, LimitError, UsageError

COMPLETE = "_FC2CONV_COMPLETE"
"""The variable by which a shell asks for completions; see docs/reference.md."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run fc2conv with `argv` (default: the process's own) and return its exit code; see docs/reference.md."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    context = None
    try:
        if COMPLETE in os.environ:
            with stdout():
                return shell_complete(cli.main, {}, "fc2conv", COMPLETE, os.environ[COMPLETE])
        context = cli.main.make_context("fc2conv", list(sys.argv[1:] if argv is None else argv))
        with context:
            return int(cli.main.invoke(context))
    except (Exception, KeyboardInterrupt) as stop:  # noqa: BLE001 (the last line of defence: every stop gets its code)
        meta = context.meta if context is not None else {}
        return _exit_code(stop, debug=bool(meta.get(DEBUG)), github=bool(meta.get(GITHUB)))


def _exit_code(stop: BaseException, *, debug: bool, github: bool) -> int:
    """Tell the user what stopped the run, in one line, and return the code that says so."""
    match stop:
        case click.exceptions.Exit():
            return stop.exit_code
        case KeyboardInterrupt() | click.Abort():
            log("fc2conv: interrupted")
            return ExitCode.INTERRUPTED
        case click.ClickException():
            told: Fc2convError = _usage(stop)
        case Fc2convError():
            told = stop
        case MemoryError():
            told = LimitError("out of memory", "close other programs, or use a machine with more", limit="memory")
        case _:
            told = Fc2convError(
                f"{type(stop).__name__}: {stop}", "this is a fault of fc2conv, please report it; --debug shows where"
            )
    told.__cause__ = stop if told is not stop else told.__cause__
    complain(told, debug=debug, github=github)
    return told.exit_code


def _usage(error: click.ClickException) -> UsageError:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    param = getattr(error, "param", None)
    if context and param and context.get_parameter_source(param.name) is ParameterSource.DEFAULT_MAP:
        message = f"{context.meta[CONFIG]}: {message}"
    return UsageError(message, f"see `{context.command_path if context else 'fc2conv'} --help`")


if __name__ == "__main__":
    sys.exit(main())
