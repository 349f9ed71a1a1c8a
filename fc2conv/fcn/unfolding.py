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

from fc2conv.fcn.forms import CHANNELS, SPACE, Form, identity
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.parts import apart, settled
from fc2conv.fcn.slider import HANDLERS, UNFOLDED, Slider, Stuck, handles
from fc2conv.ir.graph import op
from fc2conv.reasons import Code

_MOST = 1 << 24
"""The most elements of the kernel that copies windows."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@handles(UNFOLDED)
def _on_windows(slider: Slider, node: NodeProto) -> None:
    """The node on the windows of the maps that it reads; raises Stuck where it reads none, or does not run on them."""
    read = {name: form for name in node.input if (form := slider.forms.get(name)) is not None and form.has_cells}
    if not read or op(node) not in HANDLERS:
        raise Stuck(Code.SIZES_MIXED, node)
    slider.forms |= {name: _unfolded(slider, node, name, form) for name, form in read.items()}
    try:
        HANDLERS[op(node)](slider, node)
    finally:
        slider.forms |= read


def _unfolded(slider: Slider, node: NodeProto, name: str, form: Form) -> Form:
    """A value of which each cell has a window of the training size, its places as parts of the channels."""
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
    """Adds the convolution that copies each window of a map into channels, the last place of the window last."""
    size, channels = prod(window.values()), form.sizes[CHANNELS]
    kernel = tuple(window.get(axis, 1) for axis in range(SPACE, form.rank))
    each = np.eye(size, dtype=helper.tensor_dtype_to_np_dtype(slider.kind(name)))
    weight = slider.tensors.value(
        np.tile(each, (channels, 1)).reshape(channels * size, 1, *kernel), f"{form.name}_places"
    )
    made = slider.add("Conv", [form.name, weight], f"{form.name}_window", kernel_shape=kernel, group=channels)
    slider.trace(made, [form], {axis: Step(made, (form.name,), extent) for axis, extent in window.items()})
    sizes = tuple(1 if axis in window else extent for axis, extent in enumerate(form.sizes_of(channels * size)))
    slider.unfolded[form.name], slider.forms[made] = made, Form(made, identity(form.rank), sizes, form.free)
    return made
