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


_PRODUCTS = frozenset("Gemm MatMul MatMulInteger".split())
_CHANNELS = {
    **dict.fromkeys(("Conv", "ConvInteger"), 1),
    **dict.fromkeys(("ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization"), 0),
}
"""Operators over dimension 1, with the dimension of their weight that is as large (over the groups)."""
_FEATURES = frozenset("LSTM GRU RNN LayerNormalization RMSNormalization SimplifiedLayerNormalization".split())
"""Operators over the last dimension, which is that of their weight; a weight of size 1 is repeated."""
_BROADCAST = frozenset("Add Sub Mul Div Pow Max Min Where PRelu Equal Greater Less And Or".split())
_WINDOWS = frozenset("Conv MaxPool AveragePool".split())


def demands(term: Term) -> Iterator[Demand]:
    """Say what the node that makes a value demands of the sizes of what it reads."""
    known = [each for each in term.inputs if each is not None and each.shape is not None]
    if term.op is None or not known or known[0] is not term.inputs[0]:
        return
    op, (first, *others), given = term.op.name, known, term.op.attributes
    second = others[0] if others and others[0] is term.inputs[1] else None
    if op in _PRODUCTS and second is not None:
        turned = [bool(given.get(name, 0)) for name in ("transA", "transB")]
        rows = (-2 if turned[0] else -1, -1 if turned[1] else -2)
        for (x, i), (weight, j) in (((first, rows[0]), (second, rows[1])), ((second, rows[1]), (first, rows[0]))):
            i, j = (-1 if len(each.shape or ()) == 1 else k for each, k in ((x, i), (weight, j)))
            yield from _pair(x, i, weight, j)
    elif op in _CHANNELS and second is not None and len(first.shape or ()) > 1:
        own = _CHANNELS[op]
        yield from _pair(first, 1, second, own, int(given.get("group", 1)) if own else 1)
    elif op in _FEATURES and second is not None:
        yield from _pair(first, -1, second, -1, repeats=True)
    elif op in _BROADCAST:
        yield from _broadcast(known)
    elif op == "Reshape" and term.shape is None and second is not None and second.value is not None:
        yield _reshape(first.shape or (), [int(size) for size in second.value.reshape(-1)])
    elif op == "Squeeze" and term.shape is None:
        axes = given.get("axes") or ([] if second is None or second.value is None else second.value.reshape(-1))
        sizes = first.shape or ()
        yield from (Demand(sizes[axis], 1) for axis in axes if -len(sizes) <= axis < len(sizes))
    if op in _WINDOWS and term.shape is None:
        yield Demand(0, 1)  # a kernel larger than its map


def _pair(x: Term, axis: int, weight: Term, own: int, times: int = 1, repeats: bool = False) -> Iterator[Demand]:
    """A dimension that must be as large as one of a weight's."""
    if x.shape and weight.shape and len(weight.shape) > own and weight.held and not x.held:
        wanted, actual = weight.shape[own] * times, x.shape[axis]
        yield Demand(actual, wanted, (actual,) if repeats and wanted == 1 else ())


def _broadcast(terms: Sequence[Term]) -> Iterator[Demand]:
    """Dimensions that numbers of the model meet; one of size 1 is repeated."""
    weights = [term for term in terms if term.shape and term.held]
    for x in terms if weights else ():
        for weight in () if x.held else weights:
            for size, wanted in zip(reversed(x.shape or ()), reversed(weight.shape or ()), strict=False):
                if wanted != 1:
                    yield Demand(size, wanted, (1,))


def _reshape(shape: Shape, target: Sequence[int]) -> Demand:
    """The elements that a target has, or a multiple of them where it leaves one size open."""
    sizes = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)]
    wanted, actual = prod(size for size in sizes if size != -1), prod(shape)
    return Demand(actual, wanted, (actual,) if -1 in sizes and wanted and actual % wanted == 0 else ())
