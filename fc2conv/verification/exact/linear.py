"""Linear algebra: Gemm, MatMul, Conv, Einsum and their integer forms, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import TensorProto

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule, needs_plain
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.maps import apart, geometry, windows
from fc2conv.verification.exact.products import BOTH, Weight, product
from fc2conv.verification.exact.shapes import letters_of
from fc2conv.verification.exact.terms import ABSENT, Array, Shape, Term, digest

# ------------------------------------------------------------------ operands


def along(x: Residues, axis: int, rank: int) -> Residues:
    """Broadcast one-dimensional parameters along an axis of a tensor of this rank."""
    if x[0].size == 1:
        return x.reshape(len(x), *[1] * rank)
    return x if x.ndim > 2 else x.reshape(len(x), *[-1 if i == axis % rank else 1 for i in range(rank)])


def no_zero(at: At, index: int) -> bool:
    """Return whether a zero point is absent or 0."""
    value = at.operand(index).value if at.has(index) else np.zeros(1)
    return value is not None and not np.any(value)


def shifted(at: At, index: int, zero: int, axis: int) -> Residues:
    """Return an operand less its zero point, which may have one value for each index of an axis; `zero` -1: no zero."""
    x = at.res(index)
    if zero < 0 or no_zero(at, zero):
        return x
    return at.field.sub(x, along(at.res(zero), axis, x.ndim - 1))


def _rounded_into(term: Term, factor: float) -> Term:
    """Return a weight times a factor, in float64, rounded once to its own type."""

    def numbers() -> Array:
        values = np.asarray(term.numbers())
        return (values.astype(np.float64) * factor).astype(values.dtype)

    return replace(term, key=digest("rounded", term.key, factor), value=None, load=numbers, blob=b"")


def _stored(at: At, index: int, zero: int, axis: int) -> tuple[Term, Residues | None]:
    """Return a weight less its zero point: as a stored term where both are stored, else with residues.

    So w with z and w + 128 with z + 128 are one weight.
    """
    term, least = at.operand(index), at.term.operand(zero) if zero >= 0 else ABSENT
    plain = zero < 0 or no_zero(at, zero)
    if zero < 0 or not term.constant or (plain and at.evaluator.blobs.get(term.blob) == BOTH):
        return term, None
    if least is not ABSENT and not least.constant:
        return term, shifted(at, index, zero, axis)

    def numbers() -> Array:
        values = np.asarray(term.numbers()).astype(np.int16)
        zeros = np.zeros(1) if least is ABSENT else np.asarray(least.numbers())
        less: Array = values - along(zeros.astype(np.int32)[None], axis, values.ndim)[0].astype(np.int16)
        return less

    key = digest("less", term.key, least.key)
    return replace(term, key=key, kind=int(TensorProto.INT16), value=None, load=numbers, blob=b""), None


def _weight(term: Term, shape: Shape, turned: bool, residues: Residues | None = None) -> Weight:
    """Return a vector or matrix as a weight [1, M, K]; `turned` where it is stored as [K, M]."""
    source = (1, *shape) if len(shape) == 2 else (1, 1, *shape)
    perm = (0, 2, 1) if turned and len(shape) == 2 else (0, 1, 2)
    return Weight(term, source, perm, (1, source[perm[1]], source[perm[2]]), residues)


def _rows_by(at: At, x: Residues, weight: Weight) -> Residues:
    """Multiply every row along the last axis with a weight of one group."""
    rows = at.field.reshaped(x, (1, prod(x.shape[1:-1]), x.shape[-1]))
    return product(at, rows, weight).reshape(*x.shape[:-1], weight.shape[1])


# ------------------------------------------------------------------ products of matrices


def matrices(at: At, turns: tuple[bool, bool] = (False, False), minus: tuple[int, int] = (-1, -1),
             alpha: float = 1.0) -> Residues:  # fmt: skip
    """Multiply the first two operands as MatMul does; `minus` are the places of their zero points.

    `turns` says which operands are transposed, and `alpha` is a factor that is rounded into the weight.
    """
    needs_plain(at, (0, 1))
    a, b = at.operand(0), at.operand(1)
    if alpha != 1.0:
        a, b = (a, _rounded_into(b, alpha)) if b.constant else (_rounded_into(a, alpha), b)
    lines = len(at.dims(0)) == 1, len(at.dims(1)) == 1

    def own(i: int) -> Residues:
        return shifted(at, i, minus[i], i - 2)

    def weight(i: int, term: Term, turned: bool) -> Weight:
        found, residues = (term, None) if minus[i] < 0 else _stored(at, i, minus[i], i - 2)
        return _weight(found, at.dims(i), turned, residues)

    if b.constant and len(at.dims(1)) <= 2:
        rows = _matrix(own(0), turns[0], -2 if lines[0] else None)
        out = _rows_by(at, rows, weight(1, b, not turns[1]))
    elif a.constant and len(at.dims(0)) == 2 and not lines[1]:
        rows = _matrix(own(1), not turns[1], None)  # A B = (B' A')'
        out = _rows_by(at, rows, weight(0, a, turns[0])).swapaxes(-1, -2)
    else:
        x, y = _matrix(own(0), turns[0], -2 if lines[0] else None), _matrix(own(1), turns[1], -1 if lines[1] else None)
        out = of_values(at, x, y)
    out = out.squeeze(-1) if lines[1] else out
    return out.squeeze(-1 if lines[1] else -2) if lines[0] else out


def _matrix(x: Residues, turned: bool, line: int | None) -> Residues:
    """Return a matrix, transposed if `turned`, or a vector as a row or a column."""
    if line is not None:
        return np.expand_dims(x, line)
    return x.swapaxes(-1, -2) if turned else x


def of_values(at: At, x: Residues, y: Residues) -> Residues:
    """Multiply two values of the model, as stacks of matrices."""
    batch = prod(np.broadcast_shapes(x.shape[1:-2], y.shape[1:-2]))
    at.evaluator.spend(float(batch) * x.shape[-2] * prod(y.shape[-2:]))
    return at.field.matmul(x, y)


def gemm(at: At) -> Residues:
    """Compute alpha * A' B' + beta * C; factors may be rounded into stored numbers."""
    field, rounds = at.field, at.evaluator.rounds(at.term)
    alpha, beta = at.attr("alpha", 1.0), at.attr("beta", 1.0)
    fold = rounds and (at.operand(0).constant or at.operand(1).constant)
    out = matrices(at, (bool(at.attr("transA", 0)), bool(at.attr("transB", 0))), alpha=alpha if fold else 1.0)
    out = out if fold or alpha == 1.0 else field.mul(out, field.number(alpha))
    if not at.has(2) or not beta:
        return out
    term = at.operand(2)
    if rounds and term.constant and beta != 1.0:
        return _biased(at, out, at.evaluator.constant(_rounded_into(term, beta)))
    return _biased(at, out, at.res(2) if beta == 1.0 else field.mul(at.res(2), field.number(beta)))


def _biased(at: At, out: Residues, bias: Residues) -> Residues:
    """Add the bias, operand 2, to products; where its constants are not finite, hash both as Add does."""
    if at.operand(2).atoms:
        return at.field.unordered(tag("not finite", "add"), [out, bias])
    return at.field.add(out, bias)


# ------------------------------------------------------------------ convolutions


def convolve(at: At, minus: tuple[int, int] = (-1, -1), transposed: bool = False) -> Residues:
    """Compute a convolution without bias: [lanes, N, M, *cells]; padding is added after the zero point is subtracted.

    A `transposed` one is a convolution of a map with zeros between its cells, by the reversed kernel.
    """
    needs_plain(at, (0, 1))
    shape, groups, maps = at.dims(1), at.attr("group", 1), shifted(at, 0, minus[0], 1)
    maps, plan = apart(at, maps, shape[2:]) if transposed else (maps, geometry(at, shape[2:]))
    outputs = at.shape[1]
    lanes, batch, channels = maps.shape[:3]
    at.evaluator.room(maps.size * prod(at.shape[2:]) * prod(plan.kernel) / max(1, prod(maps.shape[3:])))
    seen = windows(maps, plan)  # [lanes, N, C, *cells, J]
    seen = seen[..., ::-1] if transposed else seen
    cells = seen.shape[3:-1]
    each = channels // groups
    rows = np.moveaxis(seen.reshape(lanes, batch, groups, each, *cells, -1), (2, 3), (1, -2))
    rows = at.field.reshaped(rows, (groups, batch * prod(cells), each * seen.shape[-1]))
    each = (groups, outputs // groups, rows.shape[-1])
    stored = (groups, channels // groups, outputs // groups, prod(plan.kernel)) if transposed else each
    perm = (0, 2, 1, 3) if transposed else (0, 1, 2)
    term, residues = _stored(at, 1, minus[1], 0)
    out = product(at, rows, Weight(term, stored, perm, each, residues))
    out = out.reshape(lanes, groups, batch, prod(cells), outputs // groups)
    return out.transpose(0, 2, 1, 4, 3).reshape(lanes, batch, outputs, *cells)


def conv(at: At) -> Residues:
    out = convolve(at, transposed=at.op.name == "ConvTranspose")
    if not at.has(2):
        return out
    return _biased(at, out, along(at.res(2), 1, out.ndim - 1))


# ------------------------------------------------------------------ Einsum


def einsum(at: At) -> Residues:
    """Compute the sum of products that an equation names, one operand after the other."""
    needs_plain(at, range(len(at.term.inputs)))
    named = letters_of(at.attr("equation", b"").decode(), [len(at.dims(i)) for i in range(len(at.term.inputs))])
    if named is None:
        raise OpaqueError
    terms, result = named
    pairs = [[*zip(term, at.dims(i), strict=True)] for i, term in enumerate(terms)]
    larger = {letter for pair in pairs for letter, size in pair if size > 1}
    # A runtime repeats a dimension of size 1 where its letter has more elsewhere: it is as if it were not there.
    kept = [[each for each in pair if each[1] > 1 or each[0] not in larger] for pair in pairs]
    terms = ["".join(letter for letter, _ in pair) for pair in kept]
    x, one = _summed(at, 0, kept[0], result + "".join(terms[1:]))
    for i, pair in enumerate(kept[1:], start=1):
        y, other = _summed(at, i, pair, result + one + "".join(terms[i + 1 :]))
        x, one = _contracted(at, x, one, y, other, result + "".join(terms[i + 1 :]))
    return x.transpose(0, *(one.index(letter) + 1 for letter in result))


def _contracted(at: At, x: Residues, one: str, y: Residues, other: str, needed: str) -> tuple[Residues, str]:
    """Multiply two operands, and sum over the letters that both have and nothing needs."""
    sizes = dict(zip(one, x.shape[1:], strict=True)) | dict(zip(other, y.shape[1:], strict=True))
    stack = [c for c in one if c in other and c in needed]
    common = [c for c in one if c in other and c not in needed]
    m, n = [c for c in one if c not in other], [c for c in other if c not in one]

    def turned(z: Residues, letters: str, lead: list[str]) -> Residues:
        z = z.transpose(0, *(letters.index(c) + 1 for c in (*stack, *lead, *common)))
        return z.reshape(len(z), prod(sizes[c] for c in stack), prod(sizes[c] for c in lead), -1)

    out = of_values(at, turned(x, one, m), turned(y, other, n).swapaxes(-1, -2))
    letters = "".join([*stack, *m, *n])
    return out.reshape(len(out), *(sizes[c] for c in letters)), letters


def _summed(at: At, index: int, pair: Sequence[tuple[str, int]], needed: str) -> tuple[Residues, str]:
    """Sum an operand over the axes that nothing needs; take the diagonal of a letter that occurs twice."""
    letters = "".join(letter for letter, _ in pair)
    own = "".join(dict.fromkeys(letters))
    x = at.res(index)
    x = x.reshape(len(x), *(size for _, size in pair))
    if len(own) < len(letters):
        x = np.einsum(x, [0, *(letters.index(c) + 1 for c in letters)], [0, *(letters.index(c) + 1 for c in own)])
    gone = [i for i, letter in enumerate(own) if letter not in needed]
    x = at.field.total(x, gone, keepdims=False) if gone else x
    return x, "".join(letter for letter in own if letter in needed)


RULES: dict[str, Rule] = {
    "Gemm": gemm,
    "MatMul": matrices,
    "MatMulInteger": lambda at: matrices(at, minus=(2, 3)),
    **dict.fromkeys(("Conv", "ConvTranspose"), conv),
    "ConvInteger": lambda at: convolve(at, minus=(2, 3)),
    "Einsum": einsum,
}
