"""How the planner saw each node of a model: `fc2conv trace`, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fc2conv.io.escape import one_line


class TraceValue(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a node, and how it holds the elements of a feature map.

    `layout` lists the axes of each dimension, major first, each as `NAME:SIZE`; `spatial` is the layout of the
    channel-first form of the same elements. Either is empty where it is not known.
    """

    name: str
    shape: str
    layout: str
    spatial: str
    provenance: str
    blocked_by: str


class TraceNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node: the rule that inferred it, how it could run on the spatial form, and what the plan decided."""

    scope: str
    node: str
    op_type: str
    rule: str
    form: str
    decision: str
    values: list[TraceValue]


def to_text(nodes: Sequence[TraceNode]) -> str:
    """Draw the nodes below one another, with whole names and no folded lines."""
    lines: list[str] = []
    for each in nodes:
        place = f"{each.scope}: " if each.scope else ""
        lines.append(one_line(f"{place}{each.node} ({each.op_type})"))
        rows = {"rule": each.rule, "form": each.form, "decision": each.decision}
        lines += [f"  {key:<9} {one_line(text)}" for key, text in rows.items() if text]
        for value in each.values:
            lines.append(one_line(f"  -> {value.name}  {value.shape}"))
            lines += [f"     {key:<9} {one_line(text)}" for key, text in _value_rows(value) if text]
    return "".join(f"{line}\n" for line in lines)


def _value_rows(value: TraceValue) -> list[tuple[str, str]]:
    by = f", blocked by {value.blocked_by}" if value.blocked_by else ""
    spatial = "the same" if value.spatial and value.spatial == value.layout else value.spatial
    return [("layout", value.layout), ("spatial", spatial), ("from", f"{value.provenance}{by}")]
