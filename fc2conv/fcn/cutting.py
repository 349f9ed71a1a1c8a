"""Operators that take some of the channels or cells, and lookups, which make channels of a map that has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.channelwise import only_channels
from fc2conv.fcn.forms import CHANNELS, SPACE, Form
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.parts import left, put_together, regroup, taken
from fc2conv.fcn.slider import SLICE_STEPS, Slider, Stuck, handles
from fc2conv.ir.counting import counts_up
from fc2conv.ir.graph import int_attribute, op
from fc2conv.reasons import Code
from fc2conv.rewrite.pool import TO_THE_END

_BOUNDS = ("starts", "ends", "axes", "steps")


@handles("Gather")
def _gather(slider: Slider, node: NodeProto) -> None:
    if node.input[0] not in slider.forms:
        _looked_up(slider, node)
        return
    if node.input[1] in slider.forms:
        raise Stuck(Code.NOT_SLIDING, node, "its indices are computed from the image")
    indices, axis = slider.values(node.input[1]), int_attribute(node, "axis", 0)
    form = slider.form(node, apart=True)
    if (indices is None or indices.ndim > 1) and counts_up(slider.constants, node.input[1], form.shape[axis]):
        put_together(slider, node, regroup(slider, node, form, slider.shape(node.output[0], node)))
        return
    if indices is None or indices.ndim > 1:
        raise Stuck(Code.NOT_SLIDING, node, "its indices have several dimensions, or are computed")
    _taken(slider, node, axis, indices)


@handles("GatherND")
def _gather_nd(slider: Slider, node: NodeProto) -> None:
    """Run a GatherND as PyTorch's newer exporter writes it for indices of the first dimension: [[2], [1], [0]]."""
    indices = slider.values(node.input[1])
    if indices is None or indices.ndim != 2 or indices.shape[1] != 1 or int_attribute(node, "batch_dims", 0):
        raise Stuck(Code.NOT_SLIDING, node, "its indices are of several dimensions, or are computed")
    _taken(slider, node, 0, indices.reshape(-1))


def _taken(slider: Slider, node: NodeProto, axis: int, indices: np.ndarray) -> None:
    """Take channels at some indices, cells of a window at evenly spaced indices, or one cell."""
    form = slider.form(node, apart=True)
    size = form.shape[axis % len(form.layout)]
    if ((indices < -size) | (indices >= size)).any():
        raise Stuck(Code.NOT_SLIDING, node, f"an index is beyond the {size} that there are")
    if form.parts is not None:
        put_together(slider, node, taken(form, {axis % len(form.layout): indices}))
        return
    form, dims, several = slider.axes_of(node, [axis])
    layout = form.layout if indices.ndim else left(node, form.layout, dims)
    places = indices.reshape(-1) % form.shape[dims[0]]
    if len(several) == 1 and several <= form.free and np.unique(np.diff(places)).size <= 1:
        step = int(places[1] - places[0]) if places.size > 1 else 1
        made = _cut(slider, node, form, [(int(places[0]), int(places[-1]) + 1, dims[0], step)])
        slider.forms[made.name] = replace(made, layout=layout)
        return
    only_channels(slider, node, dims)
    listed = node.input[1]
    if op(node) != "Gather" or not indices.ndim or not slider.constants.is_constant(listed):
        listed = slider.tensors.ints(tuple(int(i) for i in indices.flat), f"{node.output[0]}_index")
    slider.put(node, "Gather", [form.name, listed], axis=CHANNELS)
    slider.result(node, form, layout=layout, sizes=form.sizes_of(indices.size))


@handles("Slice")
def _slice(slider: Slider, node: NodeProto) -> None:
    starts, ends, axes, steps = (slider.listed(node, key, at) or [] for at, key in enumerate(_BOUNDS, start=1))
    form, dims, _ = slider.axes_of(node, axes or range(len(starts)), apart=True)
    cuts = list(zip(starts, ends, dims, steps or [1] * len(dims), strict=True))
    if form.parts is None:
        _cut(slider, node, form, cuts)
    else:
        at = {dim: np.arange(form.shape[dim])[slice(start, end, step)] for start, end, dim, step in cuts}
        put_together(slider, node, taken(form, at))


