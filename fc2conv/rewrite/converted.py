"""What became of one layer, by the names of values in both models."""

from __future__ import annotations

from fc2conv.dataclass import dataclass


@dataclass(frozen=True)
class Converted:
    """One layer that became a convolution, named by values of the two models; shapes in elements."""

    index: int
    node: str
    fc_output: str
    output: str
    conv_output: str
    weight: str
    weight_before: tuple[int, ...]
    weight_after: tuple[int, ...]
