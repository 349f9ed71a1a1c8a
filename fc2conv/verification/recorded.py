"""A report as a certificate: whether two models still are its files, and whether they prove the same again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import msgspec

from fc2conv.errors import UsageError
from fc2conv.io.escape import counted
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Comparison, Report
from fc2conv.report.verification import Certificate, Check, Verdict, Verification
from fc2conv.verification.nodes import canonical

NAME = "recorded"
_known: dict[tuple[int, ...], str] = {}
"""The SHA-256 of a file by its stamp, which a file that is renamed keeps."""


def digests(file: ModelFile) -> dict[str, str]:
    """Return the SHA-256 of the model file and of its data files, by their paths from its folder."""
    found = {
        path.relative_to(file.folder or path.parent).as_posix(): _digest(path, seen)
        for path, seen in sorted(file.stamps.items())
    }
    file.check_unchanged()
    return found


def identity(file: ModelFile) -> list[str]:
    """Return the SHA-256 of a model's files, whatever their names; of a model in memory that of its content."""
    if file.stamps:
        return sorted(digests(file).values())
    model = deepcopy(file.model)
    return [hashlib.sha256(canonical(model, file)).hexdigest()]


def _digest(path: Path, seen: tuple[int, ...]) -> str:
    if seen not in _known:
        with path.open("rb") as stream:
            _known[seen] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _known[seen]


class Recorded(msgspec.Struct, frozen=True):
    """What a report records: the SHA-256 of both models' files, their verification, and what made it."""

    a: list[str]
    b: list[str]
    verification: Verification | None
    version: str
    crops: bool = False

    @property
    def certificate(self) -> Certificate | None:
        """The primes, residues and shapes of exact arithmetic; None where it did not run."""
        return self.verification.certificate if self.verification is not None else None

    def options(self, given: VerifyOptions) -> VerifyOptions:
        """Return the options with the seed and the shapes of the certificate.

        Raise UsageError for another seed, and where the check that `only` leaves out was accepted.
        """
        known, left_out = self.certificate, {"exact": "numeric", "numeric": "exact"}.get(given.only or "")
        checks = self.verification.checks if self.verification is not None else []
        if any(check.name == left_out and check.verdict.accepted for check in checks):
            raise UsageError(f"the certificate has the check {left_out}", f"leave --{given.only}-only out")
        if known is None:
            return given
        if given.seed not in (0, known.seed):
            raise UsageError(f"the certificate has the seed {known.seed}, not {given.seed}", "leave --seed out")
        shapes = given.input_shapes or {name: tuple(shape) for name, shape in known.input_shapes.items()}
        return replace(given, seed=known.seed, input_shapes=shapes)


def read_certificate(path: str) -> Recorded:
    """Return what a report records; raise UsageError if the file is no report, or has no hashes."""
    try:
        with opened(path) as stream:
            plain = of_json(stream.read())
        compares = isinstance(plain, dict) and "a" in plain
        report = msgspec.convert(plain, Comparison) if compares else msgspec.convert(plain, Report)
    except OSError as error:
        raise UsageError(f"the certificate {path!r} cannot be read ({error.strerror})", "check the path") from error
    except ValueError as error:
        raise UsageError(f"{path!r} is no certificate ({error})", "give the .json file that --report wrote") from error
    version = report.versions.get("fc2conv", "")
    if isinstance(report, Comparison):
        known = report.verification.certificate
        a, b = (known.a, known.b) if known is not None else ([], [])
        found = Recorded(a, b, report.verification, version)
    else:
        a, b = (sorted(each.sha256.values()) if each is not None else [] for each in (report.input, report.output))
        crops = report.sliding is not None and bool(report.sliding.crops)
        found = Recorded(a, b, report.verification, version, crops)
    if not found.a or not found.b:
        remedy = "it is the report of a conversion, or of a comparison that proves (not --numeric-only)"
        raise UsageError(f"the certificate {path!r} has no SHA-256", remedy)
    return found


def check_recorded(known: Recorded, a: ModelFile, b: ModelFile, now: Verification, version: str) -> Check:
    """Check that the models are those files, byte for byte, that no check is worse, and that the residues are the same.

    Another version of fc2conv may compute other residues: there the check is inconclusive.
    """
    for what, hashes, file in (("first", known.a, a), ("second", known.b, b)):
        if hashes != identity(file):
            return _differs(f"{file.path} is not the {what} model of the certificate: another SHA-256")
    if known.verification is None or not known.verification.verdict.accepted:
        return _differs("the certificate records no verification that was accepted")
    accepted = {check.name for check in now.checks if check.verdict.accepted}
    then = [check.name for check in known.verification.checks if check.verdict.accepted]
    if lost := ", ".join(name for name in then if name not in accepted):
        return _differs(f"accepted then and not now: {lost}")
    if found := "; ".join(_disagreements(known.certificate, now.certificate)):
        if known.version == version:
            return _differs(f"not as recorded: {found}")
        made = f"not as recorded: {found}; fc2conv {known.version} wrote it, and this is {version}"
        return Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=made)
    detail, of = f"both models by SHA-256, and {counted(len(then), 'check')}", known.certificate
    if of is not None:
        detail += f", {counted(len(of.primes), 'prime')} and the residues of {counted(len(of.residues), 'output')}"
    return Check(name=NAME, verdict=Verdict.AGREES, detail=f"{detail} as recorded")


def _differs(detail: str) -> Check:
    return Check(name=NAME, verdict=Verdict.DIFFERS, detail=detail)


def _disagreements(then: Certificate | None, now: Certificate | None) -> Iterator[str]:
    """Yield what exact arithmetic found then and does not find now."""
    if then is None or now is None:
        yield from [] if then is None else ["exact arithmetic did not run"]
        return
    if (then.a, then.b) != (now.a, now.b):
        yield "the files of which the primes are made"
    if then.input_shapes != now.input_shapes:
        yield f"the input shapes {then.input_shapes}"
    if then.primes != now.primes:
        yield f"the primes {', '.join(map(str, then.primes))}, which now are {', '.join(map(str, now.primes))}"
    if outputs := ", ".join(name for name, each in then.residues.items() if now.residues.get(name) != each):
        yield f"the residues of {outputs}"
