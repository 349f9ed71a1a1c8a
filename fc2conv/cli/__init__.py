"""The command line: parses, calls the library, prints. Results go to stdout, everything else to stderr.

onnx, onnxruntime, numpy, msgspec and rich are loaded by what a command calls, never by this package.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.errors import ExitCode, Fc2convError, OutputError
from fc2conv.reasons import Code
from fc2conv.report.escape import one_line
from fc2conv.version import __version__

if TYPE_CHECKING:
    from fc2conv.report.types import Comparison, Report

_DEFAULT_COMMAND = "convert"

_EXIT_CODES = """\
\b
Exit codes:
    0  done, nothing to do included
    1  check found work, or --require is unmet
    2  usage
    3  the input is unreadable, invalid or not supported
    4  the models differ; nothing was written
    5  nothing could be compared; nothing was written
    6  the output could not be written
    8  a limit, or a native library that crashed on the model
   70  a fault of fc2conv
  130  interrupted
"""


class RequirementError(Fc2convError):
    """Fewer layers can be converted than --require asks for; nothing was written."""

    exit_code = ExitCode.CHECK_FOUND


class Command(click.Command):
    """A command whose help, which click prints while it parses, obeys the rules of stdout."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _stdout():
            return super().parse_args(ctx, args)
        raise click.exceptions.Exit(ExitCode.DONE)


class DefaultCommand(click.Group):
    """A group in which `fc2conv IN OUT` means `fc2conv convert IN OUT`, and that lists its commands as written."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            log(ctx.get_help())
            ctx.exit(ExitCode.USAGE)
        own = {name for option in self.get_params(ctx) for name in option.opts}
        with _stdout():
            return super().parse_args(ctx, args if args[0] in {*self.commands, *own} else [_DEFAULT_COMMAND, *args])
        raise click.exceptions.Exit(ExitCode.DONE)

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=DefaultCommand,
    epilog=_EXIT_CODES,
    options_metavar="IN OUT [OPTIONS] |",
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="fc2conv", message="%(prog)s %(version)s")
def main() -> None:
    """Rewrite the fully connected layers of an ONNX model as convolutions, and prove that the result agrees.

    \b
      fc2conv model.onnx out.onnx          convert, prove, write
      fc2conv check *.onnx                 what would change, and what not and why
      fc2conv verify model.onnx out.onnx   compare two models
      fc2conv explain FC102                a reason code and what to do about it

    Options stand behind the command, or behind IN OUT: `fc2conv convert --help` lists them. A model that is
    called like a command is written ./check.
    """


@main.command(
    epilog="""\b
Examples:
  fc2conv vgg16.onnx out.onnx
  fc2conv model.onnx model.onnx --require 3
  fc2conv bert.onnx out.onnx --scope all --exclude '*/attention/*'
  fc2conv det.onnx out.onnx --overwrite-input-shape images:1,3,640,640
"""
)
@click.argument("model", metavar="IN", type=parameters.model)
@click.argument("output", metavar="OUT", type=parameters.model)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option(
    "--require",
    metavar="N",
    type=click.IntRange(min=1),
    help="Exit with 1, nothing written, where fewer than N layers can be converted.",
)
@parameters.choice
@parameters.comparison
@parameters.writing
@parameters.report_file
@parameters.printing
def convert(model: str, output: str, dry_run: bool, require: int | None, **given: Any) -> ExitCode:
    """Convert IN, prove the result, write OUT.

    OUT may be IN: it is replaced as a whole, or not at all. Without anything to convert OUT is a copy of IN.
    `fc2conv IN OUT` is the same as `fc2conv convert IN OUT`.
    """
    options = parameters.options(given)
    if dry_run or require is not None:
        report = fc2conv.plan(model, options)
        found, asked = len(report.converted), require or 0
        if dry_run or found < asked:
            _show(report, given)
        if found < asked:
            raise RequirementError(
                f"{found} of at least {asked} layers can be converted, nothing was written",
                "see above why the others are kept, or lower --require",
            )
        if dry_run:
            return ExitCode.DONE
    report = fc2conv.convert(model, output, options).report
    if options.hashes:
        _write(report, given["report_file"])
    _show(report, given)
    return ExitCode.DONE


@main.command(
    epilog="""\b
Example: how often each reason occurs in a folder of models
  fc2conv check zoo/*.onnx --output-format json \\
    | jq -r '.sites[].reason.code // empty' | sort | uniq -c
"""
)
@click.argument("models", metavar="IN...", type=parameters.model, nargs=-1, required=True)
@parameters.choice
@parameters.printing
def check(models: tuple[str, ...], **given: Any) -> ExitCode:
    """Say what would change, and what not and why.

    Writes nothing. Exits with 0 where nothing is to be done and with 1 where something is; a model that
    can't be read does not keep the others from being checked, and its exit code is the one returned.
    """
    options, worst = parameters.options(given), ExitCode.DONE
    for position, model in enumerate(models):
        try:
            report = fc2conv.plan(model, options)
        except Fc2convError as error:
            complain(error, debug=click.get_current_context().meta[parameters.DEBUG])
            worst = max(worst, error.exit_code)
            continue
        if position and given["output_format"] == "text" and not given["quiet"]:
            say("\n")
        _show(report, given)
        worst = max(worst, ExitCode.CHECK_FOUND if report.converted else ExitCode.DONE)
    return worst


@main.command()
@click.argument("a", metavar="A", type=parameters.model)
@click.argument("b", metavar="B", type=parameters.model)
@parameters.input_shapes
@parameters.comparison
@parameters.certificate
@parameters.printing
def verify(a: str, b: str, **given: Any) -> ExitCode:
    """Compare the models A and B.

    Both run on the same seeded random inputs; nothing is written. Exits with 0 where they agree, with 4
    where they differ, and with 5 where nothing could be compared.
    """
    verification = fc2conv.verify(a, b, parameters.verify_options(given))
    from fc2conv.report.types import Comparison

    _show(Comparison(a=a, b=b, verification=verification), given)
    return {"pass": ExitCode.DONE, "fail": ExitCode.MISMATCH}.get(verification.verdict, ExitCode.INCONCLUSIVE)


@main.command()
@click.argument("code", metavar="[CODE]", type=parameters.reason_code, required=False)
def explain(code: Code | None) -> ExitCode:
    """Explain a reason CODE, or all of them."""
    from fc2conv.report.explain import as_text

    say(as_text([code] if code else Code))
    return ExitCode.DONE


def say(text: str) -> None:
    """Write a result to stdout."""
    with _stdout():
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
def _stdout() -> Iterator[None]:
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


def _write(report: Report, path: str) -> None:
    """Write the report as JSON to a file."""
    from fc2conv.report.json import to_json

    try:
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(to_json(report))
    except OSError as error:
        raise OutputError(f"the report could not be written to {path} ({error.strerror}); OUT was") from error


def _show(document: Report | Comparison, given: dict[str, Any]) -> None:
    """Print the result in the form that was asked for; `given` are the command's parameters."""
    if given["output_format"] == "json":
        from fc2conv.report.json import to_json

        say(to_json(document).decode("ascii"))
    elif not given["quiet"]:
        from fc2conv.report.text import Look, to_text

        say(to_text(document, Look.of(sys.stdout, verbose=given["verbose"])))
