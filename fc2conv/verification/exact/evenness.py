"""Numbers that are computed from sizes, and whether they grow evenly with these: then two sizes show all others.

A number that may change at other sizes has a `Bend`, and what is made of it a `Use`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from math import ceil, gcd

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.terms import Array, Term, digest
from fc2conv.verification.nodes import captured

FAR = 10**9
"""A number that no axis reaches. A Slice that ends there has no end; tf2onnx writes this very number."""
_ROUNDS = 1e-5
_WIDE = 4
"""Bytes of a type that can represent all possible sizes."""

Values = Mapping[str, Term]
Pair = tuple[Term, Term]
Numbers = tuple[Array | None, Array | None]
"""The numbers of a value with few and with many items; None where it is no constant."""
Items = tuple[float, int, int]
"""The least number of items that is possible, and both at which models are walked."""

BENT = frozenset("Min Max Clip Relu".split())
_COMPARED = BENT | frozenset("Less LessOrEqual Greater GreaterOrEqual Equal".split())
"""Operators that do one thing below a number and another above it; those of `BENT` do both at the number."""
STRAIGHT = _COMPARED | frozenset(
    """Shape Size Gather Concat Unsqueeze Squeeze Reshape Flatten Cast Identity Slice Expand ConstantOfShape Range
Transpose Tile Split Pad Where And Or Not If GatherND ScatterND OneHot Add Sub Neg Sum ReduceSum SequenceAt
SequenceLength""".split()
)
"""Operators whose numbers grow evenly with the sizes that they are computed from."""
_SAYS_WHERE = {
    **dict.fromkeys("Gather GatherND Slice Split SequenceAt".split(), slice(1, None)),
    "OneHot": slice(2),
    "ScatterND": slice(1, 2),
}
"""Their operands that say which elements are picked, or where: an index that grows may come to any element."""
_SMOOTH = frozenset("Mul MatMul Pow Reciprocal Sqrt ReduceProd ReduceMean ReduceSum".split())
"""Operators that give a polynomial of the sizes, a quotient or a root: a third size shows where two differ."""
_ROUNDED = frozenset("Reciprocal Sqrt ReduceMean".split())
"""Operators of these that round their results of integers."""


@dataclass(frozen=True)
class Twice:
    """A node that is walked with few items and with many, with the values of both walks."""

    node: NodeProto
    few: Values
    many: Values

    def pairs(self, names: Iterable[str]) -> list[Pair]:
        """Return the values of these names at both sizes."""
        return [(self.few[name], self.many[name]) for name in names if name in self.few and name in self.many]

    @cached_property
    def names(self) -> list[str]:
        """What the node reads."""
        read = (*self.node.input, *captured(self.node))
        return [name for name in read if name in self.few and name in self.many]

    @cached_property
    def numbers(self) -> list[Numbers]:
        """The numbers of what it reads."""
        return [(one.value, other.value) for one, other in self.pairs(self.names)]

    @cached_property
    def gives(self) -> list[str]:
        """Its results that are numbers."""
        return [name for name in self.node.output if name in self.few and self.few[name].value is not None]

    def of(self, name: str) -> Numbers:
        """Return the numbers of a value that the node reads."""
        return self.numbers[self.names.index(name)]


def bent(at: Twice, sizes: Items, grows: int, behind: bool) -> int:
    """Return the number of items from which a node that reads sizes may change what it does; 0 if it never does.

    A number below 0 says that this happens with fewer items than `sizes` have: with 0 fewer where it is -1. `grows` is
    the number of operands that grow. A node `behind` a number that may already have changed may change anywhere.
    """
    node, numbers, made = at.node, at.numbers, [at.few[name].value for name in at.gives]
    if not made:
        return 0
    if not grows:  # a product of more equal numbers is a power
        return FAR if node.op_type == "ReduceProd" and longer(numbers) else 0
    if node.op_type in _COMPARED or (node.op_type == "Cast" and made[0] is not None and made[0].dtype.kind == "b"):
        read = [each for each in (*numbers, *_limits(node)) if each[0] is not None]
        return FAR if behind else crossing(node.op_type, read, sizes)
    if node.op_type == "Range" and not behind and (ends := crossing("Less", numbers[:2], sizes)):
        return ends  # it has no element below 0 steps
    if node.op_type in STRAIGHT and _even(node, numbers, made, behind):
        return 0
    if node.op_type == "Mul" and grows == 1 and not _unsigned(made):
        return 0
    if node.op_type == "Div" and len(numbers) == 2 and not behind and _ratio(*numbers):
        return 0
    return sizes[2] if not behind and _smooth(node, numbers, made, sizes) else FAR


def _limits(node: NodeProto) -> Iterator[Numbers]:
    """Yield the bounds of a Clip that are attributes, as they are before opset 11."""
    for a in node.attribute if node.op_type == "Clip" else ():
        yield np.array(a.f), np.array(a.f)


def _even(node: NodeProto, numbers: Sequence[Numbers], made: Sequence[Array | None], behind: bool) -> bool:
    """Return whether an operator of `STRAIGHT` gives numbers that grow evenly with those that it reads."""
    kind = node.op_type
    if kind in ("Cast", "Range") and not all(
        each is None or np.array_equal(each, np.floor(each)) for pair in numbers for each in pair
    ):
        return False
    if kind == "Cast":
        fraction = behind and numbers[0][0] is not None and numbers[0][0].dtype.kind == "f"
        return (
            not fraction and not _unsigned(made) and all(each is None or each.dtype.itemsize >= _WIDE for each in made)
        )
    if kind == "Range" and not all(
        np.array_equal(1, each) for pair in numbers[2:3] for each in pair if each is not None
    ):
        return False
    picks = any(depends(*pair) for pair in numbers[_SAYS_WHERE[kind]]) if kind in _SAYS_WHERE else False
    return not picks and not _unsigned(made) and not (kind == "ReduceSum" and longer(numbers))


def _unsigned(made: Sequence[Array | None]) -> bool:
    """Return whether numbers have a type in which a difference wraps around."""
    return any(each is not None and each.dtype.kind == "u" for each in made)


def longer(numbers: Sequence[Numbers]) -> bool:
    """Return whether there are more of some numbers with more items."""
    return any(one is not None and other is not None and one.shape != other.shape for one, other in numbers)


def _smooth(
    node: NodeProto, numbers: Sequence[Numbers], made: Sequence[Array | None], sizes: tuple[float, int, int]
) -> bool:
    """Return whether a node gives a polynomial of the sizes, a quotient or a root, and does not round it."""
    whole = made[0] is None or made[0].dtype.kind in "iu"
    if _unsigned(made) or (node.op_type == "ReduceProd" and longer(numbers)):
        return False
    if node.op_type == "Pow" and whole:
        powers = [each for each in numbers[-1] if each is not None]
        return all(bool((each >= 0).all()) and np.array_equal(each, np.floor(each)) for each in powers)
    if node.op_type == "Div" and len(numbers) == 2:
        return _divides(*numbers) or _same_rest(numbers[0], numbers[1], sizes)
    return node.op_type in _SMOOTH and not (whole and node.op_type in _ROUNDED)


def _divides(one: Numbers, other: Numbers) -> bool:
    """Return whether a quotient is not rounded, or its divisor stays and leaves no rest at two sizes, and so at all."""
    exact = all(a is None or a.dtype.kind not in "iu" for a in one)
    return exact or (not depends(*other) and not any(rest.any() for _, rest in _quotients(one, other)))


def _same_rest(one: Numbers, other: Numbers, sizes: tuple[float, int, int]) -> bool:
    """Return whether a quotient by a number that stays leaves one rest at all sizes, such as (2 N + 1) / 2."""
    (few, many), (by, _), (least, *items) = one, other, sizes
    if few is None or many is None or by is None or depends(*other) or few.shape != many.shape or (by <= 0).any():
        return False
    growth, over = np.divmod(many - few, items[1] - items[0])
    positive = (growth >= 0) & (few - growth * (items[0] - least) >= 0)  # below 0 it is rounded towards 0
    return bool(positive.all()) and not over.any() and not (growth % by).any()


def _ratio(one: Numbers, other: Numbers) -> bool:
    """Return whether numbers that grow evenly have one quotient, without a rest, at both sizes, and so at all sizes."""
    found = _quotients(one, other)
    same = len(found) > 1 and np.array_equal(found[0][0], found[1][0])
    return same and not any(rest.any() for _, rest in found)


def _quotients(one: Numbers, other: Numbers) -> list[tuple[Array, Array]]:
    """Return the quotients and the rests at both sizes."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return [np.divmod(a, np.where(b == 0, 1, b)) for a, b in pairs]


