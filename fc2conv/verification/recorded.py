"""A report as a certificate: the files that it is about, by SHA-256, and whether two models still are those."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from fc2conv.errors import UsageError
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.report.types import Report
from fc2conv.report.verification import Check, Verdict


def digests(file: ModelFile) -> dict[str, str]:
    """The SHA-256 of the model file and of its data files, by name."""
    found = {}
    for path in sorted(file.stamps):
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    file.check_unchanged()
    return found


def read_certificate(path: str) -> Report:
    """The report in a file; UsageError if it is none, or tells no hashes."""
    try:
        with opened(path) as stream:
            report = msgspec.convert(of_json(stream.read()), Report)
    except (OSError, ValueError) as error:
        raise UsageError(f"the certificate {path!r} cannot be read ({error})", "it is what --report wrote") from error
    if not report.input.sha256 or report.output is None or not report.output.sha256:
        raise UsageError(f"the certificate {path!r} tells no SHA-256", "it is what `convert --report` wrote")
    return report


def check_recorded(report: Report, a: ModelFile, b: ModelFile, checks: Sequence[Check]) -> Check:
    """The two models are those of the certificate, byte for byte, and no check is worse than it was."""
    assert report.output is not None
    for what, known, file in (("input", report.input, a), ("output", report.output, b)):
        if _unnamed(known.sha256) != _unnamed(digests(file)):
            return Check(
                name="recorded", verdict=Verdict.DIFFERS, detail=f"{file.path} is not the {what} of the certificate"
            )
    if report.verification is None or not report.verification.verdict.accepted:
        return Check(
            name="recorded", verdict=Verdict.DIFFERS, detail="the certificate records no verification that was accepted"
        )
    now = {check.name: check.verdict for check in checks}
    then = [check.name for check in report.verification.checks if check.verdict.accepted]
    lost = [name for name in then if not now.get(name, Verdict.SKIPPED).accepted]
    if lost:
        return Check(name="recorded", verdict=Verdict.DIFFERS, detail=f"accepted then and not now: {', '.join(lost)}")
    converted = sum(site.decision == "convert" for site in report.sites)
    detail = f"both files by SHA-256, {converted} converted layers, and {len(then)} checks as recorded"
    return Check(name="recorded", verdict=Verdict.AGREES, detail=detail)


def _unnamed(hashes: Mapping[str, str]) -> list[str]:
    """Files may have been moved or renamed."""
    return sorted(hashes.values())
