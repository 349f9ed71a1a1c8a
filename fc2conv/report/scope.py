"""How many layout nodes a model has, and what the scope that was not chosen would give."""

from __future__ import annotations

from typing import Literal

import msgspec


class LayoutNodes(msgspec.Struct, frozen=True, kw_only=True):
    """How many Reshape, Flatten, Squeeze, Unsqueeze and Transpose nodes the model holds."""

    before: int
    after: int


class ScopeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What another `--scope` would give: how many of the layers it converts, and the layout nodes."""

    scope: Literal["spatial", "all"]
    converted: int
    layers: int
    layout_nodes: LayoutNodes
