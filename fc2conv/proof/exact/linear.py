"""Linear algebra: Gemm, MatMul, Conv and their integer and fused forms, exactly."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fc2conv.proof.exact import pointwise
from fc2conv.proof.exact.evaluate import At, OpaqueError, Rule, needs_plain
from fc2conv.proof.exact.field import Residues, tag
from fc2conv.proof.exact.products import Weight, product
from fc2conv.proof.exact.terms import Array, Term, digest
from fc2conv.proof.exact.windows import geometry, windows


# ------------------------------------------------------------------ products of matrices


def matrices(at: At, a: int, b: int, turn_a: bool = False, turn_b: bool = False,
             minus: tuple[int, int] = (-1, -1), alpha: float = 1.0) -> Residues:  # fmt: skip
    """Multiply two operands as MatMul does; `minus` are the operands with their zero points.

    `alpha` is a factor that is rounded into the weight.
    """
    needs_plain(at, (a, b))
    one, other = at.operand(a), at.operand(b)
    if alpha != 1.0:
        one, other = (one, _rounded_into(other, alpha)) if other.constant else (_rounded_into(one, alpha), other)
    lines_a, lines_b = len(at.dims(a)) == 1, len(at.dims(b)) == 1
    if other.constant and len(at.dims(b)) <= 2:
        x = _shifted(at, a, minus[0], last=False)
        x = x[:, None, :] if lines_a else (x.swapaxes(-1, -2) if turn_a else x)
        out = _by_weight(at, x, b, other, turn_b)
        if not _no_zero(at, minus[1]):
            sums = at.field.total(x, [x.ndim - 2])
            out = at.field.sub(out, at.field.mul(sums, _of_columns(at.res(minus[1]), out.ndim - 1)))
    elif one.constant and len(at.dims(a)) == 2 and not lines_b and _no_zero(at, minus[0]):
        y = _shifted(at, b, minus[1], last=True)  # A B = (B' A')': the weight is the left operand
        rows = y if turn_b else y.swapaxes(-1, -2)
        out = _rows_by(at, rows, _weight(one, at.dims(a), turned=turn_a), a).swapaxes(-1, -2)
    else:
        x, y = _shifted(at, a, minus[0], last=False), _shifted(at, b, minus[1], last=True)
        x = x[:, None, :] if lines_a else (x.swapaxes(-1, -2) if turn_a else x)
        y = y[:, :, None] if lines_b else (y.swapaxes(-1, -2) if turn_b else y)
        out = _of_values(at, x, y)
    out = out.squeeze(-1) if lines_b else out
    return out.squeeze(-1 if lines_b else -2) if lines_a else out


def _of_values(at: At, x: Residues, y: Residues) -> Residues:
    batch = prod(np.broadcast_shapes(x.shape[1:-2], y.shape[1:-2]))
    at.evaluator.spend(float(batch) * x.shape[-2] * prod(y.shape[-2:]))
    rank = max(x.ndim, y.ndim)
    x, y = (z.reshape(len(z), *[1] * (rank - z.ndim), *z.shape[1:]) for z in (x, y))
    return at.field.matmul(x, y)


def _no_zero(at: At, index: int) -> bool:
    """Whether a zero point is absent or 0."""
    if index < 0 or not at.has(index):
        return True
    value = at.operand(index).value
    return value is not None and not np.any(value)


def _by_weight(at: At, x: Residues, b: int, term: Term, turn: bool) -> Residues:
    shape = at.dims(b)
    if len(shape) == 1:
        return _rows_by(at, x, Weight(term, (1, 1, *shape), (0, 1, 2), (1, 1, *shape)), b)
    return _rows_by(at, x, _weight(term, shape, turned=not turn), b)


def _rounded_into(term: Term, alpha: float) -> Term:
    """A weight times a factor, in float64, rounded once to its own type."""

    def numbers() -> Array:
        values = np.asarray(term.numbers())
        return (values.astype(np.float64) * alpha).astype(values.dtype)

    return replace(term, key=digest("rounded", term.key, alpha), value=None, load=numbers, blob=b"")


def _weight(term: Term, shape: tuple[int, ...], turned: bool) -> Weight:
    """A matrix as [1, M, K]: `turned` where it is stored as [K, M]."""
    if turned:
        return Weight(term, (1, *shape), (0, 2, 1), (1, shape[1], shape[0]))
    return Weight(term, (1, *shape), (0, 1, 2), (1, *shape))


def _rows_by(at: At, x: Residues, weight: Weight, index: int) -> Residues:
    """Multiply every row of the last axis with a weight of one group."""
    rows = x.reshape(len(x), 1, -1, x.shape[-1])
    return product(at, rows, weight, index).reshape(*x.shape[:-1], weight.shape[1])


def _shifted(at: At, index: int, zero: int, last: bool) -> Residues:
    """An operand less its zero point, which may be one for each row of the left, or column of the right operand."""
    x = at.res(index)
    if zero < 0 or not at.has(zero):
        return x
    point = at.res(zero)
    if point[0].size == 1:
        return at.field.sub(x, point.reshape(len(x), *[1] * (x.ndim - 1)))
    if point.ndim == 2 and not last:
        point = point[..., None]
    return at.field.sub(x, point)


def matmul(at: At) -> Residues:
    """A B."""
    return matrices(at, 0, 1)


def fused_matmul(at: At) -> Residues:
    """alpha * A' B'."""
    if at.attr("transBatchA", 0) or at.attr("transBatchB", 0):
        raise OpaqueError
    out = matrices(at, 0, 1, bool(at.attr("transA", 0)), bool(at.attr("transB", 0)))
    return _scaled(at, out, at.attr("alpha", 1.0))


def gemm(at: At) -> Residues:
    """alpha * A' B' + beta * C, and what a fused operator does next."""
    field = at.field
    alpha, beta = at.attr("alpha", 1.0), at.attr("beta", 1.0)
    fold = at.evaluator.rounded and (at.operand(0).constant or at.operand(1).constant)
    out = matrices(at, 0, 1, bool(at.attr("transA", 0)), bool(at.attr("transB", 0)), alpha=alpha if fold else 1.0)
    out = _scaled(at, out, 1.0 if fold else alpha)
    if at.has(2) and beta:
        needs_plain(at, (2,))
        out = field.add(out, _addend(at, beta))
    return _activated(at, out)


def _addend(at: At, beta: float) -> Residues:
    term = at.operand(2)
    if at.evaluator.rounded and term.constant and beta != 1.0:
        return at.evaluator.constant(_rounded_into(term, beta))
    return _scaled(at, at.res(2), beta)


def _scaled(at: At, x: Residues, factor: float) -> Residues:
    return x if factor == 1.0 else at.field.scaled(x, np.float32(factor))


def _activated(at: At, x: Residues) -> Residues:
    name = at.attr("activation", b"").decode()
    if not name:
        return x
    given = at.op.attributes
    numbers = {key.removeprefix("activation_"): float(value) for key, value in given.items()
               if key.startswith("activation_") and isinstance(value, int | float)}  # fmt: skip
    params = given.get("activation_params")
    if params is not None:
        names = {"LeakyRelu": ["alpha"], "Clip": ["min", "max"], "HardSigmoid": ["alpha", "beta"]}.get(name, [])
        numbers |= dict(zip(names, map(float, params), strict=False))
    return pointwise.activation(at, x, name, numbers)


# ------------------------------------------------------------------ convolutions


def convolve(at: At, x: int, w: int, zero: int = -1) -> Residues:
    """The sums of a convolution, without bias: [lanes, N, M, *cells]."""
    needs_plain(at, (x, w))
    shape = at.dims(w)
    plan = geometry(at, shape[2:])
    groups, outputs = at.attr("group", 1), shape[0]
    maps = _shifted(at, x, zero, last=False)
    lanes, batch, channels = maps.shape[:3]
    seen = windows(maps, plan)  # [lanes, N, C, *cells, J]
    cells = seen.shape[3:-1]
    per = channels // groups
    rows = seen.reshape(lanes, batch, groups, per, prod(cells), -1).transpose(0, 2, 1, 4, 3, 5)
    rows = rows.reshape(lanes, groups, batch * prod(cells), -1)
    weight = Weight(at.operand(w), (groups, outputs // groups, rows.shape[-1]), (0, 1, 2),
                    (groups, outputs // groups, rows.shape[-1]))  # fmt: skip
    out = product(at, rows, weight, w).reshape(lanes, groups, batch, prod(cells), outputs // groups)
    return out.transpose(0, 2, 1, 4, 3).reshape(lanes, batch, outputs, *cells)


def conv(at: At) -> Residues:
    """Conv with its bias, and what a fused operator adds and applies next."""
    out = convolve(at, 0, 1)
    if at.has(2):
        needs_plain(at, (2,))
        out = at.field.add(out, _per_channel(at.res(2), out.ndim))
    if at.has(3):
        out = at.field.add(out, at.res(3))
    return _activated(at, out)


def _per_channel(x: Residues, rank: int) -> Residues:
    return x.reshape(len(x), *([-1] if x[0].size > 1 else [1]), *[1] * (rank - 3))


def einsum(at: At) -> Residues:
    """A sum of products that an equation names; with one operand or two."""
    equation = at.attr("equation", b"").decode().replace(" ", "")
    if "." in equation or "->" not in equation or len(at.term.inputs) > 2:
        raise OpaqueError
    needs_plain(at, range(len(at.term.inputs)))
    operands, result = equation.split("->")
    terms = operands.split(",")
    if any(len(set(term)) < len(term) for term in terms):
        raise OpaqueError
    if len(terms) == 1:
        gone = [i for i, letter in enumerate(terms[0]) if letter not in result]
        kept = [letter for letter in terms[0] if letter in result]
        summed = at.field.total(at.res(0), gone, keepdims=False) if gone else at.res(0)
        return summed.transpose(0, *(kept.index(letter) + 1 for letter in result))
    return _einsum_two(at, terms[0], terms[1], result)


def _einsum_two(at: At, one: str, other: str, result: str) -> Residues:
    """Both operands as stacks of matrices [B, M, K] and [B, N, K]."""
    field = at.field
    x, y = at.res(0), at.res(1)
    alone = [i for i, letter in enumerate(one) if letter not in other and letter not in result]
    x = field.total(x, alone, keepdims=False) if alone else x
    one = "".join(letter for letter in one if letter in other or letter in result)
    lone = [i for i, letter in enumerate(other) if letter not in one and letter not in result]
    y = field.total(y, lone, keepdims=False) if lone else y
    other = "".join(letter for letter in other if letter in one or letter in result)
    sizes = dict(zip(one, x.shape[1:], strict=True)) | dict(zip(other, y.shape[1:], strict=True))
    stack = [c for c in one if c in other and c in result]
    summed = [c for c in one if c in other and c not in result]
    m, n = [c for c in one if c not in other], [c for c in other if c not in one]

    def turned(z: Residues, letters: str, lead: list[str]) -> Residues:
        z = z.transpose(0, *(letters.index(c) + 1 for c in (*stack, *lead, *summed)))
        return z.reshape(len(z), prod(sizes[c] for c in stack), prod(sizes[c] for c in lead), -1)

    rows, columns = turned(x, one, m), turned(y, other, n)
    at.evaluator.spend(float(prod(rows.shape[1:])) * columns.shape[2])
    out = field.matmul(rows, columns.swapaxes(-1, -2))
    letters = [*stack, *m, *n]
    out = out.reshape(len(out), *(sizes[c] for c in letters))
    return out.transpose(0, *(letters.index(c) + 1 for c in result))


# ------------------------------------------------------------------ quantized and integer forms


def rounded(at: At, real: Residues, zero: int, kind: int) -> Residues:
    """QuantizeLinear's rounding of a real number that was divided by the scale: a hash with zero point and type."""
    field = at.field
    point = at.res(zero) if at.has(zero) else np.zeros((field.lanes, *[1] * (real.ndim - 1)), np.int64)
    if point[0].size == 1:
        point = point.reshape(field.lanes, *[1] * (real.ndim - 1))
    return field.ordered(tag("quantized", kind), [real, point])


