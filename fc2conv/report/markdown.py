"""The report as GitHub-flavoured Markdown, for `$GITHUB_STEP_SUMMARY`, merge requests and issues.

Every text that a model or a caller chose is shown as code: in backticks where it has only characters that are usual in
names, else as an HTML element with entities, which no reader takes for Markdown or HTML.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from fc2conv.io.escape import counted, shortened
from fc2conv.report.parts import explained, tally
from fc2conv.report.sliding import SlidingOutput, SlidingReport
from fc2conv.report.sliding_text import ALONG, ALREADY, along, cells_between, described, sizes_that_run
from fc2conv.report.target_text import closing, counted_kernels, operator_rows, verdict
from fc2conv.report.terminal import sizes
from fc2conv.report.text import comparison_headline, decided, headline, number, number_fields, other_scope, parting_line
from fc2conv.report.types import BatchReport, BatchRow, Comparison, Document, Report, SiteReport, Verdict, Verification

LIMIT = 1 << 20
"""The bytes of one step's summary that GitHub shows."""

_CLOSE = b"\n</details>\n"
_CUT = b"\n*The rest is left out here, as GitHub shows 1 MiB of a step: the JSON report has everything.*\n"
_PLAIN = re.compile(r"[\w./:,;='>+()\[\] -]+")
_MARKS = {
    Verdict.PROVED: "✅ proved",
    Verdict.AGREES: "✅ agrees",
    Verdict.DIFFERS: "❌ differs",
    Verdict.INCONCLUSIVE: "⚠️ inconclusive",
    Verdict.SKIPPED: "skipped",
}
_OPEN_ROWS = 20


def render(document: Document) -> bytes:
    """Write `document` as UTF-8 text of at most `LIMIT` bytes; where it is cut, a note says so."""
    match document:
        case Report():
            lines = _report(document)
        case Comparison():
            lines = chain(_title(comparison_headline(document)), _verification(document.verification))
        case BatchReport():
            lines = _batch(document)
    return cut("\n".join(lines) + "\n", LIMIT)


