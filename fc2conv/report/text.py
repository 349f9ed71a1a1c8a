"""The report as text for people: whole names and plain ASCII in a pipe, the width and the colours of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from fc2conv.io.escape import counted, one_line
from fc2conv.report.diff import lines, title
from fc2conv.report.parts import explained
from fc2conv.report.shown import Shown
from fc2conv.report.sliding_text import sliding_parts
from fc2conv.report.summary import batch_text
from fc2conv.report.target_text import closing, counted_kernels, operator_table, target_parts
from fc2conv.report.terminal import (
    BLANK,
    Column,
    Line,
    Look,
    Part,
    Table,
    columns,
    cut,
    draw,
    fitted,
    grid,
    sizes,
    styled,
)
from fc2conv.report.types import (
    BatchReport,
    Comparison,
    HeadReport,
    OutputDifference,
    Parting,
    Report,
    SiteReport,
    Verdict,
    Verification,
)

if TYPE_CHECKING:
    from fc2conv.report.sliding import SlidingReport

_DECISIONS = {"convert": "green", "keep": "yellow"}
_SAID: dict[Verdict, tuple[str, str, str]] = {
    Verdict.PROVED: ("green", "proved", "the two models are proved to be the same function"),
    Verdict.AGREES: ("green", "agrees", "the two models agree"),
    Verdict.DIFFERS: ("bold red", "the result differs", "the two models differ"),
    Verdict.INCONCLUSIVE: ("yellow", "inconclusive", "the comparison is inconclusive"),
    Verdict.SKIPPED: ("", "not verified", "nothing was compared"),
}
"""The style of each verdict, what it says of a conversion, and of a comparison."""
_MARKS = {"-": "red", "+": "green"}


def to_text(document: Shown, look: Look) -> str:
    """Draw a document as text that ends in a newline."""
    match document:
        case BatchReport():
            return batch_text(document, look)
        case Report():
            return report_text(document, look)
        case Comparison():
            headed = styled(comparison_headline(document), "bold")
            return draw([headed, *_verification(document.verification, look)], look)
        case Verification():
            return draw(_verification(document, look), look)
    raise TypeError(f"there is no text of {type(document).__name__}")


def report_text(report: Report, look: Look) -> str:
    """Draw the report of one model, from its layers to the line that says whether only convolutions are left."""
    parts: list[Part] = [styled(headline(report), "bold")]
    if report.sites and not look.summary:
        parts += [BLANK, _sites(report.sites, look)]
    parts += _reasons(report.sites)
    parts += operator_table(report)
    parts += [BLANK, *_lines(report, look)]
    parts += target_parts(report, look)
    if not look.summary:
        parts += _details(report, look)
    last = [styled(line) for line in (other_scope(report), closing(report)) if line]
    parts += [BLANK, *last] if last else []
    return draw(parts, look)


def _lines(report: Report, look: Look) -> list[Part]:
    """Draw the parts of one line each: layout nodes, the new signature, the files of weights, the forms of layers."""
    lines = [f"Layout nodes: {report.layout_nodes.before} -> {report.layout_nodes.after}"]
    lines += [f"Signature: {report.signature}"] if report.signature else []
    lines += [f"External data: {', '.join(report.output.data)}"] if report.output and report.output.data else []
    if look.verbose and len(report.heads) > 1 and report.sliding is None:
        for head in report.heads:
            more = f" and {len(head.sites) - 1} more" if len(head.sites) > 1 else ""
            lines.append(f"  {one_line(head.sites[0])}{more}: {head.layout_before} -> {head.layout_after}")
    if report.forms and (report.target is not None or look.verbose):
        lines.append(f"Forms of layers: {', '.join(f'{form} x{count}' for form, count in report.forms.items())}")
    return list(map(styled, lines))


def _details(report: Report, look: Look) -> list[Part]:
    """Draw the heads, the maps and the verification; also timings when verbose."""
    parts = [part for head in report.heads for part in _diff(head, look)] if look.diff else []
    if report.sliding is not None:
        parts += [BLANK, *sliding_parts(report.sliding, look)]
    if report.verification is not None:
        parts += [BLANK, *_verification(report.verification, look)]
    if look.verbose:
        parts += [BLANK, *_run(report)]
    return parts


def other_scope(report: Report) -> str:
    """Write in one line what the other scope would give; "" where that is not known."""
    other = report.other_scope
    if other is None:
        return ""
    nodes = other.layout_nodes
    if (other.converted, nodes) == (len(report.converted), report.layout_nodes):
        return f"With --scope {other.scope}: the same"
    layers = f"{other.converted} of {counted(other.layers, 'layer')}"
    return f"With --scope {other.scope}: {layers}, layout nodes {nodes.before} -> {nodes.after}"


def headline(report: Report) -> str:
    """Write the headline, for example `a.onnx -> b.onnx: 3 of 3 fully connected layers converted, verified`."""
    names = one_line(report.input.path) or "model"
    if report.output is not None and report.output.path:
        names += f" -> {one_line(report.output.path)}"
    return f"{names}: {sentence(report)}"


def sentence(document: Report | Comparison) -> str:
    """Return the outcome of a model, or of a comparison, in one line without names."""
    if isinstance(document, Comparison):
        return _SAID[document.verification.verdict][2]
    planned = document.outcome == "planned"
    said = "no fully connected layers"
    if document.layers:
        of = f"{len(document.converted)} of {counted(len(document.layers), 'fully connected layer')}"
        said = f"{of} can be converted" if planned else f"{of} converted"
    if document.sliding is not None:
        said += f"{_freed(document.sliding, planned=planned)} fully convolutional"
    if planned or (document.sliding is None and not document.layers):
        return said
    if document.outcome == "unchanged":
        return f"{said}, the model is unchanged"
    verdict = document.verification.verdict if document.verification else Verdict.SKIPPED
    written = ", nothing was written" if document.outcome in ("differs", "inconclusive") else ""
    return f"{said}, {_SAID[verdict][1]}{written}"


def _freed(sliding: SlidingReport, *, planned: bool) -> str:
    if sliding.obstacles:
        return "; it cannot be made"
    if sliding.already:
        return "; it is already"
    return "; it can be made" if planned else ", made"


def comparison_headline(comparison: Comparison) -> str:
    """Write the headline of a comparison, for example `a.onnx, b.onnx: the two models agree`."""
    return f"{one_line(comparison.a)}, {one_line(comparison.b)}: {sentence(comparison)}"


def _diff(head: HeadReport, look: Look) -> list[Part]:
    """Draw a head before and after, a line for each node; return no parts where it has no drawing."""
    if head.drawing is None:
        return []
    shown = fitted(lines(head.drawing), look, name=2)
    rows = [[Line(cell, _MARKS.get(row[0], "")) for cell in row] for row in shown]
    more = head.drawing.sites_left_out
    left = f"  ... and {counted(more, 'more layer')} of this head"
    table = Table([Column(whole=True), *[Column()] * 4], rows, gap=1)
    return [BLANK, styled(title(head), "bold"), table, *([styled(left)] if more else [])]


def _sites(sites: Iterable[SiteReport], look: Look) -> Table:
    heads = ("node", "op", "weight", "kernel", "decision")

    def short(name: str) -> str:
        return name if look.width is None else cut(name, look.width // 3)

    rows = [(s.path, s.op_type, _weight(s), counted_kernels(s), decided(s, short)) for s in sites]
    shown = [
        [*map(Line, row[:4]), Line(row[4], _DECISIONS[row[4].partition(",")[0]])]
        for row in fitted(rows, look, folds=4, heads=heads)
    ]
    return Table(columns(heads, whole=("node", "weight")), shown, rule=look.lines)


def decided(site: SiteReport, node: Callable[[str], str], detail: Callable[[str], str] = str) -> str:
    """Return the decision for a layer, and why; `node` and `detail` format the words in it that others chose."""
    if site.requantized is not None:
        return f"{site.decision}, requantized (moved by {site.requantized:.2g} of its largest)"
    if site.reason is None:
        return site.decision
    at = f" at {node(site.reason.node)}" if site.reason.node not in ("", site.node) else ""
    more = f": {detail(site.reason.detail)}" if site.reason.detail else ""
    return f"{site.decision}, {site.reason.code}{at}{more}"


def _weight(site: SiteReport) -> str:
    before, after = sizes(site.weight_before), sizes(site.weight_after)
    return f"{before} -> {after}" if after else before


def _reasons(sites: Iterable[SiteReport]) -> list[Part]:
    """Draw the meaning and the remedies of each code, once, in the order of the codes."""
    rows: list[tuple[Line, Line]] = []
    for code, (meaning, remedies) in sorted(explained(site.reason for site in sites).items()):
        rows += [(styled(code, "bold"), styled(meaning)), *((BLANK, styled(remedy)) for remedy in remedies)]
    return [BLANK, *grid(rows)] if rows else []


def _verification(verification: Verification, look: Look) -> list[Part]:
    """Draw one line per check, with its detail only when verbose, where it did not pass, and where it is a proof."""
    rows = []
    for check in verification.checks:
        with_detail = look.verbose or not check.verdict.accepted or check.verdict is Verdict.PROVED
        detail = styled(check.detail if with_detail else "")
        rows.append((styled(f"  {check.name}"), _verdict(check.verdict), detail))
    parts: list[Part] = [styled(f"Verification: {verification.verdict}")]
    parts += grid(rows)
    parts += [styled(parting_line(verification.parting))] if verification.parting is not None else []
    shown = [o for o in verification.outputs if look.verbose or o.verdict is Verdict.DIFFERS or o.input_ulp is not None]
    parts += [_outputs(shown, look)] if shown else []
    if verification.notes:
        parts.append(Line("Different, but no result depends on it:"))
        parts += [styled(f"  {note}") for note in verification.notes]
    if verification.reproduce:
        parts.append(Line(one_line(f"Reproduce with: {verification.reproduce}"), whole=True))
    return parts


def parting_line(parting: Parting) -> str:
    """Say in one line where two models part: `Part at: y (node fc, Gemm), index [0, 3], by arithmetic`."""
    node = f" (node {parting.node}, {parting.op_type})" if parting.node else ""
    at = f", index {parting.index}" if parting.index is not None else ""
    only = f", functions {', '.join(parting.only_a) or 'none'} / {', '.join(parting.only_b) or 'none'}"
    how = f"by {parting.cause}{only if parting.cause == 'functions' else ''}"
    return f"Part at: {parting.value}{node}{at}, {how}" if parting.value else f"Part at: {parting.node}, {how}"


def _outputs(outputs: Sequence[OutputDifference], look: Look) -> Table:
    fields = number_fields(outputs, "1 ulp of inputs")
    heads = ("  output", *fields, "")
    rows = [
        ("  " + each.output, *(number(getattr(each, name)) for name in fields.values()), each.verdict)
        for each in outputs
    ]
    shown = [
        [*map(Line, row[:-1]), _verdict(output.verdict)]
        for row, output in zip(fitted(rows, look, heads=heads), outputs, strict=True)
    ]
    return Table(columns(heads[:1], heads[1:]), shown)


def number_fields(outputs: Iterable[OutputDifference], ulp: str) -> dict[str, str]:
    """Return the heads of the numbers of outputs with their fields; that of an ulp only where it was measured."""
    moved = {ulp: "input_ulp"} if any(each.input_ulp is not None for each in outputs) else {}
    return {"largest difference": "max_abs_difference", "bound": "bound", **moved, "largest value": "max_abs_reference"}


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _verdict(verdict: Verdict) -> Line:
    return Line(verdict, _SAID[verdict][0])


def _run(report: Report) -> list[Table]:
    seconds = ", ".join(f"{stage} {spent:.3f} s" for stage, spent in report.run.seconds.items())
    return grid(
        [
            (Line("Time"), Line(seconds)),
            (Line("Peak memory"), Line(f"{report.run.peak_memory_bytes / 2**20:.1f} MiB")),
            (Line("Size"), Line(" -> ".join(f"{file.bytes:,} bytes" for file in report.files))),
            (Line("Versions"), styled(", ".join(f"{name} {version}" for name, version in report.versions.items()))),
        ]
    )
