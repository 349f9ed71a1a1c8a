"""The flow for one model: load, infer, decide, rewrite, prove, publish, report. The only part that knows all stages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from onnx import ModelProto

from fc2conv.convolutional import converted_file, freed, prepared, proved, refuse
from fc2conv.decide import Plan
from fc2conv.errors import InconclusiveError, InputError, MismatchError
from fc2conv.functions import inlined_like
from fc2conv.onnxfile import (
    ModelFile,
    Staged,
    materialize,
    model_file_from_proto,
    read_model,
    stage,
    stage_copy,
)
from fc2conv.options import Options, VerifyOptions
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.types import (
    FileInfo,
    LayoutNodes,
    Report,
    Run,
    Verification,
)
from fc2conv.reporting import head_report, layout_nodes, peak_memory, site_report, versions
from fc2conv.scopes import Rewritten, rewrite_model
from fc2conv.sliding import Slid

_Struct = TypeVar("_Struct", Report, FileInfo, Verification)
Model = str | os.PathLike[str] | ModelProto


@dataclass(frozen=True)
class Conversion:
    """What a conversion gave: the report, and the model itself where no output path was named."""

    report: Report
    model: ModelProto | None = None


@dataclass(frozen=True)
class _Work:
    """What became of a model: its plans, the converted model, and the sliding one with what is to be said of it."""

    file: ModelFile
    plans: Sequence[Plan]
    rewritten: Rewritten | None
    slid: Slid | None = None
    sliding: SlidingReport | None = None

    @property
    def made(self) -> Rewritten | Slid | None:
        """What is written; None where the model stays as it is."""
        return self.slid or self.rewritten


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def convert(model: Model, output: str | os.PathLike[str] | None = None, options: Options | None = None) -> Conversion:
    """Converts the fully connected layers of a model to convolutions, proves the result, and writes it to `output`.

    Without `output` the converted model is returned instead; the argument is never changed. Raises InputError for a
    model that cannot be read, MismatchError and InconclusiveError where the proof fails (nothing is written then), and
    OutputError where the result cannot be written (what stood there is intact).
    """
    options = options or Options()
    clock = _Clock()
    with clock.stage("load"):
        file = _load(model)
        before = _hashes(file) if options.hashes else {}
    with clock.stage("convert"):
        work = _worked(file, options)
    if work.sliding is not None and work.slid is None:
        refuse(work.sliding, file)
    if output is not None:
        info, (verification, sliding) = _publish(work, Path(output), options, clock)
        result = None
    else:
        result, (verification, sliding) = _in_memory(work, options, clock)
        info = None
    report = _with(_report(model, work, options, clock), sliding=sliding)
    outcome = "converted" if work.made is not None else "unchanged"
    if options.hashes:
        report = _with(report, input=_with(report.input, sha256=before))
        info = None if info is None else _with(info, sha256=_hashes(read_model(info.path)))
    return Conversion(_with(report, outcome=outcome, output=info, verification=verification), result)


def plan(model: Model, options: Options | None = None) -> Report:
    """Decides for every fully connected layer of a model, and writes nothing; raises InputError as `convert` does."""
    options = options or Options()
    clock = _Clock()
    with clock.stage("load"):
        file = _load(model)
    with clock.stage("convert"):
        work = _worked(file, options)
    return _report(model, work, options, clock)


def verify(a: Model, b: Model, options: VerifyOptions | None = None) -> Verification:
    """Compares two models of the same signature, and proves the layers that `b` has as convolutions.

    With a certificate in the options a last rung, `recorded`, fails where the two models are not its files, or where
    what passed then does not pass now.
    """
    options = options or VerifyOptions()
    from fc2conv.proof import verify_contained
    from fc2conv.proof.recorded import check_recorded, read_certificate

    known = read_certificate(options.certificate) if options.certificate is not None else None
    first, second = _load(a), _load(b)
    like = replace(first, model=inlined_like(first.model, second.model))
    found = verify_contained(like, second, None, options)
    if known is None:
        return found
    last = check_recorded(known, first, second, found.checks)
    return _with(found, checks=[*found.checks, last], verdict="fail" if last.verdict == "fail" else found.verdict)


# ------------------------------------------------------------------ stages


def _load(model: Model) -> ModelFile:
    return model_file_from_proto(model) if isinstance(model, ModelProto) else read_model(model)


def _hashes(file: ModelFile) -> dict[str, str]:
    from fc2conv.proof.recorded import digests

    return digests(file)


def _worked(file: ModelFile, options: Options) -> _Work:
    try:
        file = prepared(file, options)
        plans, rewritten = rewrite_model(file, options)
        if options.sliding is None:
            return _Work(file, plans, rewritten)
        sliding, slid = freed(file, rewritten, options)
    except InputError as error:
        named = file.path and not error.message.startswith(str(file.path))
        raise InputError(f"{file.path}: {error.message}" if named else error.message, error.remedy) from error
    return _Work(file, plans, rewritten, slid, sliding)


_Proof = tuple[Verification | None, SlidingReport | None]


def _publish(work: _Work, output: Path, options: Options, clock: _Clock) -> tuple[FileInfo, _Proof]:
    with clock.stage("write"):
        staged = _stage(work, output, options)
    with staged:
        proof: _Proof = (None, work.sliding)
        if work.made is not None and options.verify:
            with clock.stage("verify"):
                proof = _verified(read_model(staged.path), work, options)
        with clock.stage("write"):
            staged.publish()
    return FileInfo(path=str(output), bytes=staged.nbytes), proof


def _stage(work: _Work, output: Path, options: Options) -> Staged:
    if work.made is None and work.file.path is not None:
        return stage_copy(work.file, output)
    made = work.made or work.file
    return stage(made.model, made.payloads, output, form=options.form, source=work.file)


def _in_memory(work: _Work, options: Options, clock: _Clock) -> tuple[ModelProto, _Proof]:
    made = work.made or work.file
    result = materialize(made.model, made.payloads)
    if work.made is None or not options.verify:
        return result, (None, work.sliding)
    with clock.stage("verify"):
        return result, _verified(model_file_from_proto(result), work, options)


def _verified(written: ModelFile, work: _Work, options: Options) -> _Proof:
    """Proves what was written; a sliding model behind the converted one that it was made of."""
    given = {**options.input_shapes, **options.verification.input_shapes}
    options = replace(options, verification=replace(options.verification, input_shapes=given))
    sliding: SlidingReport | None = None
    if work.slid is None:
        assert work.rewritten is not None
        found = _compared(work.rewritten, written, options)
    else:
        ordinary = None
        if work.rewritten is not None:
            ordinary = _compared(work.rewritten, converted_file(work.file, work.rewritten), options)
        found, sliding = proved(work.file, written, work.slid, options, ordinary)
    worst = next((check for check in found.checks if check.verdict == found.verdict), None)
    detail = f"{worst.name}: {worst.detail}" if worst is not None else ""
    if found.verdict == "fail":
        raise MismatchError(f"verification failed, {detail}", "nothing was written; please report this model")
    if found.verdict == "inconclusive":
        raise InconclusiveError(f"verification could compare nothing, {detail}", "nothing was written")
    return found, sliding


def _compared(rewritten: Rewritten, written: ModelFile, options: Options) -> Verification:
    from fc2conv.proof import SitePair, verify_contained

    pairs = [
        SitePair(each.node, each.fc_output, each.output, each.conv_output, scope)
        for scope, layers in rewritten.converted.items()
        for each in layers
        if each.conv_output  # the sum of several convolutions is left to the comparison of numbers
    ]
    return verify_contained(rewritten.original, written, pairs, options.verification)


# ------------------------------------------------------------------ report


def _report(model: Model, work: _Work, options: Options, clock: _Clock) -> Report:
    path = "" if isinstance(model, ModelProto) else os.fspath(model)
    file, after = work.file, work.made or work.file
    return Report(
        outcome="planned",
        scope=options.scope,
        input=FileInfo(path=path, bytes=file.nbytes),
        output=None,
        sites=[site_report(each, decision) for each in work.plans for decision in each.decisions],
        heads=[head_report(each, head) for each in work.plans for head in each.heads],
        layout_nodes=LayoutNodes(before=layout_nodes(file.model), after=layout_nodes(after.model)),
        verification=None,
        versions=versions(),
        run=Run(seconds=clock.seconds, peak_memory_bytes=peak_memory()),
        sliding=work.sliding,
    )


def _with(struct: _Struct, **changes: object) -> _Struct:
    import msgspec

    return msgspec.structs.replace(struct, **changes)
