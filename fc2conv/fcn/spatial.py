"""Operators that read windows of a map: convolutions, pooling with a kernel, padding, resizing, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, Layout, identity
from fc2conv.fcn.geometry import Step, packed, unpacked
from fc2conv.fcn.parts import in_order
from fc2conv.fcn.pooling import whole_map
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import all_of
from fc2conv.ir.graph import changed, int_attribute, ints_attribute, op, text_attribute
from fc2conv.layout.axes import Axis, Size
from fc2conv.reasons import Code

_POOLS = ("MaxPool", "AveragePool", "LpPool")
_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "com.microsoft::FusedConv": 1, "QLinearConv": 3}
"""Convolutions, and the operand that is the weight of each."""


@handles(*_WEIGHTS, *_POOLS, "com.microsoft::QLinearAveragePool")
def _window(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    layout = identity(form.rank)
    if form.parts is not None:
        _over_parts(slider, node, form)
        return
    if not form.is_map:
        if _along_channels(slider, node, form):
            return
        node, layout = _on_its_map(slider, node, form)
    if int_attribute(node, "channels_last", 0):
        raise Stuck(Code.SIZES_MIXED, node, "its channels are last")
    indices = next(iter(node.output[1:]), "")
    if indices in slider.graph.outputs or indices in slider.graph.uses:
        raise Stuck(Code.NOT_SLIDING, node, "its indices count cells of a map of one size")
    if any(name in slider.forms for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its kernel is computed from the image")
    shape = slider.shape(node.output[0], node)
    firsts = {axes[0]: size for axes, size in zip(layout, shape, strict=True) if axes}
    sizes = tuple(firsts.get(axis, 1) for axis in range(form.rank))
    kernel = _kernel(slider, node, form.rank)
    whole = node.op_type in ("AveragePool", "MaxPool") and _is_whole(node, form, kernel, sizes)
    if whole and node.op_type == "MaxPool" and node.output[0] not in slider.inner | slider.beside:
        slider.whole.add(node.output[0])  # a window as others are, unless its result is spread over the map again
    elif whole:
        whole_map(slider, node, form, set(range(SPACE, form.rank)), layout)
        return
    steps, pads = _steps(node, form, kernel, sizes)
    padding: dict[str, object] = {"auto_pad": None, "pads": pads} if _auto_pad(node) else {}
    made = slider.emit(node, [form.name, *node.input[1:]], **padding)
    del made.output[1:]
    slider.result(node, form, steps, layout=layout, sizes=sizes)


def _over_parts(slider: Slider, node: NodeProto, form: Form) -> None:
    """Write a convolution over parts of the channels that its kernel sums over as a 1x1 convolution of the channels."""
    weight = node.input[_WEIGHTS[op(node)]] if op(node) in _WEIGHTS else ""
    shape = slider.shape(weight, node) if weight else ()
    fits = (
        form.layout[0] == (BATCH,)
        and shape[SPACE:] == form.shape[SPACE:]
        and not any(ints_attribute(node, "pads") or ())
    )
    if not fits or form.axes(range(len(form.layout))) - {BATCH, CHANNELS} or not slider.constants.is_constant(weight):
        raise kept_apart(form)
    form = in_order(slider, form, node.output[0])
    every = [(Axis(str(dim), Size(size)),) if size > 1 else () for dim, size in enumerate(shape)]
    ones = [()] * (form.rank - SPACE)
    flat = slider.tensors.relaid(
        weight, tuple(every), (every[0], tuple(axis for dim in every[1:] for axis in dim), *ones)
    )
    read = [form.name if name == node.input[0] else flat if name == weight else name for name in node.input]
    none = dict.fromkeys(("kernel_shape", "strides", "dilations", "pads", "auto_pad"))
    slider.emit(node, read, **none)
    layout = ((BATCH,), (CHANNELS, *range(SPACE, form.rank)), *[()] * (len(shape) - SPACE))
    layout = identity(form.rank) if len(shape) == form.rank else layout
    slider.result(node, form, layout=layout, sizes=form.sizes_of(shape[0]), parts=None)


def _along_channels(slider: Slider, node: NodeProto, form: Form) -> bool:
    """Pool along channels that an Unsqueeze made spatial, between Unsqueeze and Squeeze; return whether that fits."""
    rank = form.rank - 1
    if form.layout != ((BATCH,), (), *((axis,) for axis in range(CHANNELS, form.rank))) or op(node) not in _POOLS:
        return False
    rest = [(ints_attribute(node, name) or [1] * rank)[1:] for name in ("kernel_shape", "strides")]
    pads = ints_attribute(node, "pads") or [0] * (2 * rank)
    shape = slider.shape(node.output[0], node)
    if any(size != 1 for sizes in rest for size in sizes) or any(pads[1:rank]) or any(pads[rank + 1 :]):
        return False
    made = node.output[0]
    wide = slider.add("Unsqueeze", [form.name], f"{made}_wide", axes=(CHANNELS,))
    pooled = slider.between(node, [wide], f"{made}_pooled")
    slider.add("Squeeze", [pooled], made, made=made, axes=(CHANNELS,))
    slider.result(node, form, sizes=form.sizes_of(shape[SPACE]))
    return True


def _on_its_map(slider: Slider, node: NodeProto, form: Form) -> tuple[NodeProto, Layout]:
    """Rewrite a node on a value that holds a map in other dimensions for that map; return it and its result's layout.

    Dimensions that an Unsqueeze has made, as for 1-D pooling exported as 2-D, are left out. Spatial dimensions may be
    in another order, and a kernel over channels that hold whole axes is as large as those.
    """
    rank, space, row = len(form.layout) - SPACE, range(SPACE, form.rank), form.filled(1)
    held = [form.filled(dim) or form.layout[dim][:1] for dim in range(SPACE, len(form.layout))]
    at = {axes[0]: i for i, axes in enumerate(held) if axes and axes[0] >= SPACE}
    kernel, pads = _kernel(slider, node, len(form.layout)), ints_attribute(node, "pads") or [0] * (2 * rank)
    units = set(range(rank)) - {*at.values()}
    weight = node.input[_WEIGHTS[op(node)]] if op(node) in _WEIGHTS else ""
    whole = weight and int_attribute(node, "group", 1) == 1 and BATCH not in row
    if (
        not space
        or form.axes([0]) - {BATCH}
        or any(len(axes) > 1 or (axes and axes[0] < SPACE and form.sizes[axes[0]] > 1) for axes in held)
        or len(kernel) != rank
        or any(kernel[i] != 1 or pads[i] or pads[i + rank] for i in units)
        or not (whole or set(row) <= {CHANNELS})
        or (weight and not slider.constants.is_constant(weight))
        or (weight and len(slider.shape(weight, node)) != len(form.layout))
    ):
        raise Stuck(Code.SIZES_MIXED, node, "the operand is not laid out as [N, C, *S]")
    sizes = {axis: kernel[at[axis]] if axis in at else form.sizes[axis] if axis in row else 1 for axis in space}
    listed: dict[str, list[int]] = {"kernel_shape": list(sizes.values())}
    for name, none in (("strides", 1), ("dilations", 1), ("pads", 0)):
        given = ints_attribute(node, name) or []
        parts = [given[i : i + rank] for i in range(0, len(given), rank)]
        listed |= {name: [part[at[axis]] if axis in at else none for part in parts for axis in space]} if given else {}
    new = changed(node, **listed)
    if weight:
        outputs, channels, *_ = slider.shape(weight, node)
        sizes[CHANNELS] = channels // prod(sizes[axis] for axis in row if axis != CHANNELS)
        every = {axis: (Axis(str(axis), Size(size)),) if size > 1 else () for axis, size in sizes.items()}
        source = [tuple(each for axis in row for each in every[axis])]
        source += [every[axes[0]] if axes and axes[0] in at else () for axes in held]
        out = (Axis("out", Size(outputs)),)
        target = [every[axis] for axis in (CHANNELS, *space)]
        new.input[_WEIGHTS[op(node)]] = slider.tensors.relaid(weight, (out, *source), (out, *target))
    rest = [axis for axis in space if axis not in at]
    return new, ((BATCH,), (CHANNELS, *rest), *(axes if axes and axes[0] in at else () for axes in held))


def _kernel(slider: Slider, node: NodeProto, rank: int) -> Sequence[int]:
    given = ints_attribute(node, "kernel_shape")
    if given is not None:
        return given
    shape = slider.shape(node.input[_WEIGHTS[op(node)]], node)
    if len(shape) != rank:
        raise Stuck(Code.NOT_SLIDING, node, "the kernel has another rank than the map")
    return shape[SPACE:]


def _auto_pad(node: NodeProto) -> str:
    return text_attribute(node, "auto_pad", "NOTSET").removeprefix("NOTSET")


def _is_whole(node: NodeProto, form: Form, kernel: Sequence[int], sizes: Sequence[int]) -> bool:
    """Return whether one window takes in the whole map at the training size, as AdaptiveAvgPool is exported.

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
    """Return a step for each spatial axis, and the pads as numbers: those of auto_pad at the training size."""
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
