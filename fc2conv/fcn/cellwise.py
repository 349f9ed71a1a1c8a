"""Operators that work on each cell by itself, and those that only regroup dimensions, which vanish on the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.fcn.beside import adopted, measured, relaid
from fc2conv.fcn.counts import follow_count, grown
from fc2conv.fcn.forms import CHANNELS, SPACE, Form, identity, widened
from fc2conv.fcn.parts import left, meeting, put_together, regroup, spread_out
from fc2conv.fcn.slider import HANDLERS, Slider, Stuck, handles
from fc2conv.fcn.spreading import of_one_item, with_channels
from fc2conv.fcn.unfolding import multiplied
from fc2conv.io.custom_ops import SCALED
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.graph import OWN, attribute, int_attribute, label, op, permutation, reads
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.reasons import Code, Reason

_QLINEAR = [f"com.microsoft::QLinear{name}" for name in ("LeakyRelu", "Sigmoid", "Add", "Mul", "Where")]


def _same(slider: Slider, node: NodeProto) -> None:
    """Run a node on the map of its first operand as it ran on the value, cell by cell."""
    form = slider.form(node, apart=True)
    made = slider.emit(node)
    del made.output[1:]  # what else it gives (a mask) is read by nobody, or else an obstacle there
    slider.result(node, form)
    rest = Reason(Code.NOT_SLIDING, label(node), "its second result")
    slider.lost.update({name: rest for name in node.output[1:] if name})


@handles("CastLike", narrow=True)
def _cast_like(slider: Slider, node: NodeProto) -> None:
    """Write a CastLike as a Cast where the type is known; the Cast of a constant reads no image."""
    cast = as_cast(slider.graph, node)
    if cast is node or node.input[0] in slider.forms:
        _unary(slider, cast)
    else:
        slider.nodes.append(cast)


@handles(*UNARY, *_QLINEAR[:2], "DynamicQuantizeLinear", "com.microsoft::FastGelu", narrow=True)
def _unary(slider: Slider, node: NodeProto) -> None:
    for name in node.input[1:]:
        if name in slider.forms:
            raise Stuck(Code.NOT_SLIDING, node, f"its operand {name} is computed from the image")
    if node.op_type == "DynamicQuantizeLinear":
        raise Stuck(Code.NOT_SLIDING, node, "its scale is that of the whole image")
    _same(slider, node)
    follow_count(slider, node, slider.forms[node.input[0]].name)


@handles("Dropout")
def _dropout(slider: Slider, node: NodeProto) -> None:
    if len(node.input) > 2 and node.input[2] and slider.ints(node.input[2]) != (0,):
        raise Stuck(Code.NOT_SLIDING, node, "it is in training mode")
    _same(slider, node)


@handles("BatchNormalization", "LRN")
def _per_channel(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node)
    channels = (CHANNELS,) if form.sizes[CHANNELS] > 1 else ()
    if int_attribute(node, "training_mode", 0) or any(node.output[1:]):  # older definitions say it by their results
        raise Stuck(Code.NOT_SLIDING, node, "it is in training mode")
    if len(form.layout) < 2 or form.filled(1) != channels:
        raise Stuck(Code.SIZES_MIXED, node, "its channels are not the map's")
    if op(node) == "LRN" and form.rank != SPACE + 2:
        raise Stuck(Code.NOT_SLIDING, node, "runtimes take a map of two spatial dimensions alone")
    _same(slider, node)


@handles(*OWN, *OWN.values(), *SCALED)
def _quantized(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    scale = slider.constants.shape(node.input[1])
    axis = int_attribute(node, "axis", 1)
    if scale is None or int_attribute(node, "block_size", 0):
        raise Stuck(Code.NOT_SLIDING, node, "its scale is computed, or in blocks")
    if all(size == 1 for size in scale):
        _same(slider, node)
        return
    _, _, several = slider.axes_of(node, [axis])
    if several != {CHANNELS}:
        raise Stuck(Code.SIZE_IN_CONSTANT, node, "it has a scale for each cell")
    slider.emit(node, axis=CHANNELS)
    slider.result(node, form)


@handles(*BROADCAST, *_QLINEAR[2:], "PRelu", narrow=True)
def _broadcast(slider: Slider, node: NodeProto) -> None:
    if slider.graph.opset < 7 and op(node) not in ("Sum", "Max", "Min", "Mean"):
        _before_numpy(slider, node)
        return
    forms = {name: slider.forms[name] for name in node.input if name in slider.forms}
    widest = max(forms.values(), key=lambda form: (form.parts is not None, len(form.free), len(form.layout)))
    forms |= {name: beside for name in node.input if (beside := _beside(slider, node, name, widest)) is not None}
    forms = {name: adopted(slider, node, form, widest) for name, form in forms.items()}
    shaped = meeting(node, list(forms.values()))
    rest = [name for name in node.input if name and name not in forms]
    extra = max((len(slider.shape(name, node)) for name in rest), default=0) - len(shaped.layout)
    if extra > 0:  # an operand of more dimensions gives them to the result
        shaped = replace(shaped, layout=widened(shaped.layout, range(extra)))
    known = {name: array for name in rest if (array := of_one_item(slider, name)) is not None}
    for array in known.values():
        for dim, size in enumerate(array.shape, start=len(shaped.layout) - array.ndim):
            shaped = with_channels(shaped, dim, size) or shaped if size > 1 else shaped
    maps = {name: spread_out(slider, form, shaped, name) for name, form in forms.items()}
    names = {name: form.name for name, form in maps.items()} | {n: relaid(slider, node, n, shaped) for n in known}
    small = [form for form in maps.values() if any(form.sizes[axis] == 1 < shaped.sizes[axis] for axis in form.free)]
    if small and slider.unfolding:
        raise Stuck(Code.MAP_SPREAD, node, small[0].name)
    slider.spread += [(node, form) for form in small]
    slider.emit(node, grown(slider, node, [names.get(name, name) for name in node.input]))
    slider.trace(node.output[0], list(maps.values()))
    put_together(slider, node, replace(shaped, name=node.output[0]))


def _beside(slider: Slider, node: NodeProto, name: str, like: Form) -> Form | None:
    """Return the form of numbers for each item, which no image reaches and all cells share; None for a lone number."""
    if not name or name in slider.forms or of_one_item(slider, name) is not None:
        return None
    shape = slider.shape(name, node)
    if like.free and node.output[0] not in slider.inner and _counts(slider, name):
        raise Stuck(Code.NOT_SLIDING, node, f"its operand {name} is computed of the size of a map, in a way not known")
    if all(size == 1 for size in shape):
        return None
    first = len(like.layout) - len(shape)
    axes = {axis for dim, size in enumerate(shape) if size > 1 for axis in like.layout[max(first + dim, 0)]}
    if first < 0 or {axis for axis in axes & like.free if like.sizes[axis] > 1}:
        raise Stuck(Code.NOT_SLIDING, node, f"its operand {name} comes from no image")
    return Form(name, identity(len(shape)), tuple(shape), frozenset())


def _counts(slider: Slider, name: str) -> bool:
    """Return whether an unknown value is computed from the size of a map, which at each cell is that of a window."""
    todo, seen = [name], set[str]()
    while todo:
        each = slider.graph.made_by(todo.pop())
        batch = each is not None and op(each) == "Gather" and slider.ints(each.input[1]) == (0,)
        if each is None or each.output[0] in seen or batch or int_attribute(each, "end", 0) == 1:
            continue
        seen.add(each.output[0])
        if op(each) in ("Shape", "Size") and (form := slider.forms.get(each.input[0])) is not None and form.free:
            return True
        todo += reads([each])
    return False


def _before_numpy(slider: Slider, node: NodeProto) -> None:
    """Run a node before opset 7, where an operand is broadcast only if an attribute says so, along a named axis."""
    forms = [slider.form(node, i) if name in slider.forms else None for i, name in enumerate(node.input)]
    first = forms[0]
    if first is None or (attribute(node, "axis") is not None and not first.is_map):
        raise Stuck(Code.SIZES_MIXED, node, "it broadcasts along a named axis")
    for name, form in zip(node.input[1:], forms[1:], strict=True):
        shape = slider.constants.shape(name)
        if form is None and (shape is None or (not first.is_map and any(size != 1 for size in shape))):
            raise Stuck(Code.NOT_SLIDING, node, f"its operand {name}")
    _same(slider, node)


@handles("Transpose")
def _transpose(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    perm = permutation(node, len(form.layout))
    if perm is None:
        raise Stuck(Code.NOT_SLIDING, node, f"its perm is none of {len(form.layout)} dimensions")
    put_together(slider, node, form.transposed(perm))


@handles("Reshape", "Flatten")
def _reshape(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    put_together(slider, node, regroup(slider, node, form, slider.shape(node.output[0], node)))


@handles("Squeeze", "Unsqueeze")
def _squeeze(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    axes = slider.listed(node, "axes", 1)
    if op(node) == "Unsqueeze":
        rank = len(form.layout) + len(axes or ())
        layout = widened(form.layout, [axis % rank for axis in axes or ()])
    else:
        gone = [dim for dim, size in enumerate(form.shape) if size == 1]
        layout = left(node, form.layout, gone if axes is None else [axis % len(form.layout) for axis in axes])
    put_together(slider, node, replace(form, layout=layout))


_NAMING = ("Identity", "Squeeze", "Unsqueeze")


@handles("If")
def _if(slider: Slider, node: NodeProto) -> None:
    """Take the branch of an If that only asks whether a dimension has one element (exporters write squeezes so).

    y = If (Shape (x) [1] == 1) then Squeeze (x, 1) else x   ->   the branch that is taken at the training size
    """
    condition = slider.values(node.input[0])
    if condition is None or condition.size != 1:
        raise Stuck(Code.NOT_SLIDING, node, "its condition is computed")
    branch = attribute(node, "then_branch" if condition.all() else "else_branch")
    nodes = list(branch.g.node) if branch is not None else []
    constants = {
        each.output[0]: numpy_helper.to_array(value.t) for each in nodes if (value := attribute(each, "value"))
    }
    (inner, *more) = [each for each in nodes if each.output[0] not in constants] or [None]
    axes = [constants.get(name, slider.values(name)) for name in inner.input[1:]] if inner is not None else []
    if inner is None or more or op(inner) not in _NAMING or any(each is None for each in axes):
        raise Stuck(Code.NOT_SLIDING, node, "its branch does more than to name dimensions")
    new = NodeProto(op_type=inner.op_type, name=node.name, input=inner.input[:1], output=node.output[:1])
    new.attribute.extend(inner.attribute)
    for each in axes:
        new.attribute.append(helper.make_attribute("axes", np.asarray(each).reshape(-1).tolist()))
    HANDLERS[op(new)](slider, new)


@handles("Shape", "Size")
def _sizes(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=True)
    if form.is_map:
        slider.emit(node)
    else:
        measured(slider, node, form)


@handles(*LAYER_OPERATORS)
def _layer(slider: Slider, node: NodeProto) -> None:
    if slider.unfolding and op(node) == "MatMul" and multiplied(slider, node):
        return
    why = slider.kept.get(node.output[0])
    if why is None or why.code is Code.WEIGHT_NOT_CONSTANT:
        computed = len(node.input) > 1 and not any(map(slider.constants.is_constant, node.input))
        why_not = ", a product of two values that are computed" if computed else ""
        raise Stuck(Code.NOT_SLIDING, node, f"{op(node)}{why_not}")
    at = f" at {why.node}" if why.node != label(node) else ""
    detail = f": {why.detail}" if why.detail else ""
    raise Stuck(Code.LAYER_KEPT, node, f"{op(node)}, {why.code.value}{at}{detail}", why.remedy or why.code.remedy)
