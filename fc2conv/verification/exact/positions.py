"""Nodes that name positions along an open axis: a proof at one size says nothing of what lies behind such a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil

from onnx import NodeProto

from fc2conv.verification.exact.terms import ABSENT, Term

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
FAR = 1 << 30

Values = Mapping[str, Term]
Pair = tuple[Term, Term]

_INDEXED = frozenset(
    """Slice Split Gather GatherND GatherElements ScatterND ScatterElements Pad TopK Trilu Compress Resize
Squeeze""".split()
)


def unseen(node: NodeProto, few: Values, many: Values) -> int:
    """Return the largest position along an open axis that lies beyond both sizes, 0 where none does."""
    return max((abs(n) for n, pair in positions(node, few, many) if abs(n) >= max(pair)), default=0)


def item_of(position: int, pair: tuple[int, int], sizes: tuple[int, int]) -> int:
    """Return the item that holds a position, where an axis grows as it does between two sizes; no less than few."""
    each = (pair[1] - pair[0]) / (sizes[1] - sizes[0])
    item = sizes[0] + ceil((position - pair[0]) / each) if each > 0 else position
    return max(item, sizes[0]) if position else 0


def even(node: NodeProto, few: Values, many: Values) -> bool:
    """Whether a node is a Resize by the same factors at both sizes, and so at all."""
    shapes = [each.shape or () for pair in _pairs([node.input[0], node.output[0]], few, many) for each in pair]
    return (
        node.op_type == "Resize"
        and len({*map(len, shapes)}) == 1
        and all(before * more == many_before * after for before, many_before, after, more in zip(*shapes, strict=True))
    )


def _pairs(names: Iterable[str], few: Values, many: Values) -> list[Pair]:
    return [(few[name], many[name]) for name in names if name in few and name in many]


def positions(node: NodeProto, few: Values, many: Values) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the positions along open axes that a node names, from the end below 0, with the two sizes of the axis."""
    pairs = _pairs(node.input[:1], few, many) if node.op_type in _INDEXED and not even(node, few, many) else []
    for one, other in pairs:
        if node.op_type == "Slice" and None in (one.shape, other.shape):
            # of a shape that is not known the first axis may be open, which a negative number may be as well
            numbers = _numbers(node, few, FAR)
            yield from ((n, (FAR, FAR)) for axis, n in numbers if axis == 0 or axis > FAR // 2)
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
        value = values.get(node.input[index], ABSENT).value if index < len(node.input) else None
        return given.get(name, []) if value is None else [int(n) for n in value.reshape(-1)]

    if node.op_type == "Slice":
        starts, ends = listed("starts", 1), listed("ends", 2)
        for axis, *both in zip(listed("axes", 3) or range(len(starts)), starts, ends, strict=False):
            yield from ((axis % rank, n) for n in both if abs(n) < FAR)
    elif node.op_type == "Pad":
        pads = listed("pads", 1)
        axes = listed("axes", 3) or range(len(pads) // 2)
        yield from ((axis % rank, n) for axis, n in zip((*axes, *axes), pads, strict=False))
    elif node.op_type in ("Split", "Gather", "TopK"):
        axis = given.get("axis", [-1 if node.op_type == "TopK" else 0])[0]
        yield from ((axis % rank, n) for n in listed("k" if node.op_type == "TopK" else "split", 1))
    elif node.op_type == "Squeeze":  # without axes it is another thing where a size is 1
        yield from ((axis, 1) for axis in range(0 if listed("axes", 1) else rank))
    elif node.op_type == "Compress":
        yield -1, len(listed("", 1))
    elif node.op_type == "Trilu":
        yield from ((-1, abs(n) + 2) for n in listed("", 1))  # where the diagonal leaves the first row or column
    elif node.op_type == "Resize":
        yield from enumerate(listed("", 3))
    else:
        yield from ((-1, n) for n in listed("", 1))
