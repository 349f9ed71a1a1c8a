"""The flow for one model: load, infer, decide, rewrite, prove, publish, report. The only part that knows all stages.

It runs in the child of fc2conv/api.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from onnx import ModelProto

from fc2conv.choices import check_patterns, check_shapes, of_inputs
from fc2conv.fcn import Recipe, Slid, recipe_of
from fc2conv.fcn.stage import converted_file, freed, prepared, proved, refuse, remade
from fc2conv.io.forms import declared_shapes, materialize
from fc2conv.io.naming import named
from fc2conv.io.parts import check_data_files, check_files
from fc2conv.io.reader import ModelFile, model_file_from_proto, read_model
from fc2conv.io.staged import Staged
from fc2conv.io.writer import check_target, stage, stage_copy
from fc2conv.ir.schema import check_valid
from fc2conv.ir.shapes import inner_values
from fc2conv.ir.validate import check_model
from fc2conv.options import Options, VerifyOptions, told
from fc2conv.planning.fitting import Fits
from fc2conv.planning.outcome import described, operators
from fc2conv.planning.planner import Plan
from fc2conv.planning.reporting import head_report, layout_nodes, peak_memory
from fc2conv.planning.trace import trace as traced
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.trace import TraceNode
from fc2conv.report.types import FileInfo, LayoutNodes, Report, Run, Verification
from fc2conv.report.verification import Check, Verdict
from fc2conv.rewrite.functions import inlined_like
from fc2conv.rewrite.scopes import Rewritten, named_layers, other_scope
from fc2conv.rewrite.signature import rewrite_signed, signature_of, signed_like
from fc2conv.sandbox import allow, note
from fc2conv.sandbox.clock import Clock
from fc2conv.targets.audit import target_report
from fc2conv.verification.remedies import check_proved
from fc2conv.version import __version__, versions

_Struct = TypeVar("_Struct", Report, FileInfo, Verification)
Model = str | os.PathLike[str] | ModelProto
Outcome = Literal["converted", "unchanged", "differs", "inconclusive"]
_Proof = tuple[Verification | None, SlidingReport | None]
_Tell = Callable[[Outcome, _Proof], Report]


@dataclass(frozen=True)
class _Work:
    """What became of a model: its plans, the converted model, and the sliding one with what is to be said of it.

    `read` is the file as it was read, `file` the model with the signature that it was to have.
    """

    file: ModelFile
    plans: Sequence[Plan]
    rewritten: Rewritten | None
    slid: Slid | None = None
    sliding: SlidingReport | None = None
    read: ModelFile | None = None

    @property
    def made(self) -> Rewritten | Slid | None:
        """What is written; None where the model stays as it is."""
        return self.slid or self.rewritten


_quietly = np.errstate(all="ignore")
"""What a model's numbers make of each other (a NaN, an infinity) is for the report, and nothing for stderr."""


@_quietly
def convert(model: Model, output: str | os.PathLike[str] | None, options: Options) -> tuple[Report, ModelProto | None]:
    """Converts a model, proves the result, and writes it to `output`, or returns it where there is none."""
    clock = Clock()
    with clock.stage("load"):
        check_files(options.verification, [model], output)
        file = _load(model)
        if output is not None:
            check_target(Path(output), file)
        before = _hashes(file) if options.hashes else {}
    with clock.stage("convert"):
        work = _worked(file, options)
    if work.sliding is not None and work.sliding.obstacles:
        refuse(work.sliding, file)

    def tell(outcome: Outcome, proof: _Proof, info: FileInfo | None = None) -> Report:
        report = _report(model, work, options, clock)
        if options.hashes:
            report = _with(report, input=_with(report.input, sha256=before))
            info = None if info is None else _with(info, sha256=_hashes(read_model(info.path)))
        return _with(report, outcome=outcome, output=info, verification=proof[0], sliding=proof[1])

    if output is not None:
        info, proof = _publish(work, Path(output), options, clock, tell)
        result = None
    else:
        result, proof = _in_memory(work, options, clock, tell)
        info = None
    return tell("converted" if work.made is not None else "unchanged", proof, info), result


