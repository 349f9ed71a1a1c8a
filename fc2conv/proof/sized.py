"""What nodes demand of sizes: those of the numbers that the model holds, of the targets of its reshapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from fc2conv.proof.nodes import Call
from fc2conv.proof.values import UnmodelledError, Value


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

_BROADCAST = frozenset("Add Sub Mul Div Pow Max Min Where PRelu Equal Greater Less And Or".split())


def demands(call: Call, result: Value) -> Iterator[Demand]:
    """What one node demands of the sizes of what it reads."""
    op = call.node.op_type
    try:
        if op in _PRODUCTS:
            yield from _product(call, _PRODUCTS[op])
        elif op in _CHANNELS:
            yield from _channels(call, *_CHANNELS[op])
        elif op in _FEATURES:
            yield from _pair(call.data(0), -1, call.data(_FEATURES[op]), -1)
        elif op in _BROADCAST:
            yield from _broadcast([value for value in call.inputs if value is not None])
        elif op == "Reshape" and len(call.inputs) == 2:
            yield from _reshape(call)
        elif op == "Squeeze":
            yield from _squeeze(call)
    except UnmodelledError:
        return
    if result.shape is None and op in ("Conv", "MaxPool", "AveragePool") and call.data(0).shape is not None:
        yield Demand(0, 1)  # a kernel larger than its map


def _pair(x: Value, axis: int, weight: Value, own: int, factor: int = 1) -> Iterator[Demand]:
    """A dimension that must be as large as one of a weight's, times a factor."""
    if x.shape and weight.shape and weight.is_weight and not x.is_weight and len(weight.shape) > abs(own + (own < 0)):
        wanted = weight.shape[own] * factor
        yield Demand(x.shape[axis], wanted, (x.shape[axis],) if wanted == 1 and own == -1 else ())


def _product(call: Call, second: int) -> Iterator[Demand]:
    a, b = call.data(0), call.data(second)
    turned = [bool(call.attributes.get(name, 0)) for name in ("transA", "transB")]
    rows = (-2 if turned[0] else -1, -1 if turned[1] else -2)
    for x, i, weight, j in ((a, rows[0], b, rows[1]), (b, rows[1], a, rows[0])):
        if x.shape and weight.shape and weight.is_weight and not x.is_weight:
            i, j = (-1 if len(each.shape or ()) == 1 else k for each, k in ((x, i), (weight, j)))
            yield Demand(x.shape[i], weight.shape[j])


def _channels(call: Call, place: int, own: int) -> Iterator[Demand]:
    x, weight = call.data(0), call.data(place)
    groups = int(call.attributes.get("group", 1)) if own else 1
    if x.shape and len(x.shape) > 1 and weight.shape and weight.is_weight and len(weight.shape) > own:
        yield Demand(x.shape[1], weight.shape[own] * groups)


def _broadcast(values: Sequence[Value]) -> Iterator[Demand]:
    """Dimensions that numbers of the model meet; one of size 1 is repeated."""
    weights = [value for value in values if value.is_weight and value.shape]
    for x in values:
        for weight in weights if not x.is_weight and x.shape else ():
            for size, wanted in zip(reversed(x.shape or ()), reversed(weight.shape or ()), strict=False):
                if wanted != 1:
                    yield Demand(size, wanted, (1,))


def _reshape(call: Call) -> Iterator[Demand]:
    """The elements that a target has, or a multiple of them where it leaves one size open."""
    x, target = call.data(0), call.constant(1)
    if x.shape is None or target is None:
        return
    sizes = [x.shape[i] if size == 0 and i < len(x.shape) else int(size) for i, size in enumerate(target)]
    wanted, actual = prod(size for size in sizes if size != -1), prod(x.shape)
    yield Demand(actual, wanted, (actual,) if -1 in sizes and wanted and actual % wanted == 0 else ())


def _squeeze(call: Call) -> Iterator[Demand]:
    axes = call.constant(1) if len(call.inputs) > 1 else call.attributes.get("axes")
    shape = call.data(0).shape
    if shape is not None and axes is not None:
        yield from (Demand(shape[axis], 1) for axis in axes if -len(shape) <= axis < len(shape))
