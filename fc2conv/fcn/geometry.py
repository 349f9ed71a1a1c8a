"""Where the cells of a map lie on the image: strides, offsets, receptive fields and least sizes, as plain arithmetic.

Along one axis every node of a network reads windows of its operands. A `Step` says which; from the steps between an
image and a map follow the window of pixels that each cell of the map reads, and the least image that has a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor


@dataclass(frozen=True)
class Step:
    """How `made` is computed from `read` along one axis, in cells of what it reads.

    Cell i reads `extent` cells from `stride * i - before` on; `before` and `after` are padding (negative: cells that
    are cut off). `rounds_up` counts a last window that is not full (ceil_mode). `factor` is how many cells become of
    one (Resize). With `everywhere` the one result reads all cells.
    """

    made: str
    read: tuple[str, ...]
    extent: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    rounds_up: bool = False
    factor: Fraction = Fraction(1)
    everywhere: bool = False

    @property
    def pads(self) -> bool:
        """Whether some window reads what is no cell, so that a crop of the map gives other numbers at its rim."""
        return self.before > 0 or self.after > 0 or self.everywhere or self.factor != 1

    def cells(self, size: int) -> int:
        """How many cells the result has, of operands with `size` cells; below 1 where it cannot be computed."""
        if self.everywhere:
            return min(size, 1)
        room = size + self.before + self.after - self.extent
        count = (-(-room // self.stride) if self.rounds_up else room // self.stride) + 1
        if self.rounds_up and (count - 1) * self.stride >= size + self.before:
            count -= 1  # a window that begins in the padding behind the map does not count
        return floor(count * self.factor)

    def needed(self, cells: int) -> int:
        """The least number of cells of the operands with which the result has `cells` (>= 1) of its own."""
        if self.everywhere:
            return 1
        wanted = ceil(cells / self.factor)
        size = max(1, (wanted - 1) * self.stride + self.extent - self.before - self.after)
        while self.rounds_up and size > 1 and self.cells(size - 1) >= cells:
            size -= 1
        return size


@dataclass(frozen=True)
class Window:
    """The pixels that cell i of a map reads: `field` of them from `first + stride * i` on, some beyond the rim.

    `field` is None where every cell reads the whole image.
    """

    stride: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    field: Fraction | None = Fraction(1)

    def through(self, step: Step) -> Window:
        """The window of what a step makes of this map."""
        field = self.field
        if field is not None:
            field = None if step.everywhere else field + (step.extent - 1) * self.stride
        first = self.first - step.before * self.stride
        return Window(self.stride * step.stride / step.factor, first, field)

    def joined(self, other: Window) -> Window:
        """The window of a sum of two maps: all that either reads."""
        if self.field is None or other.field is None:
            one = self if other.field is None else other
            return Window(one.stride, one.first, None)
        first = min(self.first, other.first)
        end = max(self.first + self.field, other.first + other.field)
        return Window(self.stride, first, end - first)


def windows(steps: Iterable[Step], image: str) -> dict[str, Window]:
    """The window of every value that reads the named one; `steps` in the order in which they are computed."""
    found = {image: Window()}
    for step in steps:
        reads = [found[name].through(step) for name in step.read if name in found]
        if reads:
            joined = reads[0]
            for other in reads[1:]:
                joined = joined.joined(other)
            found[step.made] = joined
    return found


def unlike(steps: Sequence[Step], image: str) -> list[str]:
    """The values that are made of maps of unlike strides, which have unlike numbers of cells on a larger image."""
    known = windows(steps, image)
    found = []
    for step in steps:
        reads = [known[name] for name in step.read if name in known]
        if len({window.stride for window in reads if window.field is not None}) > 1:
            found.append(step.made)
    return found


def least(steps: Sequence[Step], wanted: Mapping[str, int]) -> dict[str, int]:
    """How many cells each value must have at least for `wanted` to have theirs, and every value on the way one."""
    found = dict(wanted)
    for step in reversed(steps):
        if step.made in found:
            for name in step.read:
                found[name] = max(found.get(name, 1), step.needed(found[step.made]))
    return found


def cells(steps: Iterable[Step], sizes: Mapping[str, int]) -> dict[str, int]:
    """How many cells every value has, from the sizes of the images; operands of one step agree, or the least counts."""
    found = dict(sizes)
    for step in steps:
        reads = [found[name] for name in step.read if name in found]
        if reads:
            found[step.made] = step.cells(min(reads))
    return found
