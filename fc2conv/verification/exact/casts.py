"""Casts: which types can represent all numbers of which others."""

from __future__ import annotations

from collections.abc import Collection

from onnx import TensorProto

from fc2conv.verification.exact.evaluate import At, OpaqueError
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.terms import CHOOSE, INTEGERS, Term, limits, unmoved

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
