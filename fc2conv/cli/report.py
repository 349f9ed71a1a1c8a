"""`fc2conv report RUN`: the reports of a batch, made again from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import Command, annotate, check_forms, configuration, show
from fc2conv.cli.option import option
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode
from fc2conv.io.apart import check_apart
from fc2conv.io.files import checked_target


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  fc2conv report out
  fc2conv report out --report out.csv --report out.xml
""",
)
@click.argument("run", metavar="RUN", shell_complete=files)
@option(
    "--report",
    "reports",
    affects="files",
    metavar="FILE",
    shell_complete=files,
    multiple=True,
    help="Write the report, in the form of the suffix, here and nowhere else; repeatable.",
)
@parameters.printing
def report(run: str, reports: tuple[str, ...], **given: Any) -> ExitCode:
    """Make the reports of a batch again: its summary, report.json, .csv, .xml and .html.

    RUN is the DST of the batch, or the folder that --run named. Exits with 7 where a model failed.
    """
    from fc2conv.batch import results

    if not reports:
        found = results.write_all(Path(run))
    else:
        found = results.collected(Path(run))
        check_apart([("the report", each) for each in reports], [*results.files_of(found, Path(run)), *configuration()])
        for each in reports:
            checked_target(each)
        check_forms(reports)
        for each in reports:
            results.write(found, Path(each))
    show(found, given)
    annotate([found], given)
    return ExitCode.BATCH_FAILURES if any(row.failed for row in found.rows) else ExitCode.DONE
