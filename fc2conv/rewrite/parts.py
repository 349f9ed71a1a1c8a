"""What a kernel is made of: the weight of a layer, or rows of it; and a part of the kernel, padded."""

from __future__ import annotations

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.layers import FCLayer
from fc2conv.layout.contraction import Contraction


@dataclass(frozen=True)
class Weight:
    """The weight of a convolution: its layer, what it contracts, and which of the weight's rows are meant."""

    layer: FCLayer
    found: Contraction
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """A part of a kernel: (start, stop, size) along each dimension, padded with zeros up to its size.

    `sides` are those of the whole kernel, which may have more dimensions of size 1 than the layer's. With `cells` the
    second dimension is that of channels and cells together.
    """

    spans: tuple[tuple[int, int, int], ...]
    sides: tuple[int, ...]
    cells: bool = False

    def dims(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the dimensions of the whole kernel that this is a part of."""
        return shape if self.cells else (*shape[:2], *self.sides)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size for _, _, size in self.spans)

    @property
    def filled(self) -> tuple[int, ...]:
        """The shape of what is in the part before it is padded."""
        return tuple(stop - start for start, stop, _ in self.spans)


def padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pad values with zeros at the end up to a shape."""
    out = np.zeros(shape, array.dtype)
    out[tuple(map(slice, array.shape))] = array
    return out
