"""Makes onnxruntime's products of 8-bit integers exact, as ONNX defines them.

On x86-64 without VNNI, onnxruntime multiplies uint8 by int8 in pairs whose sum saturates at 16 bits, in the layer and
in the convolution at different pairs. The same product of uint8 by uint8 is exact. So an int8 operand behind a uint8
one is run as `uint8(b + 128)`, and its zero point likewise: the same integers. (onnxruntime's own remedy for this,
`session.x64quantprecision`, is one of its graph optimizations, which are off while models are compared.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from fc2conv.proof.nodes import subgraphs


@dataclass(frozen=True)
class _Places:
    """Where a product has its operands and their zero points; no place for `a`: the node makes it uint8 itself."""

    a: int | None
    a_zero: int | None
    b: int
    b_zero: int


_PRODUCTS = {
    "MatMulInteger": _Places(0, 2, 1, 3),
    "QLinearMatMul": _Places(0, 2, 3, 5),
    "QLinearConv": _Places(0, 2, 3, 5),
    "QGemm": _Places(0, 2, 3, 5),
    "MatMulIntegerToFloat": _Places(0, 4, 1, 5),
    "DynamicQuantizeMatMul": _Places(None, None, 1, 3),
}
_SAME_TYPE = frozenset(("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather",
                        "Concat", "MaxPool", "Pad", "Expand", "Split"))  # fmt: skip
_OFFSET = "fc2conv_saturation_offset"

Types = dict[str, int]


def without_saturation(graph: GraphProto) -> None:
    """Changes every product of uint8 by int8 in the graph, and in those of its nodes, to one of uint8 by uint8."""
    if _changed(graph, {}):
        graph.initializer.append(numpy_helper.from_array(np.array(128, np.int32), _OFFSET))
        graph.initializer.append(numpy_helper.from_array(np.array(128, np.uint8), f"{_OFFSET}_8"))


def _changed(graph: GraphProto, outer: Mapping[str, int]) -> bool:
    types: Types = {**outer, **{t.name: t.data_type for t in graph.initializer}}
    types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info)}
    nodes: list[NodeProto] = []
    shifted: set[str] = set()
    inside = False
    for node in graph.node:
        for each in subgraphs(node):
            inside |= _changed(each, types)
        places = _PRODUCTS.get(node.op_type)
        if places is not None and _mixed(node, places, types):
            nodes += _shifts(node, places, shifted)
        nodes.append(node)
        types |= {name: kind for name, kind in _types(node, types) if name}
    if shifted:
        del graph.node[:]
        graph.node.extend(nodes)
    return inside or bool(shifted)


def _mixed(node: NodeProto, places: _Places, types: Mapping[str, int]) -> bool:
    """Whether the node multiplies uint8 by int8."""
    held = [types.get(name, 0) for name in node.input] + [0] * 6
    first = TensorProto.UINT8 if places.a is None or places.a_zero is None else held[places.a] or held[places.a_zero]
    return first == TensorProto.UINT8 and (held[places.b] or held[places.b_zero]) == TensorProto.INT8


def _shifts(node: NodeProto, places: _Places, shifted: set[str]) -> Iterable[NodeProto]:
    """Gives the node its second operand and zero point with the offset; the nodes that add it, once for each value."""
    node.input.extend([""] * (places.b_zero + 1 - len(node.input)))
    for place in (places.b, places.b_zero):
        name = node.input[place]
        if not name:
            node.input[place] = f"{_OFFSET}_8"
            continue
        node.input[place] = f"{name}_{_OFFSET}"
        if name not in shifted:
            shifted.add(name)
            wide, moved = f"{name}_{_OFFSET}_wide", f"{name}_{_OFFSET}_moved"
            yield helper.make_node("Cast", [name], [wide], to=TensorProto.INT32)
            yield helper.make_node("Add", [wide, _OFFSET], [moved])
            yield helper.make_node("Cast", [moved], [node.input[place]], to=TensorProto.UINT8)


def _types(node: NodeProto, types: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """The element types of a node's results, where they tell of 8-bit integers."""
    if node.op_type == "DynamicQuantizeLinear":
        return [(name, TensorProto.UINT8) for name in (node.output[0], *node.output[2:])]
    if node.op_type == "QuantizeLinear":
        zero = node.input[2] if len(node.input) > 2 else ""
        return [(node.output[0], types.get(zero, 0) if zero else TensorProto.UINT8)]
    if node.op_type == "Constant":
        return [(node.output[0], a.t.data_type) for a in node.attribute if a.name == "value"]
    if node.op_type.startswith("QLinear") and len(node.input) > 7:
        return [(node.output[0], types.get(node.input[7], 0))]
    if node.op_type in _SAME_TYPE:
        return [(name, types.get(node.input[0], 0)) for name in node.output]
    return []
