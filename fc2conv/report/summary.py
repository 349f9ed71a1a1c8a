"""A batch as text for people: what came of how many, what became of the layers, and each model that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fc2conv.io.escape import counted, one_line
from fc2conv.report.terminal import Look, draw, styled
from fc2conv.report.types import WRITTEN, BatchReport, BatchRow, Outcome

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_FAILURES = 20
"""How many failures are listed one by one, unless verbose."""

_MEANINGS: dict[Outcome, str] = {
    "converted": "layers became convolutions, verified as asked",
    "unchanged": "no fully connected layer, copied",
    "kept": "no layer could be converted, copied",
    "invalid": "unreadable, invalid or not supported",
    "differs": "the result is another function",
    "inconclusive": "nothing was proved",
    "timeout": "a time limit",
    "out-of-memory": "a memory limit, or the system's",
    "crashed": "a native library or its process died",
    "error": "any other stop",
}


def batch_text(report: BatchReport, look: Look) -> str:
    """The summary of a batch: headline, outcomes, layers and the reasons of those kept, failures."""
    failed = [row for row in report.rows if row.failed]
    parts: list[RenderableType] = [styled(_headline(report, len(failed)), "bold"), "", _outcomes(report)]
    parts += ["", *_layers(report)]
    if failed:
        parts += ["", "Failed:", *_failures(failed if look.verbose else failed[:_FAILURES])]
        if len(failed) > _FAILURES and not look.verbose:
            parts += [f"  and {len(failed) - _FAILURES} more, which report.csv lists"]
    return draw(parts, look)


def _failures(rows: Iterable[BatchRow]) -> list[RenderableType]:
    from rich.padding import Padding

    said = ((row, f" ({row.signal})" if row.signal else "") for row in rows)
    lines = (f"{row.name}: {row.outcome}{by}: {row.message}" for row, by in said)
    return [Padding(styled(each), (0, 0, 0, 2), expand=False) for each in lines]


def _headline(report: BatchReport, failed: int) -> str:
    names = f"{one_line(report.source)} -> {one_line(report.destination)}"
    reached = len(report.rows)
    of = f"{reached} of {counted(report.models, 'model')}" if reached < report.models else counted(reached, "model")
    return f"{names}: {of}, {reached - failed} written, {failed} failed"


def _outcomes(report: BatchReport) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for outcome, count in report.counts.items():
        style = "green" if outcome == "converted" else "" if outcome in WRITTEN else "bold red"
        table.add_row(str(count), styled(outcome, style), _MEANINGS[outcome])
    return table


def _layers(report: BatchReport) -> list[RenderableType]:
    reports = [row.report for row in report.rows if row.report is not None]
    total, converted = sum(len(each.layers) for each in reports), sum(len(each.converted) for each in reports)
    codes = Counter(site.code for each in reports for site in each.layers if site.reason is not None)
    kept = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    lines: list[RenderableType] = [styled(f"{converted} of {counted(total, 'fully connected layer')} converted")]
    if kept:
        lines.append(styled(f"Kept: {kept} (`fc2conv explain CODE` says why)"))
    before, after = (sum(getattr(each.layout_nodes, when) for each in reports) for when in ("before", "after"))
    return [*lines, f"Layout nodes: {before} -> {after}"]
