"""Steps of `random_graph`: layers as Einsum, batched or quantized; branches side by side; norms written out."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from ..builder import QUANTIZED, Builder, Step, Value
from .layers import affine, matmul, stored
from .maps import flatten_to, pool

LETTERS = "abcdefgh"
STEP = 0.02
"""The scale of quantized activations."""


# -- layers in other forms -------------------------------------------------------------------------------------------
def einsum(b: Builder, x: Value) -> Value | None:
    """A sum over one dimension or two, with the outputs (of one dimension or two) anywhere.

    Now and then with a matrix for each index of another dimension, in another order, or with an ellipsis.
    """
    if b.opset < 12 or x.rank < 2:
        return None
    term = LETTERS[: x.rank]
    first = b.below(x.rank) if b.chance(0.1) else 1 + b.below(x.rank - 1)
    summed = term[first]
    if x.rank > 2 and b.chance(0.3):
        summed += b.pick([letter for letter in term[1:] if letter not in summed] or [""])
    outputs = b.pick(["m", "m", "m", "mo", ""])
    kept = "".join(letter for letter in term if letter not in summed)
    at = b.below(len(kept) + 1)
    result = f"{kept[:at]}{outputs}{kept[at:]}"
    if b.chance(0.1):
        result = "".join(b.random.permutation(list(result)))
    letters = list(summed + outputs)
    if len(kept) > 1 and b.chance(0.15):
        letters.insert(0, b.pick(kept[1:]))
    if b.chance(0.5):
        letters = list(b.random.permutation(letters))
    sizes = dict(zip(term, x.shape, strict=True)) | {"m": 1 + b.below(8), "o": 1 + b.below(3)}
    shape = [sizes[letter] for letter in result]
    weight = b.weight([sizes[letter] for letter in letters], prod(sizes[letter] for letter in summed) ** -0.5)
    if result.startswith(term[0]) and term[0] not in letters and b.chance(0.2):
        term, result = f"...{term[1:]}", f"...{result[1:]}"
    terms, operands = [term, "".join(letters)], [x.name, weight]
    if b.chance(0.3):
        terms, operands = terms[::-1], operands[::-1]
    return b.add("Einsum", operands, shape, equation=f"{','.join(terms)}->{result}")


def batched(b: Builder, x: Value) -> Value | None:
    """MatMul with a matrix for each index of leading dimensions, or for one that the result is to have."""
    if x.rank < 3:
        return None
    inner, outputs = x.shape[-1], 1 + b.below(6)
    lead = [size if b.chance(0.7) else 1 for size in x.shape[1:-2]]
    if b.chance(0.15):
        lead = [1] * len(x.shape[:-2])
    y = b.add("MatMul", [x.name, b.weight([*lead, inner, outputs], inner**-0.5)], [*x.shape[:-1], outputs])
    return affine(b, y, outputs) if b.chance(0.5) else y


def branches(b: Builder, x: Value) -> Value | None:
    """Flattened maps side by side, mostly of unequal extents, and a layer over all of them."""
    if x.rank < 3:
        return None
    maps = [v for v in b.values if v.rank > 2 and v.shape[0] == x.shape[0] and prod(v.shape) <= 512] or [x]
    parts = [x, *(b.pick(maps) for _ in range(1 + b.below(2)))]
    smaller = pool(b, x) if b.chance(0.5) else None
    if smaller is not None:
        parts[-1] = smaller
    flat = [flatten_to(b, part) for part in parts]
    inner = sum(part.shape[1] for part in flat)
    side = b.add("Concat", [part.name for part in flat], [x.shape[0], inner], axis=b.signed(1, 2))
    if b.chance(0.4):
        return matmul(b, side)
    outputs, trans_b = 1 + b.below(6), int(b.chance(0.6))
    operands = [side.name, stored(b, [outputs, inner] if trans_b else [inner, outputs], inner**-0.5)]
    operands += [b.weight([outputs])] if b.chance(0.6) or b.opset < 11 else []
    attributes: dict[str, object] = {"alpha": 0.5} if b.chance(0.2) else {}
    y = b.add("Gemm", operands, [x.shape[0], outputs], transB=trans_b, **attributes)
    return b.add("Relu", [y.name], y.shape) if b.chance(0.5) else y


# -- quantization ----------------------------------------------------------------------------------------------------
def quantize_dequantize(b: Builder, x: Value) -> Value | None:
    """A pair: per tensor, or along a dimension."""
    if b.opset not in QUANTIZED:
        return None
    scales, attributes = [], {}
    if b.opset >= 13 and x.rank > 1 and b.chance(0.25):
        axis = 1 + b.below(x.rank - 1)
        scales, attributes = [x.shape[axis]], {"axis": b.signed(axis, x.rank)}
    scale = b.constant((b.random.uniform(0.5, 1.0, scales) * STEP).astype(np.float32))
    dtype = b.pick((np.uint8, np.int8))
    zero = b.constant(np.full(scales, 128 if dtype is np.uint8 else 3, dtype))
    (integers,) = b.node("QuantizeLinear", [x.name, scale, zero], **attributes)
    return b.add("DequantizeLinear", [integers, scale, zero], x.shape, **attributes)


def _integer_weight(b: Builder, inner: int, outputs: int) -> tuple[str, str, str]:
    """Integers, their scale (one, or one for each output) and their zero point (one).

    Of 7 bits, as quantizers write them with `reduce_range`: without VNNI onnxruntime's sums of larger ones saturate.
    """
    weight = b.constant(b.random.integers(-64, 65, (inner, outputs)).astype(np.int8))
    scales = [outputs] if b.chance(0.4) else []
    scale = b.constant((b.random.uniform(0.5, 1.0, scales) * 0.02 * inner**-0.5).astype(np.float32))
    return weight, scale, b.constant(np.full(scales, b.pick((0, 0, 5)), np.int8))


def dynamic(b: Builder, x: Value) -> Value | None:
    """As dynamic quantization writes a layer: DynamicQuantizeLinear, MatMulInteger, Cast, Mul, and maybe Add."""
    if b.opset < 11 or b.opset not in QUANTIZED or not x.rank or prod(x.shape) == 1:
        return None
    inner, outputs = x.shape[-1], 1 + b.below(6)
    weight, scale, zero = _integer_weight(b, inner, outputs)
    integers, x_scale, x_zero = b.node("DynamicQuantizeLinear", [x.name], 3)
    shape = [*x.shape[:-1], outputs]
    zeros = b.node("Identity", [zero]) if b.chance(0.1) else [zero]
    (summed,) = b.node("MatMulInteger", [integers, weight, x_zero, *zeros])
    (floats,) = b.node("Cast", [summed], to=TensorProto.FLOAT)
    (scales,) = b.node("Mul", [x_scale, scale])
    y = b.add("Mul", [floats, scales], shape)
    return b.add("Add", [y.name, b.weight([outputs])], shape) if b.chance(0.5) else y


def qlinear(b: Builder, x: Value) -> Value | None:
    """QuantizeLinear, a layout node now and then, QLinearMatMul, DequantizeLinear."""
    if b.opset not in QUANTIZED or x.rank < 2:
        return None
    scale, zero = b.constant(np.float32(STEP)), b.constant(np.uint8(120))
    (integers,) = b.node("QuantizeLinear", [x.name, scale, zero])
    shape = list(x.shape)
    if x.rank > 2 and b.chance(0.6):
        (integers,) = b.node("Flatten", [integers])
        shape = [x.shape[0], prod(x.shape[1:])]
    weight, w_scale, w_zero = _integer_weight(b, shape[-1], outputs := 1 + b.below(6))
    y_scale, y_zero = b.constant(np.float32(STEP)), b.constant(np.uint8(130))
    operands = [integers, scale, zero, weight, w_scale, w_zero, y_scale, y_zero]
    (product,) = b.node("QLinearMatMul", operands)
    return b.add("DequantizeLinear", [product, y_scale, y_zero], [*shape[:-1], outputs])


# -- norms -----------------------------------------------------------------------------------------------------------
def group_norm(b: Builder, x: Value) -> Value | None:
    """Reshape to groups, InstanceNormalization, Reshape back, a scale and an offset for each channel."""
    if x.rank < 3:
        return None
    channels, space = x.shape[1], prod(x.shape[2:])
    groups = b.pick([size for size in range(1, channels + 1) if channels % size == 0])
    if channels // groups * space < 4:
        return None
    form = [x.shape[0], groups, channels // groups * space]
    grouped = b.add("Reshape", [x.name, b.integers([0, groups, -1])], form)
    ones, zeros = b.constant(np.ones(groups, np.float32)), b.constant(np.zeros(groups, np.float32))
    norm = b.add("InstanceNormalization", [grouped.name, ones, zeros], form, epsilon=0.01)
    back = b.add("Reshape", [norm.name, b.integers([-1, *x.shape[1:]])], x.shape)
    per_channel = [channels, *(1 for _ in x.shape[2:])]
    scaled = b.add("Mul", [back.name, b.weight(per_channel)], x.shape)
    return b.add("Add", [scaled.name, b.weight(per_channel)], x.shape)


def layer_norm_written_out(b: Builder, x: Value) -> Value | None:
    """ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add: over the last dimension, or over the channels."""
    if x.rank < 2:
        return None
    axis = x.rank - 1 if b.chance(0.7) else 1
    if x.shape[axis] < 4:
        return None
    one = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]

    def mean(value: Value) -> Value:
        extra, attributes = b.axes_form([b.signed(axis, x.rank)], since=18)
        return b.add("ReduceMean", [value.name, *extra], one, keepdims=1, **attributes)

    centred = b.add("Sub", [x.name, mean(x).name], x.shape)
    squared = b.add("Pow", [centred.name, b.constant(np.float32(2))], x.shape)
    spread = b.add("Add", [mean(squared).name, b.constant(np.float32(0.01))], one)
    norm = b.add("Div", [centred.name, b.add("Sqrt", [spread.name], one).name], x.shape)
    per_feature = [x.shape[axis], *(1 for _ in x.shape[axis + 1 :])]
    scaled = b.add("Mul", [norm.name, b.weight(per_feature)], x.shape)
    return b.add("Add", [scaled.name, b.weight(per_feature)], x.shape)


FORMS: dict[Step, int] = {
    einsum: 4, batched: 3, branches: 3, quantize_dequantize: 3, dynamic: 2, qlinear: 2, group_norm: 2,
    layer_norm_written_out: 2,
}  # fmt: skip
