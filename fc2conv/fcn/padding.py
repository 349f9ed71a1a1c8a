"""--padding: which cells a map has. `same` has one for each stride of the image, `valid` those that read no padding.

`same` pads what the head reads, so that a map of stride S has ceil(N / S) cells of an image of N pixels, each in the
middle of its pixels as far as the stride allows:

    before = (size - 1) // (2 * S)     cells, where `size` is the training size
    after  = what is missing; where the backbone rounds sizes down, the last cell is read twice if one is missing

`valid` cuts off the cells at the rim that read padding. In both the cells that stay are what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import SPACE, Form
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.lattice import Place, place
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.io.escape import counted
from fc2conv.ir.graph import changed, ints_attribute, op
from fc2conv.reasons import Code
from fc2conv.rewrite.pool import TO_THE_END

_PADDED = ("Conv", "com.microsoft::FusedConv", "QLinearConv", "ConvInteger", "MaxPool", "AveragePool")
_PAD = 11
"""The first operator set in which the pads of a Pad are computed."""


@dataclass(frozen=True)
class _Rim:
    """The cells that a head gets along one axis: before, after, and whether one more where the size asks for it.

    Pooling with holes skips a map of fewer than `least` cells, so that it would read padding alone.
    """

    place: Place
    before: int
    after: int
    extra: bool
    least: int


def pad_heads(slider: Slider) -> dict[int, int]:
    """Pad what the heads read; return the cells before the first one, negative, by axis."""
    sizes = {form.name: form.sizes for form in slider.forms.values()}
    free = {form.name: form.free for form in slider.forms.values()}
    rims: dict[str, dict[int, _Rim]] = {}
    for axis, steps in slider.steps.items():
        for step in steps:
            names = [name for name in step.read if name in sizes]
            several = any(axis in free[name] and sizes[name][axis] > 1 for name in names)
            if several and step.made in sizes and sizes[step.made][axis] == 1 and not step.everywhere:
                node = next(node for node in slider.nodes if step.made in node.output)
                pools = node.op_type in ("MaxPool", "AveragePool") or step.made in slider.means
                hole = max(int(slider.apart.get(axis, {}).get(name, 1)) for name in names) if pools else 1
                rims.setdefault(step.made, {})[axis] = _rim(node, step, place(slider, step.made, axis), hole, pools)
    shifts: dict[int, int] = {}
    for made, each in rims.items():
        _pad(slider, made, each)
        for axis, rim in each.items():
            shifts[axis] = -rim.before
    return shifts


def _rim(node: NodeProto, step: Step, place: Place | None, least: int, pools: bool) -> _Rim:
    if place is None or not place.even or step.stride != 1:
        raise Stuck(Code.NOT_PLACED, node, "its cells lie at no whole number of pixels from one another")
    stride = int(place.stride)
    before = max(0, (place.size - 1) // (2 * stride))
    after, rest = divmod(place.minimum - 1, stride)
    rim = _Rim(place, before, after - before, rest > 0, least)
    alone = pools and max(before, rim.after) >= step.extent  # no pooling reads padding alone
    if alone or rim.after < 0 or max(before, rim.after + rim.extra) > step.extent:
        missing = f"{before} and {rim.after + rim.extra} around the map are missing"
        raise Stuck(Code.NOT_PLACED, node, f"its kernel has {counted(step.extent, 'cell')}, and {missing}")
    return rim


def _pad(slider: Slider, made: str, rims: Mapping[int, _Rim]) -> None:
    """Give a node pads, after a Pad by one cell where the size of the image asks for it."""
    index = next(i for i, node in enumerate(slider.nodes) if made in node.output)
    index -= made in slider.means  # the sum is before the quotient
    node = slider.nodes[index]
    form = slider.named(made)
    rank = form.rank - SPACE
    pads = ints_attribute(node, "pads") or [0] * (2 * rank)
    if op(node) not in _PADDED or (any(pads) and (op(node) == "AveragePool" or made in slider.means)):
        raise Stuck(Code.NOT_PLACED, node, f"{op(node)} ends the backbone")
    for axis, rim in rims.items():
        pads[axis - SPACE] += rim.before
        pads[axis - SPACE + rank] += rim.after
    new = changed(node, auto_pad=None)
    more = {axis: rim for axis, rim in rims.items() if rim.extra}
    behind = slider.nodes[index + 1 :]
    del slider.nodes[index:]
    if more:
        if slider.graph.opset < _PAD:
            remedy = f"Raise the model to operator set {_PAD} or later, as with onnx.version_converter."
            raise Stuck(Code.NOT_PLACED, node, f"a Pad of a computed size needs operator set {_PAD}", remedy)
        new.input[0] = _lengthened(slider, node.input[0], form.rank, more)
    new.input[0], pads = padded(slider, new, pads, Code.NOT_PLACED)
    slider.nodes += [changed(new, pads=pads), *behind]
    if made in slider.means:
        weigh(slider, slider.nodes[-1 - len(behind)])
    for axis, rim in rims.items():
        steps = slider.steps[axis]
        at = next(i for i, step in enumerate(steps) if step.made == made)
        old = steps[at]
        steps[at] = replace(old, before=old.before + rim.before, after=old.after + rim.after, least=rim.least)


def padded(slider: Slider, node: NodeProto, pads: list[int], code: Code) -> tuple[str, list[int]]:
    """Return what a node reads, and its pads: onnxruntime's pooling takes none as large as the kernel.

    What a MaxPool reads is padded with -inf then. Raise Stuck for another operator or type, or an opset before 11.
    """
    kernel, rank = ints_attribute(node, "kernel_shape"), len(pads) // 2
    if not node.op_type.endswith("Pool") or not kernel or all(pad < kernel[i % rank] for i, pad in enumerate(pads)):
        return node.input[0], pads
    made = node.output[0]
    kind = slider.kind(made)
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
    if op(node) != "MaxPool" or kind not in floats or slider.graph.opset < _PAD:
        raise Stuck(code, node, f"{op(node)} with padding as large as its kernel")
    every = slider.tensors.ints((0, 0, *pads[:rank], 0, 0, *pads[rank:]), f"{made}_pads")
    least = slider.tensors.value(np.array(-np.inf, helper.tensor_dtype_to_np_dtype(kind)), "least")
    return slider.add("Pad", [node.input[0], every, least], f"{node.input[0]}_padded"), [0] * len(pads)


def weigh(slider: Slider, node: NodeProto) -> None:
    """Divide a mean with holes by how many cells of its window are not padding."""
    made, rank, name = node.output[0], len(ints_attribute(node, "kernel_shape") or ()), node.input[0]
    index = next(i for i, each in enumerate(slider.nodes) if made in each.output)
    quotient, *behind = slider.nodes[index + 1 :]
    del slider.nodes[index + 1 :]
    ints, add = slider.tensors.ints, slider.add
    sizes = slider.measured(name, range(SPACE, SPACE + rank), f"{made}_size")
    weight = slider.values(node.input[1])
    assert weight is not None
    one = helper.make_tensor("one", helper.np_dtype_to_tensor_dtype(weight.dtype), [1], np.ones(1, weight.dtype))
    there = add("ConstantOfShape", [add("Concat", [ints((1, 1), "ones"), sizes], "shape", axis=0)], "cells", value=one)
    share = changed(node, group=None)
    share.name, share.output[0] = slider.tensors.unique(f"{made}_share"), slider.tensors.unique(f"{made}_there")
    share.input[:] = [there, slider.tensors.value(weight[:1], f"{made}_weight")]
    quotient.input[1] = share.output[0]
    slider.nodes += [share, quotient, *behind]


def _lengthened(slider: Slider, name: str, rank: int, rims: Mapping[int, _Rim]) -> str:
    """Repeat the last cell of a map along the axes on which one is missing for an image of this size."""
    ints, add = slider.tensors.ints, slider.add
    pads = [ints((0,), "none")] * (2 * rank)
    for axis, rim in rims.items():
        place, stride = rim.place, ints((int(rim.place.stride),), "stride")
        size = slider.measured(place.image, [place.dim], f"{name}_extent")
        wanted = add("Div", [add("Sub", [size, ints((1,), "one")], f"{name}_last"), stride], f"{name}_wanted")
        more = ceil(place.minimum / place.stride)  # cells: a Div of a negative number would round up
        reach = add("Sub", [size, ints((place.minimum - more * int(place.stride),), "least")], f"{name}_reach")
        there = add("Div", [reach, stride], f"{name}_there")
        short = add("Sub", [wanted, there], f"{name}_short")
        pads[rank + axis] = add("Sub", [short, ints((rim.before + rim.after - more,), "pads")], f"{name}_missing")
    return add("Pad", [name, add("Concat", pads, f"{name}_pads", axis=0)], f"{name}_longer", mode="edge")


def cut_rim(slider: Slider, output: str, form: Form) -> tuple[Form, dict[int, int]]:
    """Cut off the cells of a map that read padding; return it, and by axis how many are cut off in front."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for axis in sorted(form.free):
        at = place(slider, form.name, axis)
        if at is None or not at.even or at.field is None:
            raise Stuck(Code.NOT_PLACED, NodeProto(name=output), "every cell reads the whole image, or lies nowhere")
        beyond = at.offset + at.field - at.minimum
        starts[axis], ends[axis] = max(0, ceil(-at.offset / at.stride)), max(0, ceil(beyond / at.stride))
    if not any(starts.values()) and not any(ends.values()):
        return form, {}
    axes = tuple(starts)
    last = [-ends[axis] if ends[axis] else TO_THE_END for axis in axes]
    made = slider.add("Slice", [form.name], f"{output}_inner", starts=list(starts.values()), ends=last, axes=axes)
    steps = {axis: Step(made, (form.name,), before=-starts[axis], after=-ends[axis]) for axis in axes}
    slider.forms[made] = slider.derived(form, made, steps)
    return slider.forms[made], starts
