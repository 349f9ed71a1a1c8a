"""Values beside the maps: constants laid out as the maps that they are combined with, and the sizes of values."""

from __future__ import annotations

from collections.abc import Set
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, Form
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.ir.graph import int_attribute, op
from fc2conv.reasons import Code


def relaid(slider: Slider, node: NodeProto, name: str, form: Form) -> str:
    """Lay out a constant that broadcasts against a value to broadcast against its map; raise Stuck if it cannot."""
    found = slider.numbers.get(name)
    shape = slider.constants.shape(name) if found is None else found.shape
    if shape is not None and prod(shape) == 1 and len(shape) <= form.rank:
        if found is None or slider.constants.is_constant(name):
            return name
        if not form.free or node.output[0] in slider.inner:
            slider.counting.append((node, form.name))
            return name
        slider.sized.add(node.output[0])
        return slider.tensors.value(found, f"{name}_value")  # it follows from the size of a window
    key = (name, form.pieces, form.rank)
    if key not in slider.relaid:
        slider.relaid[key] = _relay(slider, node, name, form)
    return slider.relaid[key]


def _relay(slider: Slider, node: NodeProto, name: str, form: Form) -> str:
    array, full = in_map_order(slider, node, name, form)
    for axis in form.free:
        if full.shape[axis] > 1:
            first = np.take(full, [0], axis)
            if not np.array_equal(np.broadcast_to(first, full.shape), full):
                along = {each for each in form.free if (full != np.take(full, [0], each)).any()}
                remedy = along_others(slider, along)
                raise Stuck(Code.SIZE_IN_CONSTANT, node, f"the operand {name}", remedy)
            full = first
    as_it_is = full.shape == (1,) * (form.rank - array.ndim) + array.shape and form.is_map
    if as_it_is and slider.constants.is_constant(name):
        return name
    return slider.tensors.value(np.ascontiguousarray(full), f"{name}_map")


def along_others(slider: Slider, axes: Set[int]) -> str:
    """Return the remedy for an obstacle along some axes alone: slide along the others; "" if there are no others."""
    dims = {
        name: [str(dim) for dim, places in enumerate(form.layout) if {*places[:1]} & (form.free - axes)]
        for name, form in slider.forms.items()
        if name in slider.graph.inputs and form.free
    }
    words = [f"--input-axes {name}:{','.join(each)}" for name, each in dims.items()]
    return f"Slide along the other axes alone, with {' '.join(words)}." if all(dims.values()) else ""


def in_map_order(slider: Slider, node: NodeProto, name: str, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a constant that meets a map, as they are and with their dimensions at the map's axes."""
    array = slider.values(name)
    if array is None:
        raise Stuck(Code.NOT_SLIDING, node, f"the operand {name} is computed")
    rank, shape = len(form.layout), array.shape
    if len(shape) > rank:
        raise Stuck(Code.NOT_SLIDING, node, f"the operand {name} has more dimensions than the map")
    padded = (1,) * (rank - len(shape)) + shape
    flat = [
        (axis, each if size > 1 else 1) for dim, size in zip(form.pieces, padded, strict=True) for axis, each in dim
    ]
    if any(size not in (1, whole) for size, whole in zip(padded, form.shape, strict=True)):
        raise Stuck(Code.SIZES_MIXED, node, f"the operand {name} spreads a value of one cell")
    order = sorted(range(len(flat)), key=lambda i: flat[i][0])
    moved = array.reshape([size for _, size in flat]).transpose(order)
    parts = [flat[i][1] for i in order if flat[i][0] == CHANNELS]
    if form.parts is not None and max(parts, default=1) > 1:
        first = next(i for i, at in enumerate(order) if flat[at][0] == CHANNELS)
        moved = np.broadcast_to(moved, (*moved.shape[:first], *form.order.shape, *moved.shape[first + len(parts) :]))
        parts = list(form.order.shape)
    sizes = {axis: size for axis, size in flat if axis != CHANNELS} | {CHANNELS: prod(parts)}
    return array, moved.reshape([sizes.get(axis, 1) for axis in range(form.rank)])


def measured(slider: Slider, node: NodeProto, form: Form) -> None:
    """Compute the sizes of a value (Shape, Size) from those of its map.

    A dimension that holds the channels of one cell has the same size at each window, whatever the number of windows.
    """
    dims = list(zip(form.shape, form.layout, strict=True))
    shape = slider.add("Shape", [form.name], f"{node.output[0]}_map")
    found: list[str] = []
    for size, axes in dims[int_attribute(node, "start", 0) : int_attribute(node, "end", len(dims))]:
        cell = CHANNELS in axes and all(form.sizes[axis] == 1 for axis in axes if axis in form.free)
        grows = tuple(axis for axis in axes if axis == BATCH or (axis in form.free and not cell))
        rest = size // prod(form.sizes[axis] for axis in grows)
        made = slider.tensors.ints((rest,), "size")
        if grows:
            cells = slider.add("Gather", [shape, slider.tensors.ints(grows, "axes")], f"{node.output[0]}_sizes")
            cells = slider.add("ReduceProd", [cells], f"{node.output[0]}_size", keepdims=1) if len(grows) > 1 else cells
            made = slider.add("Mul", [cells, made], f"{node.output[0]}_size") if rest != 1 else cells
        found.append(made)
    whole = slider.add("Concat", found, f"{node.output[0]}_sizes", axis=0)
    if op(node) == "Shape":
        slider.put(node, "Identity", [whole])
    else:
        slider.put(node, "ReduceProd", [whole], keepdims=0)