def along(x: Residues, axis: int, rank: int) -> Residues:
    """One-dimensional parameters, broadcast along an axis of a tensor of this rank."""
    if x.ndim == 1 or x[0].size == 1:
        return x.reshape(len(x), *[1] * rank)
    if x.ndim > 2:
        return x
    return x.reshape(len(x), *[-1 if i == axis % rank else 1 for i in range(rank)])


def quantize(at: At) -> Residues:
    """QuantizeLinear: a hash of x / scale, the zero point and the type."""
    if at.attr("block_size", 0) or at.operand(0).atoms:
        raise OpaqueError
    field, x = at.field, at.res(0)
    rank, axis = x.ndim - 1, at.attr("axis", 1)
    real = field.mul(x, field.inverse(along(at.res(1), axis, rank)))
    if not at.has(2):
        return rounded(at, real, 2, at.term.kind)
    return field.ordered(tag("quantized", at.term.kind), [real, along(at.res(2), axis, rank)])


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
    if _no_zero(at, w_zero):
        return out
    return at.field.sub(out, at.field.mul(_per_channel(at.res(w_zero), out.ndim), _window_sums(at, x, w, x_zero)))


def _window_sums(at: At, x: int, w: int, zero: int) -> Residues:
    """The sums of each group's windows, for each output channel."""
    shape = at.dims(w)
    maps = _shifted(at, x, zero, last=False)
    groups = at.attr("group", 1)
    seen = windows(maps, geometry(at, shape[2:])).sum(axis=-1)
    lanes, batch, channels, *cells = seen.shape
    sums = seen.reshape(lanes, batch, groups, channels // groups, *cells).sum(axis=3)
    return np.repeat(sums, shape[0] // groups, axis=2) % at.field.p(sums.ndim - 1)


def qlinear_conv(at: At) -> Residues:
    """QLinearConv: x, x scale, x zero, w, w scale, w zero, y scale, y zero, bias."""
    field = at.field
    sums = _conv_of_integers(at, 0, 2, 3, 5)
    if at.has(8):
        sums = field.add(sums, _per_channel(at.res(8), sums.ndim))
    scale = field.mul(_per_channel(at.res(4), sums.ndim), along(at.res(1), 0, sums.ndim - 1))
    real = field.mul(sums, field.mul(scale, field.inverse(along(at.res(6), 0, sums.ndim - 1))))
    return rounded(at, real, 7, at.term.kind)


def qlinear_matmul(at: At) -> Residues:
    """QLinearMatMul: a, a scale, a zero, b, b scale, b zero, y scale, y zero."""
    field = at.field
    sums = matrices(at, 0, 3, minus=(2, 5))
    rank = sums.ndim - 1
    scale = field.mul(_of_columns(at.res(4), rank), along(at.res(1), max(rank - 2, 0), rank))
    real = field.mul(sums, field.mul(scale, field.inverse(along(at.res(6), 0, rank))))
    return rounded(at, real, 7, at.term.kind)


def _of_columns(x: Residues, rank: int) -> Residues:
    return along(x, rank - 1, rank)


def qgemm(at: At) -> Residues:
    """QGemm: a, a scale, a zero, b, b scale, b zero, C, y scale, y zero; without y scale the result is real."""
    field = at.field
    turn_a, turn_b = bool(at.attr("transA", 0)), bool(at.attr("transB", 0))
    point = at.operand(5).shape if at.has(5) else ()
    if turn_b and point and prod(point) > 1:
        raise OpaqueError
    sums = matrices(at, 0, 3, turn_a, turn_b, minus=(2, 5))
    sums = _scaled(at, sums, at.attr("alpha", 1.0))
    if at.has(6):
        sums = field.add(sums, at.res(6))
    real = field.mul(sums, field.mul(_of_columns(at.res(4), 2), along(at.res(1), 0, 2)))
    if not at.has(7):
        return real
    return rounded(at, field.mul(real, field.inverse(along(at.res(7), 0, 2))), 8, at.term.kind)


def matmul_integer_to_float(at: At) -> Residues:
    """MatMulIntegerToFloat: a, b, a scale, b scale, a zero, b zero, bias."""
    field = at.field
    sums = matrices(at, 0, 1, minus=(4, 5))
    rank = sums.ndim - 1
    out = field.mul(sums, field.mul(_of_columns(at.res(3), rank), along(at.res(2), 0, rank)))
    return field.add(out, at.res(6)) if at.has(6) else out


def dynamic_parts(at: At, x: Residues) -> tuple[Residues, Residues, Residues]:
    """Return what DynamicQuantizeLinear gives: quantized elements, their scale and their zero point."""
    field = at.field
    whole = field.mix(x.reshape(field.lanes, -1), tag("range")).sum(axis=1) % field.p(0)
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
        sums = _by_weight(at, rows, 1, at.operand(1), False)
        if not _no_zero(at, 3):
            total = field.total(rows, [rows.ndim - 2])
            sums = field.sub(sums, field.mul(total, _of_columns(at.res(3), sums.ndim - 1)))
    else:
        sums = _of_values(at, rows, columns)
    rank = sums.ndim - 1
    out = field.mul(sums, field.mul(_of_columns(at.res(2), rank), scale.reshape(field.lanes, *[1] * rank)))
    return field.add(out, at.res(4)) if at.has(4) else out


RULES: dict[str, Rule] = {
    **dict.fromkeys(("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul"), fused_matmul),
    **dict.fromkeys(("Gemm", "com.microsoft::FusedGemm"), gemm),
    **dict.fromkeys(("Conv", "com.microsoft::FusedConv"), conv),
    **dict.fromkeys(("QuantizeLinear", "com.microsoft::QuantizeLinear"), quantize),
    **dict.fromkeys(("DequantizeLinear", "com.microsoft::DequantizeLinear"), dequantize),
    "MatMul": matmul,
    "Einsum": einsum,
    "MatMulInteger": matmul_integer,
    "ConvInteger": conv_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "com.microsoft::QGemm": qgemm,
    "com.microsoft::MatMulIntegerToFloat": matmul_integer_to_float,
    "com.microsoft::DynamicQuantizeMatMul": dynamic_matmul,
    "DynamicQuantizeLinear": dynamic_quantize,
}
"""One rule for each operator."""
