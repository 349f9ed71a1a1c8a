"""An item of a sequence whose items are known: a part of a tensor that was split, or one of those it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, helper

from fc2conv.verification.exact.terms import ABSENT, Term, number
from fc2conv.verification.nodes import label


def item(node: NodeProto, operands: Sequence[Term]) -> tuple[NodeProto, dict[str, Term]] | None:
    """Return the node that takes an item of a sequence from what this was made of, and its operands; None of others."""
    sequence, place = operands[0], operands[-1].value
    if place is None or place.size != 1:
        return None
    index = int(place.reshape(-1)[0])
    if sequence.op.name == "SequenceConstruct" and -len(sequence.inputs) <= index < len(sequence.inputs):
        chosen = sequence.inputs[index]
        return None if chosen is ABSENT else (_node("Identity", node, ["x"]), {"x": chosen})
    whole = sequence.operand(0)
    if sequence.op.name != "SplitToSequence" or whole.shape is None:
        return None
    axis = int(sequence.op.attributes.get("axis", 0)) % len(whole.shape)
    stops = _stops(sequence, whole.shape[axis])
    if stops is None or not -len(stops) <= index < len(stops):
        return None
    index %= len(stops)
    if len(sequence.inputs) < 2 and not sequence.op.attributes.get("keepdims", 1):
        return _node("Gather", node, ["x", "i"], axis=axis), {"x": whole, "i": number(np.array(index), label(node))}
    ends = [stops[index - 1] if index else 0, stops[index], axis]
    given = {name: number(np.array([end]), label(node)) for name, end in zip("bea", ends, strict=True)}
    return _node("Slice", node, ["x", *given]), {"x": whole, **given}


def _stops(sequence: Term, size: int) -> list[int] | None:
    """Where each item ends; None where that is not known."""
    given = sequence.operand(1)
    sizes = np.array(1) if given is ABSENT else given.value
    if sizes is None:
        return None
    if sizes.ndim == 1:
        return [int(stop) for stop in np.cumsum(sizes)]
    step = int(sizes.reshape(-1)[0])
    return [min(stop + step, size) for stop in range(0, size, step)] if step > 0 else None


def _node(kind: str, node: NodeProto, names: list[str], axis: int | None = None) -> NodeProto:
    return helper.make_node(kind, names, node.output[:1], label(node), axis=axis)
