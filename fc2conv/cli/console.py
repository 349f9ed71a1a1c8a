"""Where a command's words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fc2conv.errors import ExitCode, OutputError, UsageError
from fc2conv.report.escape import one_line

if TYPE_CHECKING:
    from fc2conv.report.types import Comparison, Report


class Command(click.Command):
    """A command whose help, which click prints while it parses, obeys the rules of stdout."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with stdout():
            return super().parse_args(ctx, args)
        raise click.exceptions.Exit(ExitCode.DONE)


def say(text: str) -> None:
    """Write a result to stdout."""
    with stdout():
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()


def log(line: str) -> None:
    """Write a line to stderr; where that is gone there is nobody to tell."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def complain(error: Exception, *, debug: bool) -> None:
    """Log the error as one line, whatever its message holds, and before it the traceback if `debug`."""
    if debug:
        log("".join(traceback.format_exception(error)).rstrip("\n"))
    log(f"fc2conv: error: {one_line(str(error))}")


@contextlib.contextmanager
def stdout() -> Iterator[None]:
    """Around a write: a reader that left early (`| head`) changes nothing, a full disk behind stdout is an error."""
    try:
        yield
    except OSError as error:
        # What is still buffered goes nowhere, or else the interpreter's last flush fails as well.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"the report could not be written to stdout ({error.strerror})") from error


def refuse_report(path: str, *models: str) -> None:
    """Raises UsageError for a report that would be written over a model."""
    if any(os.path.realpath(path) == os.path.realpath(model) for model in models):
        raise UsageError(f"--report names {path}, which is a model of this command", "give the report another name")


def write_report(report: Report, path: str) -> None:
    """Write the report to a file, in the form that its suffix names."""
    from fc2conv.report.render import rendered

    try:
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(rendered(report, path))
    except OSError as error:
        raise OutputError(f"the report could not be written to {path} ({error.strerror}); OUT was") from error


def show(document: Report | Comparison, given: dict[str, Any]) -> None:
    """Print the result in the form that was asked for; `given` are the command's parameters."""
    if given["output_format"] == "json":
        from fc2conv.report.json import render

        say(render(document).decode("ascii"))
    elif not given["quiet"]:
        from fc2conv.report.text import Look, to_text

        say(to_text(document, Look.of(sys.stdout, verbose=given["verbose"])))
