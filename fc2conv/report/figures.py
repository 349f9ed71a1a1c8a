"""What a model measures, and what another scope would give, as the report tells it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a model measures: nodes, those of subgraphs and functions among them, parameters, multiply-accumulates.

    `parameters` are the elements of initializers and Constant nodes, without int64, which are shapes. `macs` counts
    convolutions and matrix products; with `macs_assumed` a size was a symbol and taken to be 1, such as the batch;
    `macs_uncounted` nodes multiply and are not in it, as their shapes are not known or they are fused operators.
    """

    nodes: int
    parameters: int
    macs: int
    macs_assumed: bool = False
    macs_uncounted: int = 0


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes of an operator a model holds, before and after."""

    before: int
    after: int


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
