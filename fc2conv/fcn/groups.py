"""Values that hold the channels of a map in several dimensions: what moves and takes them, and norms over the image.

q = Reshape (x, [N, G, C/G, H, W])  t = Transpose (q, [0, 2, 1, 3, 4])  ->  only followed, until they are joined
q = Reshape (x, [N, G, -1])  i = InstanceNormalization (q)              ->  the same, with the shape of any map
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.fcn import shuffles
from fc2conv.fcn.beside import measured
from fc2conv.fcn.facts import Pool
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, identity
from fc2conv.fcn.geometry import packed, unpacked
from fc2conv.fcn.shuffles import Order, Split
from fc2conv.fcn.slicing import sliced
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import reads_all
from fc2conv.ir.graph import int_attribute, op, permutation
from fc2conv.layout.axes import Size
from fc2conv.reasons import Code


def take_apart(slider: Slider, node: NodeProto, form: Form, target: tuple[int, ...], detail: str) -> Split | None:
    """A map whose channels, or blocks of cells, a Reshape takes apart; None where it cuts anything else."""
    value = shuffles.cut(node, form, target, detail) if form.free else None
    if value is None or (found := shuffles.blocks(value)) is None:
        return value if value is not None and shuffles.is_whole(value) else None
    block, layout = found
    made = slider.add("SpaceToDepth", [form.name], f"{node.output[0]}_blocks", blocksize=block)
    sizes = (form.sizes[BATCH], form.sizes[CHANNELS] * block**2, *(size // block for size in form.sizes[SPACE:]))
    slider.trace(made, [form], dict.fromkeys(range(SPACE, form.rank), packed(made, form.name, block)))
    return Split(Form(made, identity(form.rank), sizes, form.free), layout, node, detail)


def put_together(slider: Slider, node: NodeProto, value: Split) -> None:
    """A value of split channels, or the map in whose order they are together again."""
    found = shuffles.joined(value)
    if found is not None:
        order, layout = found
        form = in_channels(slider, value.form, order, node.output[0])
        slider.result(node, form, layout=layout, name=form.name)
    elif (blocks := shuffles.joined_blocks(value)) is not None:
        block, order, behind = blocks
        form = in_channels(slider, value.form, order, f"{node.output[0]}_blocks")
        made = slider.add("DepthToSpace", [form.name], f"{node.output[0]}_cells", blocksize=block)
        sizes = (form.sizes[BATCH], form.sizes[CHANNELS] // block**2, *(size * block for size in form.sizes[SPACE:]))
        slider.trace(made, [form], dict.fromkeys(range(SPACE, form.rank), unpacked(made, form.name, block)))
        put_together(slider, node, replace(value, form=replace(form, name=made, sizes=sizes), layout=behind, first=0))
    else:
        slider.split[node.output[0]] = value


def in_channels(slider: Slider, form: Form, order: Order, wanted: str) -> Form:
    """A map of these channels of another, in their order."""
    if order.size == form.sizes[CHANNELS] and (order == np.arange(order.size)).all():
        return form
    listed = slider.tensors.ints(tuple(int(i) for i in order.flat), f"{wanted}_channels")
    made = slider.add("Gather", [form.name, listed], f"{wanted}_gather", axis=CHANNELS)
    slider.trace(made, [form])
    return replace(form, name=made, sizes=form.sizes_of(order.size))


def in_order(slider: Slider, value: Split, wanted: str) -> Split:
    """The value with the channels of its map in the order of its dimensions."""
    form = in_channels(slider, value.form, value.order.reshape(-1), wanted)
    return replace(value, form=form, layout=shuffles.in_order(value.layout), first=0)


@handles("Transpose", split=True)
def _transpose(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    perm = permutation(node, len(value.layout)) or []
    put_together(slider, node, replace(value, layout=tuple(value.layout[dim] for dim in perm)))


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze", split=True)
def _reshape(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    apart = shuffles.regrouped(value, slider.shape(node.output[0], node))
    if apart is None:
        raise kept_apart(value)
    put_together(slider, node, apart)


@handles("Gather", split=True)
def _gather(slider: Slider, node: NodeProto) -> None:
    value, index = slider.split.get(node.input[0]), slider.values(node.input[1])
    axis = int_attribute(node, "axis", 0)
    if value is None or index is None or index.ndim > 1:
        raise Stuck(Code.NOT_SLIDING, node, "it takes parts of split channels")
    if index.ndim:
        put_together(slider, node, _taken(slider, node, value, {axis % len(value.layout): index}, 0))
        return
    apart = shuffles.picked(value, axis % len(value.layout), int(index))
    if apart is None:
        raise kept_apart(value)
    put_together(slider, node, apart)


@handles("Slice", split=True)
def _slice(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    cuts = zip(*sliced(slider, node, len(value.layout)), strict=True)
    shape = [int(np.prod([axis.size.coefficient for axis in dim])) for dim in value.layout]
    taken = {dim: np.arange(shape[dim])[slice(start, end, step)] for start, end, dim, step in cuts}
    put_together(slider, node, _taken(slider, node, value, taken, 0))


@handles("Split", split=True)
def _split(slider: Slider, node: NodeProto) -> None:
    value, first = slider.split[node.input[0]], 0
    dim = int_attribute(node, "axis", 0) % len(value.layout)
    for i, name in enumerate(node.output):
        count = slider.shape(name, node)[dim]
        alone = NodeProto(op_type="Split", name=node.name, input=node.input[:1], output=[name])
        put_together(slider, alone, _taken(slider, node, value, {dim: np.arange(first, first + count)}, i))
        first += count


def _taken(slider: Slider, node: NodeProto, value: Split, taken: dict[int, Order], index: int) -> Split:
    """The value at some indices of dimensions that hold one part of the channels each."""
    order, layout = value.order, list(value.layout)
    for dim, indices in taken.items():
        if len(layout[dim]) != 1 or not shuffles.is_part(layout[dim][0]):
            raise kept_apart(value)
        order = np.take(order, indices, value.parts.index(value.layout[dim][0]))
        layout[dim] = (layout[dim][0]._replace(size=Size(indices.size)),)
    form = in_channels(slider, value.form, order.reshape(-1), node.output[index])
    return replace(value, form=form, layout=shuffles.in_order(tuple(layout)), first=0)


@handles("Shape", "Size", split=True)
def _sizes(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    sizes = [prod(axis.size.coefficient for axis in dim) for dim in value.layout]
    axes = [tuple(int(axis.root) for axis in dim if not shuffles.is_part(axis)) for dim in value.layout]
    measured(slider, node, value.form, list(zip(sizes, axes, strict=True)))


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
    groups = value.layout[1] if len(value.layout) > SPACE else ()
    if places != sorted(places) or len(groups) != 1 or not shuffles.is_part(groups[0]):
        raise kept_apart(value)
    _in_groups(slider, node, value.form, groups[0].size.coefficient)
    slider.split[node.output[0]] = replace(value, form=replace(value.form, name=node.output[0]))
    _reads_all(slider, node, value.form)


def _in_groups(slider: Slider, node: NodeProto, form: Form, groups: int) -> None:
    """The norm of so many groups of channels, between two reshapes that suit a map of any size."""
    made = node.output[0]
    shape = slider.add("Shape", [form.name], f"{made}_shape")
    flat = slider.add("Reshape", [form.name], f"{made}_groups", shape=(0, groups, -1))
    new = slider.emit(node, [flat, *node.input[1:]])
    new.output[0] = slider.tensors.unique(f"{made}_normed")
    slider.add("Reshape", [new.output[0], shape], f"{made}_map", made=made)


def _reads_all(slider: Slider, node: NodeProto, form: Form) -> None:
    reads_all(slider, node.output[0], form)
    slider.pools.append(Pool(node, form.name, node.output[0], "within"))
