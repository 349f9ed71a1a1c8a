"""A head as it is drawn: its graph before and after."""

from __future__ import annotations

from typing import Literal

import msgspec

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
