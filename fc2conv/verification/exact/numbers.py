"""Numbers that are computed from open sizes: whether they grow, and where what is made of them may be another thing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import ceil, gcd

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.positions import FAR
from fc2conv.verification.exact.terms import Array, digest

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
    for axis, (few, many) in enumerate(zip(one.shape, other.shape, strict=True)):
        if few != many:
            pairs = (_once(one, other, axis, outer) for outer in range(1, gcd(few, many) + 1))
            found = next((pair for pair in pairs if pair is not None), None)
            if found is None:
                return True
            one, other = found
    return not _close(one, other)


def _once(one: Array, other: Array, axis: int, outer: int) -> tuple[Array, Array] | None:
    """Two arrays less what only comes more often along an axis, in each of `outer` parts; None where parts differ."""
    part, rest = divmod(gcd(one.shape[axis], other.shape[axis]), outer)
    if rest:
        return None
    found = []
    for each in (one, other):
        cut = each.reshape(*each.shape[:axis], outer, -1, part, *each.shape[axis + 1 :])
        found.append(cut.take([0], axis + 1))
        if not _close(cut, np.broadcast_to(found[-1], cut.shape)):
            return None
    first, second = (each.reshape(*one.shape[:axis], outer * part, *one.shape[axis + 1 :]) for each in found)
    return first, second


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
