"""What became of each layer, as the report says it: its form, and the convolutions that it was cut into."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec
from onnx import GraphProto, ModelProto

from fc2conv.ir.graph import op, walk
from fc2conv.layout.axes import Layout
from fc2conv.planning.planner import Decision, Plan
from fc2conv.planning.reporting import site_report
from fc2conv.report.figures import Counts
from fc2conv.report.types import SiteReport

if TYPE_CHECKING:
    from fc2conv.planning.fitting import Fits
    from fc2conv.targets.fits import Fit

_MOST_SHOWN = 64
"""Kernels of one layer that a report lists."""


def described(plan: Plan, decision: Decision, fits: Fits) -> SiteReport:
    """A layer and what was decided of it, with the form that it has then."""
    report = site_report(plan, decision)
    if not decision.converts or decision.facts is None or decision.facts.contraction is None:
        return report
    found = fits.get((plan.graph.path, decision.index), ())
    report = msgspec.structs.replace(report, form=_form(report, decision.facts.contraction.frame, found))
    if not found:
        return report
    kernels = [list(shape) for each in found for shape in each.shapes()]
    one = kernels[0] if len(kernels) == 1 else None
    return msgspec.structs.replace(
        report,
        weight_after=one,
        kernel_shape=one[2:] if one is not None else None,
        parts=kernels[:_MOST_SHOWN] if one is None else [],
    )


def _form(report: SiteReport, frame: Layout, found: tuple[Fit, ...]) -> str:
    kernels = [report.kernel_shape or [], *(part[2:] for part in report.parts)]
    if any(fit.point for fit in found):
        return "point"
    if any(prod(kernel) > 1 for kernel in kernels):
        return "map"
    cells = [bool(dim) for dim in frame[2:]]
    if not any(cells):
        return "point"
    if len(cells) == 1 and not any(fit.read for fit in found):
        return "tokens [N,C,L]"
    return "tokens [N,C,H,W]" if sum(cells) > 1 else "tokens [N,C,1,L]"


def operators(before: ModelProto, after: ModelProto) -> dict[str, Counts]:
    """How many nodes of each operator two models hold, by name."""
    counts: dict[str, list[int]] = {}
    for i, model in enumerate((before, after)):
        for graph in (model.graph, *(GraphProto(node=function.node) for function in model.functions)):
            for name in (op(node) for _, scope in walk(graph) for node in scope.node):
                counts.setdefault(name, [0, 0])[i] += 1
    return {name: Counts(before=one, after=other) for name, (one, other) in sorted(counts.items())}
