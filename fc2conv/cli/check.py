"""`fc2conv check IN...`: what would change, and what not and why."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import Command, complain, say, show, write_report
from fc2conv.errors import ExitCode, Fc2convError


@click.command(
    cls=Command,
    epilog="""\b
Example: how often each reason occurs in a folder of models
  fc2conv check zoo/*.onnx --output-format json \\
    | jq -r '.sites[].reason.code // empty' | sort | uniq -c
""",
)
@click.argument("models", metavar="IN...", type=parameters.model, nargs=-1, required=True)
@parameters.choice
@parameters.report_file
@parameters.limiting
@parameters.printing
def check(models: tuple[str, ...], **given: Any) -> ExitCode:
    """Say what would change, and what not and why.

    Writes no model. Exits with 0 where nothing is to be done and with 1 where something is; a model that
    can't be read does not keep the others from being checked, and its exit code is the one returned.
    """
    if given["report_file"] is not None and len(models) > 1:
        raise click.UsageError("--report is about one model: name one, and check the others each with its own")
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
        write_report(report, given["report_file"])
        show(report, given)
        worst = max(worst, ExitCode.CHECK_FOUND if report.converted else ExitCode.DONE)
    return worst
