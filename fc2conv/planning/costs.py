"""What a plan costs: the one table that the minimum cut weighs its labels by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fc2conv.layout.relayout import LayoutStep, Transposed
from fc2conv.planning.mincut import INFINITE


@dataclass(frozen=True)
class Costs:
    """The weights of a plan, which a target's profile may fill in; the defaults are those of `onnx`.

    | field | what is paid for |
    | --- | --- |
    | `layout_node` | each Reshape, Flatten, Squeeze, Unsqueeze or Transpose that stays or is added |
    | `unconverted` | each layer that could be converted and is not, where the layer may choose |
    | `transpose` | each Transpose among the layout nodes, as it moves elements |
    | `changed` | each node on twins that no converted layer feeds, and each on originals that one does |
    | `rank` | no price: how many spatial dimensions a convolution has; None takes the network's own, else 2 |
    | `form` | no price: `map` covers a map by a kernel, `point` makes channels of its cells, with a 1x1 kernel |

    Each price outweighs all that a model can have of those below it, so that the cheapest plan is the best by the first
    term, among equals by the second, and so on.
    """

    layout_node: int = 1 << 60
    unconverted: int = 1 << 40
    transpose: int = 1 << 20
    changed: int = 1
    rank: int | None = None
    form: Literal["map", "point"] = "map"

    def price(self, steps: tuple[LayoutStep, ...] | None) -> int:
        """What a conversion costs; no finite sum where it cannot be written."""
        if steps is None:
            return INFINITE
        return sum(self.layout_node + (self.transpose if isinstance(step, Transposed) else 0) for step in steps)
