"""Nodes that name positions along an open axis: a proof at one size says nothing of what lies behind such a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from math import ceil, gcd

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.terms import Array, Term, digest
from fc2conv.verification.nodes import captured

MOST_ITEMS = 64
"""Up to this many items a network is run to see what lies behind a number."""
_FAR = 1 << 30
_ROUNDS = 1e-5
_DEGREE = 2
"""The degree of a polynomial that three sizes show."""

Values = Mapping[str, Term]
Pair = tuple[Term, Term]
Numbers = tuple[Array | None, Array | None]
"""The numbers that a value holds with few and with many items, None where it is no constant."""

_INDEXED = frozenset(
    "Slice Split Gather GatherND GatherElements ScatterND ScatterElements Pad TopK Trilu Compress Resize".split()
)
_BENT = frozenset("Min Max Clip Relu".split())
_COMPARED = _BENT | frozenset("Less LessOrEqual Greater GreaterOrEqual Equal".split())
"""Operators that do one thing below a number and another above it; at the number those that are bent do both."""
_STRAIGHT = _COMPARED | frozenset(
    """Shape Size Gather Concat Unsqueeze Squeeze Reshape Flatten Cast Identity Slice Expand ConstantOfShape Range
Transpose Tile Split Pad Where And Or Not If GatherND ScatterND OneHot Add Sub Neg Sum ReduceSum""".split()
)
"""Operators that give numbers which grow evenly with the sizes that they are computed from."""
_SMOOTH = frozenset("Mul MatMul Pow Reciprocal Sqrt ReduceProd ReduceMean".split())
"""Operators that give a polynomial of the sizes, a quotient or a root: a third size shows that two are not the same."""

_LAYOUT = frozenset("Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
"""Operators that give the same numbers in another layout."""
_ELEMENTS = {
    **dict.fromkeys(
        """CenterCropPad Expand Gather GatherElements GatherND Pad Reshape Resize Slice Split Squeeze Tile TopK
        Unsqueeze Upsample""".split(),
        (0,),
    ),
    "ConstantOfShape": (),
    "Range": (0, 2),
}
"""The operands whose elements are in a result, of operators that have others which say where, or how many."""


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
    elif node.op_type in ("Split", "Gather", "TopK"):
        axis = given.get("axis", [-1 if node.op_type == "TopK" else 0])[0]
        yield from ((axis % rank, n) for n in listed("k" if node.op_type == "TopK" else "split", 1))
    elif node.op_type == "Compress":
        yield -1, len(listed("", 1))
    elif node.op_type == "Trilu":
        yield from ((-1, abs(n) + 2) for n in listed("", 1))  # where the diagonal leaves the first row or column
    elif node.op_type == "Resize":
        yield from enumerate(listed("", 3))
    else:
        yield from ((-1, n) for n in listed("pads", 1))


def bends(
    nodes: Sequence[NodeProto], few: Values, many: Values, sizes: tuple[float, int, int]
) -> Iterator[tuple[str, bytes, int]]:
    """Yield results of numbers that do not grow evenly with an open size: how they are made, and from which item.

    A number that is rounded, or a remainder, may be another one at any size, and what is compared only on the other
    side. As the target of a Reshape alone it makes that fail, or shows in the shapes. `sizes` are the least that there
    is, and those that `few` and `many` are of.
    """
    known: dict[str, tuple[int, bytes]] = {}
    degrees: dict[str, int] = {}
    for node in nodes:
        names = [name for name in (*node.input, *captured(node)) if name in few and name in many]
        numbers = [(few[name].value, many[name].value) for name in names]
        gives = {name: few[name].value for name in node.output if name in few and few[name].value is not None}
        grown = [degrees.get(name, int(_depends(*each))) for name, each in zip(names, numbers, strict=True)]
        degree = _degree(node, names, grown)
        degrees |= {name: degree for name in gives if degree > 1}  # a number of degree 1 grows or does not
        bent = [known[name][0] for name in names if name in known]
        worst = max([_bent(node, numbers, [*gives.values()], sizes, sum(map(bool, grown)), bool(bent)), *bent])
        if not worst:
            continue
        if node.op_type in _LAYOUT and gives and node.input[0] in known:
            known |= dict.fromkeys(gives, known[node.input[0]])
            continue
        attributes = [a.SerializeToString(deterministic=True) for a in node.attribute]
        made = zip(names, numbers, strict=True)
        how = digest(node.op_type, attributes, [known[n][1] if n in known else _content(*each) for n, each in made])
        for i, name in enumerate(node.output):
            if name in gives:
                known[name] = worst, digest(how, i)
            elif name and node.op_type != "Reshape":
                yield name, how, worst


@dataclass(frozen=True)
class Scaled:
    """The numbers that grow with an open size by which values are scaled, and the values that several of them scale.

    Such a value is a polynomial of the size, of which a third size shows what one of degree 2 is; `values` are the
    items from which it may be another one, each with its node.
    """

    numbers: Counter[bytes]
    values: tuple[tuple[int, NodeProto], ...]


def scaled(nodes: Sequence[NodeProto], few: Values, many: Values, shared: Collection[str], third: int) -> Scaled:
    """Find what numbers that grow scale in one model, apart from values that are `shared` with the other."""
    degrees: dict[str, int] = {}
    numbers, found = Counter[bytes](), []
    for node in nodes:
        names = [name for name in (*node.input, *captured(node)) if name in few and name in many]
        made = [name for name in node.output if name in few and name not in shared]
        if not made or any(few[name].value is not None for name in made):
            continue
        pairs = [(few[name].value, many[name].value) for name in names]
        grown = [degrees.get(name, int(_depends(*each))) for name, each in zip(names, pairs, strict=True)]
        degree = _degree(node, names, grown)
        degrees |= dict.fromkeys(made, degree)
        if node.op_type not in _STRAIGHT:
            factors = [pair for name, pair in zip(names, pairs, strict=True) if name not in degrees and _depends(*pair)]
            numbers.update(_content(*(None if each is None else each.reshape(-1) for each in pair)) for pair in factors)
        if max([0, *grown]) < degree > 1:
            found.append((third if degree == _DEGREE else _FAR, node))
    return Scaled(numbers, tuple(found))


def _degree(node: NodeProto, names: Sequence[str], grown: Sequence[int]) -> int:
    """How often numbers that grow are factors of a result, where they are of its operands."""
    scales = [each for name, each in zip(names, grown, strict=True) if _in_result(node, name)]
    return (max if node.op_type in _STRAIGHT else sum)([0, *scales])


def _bent(
    node: NodeProto,
    numbers: Sequence[Numbers],
    made: Sequence[Array | None],
    sizes: tuple[float, int, int],
    grows: int,
    bent: bool,
) -> int:
    """The number of items from which a node, which reads sizes, may give another result; 0 if it never does.

    So many of its operands grow. What reads a number that is `bent` already may do so anywhere.
    """
    if not grows or not made:
        return 0
    if node.op_type in _COMPARED or (node.op_type == "Cast" and made[0] is not None and made[0].dtype.kind == "b"):
        return _FAR if bent else _crossing(node.op_type, [each for each in numbers if each[0] is not None], sizes)
    whole = node.op_type != "Cast" or all(each is None or np.array_equal(each, np.floor(each)) for each in numbers[0])
    steps = node.op_type == "Range" and not all(
        np.array_equal(1, each) for pair in numbers[2:3] for each in pair if each is not None
    )
    if (node.op_type in _STRAIGHT and whole and not steps) or (node.op_type == "Mul" and grows == 1):
        return 0
    smooth = node.op_type in _SMOOTH or (node.op_type == "Div" and len(numbers) == 2 and _divides(*numbers))
    return sizes[2] if smooth and not bent else _FAR


def _in_result(node: NodeProto, name: str) -> bool:
    """Whether elements of an operand are in the result, or scale it: those that say where or how many do not."""
    picked = _ELEMENTS.get(node.op_type)
    return picked is None or name in [node.input[i] for i in picked if i < len(node.input)] or name not in node.input


def _divides(one: Numbers, other: Numbers) -> bool:
    """Whether a quotient has no rest at two sizes that are one item apart, and so at all sizes, or is not rounded."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return all(a.dtype.kind not in "iu" or not np.any(a % np.where(b == 0, 1, b)) for a, b in pairs)


