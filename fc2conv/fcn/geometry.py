"""Where the cells of a map lie on the image, and which sizes a network runs on, as plain arithmetic.

Along one axis every node of a network reads windows of its operands. A `Step` says which; from the steps between an
image and a map follow the pixels that each cell of the map reads, and how many cells an image of any size gives.

A map moves with the image by whole cells every `period` pixels. After a stride t that is lcm(P, stride * t), after a
Resize that makes u cells of d it is lcm(P, stride * d), and where maps meet it is the lcm of theirs. Without upsampling
the period is the stride. With it, the cells of one period differ in what they read, so that each has its own window.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from math import ceil, gcd, lcm

import numpy as np
from numpy.typing import NDArray

from fc2conv.dataclass import dataclass
from fc2conv.verification.spec import Sizes

Counts = NDArray[np.int64]
_MOST = 1 << 13
"""How many sizes in a row are tried for those that run; beyond, only those that differ by whole periods are named."""


@dataclass(frozen=True)
class Step:
    """How `made` is computed from `read` along one axis, in cells of what it reads.

    Cell i reads `extent` cells from `stride * i - before` on; `before` and `after` are padding (negative: cells that
    are cut off). `rounds_up` counts a last window that is not full (ceil_mode), and with `partial` there is one at the
    training size. `factor` is how many cells become of one (Resize, with a stride of 1): `taps` are then the first and
    the last cell that is read for each of the `factor.numerator` cells, counted from the first of
    `factor.denominator`, and `more` cells follow at the end of the result. With `everywhere` the one result reads all
    cells, and with `stretched` each result reads cells at places that depend on the size of the whole map. An `exact`
    step has no result where its stride leaves cells over, and none has one of fewer than `least` cells.
    """

    made: str
    read: tuple[str, ...]
    extent: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    rounds_up: bool = False
    partial: bool = False
    factor: Fraction = Fraction(1)
    taps: tuple[tuple[int, int], ...] = ()
    more: int = 0
    everywhere: bool = False
    stretched: bool = False
    exact: bool = False
    least: int = 1

    @property
    def pads(self) -> bool:
        """Whether some window reads what is no cell, so that a crop of the map gives other numbers at its rim."""
        return self.pads_front or self.pads_end or self.partial or self.everywhere or self.stretched

    @property
    def pads_front(self) -> bool:
        """Whether some window begins in front of the first cell."""
        return self.before > 0 or any(first < 0 for first, _ in self.taps)

    @property
    def pads_end(self) -> bool:
        """Whether some window ends behind the last cell, but for one that is not full."""
        return self.after > 0 or self.more > 0 or any(last >= self.factor.denominator for _, last in self.taps)

    @property
    def left(self) -> int:
        """How many cells are left, at most, behind the window that would follow the last one; negative: padding."""
        if not self.taps:
            return -self.after
        up, down = self.factor.numerator, self.factor.denominator
        after = ((rest, rest * up // down + self.more) for rest in range(down))
        return max(rest - (i // up * down + self.taps[i % up][1]) for rest, i in after)

    @property
    def cuts(self) -> bool:
        """Whether a head cannot be followed through the step: it pads, reads the whole map, or resizes."""
        return self.pads or self.factor != 1

    @property
    def is_cell(self) -> bool:
        plain = self.extent == self.stride == self.factor == 1 and not self.before and not self.after and not self.taps
        return plain and not self.everywhere and not self.stretched

    def cells(self, sizes: Counts) -> Counts:
        """Compute how many cells the result has for operands of these sizes; 0 where it cannot be computed."""
        if self.everywhere:
            return np.minimum(sizes, 1)
        room = sizes + (self.before + self.after - self.extent)
        count = (-(-room // self.stride) if self.rounds_up else room // self.stride) + 1
        if self.rounds_up:  # a window that begins in the padding after the map does not count
            count -= (count - 1) * self.stride >= sizes + self.before
        count = count * self.factor.numerator // self.factor.denominator + self.more
        over = self.exact & (room % self.stride > 0)
        return np.where((sizes < self.least) | (room < 0) | over, 0, np.maximum(count, 0))


def packed(made: str, read: str, block: int) -> Step:
    """Return the step of a SpaceToDepth."""
    return Step(made, (read,), block, block, exact=True)


def unpacked(made: str, read: str, block: int) -> Step:
    """Return the step of a DepthToSpace."""
    return Step(made, (read,), factor=Fraction(block), taps=((0, 0),) * block)


@dataclass(frozen=True)
class Hole:
    """What a node becomes along one axis: its step, the hole in what it reads, the part of its stride that stays."""

    step: Step
    hole: int
    kept: int

    @property
    def changed(self) -> bool:
        """Whether anything changes."""
        return self.hole > 1 or self.kept != self.step.stride

    @property
    def dilated(self) -> Step:
        """The step with holes."""
        step, hole = self.step, self.hole
        return replace(
            step,
            extent=(step.extent - 1) * hole + 1,
            stride=self.kept,
            before=step.before * hole,
            after=step.after * hole,
            rounds_up=False,
            partial=False,
        )


def hole_of(step: Step, read: Fraction, wanted: int) -> Hole:
    """Return what becomes of a step that reads a map of stride `read`; the hole is 0 where that is not possible."""
    if read.denominator > 1:
        return Hole(step, 0, 0)
    before = gcd(int(read), wanted)
    if read != before and (step.factor != 1 or step.stretched):
        return Hole(step, 0, 0)
    if step.everywhere:
        return Hole(step, int(read) // before, 1)
    return Hole(step, int(read) // before, gcd(int(read) * step.stride, wanted) // before)


@dataclass(frozen=True)
class Window:
    """The pixels that the cells of a map read: cell i reads those from `first[i]` to `last[i]`, some beyond the rim.

    There is one for each cell of a `period`, after which they repeat. `whole` is set where every cell reads the whole
    image, `single` where there is one cell for any image, and `stretched` where the cells lie at places that depend on
    the size of the image. Behind the window that would follow the last one are at most `rest` pixels of the image.
    """

    stride: Fraction = Fraction(1)
    period: int = 1
    first: tuple[int, ...] = (0,)
    last: tuple[int, ...] = (0,)
    whole: bool = False
    single: bool = False
    stretched: bool = False
    rest: Fraction = Fraction(0)

    @property
    def every(self) -> int:
        """How many cells the map moves by when the image moves by a period."""
        return len(self.first)

    @property
    def offset(self) -> Fraction:
        """Where the window of cell 0 begins, and that of every cell i no earlier than `stride * i` pixels later."""
        return min(pixel - self.stride * i for i, pixel in enumerate(self.first))

    @property
    def field(self) -> Fraction | None:
        """How many pixels the windows have from the offset on; None for the whole image."""
        if self.whole:
            return None
        return max(pixel - self.stride * i for i, pixel in enumerate(self.last)) + 1 - self.offset

    def through(self, step: Step) -> Window:
        """Return the window of what a step makes of this map.

        Padding next to cells that were cut off lies inside of the image, where a larger image has other numbers. So
        windows that read it are made to reach beyond the rim, as all others do that read padding, and the rest too.
        """
        up, down = step.factor.numerator, step.factor.denominator * step.stride
        stride = self.stride * down / up
        moved = self.stride * down
        period = lcm(self.period * moved.denominator, moved.numerator) // moved.denominator
        taps = step.taps or ((-step.before, step.extent - 1 - step.before),) * up
        early = max(0, self._at(self.first, -1) + 1) if step.pads_front else 0
        late = max(0, ceil(self.rest)) if step.pads_end or step.rounds_up else 0
        rest = self.rest - late
        if step.left:  # windows of several forms may end earlier by as much as these differ
            ends = [pixel - self.stride * i for i, pixel in enumerate(self.last)]
            rest += step.left * self.stride + max(ends) - min(ends)
        first, last = [], []
        for i in range(int(period / stride)):
            base = i // up * down
            first.append(self._at(self.first, base + taps[i % up][0]) - early)
            last.append(self._at(self.last, base + taps[i % up][1]) + late)
        whole = self.whole or step.everywhere or step.stretched
        single, stretched = self.single or step.everywhere, self.stretched or step.stretched
        return Window(stride, period, tuple(first), tuple(last), whole, single, stretched, rest)

    def joined(self, other: Window) -> Window:
        """Return the window of a sum of two maps: all pixels that either reads."""
        whole, stretched = self.whole or other.whole, self.stretched or other.stretched
        if self.single != other.single:
            return replace(other if self.single else self, whole=True, stretched=stretched)
        period = lcm(self.period, other.period)
        if self.stride != other.stride:  # an obstacle: the one has more cells than the other on a larger image
            return replace(self, whole=True, stretched=stretched)
        places = range(int(period / self.stride))
        return Window(
            self.stride,
            period,
            tuple(min(self._at(self.first, i), other._at(other.first, i)) for i in places),
            tuple(max(self._at(self.last, i), other._at(other.last, i)) for i in places),
            whole,
            self.single,
            stretched,
            min(self.rest, other.rest),
        )

    def _at(self, places: tuple[int, ...], cell: int) -> int:
        periods, i = divmod(cell, self.every)
        return places[i] + periods * self.period


def windows(steps: Iterable[Step], image: str) -> dict[str, Window]:
    """Return the window of every value that reads the named one; `steps` are in the order of computation."""
    found = {image: Window()}
    for step in steps:
        reads = [found[name].through(step) for name in step.read if name in found]
        if reads:
            found[step.made] = reduce(Window.joined, reads)
    return found


def of_mixed_strides(steps: Sequence[Step], images: Iterable[str]) -> dict[str, set[Fraction]]:
    """Return the values made of maps of several strides, whose numbers of cells differ on larger images, with these."""
    known = [windows(steps, image) for image in images]
    found = {}
    for step in steps:
        reads = [each[name] for each in known for name in step.read if name in each]
        strides = {window.stride for window in reads if not window.single}
        if len(strides) > 1:
            found[step.made] = strides
    return found


def cells(steps: Sequence[Step], sizes: Mapping[str, Counts]) -> dict[str, Counts]:
    """Count the cells of all values, for each size of the images; 0 for what fails, and what is made of it."""
    found = dict(sizes)
    single: set[str] = set()
    for step in steps:
        reads = {name: found[name] for name in step.read if name in found}
        if not reads:
            continue
        most = np.maximum.reduce(list(reads.values()))
        fits = np.minimum.reduce(list(reads.values())) > 0
        for name, count in reads.items():
            fits &= (count == most) | (name in single)
        found[step.made] = np.where(fits, step.cells(most), 0)
        if step.everywhere or single.issuperset(reads):
            single.add(step.made)
    return found


def sizes(steps: Sequence[Step], training: Mapping[str, int], image: str, wanted: Iterable[str]) -> Sizes:
    """Find the sizes of an image on which all wanted values have cells; other inputs grow by as many pixels."""
    steps = on_the_way(steps, wanted)
    whole = training[image]

    def runs(at: Counts) -> NDArray[np.bool_]:
        found = cells(steps, {name: size + at - training[image] for name, size in training.items()})
        return np.asarray(np.minimum.reduce(list(found.values())) > 0)

    period = lcm(1, *(window.period for window in windows(steps, image).values()))
    larger = (whole + period * i for i in range(_MOST))  # without its rim a map may have no cell at the training size
    whole = next((size for size in larger if runs(np.array([size]))[0]), whole)
    if not any(len(step.read) > 1 or step.exact for step in steps):
        found = Sizes()
    elif period > _MOST:
        found = Sizes(1, period, (whole % period,))
    else:
        every = runs(np.arange(whole, whole + period))
        divisors = (n for n in range(1, period + 1) if period % n == 0)
        step = next(n for n in divisors if (every == np.resize(every[:n], period)).all())
        rests = {(whole + int(i)) % step for i in np.nonzero(every)[0]} | {whole % step}
        found = Sizes(1, step, tuple(sorted(rests)))
    least = bisect_left(range(1, whole), True, key=lambda size: bool(runs(np.array([found.above(size)]))[0])) + 1
    return replace(found, minimum=found.above(least))


def on_the_way(steps: Sequence[Step], wanted: Iterable[str]) -> list[Step]:
    """Return the steps by which some wanted value is computed."""
    names, kept = set(wanted), []
    for step in reversed(steps):
        if step.made in names:
            names.update(step.read)
            kept.append(step)
    return kept[::-1]
