"""`fc2conv check IN...`: what would change, and why the rest stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

import fc2conv
from fc2conv.cli import gate, parameters
from fc2conv.cli.console import annotate, answered, check_files, command, complain, log, say, show, write_reports
from fc2conv.cli.option import files, flag, group
from fc2conv.errors import ExitCode, Fc2convError, OutputError, OverlapError
from fc2conv.io.choices import unmatched
from fc2conv.io.escape import one_line


@command(
    "fc2conv check models/*.onnx",
    "fc2conv check models/*.onnx --fail-on kept --allow FC101",
    "fc2conv check model.onnx --target dla --summary",
    codes=(1, 3, 6, 8),
)
@click.argument("models", metavar="IN...", type=parameters.model, shell_complete=files, nargs=-1, required=True)
@parameters.choice
@gate.options
@group("Output", "printing", flag("--diff", help="Print each head before and after, node by node."))
@parameters.report_files
@parameters.summary
@parameters.limiting
@parameters.printing
def check(models: tuple[str, ...], **given: Any) -> ExitCode:
    """Print the plan for models, and write none.

    Exits with 1 where a layer can be converted; --require, --fail-on and --allow choose another condition. The check
    continues after a model that cannot be read, and returns the highest exit code.
    """
    conditions, worst = gate.made(given), ExitCode.DONE
    options = replace(parameters.options(given), for_many=len(models) > 1)
    reports, failures = [], []
    check_files(options.verification, models, holds="several" if options.for_many else "one")
    for position, model in enumerate(models):
        try:
            with answered([model], given) as stage:
                report = fc2conv.plan(model, options, progress=stage)
        except (OverlapError, OutputError):  # about a file that is written for all models
            raise
        except Fc2convError as error:
            complain(error, click.get_current_context().meta)
            worst = max(worst, error.exit_code)
            continue
        if position and given["output_format"] != "json" and not given["quiet"]:
            say("\n")
        show(report, given)
        reports.append(report)
        failures += [(model, failure) for failure in conditions.failures(report)]
    layers = {site.node for report in reports for site in report.sites}
    for miss in unmatched(options, layers) if reports and options.for_many else ():  # a plan of one model refuses them
        complain(miss, click.get_current_context().meta)
        worst = max(worst, miss.exit_code)
    if conditions.asked or options.target is not None:
        for model, failure in failures:
            log(f"fc2conv: {one_line(model)}: {failure}")
    write_reports(reports, given["report_files"])
    annotate(reports, given, failures)
    return max(worst, ExitCode.CHECK_FOUND if failures else ExitCode.DONE)