def cut(text: str, most: int) -> bytes:
    """Encode `text` in UTF-8; cut it after a line to at most `most` bytes, including the note that says so."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data
    head = data[: most - len(_CLOSE) - len(_CUT)]
    head = head[: head.rfind(b"\n") + 1]
    inside = head.count(b"<details") > head.count(b"</details>")  # fc2conv's own: in names both are escaped
    return head + (_CLOSE if inside else b"") + _CUT


def code(text: str) -> str:
    """Write a text of others as code that shows it and does nothing else; leave out the middle of a long one."""
    shown = shortened(text)
    if not shown.strip():
        return ""
    if _PLAIN.fullmatch(shown):
        return f"`{shown}`"
    safe = "".join(c if c.isalnum() or c in "/, -" or not c.isascii() else f"&#{ord(c)};" for c in shown)
    return f"<code>{safe}</code>"


def _report(report: Report) -> Iterator[str]:
    yield from _title(headline(report))
    if report.kept:
        yield from _kept(report.kept)
    if report.sites:
        table = _table(["node", "op", "weight", "kernel", "decision"], map(_site, report.sites))
        yield from _folded(counted(len(report.sites), "layer"), table, opened=len(report.sites) <= _OPEN_ROWS)
        yield from _paragraph(f"Layout nodes: {report.layout_nodes.before} → {report.layout_nodes.after}")
    if report.signature:
        yield from _paragraph(f"Signature: {code(report.signature)}")
    yield from _target(report)
    if report.other_scope is not None:
        yield from _paragraph(other_scope(report).replace("->", "→"))
    if report.sliding is not None:
        yield from _sliding(report.sliding)
    if report.verification is not None:
        yield from _verification(report.verification)
    if last := closing(report):
        yield from _paragraph(f"**{last.partition(':')[0]}:** {_cell(last.partition(': ')[2])}")
    yield from _folded("Files, times, versions", _run(report))


def _target(report: Report) -> Iterator[str]:
    """Yield what the target does not take, the operators before and after, and the layers by form."""
    if report.target is not None:
        name, _, said = verdict(report).rpartition(": ")
        yield from _paragraph(f"{code(name)}: {said}")
        header = ["not taken for", "nodes", "first node", "limit", "remedy"]
        rows = ([f.code, str(f.nodes), code(f.node), code(f.detail), _cell(f.remedy)] for f in report.target.findings)
        yield from _table(header, rows)
    operators = ([code(name), *rest] for name, *rest in operator_rows(report))
    tables = list(_table(["operator", "before", "after"], operators))
    tables += _table(["form", "layers"], ([code(form), str(count)] for form, count in report.forms.items()))
    yield from _folded("Operators and forms", tables) if tables else ()


def _sliding(found: SlidingReport) -> Iterator[str]:
    """Yield the sizes of the images, the positions of the maps, the differences from crops, and the obstacles."""
    if found.already:
        yield from _paragraph(ALREADY)
    for each in found.inputs:
        yield from _paragraph(
            f"Fully convolutional: {code(each.input)} of {sizes_that_run(each)} (trained on {sizes(each.sizes)})"
        )
    yield from _table(["output", "is", "shape", *(name for name, _ in ALONG)], map(_map, found.outputs))
    for line in cells_between(found):
        yield from _paragraph(line)
    gaps = (
        [code(gap.output), sizes(gap.size), *map(number, (gap.max, gap.mean, gap.reference))] for gap in found.crops
    )
    yield from _table(["output", "image", "largest gap from crops", "mean gap", "largest value"], gaps)
    reasons = ([each.code, code(each.node), _cell(each.meaning), _cell(each.remedy)] for each in found.obstacles)
    yield from _table(["not fully convolutional for", "node", "meaning", "remedy"], reasons)


def _map(output: SlidingOutput) -> list[str]:
    shape = code(" x ".join(map(str, output.shape)))
    return [code(output.output), described(output, code), shape, *(along(output.axes, key) for _, key in ALONG)]


def _batch(batch: BatchReport) -> Iterator[str]:
    yield from _title(f"{batch.source} -> {batch.destination}: {counted(len(batch.rows), 'model')}")
    yield from _table(["outcome", "models"], ([outcome, str(count)] for outcome, count in batch.counts.items()))
    order = {"converted": 1, "kept": 2, "unchanged": 3}
    rows = sorted(batch.rows, key=lambda row: order.get(row.outcome, 0))  # what failed comes first
    yield from _table(["model", "outcome", "layers", "why"], map(_row, rows))


def _row(row: BatchRow) -> list[str]:
    report = row.report
    layers = f"{len(report.converted)} of {len(report.layers)}" if report is not None else ""
    kept = tally(Counter(site.code for site in report.kept)) if report is not None else ""
    return [code(row.name), row.outcome, layers, code(row.message) or kept]


def _paragraph(line: str) -> tuple[str, str]:
    return line, ""


def _title(line: str) -> Iterator[str]:
    """Yield a headline of others' paths and of fc2conv's words, which are those after the last colon."""
    names, _, said = line.rpartition(": ")
    yield from _paragraph(f"### {code(names)}: {said}")


def _kept(kept: Sequence[SiteReport]) -> Iterator[str]:
    """Yield a table of the reasons, the one that keeps most layers first."""
    texts = explained(site.reason for site in kept)
    counts = Counter(site.code for site in kept)
    rows = ([name, str(n), _cell(texts[name][0]), _cell(" ".join(texts[name][1]))] for name, n in counts.most_common())
    yield from _table(["kept for", "layers", "meaning", "remedy"], rows)


def _site(site: SiteReport) -> list[str]:
    word, comma, why = decided(site, code, code).partition(",")
    decision = f"{word if site.reason is not None else f'**{word}**'}{comma}{why}"
    weight = " → ".join(filter(None, (sizes(site.weight_before), sizes(site.weight_after))))
    return [code(site.path), code(site.op_type), weight, counted_kernels(site), decision]


def _verification(verification: Verification) -> Iterator[str]:
    yield from _paragraph(f"Verification: {_MARKS[verification.verdict]}")
    rows = ([code(check.name), _MARKS[check.verdict], code(check.detail)] for check in verification.checks)
    yield from _table(["check", "verdict", "what was seen"], rows)
    if verification.parting is not None:
        yield from _paragraph(code(parting_line(verification.parting)))
    notes = ([code(note)] for note in verification.notes)
    yield from _table(["different, but no result depends on it"], notes)
    fields = number_fields(verification.outputs, "moves by 1 ulp of the inputs")
    outputs = (
        [
            code(output.output),
            *(number(getattr(output, name)) for name in fields.values()),
            _MARKS[output.verdict],
            _MARKS[output.exact],
        ]
        for output in verification.outputs
    )
    table = list(_table(["output", *fields, "verdict", "proof"], outputs))
    yield from _folded(counted(len(verification.outputs), "output"), table) if verification.outputs else ()


def _run(report: Report) -> Iterator[str]:
    files = report.files
    rows = [[code(file.path), f"{file.bytes:,} bytes", ""] for file in files]
    rows += [[code(name), "SHA-256", code(digest)] for file in files for name, digest in sorted(file.sha256.items())]
    rows += [["time", stage, f"{spent:.3f} s"] for stage, spent in report.run.seconds.items()]
    rows += [["version", code(name), code(version)] for name, version in report.versions.items()]
    yield from _table(["", "", ""], rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table of cells that have no bar and no line end; no lines where there are no rows."""
    found = list(rows)
    if not found:
        return
    yield from (_line(header), _line(["---"] * len(header)), *map(_line, found), "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Escape fc2conv's own words, in which only a bar, an asterisk or an angle bracket could be read as markup."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;")


def _folded(summary: str, lines: Iterable[str], *, opened: bool = False) -> Iterator[str]:
    yield from (f"<details{' open' if opened else ''}>", f"<summary>{summary}</summary>", "", *lines, "</details>", "")
