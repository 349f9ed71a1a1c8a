"""Fully connected layers as Gemm and MatMul, with weights stored and biases added in the usual ways."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

from ..builder import QUANTIZED, Builder, Step, Value


def gemm(b: Builder, x: Value) -> Value | None:
    if x.rank != 2:
        return None
    trans_a, trans_b, outputs = int(b.chance(0.1)), int(b.chance(0.5)), 1 + b.below(8)
    rows, inner = x.shape[::-1] if trans_a else x.shape
    inputs = [x.name, stored(b, [outputs, inner] if trans_b else [inner, outputs], inner**-0.5)]
    attributes: dict[str, object] = {"transB": trans_b} if trans_b or b.chance(0.3) else {}
    attributes |= {"transA": 1} if trans_a else {}
    attributes |= {"alpha": b.pick((0.5, -1.5, 2.0, 0.0))} if b.chance(0.3) else {}
    if b.chance(0.7) or b.opset < 11:
        forms: list[list[int]] = [[outputs], [1, outputs], [1], [], [1, 1]]
        forms += [[rows, 1], [rows, outputs]] if b.chance(0.3) else []
        form = b.pick(forms)
        inputs.append(b.weight(form))
        attributes |= {"beta": b.pick((0.5, -2.0, 0.0))} if b.chance(0.3) else {}
    return b.add("Gemm", inputs, [rows, outputs], **attributes)


def matmul(b: Builder, x: Value) -> Value | None:
    if not x.rank:
        return None
    inner, outputs = x.shape[-1], 1 + b.below(8)
    y = b.add("MatMul", [x.name, _matrix(b, inner, outputs)], [*x.shape[:-1], outputs])
    return affine(b, y, outputs)


def _matrix(b: Builder, inner: int, outputs: int) -> str:
    """The weight as it is, or as a Transpose, a Reshape or an Identity of what is stored."""
    scale, form = inner**-0.5, b.below(8)
    name = f"w{len(b.nodes)}"
    if form == 0:
        b.nodes.append(helper.make_node("Transpose", [b.weight([outputs, inner], scale)], [name], perm=[1, 0]))
    elif form == 1:
        target = b.integers([inner, outputs])
        b.nodes.append(helper.make_node("Reshape", [b.weight([inner * outputs], scale), target], [name]))
    elif form == 2:
        b.nodes.append(helper.make_node("Identity", [b.weight([inner, outputs], scale)], [name]))
    else:
        return stored(b, [inner, outputs], scale)
    return name


def stored(b: Builder, shape: Sequence[int], scale: float) -> str:
    """A weight as floats, or now and then as half floats or integers of a few bits with their scales."""
    if b.chance(0.05):
        half = b.constant((b.random.standard_normal(tuple(shape)) * scale).astype(np.float16))
        return b.node("Cast", [half], to=TensorProto.FLOAT)[0]
    return quantized_weight(b, shape, scale) if b.chance(0.15) and b.opset in QUANTIZED else b.weight(shape, scale)


def quantized_weight(b: Builder, shape: Sequence[int], scale: float) -> str:
    """DequantizeLinear of integers: per tensor, along a dimension, or in blocks of one."""
    bits = b.pick((4, 8)) if b.opset >= 21 else 8
    axis, attributes, scales = b.below(len(shape)), {}, []
    form = b.below(3 if b.opset >= 21 else 2 if b.opset >= 13 else 1)
    if form:
        scales, attributes = [shape[axis]], {"axis": b.signed(axis, len(shape))}
    if form == 2:
        block = b.pick([size for size in range(1, shape[axis] + 1) if shape[axis] % size == 0])
        scales = [*shape[:axis], shape[axis] // block, *shape[axis + 1 :]]
        attributes |= {"block_size": block}
    dtype = ml_dtypes.int4 if bits == 4 else b.pick((np.int8, np.uint8))
    middle, reach = (128, 100) if dtype is np.uint8 else (0, 100 if bits == 8 else 7)
    values = b.random.integers(middle - reach, middle + reach, tuple(shape), endpoint=True)
    operands = [b.constant(values.astype(dtype))]
    operands.append(b.constant((b.random.uniform(0.5, 1.5, scales) * 2 * scale / reach).astype(np.float32)))
    if dtype is np.uint8 or b.chance(0.5):
        zeros = middle + b.random.integers(-3, 4, scales) * b.below(2)
        operands.append(b.constant(np.asarray(zeros).astype(dtype)))
    return b.node("DequantizeLinear", operands, **attributes)[0]


def affine(b: Builder, y: Value, outputs: int) -> Value:
    """A bias, a scale, both or neither, with the constant on either side."""
    for op in ("Mul", "Add"):
        if b.chance(0.25 if op == "Mul" else 0.6):
            shape = b.pick(([outputs], [1, outputs], [1], [])) if y.rank > 1 else [outputs]
            pair = [y.name, b.weight(shape)]
            y = b.add(op, pair[::-1] if b.chance(0.4) else pair, y.shape)
    return y


def matmul_left(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    outputs, inner = 1 + b.below(8), x.shape[-2]
    shape = [*x.shape[:-2], outputs, x.shape[-1]]
    return b.add("MatMul", [b.weight([outputs, inner], inner**-0.5), x.name], shape)


LAYERS: dict[Step, int] = {gemm: 8, matmul: 7, matmul_left: 3}
