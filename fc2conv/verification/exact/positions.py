"""Nodes that name positions along an open axis: a proof at one size says nothing of what lies behind such a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import ceil, prod

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.terms import Array, Shape, Term

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
_FAR = 1 << 30

Values = Mapping[str, Term]
Pair = tuple[Term, Term]

_INDEXED = frozenset(
    "Slice Split Gather GatherND GatherElements ScatterND ScatterElements Pad TopK Trilu Compress Resize".split()
)
_MIXING = ("Reduce", "Global", "MatMul", "Gemm", "Einsum")
"""How the names of operators begin that may sum over an axis."""
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
    other = _stops(node, few, many) or _mixes(node, few, many)
    return max(_of_sizes(node, few, many, sizes), sizes[0] if other else 0)


def unseen(node: NodeProto, few: Values, many: Values) -> int:
    """Return the largest position along an open axis that lies beyond both sizes, 0 where none does."""
    return max((abs(n) for n, pair in positions(node, few, many) if abs(n) >= max(pair)), default=0)


def item_of(position: int, pair: tuple[int, int], sizes: tuple[int, int]) -> int:
    """Return the item that holds a position, where an axis grows as it does between two sizes; no less than few."""
    each = (pair[1] - pair[0]) / (sizes[1] - sizes[0])
    item = sizes[0] + ceil((position - pair[0]) / each) if each > 0 else position
    return max(item, sizes[0]) if position else 0


def _pairs(names: Iterator[str], few: Values, many: Values) -> list[Pair]:
    return [(few[name], many[name]) for name in names if name in few and name in many]


def positions(node: NodeProto, few: Values, many: Values) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the positions along open axes that a node names, from the end below 0, with the two sizes of the axis."""
    pairs = _pairs(iter(node.input[:1]), few, many) if node.op_type in _INDEXED else []
    for one, other in pairs:
        if node.op_type == "Slice" and None in (one.shape, other.shape):
            # of a shape that is not known the first axis may be open, which a negative number may be as well
            numbers = _numbers(node, few, _FAR)
            yield from ((n, (_FAR, _FAR)) for axis, n in numbers if axis == 0 or axis > _FAR // 2)
        if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
            continue
        opened = {axis: pair for axis, pair in enumerate(zip(one.shape, other.shape, strict=True)) if len({*pair}) > 1}
        for axis, n in _numbers(node, few, len(one.shape)) if opened else ():
            if axis in opened or axis < 0:
                yield n, opened.get(axis, min(opened.values(), key=max))


def _numbers(node: NodeProto, values: Values, rank: int) -> Iterator[tuple[int, int]]:
    """The positions that a node names, each with its axis, -1 where that is not looked at."""
    given = {a.name: list(a.ints) or [a.i] for a in node.attribute}

    def listed(name: str, index: int) -> list[int]:
        term = values.get(node.input[index]) if index < len(node.input) and node.input[index] else None
        known = term is not None and term.value is not None
        return [int(n) for n in term.value.reshape(-1)] if known else given.get(name, [])  # type: ignore[union-attr]

    if node.op_type == "Slice":
        starts, ends = listed("starts", 1), listed("ends", 2)
        for axis, *both in zip(listed("axes", 3) or range(len(starts)), starts, ends, strict=False):
            yield from ((axis % rank, n) for n in both if abs(n) < _FAR)
    elif node.op_type in ("Split", "Gather"):
        yield from ((given.get("axis", [0])[0] % rank, n) for n in listed("split", 1))
    elif node.op_type == "Compress":
        yield -1, len(listed("", 1))
    elif node.op_type == "Trilu":
        yield from ((-1, abs(n) + 2) for n in listed("", 1))  # where the diagonal leaves the first row or column
    elif node.op_type == "Resize":
        yield from enumerate(listed("", 3))
    else:
        yield from ((-1, n) for n in listed("pads", 1))


def _mixes(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a node sums over an open axis, whose result does not grow as its operands do, or leaves out cells."""
    if any(a.name == "strides" and max(a.ints, default=1) > 1 for a in node.attribute):
        return any(one.shape != other.shape for one, other in _pairs(iter(node.output), few, many))
    if not node.op_type.startswith(_MIXING):
        return False
    read, made = (
        [(a.size, b.size) for a, b in _pairs(iter(names), few, many) if a.shape is not None and b.shape is not None]
        for names in (node.input, node.output)
    )
    return any(a != b and a * d != b * c for a, b in read for c, d in made)


def _stops(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a node runs with few items, and not with many."""
    made = _pairs(iter(node.output), few, many)
    return any(one.shape is not None and other.shape is None for one, other in made)


def frozen(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a Reshape takes a number of items for that of an open axis: it fails, or moves the axis, with others."""
    pairs = _pairs(iter([*node.input[:1], *node.output]), few, many) if node.op_type == "Reshape" else []
    if len(pairs) < 2:
        return False
    before, behind = (_outer(one.shape, other.shape) for one, other in pairs)
    return _stops(node, few, many) or before != behind


def _outer(one: Shape | None, other: Shape | None) -> int:
    """How often an open axis comes: the product of the sizes before it; 0 where there is none, or it is not known."""
    if one is None or other is None or len(one) != len(other):
        return 0
    axis = next((axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)
    return 0 if axis is None else prod(one[:axis])


def _of_sizes(node: NodeProto, few: Values, many: Values, sizes: tuple[int, int]) -> int:
    """Where a node that computes with sizes does something else: it compares them, or brings them among the data."""
    numbers = [(one.value, other.value) for one, other in _pairs(iter(node.input), few, many)]
    if node.op_type in _PLAIN or not any(_depends(*each) for each in numbers):
        return 0
    if node.op_type in _COMPARED:
        return _crossing([each for each in numbers if each[0] is not None], sizes)
    known = all(side[name].value is not None for side in (few, many) for name in node.output if name in side)
    return 0 if known and node.op_type not in ("Div", "Mod") else sizes[0]


def _depends(one: Array | None, other: Array | None) -> bool:
    """Whether known numbers are others with more items."""
    return one is not None and (other is None or not np.array_equal(one, other))


def _crossing(numbers: list[tuple[Array | None, Array | None]], sizes: tuple[int, int]) -> int:
    """The number of items at which one operand passes another, if each grows as it does between the two sizes."""
    few, many = sizes
    if any(other is None for _, other in numbers):
        return _FAR
    ends = [[_extremes(each) for each in pair] for pair in numbers]
    found = 0
    for (one, later), (other, other_later) in combinations(ends if len(ends) > 1 else [*ends, [(0.0, 0.0)] * 2], 2):
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            start, end = one[a] - other[b], later[a] - other_later[b]
            if np.sign(start) == np.sign(end):
                growth = (end - start) / (many - few)
                at = few - start / growth if growth else 0.0
                found = max(found, ceil(at) if at > many else 0)
            else:
                found = max(found, many - 1)
    return found


def _extremes(array: Array | None) -> tuple[float, float]:
    numbers = np.zeros(1) if array is None or not array.size else np.asarray(array, np.float64)
    return float(numbers.min()), float(numbers.max())
