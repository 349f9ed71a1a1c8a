"""What a model measures: nodes, parameters, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from fc2conv.diagrams.scope import Scope
from fc2conv.ir.graph import attribute, int_attribute, op
from fc2conv.ir.layer_operators import CONVOLUTIONS, LAYER_OPERATORS
from fc2conv.layout.axes import Size, nameless
from fc2conv.report.types import Figures

_SUMS = {**CONVOLUTIONS, "FusedConv": 1}
"""Convolutions, with the place of their weight: each output sums prod(weight[1:]) products."""

_UNCOUNTED = frozenset("Attention MultiHeadAttention LSTM GRU RNN DeformConv".split())
"""Further operators that multiply and are not counted here."""

_MULTIPLY = frozenset(_SUMS) | _UNCOUNTED | {"ConvTranspose"}


def figures(model: ModelProto, scopes: Mapping[str, Scope]) -> Figures:
    """Compute the figures of a model whose graphs are `scopes`; the bodies of its functions count as nodes alone.

    A size that is a symbol (the batch, mostly) counts as 1 in the multiply-accumulates, and `macs_assumed` says that
    there was one. `macs_uncounted` is the number of nodes that multiply and cannot be counted.
    """
    multiplying = [
        (n, scope)
        for scope in scopes.values()
        for n in scope.graph.node
        if op(n) in LAYER_OPERATORS or n.op_type in _MULTIPLY
    ]
    counts = [_macs(node, scope) for node, scope in multiplying]
    known = [count for count in counts if count is not None]
    functions = sum(len(function.node) for function in model.functions)
    return Figures(
        nodes=sum(len(scope.graph.node) for scope in scopes.values()) + functions,
        parameters=sum(map(_parameters, scopes.values())),
        macs=sum(count.coefficient for count in known),
        macs_assumed=any(count.symbols for count in known),
        macs_uncounted=len(counts) - len(known),
    )


def _parameters(scope: Scope) -> int:
    """Count the elements of a graph's initializers and Constant nodes, without int64, which are shapes and axes."""
    constants = [a for node in scope.graph.node if node.op_type == "Constant" if (a := attribute(node, "value"))]
    tensors: list[TensorProto] = [*scope.graph.initializer, *(a.t for a in constants)]
    return sum(prod(tensor.dims) for tensor in tensors if tensor.data_type != TensorProto.INT64)


def _macs(node: NodeProto, scope: Scope) -> Size | None:
    """Count the multiply-accumulates of one node; return None where that is not possible."""
    kind = node.op_type
    if kind in _SUMS or kind == "ConvTranspose":
        weight = scope.shape(_input(node, _SUMS.get(kind, 1)))
        each = node.output[0] if kind in _SUMS else _input(node, 0)
        return _times(scope.shape(each), weight and weight[1:])
    layer = LAYER_OPERATORS.get(op(node))
    if layer is not None and layer.counted:
        left = scope.shape(_input(node, 0))
        turned = int_attribute(node, "transA", 0) and left is not None and len(left) > 1
        return _times(scope.shape(node.output[0]), left and [left[-2 if turned else -1]])
    return None


def _times(shape: Sequence[Size] | None, factors: Sequence[Size] | None) -> Size | None:
    """Multiply the sizes of both; return None where either is not known, or the product has a size without a name."""
    if shape is None or not factors:
        return None
    found = prod([*shape, *factors], start=Size(1))
    return None if any(map(nameless, found.symbols)) else found


def _input(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""
