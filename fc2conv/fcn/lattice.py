"""Where the cells of one map lie, as exact numbers, for --output-stride, --padding and --upsample."""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import Form
from fc2conv.fcn.geometry import sizes, windows
from fc2conv.fcn.slider import Slider
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
