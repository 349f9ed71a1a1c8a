"""What the report says of a network that was made fully convolutional."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fc2conv.report.parts import ReasonReport


class AxisGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cells of a map lie on its input along one axis; all numbers but `dim` are pixels.

    `dim` is the input's dimension. Cell i is the original network on the pixels from `stride * i` on, `size` of them:
    the training size. It reads `field` pixels from `offset + stride * i` on (`field` null: the whole image), of which
    those outside of the image are padding. The network runs on images of `minimum` and more, of those the sizes whose
    rest modulo `step` is one of `remainders`. An image that moves by `period` moves the map by whole cells: where a
    backbone upsamples, that is more than the stride, and only the cells that lie at its multiples are the original on
    crops. `stride` and `period` are null where the axis is pooled away, does not grow, or is stretched to the image.
    `center` is the pixel in the middle of cell 0 (-0.5 is the edge of the image), and that of cell i is
    `center + stride * i`: the middle of its crop. With --output-stride every `every`-th cell
    is one of the network as it is; the others are the original on crops where nothing pads, and on none where
    something does.
    """

    input: str
    dim: int
    size: int
    minimum: int
    step: int
    remainders: list[int]
    stride: float | None = None
    period: int | None = None
    offset: float | None = None
    field: float | None = None
    center: float | None = None
    every: int = 1


class SlidingOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One map: its output's name, its shape with symbols, what it shows, and a geometry for each spatial axis.

    `of` is the output that it goes with: itself, unless this is a pooled answer or a class activation map. With
    `upsampled` the map was brought to the input's size, and the geometry is that of the map before.
    """

    output: str
    of: str
    kind: Literal["map", "mean", "max", "cam"]
    shape: list[int | str]
    axes: list[AxisGeometry] = []
    upsampled: bool = False


class SlidingInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input that slides: its dimensions that became symbols, their training sizes, and the sizes that run.

    Those are `minimum` and more whose rest modulo `step` is one of `remainders`, for each dimension.
    """

    input: str
    dims: list[int]
    sizes: list[int]
    minimum: list[int]
    step: list[int]
    remainders: list[list[int]]


class SlidingPool(msgspec.Struct, frozen=True, kw_only=True):
    """Pooling over the whole map: `slide` has a kernel of the training extent, `keep` and `within` are what they were.

    `within` is inside the backbone, as in squeeze and excitation or a norm over the image: its cells depend on the
    whole image, so that the network is no window that slides.
    """

    node: str
    op_type: str
    action: Literal["slide", "keep", "within"]
    kernel_shape: list[int] = []


class CropGap(msgspec.Struct, frozen=True, kw_only=True):
    """How far a map is from the original network on each crop, for an input of `size` along its sliding dimensions.

    `max` and `mean` are of |map - crop| over all cells and channels, `reference` is the largest |crop|, and `map` has
    the largest difference of each cell, in nested lists over the spatial axes.
    """

    output: str
    size: list[int]
    max: float
    mean: float
    reference: float
    map: list[Any] = []

    @property
    def rows(self) -> list[list[float]]:
        """`map` in rows along the last axis, those of all other axes below one another."""
        rows = [self.map]
        while rows[0] and isinstance(rows[0][0], list):
            rows = [inner for row in rows for inner in row]
        return rows


class SlidingReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the mode has to say. `padded` is whether some window reads padding or the whole image, so that a cell
    differs from the original on that crop; with obstacles there is no network, and no more than these is known.
    `already` is whether the model is such a network as it is: nothing is done then, and nothing else is known."""

    inputs: list[SlidingInput] = []
    outputs: list[SlidingOutput] = []
    pools: list[SlidingPool] = []
    obstacles: list[ReasonReport] = []
    padded: bool = False
    already: bool = False
    crops: list[CropGap] = []


class SeenClass(msgspec.Struct, frozen=True, kw_only=True):
    """One class on a picture: its number and name, its best cell (row, column), the score and the pixels there.

    `box` is (left, top, right, bottom) of the crop that the cell stands for, in pixels of the picture that was run.
    """

    label: int
    name: str = ""
    score: float
    cell: tuple[int, int]
    box: tuple[int, int, int, int]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a heatmap shows: the output, and of the first class its number, its best cell, its score and its pixels.

    `classes` are all that are drawn, `cells` the rows and columns of the map. `size` is the (height, width) that was
    run, and `cut` how many rows and columns were left out at the end, where the network does not run on all sizes.
    `image` was read, `picture` was written, and so was `map` where it was asked for.
    """

    output: str
    label: int
    score: float
    cell: tuple[int, int]
    cells: tuple[int, int]
    box: tuple[int, int, int, int]
    classes: list[SeenClass] = []
    size: tuple[int, int] = (0, 0)
    cut: tuple[int, int] = (0, 0)
    image: str = ""
    picture: str = ""
    map: str = ""


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a folder that was not drawn, and why."""

    image: str
    message: str
    remedy: str = ""


class MapBytes(msgspec.Struct, frozen=True, kw_only=True):
    """The shape and the element type of a map whose bytes are sent after it."""

    shape: list[int]
    dtype: str
