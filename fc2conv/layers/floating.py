"""Gemm, MatMul and their fused forms in floating point.

Sources: ONNX operator specification, Gemm (1, 6, 7, 9, 11, 13) and MatMul (1, 9, 13); onnxruntime's ContribOperators,
FusedGemm, FusedMatMul and TransposeMatMul.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import NodeProto

from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, attribute, float_attribute, int_attribute, label, text_attribute
from fc2conv.ir.schema import lacking, schema_of
from fc2conv.ir.stored import Matrix
from fc2conv.layers.layer import Activation, FCLayer, Floating, per_output
from fc2conv.layout.axes import Size
from fc2conv.reasons import Code, Reason


def gemm(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read Y = act(alpha * op(A) op(B) + beta * C), with a constant A (left) or B."""
    node = graph.nodes[index]
    beta = float_attribute(node, "beta", 1.0)
    activation = _activation(node, graph.opset)
    if activation is not None and (missing := lacking(graph, node, activation.op_type, least=6)):
        return missing
    c = node.input[2] if len(node.input) > 2 and beta != 0.0 else ""
    layer = replace(product(node, constants, left), arithmetic=Floating(activation), beta=beta)
    if not c:
        return layer
    if per_output(constants, c, layer.m, layer.outputs):
        return replace(layer, bias=c)
    if activation is not None:
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), "an activation of a sum with more than one value an output")
    return replace(layer, addend=c)


def _activation(node: NodeProto, opset: int) -> Activation | None:
    """Return the activation with the parameters that its operator has: runtimes ignore others."""
    if not (kind := text_attribute(node, "activation", "")):
        return None
    names = {"alpha": "activation_alpha", "beta": "activation_beta", "gamma": "activation_gamma"}
    schema = schema_of(kind, opset, "")
    taken = names.keys() & (schema.attributes if schema is not None else ())
    given = {key: a.f for key, name in names.items() if key in taken and (a := attribute(node, name)) is not None}
    return Activation(kind, given)


def matmul(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read Y = alpha * op(A) op(B) over the last two dimensions, with a constant A (left) or B of rank 1 or more."""
    node = graph.nodes[index]
    if int_attribute(node, "transBatchA", 0) or int_attribute(node, "transBatchB", 0):
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), "transBatchA or transBatchB")
    return product(node, constants, left)


def product(node: NodeProto, constants: Constants, left: bool, second: int = 1) -> FCLayer:
    """Return the layer that multiplies the operands 0 and `second`, op(A) [.., N, K] and op(B) [.., K, M]."""
    w, x = (0, second) if left else (second, 0)
    transposed = [int_attribute(node, "transA", 0), int_attribute(node, "transB", 0)]
    contracted = [-2 if transposed[0] else -1, -1 if transposed[1] else -2]
    shape = constants.shape(node.input[w]) or ()
    flat = len(shape) == 1  # one output, without a dimension of its own
    return FCLayer(
        node=node,
        x=node.input[x],
        weight=node.input[w],
        shape=shape,
        matrix=Matrix((-1,), ()) if flat else Matrix((contracted[not left],), (-3 - contracted[not left],)),
        k=(contracted[left],),
        m=() if flat else (-2 if left else -1,),
        output=node.output[0],
        alpha=float_attribute(node, "alpha", 1.0),
        groups=tuple(i for i in range(-len(shape), -2) if shape[i] != 1),
    )


def spread(layer: FCLayer, shape: Sequence[Size] | None) -> FCLayer:
    """Return a product as one with more outputs: those of all matrices that the weight has for one item of the input.

    Such dimensions have size 1 in the input, or are none of its dimensions.
    """
    if shape is None or len(shape) < 2 or not layer.groups:
        return layer
    once = tuple(i for i in layer.groups if -i <= len(shape) and shape[i] == Size(1))
    every = range(-len(layer.shape), -layer.matrix.rank)
    new = tuple(i for i in every if -i > len(shape) or i in once)
    if not new:
        return layer
    matrix = Matrix(layer.matrix.rows, (*new, *layer.matrix.outputs), tuple(i for i in every if i not in new))
    groups = tuple(i for i in layer.groups if i not in new)
    return replace(layer, matrix=matrix, m=(*new, *layer.m), groups=groups, once=once)


def with_add(graph: Graph, constants: Constants, layer: FCLayer, rank: int | None) -> FCLayer:
    """Join a MatMul with the Add of a per-output constant after it, where nothing else reads the value between."""
    name = layer.output
    reader = graph.only_reader(name)
    if reader is None or graph.opset < 7:
        return layer
    if graph.kinds[reader] != "Add" or graph.operands[reader].count(name) != 1:
        return layer
    (other,) = (each for each in graph.operands[reader] if each != name)
    shape = constants.shape(other)
    if shape is None or not per_output(constants, other, layer.m, layer.outputs):
        return layer
    # An Add whose constant has the higher rank raises the rank of the result: that is not a bias.
    if len(shape) > max(rank or 1, 1) or (not layer.m and shape):
        return layer
    return replace(layer, bias=other, output=graph.results[reader][0], absorbed=(reader,))
