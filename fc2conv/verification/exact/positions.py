"""What a node does with open sizes that a proof at two of them may not show.

It names a position along an open axis, of which nothing is known behind it. Or it computes a number from sizes that
does not grow evenly with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import ceil, gcd

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.terms import ABSENT, Array, Term, digest

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
FAR = 10**9
"""No axis is so long. A Slice that ends there has no end; tf2onnx writes this very number."""

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
        return _listed(node, values, name, index)

    if node.op_type == "Slice":
        yield from ((axis, n) for axis, *both in _cuts(node, values, rank) for n in both if abs(n) < FAR)
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


def _listed(node: NodeProto, values: Values, name: str, index: int) -> list[int]:
    """The integers of an attribute, or of the operand in its place."""
    value = values.get(node.input[index], ABSENT).value if index < len(node.input) else None
    if value is None:
        return next((list(a.ints) or [a.i] for a in node.attribute if a.name == name), [])
    return [int(n) for n in value.reshape(-1)]


def _cuts(node: NodeProto, values: Values, rank: int) -> list[tuple[int, int, int]]:
    """The axes that a Slice cuts, each with its start and its end."""
    starts, ends = _listed(node, values, "starts", 1), _listed(node, values, "ends", 2)
    axes = _listed(node, values, "axes", 3) or range(len(starts))
    return [(axis % rank, start, end) for axis, start, end in zip(axes, starts, ends, strict=False)]


def filled(node: NodeProto, few: Values, many: Values, sizes: tuple[float, int, int]) -> int:
    """Return the number of items behind which a result that is empty at both sizes may hold elements; 0 if never.

    A number below 0 says that it may with fewer items.
    """
    shapes = [values[node.input[0]].shape or () for values in (few, many)]
    if node.op_type != "Slice" or any(step < 0 for step in _listed(node, few, "steps", 4)):
        read = _pairs(node.input[1:] or node.input, few, many)
        return FAR if any(depends(one.value, other.value) for one, other in read) else 0
    found: list[int] = []
    cuts = (_cuts(node, values, len(shape)) for values, shape in zip((few, many), shapes, strict=True))
    for (axis, *one), (_, *other) in zip(*cuts, strict=False):
        dims = [np.array([shape[axis]]) for shape in shapes]
        both = zip(one, other, strict=True)
        start, end = ([n + size * (n < 0) for n, size in zip(pair, dims, strict=True)] for pair in both)
        asked = (
            (start, end),
            (start, dims),
            ([np.zeros(1)] * 2, end),
        )  # the first is the lesser one if there are elements
        found += [_crossing("Less", [(a[0], a[1]), (b[0], b[1])], sizes) for a, b in asked if a[1] >= b[1]]
    return max(found, key=abs) if found and all(found) else 0


# ------------------------------------------------------------------ numbers that are computed from sizes

_ROUNDS = 1e-5
_WIDE = 4
"""Bytes of a type that holds all sizes that there may be."""

Numbers = tuple[Array | None, Array | None]
"""The numbers that a value holds with few and with many items, None where it is no constant."""

_BENT = frozenset("Min Max Clip Relu".split())
_COMPARED = _BENT | frozenset("Less LessOrEqual Greater GreaterOrEqual Equal".split())
"""Operators that do one thing below a number and another above it; at the number those that are bent do both."""
STRAIGHT = _COMPARED | frozenset(
    """Shape Size Gather Concat Unsqueeze Squeeze Reshape Flatten Cast Identity Slice Expand ConstantOfShape Range
