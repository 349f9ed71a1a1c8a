"""Quantized layers as floating-point ones between DequantizeLinear and QuantizeLinear.

QLinearMatMul(a, b)        ->  Q(MatMul(DQ(a), DQ(b)))
QGemm(a, b, c)             ->  Q(Gemm(DQ(a), DQ(b), DQ(c)))        with the scale of a times that of b, rounded, for c
MatMulIntegerToFloat(a, b) ->  MatMul(DQ(a), DQ(b))
DynamicQuantizeMatMul(a, b) -> MatMul(DQ(DynamicQuantizeLinear(a)), DQ(b))
Mul(Cast(MatMulInteger(a, b)), a_scale * b_scale)  ->  MatMul(DQ(a), DQ(b))
Cast(MatMulInteger(a, b))  ->  MatMul(DQ(a), DQ(b))                with scales of 1

This is done to the model before it is planned, so that no other part knows of it; the layer keeps its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, float_attribute, int_attribute, label, new_node, op
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import Replaced, exchanged

Layers = frozenset[tuple[str, str]]
"""Layers by the path of their scope and their name."""

_HAS_AXIS, _DYNAMIC, _LINEAR = 13, 11, 10
_QUANTIZERS: Mapping[str, Callable[[NodeProto], tuple[str, str]]] = {
    "DynamicQuantizeLinear": lambda node: (node.output[1], node.output[2]),
    "QuantizeLinear": lambda node: (*node.input, "")[1:3],
}
"""The scale and the zero point of what a node makes."""


@dataclass(frozen=True)
class _Quantized:
    """A value as it is quantized, by names; the scale is 1 value, or one for each index of an axis."""

    value: str
    scale: str
    zero_point: str
    axis: int | None = None


class _Writer:
    """What the layers of one scope are written with."""

    def __init__(self, graph: Graph, constants: Constants, pool: Pool) -> None:
        self.graph = graph
        self.constants = constants
        self.pool = pool

    def weight(self, name: str, scale: str, zero_point: str, axis: int) -> _Quantized | None:
        """Return a constant with one scale, or one for each index of an axis; else None. A scale "" is 1."""
        if not self.constants.is_constant(name) or (scale and not self.constants.is_constant(scale)):
            return None
        shape = self.constants.shape(name)
        zeros = self.constants.shape(zero_point)
        scales = self.constants.shape(scale) if scale else zeros or ()
        if shape is None or scales is None or len(shape) != 2 or (zero_point and zeros is None):
            return None
        if max(len(scales), len(zeros or ())) > 1:
            return None  # DequantizeLinear takes none of more dimensions
        if prod(scales) == prod(zeros or ()) == 1:
            return _Quantized(name, scale or self.one(()), zero_point)
        each = (shape[axis],)
        own, zero = self._for_each(scale, each), self._for_each(zero_point, each)
        if own is None or zero is None or self.graph.opset < _HAS_AXIS:
            return None
        return _Quantized(name, own or self.one(each), zero, axis)

    def _for_each(self, name: str, shape: tuple[int, ...]) -> str | None:
        """Return a constant of this shape, or one that repeats its single value for each index; None for any other."""
        if not name or self.constants.shape(name) == shape:
            return name
        values = self.constants.array(name)
        if values is None or values.size != 1:
            return None
        return self.pool.once((name, shape), lambda: self.pool.value(np.full(shape, values.item(), values.dtype), name))

    def real(self, of: _Quantized, out: list[NodeProto], wanted: str) -> str:
        """Dequantize a value, and return the name of the real one."""
        made = self.pool.unique(f"{of.value}_real")
        inputs = [of.value, of.scale, *([of.zero_point] if of.zero_point else [])]
        out.append(new_node("DequantizeLinear", inputs, [made], self.pool.unique(f"{wanted}_real"), axis=of.axis))
        return made

    def is_one(self, name: str) -> bool:
        """Return whether a scale is one value: a constant of one, or what DynamicQuantizeLinear makes."""
        if self.constants.is_constant(name):
            return self.constants.shape(name) in ((), (1,))
        maker = self.graph.made_by(name)
        return maker is not None and op(maker) == "DynamicQuantizeLinear"

    def one(self, shape: tuple[int, ...]) -> str:
        return self.pool.once(shape, lambda: self.pool.value(np.ones(shape, np.float32), "one"))


def _qlinear_matmul(at: _Writer, node: NodeProto) -> Replaced | None:
    a, sa, za, b, sb, zb, sy, zy = node.input
    weight = at.weight(b, sb, zb, 1)
    if weight is None or not at.is_one(sa):
        return None
    return {-1: _product(at, node, _Quantized(a, sa, za), weight, (sy, zy))}


def _qgemm(at: _Writer, node: NodeProto) -> Replaced | None:
    a, sa, za, b, sb, zb, c, sy, zy = (*node.input, "", "", "")[:9]
    weight = at.weight(b, sb, zb, 0 if int_attribute(node, "transB", 0) else 1)
    scales = [at.constants.array(name) if at.constants.is_constant(name) else None for name in (sa, sb)]
    if weight is None or not at.is_one(sa) or (c and any(scale is None for scale in scales)):
        return None
    bias = None
    if c:
        if len(at.constants.shape(c) or ()) != 1:
            return None
        of_a, of_b = (np.asarray(scale).reshape(-1) for scale in scales)
        product = of_a * of_b * np.float32(float_attribute(node, "alpha", 1.0))  # which scales the bias as well
        value = product if len(product) > 1 else product.reshape(())
        bias = _Quantized(c, at.pool.value(value, f"{c}_scale"), "", 0 if value.ndim else None)
    return {-1: _product(at, node, _Quantized(a, sa, za), weight, (sy, zy), bias)}


def _to_float(at: _Writer, node: NodeProto) -> Replaced | None:
    a, b, sa, sb, za, zb, bias = (*node.input, "", "", "")[:7]
    weight = at.weight(b, sb, zb, 1)
    if weight is None or not at.is_one(sa):
        return None
    return {-1: _sum(at, node, _product(at, node, _Quantized(a, sa, za), weight), bias)}


def _dynamic(at: _Writer, node: NodeProto) -> Replaced | None:
    a, b, sb, zb, bias = (*node.input, "", "")[:5]
    weight = at.weight(b, sb, zb, 1)
    if weight is None or at.graph.opset < _DYNAMIC:
        return None
    value, scale, zero_point = (at.pool.unique(f"{a}_{part}") for part in ("quantized", "scale", "zero_point"))
    made = [value, scale, zero_point]
    first = new_node("DynamicQuantizeLinear", [a], made, at.pool.unique(f"{label(node)}_quantize"))
    return {-1: [first, *_sum(at, node, _product(at, node, _Quantized(value, scale, zero_point), weight), bias)]}


def _integer(at: _Writer, node: NodeProto) -> Replaced | None:
    """Write a MatMulInteger that a Cast takes to floating point, with the Mul after it where that has the scales."""
    a, b, za, zb = (*node.input, "", "")[:4]
    cast = at.graph.only_reader(node.output[0])
    if cast is None or op(at.graph.nodes[cast]) != "Cast" or int_attribute(at.graph.nodes[cast], "to", 0) != 1:
        return None
    if (scaled := _scaled(at, node, cast)) is not None:
        return scaled
    weight = at.weight(b, "", zb, 1)
    if weight is None or (at.constants.is_constant(za) and not at.is_one(za)):
        return None
    real = _Quantized(a, at.one(()), za)
    return {-1: [], cast: _product(at, node, real, weight, made=at.graph.nodes[cast].output[0])}


def _scaled(at: _Writer, node: NodeProto, cast: int) -> Replaced | None:
    """Write a product that a Mul multiplies by the product of its operands' scales."""
    a, b, za, zb = (*node.input, "", "")[:4]
    scaling = at.graph.only_reader(at.graph.nodes[cast].output[0])
    quantizer = at.graph.made_by(a)
    if scaling is None or op(at.graph.nodes[scaling]) != "Mul" or quantizer is None:
        return None
    mul = at.graph.nodes[scaling]
    scales = at.graph.made_by(next((name for name in mul.input if name != at.graph.nodes[cast].output[0]), ""))
    if scales is None or op(scales) != "Mul" or op(quantizer) not in _QUANTIZERS:
        return None
    sa, own = _QUANTIZERS[op(quantizer)](quantizer)
    weight = at.weight(b, next((name for name in scales.input if name != sa), sa), zb, 1)
    if sa not in scales.input or weight is None or za != own or not at.is_one(sa):
        return None
    return {-1: [], cast: [], scaling: _product(at, node, _Quantized(a, sa, za), weight, made=mul.output[0])}


