"""Channels in groups: values that hold the channels of a map in several dimensions, and norms over the image.

q = Reshape (x, [N, G, C/G, H, W])  m = ReduceMax (q, axes = [2])   ->   the largest of C/G maps of G channels each
q = Reshape (x, [N, G, -1])  i = InstanceNormalization (q)          ->   the same, with the shape of any map
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.fcn import shuffles
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, widened
from fc2conv.fcn.pooling import reduced_dims
from fc2conv.fcn.shuffles import Split
from fc2conv.fcn.slider import Pool, Slider, Stuck, handles
from fc2conv.fcn.spreading import reads_all
from fc2conv.ir.graph import int_attribute, new_node, op, permutation
from fc2conv.reasons import Code

_MOST = 64
"""How many parts of the channels are reduced one by one."""
_OF_MANY = {"ReduceMax": "Max", "ReduceMin": "Min", "ReduceMean": "Mean", "ReduceSum": "Sum"}


def put_together(slider: Slider, node: NodeProto, value: Split) -> None:
    """A value of split channels, or the map in whose order they are together again."""
    found = shuffles.joined(value)
    if found is None:
        slider.split[node.output[0]] = value
        return
    order, layout = found
    if list(order) == list(range(value.form.sizes[CHANNELS])):
        slider.result(node, value.form, layout=layout, name=value.form.name)
        return
    form, made = value.form, node.output[0]
    listed = slider.tensors.ints(tuple(int(i) for i in order), f"{made}_channels")
    name = slider.tensors.unique(f"{made}_gather")
    slider.nodes.append(new_node("Gather", [form.name, listed], [made], name, axis=CHANNELS))
    sizes = (form.sizes[BATCH], len(order), *form.sizes[SPACE:])
    slider.result(node, form, layout=layout, sizes=sizes)
    slider.trace(made, [form])


@handles("Transpose", split=True)
def _split_transpose(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    perm = permutation(node, len(value.layout)) or []
    put_together(slider, node, replace(value, layout=tuple(value.layout[dim] for dim in perm)))


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze", split=True)
def _split_reshape(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    apart = shuffles.regrouped(value, slider.shape(node.output[0], node))
    if apart is None:
        raise Stuck(Code.SIZES_MIXED, value.node, value.detail)
    put_together(slider, node, apart)


@handles("Gather", split=True)
def _split_gather(slider: Slider, node: NodeProto) -> None:
    value, index = slider.split.get(node.input[0]), slider.values(node.input[1])
    axis = int_attribute(node, "axis", 0)
    if value is None or index is None or index.ndim:
        raise Stuck(Code.NOT_SLIDING, node, "it takes parts of split channels")
    apart = shuffles.picked(value, axis % len(value.layout), int(index))
    if apart is None:
        raise Stuck(Code.SIZES_MIXED, value.node, value.detail)
    put_together(slider, node, apart)


@handles("Shape", "Size", split=True)
def _split_sizes(slider: Slider, node: NodeProto) -> None:
    slider.put_off(node, Stuck(Code.SIZES_MIXED, node, "it asks for the sizes of what is now a map"))
    slider.nodes.append(node)


@handles(*_OF_MANY, split=True)
def _reduced(slider: Slider, node: NodeProto) -> None:
    """A reduction over one dimension of parts of the channels: that of as many maps."""
    value = slider.split[node.input[0]]
    dims = [dim % len(value.layout) for dim in reduced_dims(slider, node, len(value.layout))]
    count = value.layout[dims[0]][0].size.coefficient if len(dims) == 1 and value.layout[dims[0]] else 0
    parts = [shuffles.picked(value, dims[0], i) for i in range(count)] if count <= _MOST else []
    found = [shuffles.joined(part) for part in parts if part is not None]
    whole = [each for each in found if each is not None]
    if not whole or len(whole) != count:
        raise Stuck(Code.SIZES_MIXED, value.node, value.detail)
    made = node.output[0]
    names = [_channels(slider, value.form, tuple(map(int, order)), made) for order, _ in whole]
    slider.nodes.append(new_node(_OF_MANY[op(node)], names, [made], slider.tensors.unique(f"{made}_reduced")))
    order, layout = whole[0]
    layout = widened(layout, dims) if int_attribute(node, "keepdims", 1) else layout
    slider.result(node, value.form, layout=layout, sizes=_with_channels(value.form, len(order)))
    slider.trace(made, [value.form])


def _channels(slider: Slider, form: Form, order: tuple[int, ...], wanted: str) -> str:
    return slider.add("Gather", [form.name, slider.tensors.ints(order, "channels")], f"{wanted}_part", axis=CHANNELS)


def _with_channels(form: Form, count: int) -> tuple[int, ...]:
    return (form.sizes[BATCH], count, *form.sizes[SPACE:])


# ------------------------------------------------------------------ norms over all cells of an image


@handles("InstanceNormalization", "GroupNormalization")
def _per_image(slider: Slider, node: NodeProto) -> None:
    """Norms over all cells of an image: they run on any size, and every cell reads the whole map."""
    form = slider.form(node)
    if form.is_map or (len(form.layout) > SPACE and form.filled(1) == (CHANNELS,) and form.layout[0] == (BATCH,)):
        slider.emit(node)
    elif op(node) == "InstanceNormalization" and form.layout[0] == (BATCH,) and not form.filled(1):
        _in_groups(slider, node, form, 1)
    else:
        raise Stuck(Code.SIZES_MIXED, node, "its channels are not the map's")
    slider.result(node, form)
    _reads_all(slider, node, form)


@handles("InstanceNormalization", split=True)
def _per_group(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    places = [(int(axis.root), -axis.stride.coefficient) for dim in value.layout for axis in dim]
    groups = value.layout[1] if len(value.layout) == SPACE + 1 else ()
    if places != sorted(places) or len(groups) != 1 or groups[0].root != str(CHANNELS):
        raise Stuck(Code.SIZES_MIXED, value.node, value.detail)
    _in_groups(slider, node, value.form, groups[0].size.coefficient)
    slider.split[node.output[0]] = replace(value, form=replace(value.form, name=node.output[0]))
    _reads_all(slider, node, value.form)


def _in_groups(slider: Slider, node: NodeProto, form: Form, groups: int) -> None:
    """The norm of so many groups of channels, between two reshapes that suit a map of any size."""
    made = node.output[0]
    shape = slider.add("Shape", [form.name], f"{made}_shape")
    flat = slider.add("Reshape", [form.name, slider.tensors.ints((0, groups, -1), "groups")], f"{made}_groups")
    new = slider.emit(node, [flat, *node.input[1:]])
    new.output[0] = slider.tensors.unique(f"{made}_normed")
    name = slider.tensors.unique(f"{made}_map")
    slider.nodes.append(new_node("Reshape", [new.output[0], shape], [made], name))


def _reads_all(slider: Slider, node: NodeProto, form: Form) -> None:
    reads_all(slider, node.output[0], form)
    slider.pools.append(Pool(node, form.name, node.output[0], "within"))
