"""The facts and the decision about each node of a plan, in words: what `fc2conv trace` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from onnx import NodeProto

from fc2conv.analysis.context import HANDLERS
from fc2conv.analysis.facts import Drop, Elide, Expand, NodeFacts, Remap
from fc2conv.errors import UsageError
from fc2conv.io.choices import nearest
from fc2conv.ir.graph import label, op
from fc2conv.layout.axes import Dim, Layout, size_of
from fc2conv.planning.planner import Decision, Plan
from fc2conv.report.trace import TraceNode, TraceValue

_FORMS = {
    Remap: "the same operator on the spatial form",
    Expand: "other operators on the spatial form",
    Elide: "nothing: the spatial form has the same elements",
    Drop: "nothing: it is not needed where what it feeds is on the spatial form",
}


def trace(plans: Sequence[Plan], patterns: Sequence[str] = ()) -> list[TraceNode]:
    """List the nodes whose names match one of the shell patterns (all nodes for no pattern), scope by scope.

    Raise UsageError for a pattern that matches no node.
    """
    first: dict[tuple[str, ...], TraceNode] = {}  # plans of layers within functions see the nodes around once more
    for each in (each for plan in plans for each in _nodes(plan)):
        first.setdefault((each.scope, each.node, each.op_type, *(value.name for value in each.values)), each)
    nodes = list(first.values())
    for pattern in patterns:
        if not any(fnmatchcase(each.node, pattern) for each in nodes):
            names = {each.node for each in nodes}
            there = f"the nearest is {nearest(pattern, names)!r}" if names else "the model has none"
            raise UsageError(f"{pattern!r} matches no node", there)
    return [each for each in nodes if not patterns or any(fnmatchcase(each.node, pattern) for pattern in patterns)]


def _nodes(plan: Plan) -> Iterator[TraceNode]:
    decisions = {each.index: each for each in plan.decisions}
    for i, (node, facts) in enumerate(zip(plan.graph.nodes, plan.facts.nodes, strict=True)):
        yield TraceNode(
            scope=plan.graph.path,
            node=label(node),
            op_type=op(node),
            rule=_rule(node, facts),
            form=_form(facts),
            decision=_decision(plan, i, decisions.get(i)),
            values=[_value(plan, name) for name in node.output if name],
        )


def _rule(node: NodeProto, facts: NodeFacts) -> str:
    if facts.layer is not None:
        return "layer"
    if facts.part_of is not None:
        return ""
    handler = HANDLERS.get(op(node))
    if handler is None:
        return "none: the layout ends here"
    return f"{handler.__module__.removeprefix('fc2conv.')}.{handler.__qualname__}"


def _form(facts: NodeFacts) -> str:
    if facts.layer is not None:
        found = facts.layer.contraction
        return "" if found is None else f"convolution with the kernel {_sizes([size_of(d) for d in found.kernel[1:]])}"
    if facts.recipe is None:
        return ""
    return next(words for kind, words in _FORMS.items() if isinstance(facts.recipe, kind))


def _decision(plan: Plan, index: int, decision: Decision | None) -> str:
    part_of = plan.facts.nodes[index].part_of
    if part_of is not None:
        return f"part of {label(plan.graph.nodes[part_of])}"
    if decision is None:
        return "on the spatial form" if index in plan.on_spatial_forms else "as it is"
    if decision.reason is None:
        return "convert"
    by = f" at {decision.reason.node}" if decision.reason.node else ""
    detail = f": {decision.reason.detail}" if decision.reason.detail else ""
    return f"keep, {decision.reason.code.value}{by}{detail}"


def _value(plan: Plan, name: str) -> TraceValue:
    view = plan.facts.views.get(name)
    if view is None:
        constant = plan.constants.is_constant(name)
        said = "constant" if constant else "not known"
        shape = plan.constants.shape(name) if constant else None
        return TraceValue(name=name, shape=_sizes(shape or ()), layout="", spatial="", provenance=said, blocked_by="")
    return TraceValue(
        name=name,
        shape=_sizes([size_of(dim) for dim in view.dims]),
        layout=_layout(view.dims),
        spatial="" if view.spatial_form is None else _layout(view.spatial_form),
        provenance=view.provenance.value,
        blocked_by=view.blocked_by,
    )


def _sizes(sizes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _layout(layout: Layout) -> str:
    return " | ".join(map(_dimension, layout))


def _dimension(dim: Dim) -> str:
    return " ".join(f"{axis.root}:{axis.size}" for axis in dim) or "1"
