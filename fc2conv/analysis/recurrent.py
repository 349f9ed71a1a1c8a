"""Recurrent layers: their results have the items and the steps of what they read, and features of their own.

The layout nodes directly after one stay: other tools know an LSTM by the Transpose and Squeeze of its exporter.
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, handles
from fc2conv.ir.graph import int_attribute, op
from fc2conv.layout.axes import Dim, Layout, size_of
from fc2conv.layout.view import View

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


@handles(*RECURRENT)
def _recurrent(ctx: Context, node: NodeProto) -> Inferred:
    """Lay out Y as [steps, directions, items, features], or with layout 1 as [items, steps, directions, features]."""
    lost, view = ctx.lost(node), ctx.first(node)
    if view is None or len(view.dims) != 3:
        return lost
    first, second = view.dims[:2]
    batch_first = int_attribute(node, "layout", 0) == 1
    items = first if batch_first else second
    places: dict[int, Dim] = {0: first, (1 if batch_first else 2): second}
    states = {(0 if batch_first else 1): items}
    return Inferred(
        tuple(each and _with(each, places if i == 0 else states) for i, each in enumerate(lost.views)), lost.recipe
    )


def _with(view: View, known: dict[int, Dim]) -> View:
    """Return the view with other axes in some dimensions, where no known size contradicts them."""
    dims: Layout = tuple(known.get(i, dim) for i, dim in enumerate(view.dims))
    pairs = ((size_of(old), size_of(new)) for old, new in zip(view.dims, dims, strict=True))
    fits = all(old == new or not (old.known and new.known) for old, new in pairs)
    return replace(view, dims=dims) if fits else view


def directly_behind(ctx: Context, node: NodeProto) -> bool:
    """Return whether a layout node reads a recurrent layer's result, or only others of its exporter are between.

    A Reshape after another is the network's own.
    """
    graph, kind, name = ctx.graph, op(node), node.input[0]
    while kind in _RESHAPES or kind == "Transpose":
        i = graph.producer.get(name)
        if i is None or {kind, graph.kinds[i]} <= _RESHAPES:
            return False
        kind, name = graph.kinds[i], (*graph.operands[i], "")[0]
    return kind in RECURRENT
