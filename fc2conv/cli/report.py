"""`fc2conv report RUN`: the reports of a batch, made again from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import command, deliver, named_files
from fc2conv.cli.option import files, group, path
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
    path(
        "--report", "report_files", multiple=True, help="Write only this report, in the form of its suffix. Repeatable."
    ),
)
@parameters.printing
def report(run: str, **given: Any) -> ExitCode:
    """Write the reports of a batch again.

    RUN is the DST of the batch, or the folder of its --run. Prints the summary and writes report.json, .csv, .xml and
    .html. Exits with 7 where a model failed.
    """
    from fc2conv.batch import results
    from fc2conv.report.render import check

    folder = results.folder_of(Path(run))
    if reports := given["report_files"]:
        found, files = results.collected(folder)
        check_written(VerifyOptions(reports=reports), files, also_read=named_files())
        for each in reports:
            check(each)
    else:
        found = results.write_all(folder)
    deliver(found, given)
    return ExitCode.BATCH_FAILURES if any(row.failed for row in found.rows) else ExitCode.DONE
