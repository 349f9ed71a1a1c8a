"""Operators that read windows of a map: convolutions, pooling with a kernel, padding, resizing, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from math import prod

from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, identity, widened
from fc2conv.fcn.geometry import Step, packed, unpacked
from fc2conv.fcn.pooling import whole_map
from fc2conv.fcn.slider import Slider, Stuck, handles
from fc2conv.fcn.spreading import all_of
from fc2conv.ir.graph import changed, int_attribute, ints_attribute, op, text_attribute
from fc2conv.layout.axes import Axis, Size
from fc2conv.reasons import Code

_POOLS = ("MaxPool", "AveragePool", "LpPool")


@handles("Conv", "QLinearConv", "ConvInteger", "com.microsoft::FusedConv", "com.microsoft::QLinearAveragePool", *_POOLS)
def _window(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node)
    units: tuple[int, ...] = ()
    if not form.is_map:
        node, form = _over_all_cells(slider, node, form)
    if not form.is_map:
        node, form, units = _without_units(slider, node, form)
    if not form.is_map and _along_channels(slider, node, form):
        return
    if not form.is_map:
        raise Stuck(Code.SIZES_MIXED, node, "the operand is not laid out as [N, C, *S]")
    indices = next(iter(node.output[1:]), "")
    if indices in slider.graph.outputs or indices in slider.graph.uses:
        raise Stuck(Code.NOT_SLIDING, node, "its indices count cells of a map of one size")
    if any(name in slider.forms for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its kernel is computed from the image")
    shape = slider.shape(node.output[0], node)
    sizes = tuple(size for dim, size in enumerate(shape) if dim not in units)
    layout = widened(identity(form.rank), units)
    kernel = _kernel(slider, node, form)
    whole = node.op_type in ("AveragePool", "MaxPool") and _is_whole(node, form, kernel, sizes)
    if whole and node.op_type == "MaxPool" and node.output[0] not in slider.inner | slider.beside:
        slider.whole.add(node.output[0])  # a window as others are, unless its result is spread over the map again
    elif whole:
        whole_map(slider, node, form, set(range(SPACE, form.rank)), layout)
        return
    steps, pads = _steps(node, form, kernel, sizes)
    changed: dict[str, object] = {"auto_pad": None, "pads": pads} if _auto_pad(node) else {}
    made = slider.emit(node, [form.name, *node.input[1:]], **changed)
    del made.output[1:]
    slider.result(node, form, steps, layout=layout, sizes=sizes)


def _along_channels(slider: Slider, node: NodeProto, form: Form) -> bool:
    """Pooling along the channels, which an Unsqueeze has made spatial: the same between Unsqueeze and Squeeze."""
    rank = form.rank - 1
    if form.layout != ((BATCH,), (), *((axis,) for axis in range(CHANNELS, form.rank))) or op(node) not in _POOLS:
        return False
    rest = [(ints_attribute(node, name) or [1] * rank)[1:] for name in ("kernel_shape", "strides")]
    pads = ints_attribute(node, "pads") or [0] * (2 * rank)
    shape = slider.shape(node.output[0], node)
    if any(size != 1 for sizes in rest for size in sizes) or any(pads[1:rank]) or any(pads[rank + 1 :]):
        return False
    made = node.output[0]
    new = slider.emit(node, [slider.add("Unsqueeze", [form.name], f"{made}_wide", axes=(CHANNELS,))])
    new.output[0] = slider.tensors.unique(f"{made}_pooled")
    slider.add("Squeeze", [new.output[0]], made, made=made, axes=(CHANNELS,))
    slider.result(node, form, sizes=form.sizes_of(shape[SPACE]))
    return True


def _over_all_cells(slider: Slider, node: NodeProto, form: Form) -> tuple[NodeProto, Form]:
    """A layer over a flattened map that was converted as one over channels: its kernel is that map's."""
    weight = node.input[1] if op(node) == "Conv" else ""
    shape = slider.constants.shape(weight) or ()
    row = tuple(axis for axis in range(CHANNELS, form.rank) if form.sizes[axis] > 1)
    plain = not any(a.name in ("pads", "auto_pad", "group") for a in node.attribute if a.name != "group" or a.i != 1)
    if not plain or len(shape) != form.rank or len(form.layout) != form.rank or prod(shape[SPACE:]) != 1:
        return node, form
    if sorted(form.filled(1)) != list(row) or form.axes([0]) - {BATCH} or shape[1] != form.size(1):
        return node, form
    axes = [Axis("out", Size(shape[0])), *(Axis(str(i), Size(form.sizes[i])) for i in range(CHANNELS, form.rank))]
    source = ((axes[0],), tuple(axes[axis] for axis in form.filled(1)), *[()] * (form.rank - SPACE))
    target = tuple((axis,) if axis.size.coefficient > 1 or i == 0 else () for i, axis in enumerate(axes))
    new = changed(node, kernel_shape=form.sizes[SPACE:], strides=None, dilations=None)
    new.input[1] = slider.tensors.relaid(weight, source, target)
    return new, replace(form, layout=identity(form.rank))


