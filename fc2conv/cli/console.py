"""Where a command's output goes: results to stdout, everything else to stderr; and the text of its help."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import click

from fc2conv.cli import progress_line
from fc2conv.cli.config import CONFIG
from fc2conv.cli.option import Option
from fc2conv.errors import ExitCode, Fc2convError, OutputError
from fc2conv.io.apart import Role, check_written
from fc2conv.io.escape import one_line
from fc2conv.io.files import written
from fc2conv.version import versions

if TYPE_CHECKING:
    from fc2conv.options import VerifyOptions
    from fc2conv.report.types import Document


WORDS, DEBUG, GITHUB = "fc2conv.words", "fc2conv.debug", "fc2conv.github"
"""Where a context keeps the words of its command line, and whether errors have tracebacks or are annotations."""


HEADINGS = (
    "Input",
    "What to convert",
    "Form and target",
    "Fully convolutional",
    "Gate",
    "Picture",
    "Batch",
    "Verification",
    "Output",
    "Limits",
    "General",
)
"""The groups of options, in the order of the help."""

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
"""The meaning of each exit code, for the help of every command."""

_ALWAYS = frozenset(ExitCode) - {ExitCode(code) for code in (1, 3, 4, 5, 6, 7, 8)}
"""The exit codes of every command."""


class Command(click.Command):
    """A command whose help, which click prints while it parses, obeys the rules of stdout and groups its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = (*ctx.command_path.split(), *args)
        alone = {name: each.joined for each in self.params if isinstance(each, Option) for name in each.opts}
        for word, value in pairwise(args):
            if alone.get(word) is not None and value.isdecimal() and not os.path.exists(value):
                raise click.UsageError(f"the value of {word} is joined to it; write {word}={value}", ctx)
        words = [word if alone.get(word) is None else f"{word}={alone[word]}" for word in args]
        try:
            with stdout():
                return super().parse_args(ctx, words)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        raise click.exceptions.Exit(ExitCode.DONE)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options in groups, below the heading of each."""
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (row := param.get_help_record(ctx)) is not None:
                rows[getattr(param, "heading", "General")].append(row)
        for heading, found in rows.items():
            if found:
                with formatter.section(heading):
                    formatter.write_dl(found, col_max=26)


def command(*commands: str, codes: Collection[int] = ()) -> Callable[[Callable[..., ExitCode]], click.Command]:
    """Make a function a command. Its help ends with its own exit codes, if there are any, and with examples."""
    parts = [exit_codes(codes)] if codes else []
    parts += [_block("Examples", [f"  {line}" for line in commands])] if commands else []
    return click.command(cls=Command, epilog="\n".join(parts) or None)


def exit_codes(own: Collection[int] = tuple(ExitCode)) -> str:
    """Draw the exit codes, those of every command and its `own`, one per line, as click prints them without folding."""
    lines = [f"  {code:>3d}  {meaning}" for code, meaning in MEANINGS.items() if code in _ALWAYS or code in own]
    return _block("Exit codes", lines)


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join(["\b", f"{title}:", *lines, ""])


def say(text: str) -> None:
    with stdout():
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()


def log(line: str) -> None:
    """Write a line to stderr; do nothing where stderr is closed."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def complain(error: Exception, meta: Mapping[str, Any]) -> None:
    """Log the error as one line, whatever its message contains, in the form that the command line asks for.

    `meta` is that of its context: with DEBUG the traceback comes first, and with GITHUB an annotation goes to stdout.
    """
    if meta.get(DEBUG):
        import traceback

        log("".join(traceback.format_exception(error)).rstrip("\n"))
    log(f"fc2conv: error: {one_line(str(error))}")
    if meta.get(GITHUB):
        from fc2conv.report.github import Annotation, command

        with contextlib.suppress(OutputError):  # the exit code of this error is the one that counts
            say(command(Annotation("error", "fc2conv", str(error))))


@contextlib.contextmanager
def stdout() -> Iterator[None]:
    """Guard a write to stdout: ignore a reader that left early (`| head`), and raise OutputError for a full disk."""
    try:
        yield
    except OSError as error:
        # What is still buffered goes nowhere, or else the interpreter's last flush fails as well.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"the report could not be written to stdout ({error.strerror})") from error


