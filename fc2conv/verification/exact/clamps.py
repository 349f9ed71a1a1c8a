"""Values that are clamped, chosen, or bent at 0, each brought to one form."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, isinf
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from fc2conv.verification.exact.terms import ABSENT, TURNS, Op, Term, digest, number

Clamp = tuple[Term, float, float]
"""A value that is clamped, and its lower and upper bound."""
Multiple = tuple[Term, float]
"""A value and a factor."""


def made(term: Term, name: str, version: int, attributes: Any, *inputs: Term) -> Term:
    """Return the term of another operator, with the shape and type of the term that it replaces."""
    key = digest("law", name, version, sorted(attributes.items()), [each.key for each in inputs])
    op = Op(name, version, attributes, NodeProto(op_type=name), term.label, key)
    return Term(key, term.label, term.shape, term.kind, op, inputs)


def read(term: Term, name: str) -> Term:
    """Return the first operand of a term of this operator; ABSENT for any other term."""
    return term.operand(0) if term.op.name == name else ABSENT


def one_number(term: Term) -> float | None:
    """Return the number that a float constant of one element has; None for any other term."""
    if term.integer or term.value is None or term.value.size != 1 or term.value.dtype.kind == "O":
        return None
    return float(term.value.reshape(-1)[0])


def clamped(term: Term) -> Term:
    """Return a clamp of a clamp as one Clip; any other term as it is."""
    own = clamp(term)
    if own is None:
        return term
    inner, moves = own[0], []
    while (inner.op.name in TURNS and inner.operand(0) is not ABSENT) or inner.copies:
        moves.append(inner)
        inner = inner.inputs[0]
    if clamp(inner) is None:
        return term
    source, low, high = _whole((inner, *own[1:]))
    if low == inf or high == -inf:
        return term  # it is that bound
    dtype = helper.tensor_dtype_to_np_dtype(term.kind)
    bounds = (ABSENT if isinf(end) else number(np.asarray(end, dtype), "bound") for end in (low, high))
    whole = made(term, "Clip", 13, {}, source, *bounds)
    whole.shape = source.shape
    for move in reversed(moves):
        key = digest("clamp", move.key, whole.key)
        whole = Term(key, term.label, move.shape, term.kind, move.op, (whole, *move.inputs[1:]))
    return whole


def _whole(last: Clamp) -> Clamp:
    """Merge a clamp with the clamps before it."""
    source, low, high = last
    before = clamp(source)
    if before is None:
        return last
    first, *ends = _whole(before)
    return first, *(min(max(end, low), high) for end in ends)  # type: ignore[return-value]


def clamp(term: Term) -> Clamp | None:
    """Return what a term clamps and its bounds; None unless its type and bounds are known and the shape stays."""
    op, numbers = term.op, [one_number(each) for each in term.inputs]
    if term.integer or not term.kind or not numbers:
        return None
    first, low, high = term.inputs[0], -inf, inf
    if op.name == "Relu":
        low = 0.0
    elif op.name == "Clip" and op.version < 11:
        low, high = op.attributes.get("min", low), op.attributes.get("max", high)
    elif op.name == "Clip":
        if any(each is not ABSENT and bound is None for each, bound in zip(term.inputs[1:], numbers[1:], strict=True)):
            return None
        low, high = (end if bound is None else bound for end, bound in zip((low, high), [*numbers[1:], None, None]))  # noqa: B905
    elif op.name in ("Max", "Min") and len(numbers) == 2 and numbers.count(None) == 1:
        known = numbers.index(None) == 0
        first, bound = term.inputs[not known], numbers[known] or 0.0
        low, high = (bound, inf) if op.name == "Max" else (-inf, bound)
    else:
        return None
    return (first, low, high) if first is not ABSENT and first.shape == term.shape and low <= high else None


def chosen(term: Term) -> Term:
    """Return a Where by a comparison of what it chooses from as Max or Min, or by the sign of x as a LeakyRelu."""
    condition, *pair = term.inputs
    compared, name = condition.inputs, condition.op.name
    if term.integer or len(compared) != 2 or not name.startswith(("Greater", "Less")):
        return term
    straight, crossed = (all(map(_equal, pair, each)) for each in (compared, compared[::-1]))
    if not straight and not crossed:
        signs = [one_number(each) for each in compared]
        rising = (signs[0] == 0) == name.startswith("Less")
        above, below = map(multiple, pair if rising else pair[::-1])
        known = 0 in signs and above[0] in compared
        return (bent(term, above, below) or term) if known else term
    greatest = straight == name.startswith("Greater")
    return clamped(made(term, "Max" if greatest else "Min", 13, {}, *compared))


def multiple(term: Term) -> Multiple:
    """Return the value that a term is a multiple of, and the factor; 1 where it is no multiple."""
    if term.op.name == "Neg":
        source, factor = multiple(term.inputs[0])
        return source, -factor
    for x, other in (term.inputs, term.inputs[::-1]) if term.op.name == "Mul" else ():
        number = one_number(other)
        if number is not None and x.shape == term.shape:
            return x, number
    return term, 1.0


def factors(term: Term) -> Iterator[tuple[Term, bool]]:
    """Yield the numbers above 0 that a value is multiplied by, or divided by (True), past sums with other numbers."""
    while len(term.inputs) == 2 and term.op.name in ("Add", "Sub", "Mul", "Div"):
        known = [one_number(each) for each in term.inputs]
        rest, number, value = (*term.inputs, known[1]) if known[1] is not None else (*term.inputs[::-1], known[0])
        turned = rest is term.inputs[1] and term.op.name in ("Sub", "Div")
        if value is None or rest.shape != term.shape or turned:
            return
        if term.op.name in ("Mul", "Div"):
            if not 0 < value < inf:
                return
            yield number, term.op.name == "Div"
        term = rest


def bent(term: Term, above: Multiple, below: Multiple) -> Term | None:
    """Return one multiple of a value above 0 and another below 0 as a LeakyRelu; None where it is no LeakyRelu."""
    (source, one), (other, slope) = above, below
    if source.key != other.key or source.shape != term.shape or one != 1.0:
        return None
    if not isfinite(slope) or float(np.float32(slope)) != slope:
        return None
    return made(term, "LeakyRelu", 16, {"alpha": slope}, source)


def _equal(one: Term, other: Term) -> bool:
    """Return whether two operands are the same term, or the same one number."""
    number = one_number(one)
    return one.key == other.key or (number is not None and number == one_number(other))
