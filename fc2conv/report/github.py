"""Workflow commands of GitHub Actions: a report as annotations, and text that cannot be mistaken for commands.

Source: "Workflow commands for GitHub Actions" and the escaping of actions/toolkit, which a runner undoes: `%`, CR and
LF in a message, and `:` and `,` too in a property. GitHub shows ten annotations of each kind for a step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Literal

from fc2conv.dataclass import dataclass
from fc2conv.io.escape import counted, one_line, shortened
from fc2conv.report.parts import explained
from fc2conv.report.text import comparison_headline, headline
from fc2conv.report.types import BatchReport, Comparison, Document, Report, Verdict, Verification

Kind = Literal["error", "warning", "notice"]

LIMIT = 10
_NAMES = 3
_KINDS: dict[Verdict, Kind] = {Verdict.DIFFERS: "error", Verdict.INCONCLUSIVE: "warning"}


@dataclass(frozen=True)
class Annotation:
    """One annotation: `file` is the model that it is about ("" for none), and `weight` how much it matters."""

    kind: Kind
    title: str
    message: str
    file: str = ""
    weight: int = 0


def commands(documents: Sequence[Document], failures: Sequence[tuple[str, str]] = ()) -> str:
    """Write the workflow commands for the findings of the documents: the worst ten of each kind, errors first.

    `failures` are what a gate found besides: the path of a model, and what is wrong with it.
    """
    found = [Annotation("error", "fc2conv check", f"{path}: {problem}", path, 1) for path, problem in failures]
    found += [each for document in documents for each in _of(document)]
    lines = []
    for kind in ("error", "warning", "notice"):
        chosen = sorted((each for each in found if each.kind == kind), key=lambda each: -each.weight)
        shown = chosen if len(chosen) <= LIMIT else chosen[: LIMIT - 1]
        lines += [command(each) for each in shown]
        if len(shown) < len(chosen):
            more = f"{len(chosen) - len(shown)} more, see the log"
            lines.append(command(Annotation(chosen[0].kind, "fc2conv", more)))
    return "".join(lines)


def command(annotation: Annotation) -> str:
    """Write an annotation as the line that a runner reads."""
    file = "" if PurePath(annotation.file).is_absolute() else one_line(annotation.file)  # a path in the repository
    properties = {"file": file, "title": annotation.title}
    parameters = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{annotation.kind} {parameters}::{_data(one_line(annotation.message))}\n"


def quoted(text: str) -> str:
    """Put `text` between commands that stop and resume commands: a name in a model may look like one.

    The token is the text's own hash, which the text cannot contain.
    """
    token = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"::stop-commands::{token}\n{text}::{token}::\n"


def _of(document: Document) -> Iterator[Annotation]:
    match document:
        case Report():
            path = document.input.path
            yield Annotation("notice", "fc2conv", headline(document), path)
            yield from _kept(document)
            yield from _obstacles(document)
            if document.verification is not None:
                yield from _checks(document.verification, path)
        case Comparison():
            kind = _KINDS.get(document.verification.verdict, "notice")
            yield Annotation(kind, "fc2conv verify", comparison_headline(document), document.b)
            yield from _checks(document.verification, document.b)
        case BatchReport():
            counts = ", ".join(f"{count} {outcome}" for outcome, count in document.counts.items())
            yield Annotation("notice", "fc2conv batch", f"{document.source} -> {document.destination}: {counts}")
            for row in document.rows:
                if row.failed:
                    yield Annotation("error", f"fc2conv {row.outcome}", f"{row.name}: {row.message}")


def _kept(report: Report) -> Iterator[Annotation]:
    """Yield one warning for each reason code; the more layers a code keeps, the greater its weight."""
    for code, (meaning, remedies) in sorted(explained(site.reason for site in report.layers).items()):
        kept = [site for site in report.layers if site.code == code]
        names = ", ".join(shortened(site.node) for site in kept[:_NAMES]) + (", ..." if len(kept) > _NAMES else "")
        layers = f"{counted(len(kept), 'layer')} kept"
        message = f"{report.input.path}: {layers}: {names}. {meaning} {' '.join(remedies)}"
        yield Annotation("warning", f"fc2conv {code}", message, report.input.path, len(kept))


def _obstacles(report: Report) -> Iterator[Annotation]:
    """Yield a warning for each obstacle to a fully convolutional network; a dry run finds all of them."""
    for each in report.sliding.obstacles if report.sliding is not None else ():
        place = f"at {each.node}" + (f": {each.detail}" if each.detail else "")
        message = f"{report.input.path}: {place}. {each.meaning} {each.remedy}"
        yield Annotation("warning", f"fc2conv {each.code}", message, report.input.path, weight=len(report.sites))


def _checks(verification: Verification, path: str) -> Iterator[Annotation]:
    """Yield an annotation for each check that did not pass."""
    for check in verification.checks:
        if check.verdict in _KINDS:
            message = f"{path}: {check.name}: {check.verdict}, {check.detail}"
            yield Annotation(_KINDS[check.verdict], "fc2conv verification", message, path, weight=1)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