@_quietly
def plan(model: Model, options: Options) -> Report:
    """Decides for every fully connected layer of a model, and writes nothing."""
    clock = Clock()
    with clock.stage("load"):
        check_files(options.verification, [model])
        file = _load(model)
    with clock.stage("convert"):
        work = _worked(file, options)
        other = other_scope(file, work.plans, work.rewritten, options) if options.sliding is None else None
    return _with(_report(model, work, options, clock), other_scope=other)


@_quietly
def trace(model: Model, patterns: Sequence[str], options: Options) -> list[TraceNode]:
    """Lists what the analysis found of each node of a model, and what the plan decided."""
    file = _load(model)
    with named(file):
        _, plans, _ = rewrite_signed(prepared(file, options), options)
        return traced(plans, patterns)


@_quietly
def verify(a: Model, b: Model, options: VerifyOptions) -> Verification:
    """Compares two models, and holds them against a certificate where the options name one."""
    from fc2conv.verification.pair import verify_pair
    from fc2conv.verification.recorded import check_recorded, read_certificate

    check_files(options, [a, b])
    known = read_certificate(options.certificate) if options.certificate is not None else None
    options = options if known is None else known.options(options)
    clock = Clock()
    with clock.stage("load"):
        first, second = _load(a), _load(b)
        first, signature = signed_like(first, second)
    recipe = recipe_of(second.model)
    with clock.stage("verify"):
        if recipe is None or recipe_of(first.model) is not None:
            like = replace(first, model=inlined_like(first.model, second.model))
            found = verify_pair(like, second, None, options)
        else:
            found = _verified_sliding(first, second, recipe, options, known is not None and known.crops)
    if signature:
        found = _with(found, notes=[*found.notes, f"the second model's signature, given to the first: {signature}"])
    if known is None:
        return found
    last = check_recorded(known, first, second, found, __version__)
    return _beside(found, last)


# ------------------------------------------------------------------ stages


def _load(model: Model) -> ModelFile:
    file = model_file_from_proto(model) if isinstance(model, ModelProto) else read_model(model)
    allow(file.nbytes)
    with named(file):
        check_model(file.model)
        check_valid(file.model)
    return file


def _hashes(file: ModelFile) -> dict[str, str]:
    from fc2conv.verification.recorded import digests

    return digests(file)


def _worked(file: ModelFile, options: Options) -> _Work:
    with named(file):
        given = {**options.verification.input_shapes, **options.input_shapes}
        check_shapes(given, declared_shapes(file.model), inner_values(file.model))
        read, (file, plans, rewritten) = file, rewrite_signed(prepared(file, options), options)
        check_patterns(options, *named_layers(plans))
        if options.sliding is None:
            return _Work(file, plans, rewritten, read=read)
        sliding, slid = freed(file, rewritten, plans, options)
    return _Work(file, plans, rewritten, slid, sliding, read)


def _publish(work: _Work, output: Path, options: Options, clock: Clock, tell: _Tell) -> tuple[FileInfo, _Proof]:
    with clock.stage("write"):
        staged = _stage(work, output, options)
    with staged:
        check_data_files(options.verification, staged)
        proof: _Proof = (None, work.sliding)
        if work.made is not None and options.verify:
            with clock.stage("verify"):
                proof = _verified(read_model(staged.path), work, options, tell)
        with clock.stage("write"):
            note("publishing")
            staged.publish()
    return FileInfo(path=str(output), bytes=staged.nbytes), proof


def _stage(work: _Work, output: Path, options: Options) -> Staged:
    if work.made is None and work.file.path is not None:
        return stage_copy(work.file, output)
    made = work.made or work.file
    return stage(made.model, made.payloads, output, form=options.form, source=work.file)


def _in_memory(work: _Work, options: Options, clock: Clock, tell: _Tell) -> tuple[ModelProto, _Proof]:
    made = work.made or work.file
    result = materialize(made.model, made.payloads)
    if work.made is None or not options.verify:
        return result, (None, work.sliding)
    with clock.stage("verify"):
        return result, _verified(model_file_from_proto(result), work, options, tell)


