"""Axes that are as long as data says, and may be empty: what a convolution cannot run over, unless it is the batch."""

from __future__ import annotations

from fc2conv.analysis.context import Context
from fc2conv.ir.graph import label, op
from fc2conv.layout.axes import Layout, axes_of

SELECT = frozenset({"NonZero", "Compress", "NonMaxSuppression", "Unique"})
"""Operators that give as many elements as there are of a kind."""


def selected(ctx: Context, layout: Layout) -> str:
    """The node that selects what one of these axes runs over; nothing where there is none."""
    seen: set[str] = set()
    values = _births(layout)
    while values:
        value = values.pop()
        node = ctx.graph.made_by(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        if op(node) in SELECT:
            return label(node)
        values += [name for each in node.input if each in ctx.views for name in _births(ctx.views[each].dims)]
    return ""


def _births(layout: Layout) -> list[str]:
    """The values at which the axes of unknown size were born; they are named after those."""
    return [axis.root.rpartition(".")[0] for axis in axes_of(layout) if not axis.size.known]
