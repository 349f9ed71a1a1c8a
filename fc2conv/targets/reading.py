"""Reads the geometry of layers from a model: of a layer as it is, and of every convolution and product there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from onnx import NodeProto, helper

from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, float_attribute, int_attribute, label, op
from fc2conv.ir.layer_operators import CONVOLUTIONS, LAYER_OPERATORS
from fc2conv.layers import FCLayer, find_layer
from fc2conv.layout.axes import Size
from fc2conv.reasons import Code
from fc2conv.targets.legality import Geometry

Shapes = Mapping[str, Sequence[Size]]


def layer(layer: FCLayer, constants: Constants, shape: Sequence[Size] | None) -> Geometry:
    """Read a fully connected layer as it is; `shape` is that of its input."""
    node = layer.node
    plain = float_attribute(node, "alpha", 1.0) == float_attribute(node, "beta", 1.0) == 1.0
    return Geometry(
        node=label(node),
        op_type=op(node),
        kind="fc",
        inputs=prod(layer.shape[row] for row in layer.matrix.rows),
        outputs=layer.outputs,
        rank=None if shape is None else len(shape),
        batch=_batch(shape),
        type=element_type(constants, layer.weight),
        plain=plain and not int_attribute(node, "transA", 0),
    )


def element_type(constants: Constants, name: str) -> str:
    """Return the element type of a constant as NumPy calls it; "" where it is not known."""
    stored = constants.stored(name)
    return "" if stored is None else str(helper.tensor_dtype_to_np_dtype(stored.type).name)


def geometry(graph: Graph, constants: Constants, index: int, shapes: Shapes) -> Geometry | None:
    """Return a node as a target sees it; None for one that multiplies nothing, or constants alone."""
    node = graph.nodes[index]
    kind = op(node)
    if kind in CONVOLUTIONS:
        return _convolution(node, constants, shapes, CONVOLUTIONS[kind])
    if kind not in LAYER_OPERATORS:
        return None
    found = find_layer(graph, constants, index, shapes)
    if isinstance(found, FCLayer):
        return layer(found, constants, shapes.get(found.x))
    if found is None or found.code is Code.BOTH_CONSTANT:
        return None
    product = found.code is Code.WEIGHT_NOT_CONSTANT
    shape = shapes.get(node.input[0])
    rank = None if shape is None else len(shape)
    return Geometry(label(node), kind, "product" if product else "fc", rank=rank, batch=_batch(shape))


def _convolution(node: NodeProto, constants: Constants, shapes: Shapes, place: int) -> Geometry | None:
    name = node.input[place]
    known = constants.shape(name)
    weight = [Size(size) for size in known] if known is not None else shapes.get(name)
    if weight is None or len(weight) < 3:
        return None
    read = shapes.get(node.input[0])
    sizes = tuple(size.coefficient if size.known else 1 for size in weight)
    return Geometry(
        node=label(node),
        op_type=op(node),
        kind="conv",
        kernel=sizes[2:],
        inputs=sizes[1],
        outputs=sizes[0],
        groups=int_attribute(node, "group", 1),
        rank=len(weight),
        spatial=tuple(size.coefficient if size.known else None for size in (read or ())[2:]),
        batch=_batch(read),
        type=element_type(constants, name) if constants.is_constant(name) else "",
    )


def _batch(shape: Sequence[Size] | None) -> int | None:
    if not shape:
        return 1
    return shape[0].coefficient if shape[0].known else None
