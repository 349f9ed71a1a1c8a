"""Clamps of clamps: Relu, Clip, and Max or Min with one number, one behind the other, are one Clip.

Layout nodes between two of them come behind it.
"""

from __future__ import annotations

from math import inf, isinf

import numpy as np
from onnx import NodeProto, helper

from fc2conv.verification.exact.terms import RESHAPES, Op, Term, digest, number

_LAYOUT = RESHAPES | {"Identity", "Transpose"}
Clamp = tuple[Term, float, float]
"""What is brought between two bounds, and these."""


def clamped(term: Term) -> Term:
    """Return a clamp of a clamp as one Clip; any other term as it is."""
    own = _clamp(term)
    if own is None:
        return term
    inner, moves = own[0], []
    while inner.op is not None and inner.op.name in _LAYOUT and inner.inputs[0] is not None:
        moves.append(inner)
        inner = inner.inputs[0]
    if _clamp(inner) is None:
        return term
    source, low, high = _whole((inner, *own[1:]))
    dtype = helper.tensor_dtype_to_np_dtype(term.kind)
    bounds = (None if isinf(end) else number(np.asarray(end, dtype), "bound") for end in (low, high))
    key = digest("clamp", source.key, low, high)
    op = Op("Clip", 13, {}, NodeProto(op_type="Clip"), term.label, key)
    made = Term(key, term.label, source.shape, term.kind, op, (source, *bounds))
    for move in reversed(moves):
        key = digest("clamp", move.key, made.key)
        made = Term(key, term.label, move.shape, term.kind, move.op, (made, *move.inputs[1:]))
    return made


def _whole(clamp: Clamp) -> Clamp:
    """A clamp with those before it."""
    source, low, high = clamp
    before = _clamp(source)
    if before is None:
        return clamp
    first, *ends = _whole(before)
    return first, *(min(max(end, low), high) for end in ends)  # type: ignore[return-value]


def _clamp(term: Term) -> Clamp | None:
    """Return what a term clamps and its bounds; None unless the type and these are known and the shape stays."""
    op, numbers = term.op, [_one(each) for each in term.inputs]
    if op is None or term.integer or not term.kind or not numbers:
        return None
    first, low, high = term.inputs[0], -inf, inf
    if op.name == "Relu":
        low = 0.0
    elif op.name == "Clip" and op.version < 11:
        low, high = op.attributes.get("min", low), op.attributes.get("max", high)
    elif op.name == "Clip":
        if any(each is not None and bound is None for each, bound in zip(term.inputs[1:], numbers[1:], strict=True)):
            return None
        low, high = (end if bound is None else bound for end, bound in zip((low, high), [*numbers[1:], None, None]))  # noqa: B905
    elif op.name in ("Max", "Min") and len(numbers) == 2 and numbers.count(None) == 1:
        known = numbers.index(None) == 0
        first, bound = term.inputs[not known], numbers[known] or 0.0
        low, high = (bound, inf) if op.name == "Max" else (-inf, bound)
    else:
        return None
    return (first, low, high) if first is not None and first.shape == term.shape and low <= high else None


def _one(term: Term | None) -> float | None:
    """The one number that a float constant is."""
    value = None if term is None or term.integer else term.value
    return None if value is None or value.size != 1 else float(value.reshape(-1)[0])