def _product(
    at: _Writer,
    node: NodeProto,
    a: _Quantized,
    b: _Quantized,
    result: tuple[str, str] = ("", ""),
    bias: _Quantized | None = None,
    made: str = "",
) -> list[NodeProto]:
    """Write the layer on real values; quantize it by the scale and the zero point of a `result` that has them."""
    out: list[NodeProto] = []
    name, made = label(node), made or node.output[0]
    reads = [at.real(each, out, name) for each in (a, b, *([bias] if bias is not None else []))]
    quantized = [each for each in result if each]
    real = at.pool.unique(f"{made}_real") if quantized else made
    is_gemm = "Gemm" in node.op_type
    out.append(new_node("Gemm" if is_gemm else "MatMul", reads, [real], name))
    out[-1].attribute.extend(node.attribute if is_gemm else ())  # transA, transB, alpha
    if quantized:
        out.append(new_node("QuantizeLinear", [real, *quantized], [made], at.pool.unique(f"{name}_quantize")))
    return out


def _sum(at: _Writer, node: NodeProto, nodes: list[NodeProto], bias: str) -> list[NodeProto]:
    """Return the nodes with a bias added after the last one."""
    if not bias:
        return nodes
    made, nodes[-1].output[0] = nodes[-1].output[0], at.pool.unique(f"{node.output[0]}_product")
    return [*nodes, new_node("Add", [nodes[-1].output[0], bias], [made], at.pool.unique(f"{label(node)}_add"))]


