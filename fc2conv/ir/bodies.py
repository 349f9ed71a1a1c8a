"""What an If gives whose branch is known, and a Loop whose steps are: what a walk through their bodies finds.

q = If (Equal (C, 4)) <then: 2, else: Div (C, 2)>      4, where C is 8
q = Loop (2, true, 0) <q + 2>                          4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import GraphProto, NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.ir.arithmetic import Numbers
from fc2conv.ir.graph import op, subgraphs
from fc2conv.layout.axes import Size

_STEPS = 1024
"""Nodes of the steps that are walked one after the other."""


@dataclass(frozen=True)
class Known:
    """What is known of one value."""

    shape: tuple[Size, ...] | None
    numbers: Numbers | None

    @property
    def chosen(self) -> int | None:
        """The one number that it is; None where that is not known."""
        found = self.numbers
        return int(found.cells.item()) if found is not None and found.known and found.cells.size == 1 else None


_TRUE = Known((), Numbers.of(np.array(True)))
Look = Callable[[str], Known]
Walk = Callable[[str, GraphProto, Mapping[str, Known]], Sequence[Known]]
"""A walk through a body, an attribute of the node: what it finds of the results, by what is known of the inputs.

It finds nothing after too many walks.
"""


def through_bodies(node: NodeProto, look: Look, walk: Walk) -> Sequence[Known]:
    """Return what is known of the results of an If or a Loop; nothing for any other node."""
    bodies = dict(subgraphs(node))
    if op(node) == "If":
        condition = look(node.input[0]).chosen
        name = "then_branch" if condition else "else_branch"
        return () if condition is None or name not in bodies else walk(name, bodies[name], {})
    return _looped(node, bodies["body"], look, walk) if op(node) == "Loop" and "body" in bodies else ()


def _looped(node: NodeProto, body: GraphProto, look: Look, walk: Walk) -> Sequence[Known]:
    count, go = (look(name) if name else None for name in node.input[:2])
    wanted = None if count is None else count.chosen
    if count is not None and wanted is None:
        return ()
    states, names = [look(name) for name in node.input[2:]], [value.name for value in body.input]
    step, goes = 0, go or _TRUE
    while any(state.numbers for state in states) and step * max(1, len(body.node)) < _STEPS:
        if wanted is not None and step >= wanted:
            return states
        if goes.chosen is None or (go is None and not goes.chosen):
            return ()
        if not goes.chosen:
            return states
        at = Known((), Numbers.of(np.array(step)))
        found = walk("body", body, dict(zip(names, [at, goes, *states], strict=False)))
        if not found:
            return ()
        goes, *states = found
        states = states[: len(node.input) - 2]
        step += 1
    return ()
