"""`fc2conv convert IN OUT`: the main job."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import annotate, answered, check_files, command, deliver, write_reports
from fc2conv.cli.option import count, files, flag, group
from fc2conv.errors import ExitCode, Fc2convError, UnprovedError
from fc2conv.io.escape import counted


class RequirementError(Fc2convError):
    """Fewer layers can be converted than --require asks for; nothing was written."""

    exit_code = ExitCode.CHECK_FOUND


@command(
    "fc2conv vgg16.onnx out.onnx",
    "fc2conv model.onnx out.onnx --scope all --target ethos-u --static",
    "fc2conv vgg16.onnx fcn.onnx --fully-convolutional --score-map probabilities",
    codes=(1, 3, 4, 5, 6, 8),
)
@click.argument("model", metavar="IN", type=parameters.model, shell_complete=files)
@click.argument("output", metavar="OUT", type=parameters.model, shell_complete=files)
@group(
    "Output",
    "gate",
    flag("--dry-run", affects="run", help="Print the plan and write nothing."),
    count("--require", help="Exit with 1 and write nothing where fewer than N layers can be converted."),
)
@parameters.conversion
@parameters.report_files
@parameters.summary
@parameters.limiting
@parameters.printing
def convert(model: str, output: str, dry_run: bool, require: int | None, **given: Any) -> ExitCode:
    """Convert a model, prove the result and write it.

    `fc2conv IN OUT` is the same as `fc2conv convert IN OUT`. OUT may be IN: it is replaced as a whole, or not at all.
    A model without layers to convert is copied.
    """
    options = parameters.options(given)
    check_files(options.verification, [model], output)
    if dry_run or require is not None:
        with answered([model], given) as stage:
            report = fc2conv.plan(model, options, progress=stage)
        found, asked = len(report.converted), require or 0
        if dry_run or found < asked:
            deliver(report, given)
        if found < asked:
            what = f"{found} of at least {counted(asked, 'layer')} can be converted, nothing was written"
            raise RequirementError(what, "the reasons are above; remove them, or lower --require")
        if dry_run:
            return ExitCode.DONE
    try:
        with answered([model], given) as stage:
            report = fc2conv.convert(model, output, options, progress=stage).report
    except UnprovedError as error:
        from fc2conv.report.types import Report

        if isinstance(error.report, Report):
            write_reports([error.report], given["report_files"], "; the verification failed")
            annotate([error.report], given)
        raise
    deliver(report, given, "; OUT was")
    return ExitCode.DONE
