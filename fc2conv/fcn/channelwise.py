"""Operators that work along the channels: the same at every cell of the map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.beside import adopted
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form
from fc2conv.fcn.parts import (
    apart,
    channels_first,
    channels_last,
    in_dimensions,
    in_order,
    left,
    meeting,
    put_together,
    reshaped,
    taken,
)
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import constant_map, with_channels
from fc2conv.io.custom_ops import BLOCKED
from fc2conv.ir.graph import int_attribute, op
from fc2conv.reasons import Code

_PER_DIMENSION = 13
"""From this opset Softmax and its variants work along one dimension; before, they flatten all from the axis on."""


_ALONG = {
    **dict.fromkeys("ArgMax ArgMin Split".split(), 0),
    **dict.fromkeys(BLOCKED, 1),
    **dict.fromkeys("Hardmax LogSoftmax LpNormalization Softmax TopK com.microsoft::QLinearSoftmax".split(), -1),
}
"""Operators that work along one dimension, and the one that they work along by default."""


@handles(*_ALONG)
def _along(slider: Slider, node: NodeProto) -> None:
    opset = int_attribute(node, "opset", slider.graph.opset)
    if opset < _PER_DIMENSION and op(node).endswith(("Softmax", "Hardmax")):
        rank = len(slider.form(node).layout)
        form, _ = only_channels(slider, node, range(int_attribute(node, "axis", 1) % rank, rank))
        _channels_last(slider, node, form, axis=form.rank - 1)
        return
    if slider.form(node, apart=True).parts is not None:
        _along_part(slider, node)
        return
    form, dims = only_channels(slider, node, [int_attribute(node, "axis", _ALONG[op(node)])])
    layout, picks = form.layout, op(node) in ("ArgMax", "ArgMin")
    if picks and not int_attribute(node, "keepdims", 1):
        layout = left(node, layout, dims)
    slider.emit(node, axis=CHANNELS, keepdims=1 if picks else None)
    for index, name in enumerate(node.output):
        if name:
            count = 1 if picks else slider.shape(name, node)[dims[0]]
            slider.result(node, form, index=index, layout=layout, sizes=form.sizes_of(count))


def _along_part(slider: Slider, node: NodeProto) -> None:
    """Run a Softmax along a part of the channels, between two Reshapes, or a Split, which only takes parts."""
    form, made, first = slider.form(node, apart=True), node.output[0], 0
    dim = int_attribute(node, "axis", _ALONG[op(node)]) % len(form.layout)
    if op(node) == "Split":
        for i, name in enumerate(node.output):
            end = first + slider.shape(name, node)[dim]
            put_together(slider, node, taken(form, {dim: np.arange(first, end)}), i)
            first = end
    elif op(node) not in ("Softmax", "LogSoftmax", "Hardmax") or form.filled(dim) != (CHANNELS,):
        raise kept_apart(form)
    else:
        form, parted = in_dimensions(slider, form, made)
        soft = slider.add(op(node), [parted], f"{made}_soft", axis=CHANNELS + form.parts_at(dim).start)
        reshaped(slider, form, [form.order.size], made, soft, made)
        put_together(slider, node, slider.derived(form, made))


@handles("CumSum")
def _sum_so_far(slider: Slider, node: NodeProto) -> None:
    form, _ = only_channels(slider, node, slider.ints(node.input[1]) or ())
    slider.emit(node, [form.name, slider.tensors.value(np.array(CHANNELS), "axis")])
    slider.result(node, form)


@handles(
    "LayerNormalization",
    "RMSNormalization",
    "com.microsoft::LayerNormalization",
    "com.microsoft::SimplifiedLayerNormalization",
    "SimplifiedLayerNormalization",
)
def _layer_norm(slider: Slider, node: NodeProto) -> None:
    rank = len(slider.form(node, apart=True).layout)
    axis = int_attribute(node, "axis", -1)
    form, dims, several = slider.axes_of(node, range(axis % rank, rank), apart=True)
    if several != {CHANNELS}:
        raise Stuck(Code.SIZES_MIXED, node, f"{op(node)} works on more than the channels")
    operands, shape = node.input[1:], form.shape[dims[0] :]
    if form.parts is not None:
        if form.axes(range(dims[0])) - {BATCH}:
            raise kept_apart(form)
        form = in_order(slider, form, node.output[0])
    if len(shape) > 1:
        operands = [_flat(slider, node, name, shape) for name in operands if name]
    _channels_last(slider, node, form, operands, axis=-1)


def _flat(slider: Slider, node: NodeProto, name: str, shape: Sequence[int]) -> str:
    """Broadcast a constant to several dimensions and flatten it; raise Stuck where it is computed."""
    values = slider.values(name)
    if values is None:
        raise Stuck(Code.NOT_SLIDING, node, f"the operand {name} is computed")
    return slider.tensors.value(np.broadcast_to(values, shape).reshape(-1), f"{name}_flat")


def _channels_last(
    slider: Slider, node: NodeProto, form: Form, operands: Sequence[str] = (), **attributes: object
) -> None:
    """Run a node that works along the channels between two Transposes that put them last.

    This holds for every opset: an operator that flattens from its axis on has the channels alone in the last dimension.
    """
    made = node.output[0]
    turned = channels_last(slider, form.name, form.rank, f"{made}_channels_last")
    turned = slider.between(node, [turned, *operands], f"{made}_turned", **attributes)
    channels_first(slider, turned, form.rank, f"{made}_channels_first", made)
    slider.result(node, form)


@handles("Concat", "com.microsoft::QLinearConcat", narrow=True)
def _concat(slider: Slider, node: NodeProto) -> None:
    """Join values along the channels or a part of them, or along a dimension that holds no channels."""
    places = range(len(node.input)) if op(node) == "Concat" else range(2, len(node.input), 3)
    names = [node.input[place] for place in places]
    maps = [slider.forms[name] for name in names if name in slider.forms]
    dim = int_attribute(node, "axis", 1) % max(len(form.layout) for form in maps)
    along = (_along_dim(form, dim) for form in maps)
    first = max(along, key=lambda form: (form.parts is not None, len(form.free), form.has_cells))
    plain = first.parts is None and first.axes([dim]) <= {CHANNELS}
    if not plain and len(maps) < len(names):
        raise Stuck(Code.NOT_SLIDING, node, "it joins cells, or parts of the channels, with what comes from no image")
    forms: list[Form] = []
    for name in names:
        beside = slider.forms[name] if name in slider.forms else constant_map(slider, node, name, first)
        forms.append(_as_large(slider, node, adopted(slider, node, _along_dim(beside, dim), first), first))
    first, *_ = whole = [apart(form, node, "it joins more than channels") for form in (first, *forms)]
    if len({form.sizes[SPACE:] for form in whole}) > 1:
        raise kept_apart(first)
    met = meeting(node, [taken(form, {dim: np.array(0)}) for form in whole])
    if any(form.order.size != form.shape[dim] * met.order.size for form in whole[1:]):
        raise kept_apart(first)  # one of them is carried as less than it is
    turned = [form.transposed([dim, *(i for i in range(len(form.layout)) if i != dim)]) for form in whole[1:]]
    joined = [in_order(slider, form, node.output[0]) for form in turned]
    operands = dict(enumerate(node.input)) | {place: form.name for place, form in zip(places, joined, strict=True)}
    slider.emit(node, list(operands.values()), axis=CHANNELS)
    slider.trace(node.output[0], joined)
    channels = sum(form.sizes[CHANNELS] for form in joined)
    order = np.arange(channels).reshape(sum(form.shape[0] for form in turned), *met.order.shape)
    layout = tuple((CHANNELS, *axes) if i == dim else axes for i, axes in enumerate(first.layout))
    layout = first.layout if CHANNELS in first.layout[dim] else layout
    made = replace(met, name=node.output[0], layout=layout, sizes=met.sizes_of(channels), parts=first.parts)
    put_together(slider, node, made.holding(np.moveaxis(order, 0, made.parts_at(dim).start)))


def _along_dim(form: Form, dim: int) -> Form:
    """Put the channel of a value with one channel into dimension `dim`; return any other value as it is."""
    return form if form.parts is not None else with_channels(form, dim, 1) or form


def _as_large(slider: Slider, node: NodeProto, form: Form, first: Form) -> Form:
    """Expand a map of one cell for the whole image to the cells of another map."""
    if form.has_cells < first.has_cells:
        slider.suspects.add(form.name)
    if form.free == first.free:
        return form
    if any(form.sizes[axis] != 1 for axis in first.free - form.free):
        raise Stuck(Code.MAP_SPREAD, node, form.name)
    shape = slider.extent(first, form.sizes[CHANNELS])
    spread = slider.add("Expand", [form.name, shape], f"{form.name}_spread")
    slider.trace(spread, [form, first])
    return replace(form, name=spread, sizes=first.sizes_of(form.sizes[CHANNELS]), free=first.free)


def only_channels(slider: Slider, node: NodeProto, dims: Iterable[int]) -> tuple[Form, list[int]]:
    """Return the first operand's form, and the dimensions from 0 on; raise Stuck unless they hold channels alone."""
    form, listed, several = slider.axes_of(node, dims)
    if several - {CHANNELS} or not any(CHANNELS in form.layout[dim] for dim in listed):
        raise Stuck(Code.SIZES_MIXED, node, f"{op(node)} works on more than the channels")
    return form, listed
