"""Operators that few networks have, beside layers or on a map."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto, helper

from ..builder import Builder, Step, Value


def function(b: Builder, x: Value) -> Value | None:
    """A function of each element, of what is bounded where it needs that."""
    since = {
        "Acos": 7, "Asin": 7, "Atan": 7, "Cos": 7, "Sinh": 9, "Cosh": 9, "Asinh": 9, "Atanh": 9, "Shrink": 9,
        "ThresholdedRelu": 10, "Reciprocal": 7, "Log": 7,
    }  # fmt: skip
    op = b.pick([name for name, opset in since.items() if opset <= b.opset])
    attributes: dict[str, object] = {"lambd": 0.1, "bias": 0.1} if op == "Shrink" else {}
    if op in ("Acos", "Asin", "Atanh", "Sinh", "Cosh"):
        half = b.constant(np.float32(0.5))
        x = b.add("Mul", [b.add("Tanh", [x.name], x.shape).name, half], x.shape)
    if op in ("Reciprocal", "Log"):
        one = b.constant(np.float32(1.5))
        x = b.add("Add", [b.add("Sigmoid", [x.name], x.shape).name, one], x.shape)
    if op in ("Shrink", "ThresholdedRelu"):  # these jump
        x = b.add("Add", [b.add("Relu", [x.name], x.shape).name, b.constant(np.float32(2))], x.shape)
    return b.add(op, [x.name], x.shape, **attributes)


def rare_norm(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or prod(x.shape[1:]) < 4:
        return None
    if b.chance(0.4):
        return b.add("LRN", [x.name], x.shape, size=3, alpha=0.1)
    if b.chance(0.4) and b.opset >= 9:
        return b.add("MeanVarianceNormalization", [x.name], x.shape, axes=b.pick(([0, 2, 3], [2, 3], [1, 2, 3])))
    if b.chance(0.5) and b.opset < 22:  # onnxruntime has no newer one
        return b.add("GlobalLpPool", [x.name], [*x.shape[:2], 1, 1], p=b.pick((1, 2)))
    if min(x.shape[2:]) < 2:
        return None
    return b.add("LpPool", [x.name], [*x.shape[:2], *(n - 1 for n in x.shape[2:])], kernel_shape=[2, 2], p=2)


def indexed(b: Builder, x: Value) -> Value | None:
    """Gathers and scatters by constant indices, along an axis that is not the batch."""
    if x.rank < 2 or b.opset < 11:
        return None
    axis = 1 + b.below(x.rank - 1)
    size, form = x.shape[axis], b.below(4)
    if form == 0:
        shape = [*x.shape]
        shape[axis] = 1 + b.below(3)
        indices = b.constant(b.random.integers(size, size=shape))
        return b.add("GatherElements", [x.name, indices], shape, axis=b.signed(axis, x.rank))
    if form == 1:
        indices = b.constant(np.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), b.below(size)))
        updates = b.weight([*x.shape[:axis], 1, *x.shape[axis + 1 :]])
        return b.add("ScatterElements", [x.name, indices, updates], x.shape, axis=b.signed(axis, x.rank))
    if form == 2:
        return b.add("ScatterND", [x.name, b.integers([0]), b.weight(x.shape[1:])], x.shape)
    rows = [[b.below(x.shape[0]), b.below(x.shape[1])] for _ in range(1 + b.below(3))]
    return b.add("GatherND", [x.name, b.constant(np.array(rows, np.int64))], [len(rows), *x.shape[2:]])


def picked(b: Builder, x: Value) -> Value | None:
    """TopK, Compress, ReverseSequence and Trilu."""
    if x.rank < 2 or b.opset < 11:
        return None
    axis, form = 1 + b.below(x.rank - 1), b.below(4)
    shape = [*x.shape]
    if form == 0:
        shape[axis] = 1 + b.below(x.shape[axis])
        values, _ = b.node("TopK", [x.name, b.integers([shape[axis]])], 2, axis=b.signed(axis, x.rank))
        return b.add("Identity", [values], shape)
    if form == 1:
        chosen = [b.chance(0.5) for _ in range(x.shape[axis] - 1)] + [True]
        shape[axis] = sum(chosen)
        return b.add("Compress", [x.name, b.constant(np.array(chosen))], shape, axis=b.signed(axis, x.rank))
    if form == 2 and b.opset >= 14 and x.rank > 2:
        return b.add("Trilu", [x.name], shape, upper=b.below(2))
    lengths = b.constant(np.array([1 + b.below(x.shape[1]) for _ in range(x.shape[0])], np.int64))
    return b.add("ReverseSequence", [x.name, lengths], shape, batch_axis=0, time_axis=1)


def sequence(b: Builder, x: Value) -> Value | None:
    """Tensors that pass through a sequence, and now and then through a layer for each."""
    if x.rank < 2 or b.opset < 11:
        return None
    place = b.constant(np.array(b.below(2), np.int64))
    if b.chance(0.4):
        (made,) = b.node("SequenceConstruct", [x.name, x.name])
        return b.add("SequenceAt", [made, place], x.shape)
    axis = 1 + b.below(x.rank - 1)
    (made,) = b.node("SplitToSequence", [x.name], axis=axis, keepdims=1)
    if b.chance(0.4) and b.opset >= 17:
        name, inner = f"n{len(b.nodes)}", [*x.shape]
        inner[axis] = 1
        weight = b.weight([inner[-1], 3], inner[-1] ** -0.5)
        node = helper.make_node("MatMul", [f"{name}_item", weight], [f"{name}_made"], name=f"{name}_fc")
        given, back = (helper.make_tensor_value_info(f"{name}_{w}", TensorProto.FLOAT, None) for w in ("item", "made"))
        (made,) = b.node("SequenceMap", [made], body=helper.make_graph([node], f"{name}_body", [given], [back]))
        shape = [*inner[:-1], 3]
    else:
        shape = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
    if b.chance(0.5):
        whole = [*shape]
        whole[axis] *= x.shape[axis]
        return b.add("ConcatFromSequence", [made], whole, axis=axis)
    return b.add("SequenceAt", [made, b.constant(np.array(0, np.int64))], shape)


def sampled(b: Builder, x: Value) -> Value | None:
    """Parts of a map at places that a constant says, or that the map itself says."""
    if x.rank != 4 or b.opset < 16:
        return None
    n, channels = x.shape[:2]
    if b.chance(0.5) or b.opset >= 22:  # onnxruntime has no newer RoiAlign
        places = b.constant(b.random.uniform(-0.9, 0.9, [n, 2, 3, 2]).astype(np.float32))
        return b.add("GridSample", [x.name, places], [n, channels, 2, 3])
    boxes = b.constant(np.array([[0, 0, 1.5, 1.5], [0.5, 0, 2, 1]], np.float32))
    items = b.constant(np.zeros(2, np.int64))
    return b.add("RoiAlign", [x.name, boxes, items], [2, channels, 2, 2], output_height=2, output_width=2)


def spread(b: Builder, x: Value) -> Value | None:
    """ConstantOfShape, Range and CastLike over sizes, whose result is added."""
    if x.rank < 2 or b.opset < 15:
        return None
    (shape,) = b.node("Shape", [x.name])
    if b.chance(0.5):
        (filled,) = b.node("ConstantOfShape", [shape], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.3]))
        return b.add("Add", [x.name, filled], x.shape)
    (last,) = b.node("Gather", [shape, b.constant(np.array(-1, np.int64))])
    (count,) = b.node("Range", [b.constant(np.array(0, np.int64)), last, b.constant(np.array(1, np.int64))])
    (floats,) = b.node("CastLike", [count, x.name])
    return b.add("Mul", [x.name, floats], x.shape)


RARE: dict[Step, int] = {function: 2, rare_norm: 1, indexed: 1, picked: 1, sequence: 1, sampled: 1, spread: 1}
