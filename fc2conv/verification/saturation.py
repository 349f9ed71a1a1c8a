"""Integer products that a processor without VNNI does not compute exactly, made ones that it does.

There onnxruntime adds pairs of unsigned * signed bytes in 16 bits, where they saturate: in a product whose left factor
is unsigned and whose right factor is signed. With signed weights w and their zero point z the products of w + 128 and
z + 128 are the same, of bytes that have no sign, and exact. So are those of ConvInteger, whose kernel is the left
factor, with w - 128 and z - 128. (onnxruntime: "U8S8 on AVX2", session.x64quantprecision.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from fc2conv.verification.nodes import subgraphs

_SIGNED, _UNSIGNED = TensorProto.INT8, TensorProto.UINT8
_LAID_OUT = frozenset(("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))


@dataclass(frozen=True)
class _Weight:
    """Where a weight and its zero point stand, and the type in which products saturate.

    Operators that round to `input_zero`'s type take a weight without a sign only where their input has none.
    """

    place: int
    zero: int
    kind: int = _SIGNED
    input_zero: int | None = None


_WEIGHTS = {
    "MatMulInteger": _Weight(1, 3),
    "MatMulIntegerToFloat": _Weight(1, 5),
    "DynamicQuantizeMatMul": _Weight(1, 3),
    "QLinearMatMul": _Weight(3, 5, input_zero=2),
    "QGemm": _Weight(3, 5, input_zero=2),
    "QLinearConv": _Weight(3, 5, input_zero=2),
    "ConvInteger": _Weight(1, 3, _UNSIGNED),
}


def make_exact(model: ModelProto) -> None:
    """Gives the weights of integer products, where those are constants, the type in which nothing saturates."""
    _in_graph(model.graph, {})


def _in_graph(graph: GraphProto, outer: Mapping[str, int]) -> None:
    kinds = {**outer, **{tensor.name: tensor.data_type for tensor in graph.initializer}}
    nodes: list[NodeProto] = []
    made: set[str] = set()
    for node in graph.node:
        for inner in subgraphs(node):
            _in_graph(inner, kinds)
        weight = _WEIGHTS.get(node.op_type)
        if weight is not None and kinds.get(node.input[weight.place]) == weight.kind:
            zero = node.input[weight.zero] if len(node.input) > weight.zero else ""
            plain = weight.input_zero is None or kinds.get(node.input[weight.input_zero]) == _UNSIGNED
            if plain and (not zero or kinds.get(zero) == weight.kind):
                nodes += _shifted(node, weight, made)
        nodes.append(node)
        kinds |= dict.fromkeys(node.output, _kind(node, kinds))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _kind(node: NodeProto, kinds: Mapping[str, int]) -> int:
    """The element type of a weight that a node holds or lays out anew; 0 for all else."""
    if node.op_type == "Constant":
        return next((a.t.data_type for a in node.attribute if a.name == "value"), 0)
    return kinds.get(node.input[0], 0) if node.op_type in _LAID_OUT and node.input else 0


def _shifted(node: NodeProto, weight: _Weight, made: set[str]) -> list[NodeProto]:
    """The nodes that move a weight and its zero point by 128, which the node then reads."""
    step, kind = (128, _UNSIGNED) if weight.kind == _SIGNED else (-128, _SIGNED)
    by, middle = f"fc2conv by {step}", f"fc2conv middle {step}"
    nodes: list[NodeProto] = []
    if by not in made:
        nodes += [_constant(by, TensorProto.INT32, step), _constant(middle, kind, step)]
    node.input.extend([""] * (weight.zero + 1 - len(node.input)))
    for place in (weight.place, weight.zero):
        old = node.input[place]
        new = f"{old} {by}" if old else middle
        if old and new not in made:
            nodes += [
                helper.make_node("Cast", [old], [f"{new} wide"], to=TensorProto.INT32),
                helper.make_node("Add", [f"{new} wide", by], [f"{new} moved"]),
                helper.make_node("Cast", [f"{new} moved"], [new], to=kind),
            ]
        node.input[place] = new
    made.update(name for each in nodes for name in each.output)
    return nodes


def _constant(name: str, kind: int, number: int) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, (), [number]))
