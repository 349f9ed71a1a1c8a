"""`fc2conv report RUN`: the reports of a batch, made again from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import Command, annotate, show
from fc2conv.cli.option import option
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode


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
    "files",
    affects="files",
    metavar="FILE",
    shell_complete=files,
    multiple=True,
    help="Write the report, in the form of the suffix, here and nowhere else; repeatable.",
)
@parameters.printing
def report(run: str, files: tuple[str, ...], **given: Any) -> ExitCode:
    """Make the reports of a batch again: its summary, report.json, .csv, .xml and .html.

    RUN is the DST of the batch, or the folder that --run named. Exits with 7 where a model failed.
    """
    from fc2conv.batch import results

    found = results.collected(Path(run)) if files else results.write_all(Path(run))
    for file in files:
        results.write(found, Path(file))
    show(found, given)
    annotate([found], given)
    return ExitCode.BATCH_FAILURES if any(row.failed for row in found.rows) else ExitCode.DONE
