"""`fc2conv report RUN`: the reports of a batch, made again from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import annotate, command, configuration, show, write_reports
from fc2conv.cli.option import group, path
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode
from fc2conv.io.apart import check_written
from fc2conv.options import VerifyOptions


@command(
    "fc2conv report out",
    "fc2conv report out --report out.csv",
    "fc2conv report out --quiet --report out.xml --report out.html",
    codes=(3, 6, 7),
)
@click.argument("run", metavar="RUN", shell_complete=files)
@group(
    "Output",
    "files",
    path("--report", "reports", multiple=True, help="Write only this report, in the form of its suffix. Repeatable."),
)
@parameters.printing
def report(run: str, reports: tuple[str, ...], **given: Any) -> ExitCode:
    """Write the reports of a batch again.

    RUN is the DST of the batch, or the folder of its --run. Prints the summary and writes report.json, .csv, .xml and
    .html. Exits with 7 where a model failed.
    """
    from fc2conv.batch import results
    from fc2conv.report.render import check

    folder = results.folder_of(Path(run))
    if not reports:
        found = results.write_all(folder)
    else:
        found = results.collected(folder)
        check_written(VerifyOptions(reports=reports), results.files_of(folder), also_read=configuration())
        for each in reports:
            check(each)
        write_reports([found], reports)
    show(found, given)
    annotate([found], given)
    return ExitCode.BATCH_FAILURES if any(row.failed for row in found.rows) else ExitCode.DONE
