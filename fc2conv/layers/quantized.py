"""Quantized layers: QLinearMatMul, QGemm, MatMulInteger, MatMulIntegerToFloat, DynamicQuantizeMatMul, MatMulNBits.

The integers are the same before and after: a convolution sums the same products. What differs is which zero points
may vary: QLinearConv and ConvInteger (as onnxruntime has them) take one for all of the weight. A plain sum with a zero
point for each output is the difference of two of these, see `convolutions.py`. No convolution takes a weight in blocks
of a few bits (MatMulNBits); it can be expanded to floating point.
Sources: ONNX operator specification; onnxruntime's ContribOperators.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, int_attribute, label, own_op
from fc2conv.ir.schema import lacking
from fc2conv.ir.stored import Matrix, scales_of
from fc2conv.layers.floating import product
from fc2conv.layers.layer import FCLayer, Integer, QLinear, per_channel, per_output
from fc2conv.reasons import Code, Reason

_QDQ_PER_OUTPUT = 13
"""The operator set from which on DequantizeLinear takes a zero point for each output."""

_RAISED = "Raise the model to opset 13, and use --qdq then."
_SYMMETRIC = f"Quantize the weight symmetrically (zero point 0), or {_RAISED[0].lower()}{_RAISED[1:]}"
BESIDE_QDQ = frozenset((_RAISED, _SYMMETRIC))
"""Remedies that help also where --qdq was asked for: it needs a newer operator set."""


def _operands(node: NodeProto, count: int) -> list[str]:
    """Return the first `count` operands of a node, an empty name for each absent one."""
    return [*node.input, *[""] * count][:count]


def qlinear_matmul(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read QLinearMatMul(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point)."""
    _, sa, za, _, sb, zb, sy, zy = graph.nodes[index].input
    layer = product(graph.nodes[index], constants, left, 3)
    arithmetic = QLinear(sb, zb, sa, za, sy, zy) if left else QLinear(sa, za, sb, zb, sy, zy)
    return _checked(graph, constants, replace(layer, arithmetic=arithmetic))


