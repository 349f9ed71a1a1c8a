"""What a node requires of the sizes of its operands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, prod

from fc2conv.dataclass import dataclass
from fc2conv.io.sizes import declared_size
from fc2conv.verification.exact.shapes import SCANS_ONE, carried
from fc2conv.verification.exact.terms import ABSENT, WINDOWS, Shape, Term


@dataclass(frozen=True)
class Requirement:
    """A size as it is (0 where it is not known, as after a kernel larger than its map) and as it must be.

    `others` are other sizes that it may have.
    """

    actual: int
    wanted: int
    others: tuple[int, ...] = ()

    @property
    def met(self) -> bool:
        return self.actual == self.wanted or self.actual in self.others


_PRODUCTS = frozenset("Gemm MatMul MatMulInteger".split())
_CHANNELS = {
    **dict.fromkeys(("Conv", "ConvInteger"), 1),
    **dict.fromkeys(("ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization"), 0),
}
"""Operators over dimension 1, with the dimension of their weight that has its size (divided by the groups)."""
_EACH_CHANNEL = 21
_FEATURES = frozenset("LSTM GRU RNN LayerNormalization RMSNormalization SimplifiedLayerNormalization".split())
"""Operators over the last dimension, whose size is that of their weight's; a weight of size 1 is repeated."""
_BROADCAST = frozenset(
    "Add Sub Mul Div Pow Mod Max Min Sum Mean Where Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor".split()
)
_INFERRED = frozenset({*_PRODUCTS, *_CHANNELS, *_BROADCAST, "MaxPool", "AveragePool", "Concat", "Einsum", "Sum"})
"""Operators whose result has an unknown shape only where their operands contradict each other."""


def requirements(term: Term) -> Iterator[Requirement]:
    """Yield what the node of a value requires of the sizes of its operands."""
    op, first = term.op.name, term.operand(0)
    if first is ABSENT or first.shape is None:
        return
    if op in _RULES:
        yield from _RULES[op](term)
    nothing = op in WINDOWS and 0 in (term.shape or ()) and 0 not in first.shape
    unknown = term.shape is None and op in _INFERRED and all(each.shape is not None for each in term.there)
    if nothing or unknown:
        yield Requirement(0, 1)  # of a kernel larger than its map, or of two operands that do not fit together


# ------------------------------------------------------------------ one rule for each kind of operator


def _shape(term: Term) -> Shape:
    return term.operand(0).shape or ()


def _second(term: Term) -> Term:
    """Return the second operand where its shape is known, else ABSENT."""
    return term.operand(1) if term.operand(1).shape is not None else ABSENT


def _product(term: Term) -> Iterator[Requirement]:
    first, second = term.operand(0), _second(term)
    if second is ABSENT:
        return
    turned = [bool(term.op.attributes.get(name, 0)) for name in ("transA", "transB")]
    rows = (-2 if turned[0] else -1, -1 if turned[1] else -2)
    for (x, i), (weight, j) in (((first, rows[0]), (second, rows[1])), ((second, rows[1]), (first, rows[0]))):
        i, j = (-1 if len(each.shape or ()) == 1 else k for each, k in ((x, i), (weight, j)))
        yield from _pair(x, i, weight, j)
    yield from _broadcast((first, second), [(each.shape or ())[:-2] for each in (first, second)])


def _over_channels(term: Term) -> Iterator[Requirement]:
    of_groups = term.op.name == "GroupNormalization" and term.op.version < _EACH_CHANNEL  # a parameter for each group
    if len(_shape(term)) > 1 and not of_groups:
        own = _CHANNELS[term.op.name]
        groups = int(term.op.attributes.get("group", 1)) if own else 1
        yield from _pair(term.operand(0), 1, _second(term), own, groups)


def _items(term: Term) -> Iterator[Requirement]:
    axis = int(term.op.attributes.get("batch_axis", 1 if term.op.name == "ReverseSequence" else 0))
    yield from _pair(term.operand(0), axis, _second(term), 0)


def _scale(term: Term) -> Iterator[Requirement]:
    axis, rank, second = int(term.op.attributes.get("axis", 1)), len(_shape(term)), _second(term)
    if len(second.shape or ()) == 1 and -rank <= axis < rank:
        yield from _pair(term.operand(0), axis, second, 0, repeats=True)


def _slope(term: Term) -> Iterator[Requirement]:
    pairs = zip(reversed(_shape(term)), reversed(_second(term).shape or ()), strict=False)
    yield from (Requirement(size, wanted) for size, wanted in pairs if wanted != 1)


def _pointwise(term: Term) -> Iterator[Requirement]:
    known = [each for each in term.there if each.shape is not None]
    yield from _broadcast(known, [each.shape or () for each in known])


def _expand(term: Term) -> Iterator[Requirement]:
    if _second(term).value is not None:
        yield from _broadcast(term.inputs[:1], [_shape(term), tuple(term.listed("shape"))])


def _reshape(term: Term) -> Iterator[Requirement]:
    if term.shape is None and _second(term).value is not None:
        yield _elements(_shape(term), term.listed("shape"))


