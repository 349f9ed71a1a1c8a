"""A report as JUnit XML, which build servers draw: one case per model in a batch, else one per layer and per check."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fc2conv.io.escape import one_line
from fc2conv.report.parts import ReasonReport
from fc2conv.report.types import BatchReport, BatchRow, Comparison, Document, Report, SiteReport, Verdict, Verification


def render(document: Document) -> bytes:
    """Write one `testsuite` in a `testsuites`, in UTF-8.

    What failed is a `failure` (a difference, an invalid model) or an `error` (a crash, a limit, a fault). What was kept
    is `skipped`, and its message says why.
    """
    match document:
        case BatchReport():
            suite = _suite(document.source, [_row(row) for row in document.rows])
        case Report():
            checks = _checks(document.verification) if document.verification is not None else []
            obstacles = document.sliding.obstacles if document.sliding is not None else []
            cases = [*map(_site, document.layers), *map(_obstacle, obstacles), *checks]
            suite = _suite(document.input.path or "model", cases)
        case Comparison():
            suite = _suite(f"{document.a}, {document.b}", _checks(document.verification))
    root = Element("testsuites", {**suite.attrib, "name": "fc2conv"})
    root.append(suite)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text + b"\n"


def _suite(name: str, cases: list[Element]) -> Element:
    suite = Element("testsuite", name=one_line(name), tests=str(len(cases)))
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
    suite.extend(cases)
    return suite


def _case(name: str, kind: str, seconds: float = 0.0) -> Element:
    return Element("testcase", name=one_line(name), classname=f"fc2conv.{kind}", time=f"{seconds:.3f}")


def _mark(case: Element, tag: str, kind: str, message: str, text: str = "") -> Element:
    found = SubElement(case, tag, {"message": one_line(message)})
    if tag != "skipped":
        found.set("type", kind)
    if text:
        found.text = "\n".join(one_line(each) for each in text.splitlines())
    return case


def _row(row: BatchRow) -> Element:
    case = _case(row.name, "batch", sum(row.run.seconds.values()))
    if row.outcome == "kept":
        kept = row.report.kept if row.report is not None else []
        return _mark(case, "skipped", "kept", "; ".join(map(_why, kept)))
    if row.failed:
        tag = "failure" if row.outcome in ("invalid", "differs", "inconclusive") else "error"
        return _mark(case, tag, row.outcome, row.message, row.stderr)
    return case


def _site(site: SiteReport) -> Element:
    case = _case(site.path, "layer")
    return case if site.reason is None else _mark(case, "skipped", "kept", _why(site))


def _obstacle(reason: ReasonReport) -> Element:
    """Return a case for an obstacle to a fully convolutional network, named after the node that causes it."""
    message = f"{reason.code}: {reason.meaning} {reason.remedy}"
    return _mark(_case(reason.node, "sliding"), "failure", reason.code, message, reason.detail)


def _why(site: SiteReport) -> str:
    if site.reason is None:
        return site.node
    detail = f" ({site.reason.detail})" if site.reason.detail else ""
    return f"{site.node}: {site.code} at {site.reason.node}{detail}"


def _checks(verification: Verification) -> list[Element]:
    cases = []
    for check in verification.checks:
        case = _case(check.name, "verification")
        undecided = check.verdict is Verdict.INCONCLUSIVE and verification.verdict.accepted
        if check.verdict is Verdict.SKIPPED or undecided:
            _mark(case, "skipped", check.verdict, check.detail)
        elif not check.verdict.accepted:
            _mark(case, "failure", check.verdict, check.detail)
        cases.append(case)
    return cases
