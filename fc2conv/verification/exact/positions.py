"""Nodes that name positions along an open axis: a proof at one size says nothing of what lies behind such a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, prod

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.terms import Array, Shape, Term

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
_FAR = 1 << 30

Values = Mapping[str, Term]

_INDEXED = ("Slice", "Split", "Gather", "GatherND", "ScatterND", "Pad", "TopK")
_COMPARED = frozenset("Less LessOrEqual Greater GreaterOrEqual Equal Min Max Clip Relu".split())
"""Operators that do one thing below a number and another above it."""
_PLAIN = frozenset(
    """Shape Size Gather Concat Unsqueeze Squeeze Reshape Flatten Cast Identity Slice Expand ConstantOfShape Range
Transpose Tile Split Pad Resize Upsample Where And Or Not If Loop Scan GatherND ScatterND OneHot""".split()
)
"""Operators that move sizes, or take them as sizes."""


def named(node: NodeProto, few: Values, many: Values, sizes: tuple[int, int]) -> int:
    """Return the number of items at which a node may do something else than with few items, 0 where there is none.

    `few` and `many` are the values of the model with so many items as `sizes` says: an axis whose sizes are not the
    same is open.
    """
    return max(
        _indexed(node, few, many, sizes), _of_sizes(node, few, many, sizes), sizes[0] if _stops(node, few, many) else 0
    )


def unseen(node: NodeProto, few: Values, many: Values) -> int:
    """Return the largest position along an open axis that lies beyond both sizes, 0 where none does."""
    return max((n for n, pair in _positions(node, few, many) if n >= max(pair)), default=0)


def _indexed(node: NodeProto, few: Values, many: Values, sizes: tuple[int, int]) -> int:
    """The item that holds the largest index along an open axis."""
    return max((_item(n, pair, sizes) for n, pair in _positions(node, few, many)), default=0)


def _item(position: int, pair: tuple[int, int], sizes: tuple[int, int]) -> int:
    """The item that holds a position, where each has as many elements of the axis; else the position itself."""
    elements = pair[0] // sizes[0]
    return ceil(position / elements) if elements and pair == (elements * sizes[0], elements * sizes[1]) else position


def _positions(node: NodeProto, few: Values, many: Values) -> Iterator[tuple[int, tuple[int, int]]]:
    """The positions along open axes that a node names, each with the two sizes of its axis."""
    if not node.input or node.op_type not in _INDEXED:
        return
    one, other = few.get(node.input[0]), many.get(node.input[0])
    opened = _opened(one, other)
    if not opened or one is None or other is None or one.shape is None or other.shape is None:
        return
    pairs = {axis: (one.shape[axis], other.shape[axis]) for axis in opened}
    for axis, n in _numbers(node, few, len(one.shape)):
        if axis in opened or axis < 0:
            yield abs(n), pairs.get(axis, min(pairs.values(), key=max))


def _opened(one: Term | None, other: Term | None) -> set[int]:
    """The axes whose sizes are not the same."""
    if one is None or other is None or one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return set()
    return {axis for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b}


def _numbers(node: NodeProto, values: Values, rank: int) -> Iterator[tuple[int, int]]:
    """The positions that a node names, each with its axis, -1 where that is not looked at."""
    given = {a.name: list(a.ints) or [a.i] for a in node.attribute}

    def listed(name: str, index: int) -> list[int]:
        term = values.get(node.input[index]) if index < len(node.input) and node.input[index] else None
        if term is not None and term.value is not None:
            return [int(n) for n in term.value.reshape(-1)]
        return given.get(name, [])

    if node.op_type == "Slice":
        starts, ends = listed("starts", 1), listed("ends", 2)
        axes = listed("axes", 3) or list(range(len(starts)))
        for axis, start, end in zip(axes, starts, ends, strict=False):
            yield from ((axis % rank, n) for n in (start, end) if abs(n) < _FAR)
    elif node.op_type in ("Split", "Gather"):
        axis = given.get("axis", [0])[0] % rank
        yield from ((axis, n) for n in listed("split", 1))
    else:
        yield from ((-1, n) for n in listed("pads", 1))


def _stops(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a node runs with few items, and not with many."""
    pairs = [(few[name], many[name]) for name in node.output if name in few and name in many]
    return any(one.shape is not None and other.shape is None for one, other in pairs)


def frozen(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a Reshape takes a number of items for that of an open axis: it fails, or moves the axis, with others."""
    names = node.input[0] if node.input else "", node.output[0]
    if node.op_type != "Reshape" or not all(name in side for name in names for side in (few, many)):
        return False
    before, behind = ([side[name].shape for side in (few, many)] for name in names)
    return _stops(node, few, many) or _outer(*before) != _outer(*behind)


def _outer(one: Shape | None, other: Shape | None) -> int:
    """How often an open axis comes: the product of the sizes before it; 0 where there is none, or it is not known."""
    if one is None or other is None or len(one) != len(other):
        return 0
    axis = next((axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)
    return 0 if axis is None else prod(one[:axis])


def _of_sizes(node: NodeProto, few: Values, many: Values, sizes: tuple[int, int]) -> int:
    """Where a node that computes with sizes does something else: it compares them, or brings them among the data."""
    pairs = [(few[name], many[name]) for name in node.input if name in few and name in many]
    numbers = [(one.value, other.value) for one, other in pairs]
    if node.op_type in _PLAIN or not any(_depends(*each) for each in numbers):
        return 0
    if node.op_type in _COMPARED:
        return _crossing([each for each in numbers if each[0] is not None], sizes)
    known = all(side[name].value is not None for side in (few, many) for name in node.output if name in side)
    return 0 if known and node.op_type not in ("Div", "Mod") else sizes[0]


def _depends(one: Array | None, other: Array | None) -> bool:
    """Whether known numbers are others with more items."""
    return one is not None and (other is None or one.shape != other.shape or bool((one != other).any()))


def _crossing(numbers: list[tuple[Array | None, Array | None]], sizes: tuple[int, int]) -> int:
    """The number of items at which one operand passes another, if each grows as it does between the two sizes."""
    few, many = sizes
    if any(other is None for _, other in numbers):
        return _FAR
    ends = [[_extremes(one), _extremes(other)] for one, other in numbers]
    if len(ends) < 2:
        ends.append([(0.0, 0.0), (0.0, 0.0)])
    found = 0
    for i, (one, later) in enumerate(ends):
        for other, other_later in ends[i + 1 :]:
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                start, end = one[a] - other[b], later[a] - other_later[b]
                if (start > 0) == (end > 0) and (start < 0) == (end < 0):
                    growth = (end - start) / (many - few)
                    at = few - start / growth if growth else 0.0
                    found = max(found, ceil(at) if at > many else 0)
                else:
                    found = max(found, many - 1)
    return found


def _extremes(array: Array | None) -> tuple[float, float]:
    assert array is not None
    numbers = np.asarray(array, np.float64)
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
