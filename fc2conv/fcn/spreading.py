"""Values spread over a map: more channels of one, and one cell for all.

y = Expand (x [N, 1, H, W], [1, 3, 1, 1])   ->   the same along the channels
y = Expand (x [N, C, 1, 1], [N, C, H, W])   ->   x itself, which broadcasts to the map that it meets
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, numpy_helper

from fc2conv.fcn.beside import in_map_order, relaid
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, widened
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.parts import put_together, spread_out
from fc2conv.fcn.slider import RESIZE, Slider, Stuck, handles
from fc2conv.ir.folding import computed
from fc2conv.ir.graph import attribute, int_attribute, op
from fc2conv.reasons import Code

_NEAR = 1e-5
"""How far coordinates may be from even ones, as a share of the largest."""


@handles("Expand", narrow=True)
def _expand(slider: Slider, node: NodeProto) -> None:
    target = slider.shape(node.output[0], node)
    form = slider.form(node, apart=True)
    _spread(slider, node, replace(form, layout=widened(form.layout, range(len(target) - len(form.layout)))), target)


@handles("Tile")
def _tile(slider: Slider, node: NodeProto) -> None:
    form, target = slider.form(node), slider.shape(node.output[0], node)
    channel_dim = next((dim for dim in range(len(target)) if CHANNELS in form.filled(dim)), None)
    times = 1 if channel_dim is None else target[channel_dim] // form.sizes[CHANNELS]
    if times > 1:
        name = slider.tensors.ints(tuple(times if axis == CHANNELS else 1 for axis in range(form.rank)), "repeats")
        tiled = slider.add("Tile", [form.name, name], f"{node.output[0]}_tiled")
        form = slider.derived(form, tiled, sizes=form.sizes_of(form.sizes[CHANNELS] * times))
    _spread(slider, node, form, target)


def _spread(slider: Slider, node: NodeProto, form: Form, target: Sequence[int]) -> None:
    grown = form
    for dim, size in enumerate(target):
        if size != form.shape[dim]:
            if form.filled(dim):
                raise Stuck(Code.SIZES_MIXED, node, f"it repeats the {form.shape[dim]} elements of dimension {dim}")
            grown = with_channels(grown, dim, size) or grown
    made = form if grown is form else spread_out(slider, form, grown, node.output[0])
    if made.sizes != grown.sizes:
        sizes = tuple(size if axis == CHANNELS else 1 for axis, size in enumerate(grown.sizes))
        wide = slider.tensors.ints(sizes, "channels")
        made = slider.derived(form, slider.add("Expand", [form.name, wide], f"{node.output[0]}_channels"))
    put_together(slider, node, replace(grown, name=made.name))


def with_channels(form: Form, dim: int, channels: int) -> Form | None:
    """Return a map of one channel as one of several, in a dimension that holds no more than one element.

    Where channels are in parts, these are one part more. Return None where the dimension holds axes of the image alone.
    """
    own = form.layout[dim]
    flat = CHANNELS in own and form.parts is None
    if not form.free or form.filled(dim) or not (flat or set(own) <= {CHANNELS}):
        return None
    layout = [axes if form.parts else tuple(axis for axis in axes if axis != CHANNELS) for axes in form.layout]
    layout[dim] = own if flat else (CHANNELS,)
    if form.parts is not None:
        shape = np.insert(form.order.shape, form.parts_at(dim).start, channels)
        made = replace(form, layout=tuple(layout), sizes=form.sizes_of(int(prod(shape))))
        return made.holding(np.arange(prod(shape)).reshape(shape))
    return replace(form, layout=tuple(layout), sizes=form.sizes_of(channels)) if form.sizes[CHANNELS] == 1 else None


def constant_map(slider: Slider, node: NodeProto, name: str, like: Form) -> Form:
    """Return a value of the size of a map, which comes from no image, as a map of any size.

    It is a constant with the same values at each cell, what nodes compute of the size of the map, coordinates, or a
    vector for each item, which has one cell.
    """
    array = of_one_item(slider, name)
    at = next((dim for dim, axes in enumerate(like.layout) if CHANNELS in axes), CHANNELS)
    grown = _of_its_size(slider, name, like) if array is None or not _is_level(array, like) else None
    if grown is not None:
        return grown
    if array is None or array.ndim != len(like.layout):
        return _vector(slider, node, name, like, at)
    channels = array.shape[at]
    form = replace(like, sizes=like.sizes_of(channels))
    extent = slider.extent(like, channels)
    _, full = in_map_order(slider, node, name, form)
    if slider.graph.opset >= RESIZE and full.shape[0] == 1 and _are_coordinates(full):
        made = _stretched(slider, name, full, extent)
        reads_all(slider, made, like)
    else:
        made = slider.add("Expand", [relaid(slider, node, name, form), extent], f"{name}_spread")
        slider.trace(made, [like])
    return replace(form, name=made)


def _vector(slider: Slider, node: NodeProto, name: str, like: Form, at: int) -> Form:
    """Return numbers for each item, maybe repeated at each cell, with the channels in `at`, as a map of one cell."""
    whole, maker = slider.shape(name, node), slider.graph.made_by(name)
    if maker is not None and op(maker) in ("Expand", "Tile"):
        name = maker.input[0]
    shape = slider.shape(name, node)
    vector = len(shape) == len(whole) == len(like.layout) and like.layout[0] == (BATCH,) and shape[at] == whole[at]
    if not vector or prod(shape[1:]) != shape[at]:
        raise Stuck(Code.NOT_SLIDING, node, f"its operand {name} comes from no image")
    rest = (shape[at], *[1] * (like.rank - SPACE))
    made = slider.add("Reshape", [name], f"{name}_cell", shape=(-1, *rest))
    return Form(made, like.layout, (like.sizes[BATCH], *rest), frozenset())


def _is_level(array: np.ndarray, like: Form) -> bool:
    """Return whether an array that is laid out as a map has the same values at each cell."""
    dims = [dim for dim, axes in enumerate(like.layout) if like.free & set(axes)]
    firsts = (np.take(array, [0], dim) for dim in dims if dim < array.ndim)
    return all(bool((array == first).all()) for first in firsts)


def _of_its_size(slider: Slider, name: str, like: Form) -> Form | None:
    """Return what nodes compute from the size of a map, as where cells lie, as a map; None where it does not grow."""
    shape = slider.shapes.get(name, ())
    if len(shape) != like.rank or any(len(axes) != 1 for axes in like.layout) or slider.constants.is_constant(name):
        return None
    twice = _with_twice_the_cells(slider, name)
    grown = [size * 2 if like.free & set(axes) else size for size, axes in zip(shape, like.layout, strict=True)]
    if twice is None or list(twice.shape) != grown:
        return None
    order = sorted(range(like.rank), key=lambda dim: like.layout[dim])
    made = name if like.is_map else slider.add("Transpose", [name], f"{name}_map", perm=order)
    reads_all(slider, made, like)
    return replace(like, name=made, sizes=tuple(shape[dim] for dim in order))


def _with_twice_the_cells(slider: Slider, name: str) -> np.ndarray | None:
    """Compute a value that depends on shapes of maps for twice the cells along the axes that grow; None if unknown."""
    if slider.constants.is_constant(name):
        return slider.constants.array(name)
    node = slider.graph.made_by(name)
    if node is None:
        return None
    form = slider.forms.get(node.input[0]) if op(node) == "Shape" else None
    if form is not None:
        pairs = zip(form.shape, form.layout, strict=True)
        sizes = [size * (2 if form.free & set(axes) else 1) for size, axes in pairs]
        return np.array(sizes, np.int64)[int_attribute(node, "start", 0) : int_attribute(node, "end", len(sizes))]
    operands = {each: _with_twice_the_cells(slider, each) for each in node.input if each}
    known = {each: array for each, array in operands.items() if array is not None}
    made = computed(node, known, slider.graph.opsets) if known and len(known) == len(operands) else None
    return None if made is None else made[list(node.output).index(name)]


def of_one_item(slider: Slider, name: str) -> np.ndarray | None:
    """Return a constant, or a value that is the same for every item of a batch; None for what is computed."""
    maker, shape = slider.graph.made_by(name), slider.shapes.get(name)
    found = slider.values(name)
    if found is not None or maker is None or shape is None:
        return found
    if op(maker) == "Expand":
        values = slider.values(maker.input[0])
    elif op(maker) == "ConstantOfShape":
        value = attribute(maker, "value")
        values = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value.t)
    else:
        values = None
    if values is None or (values.ndim == len(shape) and values.shape[0] != 1):
        return None
    slider.numbers[name] = np.broadcast_to(values, (1, *shape[1:]))
    return slider.numbers[name]


def _are_coordinates(values: np.ndarray) -> bool:
    """Return whether a map [1, C, *S] rises evenly along its axes, from one rim of the image to the other."""
    if values.dtype.kind != "f" or not all(size > 1 for size in values.shape[SPACE:]):
        return False
    even = np.zeros(values.shape)
    for axis in range(SPACE, values.ndim):
        first, last = (np.take(values, [i], axis).astype(np.float64) for i in (0, -1))
        rise = (last - first) * np.linspace(0, 1, values.shape[axis]).reshape([-1] + [1] * (values.ndim - 1 - axis))
        even = even + rise
    even = even + values[(slice(None), slice(None), *[slice(0, 1)] * (values.ndim - SPACE))]
    varies = float(np.ptp(values)) > 0
    return varies and bool(np.allclose(even, values, rtol=0, atol=float(np.abs(values).max()) * _NEAR))


def _stretched(slider: Slider, name: str, values: np.ndarray, extent: str) -> str:
    """Resize coordinates to an image: from the same first to the same last, as a network computes them."""
    kept = slider.tensors.value(np.ascontiguousarray(values), f"{name}_map")
    empty = slider.no_roi
    one = slider.tensors.ints((1,), "one")
    rest = slider.add("Slice", [extent, one, slider.tensors.ints((values.ndim,), "rank")], f"{name}_rest")
    shape = slider.add("Concat", [one, rest], f"{name}_size", axis=0)
    how = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    large = slider.add("Resize", [kept, empty, empty, shape], f"{name}_resized", **how)
    return slider.add("Expand", [large, extent], f"{name}_spread")


def reads_all(slider: Slider, made: str, form: Form) -> None:
    """Note a map with the cells of another map whose values depend on all of that map, or on its size."""
    slider.trace(made, [form, replace(form, name=all_of(slider, made, form))])


def all_of(slider: Slider, made: str, form: Form) -> str:
    """Note a value of one cell that reads all cells of a map, for another map to read; return its name."""
    whole = f"{made}:whole"
    axes = range(SPACE, form.rank)
    slider.trace(whole, [form], {axis: Step(whole, (form.name,), everywhere=True) for axis in axes})
    return whole
