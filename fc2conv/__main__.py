"""The process: one call of the command line, and an exit code for everything that can come of it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from fc2conv import cli
from fc2conv.cli.config import CONFIG
from fc2conv.cli.console import complain, log, stdout
from fc2conv.errors import ExitCode, Fc2convError, Stopped, UsageError
from fc2conv.sandbox import START, rarely_collect
from fc2conv.sandbox.shortage import shortage
from fc2conv.system import STOPS, seat_standard_streams

COMPLETE = "_FC2CONV_COMPLETE"
"""The variable by which a shell asks for completions; see docs/reference.md."""

_PLAIN = {"a valid integer range": "a whole number", "a valid float range": "a number"}
"""What click says of a value, and what fc2conv says instead."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run fc2conv with `argv` (default: the process's own) and return its exit code; see docs/reference.md."""
    seat_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if argv is None:
        START.set("fork")  # this is the process's own command line, which has started no thread
        rarely_collect()
    with _stoppable():
        code = _run(list(sys.argv[1:] if argv is None else argv))
    if argv is None:
        gc.freeze()  # the interpreter need not look for cycles in all that goes
    return code


def _run(argv: list[str]) -> int:
    context = None
    try:
        if instruction := os.environ.get(COMPLETE):
            return _complete(instruction)
        context = cli.main.make_context("fc2conv", argv)
        with context:
            return int(cli.main.invoke(context))
    except (Exception, KeyboardInterrupt) as stop:  # noqa: BLE001 (the last line of defence: every stop gets its code)
        _deafen()
        return _exit_code(stop, context.meta if context is not None else {})


def _complete(instruction: str) -> int:
    """Answer a shell that asks for completions."""
    from click.shell_completion import shell_complete

    with stdout():
        try:
            code = shell_complete(cli.main, {}, "fc2conv", COMPLETE, instruction)
        except (KeyError, ValueError):  # what the shell says of its line
            code = 1
    if code:
        raise UsageError(f"{COMPLETE} is {instruction!r}, and no shell asks for completions", f"unset {COMPLETE}")
    return 0


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process as Ctrl-C does; one that is ignored (`nohup`) or handled stays so."""
    here = threading.current_thread() is threading.main_thread()
    ours = [each for each in STOPS if here and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, _stop)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _deafen() -> None:
    """Ignore further signals, so that the report of what stopped the run is finished."""
    for each in STOPS:
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_IGN)


def _exit_code(stop: BaseException, meta: Mapping[str, Any]) -> int:
    """Tell the user what stopped the run, in one line, and return the code that says so."""
    match stop:
        case click.exceptions.Exit():
            return stop.exit_code
        case Stopped():
            log(f"fc2conv: ended by {signal.Signals(stop.number).name}")
            return ExitCode.TERMINATED if stop.number == signal.SIGTERM else ExitCode.HUNG_UP
        case KeyboardInterrupt() | click.Abort():
            log("fc2conv: interrupted")
            return ExitCode.INTERRUPTED
        case click.ClickException():
            error: Fc2convError = _usage(stop)
        case Fc2convError():
            error = shortage(stop) or stop
        case _:
            error = shortage(stop) or Fc2convError(
                f"{type(stop).__name__}: {stop}", "this is a fault of fc2conv, please report it; --debug shows where"
            )
    error.__cause__ = stop if error is not stop else error.__cause__
    complain(error, meta)
    return error.exit_code


def _usage(error: click.ClickException) -> UsageError:
    message = " ".join(error.format_message().split()).rstrip(".")
    for theirs, plain in _PLAIN.items():
        message = message.replace(theirs, plain)
    context = getattr(error, "ctx", None)
    param = getattr(error, "param", None)
    if context and param and context.get_parameter_source(param.name) is ParameterSource.DEFAULT_MAP:
        message = f"{context.meta[CONFIG]}: {message}"
    remedy = f"see `{context.command_path if context else 'fc2conv'} --help`"
    if isinstance(error, click.MissingParameter) and context and context.command.name == "convert":
        remedy = f"`fc2conv check IN` prints the plan and writes nothing; {remedy}"
    return UsageError(message, remedy)


if __name__ == "__main__":
    sys.exit(main())
