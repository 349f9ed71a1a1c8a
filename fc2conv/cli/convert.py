"""`fc2conv convert IN OUT`: the main job."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import Command, refuse_report, show, write_report
from fc2conv.errors import ExitCode, Fc2convError


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
""",
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
    if options.hashes:
        refuse_report(given["report_file"], model, output)
    if dry_run or require is not None:
        report = fc2conv.plan(model, options)
        found, asked = len(report.converted), require or 0
        if dry_run or found < asked:
            show(report, given)
        if found < asked:
            raise RequirementError(
                f"{found} of at least {asked} layers can be converted, nothing was written",
                "see above why the others are kept, or lower --require",
            )
        if dry_run:
            return ExitCode.DONE
    report = fc2conv.convert(model, output, options).report
    if options.hashes:
        write_report(report, given["report_file"])
    show(report, given)
    return ExitCode.DONE
