"""What templates need beside the report's types: numbers and names as text, verdict lines, rows, bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fc2conv.dataclass import dataclass
from fc2conv.io.escape import counted, one_line
from fc2conv.report.text import sentence
from fc2conv.report.types import BatchReport, BatchRow, Bin, Comparison, Figures, OutputDifference, Report, Verdict

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TONES = {Verdict.PROVED: "good", Verdict.AGREES: "good", Verdict.DIFFERS: "bad"}
_BAR = 120.0
MAX_DRAWN = 30
"""Heads that the page of a batch draws; where there are more it draws none."""


class Banner(NamedTuple):
    """The verdict in one line, and its tone: good, bad, warn or plain."""

    tone: str
    text: str


def banner(document: Report | Comparison) -> Banner:
    """Return the first line of the page."""
    verdict = document.verification.verdict if document.verification is not None else None
    text = sentence(document)
    if isinstance(document, Report) and document.outcome in ("planned", "unchanged"):
        return Banner("warn" if document.sliding and document.sliding.obstacles else "plain", text)
    return Banner(_TONES.get(verdict or Verdict.SKIPPED, "warn"), text[:1].upper() + text[1:])


class FigureRow(NamedTuple):
    """One figure before and after; `note` says what the numbers stand for."""

    name: str
    before: str
    after: str
    note: str = ""


def figure_rows(report: Report) -> Iterator[FigureRow]:
    """Yield layout nodes, parameters, multiply-accumulates, nodes and bytes, as far as they are known."""
    nodes = report.layout_nodes
    note = "Reshape, Flatten, Squeeze, Unsqueeze, Transpose"
    yield FigureRow("Layout nodes", str(nodes.before), str(nodes.after), note)
    if report.before is not None and report.after is not None:
        one, other = report.before, report.after
        yield FigureRow("Nodes", str(one.nodes), str(other.nodes))
        yield FigureRow("Parameters", amount(one.parameters), amount(other.parameters))
        if report.sliding is not None and not report.sliding.obstacles:
            yield FigureRow("Multiply-accumulates", amount(one.macs), "by the image")
        else:
            yield FigureRow("Multiply-accumulates", amount(one.macs), amount(other.macs), _assumptions(one, other))
    yield FigureRow("File size", size(report.input.bytes), _written(report), "external data included")


def _written(report: Report) -> str:
    if report.output is not None:
        return size(report.output.bytes)
    return "in memory" if report.outcome in ("converted", "unchanged") else "not written"


def _assumptions(one: Figures, other: Figures) -> str:
    said = ["sizes that are symbols count as 1"] if one.macs_assumed or other.macs_assumed else []
    if one.macs_uncounted or other.macs_uncounted:
        said.append(
            f"without {counted(one.macs_uncounted, 'node')} of unknown shape before and {other.macs_uncounted} after"
        )
    return "; ".join(said)


@dataclass(frozen=True)
class Bar:
    """A row of a histogram: the range of |d|, how many elements, the bar in px, and where it lies to the bound."""

    label: str
    count: int
    width: float
    beyond: bool


_MEASURES = {
    "Largest difference": "max_abs_difference",
    "Bound": "bound",
    "Moves by 1 ulp of the inputs": "input_ulp",
    "Largest value": "max_abs_reference",
    "Cosine": "cosine",
    "SNR in dB": "snr_db",
    "Same top 1": "top1_agreement",
}


def measures(outputs: Sequence[OutputDifference]) -> dict[str, str]:
    """Return the titles of what was measured of some output, each with the field that holds it."""
    return {title: key for title, key in _MEASURES.items() if any(getattr(each, key) is not None for each in outputs)}


def bars(output: OutputDifference) -> list[Bar]:
    """Make the histogram of an output's differences. A bar is `beyond` where all of it exceeds the bound."""
    most = max((each.count for each in output.histogram), default=1) or 1
    return [
        Bar(
            label=_range(each),
            count=each.count,
            width=round(max(_BAR * each.count / most, 1.5 if each.count else 0.0), 1),
            beyond=output.bound is not None and each.low > 0 and each.low >= output.bound,
        )
        for each in output.histogram
    ]


def _range(each: Bin) -> str:
    return "equal" if not each.high else f"{each.low:.2g} \N{EN DASH} {each.high:.2g}"


def batch_rows(batch: BatchReport) -> Sequence[tuple[BatchRow, str]]:
    tones = {"converted": "good", "unchanged": "plain", "kept": "plain", "inconclusive": "warn", "invalid": "warn"}
    return [(row, tones.get(row.outcome, "bad")) for row in batch.rows]


def draws(batch: BatchReport) -> bool:
    """Return whether the page of a batch has room for its drawings, some 20 kB for each head."""
    reports = [row.report for row in batch.rows if row.report is not None]
    return sum(head.drawing is not None for report in reports for head in report.heads) <= MAX_DRAWN


def short(text: str, limit: int = 60) -> str:
    """Write `text` on one line; cut the middle out of more than `limit` characters, and keep more of the end."""
    line = one_line(text)
    if len(line) <= limit:
        return line
    tail = limit * 3 // 5
    return f"{line[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{line[-tail:]}"


def start(text: str, limit: int) -> str:
    """Write `text` on one line, without its end where it is longer than `limit` characters."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def amount(value: int) -> str:
    """Write a count in the unit that suits it: `138.4 M`."""
    return next((f"{value / size:.4g} {unit}" for size, unit in _UNITS if value >= size), str(value))


def size(value: int) -> str:
    """Write bytes in the unit that suits them: `527.8 MiB`."""
    return next((f"{value / size:.4g} {unit}" for size, unit in _BYTES if value >= size), f"{value} bytes")


def number(value: float | None) -> str:
    """Write a measured number with three digits; a dash for None."""
    return "\N{EN DASH}" if value is None or not math.isfinite(value) else f"{value:.3g}"


def sizes(shape: list[int] | None) -> str:
    """Write a shape, `4096 x 25088`; a dash for None."""
    return times(" x ".join(map(str, shape))) if shape else "\N{EN DASH}"


def times(text: str) -> str:
    """Write the `x` between sizes as a multiplication sign."""
    return text.replace(" x ", " \N{MULTIPLICATION SIGN} ")
