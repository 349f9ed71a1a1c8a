"""What is computed of values that hold the channels of a map in several dimensions, or of several maps in one.

q = Reshape (x, [N, G, C/G, H, W])  m = ReduceMax (q, axes = [2])         ->   between two reshapes of any size
m = ReduceMean (q, axes = [2, 3, 4])  d = Sub (q, m)                      ->   the mean of each group, for each channel
s = Concat (Unsqueeze (a, 1), Unsqueeze (b, 1))  m = ReduceSum (s, [1])   ->   the channels of both, in two parts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from onnx import NodeProto

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.fcn import shuffles
from fc2conv.fcn.counts import follow_count, grown
from fc2conv.fcn.fixed import value_of
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form, growing, identity
from fc2conv.fcn.groups import in_channels, in_order, put_together
from fc2conv.fcn.pooling import reduced_dims, whole_map
from fc2conv.fcn.shuffles import Split
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import extent_of, of_one_item
from fc2conv.ir.graph import OWN, int_attribute, label, named, op
from fc2conv.layout import axes
from fc2conv.reasons import Code

_REDUCED = (
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare".split()
)
_AGAIN = {"ReduceSumSquare": "ReduceSum"}
"""What is computed of the results of a reduction over cells, where it is not the same once more."""
_PER_DIMENSION = 13


@handles(*UNARY, *OWN, *OWN.values(), split=True)
def _unary(slider: Slider, node: NodeProto) -> None:
    value = slider.split.get(node.input[0])
    scale = slider.constants.shape(node.input[1]) if op(node).endswith("Linear") else ()
    if scale is None or prod(scale) != 1:
        raise Stuck(Code.NOT_SLIDING, node, "its scale is computed, or there are several")
    if value is None or any(name in slider.forms or name in slider.split for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its second operand is computed from the image")
    slider.emit(node, [value.form.name, *node.input[1:]])
    slider.trace(node.output[0], [value.form])
    follow_count(slider, node, value.form.name)
    slider.split[node.output[0]] = replace(value, form=replace(value.form, name=node.output[0]))


@handles(*BROADCAST, "PRelu", split=True)
def _broadcast(slider: Slider, node: NodeProto) -> None:
    about = next(slider.split[name] for name in node.input if name in slider.split)
    rank = about.form.rank
    values = {name: _as_split(slider, node, name, about) for name in node.input if _is_map(slider, name)}
    arrays = {name: of_one_item(slider, name) for name in node.input if name and name not in values}
    known = {name: array for name, array in arrays.items() if array is not None}
    if len(known) < len(arrays):
        raise Stuck(Code.NOT_SLIDING, node, f"its operand {min(arrays.keys() - known.keys())} comes from no image")
    layout = shuffles.meeting([value.layout for value in values.values()], [each.shape for each in known.values()])
    if layout is None or any(value.form.rank != rank for value in values.values()):
        raise kept_apart(about)
    names, forms = dict[str, str](), list[Form]()
    for name, value in values.items():
        order = shuffles.channels_at(value, layout)
        form = value.form if value.form.sizes[CHANNELS] == 1 else in_channels(slider, value.form, order, name)
        names[name] = form.name
        forms.append(form)
    for name, array in known.items():
        found = shuffles.constant_at(array, layout)
        if found is None:
            raise Stuck(Code.SIZE_IN_CONSTANT, node, f"{name}, of shape {list(array.shape)}")
        shape = (1, -1, *[1] * (rank - SPACE)) if found.size > 1 else (1,)
        names[name] = slider.tensors.value(found.reshape(shape), f"{name}_parts")
    channels = prod(axis.size.coefficient for axis in axes.axes_of(layout) if shuffles.is_part(axis))
    sizes = [max(form.sizes[axis] for form in forms) for axis in range(rank)]
    sizes[CHANNELS] = channels
    slider.meet(node, forms, sizes)
    slider.emit(node, grown(slider, node, [names.get(name, name) for name in node.input]))
    slider.trace(node.output[0], forms)
    made = Form(node.output[0], identity(rank), tuple(sizes), growing(forms))
    put_together(slider, node, Split(made, layout, about.node, about.detail))


def _is_map(slider: Slider, name: str) -> bool:
    return name in slider.split or name in slider.forms


def _as_split(slider: Slider, node: NodeProto, name: str, like: Split) -> Split:
    """An operand beside a value of split channels, its own channels in one part or in several."""
    if name in slider.split:
        return slider.split[name]
    form = slider.forms[name]
    if form.free or (form.rank == like.form.rank and not form.axes(range(len(form.layout))) - {BATCH, CHANNELS}):
        return shuffles.whole(form, node, like.detail)
    has_part = [form.layout[dim] != (BATCH,) and form.size(dim) > 1 for dim in range(len(form.layout))]
    sizes = [form.size(dim) for dim, apart in enumerate(has_part) if apart]
    shape = (-1, prod(sizes), *[1] * (like.form.rank - SPACE))
    flat = slider.add("Reshape", [value_of(slider, form)], f"{form.name}_flat", shape=shape)
    slider.follow(flat, [form.name])
    batch = form.sizes[BATCH] if form.layout[0] == (BATCH,) else 1
    made = Form(flat, identity(like.form.rank), (batch, *shape[1:]), frozenset())
    layout = tuple(
        (shuffles.part(form.size(dim), 1),) if apart else shuffles.axis_of(made, BATCH) if dim == BATCH else ()
        for dim, apart in enumerate(has_part)
    )
    return Split(made, shuffles.in_order(layout), node, like.detail)


# ------------------------------------------------------------------ along some parts


@handles(*_REDUCED, split=True)
def _reduced(slider: Slider, node: NodeProto) -> None:
    """A reduction over cells, over parts of the channels, or over both: first over the cells."""
    value = slider.split[node.input[0]]
    dims = {dim % len(value.layout) for dim in reduced_dims(slider, node, len(value.layout))}
    reduced_axes = value.axes_at(sorted(dims))
    cells = {int(axis.root) for axis in reduced_axes if not shuffles.is_part(axis)}
    if BATCH in cells:
        raise Stuck(Code.NOT_SLIDING, node, "it reduces the batch")
    kind, keep = op(node), bool(int_attribute(node, "keepdims", 1))
    if cells:
        value = _over_cells(slider, node, value, cells)
        kind = _AGAIN.get(kind, kind)
    if len(reduced_axes) > len(cells):
        value = _along(slider, node, value, kind, sorted(dims))
    layout = tuple(
        () if dim in dims else dim_axes for dim, dim_axes in enumerate(value.layout) if keep or dim not in dims
    )
    put_together(slider, node, replace(value, layout=layout))


def _over_cells(slider: Slider, node: NodeProto, value: Split, cells: set[int]) -> Split:
    """The value of one cell, which the pooling over the whole map gives."""
    new = named(node, label(node))
    new.input[0], new.output[0] = value.form.name, slider.tensors.unique(f"{node.output[0]}_cells")
    grown = {axis for axis in range(SPACE, value.form.rank) if value.form.sizes[axis] > 1}
    whole_map(
        slider, new, value.form, cells if cells < grown else set(range(SPACE, value.form.rank)), value.form.layout
    )
    form = slider.forms.pop(new.output[0])
    rest = (tuple(axis for axis in dim if int(axis.root) not in cells) for dim in value.layout)
    return replace(value, form=form, layout=tuple(rest))


def _along(slider: Slider, node: NodeProto, value: Split, kind: str, dims: Sequence[int]) -> Split:
    """A reduction of dimensions that hold parts of the channels, between two reshapes."""
    made = node.output[0]
    value, counts, apart = _in_dimensions(slider, value, made)
    at = tuple(i for i, dim in enumerate(counts, start=CHANNELS) if dim in dims)
    kept = prod(count for dim, count in counts.items() if dim not in dims)
    reduced = slider.add(kind, [apart], f"{made}_reduced", axes=at, keepdims=0)
    form = replace(value.form, name=made, sizes=value.form.sizes_of(kept))
    _reshaped(slider, value.form, [kept], made, reduced, made)
    slider.trace(made, [value.form])
    follow_count(slider, node, value.form.name, prod(counts.values()) // kept)
    rest = (tuple(axis for axis in dim_axes if dim not in dims) for dim, dim_axes in enumerate(value.layout))
    return replace(value, form=form, layout=shuffles.in_order(tuple(rest)))


def _in_dimensions(slider: Slider, value: Split, wanted: str) -> tuple[Split, dict[int, int], str]:
    """A value in the order of its dimensions, how many channels each holds, and the map with a dimension for each."""
    value = in_order(slider, value, wanted)
    parts = {dim: list(filter(shuffles.is_part, dim_axes)) for dim, dim_axes in enumerate(value.layout)}
    counts = {dim: prod(axis.size.coefficient for axis in found) for dim, found in parts.items() if found}
    return value, counts, _reshaped(slider, value.form, list(counts.values()), wanted)


def _reshaped(slider: Slider, form: Form, counts: Sequence[int], wanted: str, name: str = "", made: str = "") -> str:
    """A map with its channels in so many parts, or what is computed of that with other channels."""
    shape = slider.tensors.ints((-1, *counts, *form.sizes[SPACE:]), "parts")
    if form.free:
        shape = extent_of(slider, form, *counts)
    return slider.add("Reshape", [name or form.name, shape], f"{wanted}_parts", made=made)


@handles("Softmax", "LogSoftmax", "Hardmax", split=True)
def _softmax(slider: Slider, node: NodeProto) -> None:
    value = slider.split[node.input[0]]
    dim = int_attribute(node, "axis", -1) % len(value.layout)
    if slider.graph.opset < _PER_DIMENSION or not value.layout[dim]:
        raise kept_apart(value)
    if not all(map(shuffles.is_part, value.layout[dim])):
        raise Stuck(Code.SIZES_MIXED, node, f"{op(node)} works on more than the channels")
    made = node.output[0]
    value, counts, apart = _in_dimensions(slider, value, made)
    soft = slider.add(op(node), [apart], f"{made}_soft", axis=list(counts).index(dim) + CHANNELS)
    _reshaped(slider, value.form, [prod(counts.values())], made, soft, made)
    slider.trace(made, [value.form])
    put_together(slider, node, replace(value, form=replace(value.form, name=made)))


@handles("Expand", split=True)
def _expand(slider: Slider, node: NodeProto) -> None:
    """Parts of the channels that are repeated, in dimensions of one element."""
    value, target = slider.split[node.input[0]], slider.shape(node.output[0], node)
    repeated = [1 if shuffles.at(value.layout, dim, len(target)) else size for dim, size in enumerate(target)]
    layout = shuffles.meeting([value.layout], [repeated])
    if layout is None or not value.form.free.issuperset(range(SPACE, value.form.rank)):
        raise kept_apart(value)
    order = shuffles.channels_at(value, layout)
    form = in_channels(slider, value.form, order, node.output[0])
    put_together(slider, node, replace(value, form=form, layout=layout, first=0))


@handles("Concat", split=True)
def stacked(slider: Slider, node: NodeProto) -> None:
    """Values one behind the other along a part of their channels, or along a dimension that they have none in."""
    about = next((slider.split[name] for name in node.input if name in slider.split), None)
    first = slider.forms.get(node.input[0]) if about is None else about.form
    if first is None or not all(_is_map(slider, name) for name in node.input):
        raise Stuck(Code.NOT_SLIDING, node, "it joins values of split channels with others")
    about = about or shuffles.whole(first, node, "it joins more than channels")
    values = [_as_split(slider, node, name, about) for name in node.input]
    dim = int_attribute(node, "axis", 0) % len(about.layout)
    rest = [(*value.layout[:dim], *value.layout[dim + 1 :]) for value in values]
    plain = shuffles.meeting(rest, [()])
    stacked_axes = [value.layout[dim] for value in values]
    fits = all(form.sizes[SPACE:] == about.form.sizes[SPACE:] for form in (value.form for value in values))
    if plain is None or not fits or any(not shuffles.is_part(axis) for each in stacked_axes for axis in each):
        raise kept_apart(about)
    names, count, forms = list[str](), 0, list[Form]()
    for value, mine in zip(values, stacked_axes, strict=True):
        size = prod(axis.size.coefficient for axis in mine)
        outer = replace(value, layout=(mine, *(each for i, each in enumerate(value.layout) if i != dim)))
        form = in_order(slider, outer, node.output[0]).form
        names, forms, count = [*names, form.name], [*forms, form], count + size
    slider.put(node, "Concat", names, axis=CHANNELS)
    slider.trace(node.output[0], forms)
    channels = sum(form.sizes[CHANNELS] for form in forms)
    stacked_part = shuffles.part(count, channels // count)
    layout = (*plain[:dim], (stacked_part,), *plain[dim:])
    form = Form(node.output[0], identity(first.rank), first.sizes_of(channels), growing(forms))
    put_together(slider, node, Split(form, layout, about.node, about.detail))
