"""Values that do not grow with the image: any operator runs on them as it did, whatever it mixes.

    p = GlobalAveragePool (c)  t = Transpose (p)  e = Conv (t, k)  u = Unsqueeze (e)  r = Mul (c, u)

Here p to u are of one size for every image, so that they need no form as a map until they meet one.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, Form, identity
from fc2conv.fcn.slider import FIXED, Slider, Stuck, handles
from fc2conv.reasons import Code


@handles(FIXED)
def _fixed(slider: Slider, node: NodeProto) -> None:
    names = [slider.forms[name].name for name in node.input if name in slider.forms]
    slider.emit(node, [value_of(slider, slider.forms[name]) if name in slider.forms else name for name in node.input])
    for name in filter(None, node.output):
        shape = slider.shapes[name]
        slider.forms[name] = Form(name, identity(len(shape)), shape, frozenset())
        slider.follow(name, names)


def value_of(slider: Slider, form: Form) -> str:
    """The value that a map was in the original."""
    order = [axis for dim in form.layout for axis in dim]
    order += [axis for axis in range(form.rank) if axis not in order]
    name = form.name
    if order != sorted(order):
        name = slider.add("Transpose", [name], f"{form.name}_value", perm=order)
        slider.follow(name, [form.name])
    if [dim for dim in form.layout for _ in dim] != list(form.layout) or len(form.layout) != form.rank:
        name = _reshaped(
            slider, form.name, name, [-1 if BATCH in dim else form.size(i) for i, dim in enumerate(form.layout)]
        )
    return name


def _reshaped(slider: Slider, of: str, name: str, shape: list[int]) -> str:
    made = slider.add("Reshape", [name, slider.tensors.ints(tuple(shape), f"{of}_shape")], f"{of}_value")
    slider.follow(made, [of])
    return made


def adopted(slider: Slider, node: NodeProto, form: Form, like: Form) -> Form:
    """A value of fixed size with its dimensions at the axes that a map has there, with which it is combined."""
    shift = len(like.layout) - len(form.layout)
    if form.free or not like.free or _fits(form, like, shift):
        return form
    places: list[int] = []
    sizes = [1] * like.rank
    for dim in range(len(form.layout)):
        size = form.size(dim)
        axes = like.filled(dim + shift) or ((CHANNELS,) if like.sizes[CHANNELS] == 1 else ())
        if size > 1 and (len(axes) != 1 or axes[0] in like.free or like.sizes[axes[0]] not in (1, size)):
            raise Stuck(Code.SIZES_MIXED, node, "its operands hold the map in different orders")
        if size > 1:
            places.append(axes[0])
            sizes[axes[0]] = size
    name = value_of(slider, form)
    if places != sorted(places):
        kept = [
            -1 if form.layout[dim] == (BATCH,) else form.size(dim)
            for dim in range(len(form.layout))
            if form.size(dim) > 1
        ]
        name = _reshaped(slider, form.name, name, kept)
        name = slider.add(
            "Transpose", [name], f"{form.name}_value", perm=sorted(range(len(places)), key=places.__getitem__)
        )
        slider.follow(name, [form.name])
    name = _reshaped(slider, form.name, name, [-1 if axis == BATCH else size for axis, size in enumerate(sizes)])
    return replace(like, name=name, sizes=tuple(sizes), free=frozenset())


def _fits(form: Form, like: Form, shift: int) -> bool:
    """Whether a value holds the axes of its own map where the other has them."""
    if form.rank != like.rank or shift < 0:
        return False
    there = [set(form.filled(dim)) <= set(like.layout[dim + shift]) for dim in range(len(form.layout))]
    return all(there) and prod(form.sizes) == prod(map(form.size, range(len(form.layout))))
