"""Windows as channels, where a network computes with a flattened map: each cell then has all elements of its window.

y = LayerNormalization (Flatten (x))   ->   u = Conv (x), which copies each window into channels; the norm of these

The convolution has a kernel of one 1 and zeros for each channel and each place in the window, in groups, so that it
rounds nothing. What follows works along the channels, and a layer over them is a 1x1 convolution.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, Parts, identity
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.parts import apart, channels_first, channels_last, in_order, put_together, settled
from fc2conv.fcn.slider import HANDLERS, UNFOLDED, Slider, Stuck, handles
from fc2conv.ir.graph import op
from fc2conv.reasons import Code

_MOST = 1 << 24
"""The most elements of the kernel that copies windows."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@handles(UNFOLDED)
def _on_windows(slider: Slider, node: NodeProto) -> None:
    """Run a node on the windows of the maps that it reads; raise Stuck if it reads no map, or does not run on them."""
    read = {name: form for name in node.input if (form := slider.forms.get(name)) is not None and form.has_cells}
    if not read or op(node) not in HANDLERS:
        raise Stuck(Code.SIZES_MIXED, node)
    slider.forms |= {name: _unfolded(slider, node, name, form) for name, form in read.items()}
    try:
        HANDLERS[op(node)](slider, node)
    finally:
        slider.forms |= read


def _unfolded(slider: Slider, node: NodeProto, name: str, form: Form) -> Form:
    """Return a value whose cells each have a window of the training size, its places as parts of the channels."""
    axes = [axis for axis in range(SPACE, form.rank) if form.sizes[axis] > 1]
    places, channels = [form.sizes[axis] for axis in axes], form.sizes[CHANNELS]
    if slider.kind(name) not in _FLOATS or channels * prod(places) ** 2 > _MOST:
        raise Stuck(Code.SIZES_MIXED, node)
    form = apart(form, node, "it computes with a flattened map")
    order = np.arange(channels * prod(places)).reshape(channels, *places)[form.order]
    moved, layout, parts = list[int](), list[tuple[int, ...]](), iter(range(form.order.ndim))
    for dim in form.layout:
        moved += [
            form.order.ndim + axes.index(axis) if axis in axes else next(parts)
            for axis in dim
            if axis in (CHANNELS, *axes)
        ]
        layout.append(tuple(CHANNELS if axis in axes else axis for axis in dim))
    layout[-1] = (*layout[-1], *axes)
    made = slider.unfolded.get(form.name) or _copied(slider, name, form, dict(zip(axes, places, strict=True)))
    whole = replace(form, name=made, sizes=slider.forms[made].sizes, layout=tuple(layout))
    return settled(slider, whole.holding(order.transpose(moved)), f"{made}_flat")


def _copied(slider: Slider, name: str, form: Form, window: dict[int, int]) -> str:
    """Add the convolution that copies each window of a map into channels, the last place of the window last."""
    size, channels = prod(window.values()), form.sizes[CHANNELS]
    kernel = tuple(window.get(axis, 1) for axis in range(SPACE, form.rank))
    each = np.eye(size, dtype=helper.tensor_dtype_to_np_dtype(slider.kind(name)))
    weight = slider.tensors.value(
        np.tile(each, (channels, 1)).reshape(channels * size, 1, *kernel), f"{form.name}_places"
    )
    made = slider.add("Conv", [form.name, weight], f"{form.name}_window", kernel_shape=kernel, group=channels)
    steps = {axis: Step(made, (form.name,), extent) for axis, extent in window.items()}
    sizes = tuple(1 if axis in window else extent for axis, extent in enumerate(form.sizes_of(channels * size)))
    slider.unfolded[form.name] = made
    slider.forms[made] = slider.derived(form, made, steps, layout=identity(form.rank), sizes=sizes, parts=None)
    return made


def multiplied(slider: Slider, node: NodeProto) -> bool:
    """Write a product of two windows, as of attention over the cells: that of their channels, put last as dimensions.

    Return whether it does so: both must have channels alone beside the items.
    """
    x, y = (slider.forms.get(name) for name in node.input[:2])
    if x is None or y is None or x.rank != y.rank:
        return False
    if any(form.layout[0] != (BATCH,) or form.axes(range(len(form.layout))) - {BATCH, CHANNELS} for form in (x, y)):
        return False
    made, rank = node.output[0], max(len(x.layout), len(y.layout))
    parts = [_parts_last(slider, form, rank, made) for form in (x, y)]
    product = slider.between(node, parts, f"{made}_product")
    shape = slider.shape(made, node)[1:]
    flat = slider.add("Reshape", [product], f"{made}_flat", shape=(0,) * (x.rank - 1) + (prod(shape),))
    turned = channels_first(slider, flat, x.rank, f"{made}_map")
    slider.trace(turned, [x, y])
    sizes, layout = x.sizes_of(prod(shape)), [(CHANNELS,)] * len(shape)
    layout[-1] = (CHANNELS, *range(SPACE, x.rank))
    parts_of = Parts(np.arange(prod(shape)).reshape(shape), node, "it is a product of windows")
    form = Form(turned, ((BATCH,), *layout), sizes, x.free | y.free, parts_of)
    put_together(slider, node, form.holding(parts_of.order))
    return True


def _parts_last(slider: Slider, form: Form, rank: int, wanted: str) -> str:
    """Lay out a map with the value's dimensions after its cells; return its name."""
    form = in_order(slider, form, wanted)
    last = channels_last(slider, form.name, form.rank, f"{wanted}_last")
    shape = (*[0] * (form.rank - 1), *[1] * (rank - len(form.layout)), *form.shape[1:])
    return slider.add("Reshape", [last], f"{wanted}_parts", shape=shape)