def outputs_of(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the outputs that each value of a graph is on the way to."""
    found = {name: frozenset([name]) for name in outputs}
    for node in reversed(nodes):
        there = frozenset[str]().union(*(found.get(name, frozenset()) for name in node.output))
        for name in (*node.input, *captured(node)):
            found[name] = found.get(name, frozenset()) | there
    return found


def _content(one: Array | None, other: Array | None) -> bytes:
    return digest(*(None if each is None else (each.shape, each.tolist()) for each in (one, other)))


def _depends(one: Array | None, other: Array | None) -> bool:
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
    (least, few, many), found = sizes, 0
    zero = np.zeros(1)
    for one, other in combinations(numbers if len(numbers) > 1 else [*numbers, (zero, zero)], 2):
        arrays = [np.asarray(each, np.float64) for each in (*one, *other) if each is not None]
        if len(arrays) < 4:
            return _FAR
        longer = arrays[0].shape != arrays[1].shape or arrays[2].shape != arrays[3].shape
        if longer:
            arrays = [_extremes(each) for each in arrays[:2]] + [_extremes(each)[:, None] for each in arrays[2:]]
        start, end = arrays[0] - arrays[2], arrays[1] - arrays[3]
        growth = (end - start) / (many - few)
        at = (few - start[growth != 0] / growth[growth != 0]).ravel()
        once = name in ("Equal", "Cast")  # it does something else at the number alone
        unseen = (at > least if name in _BENT else at >= least) & ((at < few) | ((at > many) & once))
        if unseen.any() and not longer:
            return _FAR
        found = max([found, *(ceil(each) for each in at if each >= many)])
    return found


def _extremes(numbers: Array) -> Array:
    return np.array([numbers.min(), numbers.max()] if numbers.size else [0.0, 0.0])