def _cut(slider: Slider, node: NodeProto, form: Form, cuts: Sequence[tuple[int, int, int, int]]) -> Form:
    """Slice a map by starts, ends, dimensions and steps."""
    sizes, traced, bounds = list(form.sizes), dict[int, Step](), list[tuple[int, int, int, int]]()
    for start, end, dim, step in cuts:
        axes = form.filled(dim) or form.layout[dim]
        if len(axes) != 1:
            raise Stuck(Code.SIZES_MIXED, node, "it cuts a dimension of several axes")
        (axis,) = axes
        first, last = start, end
        if axis in form.free:
            first, last, traced[axis] = _of_any_size(node, form, axis, (start, end, step))
        bounds.append((first, last, axis, step))
        sizes[axis] = len(range(form.sizes[axis])[start:end:step])
    starts, ends, on, steps = [*zip(*bounds, strict=True)] or [()] * len(_BOUNDS)
    given = None if all(step == 1 for step in steps) else steps
    if given is not None and slider.graph.opset < SLICE_STEPS:
        raise Stuck(Code.NOT_SLIDING, node, f"a Slice with steps needs operator set {SLICE_STEPS}")
    slider.put(node, "Slice", [form.name], starts=starts, ends=ends, axes=on, steps=given)
    return slider.result(node, form, traced, sizes=tuple(sizes))


def _of_any_size(node: NodeProto, form: Form, axis: int, part: tuple[int, int, int]) -> tuple[int, int, Step]:
    """Compute the start, the end and the step of a slice of a free axis, counted from either end of any map.

    At a window that is what the original cuts out of it, from whichever end it counts.
    """
    size = form.sizes[axis]
    start, stop = (min(max(place + size if place < 0 else place, 0), size) for place in part[:2])
    if part[2] < 1:
        raise Stuck(Code.NOT_SLIDING, node, "it reverses the cells, which then count from the far end")
    if start >= stop:
        raise Stuck(Code.NOT_SLIDING, node, "it takes no cell")
    less = stop - size
    return start, less or TO_THE_END, Step(node.output[0], (form.name,), stride=part[2], before=-start, after=less)


@handles("OneHot")
def _one_hot(slider: Slider, node: NodeProto) -> None:
    """Run a OneHot on a map of one channel: make a channel for each number that a pixel may be."""
    form = slider.form(node)
    if any(name in slider.forms for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its depth or its values are computed from the image")
    dim = int_attribute(node, "axis", -1) % (len(form.layout) + 1)
    made = slider.between(node, [form.name, *node.input[1:]], f"{node.output[0]}_channels", axis=CHANNELS)
    _new_channels(slider, node, form, dim, slider.add("Squeeze", [made], f"{node.output[0]}_one_hot", axes=(SPACE,)))


def _looked_up(slider: Slider, node: NodeProto) -> None:
    """Look up a value for each pixel in a table, or a row of values, which become the channels of a map of one."""
    form = slider.form(node, 1)
    table = slider.constants.shape(node.input[0])
    if not table or len(table) > SPACE or int_attribute(node, "axis", 0):
        raise Stuck(Code.NOT_SLIDING, node, "its indices are computed from the image")
    if len(table) == 1:
        slider.emit(node)
        slider.result(node, form)
        return
    made = slider.between(node, [node.input[0], form.name], f"{node.output[0]}_rows")
    perm = [0, form.rank, *range(SPACE, form.rank), CHANNELS]
    turned = slider.add("Transpose", [made], f"{made}_map", perm=perm)
    name = slider.add("Squeeze", [turned], f"{made}_looked_up", axes=(form.rank,))
    _new_channels(slider, node, form, len(form.layout), name)


def _new_channels(slider: Slider, node: NodeProto, form: Form, dim: int, name: str) -> None:
    """Set the result of a node that makes channels, in a dimension of their own, of a map that has one."""
    if form.sizes[CHANNELS] != 1:
        raise Stuck(Code.SIZES_MIXED, node, "it makes channels of each channel")
    layout = [tuple(axis for axis in axes if axis != CHANNELS) for axes in form.layout]
    layout.insert(dim, (CHANNELS,))
    sizes = form.sizes_of(slider.shape(node.output[0], node)[dim])
    slider.forms[node.output[0]] = slider.derived(form, name, layout=tuple(layout), sizes=sizes)
