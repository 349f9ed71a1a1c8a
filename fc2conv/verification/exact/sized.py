"""What nodes demand of sizes: those of the numbers that the model holds, of the targets of its reshapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from fc2conv.verification.exact.terms import Shape, Term


@dataclass(frozen=True)
class Demand:
    """A size as it is (0 where it is not known, as behind a kernel larger than its map) and as it must be.

    `others` are what it may be besides.
    """

    actual: int
    wanted: int
    others: tuple[int, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the size is right."""
        return self.actual == self.wanted or self.actual in self.others


_PRODUCTS = {
    **dict.fromkeys(("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "TransposeMatMul"), 1),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), 1),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), 3),
}
"""Products, with the place of the second factor."""

_CHANNELS = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), (1, 1)),
    "QLinearConv": (3, 1),
    "ConvTranspose": (1, 0),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "GroupNormalization"), (1, 0)),
}
"""Operators over dimension 1, with the place of their weight and its dimension of the same size (over the groups)."""

_FEATURES = {"LSTM": 1, "GRU": 1, "RNN": 1, "LayerNormalization": 1, "RMSNormalization": 1, "BiasGelu": 1}
"""Operators over the last dimension, with the place of a weight whose last dimension it is."""

_BROADCAST = frozenset("Add Sub Mul Div Pow Max Min Where Equal Greater Less And Or".split())


_INFERRED = frozenset(
    {*_PRODUCTS, *_CHANNELS, *_BROADCAST, "MaxPool", "AveragePool", "Concat", "Einsum", "Sum", "Mean"}
)
"""Operators whose result has no shape only where their operands contradict each other."""


def demands(term: Term) -> Iterator[Demand]:
    """Say what the node that makes a value demands of the sizes of what it reads."""
    if term.op is None:
        return
    op = term.op.name.rpartition("::")[2]
    known = [each for each in term.inputs if each is not None and each.shape is not None]
    if not known or known[0] is not term.inputs[0]:
        return
    if op in _PRODUCTS:
        yield from _product(term, _PRODUCTS[op])
    elif op in _CHANNELS:
        yield from _channels(term, *_CHANNELS[op])
    elif op in _FEATURES:
        yield from _pair(known[0], -1, _operand(term, _FEATURES[op]), -1)
    elif op == "PRelu":
        yield from _slopes(known)
    elif op in _BROADCAST:
        yield from _broadcast(known, [each.shape or () for each in known])
    elif op == "Reshape" and term.shape is None:
        yield from _reshape(term)
    elif op == "Squeeze" and term.shape is None:
        yield from _squeeze(term)
    elif op == "Split":
        yield from _split(term)
    there = [each for each in term.inputs if each is not None]
    if term.shape is None and len(known) == len(there) and term.op.name in _INFERRED:
        yield Demand(0, 1)  # as of a kernel larger than its map, or of two operands that do not fit together


def _operand(term: Term, index: int) -> Term | None:
    return term.inputs[index] if index < len(term.inputs) else None


def _held(term: Term | None) -> bool:
    """Whether the model holds the numbers of a value."""
    return term is not None and (term.constant or term.value is not None)


def _numbers(term: Term | None) -> list[int] | None:
    return None if term is None or term.value is None else [int(n) for n in term.value.reshape(-1)]


def _pair(x: Term, axis: int, weight: Term | None, own: int) -> Iterator[Demand]:
    """A dimension that must be as large as one of a weight's."""
    if weight is not None and x.shape and weight.shape and _held(weight) and not _held(x):
        wanted = weight.shape[own]
        yield Demand(x.shape[axis], wanted, (x.shape[axis],) if wanted == 1 else ())


def _product(term: Term, second: int) -> Iterator[Demand]:
    a, b = _operand(term, 0), _operand(term, second)
    if a is None or b is None or term.op is None:
        return
    turned = [bool(term.op.attributes.get(name, 0)) for name in ("transA", "transB")]
    rows = (-2 if turned[0] else -1, -1 if turned[1] else -2)
    for x, i, weight, j in ((a, rows[0], b, rows[1]), (b, rows[1], a, rows[0])):
        if x.shape and weight.shape and _held(weight) and not _held(x):
            i, j = (-1 if len(each.shape or ()) == 1 else k for each, k in ((x, i), (weight, j)))
            yield Demand(x.shape[i], weight.shape[j])
    yield from _broadcast((a, b), [(each.shape or ())[:-2] for each in (a, b)])


def _channels(term: Term, place: int, own: int) -> Iterator[Demand]:
    x, weight = _operand(term, 0), _operand(term, place)
    if x is None or weight is None or term.op is None or term.op.attributes.get("channels_last"):
        return
    groups = int(term.op.attributes.get("group", 1)) if own else 1
    if x.shape and len(x.shape) > 1 and weight.shape and len(weight.shape) > own and _held(weight):
        yield Demand(x.shape[1], weight.shape[own] * groups)


def _broadcast(terms: Sequence[Term], shapes: Sequence[Shape]) -> Iterator[Demand]:
    """Dimensions that meet others; one of size 1 is repeated."""
    for x, shape in zip(terms, shapes, strict=True):
        for other in shapes if not _held(x) else ():
            for size, wanted in zip(reversed(shape), reversed(other), strict=False):
                if wanted != 1:
                    yield Demand(size, wanted, (1,))


def _slopes(terms: Sequence[Term]) -> Iterator[Demand]:
    """Dimensions of X that its slopes have: these are repeated, and X is not."""
    shapes = [reversed(term.shape or ()) for term in terms[:2]]
    for size, wanted in zip(*shapes, strict=False) if len(shapes) == 2 else ():
        if wanted != 1:
            yield Demand(size, wanted)


def _reshape(term: Term) -> Iterator[Demand]:
    """The elements that a target has, or a multiple of them where it leaves one size open."""
    x, target = _operand(term, 0), _numbers(_operand(term, 1))
    if x is None or x.shape is None or target is None:
        return
    sizes = [x.shape[i] if size == 0 and i < len(x.shape) else size for i, size in enumerate(target)]
    wanted, actual = prod(size for size in sizes if size != -1), prod(x.shape)
    yield Demand(actual, wanted, (actual,) if -1 in sizes and wanted and actual % wanted == 0 else ())


def _squeeze(term: Term) -> Iterator[Demand]:
    assert term.op is not None
    x = _operand(term, 0)
    axes = term.op.attributes.get("axes") or _numbers(_operand(term, 1))
    if x is not None and x.shape is not None and axes is not None:
        yield from (Demand(x.shape[axis], 1) for axis in axes if -len(x.shape) <= axis < len(x.shape))


def _split(term: Term) -> Iterator[Demand]:
    assert term.op is not None
    x, parts = _operand(term, 0), term.op.attributes.get("split") or _numbers(_operand(term, 1))
    axis = int(term.op.attributes.get("axis", 0))
    if x is not None and x.shape and parts and -len(x.shape) <= axis < len(x.shape):
        yield Demand(x.shape[axis], sum(parts))
