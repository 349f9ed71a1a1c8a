"""What a plan says, in the words of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from onnx import GraphProto, ModelProto

from fc2conv.analysis.facts import LayerFacts
from fc2conv.ir.graph import label, op, walk
from fc2conv.layout.axes import Layout, size_of
from fc2conv.options import Scope
from fc2conv.planning.planner import Decision, Head, Plan
from fc2conv.planning.requirements import LAYOUT_OPS
from fc2conv.reasons import Reason
from fc2conv.report.parts import Counts, is_layer
from fc2conv.report.types import HeadReport, LayoutNodes, ReasonReport, ScopeReport, SiteReport

if TYPE_CHECKING:
    from fc2conv.planning.fitting import Fits
    from fc2conv.targets.fits import Fit

_MOST_SHOWN = 64
"""The most kernels that a report lists for one layer that is cut."""


def site_report(plan: Plan, decision: Decision, fits: Fits) -> SiteReport:
    """Report one layer and the decision about it, with the form that it then has."""
    node, facts = plan.graph.nodes[decision.index], decision.facts
    layer = facts.layer if facts is not None else None
    cut = fits.get((plan.graph.path, decision.index), ())
    kernels = [list(shape) for each in cut for shape in each.shapes()]
    form = "keep"
    if facts is not None and facts.contraction is not None and decision.converts:
        whole = _kernels(facts)
        form = _form(whole, facts.contraction.frame, cut)
        kernels = kernels or whole
    one = kernels[0] if len(kernels) == 1 else None
    return SiteReport(
        node=label(node),
        op_type=op(node),
        decision="convert" if decision.converts else "keep",
        scope=plan.graph.path,
        weight=layer.weight if layer is not None else None,
        weight_before=list(layer.shape) if layer is not None else None,
        weight_after=one,
        kernel_shape=one[2:] if one is not None else None,
        parts=kernels[: _MOST_SHOWN if cut else None] if one is None else [],
        form=form,
        reason=reason_report(decision.reason) if decision.reason is not None else None,
    )


def _kernels(facts: LayerFacts) -> list[list[int]]:
    """Return the shapes [M, C, *S] of the kernels that a layer becomes before they are cut."""
    outputs = facts.layer.matrices * facts.layer.outputs
    return [[outputs, *(size_of(dim).coefficient for dim in found.kernel)] for found in facts.contractions]


def _form(kernels: Sequence[Sequence[int]], frame: Layout, cut: Sequence[Fit]) -> str:
    if any(fit.point for fit in cut):
        return "point"
    if any(prod(kernel[2:]) > 1 for kernel in kernels):
        return "map"
    cells = [bool(dim) for dim in frame[2:]]
    if not any(cells):
        return "point"
    if len(cells) == 1 and not any(fit.read for fit in cut):
        return "tokens [N,C,L]"
    return "tokens [N,C,H,W]" if sum(cells) > 1 else "tokens [N,C,1,L]"


def head_report(each: Plan, head: Head) -> HeadReport:
    """Report one head and its layout nodes."""
    return HeadReport(
        sites=[label(each.graph.nodes[i]) for i in head.layers],
        layout_before=head.labelling.layout_before,
        layout_after=head.labelling.layout_after,
        scope=each.graph.path,
    )


def reason_report(reason: Reason) -> ReasonReport:
    """Report a reason with its code spelled out."""
    code = reason.code
    return ReasonReport(
        code=code.value,
        meaning=code.meaning,
        remedy=reason.remedy or code.remedy,
        node=reason.node,
        detail=reason.detail,
    )


def scope_report(scope: Scope, plans: Sequence[Plan], before: int, after: int) -> ScopeReport:
    """Report in numbers what one scope gives."""
    decisions = [decision for plan in plans for decision in plan.decisions]
    return ScopeReport(
        scope=scope,
        converted=sum(decision.converts for decision in decisions),
        layers=sum(is_layer(decision.reason.code.value if decision.reason else "") for decision in decisions),
        layout_nodes=LayoutNodes(before=before, after=after),
    )


def layout_nodes(model: ModelProto) -> int:
    """Count the layout nodes of a model, subgraphs and functions included."""
    return sum(count for name, count in _operators(model).items() if name in LAYOUT_OPS)


def operators(before: ModelProto, after: ModelProto) -> dict[str, Counts]:
    """Count the nodes of each operator in two models, by name."""
    one, other = _operators(before), _operators(after)
    return {name: Counts(before=one[name], after=other[name]) for name in sorted(one | other)}


def _operators(model: ModelProto) -> Counter[str]:
    bodies = [GraphProto(node=function.node) for function in model.functions]
    graphs = (graph for outer in (model.graph, *bodies) for _, graph in walk(outer))
    return Counter(op(node) for graph in graphs for node in graph.node)
