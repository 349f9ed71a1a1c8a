"""The parts of which a report is made: reasons, figures, what a target does not take, and drawings of heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec


class ReasonReport(msgspec.Struct, frozen=True, kw_only=True):
    """A reason as it is reported: stable code, meaning, remedy, the node at which it arose, and the case's detail."""

    code: str
    meaning: str
    remedy: str
    node: str
    detail: str = ""


def is_layer(code: str) -> bool:
    """Return whether a site with this reason ("" without one) is a layer: no product of activations or of constants."""
    return code not in ("FC201", "FC207")


def tally(counts: Mapping[str, int]) -> str:
    """Write how often each code occurs, as `FC101 x2, FC302 x1`."""
    return ", ".join(f"{code} x{count}" for code, count in sorted(counts.items()))


def explained(reasons: Iterable[ReasonReport | None]) -> dict[str, tuple[str, list[str]]]:
    """Return the meaning of each code that occurs, and what helps in these cases, each remedy once."""
    out: dict[str, tuple[str, list[str]]] = {}
    for reason in reasons:
        if reason is not None:
            _, remedies = out.setdefault(reason.code, (reason.meaning, []))
            if reason.remedy not in remedies:
                remedies.append(reason.remedy)
    return out


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a model measures: nodes, those of subgraphs and functions among them, parameters, multiply-accumulates.

    `parameters` are the elements of initializers and Constant nodes, without int64, which are shapes. `macs` counts
    convolutions and matrix products; with `macs_assumed` a size was a symbol and taken to be 1, such as the batch;
    `macs_uncounted` nodes multiply and are not in it, as their shapes are not known or they are fused operators.
    """

    nodes: int
    parameters: int
    macs: int
    macs_assumed: bool = False
    macs_uncounted: int = 0


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes of an operator a model holds, before and after."""

    before: int
    after: int


class LayoutNodes(msgspec.Struct, frozen=True, kw_only=True):
    """How many Reshape, Flatten, Squeeze, Unsqueeze and Transpose nodes the model holds."""

    before: int
    after: int


class ScopeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What another `--scope` would give: how many of the layers it converts, and the layout nodes."""

    scope: Literal["spatial", "all"]
    converted: int
    layers: int
    layout_nodes: LayoutNodes


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the written model that the target does not take.

    `code`, `meaning`, `remedy` and `detail` are those of a reason, `node`, `op_type` and `scope` name the first node,
    `nodes` is how many there are, and `names` has the names of those that are layers.
    `layer` is true for fully connected layers, what became of them, and products
    of two computed values; the other nodes were there before.
    """

    code: str
    meaning: str
    remedy: str
    node: str
    op_type: str
    detail: str = ""
    scope: str = ""
    layer: bool = True
    nodes: int = 1
    names: list[str] = []

    def again(self, name: str) -> Finding:
        names = [*self.names, name] if self.layer else []
        return msgspec.structs.replace(self, nodes=self.nodes + 1, names=names)


def by_code(findings: Iterable[Finding]) -> Counter[str]:
    return Counter(each.code for each in findings for _ in range(each.nodes))


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """The target that the model was written for, and what of it the target does not take."""

    name: str
    title: str = ""
    findings: list[Finding] = []

    @property
    def illegal(self) -> list[Finding]:
        """The findings at layers and products."""
        return [finding for finding in self.findings if finding.layer]

    def refusals(self, layer: str) -> list[str]:
        """Return the codes for which the target does not take a layer, or one of the convolutions that it became."""
        parts = (f"{layer}_part", f"{layer}_sum")
        return sorted({f.code for f in self.illegal if any(n == layer or n.startswith(parts) for n in f.names)})


Change = Literal["same", "rewired", "changed", "removed", "added"]
"""What became of a node. Where the other graph has one of its name, or for its value, it is `rewired` if that does the
same to other values (on the map, say), and `changed` if it is another operator or has other attributes."""


class DrawnNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a drawn graph, or a graph input or output (`value`), or the rest of the graph (`more`).

    `detail` is the shape of its weight, or its perm; `counterpart` is the position of the node of the other graph that
    it is to be compared with.
    """

    name: str
    op_type: str
    change: Change = "same"
    kind: Literal["node", "value", "more"] = "node"
    detail: str = ""
    counterpart: int | None = None


class DrawnEdge(msgspec.Struct, frozen=True, kw_only=True):
    """A value between two nodes (positions), with its shape; "" where its rank is not known."""

    source: int
    target: int
    value: str
    shape: str = ""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A clipped graph as it is drawn; nodes in the order of the model."""

    nodes: list[DrawnNode]
    edges: list[DrawnEdge]


class HeadDrawing(msgspec.Struct, frozen=True, kw_only=True):
    """The graph about a head before and after; of a head with many layers the first, and how many were left out."""

    before: Graph
    after: Graph
    sites_left_out: int = 0
