"""What a plan costs: the tiers that the minimum cut weighs its labels by, with the weights of a target's profile."""

from __future__ import annotations

from fc2conv.dataclass import dataclass
from fc2conv.layout.relayout import LayoutStep, Transposed
from fc2conv.planning.mincut import INFINITE
from fc2conv.targets.profile import Preferences

_TIER = 20
_CHANGED, _TRANSPOSE, _NORM, _LAYER, _NODE, _WEIGHT = (1 << _TIER * i for i in range(6))
_MOST = (1 << _TIER) - 1
_UNIT = 1000
"""Weights are counted in thousandths."""


@dataclass(frozen=True)
class Costs:
    """The cost of a plan: `[prefers]` of a profile sets the weights, and the profile `onnx` sets no weight.

    | tier | what is paid for | the profile's word |
    | --- | --- | --- |
    | 1 | the weight of each layout node that stays or is added | `layout`; 1 |
    | 2 | each layout node | |
    | 3 | each layer that could be converted and is not, where the layer may choose | |
    | 4 | each norm that is written as reductions | `norms`; no norm is |
    | 5 | each Transpose, as it moves elements | |
    | 6 | each node on the spatial form that no converted layer feeds, and each on originals that one does | |

    A tier outweighs all that a model can have of those below it, so that the cheapest plan is the best by the first,
    among equals by the second, and so on. `norms` lets norms over the channels be written as reductions.
    """

    reshape: int = _UNIT
    transpose: int = _UNIT
    norms: bool = False

    def node(self, *, moves: bool) -> int:
        """Return the cost of one layout node; a Transpose moves elements."""
        weight = self.transpose if moves else self.reshape
        return weight * _WEIGHT + _NODE + (_TRANSPOSE if moves else 0)

    def price(self, steps: tuple[LayoutStep, ...] | None) -> int:
        """Return the cost of a conversion; `INFINITE` where it cannot be written."""
        return INFINITE if steps is None else sum(self.node(moves=isinstance(step, Transposed)) for step in steps)


KEPT, WRITTEN_NORM, CHANGED = _LAYER, _NORM, _CHANGED
"""The cost of one layer, norm or node in the third, the fourth and the last tier."""


def nodes(cost: int) -> int:
    """Return the number of layout nodes in a finite cost."""
    return cost // _NODE & _MOST


def weight(cost: int) -> int:
    """Return what the layout nodes in a finite cost weigh."""
    return cost // _WEIGHT


def costs_of(prefers: Preferences) -> Costs:
    """Return the costs that a profile asks for."""
    weights = {each.operator: round(each.weight * _UNIT) for each in prefers.layout}
    norms = any(each.value == "map" for each in prefers.norms)
    return Costs(weights.get("Reshape", _UNIT), weights.get("Transpose", _UNIT), norms)
