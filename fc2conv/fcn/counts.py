"""Numbers that count the cells of a map that is pooled as a whole, made to fit any map and not the training size alone.

v = ReduceSum (e)  d = Div (v, 35)   of a map of 6x6   ->   Div (v, 35 * (H * W - 1) / 35)

So a sum over n cells becomes a mean (by n), and a mean of squares a variance (by n / (n - 1), or from a sum by n - 1).
Only numbers that scale the statistic itself count: after an Add or an activation a number is one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.fcn.forms import Count, Form
from fc2conv.fcn.slider import Slider
from fc2conv.ir.graph import op

_FEW = 4
"""Up to this many elements a number may equal the count by chance."""
_POWERS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1))
"""Powers of n and of n - 1 whose product a number may be."""


def note_count(slider: Slider, node: NodeProto, form: Form, axes: set[int]) -> None:
    """Note how many elements a pooling over the whole map reduces."""
    growing = tuple(sorted(axes & form.free))
    cells, elements = (prod(form.sizes[axis] for axis in each) for each in (growing, axes))
    power = 0.5 if op(node) in ("ReduceL2", "GlobalLpPool") else 1.0
    if growing and elements > _FEW:
        slider.counts[node.output[0]] = Count(form.name, growing, cells, elements, power)


def follow_count(slider: Slider, node: NodeProto, read: str, more: int = 1) -> None:
    """Note the count of what a node makes of a counted value, with `more` times as many elements."""
    count = slider.counts.get(read)
    if count is not None and op(node) == "Sqrt":
        count = replace(count, power=count.power / 2)
    elif op(node) not in ("Identity", "Cast") and more == 1:
        count = None
    if count is not None:
        slider.counts[node.output[0]] = replace(count, elements=count.elements * more)


def grown(slider: Slider, node: NodeProto, operands: Sequence[str]) -> list[str]:
    """Return the operands of a pointwise node, with a number that counts cells scaled to the map at hand."""
    maps = [slider.forms[name].name for name in node.input if name in slider.forms]
    counts = [slider.counts.get(name) for name in maps]
    count, found = counts[0], list(operands)
    constant = [slider.constants.is_constant(name) for name in node.input]
    scales = op(node) == "Mul" or (op(node) == "Div" and not constant[0])
    shifts = op(node) in ("Add", "Sub") and not any(constant)
    if count is None or any(each is None or not each.like(count) for each in counts) or not (scales or shifts):
        return found
    for i, name in enumerate(node.input):
        ratio = _ratio(slider, node, name, count) if constant[i] else ""
        if ratio:
            found[i] = slider.add("Mul", [found[i], ratio], f"{name}_of_any")
    slider.counts[node.output[0]] = count
    return found


def scaled_before(slider: Slider, node: NodeProto) -> None:
    """Rescale a sum whose cells were scaled, before the sum, by a number that counts them."""
    count, made = slider.counts.get(node.output[0]), node.output[0]
    maker = next((each for each in slider.nodes if count is not None and count.read in each.output), None)
    if count is None or maker is None or op(node) != "ReduceSum" or op(maker) not in ("Mul", "Div"):
        return
    summed = slider.nodes[-1]
    ratio = _ratio(slider, node, maker.input[1], count)
    if ratio:
        summed.output[0] = slider.tensors.unique(f"{made}_of_all")
        slider.add(op(maker), [summed.output[0], ratio], made, made=made)


def _powers(values: np.ndarray, count: Count) -> tuple[int, int] | None:
    """Return the powers of n and n - 1 whose product a constant is; None where it is something else."""
    if values.dtype.kind != "f" or not values.size or (values != values.flat[0]).any():
        return None
    number, near, n = float(values.flat[0]), 2 * float(np.finfo(values.dtype).eps), float(count.elements)
    for a, b in _POWERS:
        wanted = (n**a * (n - 1) ** b) ** count.power
        if abs(number - wanted) <= near * wanted:
            return a, b
    return None


def _ratio(slider: Slider, node: NodeProto, name: str, count: Count) -> str:
    """Compute what a number that counts cells grows by: its value for the map at hand over that at the training size.

    The ratio is 1 at the training size. Return "" where the number does not count.
    """
    values = slider.constants.array(name) if slider.constants.is_constant(name) else slider.tensors.made(name)
    powers = None if values is None else _powers(values, count)
    if values is None or powers is None:
        return ""
    slider.counting.append((node, count.read))
    slider.counted.add(node.output[0])
    made, number = f"{name}_cells", slider.tensors.value
    cells = slider.add("ReduceProd", [slider.measured(count.read, count.axes, made)], made, keepdims=0)
    cells = slider.add("Cast", [cells], made, to=TensorProto.FLOAT)
    n = slider.add("Mul", [cells, number(np.array(count.elements // count.cells, np.float32), "each")], made)
    less = slider.add("Sub", [n, number(np.array(1, np.float32), "one")], made) if powers[1] else ""
    over, under = list[str](), list[str]()
    for i, (now, power) in enumerate(zip((n, less), powers, strict=True)):
        then = number(np.array(count.elements - i, np.float32), "count") if power else ""
        over += [now if power > 0 else then] if power else []
        under += [then if power > 0 else now] if power else []
    quotient = [slider.add("Mul", names, made) if len(names) > 1 else names[0] for names in (over, under)]
    ratio = slider.add("Div", quotient, made)
    if count.power != 1:
        ratio = slider.add("Pow", [ratio, number(np.array(count.power, np.float32), "power")], made)
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    return ratio if kind == TensorProto.FLOAT else slider.add("Cast", [ratio], made, to=kind)
