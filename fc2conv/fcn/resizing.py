"""Resize: the sizes of the training map become factors, and the cells that each cell reads are counted.

    y = Resize (x, sizes = [N, C, 2H, 2W])   ->   y = Resize (x, scales = [1, 1, 2, 2])

Cell o of the result lies at x = (o + 1/2) * in / out - 1/2 of the map before (half_pixel), or at o * in / out
(asymmetric). It reads the cell next to x, the two around it, or four. Where the places depend on the size of the whole
map, as with align_corners, the map is `stretched`: it runs on any size, and its cells lie nowhere in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.slider import RESIZE, Slider, Stuck, handles
from fc2conv.ir.graph import attribute, int_attribute, ints_attribute, op, text_attribute
from fc2conv.reasons import Code

_HALF = Fraction(1, 2)
_LITTLE = Fraction(1, 1 << 20)
_CENTERS = {"half_pixel": _HALF, "pytorch_half_pixel": _HALF, "half_pixel_symmetric": _HALF, "asymmetric": Fraction(0)}
_OLD = ("asymmetric", "floor")
"""What Upsample and Resize did before opset 11."""
_MOST = 1000
"""The largest denominator of a factor that a scale is taken for."""


_NEAREST: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda place: ceil(place - _HALF),
    "round_prefer_ceil": lambda place: floor(place + _HALF),
    "floor": floor,
    "ceil": ceil,
}
_READS: dict[str, tuple[int, Callable[[Fraction], tuple[int, int]]]] = {
    **dict.fromkeys(("linear", "bilinear"), (1, lambda place: (floor(place), ceil(place)))),
    "cubic": (2, lambda place: (floor(place) - (place.denominator > 1), ceil(place) + (place.denominator > 1))),
}
"""How far a mode reads around a place, and the first and the last cell of it."""


@handles("Resize", "Upsample")
def _resize(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node)
    if any(name in slider.forms for name in node.input[1:]):
        raise Stuck(Code.NOT_SLIDING, node, "its sizes are computed from the image's values")
    crops = text_attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if crops or text_attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Stuck(Code.NOT_SLIDING, node, "it takes a part of the whole image, or keeps its proportions")
    sizes = _by_axis(form, slider.shape(node.output[0], node), node)
    if sizes[BATCH] != form.sizes[BATCH]:
        name, image = next(iter(slider.images.items()))
        given = f"--overwrite-input-shape {name}:{','.join(map(str, (sizes[BATCH], *image.shape[1:])))}"
        raise Stuck(Code.SIZES_MIXED, node, "its sizes hold a batch", f"Give the batch that it holds: {given}.")
    if not form.has_cells and any(sizes[axis] > form.sizes[axis] for axis in range(SPACE, form.rank)):
        slider.suspects.add(form.name)
        if not form.free:  # one cell for the whole image: as it is, it broadcasts to what it meets
            slider.forms[node.output[0]] = form
            return
    factors = _factors(slider, node, form, sizes)
    if factors[CHANNELS] != 1 and text_attribute(node, "mode", "nearest") in _READS:
        raise Stuck(Code.NOT_SLIDING, node, "it interpolates between channels as well")
    scales = np.array([_scale(factor, form.sizes[axis]) for axis, factor in enumerate(factors)], np.float32)
    values = slider.tensors.value(scales, f"{node.output[0]}_scales")
    if attribute(node, "scales") is not None:
        slider.emit(node, [form.name], scales=[float(scale) for scale in scales])
    elif slider.graph.opset < RESIZE:
        slider.emit(node, [form.name, values])
    else:
        slider.emit(node, [form.name, slider.no_roi, values], axes=None)
    ends = {axis: (form.sizes[axis], sizes[axis]) for axis in range(SPACE, form.rank)}
    steps = {axis: _step(slider, node, form, factors[axis], each) for axis, each in ends.items()}
    slider.result(node, form, steps, sizes=sizes)


def _by_axis(form: Form, shape: Sequence[int], node: NodeProto) -> tuple[int, ...]:
    """Return the sizes of the result by the axes of the map."""
    sizes = list(form.sizes)
    for dim, size in enumerate(shape):
        axes = form.filled(dim) or form.layout[dim]
        if len(axes) != 1 and size != int(np.prod([form.sizes[axis] for axis in axes])):
            raise Stuck(Code.SIZES_MIXED, node, "it resizes a dimension of several axes")
        if len(axes) == 1:
            sizes[axes[0]] = size
    return tuple(sizes)


def _factors(slider: Slider, node: NodeProto, form: Form, sizes: Sequence[int]) -> list[Fraction]:
    """Return how many cells one cell becomes along each axis: as its scales say, or else by its sizes."""
    place = 2 if op(node) == "Resize" and slider.graph.opset >= RESIZE else 1
    given = slider.values(node.input[place]) if len(node.input) > place and node.input[place] else None
    listed = attribute(node, "scales")
    scales = list(listed.floats) if listed is not None else [] if given is None else [float(x) for x in given.flat]
    factors = [Fraction(new, old) for new, old in zip(sizes, form.sizes, strict=True)]
    axes = ints_attribute(node, "axes")
    if axes is not None and scales:
        named = {axis % len(form.layout): scale for axis, scale in zip(axes, scales, strict=True)}
        scales = [named.get(dim, 1.0) for dim in range(len(form.layout))]
    if len(scales) == len(form.layout) and len(form.layout) == form.rank:
        for dim, scale in enumerate(scales):
            axis = (form.filled(dim) or form.layout[dim])[0]
            near = Fraction(scale).limit_denominator(_MOST)
            if abs(near - Fraction(scale)) * sizes[axis] < _HALF / _MOST:
                factors[axis] = near
    return factors


def _scale(factor: Fraction, cells: int) -> np.float32:
    """Round a factor to float32, up where the rounded scale would give fewer cells than the factor."""
    scale = np.float32(float(factor))
    short = int(scale * np.float32(cells)) < cells * factor.numerator // factor.denominator
    return np.nextafter(scale, np.float32(np.inf)) if short else scale


def _step(slider: Slider, node: NodeProto, form: Form, factor: Fraction, sizes: tuple[int, int]) -> Step:
    """Return what the cells read along an axis; `sizes` are those of the map before and after.

    A scale is a float32. Where it is above or below the factor, a place that should be a whole number is a little less
    or more: a linear mode reads the cell there as well, and where a rounding decides, the map has no period.
    """
    made, size = node.output[0], sizes[1]
    drift = Fraction(float(_scale(factor, sizes[0]))) - factor
    if factor == 1:
        return Step(made, (form.name,))
    centers, rounding = ("half_pixel", "round_prefer_floor") if slider.graph.opset >= RESIZE else _OLD
    centers = text_attribute(node, "coordinate_transformation_mode", centers)
    wide, reads = _READS.get(text_attribute(node, "mode", "nearest"), (0, None))
    nearest = _NEAREST[text_attribute(node, "nearest_mode", rounding)]
    center = _CENTERS.get(centers)
    if centers == "tf_half_pixel_for_nn":
        places = [(o + _HALF) / factor for o in range(factor.numerator)]
    elif center is None or (centers == "half_pixel_symmetric" and factor.denominator > 1) or size == 1:
        return Step(made, (form.name,), factor=factor, stretched=True)
    else:
        places = [(o + center) / factor - center for o in range(factor.numerator)]
    if drift and any(_is_edge(place, nearest if reads is None else None) for place in places):
        if reads is None:
            return Step(made, (form.name,), factor=factor, stretched=True)
        places = [place - _LITTLE if drift > 0 else place + _LITTLE for place in places]
    if reads is None:
        taps = [(nearest(place), nearest(place)) for place in places]
    elif int_attribute(node, "antialias", 0) and factor < 1:
        taps = [(floor(place - wide / factor) + 1, ceil(place + wide / factor) - 1) for place in places]
    else:
        taps = [reads(place) for place in places]
    return Step(made, (form.name,), factor=factor, taps=tuple(taps))


def _is_edge(place: Fraction, nearest: Callable[[Fraction], int] | None) -> bool:
    """Return whether a place that is a little less or more would read another cell."""
    if nearest is None:
        return place.denominator == 1
    return nearest(place - _LITTLE) != nearest(place + _LITTLE)


@handles("ConvTranspose")
def _transposed(slider: Slider, node: NodeProto) -> None:
    """Run a transposed convolution: it adds each cell to several cells of a larger map.

    Cell o of the result reads the cells i with o = s * i - pad + dilation * k. Cell o + s reads what cell o reads, one
    cell of x later. So there are s cells for each cell, and at the end some more or some less.
    """
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
    pads, beyond = _pads(node, form, sizes, strides, [a + b for a, b in zip(reach, more, strict=True)])
    added = [a + b for a, b in zip(more, beyond, strict=True)]
    slider.emit(node, auto_pad=None, output_shape=None, pads=pads, output_padding=added if any(added) else None)
    steps: dict[int, Step] = {}
    for i, axis in enumerate(range(SPACE, form.rank)):
        taps = tuple(_taps(phase + pads[i], kernel[i], strides[i], dilations[i]) for phase in range(strides[i]))
        rest = sizes[axis] - strides[i] * form.sizes[axis]
        steps[axis] = Step(made, (form.name,), factor=Fraction(strides[i]), taps=taps, more=rest)
    slider.result(node, form, steps, sizes=sizes)


def _pads(
    node: NodeProto, form: Form, sizes: Sequence[int], strides: Sequence[int], reach: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the pads as numbers, and the cells that a result has beyond what any cell of the map is added to.

    Where the node gives the size of its result, they are those that fit the training size.
    """
    upper = text_attribute(node, "auto_pad", "") == "SAME_UPPER"
    given = ints_attribute(node, "pads")
    if given is not None and ints_attribute(node, "output_shape") is None:
        return given, [0] * len(strides)
    cells, made = form.sizes[SPACE:], sizes[SPACE:]
    natural = [s * (n - 1) + k for s, n, k in zip(strides, cells, reach, strict=True)]
    every = [max(0, n - m) for n, m in zip(natural, made, strict=True)]
    before = [each // 2 if upper else each - each // 2 for each in every]
    pads = before + [each - first for each, first in zip(every, before, strict=True)]
    return pads, [max(0, m - n) for n, m in zip(natural, made, strict=True)]


def _taps(place: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the first and the last cell that are added to the cell at `place` of the map before pads are cut off."""
    cells = [(place - k * dilation) // stride for k in range(kernel) if (place - k * dilation) % stride == 0]
    return (min(cells), max(cells)) if cells else (0, 0)
