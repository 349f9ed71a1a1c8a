"""The files that a run leaves for its readers: the report of the batch, in every form, made from the journal alone."""

from __future__ import annotations

import os
from pathlib import Path

from fc2conv.batch.journal import journals, last_run
from fc2conv.batch.remote import is_url
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.errors import OutputError
from fc2conv.io.apart import Role
from fc2conv.io.files import checked_target, written
from fc2conv.report import render
from fc2conv.report.types import BatchReport, Run

FILES = ("report.json", "report.csv", "report.xml", "report.html")
"""The files of a run folder beside its journal."""


def collected(run: Path) -> BatchReport:
    """Read the report of the last run of a DST or of a run folder; raise InputError where there was no run."""
    header, rows = last_run(folder_of(run))
    return BatchReport(
        source=header.source,
        destination=header.destination,
        rows=rows,
        models=header.models,
        versions=header.versions,
        run=Run(seconds={"models": round(sum(sum(row.run.seconds.values()) for row in rows), 4)}),
    )


def check(folder: Path) -> None:
    """Raise OutputError where a report could not be written into a run folder, or would be written out of it.

    Raise UsageError where a library that writes one of them is not installed.
    """
    for path in (folder / name for name in FILES):
        render.check(path.name)
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link", "remove it")
        checked_target(path)


def write_all(run: Path) -> BatchReport:
    """Write every form into a run folder, and return the report."""
    report = collected(run)
    folder = folder_of(run)
    check(folder)
    for name in FILES:
        with written(folder / name) as stream:
            stream.write(render.rendered(report, name))
    return report


def files_of(report: BatchReport, run: Path) -> list[Role]:
    """Return the files of a batch that a new report must not replace: its source, its journals, and its outputs."""
    there: list[Role] = [("the journal", path) for path in journals(folder_of(run))]
    if os.path.isfile(report.source):
        there.append(("the source", Path(report.source)))
    names = [name for row in report.rows for name in row.outputs]
    there += [("an output", Path(report.destination, name)) for name in names if not is_url(report.destination)]
    return there


def folder_of(run: Path) -> Path:
    return run / RUN_FOLDER if os.path.isdir(run / RUN_FOLDER) else run
