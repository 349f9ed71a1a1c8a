"""Where the cells of one map lie, as exact numbers, and --upsample, which brings the map to the size of its image.

There every cell lies where it is, values are linear between cells, and level beyond the outermost:

    fine = Resize (map)            a stride of pixels for each cell
    wide = Pad <edge> (fine)       its first and last pixels go on as far as the image may
    y    = Slice (wide)            from the image's first pixel to its last
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from fractions import Fraction

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import SPACE, Form
from fc2conv.fcn.geometry import sizes, windows
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.reasons import Code
from fc2conv.verification.spec import Sizes


@dataclass(frozen=True)
class Place:
    """A map along one axis, in pixels: cell i reads `field` of them from `offset + stride * i` on (None: all).

    `size` is the training size, `minimum` the least that gives a cell, `dim` the dimension of the input `image`.
    """

    image: str
    dim: int
    size: int
    stride: Fraction
    period: int
    offset: Fraction
    field: Fraction | None
    minimum: int

    @property
    def even(self) -> bool:
        """Whether the cells lie a whole number of pixels apart, and all read windows of the same form."""
        return self.stride.denominator == 1 and self.period == self.stride


def place(slider: Slider, name: str, axis: int) -> Place | None:
    """Return where the cells of a map lie on the first image that it reads; None where no place is known."""
    for known, image in slider.images.items():
        found = windows(slider.steps.get(axis, ()), known) if axis in image.free else {}
        if name in found and not found[name].stretched:
            window, least = found[name], sizes_of(slider, known, axis, {name}).minimum
            at = (window.stride, window.period, window.offset, window.field)
            return Place(known, image.dims[axis], image.sizes[axis], *at, least)
    return None


def sizes_of(slider: Slider, image: str, axis: int, wanted: Set[str]) -> Sizes:
    """Find the sizes of an image on which all wanted maps have cells."""
    return sizes(slider.steps.get(axis, ()), slider.fed(axis), image, wanted)


def middle(form: Form, axis: int, size: int, stride: Fraction, shift: int) -> Fraction:
    """Compute the pixel in the middle of cell 0, `shift` cells after the first of those around the image's middle."""
    return Fraction(size - 1, 2) + stride * (shift - Fraction(form.sizes[axis] - 1, 2))


# ------------------------------------------------------------------ --upsample


def upsample(slider: Slider, output: str, form: Form, shifts: Mapping[int, int]) -> str:
    """Make an output of a map; return the input whose size it has. Raise Stuck where the cells lie between pixels.

    Resize puts a cell in the middle of what it makes of it, or with `asymmetric` on the first pixel. Where the image
    has the cell half a pixel off both, the mean of two neighbours gives it: the map is linear between them.
    """
    places = {axis: _placed(slider, output, form, axis) for axis in sorted(form.free)}
    image = next(iter(places.values())).image
    if slider.images[image].free - form.free:
        what = "it has one cell for the whole image along an axis"
        raise Stuck(Code.NOT_PLACED, NodeProto(name=output), what)
    middles = {axis: middle(form, axis, at.size, at.stride, shifts.get(axis, 0)) for axis, at in places.items()}
    between = any((middles[axis] - (place.stride - 1) / 2).denominator > 1 for axis, place in places.items())
    fine = _resized(slider, output, form, places, "asymmetric" if between else "half_pixel")
    before, after, starts, kernel = [0] * form.rank, [0] * form.rank, [], [1] * (form.rank - SPACE)
    for axis, at in places.items():
        first = middles[axis] - (0 if between else (at.stride - 1) / 2)
        if first.denominator > 1:
            first, kernel[axis - SPACE] = first + Fraction(1, 2), 2
        before[axis] = max(0, int(first))
        after[axis] = max(0, at.minimum + at.period - int(first)) + kernel[axis - SPACE] - 1
        starts.append(before[axis] - int(first))
    ints = slider.tensors.ints
    wide = slider.add("Pad", [fine], f"{output}_wide", pads=(*before, *after), mode="edge")
    if max(kernel) > 1:
        wide = slider.add("AveragePool", [wide], f"{output}_between", kernel_shape=kernel)
    extent = slider.measured(image, [place.dim for place in places.values()], f"{output}_extent")
    start = ints(tuple(starts), f"{output}_start")
    end = slider.add("Add", [extent, start], f"{output}_end")
    slider.add("Slice", [wide, start, end, ints(tuple(places), "axes")], f"{output}_cut", made=output)
    return image


def _placed(slider: Slider, output: str, form: Form, axis: int) -> Place:
    found = place(slider, form.name, axis)
    if found is None or not found.even:
        detail = "its cells lie at no whole number of pixels from one another"
        raise Stuck(Code.NOT_PLACED, NodeProto(name=output), detail)
    return found


def _resized(slider: Slider, output: str, form: Form, places: Mapping[int, Place], mode: str) -> str:
    scales = np.array([float(places[axis].stride) if axis in places else 1.0 for axis in range(form.rank)], np.float32)
    given = [form.name, slider.no_roi, slider.tensors.value(scales, f"{output}_scales")]
    return slider.add("Resize", given, f"{output}_fine", mode="linear", coordinate_transformation_mode=mode)
