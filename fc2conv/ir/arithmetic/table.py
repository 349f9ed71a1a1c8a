"""The operators that exporters write between Shape and Reshape: one rule each, on known numbers and on symbols.

    Shape -> Gather -> Mul -> Concat -> Reshape        N, 8*H*W        products of sizes
    Shape -> Cast -> Div -> Floor -> Cast              (H)//(3)        a division spelled in floating point

A rule takes a `Call` and gives the numbers of the results. It raises UndecidedError where they are not known. Rules
that only move elements are in `moving.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial, reduce
from math import ceil
from typing import Any

import numpy as np
from onnx import NodeProto, numpy_helper

from fc2conv.ir.arithmetic import cells
from fc2conv.ir.arithmetic.amount import Cell, UndecidedError, of_size
from fc2conv.ir.arithmetic.moving import MOVING, Rule, few
from fc2conv.ir.arithmetic.numbers import BOOL, INT64, Call, Numbers, filled, settled
from fc2conv.ir.graph import attribute, op
from fc2conv.layout.axes import Size, product

OF_TWO: dict[str, Callable[[Cell, Cell], Cell]] = {
    "Add": lambda left, right: left + right,
    "Sub": lambda left, right: left - right,
    "Mul": lambda left, right: left * right,
    "Pow": cells.power,
    "Max": cells.larger,
    "Min": cells.smaller,
    "Sum": lambda left, right: left + right,
    "Xor": cells.exclusive,
    "And": cells.both,
    "Or": cells.either,
    "Equal": cells.equal,
    "Less": cells.less,
    "LessOrEqual": lambda left, right: cells.greater_or_equal(right, left),
    "Greater": lambda left, right: cells.less(right, left),
    "GreaterOrEqual": cells.greater_or_equal,
}
_ANSWERS = frozenset("Equal Less LessOrEqual Greater GreaterOrEqual".split())

OF_ONE: dict[str, Callable[[Cell], Cell]] = {
    "Neg": lambda cell: -cell,
    "Abs": cells.absolute,
    "Relu": lambda cell: cells.larger(cell, 0),
    "Sign": cells.sign,
    "Sqrt": cells.root,
    "Floor": cells.floor,
    "Ceil": cells.ceil,
    "Round": cells.rounded,
    "Not": cells.inverse,
}
_ROUNDING = frozenset(["Floor", "Ceil", "Round"])

REDUCTIONS: dict[str, tuple[Callable[[Cell, Cell], Cell], Cell | None]] = {
    "ReduceProd": (OF_TWO["Mul"], 1),
    "ReduceSum": (OF_TWO["Add"], 0),
    "ReduceMax": (cells.larger, None),
    "ReduceMin": (cells.smaller, None),
}
"""How a reduction combines two elements, and its result for no elements."""


def _combined(function: Callable[[Cell, Cell], Cell], call: Call) -> Numbers:
    """Apply a function of two elements to all operands, broadcast."""
    operands = [call.operand(i) for i in range(len(call.node.input))]
    if call.opset < 7 and attribute(call.node, "broadcast") is not None:
        raise UndecidedError("broadcasting along a named axis")
    dtype = BOOL if op(call.node) in _ANSWERS else operands[0].dtype
    return reduce(lambda left, right: call.each(function, dtype, left, right), operands)


def _mapped(function: Callable[[Cell], Cell], call: Call) -> Numbers:
    data = call.operand(0)
    return call.each(function, data.dtype, data, rounds=op(call.node) in _ROUNDING)


def _quotient(dtype: np.dtype[Any]) -> Callable[[Cell, Cell], Cell]:
    return cells.ratio if dtype.kind == "f" else cells.quotient


def _divided(call: Call, data: Numbers, by: int | Numbers) -> Numbers:
    other = by if isinstance(by, Numbers) else Numbers(filled(by, ()), data.dtype)
    return call.each(_quotient(data.dtype), data.dtype, data, other)


def _reciprocal(call: Call) -> Numbers:
    data = call.operand(0)
    return _divided(call, data.moved(filled(1, ())), data)


def _shifted(call: Call) -> Numbers:
    data, bits = call.operand(0), call.operand(1)
    by = bits.moved(filled([1 << bit for bit in bits.ints()]).reshape(bits.cells.shape))
    right = call.text("direction", "") == "RIGHT"
    return _divided(call, data, by) if right else call.each(OF_TWO["Mul"], data.dtype, data, by)


def _cast(call: Call) -> Numbers:
    data = call.operand(0)
    dtype = call.operand(1).dtype if op(call.node) == "CastLike" else call.dtype("to")
    if dtype.kind == "b":
        return call.each(cells.true, dtype, data)
    truncates = data.dtype.kind == "f" and dtype.kind != "f"
    return call.each(cells.truncated if truncates else lambda cell: cell, dtype, data, rounds=truncates)


def _where(call: Call) -> Numbers:
    condition, yes, no = (call.operand(i) for i in range(3))
    return call.each(cells.choice, yes.dtype, condition, yes, no, rounds=True)


def _clip(call: Call) -> Numbers:
    data, bounds = call.operand(0), [call.given(1), call.given(2)]
    for i, name in enumerate(("min", "max")):
        attr = attribute(call.node, name)
        if attr is not None:
            bounds[i] = Numbers(filled(Fraction(attr.f), ()), data.dtype)
    low, high = bounds
    out = data if low is None else call.each(cells.larger, data.dtype, data, low)
    return out if high is None else call.each(cells.smaller, data.dtype, out, high)


# ------------------------------------------------------------------ along dimensions


def _summable(call: Call) -> Numbers:
    """Return the first operand, where its elements may be added in any order without rounding."""
    data = call.operand(0)
    if data.dtype.kind == "f" and not all(cells.is_whole(cell) for cell in data.cells.flat):
        raise UndecidedError("rounded sums")
    return data


def _reduced(function: Callable[[Cell, Cell], Cell], empty: Cell | None, call: Call) -> Numbers:
    data, axes = _summable(call), call.listed("axes", 1)
    if not axes and call.number("noop_with_empty_axes", 0):
        return data
    rank = data.cells.ndim
    gone = sorted({axis % rank for axis in axes} if axes else range(rank))
    kept = [axis for axis in range(rank) if axis not in gone]
    rows = data.cells.transpose(kept + gone).reshape([data.cells.shape[axis] for axis in kept] + [-1])
    if not rows.shape[-1] and empty is None:
        raise UndecidedError("the largest of none")
    out = Numbers(filled(empty, rows.shape[:-1]), data.dtype) if not rows.shape[-1] else data.moved(rows[..., 0])
    for i in range(1, rows.shape[-1]):
        out = call.each(function, data.dtype, out, data.moved(rows[..., i]))
    shape = [1 if axis in gone else size for axis, size in enumerate(data.cells.shape)]
    return out.moved(out.cells.reshape(shape)) if call.number("keepdims", 1) else out


def _averaged(call: Call) -> Numbers:
    total = _reduced(OF_TWO["Add"], 0, call)
    return _divided(call, total, call.operand(0).cells.size // max(1, total.cells.size))


def _cumulated(call: Call) -> Numbers:
    data, (axis,) = _summable(call), call.operand(1).ints()
    rows = np.moveaxis(data.cells, axis, 0)
    backwards, shifted = call.number("reverse", 0), call.number("exclusive", 0)
    order = list(range(len(rows)))[:: -1 if backwards else 1]
    out = np.empty(rows.shape, object)
    total = Numbers(filled(0, rows.shape[1:]), data.dtype)
    for i in order:
        more = call.each(OF_TWO["Add"], data.dtype, total, data.moved(rows[i]))
        out[i, ...] = total.cells if shifted else more.cells
        total = more
    return data.moved(np.moveaxis(out, 0, axis))


# ------------------------------------------------------------------ new tensors


def _shape(call: Call) -> Numbers:
    if call.shape is None:
        raise UndecidedError("a shape")
    if op(call.node) == "Size":
        return Numbers(filled(of_size(product(call.shape)), ()), INT64)
    attr = attribute(call.node, "end")
    return Numbers.sizes(call.shape[call.number("start", 0) : attr.i if attr is not None else None])


def _filled(call: Call) -> Numbers:
    shape, value = few(call.operand(0).ints()), attribute(call.node, "value")
    if value is None:
        return Numbers(filled(0, shape), np.dtype(np.float32))
    one = Numbers.of(numpy_helper.to_array(value.t))
    if one is None:
        raise UndecidedError("its element type")
    return one.moved(filled(one.cells.flat[0], shape))


def _range(call: Call) -> Numbers:
    ends = [call.operand(i) for i in range(3)]
    start, stop, step = (each.cells.item() for each in ends if each.known)
    (count,) = few([max(0, ceil(Fraction(stop - start) / step))])
    dtype = ends[0].dtype
    return Numbers(filled([settled(start + i * step, dtype) for i in range(count)]), dtype)


TABLE: dict[str, Rule] = {
    **MOVING,
    **{name: partial(_combined, function) for name, function in OF_TWO.items()},
    **{name: partial(_mapped, function) for name, function in OF_ONE.items()},
    **{name: partial(_reduced, *what) for name, what in REDUCTIONS.items()},
    "Shape": _shape,
    "Size": _shape,
    "Div": lambda call: _combined(_quotient(call.operand(0).dtype), call),
    "Reciprocal": _reciprocal,
    "Mean": lambda call: _divided(call, _combined(OF_TWO["Add"], call), len(call.node.input)),
    "BitShift": _shifted,
    "Mod": lambda call: _combined(cells.truncated_remainder if call.number("fmod", 0) else cells.remainder, call),
    "Cast": _cast,
    "CastLike": _cast,
    "Where": _where,
    "Clip": _clip,
    "CumSum": _cumulated,
    "ReduceMean": _averaged,
    "ConstantOfShape": _filled,
    "Range": _range,
}
"""The rule of every operator."""


def evaluate(call: Call) -> tuple[Numbers, ...] | None:
    """Compute the numbers of a node's results; return None where one is not known, or the node contradicts itself."""
    rule = TABLE.get(op(call.node))
    if rule is None:
        return None
    try:
        found = rule(call)
    except (ArithmeticError, ValueError, IndexError, TypeError):
        return None  # UndecidedError is an ArithmeticError; the others are numpy's, for operands that do not fit
    return (found,) if isinstance(found, Numbers) else tuple(found)


SOURCES = frozenset(["Shape", "Size"])
"""Where chains of arithmetic on sizes begin."""


def counted(
    node: NodeProto,
    opset: int,
    number: Callable[[str], Numbers | None],
    shape: tuple[Size, ...] | None,
    prefix: str = "",
) -> tuple[Numbers, ...] | None:
    """Compute what a node makes of known numbers, or of the shape of its operand; return None where it is not known."""
    names = () if op(node) in SOURCES else node.input
    return evaluate(Call(node, opset, tuple(number(name) if name else None for name in names), shape, prefix))
