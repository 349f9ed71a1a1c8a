"""A batch as text for people: how many models have each outcome, the layers, and each model that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fc2conv.io.escape import counted, one_line
from fc2conv.report.terminal import BLANK, Column, Line, Look, Part, Table, draw, grid, styled
from fc2conv.report.types import WRITTEN, BatchReport, BatchRow, Outcome

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
    """Draw the summary of a batch: headline, outcomes, layers, the reasons of those kept, and failures."""
    failed = [row for row in report.rows if row.failed]
    parts: list[Part] = [styled(_headline(report, len(failed)), "bold"), BLANK, *_outcomes(report)]
    parts += [BLANK, *_layers(report)]
    if failed:
        parts += [BLANK, Line("Failed:"), *_failures(failed if look.verbose else failed[:_FAILURES])]
        if len(failed) > _FAILURES and not look.verbose:
            parts += [Line(f"  and {len(failed) - _FAILURES} more, which report.csv lists")]
    return draw(parts, look)


def _failures(rows: Iterable[BatchRow]) -> list[Table]:
    said = ((row, f" ({row.signal})" if row.signal else "") for row in rows)
    return grid((BLANK, styled(f"{row.name}: {row.outcome}{by}: {row.message}")) for row, by in said)


def _headline(report: BatchReport, failed: int) -> str:
    names = f"{one_line(report.source)} -> {one_line(report.destination)}"
    reached = len(report.rows)
    of = f"{reached} of {counted(report.models, 'model')}" if reached < report.models else counted(reached, "model")
    return f"{names}: {of}, {reached - failed} written, {failed} failed"


def _outcomes(report: BatchReport) -> list[Table]:
    rows = []
    for outcome, count in report.counts.items():
        style = "green" if outcome == "converted" else "" if outcome in WRITTEN else "bold red"
        rows.append((Line(str(count)), styled(outcome, style), Line(_MEANINGS[outcome])))
    return [Table([Column(right=True), Column(), Column()], rows)] if rows else []


def _layers(report: BatchReport) -> list[Line]:
    reports = [row.report for row in report.rows if row.report is not None]
    total, converted = sum(len(each.layers) for each in reports), sum(len(each.converted) for each in reports)
    codes = Counter(site.code for each in reports for site in each.layers if site.reason is not None)
    kept = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    lines: list[Line] = [styled(f"{converted} of {counted(total, 'fully connected layer')} converted")]
    if kept:
        lines.append(styled(f"Kept: {kept} (`fc2conv explain CODE` says why)"))
    before, after = (sum(getattr(each.layout_nodes, when) for each in reports) for when in ("before", "after"))
    return [*lines, Line(f"Layout nodes: {before} -> {after}")]
