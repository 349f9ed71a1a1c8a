"""Values that do not grow with the image: any operator runs on them as it did, whatever it mixes.

    p = GlobalAveragePool (c)  t = Transpose (p)  e = Conv (t, k)  u = Unsqueeze (e)  r = Mul (c, u)

Here p to u are of one size for every image, so that they need no form as a map until they meet one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, Form, identity
from fc2conv.fcn.slider import FIXED, Slider, Stuck, handles, kept_apart
from fc2conv.layout.axes import ONE, Axis, Dim, Size
from fc2conv.layout.relayout import Transposed, conversion
from fc2conv.reasons import Code


@handles(FIXED)
def _fixed(slider: Slider, node: NodeProto) -> None:
    read = [slider.forms[name] for name in node.input if name in slider.forms]
    slider.emit(node, [value_of(slider, slider.forms[name]) if name in slider.forms else name for name in node.input])
    for name in filter(None, node.output):
        shape = slider.shapes[name]
        slider.forms[name] = Form(name, identity(len(shape)), shape, frozenset())
        slider.trace(name, read)


def value_of(slider: Slider, form: Form) -> str:
    """Lay out a map as the value that it was in the original; return its name."""
    axes = _axes(form)
    return _laid_out(slider, form, [tuple(each for axis in dim for each in axes[axis]) for dim in form.layout])


def _axes(form: Form) -> list[Dim]:
    """Return what each axis of a map runs over; the number of items is open."""
    sizes = [Size(1, ("N",)) if axis == BATCH else Size(size) for axis, size in enumerate(form.sizes)]
    return [(Axis(str(axis), size),) if size != ONE else () for axis, size in enumerate(sizes)]


def _laid_out(slider: Slider, form: Form, target: Sequence[Dim]) -> str:
    name = form.name
    steps = conversion(tuple(_axes(form)), tuple(target))
    assert steps is not None, "the two hold the same elements, and one size is open"
    for step in steps:
        if isinstance(step, Transposed):
            name = slider.add("Transpose", [name], f"{form.name}_value", perm=step.perm)
        else:
            name = slider.add("Reshape", [name], f"{form.name}_value", shape=step.target)
        slider.trace(name, [form])
    return name


def adopted(slider: Slider, node: NodeProto, form: Form, like: Form) -> Form:
    """Lay out a value of fixed size with its dimensions at the axes of the map that it is combined with."""
    shift = len(like.layout) - len(form.layout)
    if form.free or not like.free or _fits(form, like, shift):
        return form
    if form.parts is not None:
        raise kept_apart(form)
    own, sizes, parts = _axes(form), [1] * like.rank, list[int]()
    target: list[Dim] = [()] * like.rank
    layout: list[tuple[int, ...]] = []
    for dim, size in enumerate(form.shape):
        several = like.parts is not None or like.sizes[CHANNELS] == 1
        axes = (like.filled(dim + shift) or ((CHANNELS,) if several else ())) if size > 1 else ()
        layout.append(axes)
        target[BATCH] += tuple(each for mine in form.layout[dim] for each in own[mine] if size == 1)
        if size > 1 and (len(axes) != 1 or axes[0] in like.free or like.shape[dim + shift] not in (1, size)):
            raise Stuck(Code.SIZES_MIXED, node, "its operands hold the map in different orders")
        for axis in axes:
            target[axis] += tuple(each for mine in form.layout[dim] for each in own[mine])
            sizes[axis] *= size
            parts += [size] if axis == CHANNELS else []
    made = replace(like, name=_laid_out(slider, form, target), sizes=tuple(sizes), free=frozenset())
    if made.parts is None:
        return made
    return replace(made, layout=tuple(layout)).holding(np.arange(prod(parts)).reshape(parts))


def _fits(form: Form, like: Form, shift: int) -> bool:
    """Return whether a value holds the axes of its own map where the other has them."""
    if form.rank != like.rank or shift < 0:
        return False
    there = [set(form.filled(dim)) <= set(like.layout[dim + shift]) for dim in range(len(form.layout))]
    return all(there) and (form.parts is not None or prod(form.sizes) == prod(form.shape))
