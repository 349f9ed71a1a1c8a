"""Sequences whose items are known: an item is a part of a split tensor or an inserted tensor, and so is a Concat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper

from fc2conv.verification.exact.terms import ABSENT, Shape, Term, number
from fc2conv.verification.nodes import integer, label

Reshaped = Callable[[Term, tuple[int, ...], str], Term]
READS = ("SequenceAt", "ConcatFromSequence", "SequenceLength")
Made = tuple[NodeProto, dict[str, Term]]
"""A node, and what it reads by name."""


def taken(node: NodeProto, operands: Sequence[Term], reshaped: Reshaped) -> Made | None:
    """Return a reader of a sequence as a node on what the sequence was made of; None where that is not known."""
    if node.op_type == "SequenceLength":
        items = None if _rounds(operands[0]) else count(operands[0])
        return None if items is None else (_node("Identity", node, ["n"]), {"n": number(np.array(items), label(node))})
    return _item(node, operands) if node.op_type == "SequenceAt" else _joined(node, operands[0], reshaped)


def count(sequence: Term) -> int | None:
    """Return the number of items of a sequence; None where it is not known."""
    split, items = _split(sequence), _items(sequence)
    return len(split[1]) if split is not None else None if items is None else len(items)


def kind_of_items(sequence: Term) -> tuple[int, Shape | None]:
    """Return type and shape of all items of a sequence, at any size of the split tensor; (0, None) if not known."""
    split, items = _split(sequence), _items(sequence)
    if split is not None:
        axis, stops = split
        whole, shape = sequence.inputs[0], [*(sequence.inputs[0].shape or ())]
        if stops != [*range(1, shape[axis] + 1)]:
            return whole.kind, None
        shape[axis : axis + 1] = [] if _apart(sequence) else [1]
        return whole.kind, tuple(shape)
    kinds = {(each.kind, each.shape) for each in items or ()}
    return kinds.pop() if len(kinds) == 1 else (0, None)


def _apart(sequence: Term) -> bool:
    """Return whether a tensor is split to items without the axis that it is split along."""
    return len(sequence.inputs) < 2 and not sequence.op.attributes.get("keepdims", 1)


def _rounds(sequence: Term) -> bool:
    """Return whether the items of a sequence have one size, except perhaps a smaller last one."""
    return sequence.op.name == "SplitToSequence" and len(sequence.inputs) > 1 and sequence.inputs[1].shape == ()


def _items(sequence: Term) -> list[Term] | None:
    """Return the tensors that were put into a sequence; None where one or its place is not known."""
    name, place = sequence.op.name, sequence.operand(2 if sequence.op.name == "SequenceInsert" else 1).value
    if name in ("SequenceConstruct", "SequenceEmpty"):
        return [*sequence.inputs]
    found = _items(sequence.operand(0)) if name in ("SequenceInsert", "SequenceErase") else None
    if found is None or (place is None and len(sequence.inputs) > (2 if name == "SequenceInsert" else 1)):
        return None
    index = len(found) - (name == "SequenceErase") if place is None else int(place.reshape(-1)[0])
    if not -len(found) <= index < len(found) + (name == "SequenceInsert"):
        return None
    if name == "SequenceInsert":
        found.insert(index, sequence.inputs[1])
    else:
        del found[index]
    return found


def _joined(node: NodeProto, sequence: Term, reshaped: Reshaped) -> Made | None:
    """Return a ConcatFromSequence as a Concat of the items, or as the tensor that was split along the same axis."""
    axis, new = (integer(node, name, 0) for name in ("axis", "new_axis"))
    whole, split = sequence.operand(0), sequence.op.attributes
    if sequence.op.name == "SplitToSequence" and not new and whole.shape is not None:
        rank = len(whole.shape)
        same = axis % rank == int(split.get("axis", 0)) % rank and not _apart(sequence)
        return (_node("Identity", node, ["x"]), {"x": whole}) if same else None
    items = _items(sequence)
    if not items or any(each.shape is None for each in items):
        return None
    given = {}
    for i, each in enumerate(items):
        shape = [*(each.shape or ())]
        shape.insert(axis % (len(shape) + 1), 1)
        given[str(i)] = reshaped(each, tuple(shape), label(node)) if new else each
    return _node("Concat", node, [*given], axis=axis), given


def _item(node: NodeProto, operands: Sequence[Term]) -> Made | None:
    sequence, place = operands[0], operands[-1].value
    if place is None or place.size != 1:
        return None
    index, items = int(place.reshape(-1)[0]), _items(sequence)
    if items is not None and -len(items) <= index < len(items):
        return _node("Identity", node, ["x"]), {"x": items[index]}
    axis, stops = _split(sequence) or (0, [])
    if not -len(stops) <= index < len(stops):
        return None
    whole, index = sequence.inputs[0], index % len(stops)
    if _apart(sequence):
        return _node("Gather", node, ["x", "i"], axis=axis), {"x": whole, "i": number(np.array(index), label(node))}
    ends = [stops[index - 1] if index else 0, stops[index], axis]
    given = {name: number(np.array([end]), label(node)) for name, end in zip("bea", ends, strict=True)}
    return _node("Slice", node, ["x", *given]), {"x": whole, **given}


def _split(sequence: Term) -> tuple[int, list[int]] | None:
    """Return the axis along which a tensor was split to a sequence, and the end of each item; None if not known."""
    whole = sequence.operand(0)
    if sequence.op.name != "SplitToSequence" or whole.shape is None:
        return None
    axis = int(sequence.op.attributes.get("axis", 0)) % len(whole.shape)
    stops = _stops(sequence, whole.shape[axis])
    return None if stops is None else (axis, stops)


def _stops(sequence: Term, size: int) -> list[int] | None:
    """Return the end of each item along the axis; None where it is not known."""
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
