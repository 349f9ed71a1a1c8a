"""A layer as a target sees it: its operator, kernel, channels, rank, sizes and type."""

from __future__ import annotations

from typing import Literal

from fc2conv.dataclass import dataclass


@dataclass(frozen=True)
class Geometry:
    """One convolution, fully connected layer or product of two computed values.

    `kernel` has a size for each spatial dimension, `inputs` and `outputs` are channels (`inputs` those of one group),
    `spatial` the sizes of the map that is read; None is a size that is not known. `batch` is None where it is open.
    `type` is the weight's element type as NumPy calls it, "" where it is not known, and `plain` says of a Gemm that
    alpha = beta = 1 and transA = 0.
    """

    node: str
    op_type: str
    kind: Literal["conv", "fc", "product"]
    kernel: tuple[int, ...] = ()
    inputs: int | None = None
    outputs: int | None = None
    groups: int = 1
    rank: int | None = None
    spatial: tuple[int | None, ...] = ()
    batch: int | None = 1
    type: str = ""
    plain: bool = True

    @property
    def height(self) -> int:
        """The kernel's height, or its depth where that is more; 1 in one dimension."""
        return max(self.kernel[:-1], default=1)

    @property
    def width(self) -> int:
        return self.kernel[-1] if self.kernel else 1
