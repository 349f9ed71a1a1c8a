"""A batch as CSV: one line for each model, for spreadsheets and `sort`."""

from __future__ import annotations

import csv
import io
from collections import Counter

from fc2conv.errors import UsageError
from fc2conv.io.escape import one_line
from fc2conv.report.types import BatchReport, BatchRow, Document, Outcome, Report

COLUMNS = (
    "name", "outcome", "exit_code", "layers", "converted", "reasons", "layout_before", "layout_after",
    "verification", "bytes_before", "bytes_after", "seconds", "signal", "message",
)  # fmt: skip


def render(document: Document) -> bytes:
    """Write a header and one line for each model, in UTF-8; a report of one model is a batch of one.

    Characters that do not print are escaped, so that a record is a line. Raise UsageError for a comparison.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in _rows(document):
        table.writerow([one_line(cell) for cell in _cells(row)])
    return text.getvalue().encode("utf-8")


def _rows(document: Document) -> list[BatchRow]:
    match document:
        case BatchReport():
            return document.rows
        case Report():
            return [BatchRow(name=document.input.path, outcome=outcome(document), report=document)]
    raise UsageError("a comparison has no CSV", "name a file that ends in .json or .xml")


def outcome(report: Report) -> Outcome:
    """Return the outcome of a report in the words of a batch; for a plan, the outcome that it leads to."""
    if report.outcome in ("differs", "inconclusive"):
        return report.outcome
    if report.outcome == "converted" or report.converted:
        return "converted"
    return "kept" if report.layers else "unchanged"


def _cells(row: BatchRow) -> list[str]:
    seconds = sum((row.run if row.run.seconds or row.report is None else row.report.run).seconds.values())
    report_cells = _report_cells(row.report) if row.report is not None else [""] * 8
    cells = [row.name, row.outcome, str(row.exit_code), *report_cells, f"{seconds:.3f}", row.signal, row.message]
    return [f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells]  # a spreadsheet runs no formula


def _report_cells(report: Report) -> list[str]:
    codes = Counter(site.code for site in report.kept)
    counts = [
        len(report.layers),
        len(report.converted),
        " ".join(f"{code}:{count}" for code, count in sorted(codes.items())),
        report.layout_nodes.before,
        report.layout_nodes.after,
        report.verification.verdict if report.verification is not None else "",
        report.input.bytes,
        report.output.bytes if report.output is not None else "",
    ]
    return [str(each) for each in counts]
