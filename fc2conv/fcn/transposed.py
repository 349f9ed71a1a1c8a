"""Transposed convolutions: each cell is added to several cells of a larger map.

y = ConvTranspose <strides = [s]> (x)   cell o of y reads the cells i of x with o = s * i - pad + dilation * k

Cell o + s reads what cell o reads, one cell of x later. So y has s cells for each cell of x, and at its end some more
or some less.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from onnx import NodeProto

from fc2conv.fcn.forms import SPACE, Form
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.slider import Slider, Stuck, handles
from fc2conv.ir.graph import ints_attribute, text_attribute
from fc2conv.reasons import Code


@handles("ConvTranspose")
def _transposed(slider: Slider, node: NodeProto) -> None:
    form = slider.map_of(node)
    weight = slider.constants.shape(node.input[1])
    if weight is None or any(name in slider.forms for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its kernel is computed")
    made = node.output[0]
    sizes = slider.shape(made, node)
    rank = form.rank - SPACE
    kernel = ints_attribute(node, "kernel_shape") or list(weight[SPACE:])
    strides, dilations = (ints_attribute(node, name) or [1] * rank for name in ("strides", "dilations"))
    more = ints_attribute(node, "output_padding") or [0] * rank
    reach = [(each - 1) * by + 1 for each, by in zip(kernel, dilations, strict=True)]
    pads = _pads(node, form, sizes, strides, [a + b for a, b in zip(reach, more, strict=True)])
    slider.emit(node, auto_pad=None, output_shape=None, pads=pads)
    steps: dict[int, Step] = {}
    for i, axis in enumerate(range(SPACE, form.rank)):
        taps = tuple(_taps(phase + pads[i], kernel[i], strides[i], dilations[i]) for phase in range(strides[i]))
        rest = sizes[axis] - strides[i] * form.sizes[axis]
        steps[axis] = Step(made, (form.name,), factor=Fraction(strides[i]), taps=taps, more=rest)
    slider.result(node, form, steps, sizes=sizes)


def _pads(node: NodeProto, form: Form, sizes: Sequence[int], strides: Sequence[int], reach: Sequence[int]) -> list[int]:
    """The pads as numbers: where the node says how large its result is, those that make it so at the training size."""
    upper = text_attribute(node, "auto_pad", "") == "SAME_UPPER"
    given = ints_attribute(node, "pads")
    if given is not None and ints_attribute(node, "output_shape") is None:
        return given
    cells, made = form.sizes[SPACE:], sizes[SPACE:]
    every = [s * (n - 1) + k - m for s, n, k, m in zip(strides, cells, reach, made, strict=True)]
    before = [each // 2 if upper else each - each // 2 for each in every]
    return before + [each - first for each, first in zip(every, before, strict=True)]


def _taps(place: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The first and the last cell that are added to the cell at a place of the map before its pads are cut off."""
    cells = [(place - k * dilation) // stride for k in range(kernel) if (place - k * dilation) % stride == 0]
    return (min(cells), max(cells)) if cells else (0, 0)