def qgemm(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read QGemm(A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point); C is int32."""
    node = graph.nodes[index]
    _, sa, za, _, sb, zb, c, sy, zy = _operands(node, 9)
    layer = replace(product(node, constants, left, 3), bias=c or None)
    if c and constants.shape(c) != (layer.outputs,):
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), "QGemm whose C is not one constant per output")
    if not sy or layer.alpha != 1.0:
        detail = "QGemm with a floating-point result or an alpha"
        whole = all(prod(constants.shape(each) or ()) == 1 for each in (sb, zb))
        remedy = "Use --qdq." if whole or graph.opset >= _QDQ_PER_OUTPUT else _RAISED
        return lacking(graph, node, "DequantizeLinear") or Reason(Code.KIND_NOT_SUPPORTED, label(node), detail, remedy)
    return _checked(graph, constants, replace(layer, arithmetic=QLinear(sa, za, sb, zb, sy, zy)))


def matmul_integer(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read MatMulInteger(A, B, a_zero_point, b_zero_point), whose result is int32."""
    _, _, za, zb = _operands(graph.nodes[index], 4)
    return _integer(graph, constants, index, left, Integer(zb, za) if left else Integer(za, zb))


def matmul_integer_to_float(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)."""
    _, _, sa, sb, za, zb, bias = _operands(graph.nodes[index], 7)
    return _integer(graph, constants, index, left, Integer(za, zb, sa, sb), bias)


def dynamic_quantize_matmul(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read DynamicQuantizeMatMul(A, B, b_scale, b_zero_point, bias): A is floating point and quantized on the way."""
    _, _, sb, zb, bias = _operands(graph.nodes[index], 5)
    return _integer(graph, constants, index, left, Integer("", zb, "", sb, quantizes=True), bias)


def _integer(
    graph: Graph, constants: Constants, index: int, left: bool, arithmetic: Integer, bias: str = ""
) -> FCLayer | Reason:
    layer = replace(product(graph.nodes[index], constants, left), arithmetic=arithmetic)
    if bias and constants.shape(bias) != (layer.outputs,):
        return Reason(Code.KIND_NOT_SUPPORTED, label(layer.node), "a bias that is not one constant per output")
    return _checked(graph, constants, replace(layer, bias=bias or None))


def _checked(graph: Graph, constants: Constants, layer: FCLayer) -> FCLayer | Reason:
    """Return the layer if convolutions take its weight's scale and zero point and the opset has them, else a Reason."""
    name, count, arithmetic = label(layer.node), layer.outputs, layer.arithmetic
    assert isinstance(arithmetic, QLinear | Integer)
    scale, zero_point, plain = arithmetic.w_scale, arithmetic.w_zero_point, isinstance(arithmetic, Integer)
    rows = next((each for each in arithmetic.single if prod(constants.shape(each) or ()) != 1), "")
    if rows:
        return Reason(Code.KIND_NOT_SUPPORTED, name, f"{rows} has a value for each row of the input, or of the result")
    apart = [each for each in (scale, zero_point, layer.bias or "") if prod(constants.shape(each) or ()) != 1]
    if layer.groups and apart:
        return Reason(Code.WEIGHT_BATCHED, name, f"{apart[0]} has a value for each output of each matrix")
    if scale and not per_channel(constants, scale, count):
        return Reason(Code.QUANTIZED_AXIS, name, f"scale {scale}")
    splits = plain and zero_point != "" and per_output(constants, zero_point, layer.m, count)
    if zero_point and not splits and uniform(constants, zero_point) is None:
        remedy = "" if graph.opset >= _QDQ_PER_OUTPUT else _SYMMETRIC
        return Reason(Code.ZERO_POINTS_DIFFER, name, f"zero point {zero_point}", remedy)
    quantizes = ["DynamicQuantizeLinear"] if isinstance(arithmetic, Integer) and arithmetic.quantizes else []
    return lacking(graph, layer.node, *quantizes, "ConvInteger" if plain else "QLinearConv") or layer


def uniform(constants: Constants, zero_point: str) -> np.ndarray | None:
    """Return the zero point's one value, as a scalar; None where it differs between outputs or is not constant."""
    values = constants.array(zero_point) if constants.is_constant(zero_point) else None
    if values is None or not values.size or (values != values.reshape(-1)[0]).any():
        return None
    return values.reshape(-1)[0]  # type: ignore[no-any-return]


def misfit(constants: Constants, node: NodeProto) -> Reason | None:
    """Return why a scale does not fit the tensor that it quantizes; None for any other node and scale."""
    kind = own_op(node)
    shapes = [constants.shape(name) for name in node.input[:2]]
    if kind not in ("QuantizeLinear", "DequantizeLinear") or None in shapes:
        return None
    shape, scale = (tuple(each or ()) for each in shapes)
    axis, block = int_attribute(node, "axis", 1), int_attribute(node, "block_size", 0)
    if prod(scale) == 1 or not -len(shape) <= axis < len(shape):
        return None
    if scale == scales_of(shape, axis, block):
        return None
    along = f"in blocks of {block} along" if block else "along"
    detail = f"scale {node.input[1]} of shape {list(scale)} {along} dimension {axis} of {list(shape)}"
    return Reason(Code.WEIGHT_SHAPE, label(node), detail)


def matmul_nbits(graph: Graph, constants: Constants, index: int) -> FCLayer | Reason:
    """Read Y = A W^T, W[n, k] = (q[n, k] - zero_point[n, block]) * scale[n, block], one scale for each block of k."""
    node = graph.nodes[index]
    operands = [constants.array(name) if name else None for name in node.input[1:]]
    plain = all(name == "" or array is not None for name, array in zip(node.input[1:], operands, strict=True))
    *_, groups, bias = _operands(node, 6)
    bits = int_attribute(node, "bits", 4)
    if not plain:
        return Reason(Code.WEIGHT_NOT_CONSTANT, label(node), "MatMulNBits with a weight or scales that are computed")
    if groups or bits not in (2, 4, 8):
        why = "MatMulNBits with indices of groups" if groups else f"MatMulNBits of {bits} bits"
        return Reason(Code.BLOCK_QUANTIZED, label(node), why, "Export the model with a weight in floating point.")
    if wrong := _misshapen(node, operands):
        return Reason(Code.WEIGHT_SHAPE, label(node), wrong)
    if not constants.expand:
        return Reason(Code.BLOCK_QUANTIZED, label(node), "MatMulNBits")
    name = f"{node.input[1]}_expanded"
    expanded = _expanded(node, operands)
    constants.define(name, expanded)
    return FCLayer(
        node=node,
        x=node.input[0],
        weight=name,
        shape=expanded.shape,
        matrix=Matrix((-1,), (-2,)),
        k=(-1,),
        m=(-1,),
        output=node.output[0],
        bias=bias or None,
    )


def _misshapen(node: NodeProto, operands: list[np.ndarray | None]) -> str:
    """Name the first of the weight, the scales and the zero points whose number of elements N and K contradict."""
    bits, block = int_attribute(node, "bits", 4), int_attribute(node, "block_size", 32)
    if block < 1:
        return f"block_size {block}"
    rows, blocks = int_attribute(node, "N", 0), -(-int_attribute(node, "K", 0) // block)
    zeros = operands[2] if len(operands) > 2 else None
    packed = zeros is not None and zeros.dtype == np.uint8
    wanted = (blocks * -(-block * bits // 8), blocks, -(-blocks * bits // 8) if packed else blocks)
    for name, array, count in zip(node.input[1:4], operands, wanted, strict=False):
        if array is not None and array.size != rows * count:
            return f"{name} of {array.size} elements, where N, K and block_size ask for {rows * count}"
    return ""


def _expanded(node: NodeProto, operands: list[np.ndarray | None]) -> np.ndarray:
    bits, block = int_attribute(node, "bits", 4), int_attribute(node, "block_size", 32)
    rows, columns = int_attribute(node, "N", 0), int_attribute(node, "K", 0)
    blocks = -(-columns // block)
    packed, scales = operands[0], operands[1]
    assert packed is not None
    assert scales is not None
    values = _unpacked(packed.reshape(rows, -1), bits)[:, : blocks * block].reshape(rows, blocks, block)
    zero = operands[2] if len(operands) > 2 else None
    if zero is None:
        zeros = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    elif zero.dtype == np.uint8:
        zeros = _unpacked(zero.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    else:
        zeros = zero.reshape(rows, blocks).astype(np.float32)
    wide = (values.astype(np.float32) - zeros[:, :, None]) * scales.reshape(rows, blocks, 1).astype(np.float32)
    return wide.reshape(rows, blocks * block)[:, :columns].astype(scales.dtype)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Unpack the values of `bits` bits from each byte, the lowest first."""
    parts = [packed >> shift & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1)
