"""A layer with the constants that follow it: `scale[m] * (x . W[m]) + bias`, in float64, rounded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from fc2conv.proof import rules
from fc2conv.proof.ids import Array, Ids, constants
from fc2conv.proof.layers import Layer
from fc2conv.proof.trace import Scope
from fc2conv.proof.values import UnmodelledError, Value

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """What is done with the products of a layer: `scale` [G * M] and `bias`, which broadcasts to the layer's output."""

    scale: Wide
    bias: Array | None

    @property
    def plain(self) -> bool:
        """Whether the weight is used as it stands."""
        return bool((self.scale == 1.0).all())

    def per_output(self, layer: Layer) -> Array | None:
        """The bias as [G * M], if it depends on the layer's outputs alone."""
        if self.bias is None:
            return None
        shape = (1,) * (layer.rank - self.bias.ndim) + self.bias.shape
        others = [i for i in range(len(shape)) if i not in layer.axes]
        if any(shape[i] != 1 for i in others):
            return None
        each = self.bias.reshape(shape).transpose([*layer.axes, *others])
        sizes = [layer.shape[axis] for axis in layer.axes]
        return np.broadcast_to(each, sizes + [1] * len(others)).reshape(-1)


def own(layer: Layer) -> Affine:
    """What Gemm itself does: alpha, and beta * C where C is a constant."""
    scale = np.full(layer.outputs, layer.alpha)
    if layer.addend is None or not layer.addend.is_constant or layer.beta == 0:
        return Affine(scale, None)
    addend = layer.addend.array()
    return Affine(scale, (addend.astype(np.float64) * layer.beta).astype(addend.dtype))


def fused(scope: Scope, layer: Layer, first: str, last: NodeProto) -> Affine:
    """The layer and the Add, Sub, Mul and Div by constants that lead from `first` to `last`."""
    if layer.addend is not None and not layer.addend.is_constant and layer.beta != 0:
        raise UnmodelledError(f"{layer.label} (constants follow an addend that is none)")
    steps = _steps(scope, first, last)
    scale: Wide = np.full(layer.outputs, layer.alpha)
    bias: Wide = np.zeros(())
    if layer.addend is not None and layer.beta != 0:
        bias = layer.addend.array().astype(np.float64) * layer.beta
    for op, constant, first_operand in reversed(steps):
        number = constant.array().astype(np.float64)
        scale, bias = _applied(op, number, first_operand, scale, bias, layer)
    dtype = layer.weight.array().dtype
    return Affine(scale, bias.astype(dtype) if bias.any() else None)


def _steps(scope: Scope, first: str, last: NodeProto) -> list[tuple[str, Value, bool]]:
    """From the last to the first: the op, its constant, and whether the constant is the first operand."""
    steps: list[tuple[str, Value, bool]] = []
    node: NodeProto | None = last
    name = last.output[0]
    while name != first:
        if node is None or node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
            raise UnmodelledError(f"{name} (not made from {first} by constants)")
        left = scope.values[node.input[0]].is_constant
        constant = scope.values[node.input[0 if left else 1]]
        if not constant.is_constant:
            raise UnmodelledError(f"{name} (not made from {first} by constants)")
        steps.append((node.op_type, constant, left))
        name = node.input[1 if left else 0]
        node = scope.producer(name)
    return steps


def _applied(op: str, number: Wide, left: bool, scale: Wide, bias: Wide, layer: Layer) -> tuple[Wide, Wide]:
    if op == "Add":
        return scale, bias + number
    if op == "Sub":
        return (-scale, number - bias) if left else (scale, bias - number)
    factor = Affine(scale, number).per_output(layer)
    if factor is None or (op == "Div" and left):
        raise UnmodelledError(f"{layer.label} (followed by a {op} that is not one number per output)")
    return (scale * factor, bias * number) if op == "Mul" else (scale / factor, bias / number)


def with_bias(layer: Layer, affine: Affine, products: Ids, addend: Ids | None) -> Ids:
    """The ids of the layer's result: its products, placed, plus the bias, or plus an addend that is no constant."""
    made = layer.place(products)
    if affine.bias is not None:
        return rules.arithmetic("Add", made, constants(affine.bias))
    if addend is None:
        return made
    beta = constants(np.array(layer.beta, dtype=np.float64))
    return rules.arithmetic("Add", made, rules.arithmetic("Mul", addend, beta))
