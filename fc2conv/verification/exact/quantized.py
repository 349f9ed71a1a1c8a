"""Quantized and integer operators: exact sums, and one rounding that is a hash of the real number behind it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from fc2conv.verification.exact import functions, groups
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Array, Residues, tag
from fc2conv.verification.exact.layout import choice
from fc2conv.verification.exact.linear import (
    along,
    by_weight,
    convolve,
    matrices,
    no_zero,
    of_columns,
    of_values,
    per_channel,
    scaled,
    shifted,
)
from fc2conv.verification.exact.pointwise import is_rectified
from fc2conv.verification.exact.steps import step, stepped
from fc2conv.verification.exact.terms import limits
from fc2conv.verification.exact.windows import geometry, windows


def rounded(at: At, real: Residues, scale: int, zero: int) -> Residues:
    """Round a real number as QuantizeLinear does: a hash of x / scale with zero point and type."""
    field, rank = at.field, real.ndim - 1
    divided = field.mul(_cut(at, real, zero), field.inverse(along(at.res(scale), 0, rank)))
    point = at.res(zero) if at.has(zero) else np.zeros((field.lanes, *[1] * rank), np.int32)
    if point[0].size == 1:
        point = point.reshape(field.lanes, *[1] * rank)
    return field.ordered(tag("quantized", at.term.kind), [divided, point])


def _cut(at: At, real: Residues, zero: int) -> Residues:
    """Rectify what is quantized where the zero point is the least number of the type: below 0 all is that number."""
    own = limits(at.term.kind)
    point = at.operand(zero).value if at.has(zero) else np.zeros(1)
    least = own is not None and point is not None and bool((np.asarray(point).astype(np.float64) == own[0]).all())
    return functions.relu(at.field, real) if least else real


def quantize(at: At) -> Residues:
    """QuantizeLinear: a hash of x / scale, the zero point and the type."""
    if at.attr("block_size", 0) or at.operand(0).atoms:
        raise OpaqueError
    own = step(at.operand(1), at.operand(2) if at.has(2) else None, at.term.kind)
    found = stepped(at.operand(0))
    if own is not None and found is not None and own.key == found.key:
        return own.integers(at, at.res(0))
    field, x = at.field, at.res(0)
    if not is_rectified(at.operand(0)):
        x = _cut(at, x, 2)
    rank, axis = x.ndim - 1, at.attr("axis", 1)
    real = field.mul(x, field.inverse(along(at.res(1), axis, rank)))
    point = along(at.res(2), axis, rank) if at.has(2) else np.zeros((field.lanes, *[1] * rank), np.int32)
    return field.ordered(tag("quantized", at.term.kind), [real, point])


def dequantize(at: At) -> Residues:
    """DequantizeLinear: (x - zero point) * scale."""
    field, x = at.field, at.res(0)
    rank, axis, block = x.ndim - 1, at.attr("axis", 1), at.attr("block_size", 0)

    def spread(index: int) -> Residues:
        if not block:
            return along(at.res(index), axis, rank)
        wide = np.repeat(at.res(index), block, axis=axis % rank + 1)
        return np.take(wide, np.arange(x.shape[axis % rank + 1]), axis=axis % rank + 1)

    if at.has(2):
        x = field.sub(x, spread(2))
    return field.mul(x, spread(1))


def matmul_integer(at: At) -> Residues:
    """(A - a)(B - b), in integers."""
    return matrices(at, 0, 1, minus=(2, 3))


def conv_integer(at: At) -> Residues:
    """The convolution of x - zero point with w - zero point, padded behind the zero point."""
    return _conv_of_integers(at, 0, 2, 1, 3)


def _conv_of_integers(at: At, x: int, x_zero: int, w: int, w_zero: int) -> Residues:
    out = convolve(at, x, w, x_zero)
    if no_zero(at, w_zero):
        return out
    return at.field.sub(out, at.field.mul(per_channel(at.res(w_zero), out.ndim), _window_sums(at, x, w, x_zero)))


def _window_sums(at: At, x: int, w: int, zero: int) -> Residues:
    """The sums of each group's windows, for each output channel."""
    shape = at.dims(w)
    maps = shifted(at, x, zero, last=False)
    groups = at.attr("group", 1)
    seen = windows(maps, geometry(at, shape[2:])).sum(axis=-1)
    lanes, batch, channels, *cells = seen.shape
    sums = seen.reshape(lanes, batch, groups, channels // groups, *cells).sum(axis=3)
    return at.field.reduced(np.repeat(sums, shape[0] // groups, axis=2))


def qlinear_conv(at: At) -> Residues:
    """QLinearConv: x, x scale, x zero, w, w scale, w zero, y scale, y zero, bias."""
    field = at.field
    sums = _conv_of_integers(at, 0, 2, 3, 5)
    scale = field.mul(per_channel(at.res(4), sums.ndim), along(at.res(1), 0, sums.ndim - 1))
    real = field.mul(sums, scale)
    if at.has(8):
        own = per_channel(_bias_scale(at), sums.ndim) if _knows_scales(at) else scale
        real = field.add(real, field.mul(per_channel(at.res(8), sums.ndim), own))
    return rounded(at, real, 6, 7)


def _knows_scales(at: At) -> bool:
    """Whether the scale of a bias, sx * sw, is to be taken as another model stores it."""
    return at.evaluator.rounds(at.term) and all(at.operand(i).value is not None for i in (1, 4))


def _bias_scale(at: At) -> Residues:
    """sx * sw, rounded once to the type of the scales."""
    return at.field.of(np.asarray(at.numbers(1).reshape(-1) * at.numbers(4).reshape(-1)))


def qlinear_matmul(at: At) -> Residues:
    """QLinearMatMul: a, a scale, a zero, b, b scale, b zero, y scale, y zero."""
    field = at.field
    sums = matrices(at, 0, 3, minus=(2, 5))
    rank = sums.ndim - 1
    scale = field.mul(of_columns(at.res(4), rank), along(at.res(1), max(rank - 2, 0), rank))
    return rounded(at, field.mul(sums, scale), 6, 7)


def qgemm(at: At) -> Residues:
    """QGemm: a, a scale, a zero, b, b scale, b zero, C, y scale, y zero; without y scale the result is real."""
    field = at.field
    turn_a, turn_b = bool(at.attr("transA", 0)), bool(at.attr("transB", 0))
    point = at.operand(5).shape if at.has(5) else ()
    if turn_b and point and prod(point) > 1 and not at.operand(3).constant:
        raise OpaqueError
    sums = matrices(at, 0, 3, turn_a, turn_b, minus=(2, 5))
    scale = field.mul(of_columns(at.res(4), 2), along(at.res(1), 0, 2))
    real = field.mul(scaled(at, sums, at.attr("alpha", 1.0)), scale)
    if at.has(6):
        real = field.add(real, field.mul(at.res(6), of_columns(_bias_scale(at), 2) if _knows_scales(at) else scale))
    if not at.has(7):
        return real
    return rounded(at, real, 7, 8)


def matmul_integer_to_float(at: At) -> Residues:
    """MatMulIntegerToFloat: a, b, a scale, b scale, a zero, b zero, bias."""
    field = at.field
    sums = matrices(at, 0, 1, minus=(4, 5))
    rank = sums.ndim - 1
    out = field.mul(sums, field.mul(of_columns(at.res(3), rank), along(at.res(2), 0, rank)))
    return field.add(out, at.res(6)) if at.has(6) else out


def dynamic_parts(at: At, x: Residues) -> tuple[Residues, Residues, Residues]:
    """Return what DynamicQuantizeLinear gives: quantized elements, their scale and their zero point."""
    field = at.field
    whole = field.total(field.mix(x.reshape(field.lanes, -1), tag("range")), [0], keepdims=False)
    scale, zero = field.mix(whole, tag("dynamic scale")), field.mix(whole, tag("dynamic zero point"))
    unit = [1] * (x.ndim - 1)
    real = field.mul(x, field.inverse(scale).reshape(field.lanes, *unit))
    return field.ordered(tag("quantized", 2), [real, zero.reshape(field.lanes, *unit)]), scale, zero


def dynamic_quantize(at: At) -> Residues:
    """DynamicQuantizeLinear: one scale and one zero point from all elements, wherever they are."""
    return dynamic_parts(at, at.res(0))[at.term.index]


def dynamic_matmul(at: At) -> Residues:
    """DynamicQuantizeMatMul: a, b, b scale, b zero, bias."""
    field, b = at.field, at.res(1)
    quantized, scale, zero = dynamic_parts(at, at.res(0))
    unit = [1] * (quantized.ndim - 1)
    rows = field.sub(quantized, zero.reshape(field.lanes, *unit))
    columns = field.sub(b, along(at.res(3), b.ndim - 2, b.ndim - 1)) if at.has(3) else b
    if at.operand(1).constant and len(at.dims(1)) == 2:
        sums = by_weight(at, rows, 1, at.operand(1), False)
        if not no_zero(at, 3):
            total = field.total(rows, [rows.ndim - 2])
            sums = field.sub(sums, field.mul(total, of_columns(at.res(3), sums.ndim - 1)))
    else:
        sums = of_values(at, rows, columns)
    rank = sums.ndim - 1
    out = field.mul(sums, field.mul(of_columns(at.res(2), rank), scale.reshape(field.lanes, *[1] * rank)))
    return field.add(out, at.res(4)) if at.has(4) else out


def matmul_nbits(at: At) -> Residues:
    """MatMulNBits: a, b in blocks along K, their scales, zero points, no order of groups, bias."""
    field, bits, width = at.field, at.attr("bits", 4), at.attr("K", 0)
    block, rows = at.attr("block_size", 0), at.attr("N", 0)
    if bits not in (2, 4, 8) or at.has(4):
        raise OpaqueError
    packed = np.asarray(at.operand(1).numbers())
    blocks = packed.shape[1]
    whole = field.of(_unpacked(packed.reshape(rows, -1), bits).reshape(rows, blocks, block))
    if not at.has(3):
        zero = field.of(np.full((1, 1, 1), 1 << (bits - 1)))
    elif at.operand(3).integer:
        zero = field.of(_unpacked(at.operand(3).numbers().reshape(rows, -1), bits)[:, :blocks, None])
    else:
        zero = at.res(3).reshape(field.lanes, rows, blocks, 1)
    real = field.mul(field.sub(whole, zero), at.res(2).reshape(field.lanes, rows, blocks, 1))
    weight = real.reshape(field.lanes, rows, -1)[..., :width]
    out = of_values(at, at.res(0), weight.swapaxes(-1, -2))
    return field.add(out, at.res(5)) if at.has(5) else out


def _unpacked(packed: Array, bits: int) -> Array:
    """The numbers of a few bits in each byte, the lowest first."""
    parts = [packed.astype(np.int64) >> shift & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*packed.shape[:-1], -1)


# ------------------------------------------------------------------ onnxruntime's own


def real(at: At, index: int, rank: int) -> Residues:
    """Return what an operand is as a real number: it comes with its scale and its zero point behind it."""
    field, x = at.field, at.res(index)
    if at.has(index + 2):
        x = field.sub(x, along(at.res(index + 2), 0, x.ndim - 1))
    return field.mul(x, along(at.res(index + 1), 0, max(rank, x.ndim - 1)))


def _back(at: At, numbers: Residues, scale: int) -> Residues:
    """Quantize real numbers by a scale and the zero point behind it."""
    return rounded(at, numbers, scale, scale + 1)


def binary(how: str) -> Rule:
    """Make the rule of QLinearAdd and QLinearMul: a, its scale and zero point, b, scale, zero point, scale, zero."""

    def rule(at: At) -> Residues:
        one, other = (real(at, i, len(at.shape)) for i in (0, 3))
        return _back(at, getattr(at.field, how)(one, other), 6)

    return rule


def unary(how: Callable[[At, Residues], Residues]) -> Rule:
    """Make the rule of a function of one quantized operand: x, its scale and zero point, scale, zero point."""
    return lambda at: _back(at, how(at, real(at, 0, len(at.shape))), 3)


def _leaky(at: At, x: Residues) -> Residues:
    return functions.activation(at.field, x, "LeakyRelu", {"alpha": at.attr("alpha", 0.01)})


def _global_mean(at: At, x: Residues) -> Residues:
    last = at.attr("channels_last", 0)
    rank = x.ndim - 1
    return groups.mean(at.field, x, range(1, rank - 1) if last else range(2, rank))


def chosen(at: At) -> Residues:
    """QLinearWhere: a condition, X with its scale and zero point, Y with its own, scale, zero point."""
    rank = len(at.shape)
    return _back(at, choice(at, 0, real(at, 1, rank), real(at, 4, rank)), 7)


def softmax(at: At) -> Residues:
    """QLinearSoftmax: x, its scale and zero point, scale, zero point; the attribute `opset` says which Softmax."""
    newer = at.attr("opset", 13) >= 13
    x = real(at, 0, len(at.shape))
    exps, total = groups.exps_and_total(at.field, x, at.attr("axis", -1), newer)
    return _back(at, at.field.mul(exps, at.field.inverse(total)), 3)


def joined(at: At) -> Residues:
    """QLinearConcat: scale, zero point, and each operand with its own."""
    parts = []
    for i in range(2, len(at.term.inputs), 3):
        parts.append(real(at, i, len(at.dims(i))))
    axis = at.attr("axis", 0) % len(at.shape)
    return _back(at, np.concatenate(parts, axis=axis + 1), 0)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("QuantizeLinear", "com.microsoft::QuantizeLinear"), quantize),
    **dict.fromkeys(("DequantizeLinear", "com.microsoft::DequantizeLinear"), dequantize),
    "MatMulInteger": matmul_integer,
    "ConvInteger": conv_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "com.microsoft::QGemm": qgemm,
    "com.microsoft::MatMulIntegerToFloat": matmul_integer_to_float,
    "com.microsoft::DynamicQuantizeMatMul": dynamic_matmul,
    "com.microsoft::MatMulNBits": matmul_nbits,
    "DynamicQuantizeLinear": dynamic_quantize,
    "com.microsoft::QLinearAdd": binary("add"),
    "com.microsoft::QLinearMul": binary("mul"),
    "com.microsoft::QLinearSigmoid": unary(lambda at, x: functions.sigmoid(at.field, x)),
    "com.microsoft::QLinearLeakyRelu": unary(_leaky),
    "com.microsoft::QLinearGlobalAveragePool": unary(_global_mean),
    "com.microsoft::QLinearAveragePool": unary(groups.averages),
    "com.microsoft::QLinearConcat": joined,
    "com.microsoft::QLinearWhere": chosen,
    "com.microsoft::QLinearSoftmax": softmax,
}
"""One rule for each operator."""
