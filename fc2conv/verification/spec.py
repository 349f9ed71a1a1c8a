"""The claims about a sliding model, in names of values and plain numbers, so that the prover decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from fractions import Fraction

from fc2conv.dataclass import dataclass

Layout = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Sizes:
    """The sizes of an image along one axis on which a network runs: from `minimum` on, by their rest modulo `step`."""

    minimum: int = 1
    step: int = 1
    remainders: tuple[int, ...] = (0,)

    def runs(self, size: int) -> bool:
        """Return whether the network runs on an image of this size."""
        return size >= self.minimum and size % self.step in self.remainders

    def above(self, size: int) -> int:
        """Return the least size that runs and is no less than this one."""
        first = max(size, self.minimum)
        return next(each for each in range(first, first + self.step) if self.runs(each))

    def below(self, size: int) -> int:
        """Return the largest size that runs and is no more than this one; 0 where no size does."""
        return next((each for each in range(size, max(size - self.step, 0), -1) if self.runs(each)), 0)


@dataclass(frozen=True)
class Feature:
    """A map from which a head goes on without padding, or an image: windows of it are what the original's head reads.

    `name` is the map in the sliding model, `original` the value in the original that holds a window of it in `layout`.
    `sizes` are those of the map at the training size. `steps` are how many of its cells two neighbours of the result
    are apart, along each axis on which windows lie. `holes` are the dilations of a window, by axis. `dims` has the
    dimension of each axis in an image; in a map that is the axis itself.
    """

    name: str
    original: str
    layout: Layout
    sizes: tuple[int, ...]
    steps: Mapping[int, int | Fraction]
    holes: Mapping[int, int] = field(default_factory=dict)
    dims: Mapping[int, int] = field(default_factory=dict)

    def step(self, axis: int) -> tuple[int, int | Fraction]:
        """Return the dimension along which the windows of two neighbours are apart, and by how much."""
        return self.dims.get(axis, axis), self.steps[axis]

    def fits(self, axis: int, size: tuple[int, ...], every: int = 1) -> tuple[int, bool]:
        """Return how many windows lie along an axis on which they move, and whether they end where the value does.

        The second answer is for the windows that are compared: each `every`-th one.
        """
        dim, step = self.step(axis)
        room = size[dim] - self.reach(dim)
        return int(room // step) + 1, room % (step * every) == 0

    def reach(self, dim: int) -> int:
        """Return how many cells lie from the first to the last one along a dimension."""
        return (self.sizes[dim] - 1) * self.holes.get(dim, 1) + 1


@dataclass(frozen=True)
class MapClaim:
    """The map `name` shows at every cell what the original's output `original`, of `layout`, is on that window.

    `sizes` are those of the map at the training size, `windowed` its axes with one cell there, along which it slides.
    An image that moves by `periods` pixels moves the map by `every` cells, by axis: where a backbone upsamples, the
    cells between show other crops. Without `features` there is no head to compare. A `dense` map may have more cells
    at the training size; the first one is the original's. The layout may have the channels in several `parts` of these
    sizes.
    """

    name: str
    original: str
    layout: Layout
    sizes: tuple[int, ...]
    windowed: tuple[int, ...]
    periods: Mapping[int, int] = field(default_factory=dict)
    every: Mapping[int, int] = field(default_factory=dict)
    features: tuple[Feature, ...] = ()
    padded: bool = True
    dense: bool = False
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class CamClaim:
    """Pooling of the map `output` gives the map `scores` before its activation `then` ("" for no activation).

    Pooling is `mean` times the mean and `maximum` times the maximum of each window of `kernel` cells, `strides` apart,
    or of the whole map where there is no kernel.
    """

    output: str
    scores: str
    then: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    mean: float
    maximum: float


@dataclass(frozen=True)
class Cells:
    """The cells of a map along one axis, beside those of the plain map, in pixels of the dimension `dim` of `image`.

    Cells of the plain map are `stride` apart, these cells `made`, and cell 0 lies `shift` of these after the plain
    one's. `center` is the pixel in its middle. With `covers` there is one cell for each `made` pixels of the image.
    """

    image: str
    dim: int
    stride: int
    made: int
    shift: int
    center: float
    covers: bool


@dataclass(frozen=True)
class Placement:
    """The map `name`, shown by `output`, has the cells of the plain model's map `of` at other places, by axis.

    With `upsampled` the output is the map at the size of its image.
    """

    name: str
    output: str
    of: str
    axes: Mapping[int, Cells]
    upsampled: bool


@dataclass(frozen=True)
class Claims:
    """All claims; `inputs` are the training shapes of what slides, `axes` the dimensions that grow, by their axis.

    `pooled` are answers beside maps as (output, map, reduction), `upsampled` the outputs that are maps at the size of
    an input as (output, map, input). `sizes` are those on which the network runs, by input and axis.
    `chosen` are outputs that name the best class, each with the map of scores that it is chosen from: where
    one class is the best throughout, the scores are what can be compared. `counted` are the original's values that a
    number scales by how many cells a map has at the training size, for which the sliding model has that of any map.
    `held` are the original's values that the sliding model has as a map alone: its name there, and their layout.
    """

    inputs: Mapping[str, tuple[int, ...]]
    axes: Mapping[str, Mapping[int, int]]
    maps: tuple[MapClaim, ...]
    pooled: tuple[tuple[str, str, str], ...] = ()
    cams: tuple[CamClaim, ...] = ()
    upsampled: tuple[tuple[str, str, str], ...] = ()
    sizes: Mapping[str, Mapping[int, Sizes]] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    counted: frozenset[str] = frozenset()
    held: Mapping[str, tuple[str, Layout]] = field(default_factory=dict)

    def named(self) -> set[str]:
        """Return the values of the sliding model that appear in a claim, apart from its inputs."""
        names = {claim.name for claim in self.maps} | {f.name for claim in self.maps for f in claim.features}
        names |= {each for name, source, _ in self.pooled for each in (name, source)}
        names |= {name for cam in self.cams for name in (cam.output, cam.scores)}
        return (names | {name for name, _, _ in self.upsampled}) - set(self.inputs)
