"""The pipeline for one model: load, analyze, plan, rewrite, verify, publish, report; it alone knows all stages.

It runs in the child of fc2conv/api.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace as changed
from onnx import ModelProto

from fc2conv.fcn.stage import prepared, recipe_of, refuse
from fc2conv.io.apart import check_data_files, check_files
from fc2conv.io.choices import check_outputs
from fc2conv.io.forms import materialize
from fc2conv.io.reader import ModelFile, model_file_from_proto, read_model
from fc2conv.io.staged import Staged
from fc2conv.io.writer import check_target, stage, stage_copy
from fc2conv.options import Options, VerifyOptions
from fc2conv.pipeline.reports import report_of
from fc2conv.pipeline.work import Clock, Model, Work, load, named, worked
from fc2conv.report.types import FileInfo, Report, Verification
from fc2conv.rewrite.functions import inlined_like
from fc2conv.rewrite.model import other_scope
from fc2conv.rewrite.signature import rewrite_signed, signed_like
from fc2conv.sandbox import note
from fc2conv.version import __version__

if TYPE_CHECKING:
    from fc2conv.pipeline.proofs import Outcome, Proof, Tell
    from fc2conv.report.trace import TraceNode

_quietly = np.errstate(all="ignore")
"""What a model's numbers make of each other (a NaN, an infinity) is for the report, and nothing for stderr."""


@_quietly
def convert(model: Model, output: str | os.PathLike[str] | None, options: Options) -> tuple[Report, ModelProto | None]:
    """Convert a model, prove the result, and write it to `output`, or return it where `output` is None."""
    clock = Clock()
    with clock.stage("load"):
        check_files(options.verification, [model], output)
        file = load(model)
        if output is not None:
            check_target(Path(output), file)
        before = _hashes(file) if options.hashes else {}
    with clock.stage("convert"):
        work = worked(file, options)
    if work.sliding is not None and work.sliding.obstacles:
        refuse(work.sliding, file)

    def tell(outcome: Outcome, proof: Proof) -> Report:
        report = report_of(model, work, options, clock)
        if options.hashes:
            report = changed(report, input=changed(report.input, sha256=before))
        return changed(report, outcome=outcome, verification=proof[0], sliding=proof[1])

    if output is not None:
        return _publish(work, Path(output), options, clock, tell), None
    result, proof = _in_memory(work, options, clock, tell)
    return tell(_outcome(work), proof), result


@_quietly
def plan(model: Model, options: Options) -> Report:
    """Decide for every fully connected layer of a model, and write nothing."""
    clock = Clock()
    with clock.stage("load"):
        check_files(options.verification, [model])
        file = load(model)
    with clock.stage("convert"):
        work = worked(file, options)
        other = other_scope(file, work.plans, work.rewritten, options) if options.sliding is None else None
    return changed(report_of(model, work, options, clock), other_scope=other)


@_quietly
def trace(model: Model, patterns: Sequence[str], options: Options) -> list[TraceNode]:
    """List what the analysis found of each node of a model, and what the plan decided."""
    from fc2conv.planning.trace import trace as traced

    file = load(model)
    with named(file):
        _, plans, _ = rewrite_signed(prepared(file, options), options)
        return traced(plans, patterns)


@_quietly
def verify(a: Model, b: Model, options: VerifyOptions) -> Verification:
    """Compare two models, and check them against a certificate where the options name one."""
    from fc2conv.pipeline.proofs import beside, verify_sliding
    from fc2conv.verification.pair import verify_pair
    from fc2conv.verification.recorded import check_recorded, read_certificate

    check_files(options, [a, b])
    known = read_certificate(options.certificate) if options.certificate is not None else None
    options = options if known is None else known.options(options)
    clock = Clock()
    with clock.stage("load"):
        first, second = load(a), load(b)
        check_outputs(options.per_output, [each.name for each in first.model.graph.output])
        first, signature = signed_like(first, second)
    recipe = recipe_of(second.model)
    with clock.stage("verify"):
        if recipe is None or recipe_of(first.model) is not None:
            inlined = replace(first, model=inlined_like(first.model, second.model))
            found = verify_pair(first, second, False, options, inlined)
        else:
            found = verify_sliding(first, second, recipe, options, known is not None and known.crops)
    if signature:
        found = changed(found, notes=[*found.notes, f"the second model's signature, given to the first: {signature}"])
    if known is None:
        return found
    last = check_recorded(known, first, second, found, __version__)
    return beside(found, last)


# ------------------------------------------------------------------ stages


def _hashes(file: ModelFile) -> dict[str, str]:
    from fc2conv.verification.recorded import digests

    return digests(file)


def _outcome(work: Work) -> Outcome:
    return "converted" if work.made is not None else "unchanged"


def _publish(work: Work, output: Path, options: Options, clock: Clock, tell: Tell) -> Report:
    """Write, prove and publish the result; make the report first, as it reads from IN, which OUT may replace."""
    with clock.stage("write"):
        staged = _stage(work, output, options)
    with staged:
        check_data_files(options.verification, staged)
        proof = _proof(work, options, clock, tell, lambda: read_model(staged.path))
        report = tell(_outcome(work), proof)
        with clock.stage("write"):
            note("publishing")
            staged.publish()
    hashes = _hashes(read_model(output)) if options.hashes else {}
    info = FileInfo(path=str(output), bytes=staged.nbytes, data=staged.data_names, sha256=hashes)
    return changed(report, output=info, run=changed(report.run, seconds=clock.seconds))


def _stage(work: Work, output: Path, options: Options) -> Staged:
    file = work.file
    stays = options.form in ("keep", "external" if file.external else "inline") or not file.payloads
    if work.made is None and file.path is not None and stays:
        return stage_copy(file, output)
    made = work.made or work.file
    return stage(made.model, made.payloads, output, form=options.form, source=work.file)


def _in_memory(work: Work, options: Options, clock: Clock, tell: Tell) -> tuple[ModelProto, Proof]:
    made = work.made or work.file
    result = materialize(made.model, made.payloads)
    return result, _proof(work, options, clock, tell, lambda: model_file_from_proto(result))


def _proof(work: Work, options: Options, clock: Clock, tell: Tell, written: Callable[[], ModelFile]) -> Proof:
    """Verify what was written, if something was made and is to be verified."""
    if work.made is None or not options.verify:
        return None, work.sliding
    from fc2conv.pipeline.proofs import verified

    with clock.stage("verify"):
        return verified(written(), work, options, tell)
