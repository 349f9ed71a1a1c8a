"""MatMulNBits: a weight in blocks of a few bits each, which no convolution takes; it can be expanded to floating point.

Source: onnxruntime's ContribOperators, MatMulNBits.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, int_attribute, label
from fc2conv.ir.stored import Matrix
from fc2conv.layers.layer import FCLayer
from fc2conv.reasons import Code, Reason


def matmul_nbits(graph: Graph, constants: Constants, index: int) -> FCLayer | Reason:
    """Y = A W^T, W[n, k] = (q[n, k] - zero_point[n, block]) * scale[n, block], with a block of k for each scale."""
    node = graph.nodes[index]
    operands = [constants.array(name) if name else None for name in node.input[1:]]
    plain = all(name == "" or array is not None for name, array in zip(node.input[1:], operands, strict=True))
    unusual = len(node.input) > 4 and node.input[4] != ""
    bits = int_attribute(node, "bits", 4)
    if not plain:
        return Reason(Code.WEIGHT_NOT_CONSTANT, label(node), "MatMulNBits with a weight or scales that are computed")
    if unusual or bits not in (2, 4, 8):
        why = f"MatMulNBits of {bits} bits" if not unusual else "MatMulNBits with indices of groups"
        return Reason(Code.BLOCK_QUANTIZED, label(node), why, "Export the model with a weight in floating point.")
    if not constants.expand:
        return Reason(Code.BLOCK_QUANTIZED, label(node), "MatMulNBits")
    name = f"{node.input[1]}_expanded"
    constants.define(name, _expanded(node, operands))
    bias = node.input[5] if len(node.input) > 5 and node.input[5] else None
    return FCLayer(
        node=node,
        x=node.input[0],
        weight=name,
        matrix=Matrix((-1,), (-2,)),
        k=(-1,),
        m=(-1,),
        output=node.output[0],
        bias=bias,
    )


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
    """The values of a few bits in each byte, the lowest first."""
    parts = [packed >> shift & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1)
