"""Values beside the maps: constants and the sizes of values, and values of one size for every image.

Any operator runs on what does not grow with the image as it did, whatever it mixes:

    p = GlobalAveragePool (c)  t = Transpose (p)  e = Conv (t, k)  u = Unsqueeze (e)  r = Mul (c, u)

Here p to u need no form as a map until they meet one.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, Form, identity
from fc2conv.fcn.slider import FIXED, Slider, Stuck, handles, kept_apart
from fc2conv.ir.graph import int_attribute, op
from fc2conv.layout.axes import ONE, Axis, Dim, Size
from fc2conv.layout.relayout import Transposed, conversion
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
    uneven = {axis for axis in form.free if (full != np.take(full, [0], axis)).any()}
    if uneven:
        raise Stuck(Code.SIZE_IN_CONSTANT, node, f"the operand {name}", along_others(slider, uneven))
    for axis in form.free:
        full = np.take(full, [0], axis)
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


# ------------------------------------------------------------------ values of fixed size


@handles(FIXED)
def _fixed(slider: Slider, node: NodeProto) -> None:
    forms = {name: slider.forms[name] for name in node.input if name in slider.forms}
    slider.emit(node, [_as_value(slider, forms[name]) if name in forms else name for name in node.input])
    for name in filter(None, node.output):
        shape = slider.shapes[name]
        slider.forms[name] = Form(name, identity(len(shape)), shape, frozenset())
        slider.trace(name, list(forms.values()))


def _as_value(slider: Slider, form: Form) -> str:
    """Lay out a map as the value that it was in the original; return its name."""
    axes = _axes(form)
    return _laid_out(slider, form, [tuple(each for axis in dim for each in axes[axis]) for dim in form.layout])


def _axes(form: Form) -> list[Dim]:
    """Return what each axis of a map runs over; the number of items is open."""
    sizes = [Size(1, ("N",)) if axis == BATCH else Size(size) for axis, size in enumerate(form.sizes)]
    return [(Axis(str(axis), size),) if size != ONE else () for axis, size in enumerate(sizes)]


def _laid_out(slider: Slider, form: Form, target: Sequence[Dim]) -> str:
    name = form.name
    steps = conversion(tuple(_axes(form)), tuple(target))
    assert steps is not None, "the two hold the same elements, and one size is open"
    for step in steps:
        if isinstance(step, Transposed):
            name = slider.add("Transpose", [name], f"{form.name}_value", perm=step.perm)
        else:
            name = slider.add("Reshape", [name], f"{form.name}_value", shape=step.target)
        slider.trace(name, [form])
    return name


def adopted(slider: Slider, node: NodeProto, form: Form, like: Form) -> Form:
    """Lay out a value of fixed size with its dimensions at the axes of the map that it is combined with."""
    shift = len(like.layout) - len(form.layout)
    if form.free or not like.free or _fits(form, like, shift):
        return form
    if form.parts is not None:
        raise kept_apart(form)
    own, sizes, parts = _axes(form), [1] * like.rank, list[int]()
    target: list[Dim] = [()] * like.rank
    layout: list[tuple[int, ...]] = []
    for dim, size in enumerate(form.shape):
        several = like.parts is not None or like.sizes[CHANNELS] == 1
        axes = (like.filled(dim + shift) or ((CHANNELS,) if several else ())) if size > 1 else ()
        layout.append(axes)
        target[BATCH] += tuple(each for mine in form.layout[dim] for each in own[mine] if size == 1)
        if size > 1 and (len(axes) != 1 or axes[0] in like.free or like.shape[dim + shift] not in (1, size)):
            raise Stuck(Code.SIZES_MIXED, node, "its operands hold the map in different orders")
        for axis in axes:
            target[axis] += tuple(each for mine in form.layout[dim] for each in own[mine])
            sizes[axis] *= size
            parts += [size] if axis == CHANNELS else []
    made = replace(like, name=_laid_out(slider, form, target), sizes=tuple(sizes), free=frozenset())
    if made.parts is None:
        return made
    return replace(made, layout=tuple(layout)).holding(np.arange(prod(parts)).reshape(parts))


def _fits(form: Form, like: Form, shift: int) -> bool:
    """Return whether a value holds the axes of its own map where the other has them."""
    if form.rank != like.rank or shift < 0:
        return False
    there = [set(form.filled(dim)) <= set(like.layout[dim + shift]) for dim in range(len(form.layout))]
    return all(there) and (form.parts is not None or prod(form.sizes) == prod(form.shape))
