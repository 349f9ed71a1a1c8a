"""Operators that move numbers without a change, and those that make tensors of given numbers: one rule each.

Every rule works on arrays of cells, whatever the cells are. What says where they go must be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod

import numpy as np

from fc2conv.ir.arithmetic.amount import UndecidedError, plain
from fc2conv.ir.arithmetic.numbers import MOST, Call, Numbers, filled, settled
from fc2conv.ir.graph import attribute

Rule = Callable[[Call], Numbers | Sequence[Numbers]]
MOVING: dict[str, Rule] = {"Identity": lambda call: call.operand(0)}


def _moves(*operators: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        MOVING.update(dict.fromkeys(operators, rule))
        return rule

    return register


def few(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a tensor that is small enough; raise UndecidedError for others."""
    if prod(shape) > MOST or any(size < 0 for size in shape):
        raise UndecidedError(f"{list(shape)} elements")
    return tuple(shape)


# ------------------------------------------------------------------ dimensions


@_moves("Reshape")
def _reshape(call: Call) -> Numbers:
    data, target = call.operand(0), call.listed("shape", 1) or []
    if not call.number("allowzero", 0):
        target = [size or data.cells.shape[i] for i, size in enumerate(target)]
    return data.moved(data.cells.reshape(target))


@_moves("Flatten")
def _flatten(call: Call) -> Numbers:
    data, axis = call.operand(0), call.number("axis", 1)
    axis += data.cells.ndim if axis < 0 else 0
    if not 0 <= axis <= data.cells.ndim:
        raise UndecidedError("no such axis")
    return data.moved(data.cells.reshape(prod(data.cells.shape[:axis]), -1))


@_moves("Squeeze")
def _squeeze(call: Call) -> Numbers:
    data, axes = call.operand(0), call.listed("axes", 1)
    if axes == []:
        raise UndecidedError("none or all: runtimes differ")
    return data.moved(np.squeeze(data.cells, None if axes is None else tuple(axes)))


@_moves("Unsqueeze")
def _unsqueeze(call: Call) -> Numbers:
    data = call.operand(0)
    return data.moved(np.expand_dims(data.cells, tuple(call.listed("axes", 1) or ())))


@_moves("Transpose")
def _transpose(call: Call) -> Numbers:
    data = call.operand(0)
    return data.moved(data.cells.transpose(call.listed("perm", 1)))


@_moves("Expand")
def _expand(call: Call) -> Numbers:
    data = call.operand(0)
    shape = np.broadcast_shapes(data.cells.shape, tuple(call.operand(1).ints()))
    return data.moved(np.broadcast_to(data.cells, few(shape)))


@_moves("Tile")
def _tile(call: Call) -> Numbers:
    data, repeats = call.operand(0), call.operand(1).ints()
    few([size * times for size, times in zip(data.cells.shape, repeats, strict=True)])
    return data.moved(np.tile(data.cells, repeats))


# ------------------------------------------------------------------ parts


