"""What nodes are by a law of their functions, so that two ways to write one function are one.

Always, as the terms of a model are made:

- Relu, Clip, and Max or Min with one number, one behind the other, are one Clip; layout nodes between come behind it.
- Where(a > b, a, b) is Max(a, b), and Where(x > 0, x, cx) a LeakyRelu.
- A MaxPool of a map with a border that is no greater than any element is one with pads.

For two models that are not the same without it:

- f(c x) = c f(x) for c > 0, where f is Relu, LeakyRelu, PRelu, Abs, or a MaxPool and c one number.
- A MaxPool behind a MaxPool without strides is one MaxPool, and a maximum behind a Relu is that of a maximum.
- exp(x) / sum(exp(x)) is Softmax(x), which no shift of x changes.
- log(Softmax(x)) and x - log(sum(exp(x))) are LogSoftmax(x), and exp(LogSoftmax(x)) is Softmax(x).
- Max(x, cx) is a LeakyRelu, if c < 1.
- E(x) E(-x) = 1, of which Sigmoid and Tanh are made; f(-x) = -f(x) for Erf, Sin and the like (in `pointwise`).
- ArgMax(f(x)) is ArgMax(x), if f rises.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np
from onnx import TensorProto

from fc2conv.verification.exact.clamps import (
    bent,
    chosen,
    clamp,
    clamped,
    made,
    multiple,
    one_number,
    operator_of,
    read,
)
from fc2conv.verification.exact.terms import Term, unmoved

_HOMOGENEOUS = frozenset("Relu LeakyRelu PRelu Abs MaxPool".split())
_GREATEST = ("MaxPool", "ReduceMax")
_GROUPED = 13
"""The version of Softmax from which its group is one axis."""
_NOT_NEGATIVE = frozenset("Relu Sigmoid Exp Softmax Abs Sqrt".split())
_OF_ALL = frozenset("Add Mul Concat MaxPool AveragePool ReduceMax ReduceMean".split())
"""Functions that give nothing below 0, and those that do not of operands that are not."""
_DEEP = 8
_RISING = frozenset("Sigmoid Tanh Exp Log Erf Sqrt".split())
_LOGS = {("Log", "Softmax"): "LogSoftmax", ("Exp", "LogSoftmax"): "Softmax"}


def written(term: Term) -> Term:
    """Return a node in the one way in which its function is written; most terms as they are."""
    name = operator_of(term)
    if name == "Where" and len(term.inputs) == 3:
        return chosen(term)
    return _unpadded(term) if name == "MaxPool" and term.inputs else clamped(term)


def lawful(term: Term) -> Term:
    """Return what a law makes of a term; a term to which no law applies stays as it is."""
    name, first = operator_of(term), next(iter(term.inputs), None)
    if name in ("ArgMax", "ArgMin") and term.op is not None and _rises(first, term.op.attributes.get("axis", 0)):
        return lawful(made(term, name, term.op.version, term.op.attributes, first and first.inputs[0]))
    if first is None or term.shape is None or term.integer or term.computed or term.index:
        return term
    if name == "MaxPool" and operator_of(first) == "MaxPool":
        return _pooled(term, first)
    if name in _GREATEST and term.op is not None and first.op is not None and first.op.name == "Relu":
        inner = made(term, name, term.op.version, term.op.attributes, first.inputs[0], *term.inputs[1:])
        return made(term, "Relu", first.op.version, {}, inner)
    if name in _HOMOGENEOUS:
        return next(_multiples(term, first), term)
    inner = lawful(first) if name in ("Exp", "Log") else first
    if (name, operator_of(inner)) in _LOGS and inner.op is not None:
        other = _LOGS[name, inner.op.name]
        return made(term, other, inner.op.version, inner.op.attributes, inner.inputs[0])
    if name in ("Max", "Min") and len(term.inputs) == 2:
        pair = sorted(map(multiple, term.inputs), key=lambda each: each[1], reverse=name == "Max")
        return bent(term, *pair) or term
    second = term.inputs[1] if len(term.inputs) > 1 else None
    exps, total = (first, second) if name == "Div" else (None, read(second, "Log")) if name == "Sub" else (None, None)
    axis, whole = _axis(total), read(total, "ReduceSum")
    source = read(whole, "Exp")
    if axis is None or source is None or source.shape != term.shape:
        return term
    if exps is whole:
        return made(term, "Softmax", _GROUPED, {"axis": axis}, source)
    return made(term, "LogSoftmax", _GROUPED, {"axis": axis}, source) if name == "Sub" and source is first else term


def not_negative(term: Term | None, deep: int = 0) -> bool:
    """Whether no element of a value is below 0."""
    if term is None or deep > _DEEP:
        return False
    term = unmoved(term)
    if term.value is not None and term.value.dtype.kind in "fiub":
        return bool((term.value >= 0).all())
    if term.integer:
        return term.bounds is not None and term.bounds[0] >= 0
    name, bounds = operator_of(term), clamp(term)
    if name in _NOT_NEGATIVE or (bounds is not None and bounds[1] >= 0):
        return True
    if name == "Pad":
        padding = _padding(term)
        return padding is not None and padding[0] >= 0 and not_negative(term.inputs[0], deep + 1)
    if name == "DequantizeLinear":
        x, scale, zero = (*term.inputs, None)[:3]
        known = not_negative(scale, deep + 1) and (zero is None or zero.value is not None)
        point = float(zero.value.max()) if zero is not None and zero.value is not None else 0.0
        return known and x is not None and x.bounds is not None and x.bounds[0] >= point
    every = term.inputs[:1] if name.startswith("Reduce") else term.inputs
    return name in _OF_ALL and not term.index and all(not_negative(each, deep + 1) for each in every)


def _rises(term: Term | None, axis: int) -> bool:
    """Whether a value rises with what it is computed from, along an axis."""
    if term is None or term.op is None or term.shape is None:
        return False
    if term.op.name in ("Softmax", "LogSoftmax"):
        rank, newer = len(term.shape), term.op.version >= _GROUPED
        own = term.op.attributes.get("axis", -1 if newer else 1) % rank
        return axis % rank == own or (not newer and axis % rank > own)
    return term.op.name in _RISING and term.kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


# ------------------------------------------------------------------ pools


def _padding(term: Term) -> tuple[float, list[tuple[int, int]]] | None:
    """The number that a Pad puts around a value, and how much of it in front and behind; None for any other term."""
    if (
        term.op is None
        or term.op.name != "Pad"
        or term.shape is None
        or term.op.attributes.get("mode", b"constant") != b"constant"
    ):
        return None
    given, (first, pads, fill, axes) = term.op.attributes, (*term.inputs, None, None, None)[:4]
    border = given.get("value", 0.0) if fill is None else one_number(fill)
    sizes = given.get("pads") if pads is None or pads.value is None else pads.value.tolist()
    rank = 0 if first is None or first.shape is None else len(first.shape)
    if border is None or sizes is None or not rank or (axes is not None and axes.value is None):
        return None
    widths, listed = [(0, 0)] * rank, range(rank) if axes is None or axes.value is None else axes.value.tolist()
    for i, axis in enumerate(listed):
        widths[axis] = sizes[i], sizes[i + len(listed)]
    return border, widths


def _unpadded(term: Term) -> Term:
    """A MaxPool of a map with a border, that no element is below, as one that leaves its pads out."""
    first = term.inputs[0]
    padding = None if first is None else _padding(first)
    if (
        padding is None
        or first is None
        or term.op is None
        or term.shape is None
        or term.index
        or term.integer
        or not term.kind
    ):
        return term
    (border, widths), source, given = padding, first.inputs[0], term.op.attributes
    kernel = given["kernel_shape"]
    plain = {"auto_pad": b"NOTSET", "ceil_mode": 0}
    lowest = float(np.finfo(np.float32).min) if term.kind == TensorProto.FLOAT else -inf
    below = border <= lowest or (border <= 0 and not_negative(source))
    if not below or widths[:2] != [(0, 0)] * 2 or any(given.get(name, value) != value for name, value in plain.items()):
        return term
    own, around = given.get("pads", [0] * 2 * len(kernel)), [*zip(*widths[2:], strict=True)]
    pads = [a + b for a, b in zip(own, [*around[0], *around[1]], strict=True)]
    steps = given.get("dilations", [1] * len(kernel))
    reach = [(size - 1) * step for size, step in zip(kernel, steps, strict=True)]
    over = source is None or source.shape is None or any(a < b for a, b in zip(source.shape[2:], steps, strict=True))
    if over or min(map(min, widths)) < 0 or any(pad > most for pad, most in zip(pads, [*reach, *reach], strict=True)):
        return term  # some window would hold nothing else
    return made(term, "MaxPool", term.op.version, {**given, "pads": pads}, source)


def _multiples(term: Term, product: Term) -> Iterator[Term]:
    """A homogeneous function of a positive multiple, as the multiple of the function."""
    assert term.op is not None
    for x, factor in (product.inputs, product.inputs[::-1]) if operator_of(product) == "Mul" else ():
        values = None if factor is None else factor.value
        if x is None or values is None or x.shape != product.shape or (values.size > 1 and term.op.name == "MaxPool"):
            continue
        if bool((values > 0).all() and (values < inf).all()):
            inner = made(term, term.op.name, term.op.version, term.op.attributes, x, *term.inputs[1:])
            yield made(term, "Mul", 14, {}, inner, factor)


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
    return lawful(made(term, "MaxPool", term.op.version, whole, inner.inputs[0]))
