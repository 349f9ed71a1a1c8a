"""The files that a run leaves for its readers: the report of the batch, in every form, made from the journal alone."""

from __future__ import annotations

import os
from pathlib import Path

from fc2conv.batch.journal import journals, last_run
from fc2conv.batch.remote import is_url
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.errors import OutputError
from fc2conv.io.apart import Role, check_apart
from fc2conv.io.files import checked_target, written
from fc2conv.report import render
from fc2conv.report.types import BatchReport, Run

FILES = ("report.json", "report.csv", "report.xml", "report.html")
"""The files of a run folder beside its journal."""


def collected(folder: Path) -> tuple[BatchReport, list[Role]]:
    """Read the report of the last run of a run folder; raise InputError where there was no run.

    Return with it the files that a new report must not replace: the journals, the source and the outputs.
    """
    header, rows = last_run(folder)
    report = BatchReport(
        source=header.source,
        destination=header.destination,
        rows=rows,
        models=header.models,
        versions=header.versions,
        run=Run(seconds={"models": round(sum(sum(row.run.seconds.values()) for row in rows), 4)}),
    )
    files: list[Role] = [("the journal", path) for path in journals(folder)]
    if not is_url(header.source):
        files.append(("the source", Path(header.began_in, header.source)))
    names = [name for row in rows for name in row.outputs if not is_url(header.destination)]
    return report, [*files, *(("an output", Path(header.began_in, header.destination, name)) for name in names)]


def check(folder: Path) -> None:
    """Raise OutputError where a run folder cannot hold the reports, and UsageError for a library that is missing."""
    for path in (folder / name for name in FILES):
        render.check(path.name)
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link", "remove it")
        checked_target(path)


def write_all(folder: Path) -> BatchReport:
    """Write every form into a run folder, and return the report; raise OverlapError for one over what a run reads."""
    report, files = collected(folder)
    check(folder)
    check_apart(made_in(folder), files)
    for name in FILES:
        with written(folder / name) as stream:
            stream.write(render.rendered(report, name))
    return report


def made_in(folder: Path) -> list[Role]:
    """Return the reports that a run writes into its folder."""
    return [("the report", folder / name) for name in FILES]


def folder_of(run: Path) -> Path:
    """Return the run folder that a DST or a run folder means: the one with a journal."""
    return run / RUN_FOLDER if not journals(run) and os.path.isdir(run / RUN_FOLDER) else run
