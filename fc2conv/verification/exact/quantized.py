"""Quantized operators: exact sums, and one rounding that is a hash of the real number before it; and casts.

A result of DequantizeLinear is an integer times one scale, even after it was moved: to quantize it again by that scale
gives the integer back. A positive scale keeps the order, so that a maximum is the maximum of the integers.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
from onnx import TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Array, Residues, tag
from fc2conv.verification.exact.laws import not_negative
from fc2conv.verification.exact.linear import along, of_values
from fc2conv.verification.exact.operators import folded
from fc2conv.verification.exact.pointwise import by_parts, hashed
from fc2conv.verification.exact.terms import ABSENT, CHOOSE, INTEGERS, Term, limits, unmoved
from fc2conv.verification.nodes import SCALED

_NAMES = ("DequantizeLinear", "com.microsoft::DequantizeLinear")


@dataclass(frozen=True)
class Step:
    """One positive scale, a zero point (ABSENT: 0) and the type of the integers."""

    scale: Term
    zero: Term
    kind: int

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """What is equal in two steps that are the same."""
        return self.scale.key, self.zero.key, self.kind

    def integers(self, at: At, x: Residues) -> Residues:
        """Compute x / scale + zero point."""
        return at.field.add(at.field.mul(x, at.field.inverse(_one(at, self.scale))), _one(at, self.zero))

    def real(self, at: At, x: Residues) -> Residues:
        """Compute (x - zero point) * scale."""
        return at.field.mul(at.field.sub(x, _one(at, self.zero)), _one(at, self.scale))


def _one(at: At, term: Term) -> Residues:
    return at.field.of(np.zeros(1, np.int64) if term.value is None else term.value.reshape(-1))


def step(scale: Term, zero: Term, kind: int) -> Step | None:
    """Return the step of a scale and a zero point, if both are one known number."""
    values = [term.value for term in (scale, zero) if term is not ABSENT]
    if scale is ABSENT or any(value is None or value.size != 1 for value in values):
        return None
    return Step(scale, zero, kind) if float(scale.numbers().reshape(-1)[0]) > 0 else None


def stepped(term: Term) -> Step | None:
    """Return the step of all elements of a value; None where it is not known to have one."""
    term = unmoved(term, CHOOSE)
    if term.op.name == "Concat":
        found = [stepped(each) for each in term.inputs]
        return found[0] if len({each and each.key for each in found}) == 1 else None
    if term.op.name not in _NAMES or term.op.attributes.get("block_size"):
        return None
    return step(term.operand(1), term.operand(2), term.inputs[0].kind)


def quantize(at: At) -> Residues:
    """Apply QuantizeLinear: as a hash of x / scale, the zero point and the type.

    Where the zero point is the least number of the type, every x below 0 gives that number: x is rectified.
    """
    if at.attr("block_size", 0) or not at.attr("saturate", 1) or at.operand(0).atoms:
        raise OpaqueError
    if at.operand(1).size == 1:
        return by_parts(at.field, at.operand(0), at.res(0), partial(_quantized, at))
    return _quantized(at, at.operand(0), at.res(0))


def _quantized(at: At, term: Term, x: Residues) -> Residues:
    """Quantize an operand, or a part of it."""
    field, zero, rank = at.field, at.term.operand(2), x.ndim - 1
    if term.computed and term is not at.operand(0):
        made = folded(at.term, [at.evaluator.numbers_of(each) for each in (term, *at.term.inputs[1:])])
        if made is not None:
            return field.of(made)
    own, found = step(at.operand(1), zero, at.term.kind), stepped(term)
    if own is not None and found is not None and own.key == found.key:
        return own.integers(at, x)
    axis, least = at.attr("axis", 1), limits(at.term.kind)
    points, scale = np.zeros(1) if zero is ABSENT else zero.value, at.operand(1).value
    rising = scale is not None and bool((scale > 0).all())
    if rising and points is not None and least is not None and (points.astype(np.float64) == least[0]).all():
        x = x if not_negative(term) else field.relu(x)
    real = field.mul(x, field.inverse(along(at.res(1), axis, rank)))
    point = along(at.res(2), axis, rank) if at.has(2) else field.of(np.zeros((), np.int64))
    return field.ordered(tag("quantized", at.term.kind), [real, point])


def dequantize(at: At) -> Residues:
    """Apply DequantizeLinear: compute (x - zero point) * scale."""
    field, x = at.field, at.res(0)
    rank, axis, block = x.ndim - 1, at.attr("axis", 1), at.attr("block_size", 0)

    def spread(index: int) -> Residues:
        if not block:
            return along(at.res(index), axis, rank)
        wide = np.repeat(at.res(index), block, axis=axis % rank + 1)
        return np.take(wide, np.arange(x.shape[axis % rank + 1]), axis=axis % rank + 1)

    return field.mul(field.sub(x, spread(2)) if at.has(2) else x, spread(1))


def scaled(at: At) -> Residues:
    """Apply an uninterpreted rounding to each element, by one scale and one zero point for all."""
    if any(term is not ABSENT and term.size != 1 for term in at.term.inputs[1:]):
        raise OpaqueError
    return hashed(at)


def dynamic_quantize(at: At) -> Residues:
    """Apply DynamicQuantizeLinear: hash all elements, in any order, to one scale and one zero point."""
    field, x = at.field, at.res(0)
    whole = field.total(field.mix(x.reshape(field.lanes, -1), tag("range")), [0], keepdims=False)
    scale, zero = field.mix(whole, tag("dynamic scale")), field.mix(whole, tag("dynamic zero point"))
    if at.term.index:
        return (scale, zero)[at.term.index - 1]
    return field.ordered(tag("quantized", at.term.kind), [field.mul(x, field.inverse(scale)), zero])


def matmul_nbits(at: At) -> Residues:
    """Compute MatMulNBits: a, b in blocks along K, their scales, zero points, no order of groups, bias.

    Where constants are taken as rounded, so is the weight that b and the scales make.
    """
    field, bits, width = at.field, at.attr("bits", 4), at.attr("K", 0)
    block, rows = at.attr("block_size", 0), at.attr("N", 0)
    if bits not in (2, 4, 8) or at.has(4):
        raise OpaqueError
    packed = _stored(at, 1)
    blocks = packed.shape[1]
    whole = _unpacked(packed.reshape(rows, -1), bits).reshape(rows, blocks, block)
    zero = np.full((1, 1, 1), 1 << (bits - 1))
    if at.has(3):
        given = _stored(at, 3).reshape(rows, -1)
        zero = (_unpacked(given, bits) if at.operand(3).integer else given)[:, :blocks, None]
    if at.evaluator.rounds(at.term):
        scale = _stored(at, 2).reshape(rows, blocks, 1)
        wide = whole.astype(np.float32) - zero.astype(np.float32)
        real = field.of((wide * scale.astype(np.float32)).astype(scale.dtype))
    else:
        steps = field.of(_stored(at, 2)) if at.operand(2).constant else at.res(2)
        real = field.mul(field.sub(field.of(whole), field.of(zero)), steps.reshape(field.lanes, rows, blocks, 1))
    weight = real.reshape(field.lanes, rows, -1)[..., :width]
    out = of_values(at, at.res(0), weight.swapaxes(-1, -2))
    return field.add(out, at.res(5)) if at.has(5) else out


def _stored(at: At, index: int) -> Array:
    """Return the elements of an operand that is stored, or computed from what is stored."""
    found = at.evaluator.numbers_of(at.operand(index)) if at.operand(index).foldable else None
    if found is None:
        raise OpaqueError
    return np.asarray(found)


def _unpacked(packed: Array, bits: int) -> Array:
    """Unpack the numbers of a few bits in each byte, the lowest bits first."""
    parts = [packed.astype(np.int64) >> shift & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*packed.shape[:-1], -1)


# ------------------------------------------------------------------ casts

_FLOATS: dict[int, tuple[int, int]] = {
    TensorProto.FLOAT16: (11, 5),
    TensorProto.BFLOAT16: (8, 8),
    TensorProto.FLOAT: (24, 8),
    TensorProto.DOUBLE: (53, 11),
}
"""Bits of the significand and of the exponent."""


_KEPT = CHOOSE | {"Relu"}
_FIT = _KEPT | {"Neg", "Abs"}
"""Operators whose results every type can represent if it can their operands; `_FIT`: every type of floats."""


def exact_cast(source: Term, result: Term) -> bool:
    """Decide whether a Cast keeps every number: its type is no narrower, or it narrows again what was widened."""
    origin, floats = (_origin(source, moves) for moves in (_KEPT, _FIT))
    return kept(source, result) or kept(origin, result) or (not floats.integer and kept(floats, result))


def _origin(source: Term, moves: Collection[str]) -> Term:
    """Return the value before it was widened; since then it was only moved or chosen from."""
    origin = unmoved(source, moves)
    while origin.op.name == "Cast" and kept(origin.inputs[0], origin):
        origin = unmoved(origin.inputs[0], moves)
    return origin


def kept(source: Term, result: Term) -> bool:
    """Decide whether the type of a result has every number of a source, where no integer can have wrapped around."""
    if source.kind in INTEGERS:
        if source.kind == TensorProto.BOOL:
            return True
        most = 2.0 ** _FLOATS[result.kind][0] if result.kind in _FLOATS else 0.0
        low, high = limits(result.kind) or (-most, most)
        return source.bounds is not None and low <= source.bounds[0] and source.bounds[1] <= high
    if source.kind not in _FLOATS or result.kind not in _FLOATS:
        return False
    return all(wide >= narrow for wide, narrow in zip(_FLOATS[result.kind], _FLOATS[source.kind], strict=True))


def cast(at: At) -> Residues:
    """Apply Cast: to a wider type exactly; else as a hash that the type names.

    Integers that fit a type of floats fit it wherever they occur again, even where only larger bounds are known.
    """
    source, target, x = at.operand(0), at.term.kind, at.res(0)
    exact = exact_cast(source, at.term)
    if source.integer:
        exact = at.field.fits(target, x, known=exact)
    if exact:
        return x
    if not at.attr("saturate", 1) or at.attr("round_mode", b"up") != b"up":
        raise OpaqueError
    return at.field.mix(x, tag("Cast", source.kind, target) if source.kind in INTEGERS else tag("Cast", target))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Cast", "CastLike"), cast),
    **dict.fromkeys(("QuantizeLinear", "com.microsoft::QuantizeLinear"), quantize),
    **dict.fromkeys(("DequantizeLinear", "com.microsoft::DequantizeLinear"), dequantize),
    **dict.fromkeys(SCALED, scaled),
    "com.microsoft::MatMulNBits": matmul_nbits,
    "DynamicQuantizeLinear": dynamic_quantize,
}
