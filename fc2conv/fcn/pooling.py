"""Pooling over the whole map: what ends the backbone slides with the training extent, what is within it does not.

Norms over all cells of an image do not slide either: they run on any size, and every cell reads the whole map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.analysis.reductions import OF_POOLS
from fc2conv.fcn.activations import MAXIMA, MEANS
from fc2conv.fcn.channelwise import only_channels
from fc2conv.fcn.counts import note_count, scaled_before
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, Layout, Pool
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.parts import channels_first, channels_last, left, over_channels, put_together
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import reads_all
from fc2conv.fcn.training import Shape
from fc2conv.ir.element_types import TYPES
from fc2conv.ir.graph import int_attribute, ints_attribute, label, named, new_node, op
from fc2conv.ir.schema import schema_of
from fc2conv.reasons import Code

_Around = tuple[tuple[str, ...], str, tuple[str, ...]]
_AROUND: dict[str, _Around] = {
    **dict.fromkeys(MEANS, ((), "AveragePool", ())),
    **dict.fromkeys(MAXIMA, ((), "MaxPool", ())),
    "com.microsoft::QLinearGlobalAveragePool": ((), "QLinearAveragePool", ()),
    "ReduceSum": ((), "AveragePool", ("count",)),
    "ReduceMin": (("Neg",), "MaxPool", ("Neg",)),
    "ReduceL1": (("Abs",), "AveragePool", ("count",)),
    "ReduceSumSquare": (("square",), "AveragePool", ("count",)),
    "ReduceL2": (("square",), "AveragePool", ("count", "Sqrt")),
}
"""Pooling over the whole map as pooling with a kernel between operators at each cell; `count` is times its cells."""
_NORMS = {1: "ReduceL1", 2: "ReduceL2"}
"""What a GlobalLpPool is, by its p."""
_AGAIN = {
    "ReduceMean": "ReduceMean",
    "ReduceSum": "ReduceSum",
    "ReduceL1": "ReduceL1",
    "ReduceSumSquare": "ReduceSum",
}
"""The operator that reduces channels after a reduction over cells, so that both are one over all, if there is one."""


@handles("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "com.microsoft::QLinearGlobalAveragePool")
def _global(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    kind, dims = OF_POOLS.get(op(node)), range(SPACE, len(form.layout))
    if kind is not None and form.axes(dims) == {CHANNELS}:
        put_together(slider, node, over_channels(slider, node, form, kind, dims))
        return
    form = slider.map_of(node)
    if int_attribute(node, "channels_last", 0):
        raise Stuck(Code.SIZES_MIXED, node, "its channels are last")
    whole_map(slider, node, form, set(range(SPACE, form.rank)), form.layout)


@handles(
    *("ReduceMean ReduceMax ReduceSum ReduceMin ReduceL1 ReduceL2 ReduceProd ReduceSumSquare ReduceLogSum".split()),
    "ReduceLogSumExp",
)
def _reduce(slider: Slider, node: NodeProto) -> None:
    """Reduce cells, channels or parts of them, or both: the cells first."""
    form, made = slider.form(node, apart=True), node.output[0]
    rank, keep = len(form.layout), bool(int_attribute(node, "keepdims", 1))
    dims = [dim % rank for dim in slider.listed(node, "axes", 1) or range(rank)]
    several, axes = form.axes(dims), {axis for dim in dims for axis in form.layout[dim]}
    channels, cells = CHANNELS in several or (CHANNELS in axes and not several), axes - {BATCH, CHANNELS}
    if BATCH in several:
        raise Stuck(Code.NOT_SLIDING, node, "it reduces the batch")
    if not channels and not cells:
        raise Stuck(Code.NOT_SLIDING, node, "it reduces dimensions of one element each")
    over, kind = node, op(node)
    if several - {CHANNELS} or not channels:
        if channels:
            over = named(node, label(node))
            over.output[0] = slider.tensors.unique(f"{made}_cells")
            mixed = Stuck(Code.SIZES_MIXED, node, "it reduces channels and cells at once")
            keeps, inner = slider.options.global_pool == "keep", over.output[0] in slider.inner
            if slider.unfolding and form.has_cells and not keeps and kind not in _AGAIN:
                raise mixed
            if (keeps or inner) and form.parts is None:
                slider.flattened |= {over.output[0]} if inner else set()
                over, cells, channels = node, cells | {CHANNELS}, False
            elif kind in _AGAIN:
                kind = _AGAIN[kind]
            else:  # an obstacle, unless it turns out to be within the backbone
                slider.windowless.append(mixed.reason)
        whole_map(slider, over, form, cells, form.layout)
        form = slider.forms[over.output[0]]
    if channels:
        over = node if over is node else named(node, slider.tensors.unique(f"{node.name or made}_channels"))
        form = over_channels(slider, over, form, kind, dims)
    put_together(slider, node, form if keep else replace(form, layout=left(node, form.layout, dims)))


def whole_map(slider: Slider, node: NodeProto, form: Form, axes: set[int], layout: Layout) -> None:
    """Pool all cells along some axes: at the end of a backbone as --global-pool says, within it as it was."""
    made = node.output[0]
    inner = made in slider.inner or (CHANNELS in axes and slider.options.global_pool != "keep")
    within = inner or not axes & form.free
    choice = "keep" if within else slider.options.global_pool
    sizes = tuple(1 if axis in axes else size for axis, size in enumerate(form.sizes))
    if choice == "error":
        raise Stuck(Code.POOL_REFUSED, node, op(node))
    if choice == "slide":
        norm = _NORMS.get(int_attribute(node, "p", 2), "") if op(node) == "GlobalLpPool" else op(node)
        before, kind, behind = _AROUND.get(norm, ((), "", ()))
        unfit = _unfit_type(slider, node, (*before, kind)) if kind else ""
        if not kind or unfit:  # an obstacle, unless it turns out to be within the backbone
            stuck = Stuck(Code.POOL_NOT_SLIDING, node, f"{op(node)}{f' of {unfit}' if unfit else ''}")
            if slider.unfolding and form.has_cells:
                raise stuck
            slider.windowless.append(stuck.reason)
            kind = "MaxPool"
        # Axes that do not slide are pooled as they were: their extent is the same for every image.
        kernel = tuple(form.sizes[axis] if axis in axes else 1 for axis in range(SPACE, form.rank))
        read = _at_each_cell(slider, node, form, before, kernel)
        cells = slider.tensors.unique(f"{made}_pooled") if behind else made
        scales = node.input[1:] if kind.startswith("QLinear") else []
        slider.nodes.append(new_node(kind, [read.name, *scales], [cells], node.name, kernel_shape=kernel))
        if scales:
            slider.nodes[-1].domain = node.domain
        steps = {axis: Step(cells, (read.name,), kernel[axis - SPACE]) for axis in axes}
        slider.forms[cells] = slider.derived(read, cells, steps, layout=layout, sizes=sizes)
        _at_each_cell(slider, node, slider.forms[cells], behind, kernel, made)
        slider.pools.append(Pool(node, form.name, made, "slide", kernel))
        return
    if node.op_type in ("AveragePool", "MaxPool"):
        slider.put(node, f"Global{node.op_type}", [form.name])
    elif "Reduce" in node.op_type:
        slider.put(node, op(node), [form.name], axes=sorted(axes), keepdims=1)
    else:
        slider.emit(node)
    steps = {axis: Step(made, (form.name,), everywhere=True) for axis in axes}
    slider.result(node, form, steps, layout=layout, sizes=sizes, free=form.free - axes)
    slider.pools.append(Pool(node, form.name, made, "within" if within else "keep"))
    note_count(slider, node, form, axes)
    scaled_before(slider, node)


def _unfit_type(slider: Slider, node: NodeProto, operators: Iterable[str]) -> str:
    """Return the element type of what a node reads where an operator does not take it; "" where all do."""
    kind, schemas = slider.kind(node.input[0]), (schema_of(name, slider.graph.opset, "") for name in operators)
    takes = all(schema is None or kind in {TYPES.get(each) for each in schema.inputs[0].types} for schema in schemas)
    return "" if takes else TensorProto.DataType.Name(kind).lower()


def _at_each_cell(
    slider: Slider, node: NodeProto, form: Form, operators: Sequence[str], kernel: Shape, last: str = ""
) -> Form:
    """Apply some operators to each cell of a map; `last` may name the result of the last one."""
    for i, operator in enumerate(operators, start=1):
        operands = [form.name, form.name] if operator == "square" else [form.name]
        if operator == "count":
            dtype = helper.tensor_dtype_to_np_dtype(slider.kind(node.input[0]))
            operands.append(slider.tensors.value(np.array(prod(kernel), dtype), "cells"))
        made = last if i == len(operators) else ""
        kind = "Mul" if len(operands) > 1 else operator
        made = slider.add(kind, operands, f"{node.output[0]}_{operator.lower()}", made=made)
        form = slider.forms[made] = slider.derived(form, made)
    return form


def spread_pools(slider: Slider) -> frozenset[str]:
    """Return the results of pooling that a later node spreads over a larger map again: it does not end the backbone.

    The same holds for what is pooled again along another axis. Return with them what nodes before this pooling compute
    from the size of a window instead of that of the image.
    """
    pools = {pool.made for pool in slider.pools} | slider.whole
    within = [pool.read for pool in slider.pools if pool.action != "slide"]
    sized = last_of(slider, slider.sized, within)
    spread = last_of(slider, pools - slider.inner, [form.name for _, form in slider.spread])
    return frozenset((*spread, *last_of(slider, pools, slider.suspects), *sized))


def last_of(slider: Slider, names: Set[str], behind: Iterable[str]) -> Iterator[str]:
    """Yield the first of these values that are met on the way back from some maps."""
    made_from = {step.made: step.read for steps in slider.steps.values() for step in steps}
    todo = list(behind)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in names:
            yield name
        elif name not in seen:
            seen.add(name)
            todo += made_from.get(name, ())


@handles("InstanceNormalization", "GroupNormalization")
def _per_image(slider: Slider, node: NodeProto) -> None:
    """Normalize each image, or each window where the map has one cell at the training size."""
    form, made = slider.form(node, apart=op(node) == "InstanceNormalization"), node.output[0]
    groups = _groups(node, form)
    if form.free and set(form.sizes[SPACE:]) == {1}:
        _over_each_cell(slider, node, form, groups)
        slider.result(node, form)
        return
    if groups == form.sizes[CHANNELS] and form.parts is None:
        slider.emit(node)
    else:
        _in_groups(slider, node, form.name, (0, groups, -1), f"{made}_map", made)
    _within(slider, node, form)


@handles("MeanVarianceNormalization")
def _normalized(slider: Slider, node: NodeProto) -> None:
    """Normalize each cell, or each image."""
    form, dims, several = slider.axes_of(node, ints_attribute(node, "axes") or (0, 2, 3))
    if BATCH in several:
        raise Stuck(Code.NOT_SLIDING, node, "it normalizes all items of a batch together")
    if not several & form.free:
        only_channels(slider, node, dims)
        slider.emit(node, axes=[CHANNELS])
        slider.result(node, form)
        return
    slider.emit(node, axes=sorted(several))
    _within(slider, node, form)


def _within(slider: Slider, node: NodeProto, form: Form) -> None:
    """Note what a norm of all cells of an image makes of a map."""
    made = node.output[0]
    slider.forms[made] = replace(form, name=made)
    reads_all(slider, made, form)
    slider.pools.append(Pool(node, form.name, made, "within"))


def _groups(node: NodeProto, form: Form) -> int:
    """Return into how many groups a norm cuts the channels; raise Stuck where its channels are not the map's."""
    if form.parts is not None:
        axes = [axis for dim in form.layout for axis in dim]
        whole = np.array_equal(form.order.reshape(-1), np.arange(form.sizes[CHANNELS])) and axes == sorted(axes)
        if not whole or len(form.layout) <= SPACE or form.layout[:SPACE] != ((BATCH,), (CHANNELS,)):
            raise kept_apart(form)
        return int(form.order.shape[0])
    if form.is_map or (len(form.layout) > SPACE and form.filled(1) == (CHANNELS,) and form.layout[0] == (BATCH,)):
        return form.sizes[CHANNELS]
    if op(node) == "InstanceNormalization" and form.layout[0] == (BATCH,) and not form.filled(1):
        return 1
    raise Stuck(Code.SIZES_MIXED, node, "its channels are not the map's")


def _in_groups(slider: Slider, node: NodeProto, name: str, parts: Sequence[int], wanted: str, made: str = "") -> str:
    """Write the norm of a value in items, groups and elements, between two Reshapes that suit a map of any size."""
    result = node.output[0]
    shape = slider.add("Shape", [name], f"{result}_shape")
    flat = slider.add("Reshape", [name], f"{result}_groups", shape=parts)
    normed = slider.between(node, [flat, *node.input[1:]], f"{result}_normed")
    return slider.add("Reshape", [normed, shape], wanted, made=made)


def _over_each_cell(slider: Slider, node: NodeProto, form: Form, groups: int) -> None:
    """Write the norm with each cell of a map as an item: put its channels last, and cut them into groups."""
    made, parts = node.output[0], (-1, groups, form.sizes[CHANNELS] // groups)
    last = channels_last(slider, form.name, form.rank, f"{made}_channels_last")
    normed = _in_groups(slider, node, last, parts, f"{made}_cells")
    channels_first(slider, normed, form.rank, f"{made}_map", made)
