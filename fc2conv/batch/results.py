"""What a run leaves for its readers: the report of the batch, in every form, made from the journal alone."""

from __future__ import annotations

import os
from pathlib import Path

from fc2conv.batch.journal import last_run
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.errors import OutputError
from fc2conv.report.render import rendered
from fc2conv.report.types import BatchReport, Run

FILES = ("report.json", "report.csv", "report.xml", "report.html")
"""What a run folder holds beside its journal."""


def collected(run: Path) -> BatchReport:
    """The report of the last run of a DST or of a run folder; raises InputError where there is none."""
    header, rows = last_run(run / RUN_FOLDER if (run / RUN_FOLDER).is_dir() else run)
    return BatchReport(
        source=header.source,
        destination=header.destination,
        rows=rows,
        models=header.models,
        versions=header.versions,
        run=Run(seconds={"models": round(sum(sum(row.run.seconds.values()) for row in rows), 4)}),
    )


def write(report: BatchReport, path: Path) -> None:
    """Writes the report in the form that the suffix names; the file is replaced as a whole. Raises OutputError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_bytes(rendered(report, path.name))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror})", "write the report elsewhere") from error


def write_all(run: Path) -> BatchReport:
    """Writes every form into a run folder, and returns the report."""
    report = collected(run)
    folder = run / RUN_FOLDER if (run / RUN_FOLDER).is_dir() else run
    for name in FILES:
        write(report, folder / name)
    return report
