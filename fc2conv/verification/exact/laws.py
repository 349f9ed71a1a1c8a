"""What nodes are by a law of their functions, for two models that are not the same without it.

- f(c x) = c f(x) for c > 0, where f is Relu, LeakyRelu, PRelu, Abs, or a MaxPool and c one number.
- A MaxPool behind a MaxPool without strides is one MaxPool, and a maximum behind a Relu is that of a maximum.
- exp(x) / sum(exp(x)) is Softmax(x), which no shift of x changes.
- log(Softmax(x)) and x - log(sum(exp(x))) are LogSoftmax(x).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from onnx import NodeProto

from fc2conv.verification.exact.terms import Op, Term, digest

_HOMOGENEOUS = frozenset("Relu LeakyRelu PRelu Abs MaxPool".split())
_GREATEST = ("MaxPool", "GlobalMaxPool", "ReduceMax")
_GROUPED = 13
"""The version of Softmax from which its group is one axis."""


def lawful(term: Term) -> Term:
    """Return what a law makes of a term; a term to which no law applies stays as it is."""
    name, first = _operator(term), next(iter(term.inputs), None)
    if first is None or term.integer or term.computed or term.index:
        return term
    if name == "MaxPool" and _operator(first) == "MaxPool":
        return _pooled(term, first)
    if name in _GREATEST and term.op is not None and first.op is not None and first.op.name == "Relu":
        inner = _made(term, name, term.op.version, term.op.attributes, first.inputs[0], *term.inputs[1:])
        return _made(term, "Relu", first.op.version, {}, inner)
    if name in _HOMOGENEOUS:
        return next(_multiples(term, first), term)
    if name == "Log" and _operator(first) == "Softmax" and first.op is not None:
        return _made(term, "LogSoftmax", first.op.version, first.op.attributes, first.inputs[0])
    second = term.inputs[1] if len(term.inputs) > 1 else None
    exps, total = (first, second) if name == "Div" else (None, _read(second, "Log")) if name == "Sub" else (None, None)
    axis, whole = _axis(total), _read(total, "ReduceSum")
    source = _read(whole, "Exp")
    if axis is None or source is None or source.shape != term.shape:
        return term
    if exps is whole:
        return _made(term, "Softmax", _GROUPED, {"axis": axis}, source)
    return _made(term, "LogSoftmax", _GROUPED, {"axis": axis}, source) if name == "Sub" and source is first else term


def _made(term: Term, name: str, version: int, attributes: Any, *inputs: Term | None) -> Term:
    """The term of another operator, in the place of one."""
    key = digest("law", name, version, sorted(attributes.items()), [each and each.key for each in inputs])
    op = Op(name, version, attributes, NodeProto(op_type=name), term.label, key)
    return Term(key, term.label, term.shape, term.kind, op, inputs)


def _operator(term: Term | None) -> str:
    return term.op.name if term is not None and term.op is not None else ""


def _read(term: Term | None, name: str) -> Term | None:
    """The first operand of a term of an operator; None for any other term."""
    return term.inputs[0] if term is not None and _operator(term) == name else None


def _multiples(term: Term, product: Term) -> Iterator[Term]:
    """A homogeneous function of a positive multiple, as the multiple of the function."""
    assert term.op is not None
    for x, factor in (product.inputs, product.inputs[::-1]) if _operator(product) == "Mul" else ():
        values = None if factor is None else factor.value
        if x is None or values is None or x.shape != product.shape or (values.size > 1 and term.op.name == "MaxPool"):
            continue
        if bool((values > 0).all() and (values < inf).all()):
            inner = _made(term, term.op.name, term.op.version, term.op.attributes, x, *term.inputs[1:])
            yield _made(term, "Mul", 14, {}, inner, factor)


def _axis(total: Term | None) -> int | None:
    """The one axis of a ReduceSum that keeps its dimensions."""
    if total is None or total.op is None or total.op.name != "ReduceSum" or not total.op.attributes.get("keepdims", 1):
        return None
    axes = total.inputs[1].value if len(total.inputs) > 1 and total.inputs[1] is not None else None
    listed = total.op.attributes.get("axes", [] if axes is None else axes.reshape(-1))
    return int(listed[0]) if len(listed) == 1 else None


def _pooled(term: Term, inner: Term) -> Term:
    """A MaxPool of a MaxPool as one, whose windows are all that the two see."""
    assert term.op is not None
    assert inner.op is not None
    outer, given = term.op.attributes, inner.op.attributes
    kernels = outer["kernel_shape"], given["kernel_shape"]
    ones, zeros = [1] * len(kernels[0]), [0] * 2 * len(kernels[0])
    plain = {"dilations": ones, "auto_pad": b"NOTSET", "ceil_mode": 0, "storage_order": 0}
    if any(each.get(name, value) != value for each in (outer, given) for name, value in plain.items()):
        return term
    if given.get("strides", ones) != ones or inner.index:
        return term
    pads = zip(outer.get("pads", zeros), given.get("pads", zeros), strict=True)
    whole = {
        "kernel_shape": [a + b - 1 for a, b in zip(*kernels, strict=True)],
        "pads": [a + b for a, b in pads],
        "strides": outer.get("strides", ones),
    }
    return lawful(_made(term, "MaxPool", term.op.version, whole, inner.inputs[0]))
