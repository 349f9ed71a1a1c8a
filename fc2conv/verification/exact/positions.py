"""Nodes that name positions along an open axis: a proof at one size says nothing of what lies behind such a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import NodeProto

from fc2conv.verification.exact.terms import Term

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
_FAR = 1 << 30

Values = Mapping[str, Term]


def named(node: NodeProto, small: Values, large: Values) -> int:
    """Return the largest position along an open axis that a node names, 0 where it names none.

    `small` and `large` are the values of the model with fewer and with more items: an axis whose sizes are not the same
    is open.
    """
    return max((n for n, _ in _opened(node, small, large)), default=0)


def unseen(node: NodeProto, small: Values, large: Values) -> int:
    """Return the largest position along an open axis that lies beyond both sizes, 0 where none does."""
    return max((n for n, size in _opened(node, small, large) if n >= size), default=0)


def _opened(node: NodeProto, small: Values, large: Values) -> Iterator[tuple[int, int]]:
    """The positions along open axes that a node names, each with the larger size of its axis."""
    if not node.input or node.op_type not in ("Slice", "Split", "Gather", "GatherND", "ScatterND", "Pad", "TopK"):
        return
    few, many = small.get(node.input[0]), large.get(node.input[0])
    if few is None or many is None or few.shape is None or many.shape is None or len(few.shape) != len(many.shape):
        return
    opened = {axis: max(a, b) for axis, (a, b) in enumerate(zip(few.shape, many.shape, strict=True)) if a != b}
    for axis, n in _numbers(node, small, len(few.shape)) if opened else ():
        if axis in opened or axis < 0:
            yield abs(n), opened.get(axis, min(opened.values()))


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
