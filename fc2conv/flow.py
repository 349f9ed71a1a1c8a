"""The flow for one model: load, infer, decide, rewrite, prove, publish, report. The only part that knows all stages.

It runs in the child of fc2conv/api.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from onnx import ModelProto

from fc2conv.contained import allow, note
from fc2conv.decide import Plan
from fc2conv.errors import InconclusiveError, InputError, MismatchError
from fc2conv.functions import inlined_like
from fc2conv.intake import check_model
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
from fc2conv.report.types import (
    FileInfo,
    LayoutNodes,
    Report,
    Run,
    Verification,
)
from fc2conv.reporting import head_report, layout_nodes, peak_memory, site_report, versions
from fc2conv.scopes import Rewritten, rewrite_model

_Struct = TypeVar("_Struct", Report, FileInfo, Verification)
Model = str | os.PathLike[str] | ModelProto


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        note(f"the stage {name}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def convert(model: Model, output: str | os.PathLike[str] | None, options: Options) -> tuple[Report, ModelProto | None]:
    """Converts a model, proves the result, and writes it to `output`, or returns it where there is none."""
    clock = _Clock()
    with clock.stage("load"):
        file = _load(model)
        before = _hashes(file) if options.hashes else {}
    with clock.stage("convert"):
        plans, rewritten = _rewritten(file, options)
    if output is not None:
        info, verification = _publish(file, rewritten, Path(output), options, clock)
        result = None
    else:
        result, verification = _in_memory(file, rewritten, options, clock)
        info = None
    after = rewritten.model if rewritten is not None else file.model
    report = _report(model, file, plans, after, options, clock)
    outcome = "converted" if rewritten is not None else "unchanged"
    if options.hashes:
        report = _with(report, input=_with(report.input, sha256=before))
        info = None if info is None else _with(info, sha256=_hashes(read_model(info.path)))
    return _with(report, outcome=outcome, output=info, verification=verification), result


def plan(model: Model, options: Options) -> Report:
    """Decides for every fully connected layer of a model, and writes nothing."""
    clock = _Clock()
    with clock.stage("load"):
        file = _load(model)
    with clock.stage("convert"):
        plans, rewritten = _rewritten(file, options)
    return _report(model, file, plans, rewritten.model if rewritten is not None else file.model, options, clock)


def verify(a: Model, b: Model, options: VerifyOptions) -> Verification:
    """Compares two models, and holds them against a certificate where the options name one."""
    from fc2conv.proof import verify_pair
    from fc2conv.proof.recorded import check_recorded, read_certificate

    known = read_certificate(options.certificate) if options.certificate is not None else None
    first, second = _load(a), _load(b)
    like = replace(first, model=inlined_like(first.model, second.model))
    found = verify_pair(like, second, None, options)
    if known is None:
        return found
    last = check_recorded(known, first, second, found.checks)
    return _with(found, checks=[*found.checks, last], verdict="fail" if last.verdict == "fail" else found.verdict)


# ------------------------------------------------------------------ stages


def _load(model: Model) -> ModelFile:
    file = model_file_from_proto(model) if isinstance(model, ModelProto) else read_model(model)
    allow(file.nbytes)
    with _named(file):
        check_model(file.model)
    return file


@contextmanager
def _named(file: ModelFile) -> Iterator[None]:
    """Names the file in what is said of the model in it."""
    try:
        yield
    except InputError as error:
        if file.path is not None:
            error.message = f"{file.path}: {error.message}"
        raise


def _hashes(file: ModelFile) -> dict[str, str]:
    from fc2conv.proof.recorded import digests

    return digests(file)


def _rewritten(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    with _named(file):
        return rewrite_model(file, options)


def _publish(
    file: ModelFile, rewritten: Rewritten | None, output: Path, options: Options, clock: _Clock
) -> tuple[FileInfo, Verification | None]:
    with clock.stage("write"):
        staged = _stage(file, rewritten, output, options)
    with staged:
        verification = None
        if rewritten is not None and options.verify:
            with clock.stage("verify"):
                verification = _verified(read_model(staged.path), rewritten, options)
        with clock.stage("write"):
            note("the stage publish")
            staged.publish()
    return FileInfo(path=str(output), bytes=staged.nbytes), verification


def _stage(file: ModelFile, rewritten: Rewritten | None, output: Path, options: Options) -> Staged:
    if rewritten is None and file.path is not None:
        return stage_copy(file, output)
    model, payloads = (rewritten.model, rewritten.payloads) if rewritten else (file.model, file.payloads)
    return stage(model, payloads, output, form=options.form, source=file)


def _in_memory(
    file: ModelFile, rewritten: Rewritten | None, options: Options, clock: _Clock
) -> tuple[ModelProto, Verification | None]:
    if rewritten is None:
        return materialize(file.model, file.payloads), None
    result = materialize(rewritten.model, rewritten.payloads)
    if not options.verify:
        return result, None
    with clock.stage("verify"):
        return result, _verified(model_file_from_proto(result), rewritten, options)


def _verified(written: ModelFile, rewritten: Rewritten, options: Options) -> Verification:
    from fc2conv.proof import SitePair, verify_pair

    pairs = [
        SitePair(each.node, each.fc_output, each.output, each.conv_output, scope)
        for scope, layers in rewritten.converted.items()
        for each in layers
        if each.conv_output  # the sum of several convolutions is left to the comparison of numbers
    ]
    given = {**options.input_shapes, **options.verification.input_shapes}
    found = verify_pair(rewritten.original, written, pairs, replace(options.verification, input_shapes=given))
    worst = next((check for check in found.checks if check.verdict == found.verdict), None)
    detail = f"{worst.name}: {worst.detail}" if worst is not None else ""
    if found.verdict == "fail":
        raise MismatchError(f"verification failed, {detail}", "nothing was written; please report this model")
    if found.verdict == "inconclusive":
        raise InconclusiveError(f"verification could compare nothing, {detail}", "nothing was written")
    return found


# ------------------------------------------------------------------ report


def _report(
    model: Model, file: ModelFile, plans: Sequence[Plan], after: ModelProto, options: Options, clock: _Clock
) -> Report:
    path = "" if isinstance(model, ModelProto) else os.fspath(model)
    return Report(
        outcome="planned",
        scope=options.scope,
        input=FileInfo(path=path, bytes=file.nbytes),
        output=None,
        sites=[site_report(each, decision) for each in plans for decision in each.decisions],
        heads=[head_report(each, head) for each in plans for head in each.heads],
        layout_nodes=LayoutNodes(before=layout_nodes(file.model), after=layout_nodes(after)),
        verification=None,
        versions=versions(),
        run=Run(seconds=clock.seconds, peak_memory_bytes=peak_memory()),
    )


def _with(struct: _Struct, **changes: object) -> _Struct:
    import msgspec

    return msgspec.structs.replace(struct, **changes)
