"""Cast and CastLike: which of them keep every number."""

from __future__ import annotations

from onnx import TensorProto

from fc2conv.verification.exact.evaluate import At, Rule
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.terms import INTEGERS, Term

_FLOATS: dict[int, int] = {
    TensorProto.FLOAT16: 11,
    TensorProto.BFLOAT16: 8,
    TensorProto.FLOAT: 24,
    TensorProto.DOUBLE: 53,
}
_HALF_RANGE: dict[int, int] = {
    TensorProto.FLOAT16: 5,
    TensorProto.BFLOAT16: 8,
    TensorProto.FLOAT: 8,
    TensorProto.DOUBLE: 11,
}


_MOVES = frozenset("Reshape Transpose Slice Split Gather Expand Tile".split())


def _origin(term: Term) -> Term:
    """The term whose numbers these are, before moves and casts that keep them: what was widened may be narrowed."""
    while term.op is not None and term.inputs and (first := term.inputs[0]) is not None:
        if not (term.op.name in _MOVES or (term.op.name == "Cast" and _kept(first, term))):
            return term
        term = first
    return term


def exact_cast(source: Term, result: Term) -> bool:
    """Decide whether a Cast keeps every number: no type is narrower, and no integer can wrap around."""
    return _kept(source, result) or _kept(_origin(source), result)


def _kept(source: Term, result: Term) -> bool:
    if source.kind in INTEGERS:
        fits = source.bounds is not None and (result.kind in _FLOATS or result.bounds is not None)
        return source.kind == TensorProto.BOOL or fits
    wider = source.kind in _FLOATS and result.kind in _FLOATS and _FLOATS[result.kind] >= _FLOATS[source.kind]
    return wider and _HALF_RANGE[result.kind] >= _HALF_RANGE[source.kind]


def cast(at: At) -> Residues:
    """Cast: exact to a wider type; else a hash that the type names."""
    source, target, x = at.operand(0), at.term.kind, at.res(0)
    if exact_cast(source, at.term):
        return x
    return at.field.mix(x, tag("Cast", source.kind, target) if source.kind in INTEGERS else tag("Cast", target))


RULES: dict[str, Rule] = {"Cast": cast, "CastLike": cast}
"""One rule for each operator."""
