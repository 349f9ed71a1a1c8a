"""Where the cells of one map lie, as exact numbers, for --output-stride, --padding and --upsample."""

from __future__ import annotations

from collections.abc import Mapping, Set
from fractions import Fraction

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import Layout
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
        """Whether the cells lie a whole number of pixels apart, and all read the like of one another."""
        return self.stride.denominator == 1 and self.period == self.stride


class Lattice:
    """The places of maps in a pass over a graph."""

    def __init__(self, slider: Slider, layouts: Mapping[str, Layout], free: Mapping[str, frozenset[int]]) -> None:
        self.slider, self.layouts, self.free = slider, layouts, free

    def place(self, name: str, axis: int) -> Place | None:
        """Where the cells of a map lie on the first input that it reads; None for no place that is known."""
        steps = self.slider.steps.get(axis, [])
        for image, axes in self.free.items():
            found = windows(steps, image) if axis in axes else {}
            if name in found and not found[name].stretched:
                window, least = found[name], self.sizes(image, axis, {name}).minimum
                at = (window.stride, window.period, window.offset, window.field)
                return Place(image, self.dim(image, axis), self.training(image, axis), *at, least)
        return None

    def sizes(self, image: str, axis: int, wanted: Set[str]) -> Sizes:
        """On which sizes of an image all wanted maps have cells."""
        fed = {each: self.training(each, axis) for each in self.free if axis in self.free[each]}
        return sizes(self.slider.steps.get(axis, ()), fed, image, wanted)

    def dim(self, image: str, axis: int) -> int:
        """The dimension of an image that is an axis of its map."""
        return self.layouts[image].index((axis,))

    def training(self, image: str, axis: int) -> int:
        """The training size of an image along an axis."""
        return self.slider.shapes[image][self.dim(image, axis)]