def _without_units(slider: Slider, node: NodeProto, form: Form) -> tuple[NodeProto, Form, tuple[int, ...]]:
    """A node on a map to which an Unsqueeze gave dimensions: the same on the map, and the places of those dimensions.

    So is 1-D pooling exported as 2-D. Where such a dimension is padded, nothing changes.
    """
    units = tuple(dim for dim in range(SPACE, len(form.layout)) if not form.layout[dim])
    rank = len(form.layout) - SPACE
    if rank <= len(units):
        raise Stuck(Code.NOT_SLIDING, node, f"its input has {len(form.layout)} dimensions")
    new = deepcopy(node)
    for a in new.attribute:
        if a.name in ("kernel_shape", "strides", "dilations", "pads"):
            here = [value for i, value in enumerate(a.ints) if i % rank + SPACE in units]
            if any(value != (a.name != "pads") for value in here if a.name in ("kernel_shape", "pads")):
                return node, form, ()
            kept = [value for i, value in enumerate(a.ints) if i % rank + SPACE not in units]
            a.ints[:] = kept
    if node.op_type == "Conv":
        weight = slider.graph.initializers.get(node.input[1])
        if weight is None or any(weight.dims[dim] != 1 for dim in units):
            return node, form, ()
        kept = [size for dim, size in enumerate(weight.dims) if dim not in units]
        new.input[1] = slider.tensors.reshaped(weight, kept)
        new = changed(new, kernel_shape=kept[SPACE:])
    elif node.op_type not in _POOLS:
        return node, form, ()
    layout = tuple(axes for dim, axes in enumerate(form.layout) if dim not in units)
    return new, replace(form, layout=layout), units


def _kernel(slider: Slider, node: NodeProto, form: Form) -> Sequence[int]:
    given = ints_attribute(node, "kernel_shape")
    if given is not None:
        return given
    weight = node.input[3 if node.op_type == "QLinearConv" else 1]
    shape = slider.shape(weight, node)
    if len(shape) != form.rank:
        raise Stuck(Code.NOT_SLIDING, node, "the kernel has another rank than the map")
    return shape[SPACE:]


def _auto_pad(node: NodeProto) -> str:
    return text_attribute(node, "auto_pad", "NOTSET").removeprefix("NOTSET")


def _is_whole(node: NodeProto, form: Form, kernel: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether the pooling takes the mean of the whole map at the training size, as AdaptiveAvgPool is exported.

    A kernel that is larger than the map does so as well, if padding does not count (Caffe's pooling rounds sizes up).
    """
    extents = form.sizes[SPACE:]
    pads = ints_attribute(node, "pads") or [0] * (2 * len(kernel))
    covers = all(pads[i] <= kernel[i] - extents[i] for i in range(len(kernel)))
    counts = any(pads) and int_attribute(node, "count_include_pad", 0)
    one = all(size == 1 for size in sizes[SPACE:])
    return covers and one and not counts and not _auto_pad(node) and any(form.sizes[axis] > 1 for axis in form.free)


def _steps(
    node: NodeProto, form: Form, kernel: Sequence[int], sizes: Sequence[int]
) -> tuple[dict[int, Step], list[int]]:
    """One step for each spatial axis, and the pads as numbers: those of auto_pad are taken at the training size."""
    rank = len(kernel)
    strides = ints_attribute(node, "strides") or [1] * rank
    dilations = ints_attribute(node, "dilations") or [1] * rank
    pads = ints_attribute(node, "pads") or [0] * (2 * rank)
    up = bool(int_attribute(node, "ceil_mode", 0))
    kind = _auto_pad(node)
    steps: dict[int, Step] = {}
    for i in range(rank):
        extent = (kernel[i] - 1) * dilations[i] + 1
        if kind in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (sizes[SPACE + i] - 1) * strides[i] + extent - form.sizes[SPACE + i])
            less, more = total // 2, total - total // 2
            pads[i], pads[rank + i] = (less, more) if kind == "SAME_UPPER" else (more, less)
        elif kind:
            pads[i] = pads[rank + i] = 0
        before, after = pads[i], pads[rank + i]
        partial = up and (form.sizes[SPACE + i] + before + after - extent) % strides[i] > 0
        steps[SPACE + i] = Step(node.output[0], (form.name,), extent, strides[i], before, after, up, partial)
    return steps, pads


@handles("Pad")
def _pad(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node)
    given = ints_attribute(node, "pads") or (slider.ints(node.input[1]) if len(node.input) > 1 else None)
    named = slider.listed(node, "axes", 3)
    axes = [axis + len(form.layout) if axis < 0 else axis for axis in named or ()]
    axes = list(range(len(form.layout))) if named is None else axes
    if given is None or len(given) != 2 * len(axes):
        raise Stuck(Code.NOT_SLIDING, node, "its pads are computed")
    before, after = [0] * form.rank, [0] * form.rank
    for i, dim in enumerate(axes):
        low, high = given[i], given[len(axes) + i]
        if low or high:
            if len(form.layout[dim]) != 1:
                raise Stuck(Code.SIZES_MIXED, node, "it pads a dimension of several axes")
            before[form.layout[dim][0]], after[form.layout[dim][0]] = low, high
    sizes = tuple(size + before[axis] + after[axis] for axis, size in enumerate(form.sizes))
    pads = (*before, *after)
    if slider.graph.opset < 11:
        slider.emit(node, pads=list(pads))
    else:
        rest = [node.input[2]] if len(node.input) > 2 else []
        slider.emit(node, [form.name, slider.tensors.ints(pads, f"{node.output[0]}_pads"), *rest])
    read: tuple[str, ...] = (form.name,)
    if text_attribute(node, "mode", "") == "wrap":  # the cells at one rim read those at the other
        read = (form.name, all_of(slider, node.output[0], form))
    steps = {
        axis: Step(node.output[0], read, before=before[axis], after=after[axis]) for axis in range(SPACE, form.rank)
    }
    slider.result(node, form, steps, sizes=sizes)


@handles("SpaceToDepth", "DepthToSpace")
def _blocks(slider: Slider, node: NodeProto) -> None:
    form = slider.map_of(node)
    block = int_attribute(node, "blocksize", 1)
    slider.emit(node)
    step = (packed if node.op_type == "SpaceToDepth" else unpacked)(node.output[0], form.name, block)
    slider.result(node, form, dict.fromkeys(range(SPACE, form.rank), step), sizes=slider.shape(node.output[0], node))
