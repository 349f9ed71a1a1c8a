"""Axes as long as data says, or as a part of the batch, and maybe empty: convolutions take them as their batch."""

from __future__ import annotations

from onnx import NodeProto

from fc2conv.analysis.context import Context
from fc2conv.ir.graph import label, op
from fc2conv.layout.axes import Layout, axes_of, size_of

SELECT = frozenset({"NonZero", "Compress", "NonMaxSuppression", "Unique"})
"""Operators that select elements: their values decide the size of the result."""


def selected(ctx: Context, layout: Layout) -> str:
    """Return the node that selects what one of these axes runs over, or "" where there is no selection."""
    seen: set[str] = set()
    values = _births(layout)
    while values:
        value = values.pop()
        node = ctx.graph.made_by(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        if op(node) in SELECT or (op(node) == "Slice" and _leaves_nothing(ctx, node)):
            return label(node)
        values += [name for each in node.input if each in ctx.views for name in _births(ctx.views[each].dims)]
    return ""


def _leaves_nothing(ctx: Context, node: NodeProto) -> bool:
    """Return whether a Slice leaves nothing of a batch of one item."""
    view, starts, ends = ctx.first(node), ctx.known(node, "starts", 1), ctx.known(node, "ends", 2)
    if view is None or starts is None or ends is None or ctx.batch is None or ctx.batch.known:
        return False
    axes, steps = ctx.known(node, "axes", 3) or range(len(starts)), ctx.known(node, "steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=False):
        valid = step and -len(view.dims) <= axis < len(view.dims)
        each = size_of(view.dims[axis]).over(ctx.batch) if valid else None
        if each is not None and each.known and not range(*slice(start, end, step).indices(each.coefficient)):
            return True
    return False


def _births(layout: Layout) -> list[str]:
    """Return the values at which the axes of unknown size were born; the axes are named after these."""
    return [axis.root.rpartition(".")[0] for axis in axes_of(layout) if not axis.size.known]
