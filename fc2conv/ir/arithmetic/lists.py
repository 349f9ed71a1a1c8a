"""Lists of small tensors (sequences in ONNX), as exporters write them of sizes: what is put in, and taken out again.

SequenceAt (SplitToSequence (Shape (x)), 1)      C
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from fc2conv.ir.arithmetic.numbers import Numbers
from fc2conv.ir.graph import int_attribute, op

Items = tuple[Numbers, ...]


def of_lists(node: NodeProto, operands: Sequence[Numbers | Items]) -> Numbers | Items | None:
    """Return the result of a node that makes a list of known numbers, or reads a list; None for any other node."""
    kind = op(node)
    numbers = [each for each in operands if isinstance(each, Numbers)]
    items = next((each for each in operands if isinstance(each, tuple)), ())
    try:
        if kind in ("SequenceConstruct", "SequenceEmpty"):
            return tuple(numbers)
        if kind == "SplitToSequence":
            return _split(node, *numbers)
        if kind == "SequenceLength":
            return Numbers.of(np.array(len(items)))
        if kind == "ConcatFromSequence":
            join = np.stack if int_attribute(node, "new_axis", 0) else np.concatenate
            return items[0].moved(join([each.cells for each in items], int_attribute(node, "axis", 0)))
        if kind == "SequenceAt":
            return items[numbers[0].ints()[0]]
        if kind == "SequenceInsert":
            at = numbers[1].ints()[0] if len(numbers) > 1 else len(items)
            return (*items[:at], numbers[0], *items[at:])
        if kind == "SequenceErase":
            at = numbers[0].ints()[0] % len(items) if numbers else len(items) - 1
            return (*items[:at], *items[at + 1 :])
    except (ArithmeticError, ValueError, IndexError):
        return None  # the place depends on sizes, or lies outside the list
    return None


def _split(node: NodeProto, data: Numbers, parts: Numbers | None = None) -> Items:
    axis = int_attribute(node, "axis", 0)
    length = data.cells.shape[axis]
    sizes = parts.ints() if parts is not None else [1]
    ends = np.cumsum(sizes)[:-1] if parts is not None and parts.cells.ndim else range(sizes[0], length, sizes[0])
    found = np.split(data.cells, ends, axis)
    apart = parts is None and not int_attribute(node, "keepdims", 1)
    return tuple(data.moved(np.squeeze(each, axis) if apart else each) for each in found)
