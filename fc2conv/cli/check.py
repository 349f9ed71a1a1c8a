"""`fc2conv check IN...`: what would change, and why the rest stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

import fc2conv
from fc2conv.choices import unmatched
from fc2conv.cli import gate, parameters
from fc2conv.cli import progress_line as stages
from fc2conv.cli.console import Command, annotate, check_files, check_joins, log, say, show, write_reports
from fc2conv.cli.option import option
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode, Fc2convError, OutputError, OverlapError
from fc2conv.io.escape import one_line


@click.command(
    cls=Command,
    epilog="""\b
Examples: no model may be left unconverted; every layer becomes a convolution;
how often each reason occurs in a folder of models
  fc2conv check models/*.onnx
  fc2conv check models/*.onnx --fail-on kept --allow FC101
  fc2conv check zoo/*.onnx --output-format json \\
    | jq -r '.sites[].reason.code // empty' | sort | uniq -c
""",
)
@click.argument("models", metavar="IN...", type=parameters.model, shell_complete=files, nargs=-1, required=True)
@parameters.choice
@gate.options
@option("--diff", affects="printing", is_flag=True, help="Show each head before and after, node by node.")
@parameters.report_files
@parameters.limiting
@parameters.printing
def check(models: tuple[str, ...], **given: Any) -> ExitCode:
    """Say what would change, and why the rest stays.

    Writes no model. Exits with 0 where nothing is to be done and with 1 where something is, or with 1 for what
    --require, --fail-on and --allow choose instead. A model that can't be read does not keep the others from
    being checked; the highest exit code is the one returned.
    """
    conditions, worst = gate.made(given), ExitCode.DONE
    options = replace(parameters.options(given), for_many=len(models) > 1)
    reports, failures = [], []
    check_files(options.verification, models)
    if len(models) > 1:
        check_joins(given["report_files"])
    for position, model in enumerate(models):
        try:
            with stages.shown(model, given) as told:
                report = fc2conv.plan(model, options, progress=told)
        except (OverlapError, OutputError):  # of what is written for all of them
            raise
        except Fc2convError as error:
            parameters.complain(error)
            worst = max(worst, error.exit_code)
            continue
        if position and given["output_format"] != "json" and not given["quiet"]:
            say("\n")
        show(report, given)
        reports.append(report)
        failures += [(model, failure) for failure in conditions.failures(report)]
    for miss in unmatched(options, {site.node for report in reports for site in report.sites}) if reports else ():
        parameters.complain(miss)
        worst = max(worst, miss.exit_code)
    if conditions.asked or options.target is not None:
        for model, failure in failures:
            log(f"fc2conv: {one_line(model)}: {failure}")
    write_reports(reports, given["report_files"])
    annotate(reports, given, failures)
    return max(worst, ExitCode.CHECK_FOUND if failures else ExitCode.DONE)
