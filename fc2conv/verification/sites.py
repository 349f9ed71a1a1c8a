"""Which layer of the original became which convolution, found by the names of values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SitePair:
    """One converted layer.

    `node` is the FC node's name, for messages; `fc_output` is the first output of the layer's node in the original;
    `output` is the original's value up to which Add, Sub, Mul and Div by constants were fused (`fc_output` if none
    were); `conv_output` is the first output of the convolution in the converted model, or of the last of the nodes
    that a fused operator became behind it, or of the last Add where the layer is a sum of convolutions. `scope` is the
    path of the subgraph that holds the layer, as `nodes.scope_path` makes it ("" is the main graph, "function NAME" a
    model-local function).
    """

    node: str
    fc_output: str
    output: str
    conv_output: str
    scope: str = ""
