"""What a step becomes where the cells of before are some cells apart in what it reads."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import gcd

from fc2conv.dataclass import dataclass
from fc2conv.fcn.geometry import Step


@dataclass(frozen=True)
class Hole:
    """What a node becomes along one axis: its step, the hole in what it reads, the part of its stride that stays."""

    step: Step
    hole: int
    kept: int

    @property
    def changed(self) -> bool:
        """Whether anything is other than it was."""
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
    """What becomes of a step that reads a map of a stride; a hole of 0 where that is not possible."""
    if read.denominator > 1:
        return Hole(step, 0, 0)
    before = gcd(int(read), wanted)
    if read != before and (step.factor != 1 or step.stretched):
        return Hole(step, 0, 0)
    if step.everywhere:
        return Hole(step, int(read) // before, 1)
    return Hole(step, int(read) // before, gcd(int(read) * step.stride, wanted) // before)


def is_cell(step: Step) -> bool:
    """Whether each cell is made of the one at its place, so that a hole changes nothing."""
    plain = step.extent == step.stride == 1 and not step.before and not step.after
    return plain and step.factor == 1 and not step.taps and not step.everywhere and not step.stretched