def check_files(
    options: VerifyOptions,
    models: Sequence[str],
    output: str | None = None,
    holds: Literal["one", "several", "comparison"] = "one",
) -> None:
    """Raise an error, before the work, for a file that cannot be written or is named twice (`holds`: see `check`)."""
    from fc2conv.report.render import check

    there: list[Role] = [("the output", output)] if output is not None else []
    check_written(options, [("the model", each) for each in models], there, named_files())
    for path in options.reports:
        check(path, holds)


def named_files() -> list[Role]:
    """Return the file from which options were read, and that of the target, where there are such files."""
    context = click.get_current_context()
    path, target = context.meta.get(CONFIG), context.params.get("target")
    found: list[Role] = [("the configuration", path)] if path is not None else []
    if target is not None:
        from fc2conv.targets.lookup import is_path

        found += [("the target", target)] if is_path(target) else []
    return found


def write_reports(documents: Sequence[Document], paths: Sequence[str], fate: str = "") -> None:
    """Write the documents to each of the files, in the form of its suffix; `fate` is what an error says about OUT."""
    from fc2conv.report.render import rendered

    for path in paths if documents else ():
        try:
            with written(path) as stream:
                stream.writelines(rendered(document, path) for document in documents)
        except OutputError as error:
            error.message = f"the report {error.message}{fate}"
            raise


@contextlib.contextmanager
def answered(models: Sequence[str], given: dict[str, Any]) -> Iterator[Callable[[str], None]]:
    """Guard the work on models: yield a function to call with each stage, which a terminal shows.

    The code that writes the result is loaded in the first stage, while another process works. An error without a report
    is printed as a document of its own where JSON was asked for.
    """
    try:
        with progress_line.shown(models[-1], given) as shown:
            load = cache(partial(_writer, given))

            def stage(name: str) -> None:
                if shown is not None:
                    shown(name)
                load()

            yield stage
    except Fc2convError as error:
        if given["output_format"] == "json":
            from fc2conv.report.json import render
            from fc2conv.report.types import Failure, Report

            code, report = int(error.exit_code), getattr(error, "report", None)
            failure = Failure(
                models=list(models), message=error.message, remedy=error.remedy, exit_code=code, versions=versions()
            )
            say(render(report if isinstance(report, Report) else failure).decode("ascii"))
        raise


def deliver(document: Document, given: dict[str, Any], fate: str = "") -> None:
    """Write the result to the files of `--report`, and print it; `fate` is what an error then says about OUT."""
    write_reports([document], given.get("report_files", ()), fate)
    show(document, given)
    annotate([document], given)


def show(document: Document, given: dict[str, Any]) -> None:
    """Print the result in the form that was asked for; `given` are the command's parameters."""
    if write := _writer(given):
        say(write(document))


def _writer(given: dict[str, Any]) -> Callable[[Document], str] | None:
    """Import and return the function that writes a result in the requested form; None if no result is printed."""
    if given["output_format"] == "json":
        from fc2conv.report.json import render

        return lambda document: render(document).decode("ascii")
    if given["quiet"]:
        return None
    from fc2conv.report.terminal import Look
    from fc2conv.report.text import to_text

    look = Look.of(sys.stdout, **{name: given.get(name, False) for name in ("verbose", "diff", "summary", "wide")})
    if not look.plain:
        from fc2conv.report import folded  # noqa: F401 (that is loaded while another process works)

    def text(document: Document) -> str:
        return to_text(document, look)

    if given["output_format"] != "github":
        return text
    from fc2conv.report.github import quoted

    return lambda document: quoted(text(document))


def annotate(documents: Sequence[Document], given: dict[str, Any], failures: Sequence[tuple[str, str]] = ()) -> None:
    """Print the annotations of `--output-format github`, also in a quiet run; do nothing for other formats."""
    if given["output_format"] == "github":
        from fc2conv.report.github import commands

        say(commands(documents, failures))