_RULES: Mapping[str, Callable[[_Writer, NodeProto], Replaced | None]] = {
    "QLinearMatMul": _qlinear_matmul,
    "com.microsoft::QGemm": _qgemm,
    "com.microsoft::MatMulIntegerToFloat": _to_float,
    "com.microsoft::DynamicQuantizeMatMul": _dynamic,
    "MatMulInteger": _integer,
}
"""What replaces a layer and nodes beside it; -1 is the layer's own position."""


def as_qdq(file: ModelFile, left: Layers, *, freeze: bool) -> tuple[ModelFile, Layers]:
    """Write quantized layers as QDQ, but for those in `left` and for old operator sets; return the model and which."""
    written: set[tuple[str, str]] = set()

    def layers(graph: Graph, constants: Constants, pool: Pool) -> Replaced:
        replaced: Replaced = {}
        at = _Writer(graph, constants, pool)
        for index, node in enumerate(graph.nodes if graph.opset >= _LINEAR else ()):
            rule, layer = _RULES.get(op(node)), (graph.path, label(node))
            if rule is not None and layer not in left and (nodes := rule(at, node)) is not None:
                written.add(layer)
                replaced |= {index if place < 0 else place: each for place, each in nodes.items()}
        return replaced

    copy = exchanged(file, layers, freeze=freeze)
    return copy or file, frozenset(written)
