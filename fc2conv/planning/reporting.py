"""What a plan says, in the report's words."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnx import GraphProto, ModelProto

from fc2conv.ir.graph import label, op, walk
from fc2conv.layout.axes import size_of
from fc2conv.options import Scope
from fc2conv.planning.planner import Decision, Head, Plan
from fc2conv.planning.requirements import LAYOUT_OPS
from fc2conv.reasons import Reason
from fc2conv.report.reason import is_layer
from fc2conv.report.types import HeadReport, LayoutNodes, ReasonReport, ScopeReport, SiteReport


def site_report(plan: Plan, decision: Decision) -> SiteReport:
    """One layer and what was decided of it."""
    node = plan.graph.nodes[decision.index]
    layer = decision.facts.layer if decision.facts is not None else None
    before = plan.constants.shape(layer.weight) if layer is not None else None
    kernels = _kernels(decision, before) if before is not None else []
    one = kernels[0] if len(kernels) == 1 else None
    return SiteReport(
        node=label(node),
        op_type=op(node),
        decision="convert" if decision.converts else "keep",
        scope=plan.graph.path,
        weight=layer.weight if layer is not None else None,
        weight_before=list(before) if before is not None else None,
        weight_after=one,
        kernel_shape=one[2:] if one is not None else None,
        parts=kernels if len(kernels) > 1 else [],
        reason=reason_report(decision.reason) if decision.reason is not None else None,
    )


def _kernels(decision: Decision, weight: tuple[int, ...]) -> list[list[int]]:
    """The shapes [M, C, *S] of the kernels that a layer becomes."""
    facts = decision.facts
    if facts is None or facts.contraction is None or not decision.converts:
        return []
    matrix = facts.layer.matrix
    outputs = prod(weight[i] for i in (*matrix.side_by_side(len(weight)), *matrix.outputs))
    contractions = [branch.contraction for branch in facts.branches] or [facts.contraction]
    return [[outputs, *(size_of(dim).coefficient for dim in found.kernel)] for found in contractions]


def head_report(each: Plan, head: Head) -> HeadReport:
    """One head and what it costs."""
    return HeadReport(
        sites=[label(each.graph.nodes[i]) for i in head.layers],
        layout_before=head.layout_before,
        layout_after=head.layout_after,
        scope=each.graph.path,
    )


def reason_report(reason: Reason) -> ReasonReport:
    """A reason with its code spelled out."""
    code = reason.code
    return ReasonReport(
        code=code.value,
        meaning=code.meaning,
        remedy=reason.remedy or code.remedy,
        node=reason.node,
        detail=reason.detail,
    )


def scope_report(scope: Scope, plans: Sequence[Plan], before: int, after: int) -> ScopeReport:
    """What one scope gives, in numbers."""
    decisions = [decision for plan in plans for decision in plan.decisions]
    return ScopeReport(
        scope=scope,
        converted=sum(decision.converts for decision in decisions),
        layers=sum(is_layer(decision.reason.code.value if decision.reason else "") for decision in decisions),
        layout_nodes=LayoutNodes(before=before, after=after),
    )


def layout_nodes(model: ModelProto) -> int:
    """How many layout nodes a model holds, subgraphs and functions among it."""

    bodies = [GraphProto(node=function.node) for function in model.functions]
    graphs = (graph for outer in (model.graph, *bodies) for _, graph in walk(outer))
    return sum(op(node) in LAYOUT_OPS for graph in graphs for node in graph.node)