def _squeeze(term: Term) -> Iterator[Requirement]:
    if term.shape is None:
        yield from (Requirement(size, 1) for size in _along(_shape(term), term.listed("axes")))


def _gather(term: Term) -> Iterator[Requirement]:
    if indices := term.listed("indices"):
        most, axis = max(n + 1 if n >= 0 else -n for n in indices), int(term.op.attributes.get("axis", 0))
        yield from (Requirement(size, most) for size in _along(_shape(term), [axis]) if size < most)


def _split(term: Term) -> Iterator[Requirement]:
    given = term.op.attributes
    if parts := term.listed("split"):
        yield from (Requirement(size, sum(parts)) for size in _along(_shape(term), [int(given.get("axis", 0))]))


def _blocks(term: Term) -> Iterator[Requirement]:
    """Require sides that whole blocks fill."""
    size = int(term.op.attributes.get("blocksize", 1))
    yield from (Requirement(side, ceil(side / size) * size) for side in _shape(term)[2:])


def _letters(term: Term) -> Iterator[Requirement]:
    """Require the sizes of a weight for equal letters of an Einsum; onnxruntime repeats a dimension of size 1."""
    equation = term.op.attributes.get("equation", b"").decode()
    wanted: dict[str, int] = {}
    actual: list[tuple[str, int]] = []
    for x, letters in zip(term.inputs, equation.replace(" ", "").partition("->")[0].split(","), strict=False):
        if x.shape is None:
            continue
        head, _, tail = letters.partition("...")
        sizes = [*zip(head, x.shape, strict=False), *zip(reversed(tail), reversed(x.shape), strict=False)]
        if x.foldable:
            wanted |= sizes
        else:
            actual += sizes
    yield from (Requirement(size, wanted[letter]) for letter, size in actual if wanted.get(letter, 1) != 1)


def _scanned(term: Term) -> Iterator[Requirement]:
    """Require the sizes that a Scan's body declares for what it carries, and at least one item of what it scans."""
    node, terms = term.op.node, term.inputs
    if term.op.version < SCANS_ONE:
        return
    given = {a.name: a for a in node.attribute}
    states = len(carried(node))
    for each, info in zip(terms[:states], given["body"].g.input, strict=False):
        pairs = zip(each.shape or (), info.type.tensor_type.shape.dim, strict=False)
        yield from (Requirement(size, wanted) for size, dim in pairs if (wanted := declared_size(dim)))
    axes = list(given["scan_input_axes"].ints) if "scan_input_axes" in given else [0] * len(terms[states:])
    for each, axis in zip(terms[states:], axes, strict=False):
        yield from (Requirement(min(size, 1), 1) for size in _along(each.shape or (), [axis]))


_RULES: dict[str, Callable[[Term], Iterator[Requirement]]] = {
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys(_CHANNELS, _over_channels),
    **dict.fromkeys(_FEATURES, lambda term: _pair(term.operand(0), -1, _second(term), -1, repeats=True)),
    **dict.fromkeys(_BROADCAST, _pointwise),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _scale),
    "Einsum": _letters,
    "Expand": _expand,
    "Gather": _gather,
    "GridSample": _items,
    "PRelu": _slope,
    "Reshape": _reshape,
    "ReverseSequence": _items,
    "Scan": _scanned,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
}


def _along(shape: Shape, axes: Sequence[int]) -> list[int]:
    return [shape[axis] for axis in axes if -len(shape) <= axis < len(shape)]


def _pair(x: Term, axis: int, weight: Term, own: int, times: int = 1, repeats: bool = False) -> Iterator[Requirement]:
    """Require that a dimension has the size of a weight's dimension, multiplied by `times`."""
    if x.shape and weight.shape and len(weight.shape) > own and weight.foldable and not x.foldable:
        wanted, actual = weight.shape[own] * times, x.shape[axis]
        yield Requirement(actual, wanted, (actual,) if repeats and wanted == 1 else ())


def _broadcast(terms: Sequence[Term], shapes: Sequence[Shape]) -> Iterator[Requirement]:
    """Require that dimensions that meet in a broadcast have the same size; one of size 1 is repeated."""
    for x, shape in zip(terms, shapes, strict=False):
        for other in shapes if not x.foldable else ():
            for size, wanted in zip(reversed(shape), reversed(other), strict=False):
                if wanted != 1:
                    yield Requirement(size, wanted, (1,))


def _elements(shape: Shape, target: Sequence[int]) -> Requirement:
    """Require the elements of a Reshape's target; where it leaves a size open, those of the dimensions after that."""
    sizes = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)]
    if -1 not in sizes:
        return Requirement(prod(shape), prod(sizes))
    at = sizes.index(-1)
    head, tail, actual = prod(sizes[:at]), prod(sizes[at + 1 :]), prod(shape[at + 1 :])
    if not head * tail:
        return Requirement(0, 1)  # no runtime says what is left open beside a dimension without elements
    if prod(shape) % (head * tail) == 0:
        return Requirement(actual, actual)
    return Requirement(actual, tail) if actual != tail else Requirement(prod(shape[: at + 1]), head)
