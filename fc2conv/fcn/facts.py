"""What the pass knows and notes of a network: its images, pooling over the whole map, values that count its cells."""

from __future__ import annotations

from typing import Literal

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.training import Shape
from fc2conv.verification.spec import Layout


@dataclass(frozen=True)
class Image:
    """An input that slides: the axis of its map that each dimension is, those that grow, and its training shape."""

    layout: Layout
    free: frozenset[int]
    shape: Shape = ()

    @property
    def dims(self) -> dict[int, int]:
        """The dimension of each axis that grows."""
        return {axis: dim for dim, (axis,) in enumerate(self.layout) if axis in self.free}

    @property
    def sizes(self) -> dict[int, int]:
        return {axis: self.shape[dim] for axis, dim in self.dims.items()}


@dataclass(frozen=True)
class Pool:
    """Pooling over the whole map: its node, what it reads and makes, and what was done with it.

    `slide` has a `kernel` of the training extent; `keep` and `within` (the backbone) stay pooling over the whole map.
    """

    node: NodeProto
    read: str
    made: str
    action: Literal["slide", "keep", "within"]
    kernel: Shape = ()


@dataclass(frozen=True)
class Count:
    """Of how many elements a value is the sum, or the mean: of all cells along some axes of a map, and its channels.

    `cells` and `elements` are those of the training size; the value grows as their number to the power of `power`.
    """

    read: str
    axes: tuple[int, ...]
    cells: int
    elements: int
    power: float

    def like(self, other: Count) -> bool:
        """Return whether both count the same number of elements, whatever map they are of."""
        return (self.axes, self.elements, self.power) == (other.axes, other.elements, other.power)
