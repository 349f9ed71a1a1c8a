"""Integer products that a processor without VNNI does not compute exactly, rewritten so that it does.

There onnxruntime adds pairs of unsigned * signed bytes in 16 bits, where they saturate: in a product whose left factor
is unsigned and whose right factor is signed. For signed weights w with zero point z, w + 128 and z + 128 give the same
products, of unsigned bytes, and these are exact. So do w - 128 and z - 128 for ConvInteger, whose kernel is the left
factor. (onnxruntime: "U8S8 on AVX2", session.x64quantprecision.)
"""

from __future__ import annotations

from copy import deepcopy

from onnx import ModelProto, NodeProto, TensorProto, helper

from fc2conv.verification.nodes import element_types

_SIGNED, _UNSIGNED = TensorProto.INT8, TensorProto.UINT8
_WEIGHTS = {
    "MatMulInteger": (1, 3, _SIGNED, -1),
    "MatMulIntegerToFloat": (1, 5, _SIGNED, -1),
    "DynamicQuantizeMatMul": (1, 3, _SIGNED, -1),
    "QLinearMatMul": (3, 5, _SIGNED, 2),
    "QGemm": (3, 5, _SIGNED, 2),
    "QLinearConv": (3, 5, _SIGNED, 2),
    "ConvInteger": (1, 3, _UNSIGNED, -1),
}
"""The places of a weight and of its zero point, and the type in which products saturate.

An operator that rounds to the type of the zero point of its input, at the last place, takes a weight without a sign
only where the input has none.
"""


def make_exact(model: ModelProto) -> None:
    """Give the weights of integer products the type in which nothing saturates."""
    if not any(node.op_type in _WEIGHTS for node in model.graph.node):
        return
    kinds, made, nodes = element_types(model), set[str](), list[NodeProto]()
    for node in model.graph.node:
        place, zero, kind, of_input = _WEIGHTS.get(node.op_type, (0, 0, 0, -1))
        given = node.input[zero] if len(node.input) > zero else ""
        fits = kind and len(node.input) > max(place, of_input)
        plain = fits and (of_input < 0 or kinds.get(node.input[of_input]) == _UNSIGNED)
        if plain and kinds.get(node.input[place]) == kind and (not given or kinds.get(given) == kind):
            nodes += _shifted(node, (place, zero), kind, made)
        nodes.append(node)
    copies = [deepcopy(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _shifted(node: NodeProto, places: tuple[int, int], signed: int, made: set[str]) -> list[NodeProto]:
    """Return the nodes that move a weight and its zero point by 128, and make the node read their results."""
    step, kind = (128, _UNSIGNED) if signed == _SIGNED else (-128, _SIGNED)
    by, middle = f"fc2conv by {step}", f"fc2conv middle {step}"
    nodes: list[NodeProto] = []
    for name, of in ((by, TensorProto.INT32), (middle, kind)) if by not in made else ():
        nodes.append(helper.make_node("Constant", [], [name], value=helper.make_tensor(name, of, (), [step])))
    node.input.extend([""] * (places[1] + 1 - len(node.input)))
    for place in places:
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