@_moves("Gather")
def _gather(call: Call) -> Numbers:
    data, index, axis = call.operand(0), call.operand(1).array(), call.number("axis", 0)
    few([index.size, data.cells.size // (data.cells.shape[axis] or 1)])
    return data.moved(np.take(data.cells, index, axis))


@_moves("GatherElements")
def _gather_elements(call: Call) -> Numbers:
    data, index = call.operand(0), call.operand(1).array()
    return data.moved(data.cells[tuple(_along(index, call.number("axis", 0)))])


def _along(index: np.ndarray, axis: int) -> np.ndarray:
    """Return the places that indices of one axis mean, a row for each dimension; other axes keep their own places."""
    places = np.indices(index.shape)
    places[axis] = index
    return places


@_moves("GatherND")
def _gather_nd(call: Call) -> Numbers:
    data, index, batch = call.operand(0), call.operand(1).array(), call.number("batch_dims", 0)
    few((*index.shape[:-1], *data.cells.shape[batch + index.shape[-1] :]))
    return data.moved(gather_nd(data.cells, index, batch))


def gather_nd(data: np.ndarray, index: np.ndarray, batch_dims: int) -> np.ndarray:
    """Take the parts of an array at the places that the last dimension of `index` lists."""
    batch = np.indices(index.shape[:-1], sparse=True)[:batch_dims]
    return np.asarray(data[(*batch, *np.moveaxis(index, -1, 0))])


@_moves("Slice")
def _slice(call: Call) -> Numbers:
    data = call.operand(0)
    starts, ends = call.listed("starts", 1) or [], call.listed("ends", 2) or []
    axes = call.listed("axes", 3)
    axes = list(range(len(starts))) if axes is None else axes
    out = data.cells
    for start, end, axis, step in zip(starts, ends, axes, call.listed("steps", 4) or [1] * len(starts), strict=True):
        out = np.take(out, slice_range(out.shape[axis], start, end, step), axis)
    return data.moved(out)


def slice_range(length: int, start: int, end: int, step: int) -> range:
    """Return the places of a dimension that a Slice takes; a start below the first is the first, backwards too."""
    return range(length)[max(start, -length) : end : step]


@_moves("Split")
def _split(call: Call) -> list[Numbers]:
    data, axis, parts = call.operand(0), call.number("axis", 0), len(call.node.output)
    length = data.cells.shape[axis]
    sizes = call.listed("split", 1) or [-(-length // parts)] * (parts - 1)
    return [data.moved(part) for part in np.split(data.cells, np.cumsum(sizes)[: parts - 1], axis)]


@_moves("Compress")
def _compress(call: Call) -> Numbers:
    data, axis = call.operand(0), call.number("axis", 0)
    flat = not any(a.name == "axis" for a in call.node.attribute)
    return data.moved(np.compress(call.operand(1).array(), data.cells, None if flat else axis))


# ------------------------------------------------------------------ several tensors


@_moves("Concat")
def _concat(call: Call) -> Numbers:
    parts = [call.operand(i) for i in range(len(call.node.input))]
    few([sum(part.cells.size for part in parts)])
    return parts[0].moved(np.concatenate([part.cells for part in parts], call.number("axis", 1)))


@_moves("ScatterElements", "Scatter")
def _scatter_elements(call: Call) -> Numbers:
    data, index, updates = call.operand(0), call.operand(1).array(), call.operand(2)
    places = np.moveaxis(_along(index, call.number("axis", 0)), 0, -1)
    return _scattered(call, data, places.reshape(-1, index.ndim), updates.cells.reshape(-1))


@_moves("ScatterND")
def _scatter_nd(call: Call) -> Numbers:
    data, index, updates = call.operand(0), call.operand(1).array(), call.operand(2)
    depth = index.shape[-1]
    return _scattered(call, data, index.reshape(-1, depth), updates.cells.reshape(-1, *data.cells.shape[depth:]))


def _scattered(call: Call, data: Numbers, places: np.ndarray, updates: np.ndarray) -> Numbers:
    if call.text("reduction", "none") != "none":
        raise UndecidedError("a reduction")
    out = data.cells.copy()
    for place, update in zip(places, updates, strict=True):
        out[tuple(place)] = update
    return data.moved(out)


@_moves("Pad")
def _pad(call: Call) -> Numbers:
    data, pads, axes = call.operand(0), call.listed("pads", 1) or [], call.listed("axes", 3)
    fill, mode, before = call.given(2), call.text("mode", "constant"), attribute(call.node, "value")
    widths = [(0, 0)] * data.cells.ndim
    for i, axis in enumerate(range(data.cells.ndim) if axes is None else axes):
        widths[axis] = (pads[i], pads[i + len(pads) // 2])
    few([size + low + high for size, (low, high) in zip(data.cells.shape, widths, strict=True)])
    if mode == "constant":
        given = fill.cells.flat[0] if fill is not None else plain(Fraction(before.f)) if before is not None else 0
        value = filled(settled(given, data.dtype), ())
        return data.moved(np.pad(data.cells, widths, constant_values=value))
    return data.moved(np.pad(data.cells, widths, mode))  # type: ignore[call-overload]  # edge, reflect or wrap


@_moves("OneHot")
def _one_hot(call: Call) -> Numbers:
    index, (depth,), values = call.operand(0).array(), call.operand(1).ints(), call.operand(2)
    axis = call.number("axis", -1)
    few([index.size, depth])
    hot = np.moveaxis(np.arange(depth) == index.astype(np.int64)[..., None] % depth, -1, axis)
    inside = np.expand_dims((-depth <= index) & (index < depth), axis)
    off, on = values.cells
    return values.moved(np.where(hot & inside, filled(on, ()), filled(off, ())))