def _verified(written: ModelFile, work: _Work, options: Options, tell: _Tell) -> _Proof:
    """Proves what was written; a sliding model behind the converted one that it was made of."""
    given = of_inputs({**options.input_shapes, **options.verification.input_shapes}, declared_shapes(work.file.model))
    options = replace(options, verification=replace(options.verification, input_shapes=given))
    found, sliding = _proved(work, written, options)
    check_proved(found, options.verification, lambda outcome: tell(outcome, (found, sliding)))
    return found, sliding


def _proved(work: _Work, written: ModelFile, options: Options) -> tuple[Verification, SlidingReport | None]:
    if work.slid is None:
        assert work.rewritten is not None
        return _compared(work.rewritten, written, options), None
    ordinary = None
    if work.rewritten is not None:
        between = replace(converted_file(work.file, work.rewritten), stamps={})  # it is no file
        ordinary = _compared(work.rewritten, between, options)
    return proved(work.file, written, work.slid, options, ordinary)


def _verified_sliding(
    original: ModelFile, there: ModelFile, recipe: Recipe, options: VerifyOptions, crops: bool
) -> Verification:
    """Proves a sliding model by making it once more, which says what is claimed: the two must compute the same.

    What is there is proved by these claims, or, where it has no values by their names, what was made.
    """
    from fc2conv.verification.pair import verify_pair

    assert recipe.options.sliding is not None
    given = of_inputs(recipe.options.input_shapes, declared_shapes(original.model))
    options = replace(options, input_shapes={**given, **options.input_shapes})
    sliding = replace(recipe.options.sliding, verify_crops=crops)
    made = replace(recipe.options, verification=options, sliding=sliding, for_many=True)
    work = _worked(original, made)
    if work.sliding is not None and work.sliding.obstacles:
        refuse(work.sliding, original)
    if work.slid is None:  # it slides as it is
        return verify_pair(original, there, None, options)
    fresh = converted_file(work.file, work.slid)
    itself = work.slid.claims.named() <= {name for node in there.model.graph.node for name in node.output}
    found, _ = _proved(work, there if itself else fresh, made)
    last = remade(fresh, work.slid, there, recipe, options)
    found = _beside(found, last)
    return found if itself or last.verdict.accepted else _with(found, verdict=last.verdict)


def _beside(found: Verification, last: Check) -> Verification:
    """Add a check that says nothing of what the two models compute: the verdict is worse where it differs."""
    verdict = last.verdict if last.verdict is Verdict.DIFFERS else found.verdict
    return _with(found, checks=[*found.checks, last], verdict=verdict)


def _compared(rewritten: Rewritten, written: ModelFile, options: Options) -> Verification:
    from fc2conv.verification.pair import verify_pair
    from fc2conv.verification.sites import SitePair

    pairs = [
        SitePair(each.node, each.fc_output, each.output, each.conv_output, scope)
        for scope, layers in rewritten.converted.items()
        for each in layers
    ]
    return verify_pair(rewritten.original, written, pairs, options.verification)


def _report(model: Model, work: _Work, options: Options, clock: Clock) -> Report:
    path = "" if isinstance(model, ModelProto) else os.fspath(model)
    file, rewritten = work.file, work.rewritten
    read = work.read or file
    fits: Fits = rewritten.fits if rewritten is not None else {}
    before, after = rewritten.original if rewritten is not None else file, (work.made or file).model
    sites = [described(each, decision, fits) for each in work.plans for decision in each.decisions]
    report = Report(
        outcome="planned",
        scope=options.scope,
        input=FileInfo(path=path, bytes=file.nbytes),
        output=None,
        sites=sites,
        heads=[head_report(each, head) for each in work.plans for head in each.heads],
        layout_nodes=LayoutNodes(before=layout_nodes(read.model), after=layout_nodes(after)),
        verification=None,
        versions=versions(),
        run=Run(seconds=clock.seconds, peak_memory_bytes=peak_memory()),
        options=told(options),
        sliding=work.sliding,
        target=target_report(converted_file(file, work.made), before, options, sites),
        operators=operators(read.model, after),
        signature=str(signature_of(after)),
    )
    if not options.illustrate:
        return report
    from fc2conv.diagrams import illustrated

    return illustrated(report, before.model, after, of_inputs(options.input_shapes, declared_shapes(file.model)))


def _with(struct: _Struct, **changes: object) -> _Struct:
    import msgspec

    return msgspec.structs.replace(struct, **changes)
