"""--output-stride: dilations instead of strides, so that a map has a cell at every pixel, or at every R.

A value whose cells were `T` pixels apart has them at every gcd(T, R). Its former cells are then `hole` apart in it:

    hole = T / gcd(T, R)           what reads windows of it reads every `hole`-th cell
    stride s  ->  k                where T becomes T * s, and k = gcd(T * s, R) / gcd(T, R)
    dilation d, pads p  ->  d * hole, p * hole

The former cells are what they were: they read the same cells. Each of the others is what the network without padding
gives on its own crop of the image, as shift-and-stitch has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd, prod

import numpy as np
from onnx import NodeProto, helper

from fc2conv.errors import UsageError
from fc2conv.fcn.forms import SPACE, Form
from fc2conv.fcn.geometry import Hole, Step, hole_of, windows
from fc2conv.fcn.padding import padded, weigh
from fc2conv.fcn.slider import SLICE_STEPS, Slider, Stuck
from fc2conv.ir.graph import int_attribute, ints_attribute, new_node, op, text_attribute
from fc2conv.reasons import Code
from fc2conv.rewrite.pool import TO_THE_END

_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger", "com.microsoft::FusedConv")
_DILATED = {"MaxPool": 10, "LpPool": 18}
"""Pooling with dilations, and the operator set that has them."""


def dilate(slider: Slider, wanted: int) -> None:
    """Change the nodes and the steps of a pass so that its maps have the wanted stride; note what is in the way.

    Raise UsageError for a stride that does not divide that of every map.
    """
    strides = {}
    fed = {axis: images for axis in sorted(slider.steps) if (images := slider.fed(axis))}
    for axis, images in fed.items():
        found = (windows(slider.steps[axis], image).items() for image in images)
        strides[axis] = {name: window.stride for each in found for name, window in each if not window.single}
    _check(slider, wanted, strides)
    holes: dict[str, dict[int, Hole]] = {}
    for axis, known in strides.items():
        for step in slider.steps.get(axis, ()):
            read = next((known[name] for name in step.read if name in known), None)
            if read is not None:
                holes.setdefault(step.made, {})[axis] = hole_of(step, read, wanted)
    _Dilation(slider, holes).run()
    slider.apart = {
        axis: {name: stride / gcd(int(stride), wanted) for name, stride in known.items() if stride.denominator == 1}
        for axis, known in strides.items()
    }
    for node, counted in slider.counting:
        if any(known.get(counted, Fraction(1)) > 1 for known in slider.apart.values()):
            slider.obstacles.append(Stuck(Code.NOT_DILATED, node, "it counts the cells of the map").reason)
    slider.forms.update({name: spread(form, slider.apart) for name, form in slider.forms.items()})
    if not slider.obstacles:
        align(slider, fed)


def spread(form: Form, apart: Mapping[int, Mapping[str, Fraction]]) -> Form:
    """Return the form of a map whose former cells are `apart` cells from one another, by axis and name."""
    by = {axis: apart.get(axis, {}).get(form.name, 1) for axis in form.free}
    return replace(form, sizes=tuple(int((size - 1) * by.get(axis, 1)) + 1 for axis, size in enumerate(form.sizes)))


def _check(slider: Slider, wanted: int, strides: Mapping[int, Mapping[str, Fraction]]) -> None:
    forms = [slider.forms[name] for name in slider.graph.outputs if name in slider.forms]
    every = {strides[axis][form.name] for form in forms for axis in form.free if form.name in strides.get(axis, {})}
    if any(stride % wanted for stride in every):
        common = gcd(*(int(stride) for stride in every)) if all(stride.denominator == 1 for stride in every) else 0
        divisors = ", ".join(str(i) for i in range(1, common + 1) if common % i == 0)
        said = ", ".join(map(str, sorted(every)))
        what = f"--output-stride {wanted} does not divide the strides of the maps, which are {said}"
        raise UsageError(what, f"give one of {divisors}" if divisors else "leave out --output-stride")


class _Dilation:
    """The nodes of a pass, changed one by one."""

    def __init__(self, slider: Slider, holes: dict[str, dict[int, Hole]]) -> None:
        self.slider, self.holes = slider, holes
        self.forms = {form.name: form for form in slider.forms.values()}
        self.weighed: list[NodeProto] = []

    def run(self) -> None:
        """Change all nodes, and the steps that they take."""
        nodes, self.slider.nodes = self.slider.nodes, []
        for node in nodes:
            made = next((self.holes[name] for name in node.output if name in self.holes), {})
            changed = {axis: hole for axis, hole in made.items() if hole.changed and not hole.step.is_cell}
            with self.slider.noting():
                if changed:
                    self._dilate(node, made, changed)
                else:
                    self.slider.nodes.append(node)
        self._check_statistics()
        for node in self.weighed:
            weigh(self.slider, node)
        for axis, steps in self.slider.steps.items():
            found = [self.holes.get(step.made, {}).get(axis) for step in steps]
            steps[:] = [
                step
                if hole is None or not hole.changed or not hole.hole or step.everywhere
                else replace(hole.dilated, read=step.read)
                for step, hole in zip(steps, found, strict=True)
            ]

    def _dilate(self, node: NodeProto, made: Mapping[int, Hole], changed: Mapping[int, Hole]) -> None:
        if any(not hole.hole for hole in changed.values()):
            raise Stuck(Code.NOT_DILATED, node, f"{op(node)} makes more cells of the map")
        handler = _HANDLERS.get(op(node))
        if any(hole.step.everywhere for hole in changed.values()):
            handler = _Dilation.whole
        if handler is None:
            raise Stuck(Code.NOT_DILATED, node, op(node))
        handler(self, node, made)

    def _check_statistics(self) -> None:
        """Note the norms over all cells of a map as obstacles: the map has more cells now."""
        made = {name: node for node in self.slider.nodes for name in node.output}
        for name, holes in self.holes.items():
            if name not in made and any(hole.step.everywhere and hole.changed for hole in holes.values()):
                node = made.get(name.rpartition(":")[0], NodeProto(name=name))
                self.slider.obstacles.append(Stuck(Code.NOT_DILATED, node, f"{op(node)} reads the whole map").reason)

    def window(self, node: NodeProto, holes: Mapping[int, Hole]) -> None:
        """Dilate a convolution, or a pooling with dilations; raise Stuck for an opset without them."""
        if op(node) in _DILATED and self.slider.graph.opset < _DILATED[op(node)]:
            opset = self.slider.graph.opset
            remedy = f"Raise the model to operator set {_DILATED[op(node)]} or later, as with onnx.version_converter."
            raise Stuck(Code.NOT_DILATED, node, f"{op(node)} has no dilations in operator set {opset}", remedy)
        dilations, strides, pads = self._windows(node, holes)
        read, pads = padded(self.slider, node, pads, Code.NOT_DILATED)
        inputs, removed = [read, *node.input[1:]], dict.fromkeys(("ceil_mode", "auto_pad"))
        self.slider.emit(node, inputs, dilations=dilations, strides=strides, pads=pads, **removed)

    def mean(self, node: NodeProto, holes: Mapping[int, Hole]) -> None:
        """Write an AveragePool with holes as a sum per channel over the number of terms, which every opset has."""
        dilations, strides, pads = self._windows(node, holes)
        counted = bool(int_attribute(node, "count_include_pad", 0))
        beyond = any(_beyond(hole.step) for hole in holes.values())
        if counted and any(ints_attribute(node, "pads") or []) and beyond:
            raise Stuck(Code.NOT_DILATED, node, "a mean over padding and over a window that is not full")
        kernel = ints_attribute(node, "kernel_shape") or []
        kind = helper.tensor_dtype_to_np_dtype(self.slider.kind(node.output[0]))
        channels = self.forms[node.output[0]].sizes[1]
        tensors, result = self.slider.tensors, node.output[0]
        ones = tensors.value(np.ones((channels, 1, *kernel), kind), f"{result}_ones")
        count, total = tensors.value(np.array([prod(kernel)], kind), f"{result}_count"), tensors.unique(f"{result}_sum")
        windows = {"kernel_shape": kernel, "dilations": dilations, "strides": strides, "pads": pads}
        new = new_node("Conv", [node.input[0], ones], [total], node.name, group=channels, **windows)
        self.slider.means.add(result)
        if any(pads) and (not counted or beyond):
            self.weighed.append(new)
        self.slider.nodes.append(new)
        self.slider.add("Div", [total, count], total, made=result)

    def _windows(self, node: NodeProto, holes: Mapping[int, Hole]) -> tuple[list[int], list[int], list[int]]:
        """Compute dilations, strides and pads for all spatial axes; a window that is not full becomes padding."""
        rank = self.forms[node.output[0]].rank - SPACE
        strides = ints_attribute(node, "strides") or [1] * rank
        pads = ints_attribute(node, "pads") or [0] * (2 * rank)
        dilations = ints_attribute(node, "dilations") or [1] * rank
        for i in range(rank):
            hole = holes.get(SPACE + i)
            if hole is not None:
                more = _beyond(hole.step)
                dilations[i], strides[i] = dilations[i] * hole.hole, hole.kept
                pads[i], pads[rank + i] = hole.step.before * hole.hole, (hole.step.after + more) * hole.hole
                step = replace(hole.step, after=hole.step.after + more)
                self.holes[step.made] = {**self.holes[step.made], SPACE + i: replace(hole, step=step)}
        return dilations, strides, pads

    def whole(self, node: NodeProto, holes: Mapping[int, Hole]) -> None:
        """Pool the former cells of the whole map, as in squeeze and excitation."""
        if self.slider.graph.opset < SLICE_STEPS:
            raise Stuck(Code.NOT_DILATED, node, f"a Slice with steps needs operator set {SLICE_STEPS}")
        sparse = {axis: hole.hole for axis, hole in holes.items() if hole.step.everywhere}
        starts, ends, axes, steps = [0] * len(sparse), [TO_THE_END] * len(sparse), list(sparse), list(sparse.values())
        wanted = f"{node.input[0]}_sparse"
        name = self.slider.add("Slice", node.input[:1], wanted, starts=starts, ends=ends, axes=axes, steps=steps)
        self.slider.emit(node, [name, *node.input[1:]])

    def pad(self, node: NodeProto, holes: Mapping[int, Hole]) -> None:
        mode = text_attribute(node, "mode", "constant")
        if mode != "constant":
            raise Stuck(Code.NOT_DILATED, node, f"Pad of mode {mode}")
        rank = self.forms[node.output[0]].rank
        pads = self.slider.listed(node, "pads", 1) or []
        for axis, hole in holes.items():
            pads[axis], pads[rank + axis] = hole.step.before * hole.hole, hole.step.after * hole.hole
        if len(node.input) > 1:
            given = self.slider.tensors.ints(tuple(pads), f"{node.output[0]}_pads")
            self.slider.emit(node, [node.input[0], given, *node.input[2:]])
        else:
            self.slider.emit(node, node.input, pads=pads)

    def cut(self, node: NodeProto, holes: Mapping[int, Hole]) -> None:
        """Write a Slice with its starts, ends and steps in cells of the map with holes."""
        keys = ("starts", "ends", "axes", "steps")
        starts, ends, axes, steps = (self.slider.listed(node, key, at) or [] for at, key in enumerate(keys, start=1))
        steps = steps or [1] * len(starts)
        for i, axis in enumerate(axes):
            hole = holes.get(axis)
            if hole is not None:
                starts[i], steps[i] = starts[i] * hole.hole, hole.kept
                ends[i] = ends[i] * hole.hole if ends[i] < 0 else ends[i]
        operands = len(node.input) > 1
        if any(step > 1 for step in steps) and not operands:
            raise Stuck(Code.NOT_DILATED, node, f"a Slice with steps needs operator set {SLICE_STEPS}")
        bounds = {"starts": starts, "ends": ends, "axes": axes, "steps": steps if operands else None}
        self.slider.put(node, "Slice", node.input[:1], **bounds)


def _beyond(step: Step) -> int:
    """Return how many cells after the padding a window may begin to reach (ceil_mode): they are padding as well.

    With them a map of any size has the cells that it has with strides.
    """
    return max(0, min(step.stride - 1, step.extent - 1 - step.after)) if step.rounds_up else 0


_HANDLERS: dict[str, Callable[[_Dilation, NodeProto, Mapping[int, Hole]], None]] = {
    **dict.fromkeys((*_CONVOLUTIONS, *_DILATED), _Dilation.window),
    "AveragePool": _Dilation.mean,
    "Pad": _Dilation.pad,
    "Slice": _Dilation.cut,
}


# ------------------------------------------------------------------ maps that meet


def align(slider: Slider, training: Mapping[int, Mapping[str, int]]) -> None:
    """Cut maps at their ends where they meet; `training` has the sizes of the images by axis.

    a = AveragePool <strides = [2, 2]> (x) and b = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x) both have 8 cells of
    16. With dilations a has 15 and b has 16, of which the last one is at no place that a has.
    """
    crops: dict[tuple[str, str], dict[int, int]] = {}  # cells left out, by what reads a map, the map, and the axis
    for axis, images in training.items():
        for (made, name), more in _differences(slider.steps.get(axis, ()), images).items():
            crops.setdefault((made, name), {})[axis] = more
    makers = {name: node for node in slider.nodes for name in node.output}
    known = {form.name: form for form in slider.forms.values()}
    for (made, name), cells in crops.items():
        node = makers.get(made)
        if node is None or name not in node.input:
            continue
        ends = [-more for more in cells.values()]
        cut = slider.add("Slice", [name], f"{name}_cut", starts=[0] * len(cells), ends=ends, axes=list(cells))
        index = next(i for i, each in enumerate(slider.nodes) if each is node)
        slider.nodes.insert(index, slider.nodes.pop())
        for i, each in enumerate(node.input):
            node.input[i] = cut if each == name else each
        slider.forms[cut] = replace(known[name], name=cut, parts=None)
        for axis, steps in slider.steps.items():
            at = next((i for i, step in enumerate(steps) if step.made == made), None)
            if at is not None:
                reads = tuple(cut if each == name else each for each in steps[at].read)
                steps[at : at + 1] = [Step(cut, (name,), after=-cells.get(axis, 0)), replace(steps[at], read=reads)]


def _differences(steps: Sequence[Step], images: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """Return how many more cells each map has than the smallest of those that it meets."""
    counts, single, found = dict(images), set[str](), dict[tuple[str, str], int]()
    for step in steps:
        reads = {name: counts[name] for name in step.read if name in counts}
        several = {name: count for name, count in reads.items() if name not in single}
        if step.everywhere or (reads and not several):
            single.add(step.made)
        if reads:
            least = min((several or reads).values())
            found.update(((step.made, name), count - least) for name, count in several.items() if count > least)
            counts[step.made] = int(step.cells(np.array([least]))[0])
    return found
