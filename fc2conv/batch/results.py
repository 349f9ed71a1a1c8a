"""The files that a run leaves for its readers: the report of the batch, in every form, made from the journal alone."""

from __future__ import annotations

import os
from pathlib import Path

from fc2conv.batch.journal import Header, journals, last_run
from fc2conv.batch.remote import is_url
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.errors import OutputError
from fc2conv.io.apart import Role, check_apart
from fc2conv.io.files import checked_target, written
from fc2conv.report import render
from fc2conv.report.types import BatchReport, BatchRow, Run

FILES = ("report.json", "report.csv", "report.xml", "report.html")
"""The files of a run folder beside its journal."""


def collected(folder: Path) -> BatchReport:
    """Read the report of the last run of a run folder; raise InputError where there was no run."""
    return _report(*last_run(folder))


def _report(header: Header, rows: list[BatchRow]) -> BatchReport:
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


def write_all(folder: Path) -> BatchReport:
    """Write every form into a run folder, and return the report; raise OverlapError for one over what a run reads."""
    header, rows = last_run(folder)
    report = _report(header, rows)
    check(folder)
    check_apart(made_in(folder), _files(header, rows, folder))
    for name in FILES:
        with written(folder / name) as stream:
            stream.write(render.rendered(report, name))
    return report


def made_in(folder: Path) -> list[Role]:
    """Return the reports that a run writes into its folder."""
    return [("the report", folder / name) for name in FILES]


def files_of(folder: Path) -> list[Role]:
    """Return the files of a batch that a new report must not replace: its source, its journals, and its outputs."""
    return _files(*last_run(folder), folder)


def _files(header: Header, rows: list[BatchRow], folder: Path) -> list[Role]:
    there: list[Role] = [("the journal", path) for path in journals(folder)]
    if not is_url(header.source):
        there.append(("the source", Path(header.began_in, header.source)))
    names = [name for row in rows for name in row.outputs if not is_url(header.destination)]
    return [*there, *(("an output", Path(header.began_in, header.destination, name)) for name in names)]


def folder_of(run: Path) -> Path:
    """Return the run folder that a DST or a run folder means: the one with a journal."""
    return run / RUN_FOLDER if not journals(run) and os.path.isdir(run / RUN_FOLDER) else run