Transpose Tile Split Pad Where And Or Not If GatherND ScatterND OneHot Add Sub Neg Sum ReduceSum""".split()
)
"""Operators that give numbers which grow evenly with the sizes that they are computed from."""
_SMOOTH = frozenset("Mul MatMul Pow Reciprocal Sqrt ReduceProd ReduceMean".split())
"""Operators that give a polynomial of the sizes, a quotient or a root: a third size shows that two are not the same."""


def bent(
    node: NodeProto,
    numbers: Sequence[Numbers],
    made: Sequence[Array | None],
    sizes: tuple[float, int, int],
    grows: int,
    behind: bool,
) -> int:
    """The number of items from which a node, which reads sizes, may give another result; 0 if it never does.

    A number below 0 says that the result changes with fewer items than `sizes` have, with 0 fewer where it is -1. So
    many of its operands grow. What lies `behind` a number that may be another one already may do so anywhere.
    """
    if not grows or not made:
        return 0
    if node.op_type in _COMPARED or (node.op_type == "Cast" and made[0] is not None and made[0].dtype.kind == "b"):
        return FAR if behind else _crossing(node.op_type, [each for each in numbers if each[0] is not None], sizes)
    whole = node.op_type != "Cast" or all(each is None or np.array_equal(each, np.floor(each)) for each in numbers[0])
    whole = whole and (node.op_type != "Cast" or all(each is None or each.dtype.itemsize >= _WIDE for each in made))
    steps = node.op_type == "Range" and not all(
        np.array_equal(1, each) for pair in numbers[2:3] for each in pair if each is not None
    )
    if (node.op_type in STRAIGHT and whole and not steps) or (node.op_type == "Mul" and grows == 1):
        return 0
    smooth = node.op_type in _SMOOTH or (node.op_type == "Div" and len(numbers) == 2 and _divides(*numbers))
    return sizes[2] if smooth and not behind else FAR


def _divides(one: Numbers, other: Numbers) -> bool:
    """Whether a quotient has no rest at two sizes that are one item apart, and so at all sizes, or is not rounded."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return all(a.dtype.kind not in "iu" or not np.any(a % np.where(b == 0, 1, b)) for a, b in pairs)


def content(one: Array | None, other: Array | None) -> bytes:
    return digest(*(None if each is None else (each.shape, each.tolist()) for each in (one, other)))


def depends(one: Array | None, other: Array | None) -> bool:
    """Whether known numbers are others with more items, and not the same ones more often."""
    if one is None or other is None or one.ndim != other.ndim:
        return one is not None
    if not one.size or not other.size:
        return one.shape != other.shape
    if one.shape != other.shape:  # in whatever order, as tokens of all items may be cut in other places
        whole = gcd(one.size, other.size)
        ordered = (np.sort(each, axis=None) for each in (one, other))
        one, other = map(np.repeat, ordered, (other.size // whole, one.size // whole))
    return not _close(one, other)


def _close(one: Array, other: Array) -> bool:
    """Whether numbers are the same, apart from what sums of floats round in another order."""
    if one.dtype.kind != "f" or not one.size:
        return np.array_equal(one, other)
    return np.allclose(one, other, rtol=_ROUNDS, atol=_ROUNDS * float(np.abs(one).max()), equal_nan=True)


def _crossing(name: str, numbers: Sequence[Numbers], sizes: tuple[float, int, int]) -> int:
    """The number of items at which one operand passes another, if each grows as it does between the two sizes."""
    (least, few, many), found, changes = sizes, 0, set[int]()
    zero = np.zeros(1)
    for one, other in combinations(numbers if len(numbers) > 1 else [*numbers, (zero, zero)], 2):
        arrays = [np.asarray(each, np.float64) for each in (*one, *other) if each is not None]
        if len(arrays) < 4:
            return FAR
        longer = arrays[0].shape != arrays[1].shape or arrays[2].shape != arrays[3].shape
        if longer:
            arrays = [_extremes(each) for each in arrays[:2]] + [_extremes(each)[:, None] for each in arrays[2:]]
        start, end = arrays[0] - arrays[2], arrays[1] - arrays[3]
        growth = (end - start) / (many - few)
        at = (few - start[growth != 0] / growth[growth != 0]).ravel()
        once = name in ("Equal", "Cast")  # it does something else at the number alone
        if not longer:
            early = at[(at > least if name in _BENT else at >= least) & (at <= few)]
            changes |= {few - ceil(each) for each in early}
            if once and (at > many).any():
                return FAR
        found = max([found, *(ceil(each) for each in at if each >= many)])
    return found if not changes else FAR if found or len(changes) > 1 else -1 - changes.pop()


def _extremes(numbers: Array) -> Array:
    return np.array([numbers.min(), numbers.max()] if numbers.size else [0.0, 0.0])
