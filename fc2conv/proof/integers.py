"""What quantized ops do to ids: numbers with a scale and a zero point each, wherever they stand.

Sources: the ONNX operator specification; onnxruntime's ContribOperators. An absent zero point is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fc2conv.proof import convs
from fc2conv.proof import ids as h
from fc2conv.proof.ids import Ids
from fc2conv.proof.nodes import Call
from fc2conv.proof.values import Modelled, Rule, Value

_ZERO = h.constants(np.zeros(1, dtype=np.int8))


def dynamic_quantize(call: Call) -> list[Modelled]:
    """DynamicQuantizeLinear: one scale and zero point from the least and the largest element, wherever they stand."""
    parts = (call.data(0),)

    def parameter(name: str) -> Rule:
        return lambda ids: np.asarray(h.mix(h.spread(ids[0], range(ids[0].ndim), keepdims=False) ^ h.salt(name)))

    scale, zero = parameter("dynamic scale"), parameter("dynamic zero point")
    op = h.salt("DynamicQuantizeLinear")
    quantized = Modelled(parts, lambda ids: h.ordered(op, [ids[0], scale(ids), zero(ids)]))
    return [quantized, Modelled(parts, scale), Modelled(parts, zero)]


def summed(call: Call) -> list[Modelled]:
    """ConvInteger with one kernel of ones and no zero point for it: the sums of its windows."""
    kernel, given = call.data(1), set(call.attributes) - {"kernel_shape"}
    if given or not kernel.is_constant or kernel.shape is None or kernel.shape[0] != 1 or (kernel.array() != 1).any():
        return []
    if (zero := call.constant(3)) is not None and zero.any():
        return []
    parts = tuple(value for value in (call.data(0), *call.inputs[2:3]) if value is not None)

    def rule(ids: Sequence[Ids]) -> Ids:
        seen = convs.windows(call, ids[0], kernel.shape or ())
        return seen.place(convs.sums(seen.rows[0], ids[1:]))

    return [Modelled(parts, rule)]


def _of_all(call: Call, count: int, combine: Callable[[Sequence[Ids]], Ids]) -> list[Modelled]:
    """A function of `count` operands, of which those that are absent are 0."""
    held: list[Value | None] = [*call.inputs, *[None] * count][:count]

    def rule(ids: Sequence[Ids]) -> Ids:
        rest = iter(ids)
        return combine([_ZERO if value is None else next(rest) for value in held])

    return [Modelled(tuple(value for value in held if value is not None), rule)]


def pointwise(call: Call) -> list[Modelled]:
    """QLinearAdd, QLinearMul (which commute), QLinearLeakyRelu and QLinearSigmoid: numbers, scale and zero point."""
    count, op = 8 if call.node.op_type in ("QLinearAdd", "QLinearMul") else 5, call.signature()

    def combine(made: Sequence[Ids]) -> Ids:
        inputs = [h.ordered(op, made[i : i + 3]) for i in range(0, count - 2, 3)]
        return h.ordered(op, [h.unordered(op, inputs), *made[count - 2 :]])

    return _of_all(call, count, combine)


def where(call: Call) -> list[Modelled]:
    """QLinearWhere(condition, X, x_scale, x_zero_point, Y, y_scale, y_zero_point, z_scale, z_zero_point)."""
    op = call.signature()
    return _of_all(
        call, 9, lambda made: h.ordered(op, [made[0], h.ordered(op, made[1:4]), h.ordered(op, made[4:7]), *made[7:]])
    )


def concat(call: Call) -> list[Modelled]:
    """QLinearConcat(Y_scale, Y_zero_point, then each part with its scale and zero point)."""
    axis, op = int(call.attributes["axis"]), call.signature(frozenset({"axis"}))

    def combine(made: Sequence[Ids]) -> Ids:
        parts = [h.ordered(op, [*made[i : i + 3], *made[:2]]) for i in range(2, len(made), 3)]
        return np.concatenate(parts, axis=axis)

    return _of_all(call, 2 + 3 * -(-(len(call.inputs) - 2) // 3), combine)


MODELS: dict[str, Callable[[Call], list[Modelled]]] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid"), pointwise),
    "QLinearWhere": where,
    "QLinearConcat": concat,
    "DynamicQuantizeLinear": dynamic_quantize,
    "ConvInteger": summed,
}
"""Every quantized op with a rule, apart from those that are as their kin in floating point."""
