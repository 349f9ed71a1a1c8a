"""The report of one model, from what its stages found."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from msgspec.structs import replace as changed
from onnx import ModelProto

from fc2conv import system
from fc2conv.fcn.stage import converted_file
from fc2conv.io.choices import of_inputs
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import walk
from fc2conv.options import Options, non_default
from fc2conv.pipeline.work import Clock, Model, Work
from fc2conv.planning.planner import Decision, Plan
from fc2conv.planning.reporting import head_report, layout_nodes, operators, site_report
from fc2conv.reasons import Code
from fc2conv.report.types import FileInfo, LayoutNodes, Report, Run, SiteReport
from fc2conv.rewrite.signature import signature_of
from fc2conv.targets.chosen import profile_of
from fc2conv.version import versions

if TYPE_CHECKING:
    from fc2conv.planning.fitting import Fits
    from fc2conv.report.parts import TargetReport


def _data_files(file: ModelFile) -> list[str]:
    """List the files of a model's external data, relative to its folder."""
    return [os.path.relpath(each, file.folder) for each in sorted(file.stamps) if each != file.path and file.folder]


def report_of(model: Model, work: Work, options: Options, clock: Clock) -> Report:
    path = "" if isinstance(model, ModelProto | bytes) else os.fspath(model)
    file, rewritten = work.file, work.rewritten
    fits: Fits = rewritten.fits if rewritten is not None else {}
    before, after = rewritten.original if rewritten is not None else file, (work.made or file).model
    moved = rewritten.requantized if rewritten is not None else {}
    there = {name for _, graph in walk(after.graph) for node in graph.node for name in node.output}
    layers = [
        site_report(each, decision, fits)
        for each in work.plans
        for decision in each.decisions
        if not _folded(each, decision, there)
    ]
    layers = [changed(layer, requantized=moved.get((layer.scope, layer.node))) for layer in layers]
    report = Report(
        outcome="planned",
        scope=options.scope,
        input=FileInfo(path=path, bytes=file.nbytes, data=_data_files(work.read)),
        output=None,
        sites=layers,
        heads=[head_report(each, head) for each in work.plans for head in each.heads],
        layout_nodes=LayoutNodes(before=layout_nodes(work.read.model), after=layout_nodes(after)),
        verification=None,
        versions=versions(),
        run=Run(seconds=clock.seconds, peak_memory_bytes=system.peak_memory()),
        options=non_default(options),
        sliding=work.sliding,
        target=_target_report(work, before, options, layers),
        operators=operators(work.read.model, after),
        signature=str(signature_of(after)),
    )
    if not options.illustrate:
        return report
    from fc2conv.diagrams import illustrated

    return illustrated(report, before.model, after, of_inputs(options.input_shapes, declared_shapes(file.model)))


def _folded(plan: Plan, decision: Decision, there: Set[str]) -> bool:
    """Return whether a constant that was made of two others is part of a kernel now."""
    constant = decision.reason is not None and decision.reason.code is Code.BOTH_CONSTANT
    return constant and there.isdisjoint(plan.graph.nodes[decision.index].output)


def _target_report(
    work: Work, original: ModelFile, options: Options, layers: Sequence[SiteReport]
) -> TargetReport | None:
    """Report what the target does not take; return None where neither a target nor a limit was asked for."""
    profile = profile_of(options)
    if profile is None:
        return None
    from fc2conv.targets.audit import target_report

    return target_report(converted_file(work.file, work.made), original, profile, options, layers)
