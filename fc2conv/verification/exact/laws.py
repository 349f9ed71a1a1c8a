"""Laws of functions: they bring nodes to one form, so that two ways to write one function are one.

Always, as the terms of a model are made:

- Relu, Clip, and Max or Min with one number, one after the other, are one Clip; layout nodes between come after it.
- Where(a > b, a, b) is Max(a, b), and Where(x > 0, x, cx) a LeakyRelu.
- A MaxPool of a map with a border that is no greater than any element is one with pads.

For two models that are not the same without it:

- f(c x) = c f(x) for c > 0, where f is Relu, LeakyRelu, PRelu, Abs, or a MaxPool and c one number.
- A MaxPool after a MaxPool whose windows leave no gap is one MaxPool, and a maximum after a Relu is the Relu of a
  maximum.
- exp(x) / sum(exp(x)) is Softmax(x), and no shift of x changes it.
- log(Softmax(x)) and x - log(sum(exp(x))) are LogSoftmax(x), and exp(LogSoftmax(x)) is Softmax(x).
- Max(x, cx) is a LeakyRelu, if c < 1.
- E(x) E(-x) = 1, and Sigmoid and Tanh are made of E; f(-x) = -f(x) for Erf, Sin and the like (in `pointwise`).
- ArgMax(f(x)) is ArgMax(x), if f rises.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np
from onnx import TensorProto

from fc2conv.verification.exact.clamps import bent, chosen, clamp, clamped, made, multiple, one_number, read
from fc2conv.verification.exact.terms import ABSENT, Term, unmoved

_HOMOGENEOUS = frozenset("Relu LeakyRelu PRelu Abs MaxPool".split())
_GREATEST = ("MaxPool", "ReduceMax")
_GROUPED = 13
"""The version of Softmax from which its group is one axis."""
_NOT_NEGATIVE = frozenset("Relu Sigmoid Exp Softmax Abs Sqrt".split())
_OF_ALL = frozenset("Add Mul Concat MaxPool AveragePool ReduceMax ReduceMean".split())
"""Functions whose results are never below 0 (`_NOT_NEGATIVE`), and those where this needs operands that are not."""
_DEEP = 8
_RISING = frozenset("Sigmoid Tanh Exp Log Erf Sqrt".split())
_LOGS = {("Log", "Softmax"): "LogSoftmax", ("Exp", "LogSoftmax"): "Softmax"}


def written(term: Term) -> Term:
    """Return a node in the one form of its function; most terms stay as they are."""
    if term.op.name == "Where" and len(term.inputs) == 3:
        return chosen(term)
    return _unpadded(term) if term.op.name == "MaxPool" else clamped(term)


def lawful(term: Term) -> Term:
    """Return the term that a law makes of a term; a term to which no law applies stays as it is."""
    op, first, second = term.op, term.operand(0), term.operand(1)
    if op.name in ("ArgMax", "ArgMin") and _rises(first, op.attributes.get("axis", 0)):
        return lawful(made(term, op.name, op.version, op.attributes, first.inputs[0]))
    if first is ABSENT or term.shape is None or term.integer or term.computed or term.index:
        return term
    if op.name == "MaxPool" and first.op.name == "MaxPool":
        return _pooled(term, first)
    if op.name in _GREATEST and first.op.name == "Relu":
        inner = made(term, op.name, op.version, op.attributes, first.inputs[0], *term.inputs[1:])
        return made(term, "Relu", first.op.version, {}, inner)
    if op.name in _HOMOGENEOUS:
        return next(_multiples(term, first), term)
    inner = lawful(first) if op.name in ("Exp", "Log") else first
    if (op.name, inner.op.name) in _LOGS:
        return made(term, _LOGS[op.name, inner.op.name], inner.op.version, inner.op.attributes, inner.inputs[0])
    if op.name in ("Max", "Min") and len(term.inputs) == 2:
        pair = sorted(map(multiple, term.inputs), key=lambda each: each[1], reverse=op.name == "Max")
        return bent(term, *pair) or term
    total = second if op.name == "Div" else read(second, "Log") if op.name == "Sub" else ABSENT
    axis, whole = _axis(total), read(total, "ReduceSum")
    source = read(whole, "Exp")
    if axis is None or source is ABSENT or source.shape != term.shape:
        return term
    if op.name == "Div" and first is whole:
        return made(term, "Softmax", _GROUPED, {"axis": axis}, source)
    is_log = op.name == "Sub" and source is first
    return made(term, "LogSoftmax", _GROUPED, {"axis": axis}, source) if is_log else term


def not_negative(term: Term, deep: int = 0) -> bool:
    """Return whether no element of a value can be below 0."""
    if term is ABSENT or deep > _DEEP:
        return False
    term = unmoved(term)
    if term.value is not None and term.value.dtype.kind in "fiub":
        return bool((term.value >= 0).all())
    if term.integer:
        return term.bounds is not None and term.bounds[0] >= 0
    name, bounds = term.op.name, clamp(term)
    if name in _NOT_NEGATIVE or (bounds is not None and bounds[1] >= 0):
        return True
    if name == "Pad":
        padding = _padding(term)
        return padding is not None and padding[0] >= 0 and not_negative(term.inputs[0], deep + 1)
    if name == "DequantizeLinear":
        x, zero = term.inputs[0], term.operand(2)
        known = not_negative(term.operand(1), deep + 1) and (zero is ABSENT or zero.value is not None)
        point = 0.0 if zero.value is None else float(zero.value.max())
        return known and x.bounds is not None and x.bounds[0] >= point
    every = term.inputs[:1] if name.startswith("Reduce") else term.inputs
    return name in _OF_ALL and not term.index and all(not_negative(each, deep + 1) for each in every)


def _rises(term: Term, axis: int) -> bool:
    """Return whether a value rises with its operand, along an axis."""
    if term.shape is None:
        return False
    if term.op.name in ("Softmax", "LogSoftmax"):
        rank, newer = len(term.shape), term.op.version >= _GROUPED
        own = term.op.attributes.get("axis", -1 if newer else 1) % rank
        return axis % rank == own or (not newer and axis % rank > own)
    return term.op.name in _RISING and term.kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


# ------------------------------------------------------------------ pools


def _padding(term: Term) -> tuple[float, list[tuple[int, int]]] | None:
    """Return the number that a Pad adds to a value, and its widths before and after; None for any other term."""
    given, fill, axes = term.op.attributes, term.operand(2), term.operand(3)
    border = given.get("value", 0.0) if fill is ABSENT else one_number(fill)
    sizes, rank = term.listed("pads"), len(term.operand(0).shape or ())
    plain = term.op.name == "Pad" and term.shape is not None and given.get("mode", b"constant") == b"constant"
    if not plain or border is None or not sizes or not rank or (axes is not ABSENT and axes.value is None):
        return None
    widths, listed = [(0, 0)] * rank, term.listed("axes", 3) or range(rank)
    for i, axis in enumerate(listed):
        widths[axis] = sizes[i], sizes[i + len(listed)]
    return border, widths


def _unpadded(term: Term) -> Term:
    """Return a MaxPool of a map with a border that no element is below as a MaxPool with pads."""
    first, given = term.operand(0), term.op.attributes
    padding = _padding(first)
    if padding is None or term.shape is None or term.index or term.integer or not term.kind:
        return term
    (border, widths), source = padding, first.inputs[0]
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
    over = source.shape is None or any(a < b for a, b in zip(source.shape[2:], steps, strict=True))
    if over or min(map(min, widths)) < 0 or any(pad > most for pad, most in zip(pads, [*reach, *reach], strict=True)):
        return term  # some window would hold nothing else
    return made(term, "MaxPool", term.op.version, {**given, "pads": pads}, source)


def _multiples(term: Term, product: Term) -> Iterator[Term]:
    """Yield a homogeneous function of a positive multiple as the multiple of the function."""
    for x, factor in (product.inputs, product.inputs[::-1]) if product.op.name == "Mul" else ():
        values = factor.value
        if values is None or x.shape != product.shape or (values.size > 1 and term.op.name == "MaxPool"):
            continue
        if bool((values > 0).all() and (values < inf).all()):
            inner = made(term, term.op.name, term.op.version, term.op.attributes, x, *term.inputs[1:])
            yield made(term, "Mul", 14, {}, inner, factor)


def _axis(total: Term) -> int | None:
    """Return the axis of a ReduceSum over one axis that keeps its dimensions; None for any other term."""
    if total.op.name != "ReduceSum" or not total.op.attributes.get("keepdims", 1):
        return None
    listed = total.listed("axes")
    return listed[0] if len(listed) == 1 else None


def _pooled(term: Term, inner: Term) -> Term:
    """Return a MaxPool of a MaxPool as one, whose windows cover all that both see."""
    outer, given = term.op.attributes, inner.op.attributes
    kernels = outer["kernel_shape"], given["kernel_shape"]
    ones, zeros = [1] * len(kernels[0]), [0] * 2 * len(kernels[0])
    plain = {"dilations": ones, "auto_pad": b"NOTSET", "ceil_mode": 0, "storage_order": 0}
    if any(each.get(name, value) != value for each in (outer, given) for name, value in plain.items()):
        return term
    steps, own = given.get("strides", ones), outer.get("pads", zeros)
    gaps = any(n > 1 and step > size for n, size, step in zip(*kernels, steps, strict=True))
    if gaps or inner.index or (steps != ones and any(own)):
        return term
    whole = {
        "kernel_shape": [(n - 1) * step + size for n, size, step in zip(*kernels, steps, strict=True)],
        "pads": [a + b for a, b in zip(own, given.get("pads", zeros), strict=True)],
        "strides": [a * b for a, b in zip(steps, outer.get("strides", ones), strict=True)],
    }
    return lawful(made(term, "MaxPool", term.op.version, whole, inner.inputs[0]))