def content(one: Array | None, other: Array | None) -> bytes:
    return digest(*(None if each is None else (each.shape, each.tolist()) for each in (one, other)))


def depends(one: Array | None, other: Array | None) -> bool:
    """Return whether known numbers change with more items, and are not the same numbers more often."""
    if one is None or other is None or one.ndim != other.ndim:
        return one is not None
    if not one.size or not other.size:
        return one.shape != other.shape
    if one.shape == other.shape:
        return not same_numbers(one, other)
    # in whatever order, as tokens of all items may be cut in other places
    whole = gcd(one.size, other.size)
    ordered = (np.sort(each, axis=None) for each in (one, other))
    return not _close(*map(np.repeat, ordered, (other.size // whole, one.size // whole)))


def _close(one: Array, other: Array) -> bool:
    """Return whether numbers are the same, apart from the rounding of float sums in another order."""
    if one.dtype.kind != "f" or not one.size:
        return np.array_equal(one, other)
    largest = float(np.abs(one[np.isfinite(one)]).max(initial=0))
    return np.allclose(one, other, rtol=_ROUNDS, atol=_ROUNDS * largest, equal_nan=True)


def crossing(name: str, numbers: Sequence[Numbers], sizes: Items) -> int:
    """Return the number of items at which an operand passes another, if each grows as it does between both sizes."""
    (least, few, many), found, changes = sizes, 0, set[int]()
    zero = np.zeros(1)
    for one, other in combinations(numbers if len(numbers) > 1 else [*numbers, (zero, zero)], 2):
        arrays = [np.asarray(each, np.float64) for each in (*one, *other) if each is not None]
        if len(arrays) < 4:
            return FAR
        in_number = longer((one, other))
        if in_number and depends(*one) and depends(*other):
            return FAR  # each element may pass another one at a size of its own
        if in_number:
            arrays = [_extremes(each) for each in arrays[:2]] + [_extremes(each)[:, None] for each in arrays[2:]]
        start, end = arrays[0] - arrays[2], arrays[1] - arrays[3]
        growth = (end - start) / (many - few)
        at = (few - start[growth != 0] / growth[growth != 0]).ravel()
        once = name in ("Equal", "Cast")  # it does something else at the number alone
        if not in_number:
            early = at[(at > least if name in BENT else at >= least) & (at <= few)]
            changes |= {few - ceil(each) for each in early}
            if once and (at > many).any():
                return FAR
        found = max([found, *(ceil(each) for each in at if each > few)])
    return found if not changes else FAR if found or len(changes) > 1 else -1 - changes.pop()


def _extremes(numbers: Array) -> Array:
    return np.array([numbers.min(), numbers.max()] if numbers.size else [0.0, 0.0])


def worst(items: Sequence[int]) -> int:
    """Return the last item from which a result may change; FAR where two lie before the sizes, or on both sides."""
    before, last = {item for item in items if item < 0}, max(items)
    return FAR if len(before) > (last <= 0) else last or min(items)


def same_numbers(one: Array | None, other: Array | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def partly_same(one: Array | None, other: Array | None) -> bool:
    """Return whether some of the numbers are the same at both sizes, in the same number of places or in more."""
    if one is None or other is None or one.shape != other.shape:
        return not depends(one, other)
    return bool((one == other).any())


# ------------------------------------------------------------------ what is made of them


@dataclass(frozen=True)
class Bend:
    """A number that may change at other sizes: from an item on, by `how` it is made, and `roots`, how its parts were.

    The parts are those that did not grow evenly with the sizes that they were made of.
    """

    item: int
    how: bytes
    roots: frozenset[bytes]


@dataclass(frozen=True)
class Use:
    """A use of numbers that may differ from an item on: its node, and the content of these numbers at both sizes.

    It `hides` if a number is the same at both sizes, so that they do not show what is done with another number.
    """

    item: int
    node: NodeProto
    hides: bool
    read: Sequence[bytes] = ()


Uses = dict[bytes, Use]
"""What uses one number on the way to the same outputs, by the value that is made of it."""


def one_of(bends: Sequence[Bend]) -> Bend:
    """Return what may change in a number that is one of some numbers, or is made of all."""
    first, *others = bends
    how = digest(*(each.how for each in bends)) if others else first.how
    return Bend(worst([each.item for each in bends]), how, first.roots.union(*(each.roots for each in others)))
