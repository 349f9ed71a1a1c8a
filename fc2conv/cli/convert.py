"""`fc2conv convert IN OUT`: the main job."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import comparison, parameters, sliding
from fc2conv.cli import progress_line as stages
from fc2conv.cli.console import Command, annotate, check_files, show, write_reports
from fc2conv.cli.option import option
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode, Fc2convError, UnprovedError


class RequirementError(Fc2convError):
    """Fewer layers can be converted than --require asks for; nothing was written."""

    exit_code = ExitCode.CHECK_FOUND


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  fc2conv vgg16.onnx out.onnx
  fc2conv model.onnx model.onnx --require 3
  fc2conv bert.onnx out.onnx --scope all --exclude '*/attention/*'
  fc2conv det.onnx out.onnx --overwrite-input-shape images:1,3,640,640
  fc2conv vgg16.onnx fcn.onnx --fully-convolutional --score-map probabilities
""",
)
@click.argument("model", metavar="IN", type=parameters.model, shell_complete=files)
@click.argument("output", metavar="OUT", type=parameters.model, shell_complete=files)
@option("--dry-run", affects="run", is_flag=True, help="Say what would be done; write nothing.")
@option(
    "--require",
    affects="gate",
    metavar="N",
    type=click.IntRange(min=1),
    help="Exit with 1, nothing written, where fewer than N layers can be converted.",
)
@parameters.choice
@sliding.options
@comparison.options
@parameters.writing
@parameters.report_files
@parameters.limiting
@parameters.printing
def convert(model: str, output: str, dry_run: bool, require: int | None, **given: Any) -> ExitCode:
    """Convert IN, prove the result, write OUT.

    OUT may be IN: it is replaced as a whole, or not at all. Without anything to convert OUT is a copy of IN.
    `fc2conv IN OUT` is the same as `fc2conv convert IN OUT`.
    """
    options = parameters.options(given)
    check_files(options.verification, [model], output)
    if dry_run or require is not None:
        with stages.shown(model, given) as told:
            report = fc2conv.plan(model, options, progress=told)
        found, asked = len(report.converted), require or 0
        if dry_run or found < asked:
            write_reports([report], given["report_files"])
            show(report, given)
            annotate([report], given)
        if found < asked:
            raise RequirementError(
                f"{found} of at least {asked} layers can be converted, nothing was written",
                "see above why the others are kept, or lower --require",
            )
        if dry_run:
            return ExitCode.DONE
    try:
        with stages.shown(model, given) as told:
            report = fc2conv.convert(model, output, options, progress=told).report
    except UnprovedError as error:
        from fc2conv.report.types import Report

        if isinstance(error.report, Report):
            write_reports([error.report], given["report_files"], "; the verification failed")
            annotate([error.report], given)
        raise
    write_reports([report], given["report_files"], "; OUT was")
    show(report, given)
    annotate([report], given)
    return ExitCode.DONE
