"""Sequences whose items are known: an item is a part of a split tensor or an inserted tensor, and so is a Concat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.terms import ABSENT, Array, Shape, Term, number
from fc2conv.verification.nodes import integer, label

Reshaped = Callable[[Term, tuple[int, ...], str], Term]
Made = Callable[..., Term]
"""What returns the result of an operator, by its name, its operands and its attributes."""
READS = ("SequenceAt", "ConcatFromSequence", "SequenceLength")


def taken(node: NodeProto, operands: Sequence[Term], made: Made, reshaped: Reshaped) -> Term | None:
    """Return what a node reads of a sequence, made of what the sequence was made of; None where that is not known."""
    if node.op_type == "SequenceLength":
        items = None if _rounds(operands[0]) else count(operands[0])
        return None if items is None else number(np.array(items), label(node))
    if node.op_type == "SequenceAt":
        return _item(operands[0], operands[-1].value, label(node), made)
    return _joined(node, operands[0], made, reshaped)


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


def _joined(node: NodeProto, sequence: Term, made: Made, reshaped: Reshaped) -> Term | None:
    """Return the Concat of all items, or the tensor that was split along the same axis."""
    axis, new = (integer(node, name, 0) for name in ("axis", "new_axis"))
    whole, split = sequence.operand(0), sequence.op.attributes
    if sequence.op.name == "SplitToSequence" and not new and whole.shape is not None:
        rank = len(whole.shape)
        same = axis % rank == int(split.get("axis", 0)) % rank and not _apart(sequence)
        return whole if same else None
    items = _items(sequence)
    if not items or any(each.shape is None for each in items):
        return None
    for i, each in enumerate(items if new else ()):
        shape = [*(each.shape or ())]
        shape.insert(axis % (len(shape) + 1), 1)
        items[i] = reshaped(each, tuple(shape), label(node))
    return made("Concat", items, axis=axis)


def _item(sequence: Term, place: Array | None, name: str, made: Made) -> Term | None:
    if place is None or place.size != 1:
        return None
    index, items = int(place.reshape(-1)[0]), _items(sequence)
    if items is not None and -len(items) <= index < len(items):
        return items[index]
    axis, stops = _split(sequence) or (0, [])
    if not -len(stops) <= index < len(stops):
        return None
    whole, index = sequence.inputs[0], index % len(stops)
    if _apart(sequence):
        return made("Gather", [whole, number(np.array(index), name)], axis=axis)
    ends = [stops[index - 1] if index else 0, stops[index], axis]
    return made("Slice", [whole, *(number(np.array([end]), name) for end in ends)])


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
