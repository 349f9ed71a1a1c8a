"""Linear algebra: Gemm, MatMul, Conv and their integer and fused forms, exactly."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fc2conv.verification.exact import functions
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule, needs_plain
from fc2conv.verification.exact.field import Residues
from fc2conv.verification.exact.products import Weight, product
from fc2conv.verification.exact.terms import Array, Term, digest
from fc2conv.verification.exact.windows import geometry, windows

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
        x = shifted(at, a, minus[0], last=False)
        x = x[:, None, :] if lines_a else (x.swapaxes(-1, -2) if turn_a else x)
        out = by_weight(at, x, b, other, turn_b)
        if not no_zero(at, minus[1]):
            sums = at.field.total(x, [x.ndim - 2])
            out = at.field.sub(out, at.field.mul(sums, of_columns(at.res(minus[1]), out.ndim - 1)))
    elif one.constant and len(at.dims(a)) == 2 and not lines_b and no_zero(at, minus[0]):
        y = shifted(at, b, minus[1], last=True)  # A B = (B' A')': the weight is the left operand
        rows = y if turn_b else y.swapaxes(-1, -2)
        out = _rows_by(at, rows, _weight(one, at.dims(a), turned=turn_a), a).swapaxes(-1, -2)
    else:
        x, y = shifted(at, a, minus[0], last=False), shifted(at, b, minus[1], last=True)
        x = x[:, None, :] if lines_a else (x.swapaxes(-1, -2) if turn_a else x)
        y = y[:, :, None] if lines_b else (y.swapaxes(-1, -2) if turn_b else y)
        out = of_values(at, x, y)
    out = out.squeeze(-1) if lines_b else out
    return out.squeeze(-1 if lines_b else -2) if lines_a else out


def of_values(at: At, x: Residues, y: Residues) -> Residues:
    """Multiply two values of the model, as stacks of matrices."""
    batch = prod(np.broadcast_shapes(x.shape[1:-2], y.shape[1:-2]))
    at.evaluator.spend(float(batch) * x.shape[-2] * prod(y.shape[-2:]))
    rank = max(x.ndim, y.ndim)
    x, y = (z.reshape(len(z), *[1] * (rank - z.ndim), *z.shape[1:]) for z in (x, y))
    return at.field.matmul(x, y)


def no_zero(at: At, index: int) -> bool:
    """Whether a zero point is absent or 0."""
    if index < 0 or not at.has(index):
        return True
    value = at.operand(index).value
    return value is not None and not np.any(value)


def by_weight(at: At, x: Residues, b: int, term: Term, turn: bool) -> Residues:
    """Multiply rows with a constant weight, a matrix or a vector, the operand b."""
    shape = at.dims(b)
    if len(shape) == 1:
        return _rows_by(at, x, Weight(term, (1, 1, *shape), (0, 1, 2), (1, 1, shape[0])), b)
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
    return Weight(term, (1, *shape), (0, 1, 2), (1, shape[0], shape[1]))


def _rows_by(at: At, x: Residues, weight: Weight, index: int) -> Residues:
    """Multiply every row of the last axis with a weight of one group."""
    rows = x.reshape(len(x), 1, -1, x.shape[-1])
    return product(at, rows, weight, index).reshape(*x.shape[:-1], weight.shape[1])


def shifted(at: At, index: int, zero: int, last: bool) -> Residues:
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


def along(x: Residues, axis: int, rank: int) -> Residues:
    """One-dimensional parameters, broadcast along an axis of a tensor of this rank."""
    if x.ndim == 1 or x[0].size == 1:
        return x.reshape(len(x), *[1] * rank)
    if x.ndim > 2:
        return x
    return x.reshape(len(x), *[-1 if i == axis % rank else 1 for i in range(rank)])


def of_columns(x: Residues, rank: int) -> Residues:
    """Give a parameter for each column the rank of the product."""
    return along(x, rank - 1, rank)


def matmul(at: At) -> Residues:
    """A B."""
    return matrices(at, 0, 1)


def fused_matmul(at: At) -> Residues:
    """alpha * A' B'; with `transBatch` the rows are the first dimension, before those of the batch."""
    turns = [bool(at.attr(f"trans{name}", 0)) for name in "AB"]
    first = [bool(at.attr(f"transBatch{name}", 0)) for name in "AB"]
    if any(first):
        needs_plain(at, (0, 1))
        x, y = (np.moveaxis(at.res(i), 1, -2) if first[i] else at.res(i) for i in (0, 1))
        out = of_values(at, *(z.swapaxes(-1, -2) if turn else z for z, turn in zip((x, y), turns, strict=True)))
    else:
        out = matrices(at, 0, 1, turns[0], turns[1])
    return scaled(at, out, at.attr("alpha", 1.0))


def gemm(at: At) -> Residues:
    """alpha * A' B' + beta * C, and what a fused operator does next."""
    field = at.field
    alpha, beta = at.attr("alpha", 1.0), at.attr("beta", 1.0)
    fold = at.evaluator.rounds(at.term) and (at.operand(0).constant or at.operand(1).constant)
    out = matrices(at, 0, 1, bool(at.attr("transA", 0)), bool(at.attr("transB", 0)), alpha=alpha if fold else 1.0)
    out = scaled(at, out, 1.0 if fold else alpha)
    if at.has(2) and beta:
        needs_plain(at, (2,))
        out = field.add(out, _addend(at, beta))
    return _activated(at, out)


def _addend(at: At, beta: float) -> Residues:
    term = at.operand(2)
    if at.evaluator.rounds(at.term) and term.constant and beta != 1.0:
        return at.evaluator.constant(_rounded_into(term, beta))
    return scaled(at, at.res(2), beta)


def scaled(at: At, x: Residues, factor: float) -> Residues:
    """Multiply by a factor of the model."""
    return x if factor == 1.0 else at.field.scaled(x, factor)


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
    return functions.activation(at.field, x, name, numbers)


# ------------------------------------------------------------------ convolutions


def convolve(at: At, x: int, w: int, zero: int = -1) -> Residues:
    """The sums of a convolution, without bias: [lanes, N, M, *cells]."""
    needs_plain(at, (x, w))
    shape = at.dims(w)
    plan = geometry(at, shape[2:])
    groups, outputs = at.attr("group", 1), shape[0]
    maps = shifted(at, x, zero, last=False)
    lanes, batch, channels = maps.shape[:3]
    at.evaluator.room(maps.size * prod(at.shape[2:]) * prod(plan.kernel) / max(1, prod(maps.shape[3:])))
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
        out = at.field.add(out, per_channel(at.res(2), out.ndim))
    if at.has(3):
        out = at.field.add(out, at.res(3))
    return _activated(at, out)


def per_channel(x: Residues, rank: int) -> Residues:
    """Give a parameter for each channel the rank of a map with lanes."""
    return x.reshape(len(x), *([-1] if x[0].size > 1 else [1]), *[1] * (rank - 3))


def einsum(at: At) -> Residues:
    """A sum of products that an equation names; with one operand or two."""
    needs_plain(at, range(len(at.term.inputs)))
    terms, result = _letters(at, at.attr("equation", b"").decode().replace(" ", ""))
    if len(terms) > 2 or any(len(set(term)) < len(term) for term in terms):
        raise OpaqueError
    if len(terms) == 1:
        gone = [i for i, letter in enumerate(terms[0]) if letter not in result]
        kept = [letter for letter in terms[0] if letter in result]
        summed = at.field.total(at.res(0), gone, keepdims=False) if gone else at.res(0)
        return summed.transpose(0, *(kept.index(letter) + 1 for letter in result))
    return _einsum_two(at, terms[0], terms[1], result)


def _letters(at: At, equation: str) -> tuple[list[str], str]:
    """Write an equation without an ellipsis, and with a result."""
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    spare = [letter for letter in _ALPHABET if letter not in equation]
    ranks = [len(at.dims(i)) - len(term.replace("...", "")) if "..." in term else 0 for i, term in enumerate(terms)]
    with_dots = {rank for rank, term in zip(ranks, terms, strict=True) if "..." in term}
    if len(terms) != len(at.term.inputs) or len(with_dots) > 1 or not 0 <= max(ranks) <= len(spare):
        raise OpaqueError
    dots = "".join(spare[: max(ranks)])
    terms = [term.replace("...", dots) for term in terms]
    if not arrow:
        every = "".join(terms)
        result = dots + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c not in dots))
    return terms, result.replace("...", dots)


_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


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


RULES: dict[str, Rule] = {
    **dict.fromkeys(("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul"), fused_matmul),
    **dict.fromkeys(("Gemm", "com.microsoft::FusedGemm"), gemm),
    **dict.fromkeys(("Conv", "com.microsoft::FusedConv"), conv),
    "MatMul": matmul,
    "Einsum": einsum,
}
"""One rule for each operator."""
