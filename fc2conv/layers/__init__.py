"""Fully connected layers: products with one constant operand, of every kind, as one type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite

import numpy as np
from onnx import NodeProto

from fc2conv.ir.constants import VARYING, Constants
from fc2conv.ir.graph import Graph, label, op, own_op
from fc2conv.ir.layer_operators import LAYER_OPERATORS, LayerOperator
from fc2conv.layers import einsum, floating, quantized
from fc2conv.layers.layer import FCLayer, Floating, Integer, QLinear
from fc2conv.layout.axes import Size
from fc2conv.reasons import Code, Reason

_LIVE = "live"
"""The key in the forms of a scope's constants for the set of values that follow from inputs."""
Handler = Callable[[Graph, Constants, int, bool], FCLayer | Reason]

HANDLERS: dict[str, Handler] = {
    "Gemm": floating.gemm,
    "MatMul": floating.matmul,
    "Einsum": einsum.einsum,
    "com.microsoft::FusedGemm": floating.gemm,
    "com.microsoft::FusedMatMul": floating.matmul,
    "com.microsoft::TransposeMatMul": floating.matmul,
    "QLinearMatMul": quantized.qlinear_matmul,
    "com.microsoft::QGemm": quantized.qgemm,
    "MatMulInteger": quantized.matmul_integer,
    "com.microsoft::MatMulIntegerToFloat": quantized.matmul_integer_to_float,
    "com.microsoft::DynamicQuantizeMatMul": quantized.dynamic_quantize_matmul,
}
"""The function that reads a node of each operator of `LAYER_OPERATORS`; `find_layer` itself reads MatMulNBits."""


def find_layer(
    graph: Graph, constants: Constants, index: int, shapes: Mapping[str, Sequence[Size]]
) -> FCLayer | Reason | None:
    """Return the layer that a node is; a Reason where it only looks like a layer; None for every other node."""
    node, kind = graph.nodes[index], graph.kinds[index]
    if kind == "com.microsoft::MatMulNBits":
        return quantized.matmul_nbits(graph, constants, index)
    if kind not in HANDLERS:
        return None
    if kind == "Einsum" and len(node.input) != 2:
        return einsum.of_other_operands(constants, node)
    operator, operands = LAYER_OPERATORS[kind], graph.operands[index]
    factors = operands[0], operands[operator.second]
    left, right = map(constants.is_constant, factors)
    if kind == "Einsum" and (left == right or not einsum.sums(node)):
        return None  # a product of activations alone, of constants alone, or of elements
    found = _refused(graph, constants, node, operator, factors) or HANDLERS[kind](graph, constants, index, left)
    if isinstance(found, Reason):
        return found
    if not (isfinite(found.beta) and _in_range(constants, found)):
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"alpha {found.alpha:g}, beta {found.beta:g}")
    if HANDLERS[kind] is not floating.matmul:
        return found
    shape = shapes.get(found.x)
    return floating.with_add(graph, constants, floating.spread(found, shape), None if shape is None else len(shape))


def _refused(
    graph: Graph, constants: Constants, node: NodeProto, operator: LayerOperator, factors: tuple[str, str]
) -> Reason | None:
    """Return why a product has no constant factor that could be a weight, for any operator; None where it has one."""
    weights = [each for each in factors if constants.is_constant(each)]
    if len(weights) == 2:
        return Reason(Code.BOTH_CONSTANT, label(node))
    if not weights:
        opened = next(filter(constants.is_overridable, factors), None)
        if opened is not None:
            return Reason(Code.WEIGHT_OVERRIDABLE, label(node), f"initializer {opened}")
        made = [each for each in factors if not _is_live(constants, each)]
        if len(made) == 1:
            return _not_computed(graph, constants, node, made[0])
        return Reason(Code.WEIGHT_NOT_CONSTANT, label(node))
    shape = constants.shape(weights[0])
    if shape is None:
        first = _unevaluated(graph, constants, weights[0])
        misfit = None if first is None else quantized.misfit(constants, first)
        return misfit or Reason(
            Code.WEIGHT_CHAIN, label(node), "" if first is None else f"by {label(first)} ({op(first)})"
        )
    batched = any(size != 1 for size in shape[:-2]) and operator.matrices
    unfit = not shape or (operator.matrices and len(shape) != 2)
    for code, wrong in ((Code.WEIGHT_BATCHED, batched), (Code.NO_ELEMENTS, 0 in shape), (Code.WEIGHT_SHAPE, unfit)):
        if wrong:
            return Reason(code, label(node), f"weight of shape {list(shape)}")
    if weights[0] == factors[0] and not operator.either:
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"{node.op_type} with a constant A")
    return None


def _not_computed(graph: Graph, constants: Constants, node: NodeProto, weight: str) -> Reason:
    """Return why a weight made of stored tensors alone is no constant.

    Either a caller may replace one of the tensors, or a node is unknown.
    """
    todo, seen, first = [weight], set[str](), ""
    while todo:
        name = todo.pop()
        if constants.is_overridable(name):
            return Reason(Code.WEIGHT_OVERRIDABLE, label(node), f"initializer {name}")
        maker = graph.made_by(name) if name not in seen and not constants.is_constant(name) else None
        seen.add(name)
        if maker is not None:
            todo += filter(None, reversed(maker.input))
            first = f"by {label(maker)} ({op(maker)})"
    remedy = "Fold the named operator with the tools that it belongs to."
    return Reason(Code.WEIGHT_CHAIN, label(node), first, remedy)


def _is_live(constants: Constants, name: str) -> bool:
    """Return whether a value follows from an input of the model, or differs on every run."""
    graph, outer = constants.graph, constants.outer
    if _LIVE not in constants.forms:
        constants.forms[_LIVE] = live = set(graph.inputs).difference(graph.initializers)
        for node, operands, results in zip(graph.nodes, graph.operands, graph.results, strict=True):
            if own_op(node) in VARYING or any(_is_live(constants, each) for each in operands):
                live.update(results)
    there = name in graph.producer or name in graph.initializers or name in graph.inputs
    return name in constants.forms[_LIVE] or (not there and outer is not None and _is_live(outer, name))


def _unevaluated(graph: Graph, constants: Constants, name: str) -> NodeProto | None:
    """Return the first node on the way to a constant that is not evaluated; None where another scope has it."""
    node = None
    while (maker := graph.made_by(name)) is not None:
        node, name = maker, next((each for each in maker.input if each and constants.shape(each) is None), "")
    return node


def _in_range(constants: Constants, layer: FCLayer) -> bool:
    """Return whether alpha times each weight is finite in the weight's type, where the weight itself is finite."""
    array = constants.array(layer.weight) if layer.alpha != 1.0 and isfinite(layer.alpha) else None
    if array is None or array.dtype.kind != "f":
        return isfinite(layer.alpha)
    largest = max(abs(float(array.max())), abs(float(array.min())))
    return not largest < inf or largest * abs(layer.alpha) <= float(np.finfo(array.dtype).max)


__all__ = ["FCLayer", "Floating", "Integer", "QLinear", "find_layer"]
