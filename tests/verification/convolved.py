"""The convolutions that a layer became, for faults to be planted in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from onnx import ModelProto, NodeProto

from fc2conv.ir.graph import walk
from fc2conv.rewrite.converted import Converted

Layers = list[tuple[str, Converted]]

_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_DEPTH = 5
_MOST = 256
"""Convolutions of which a sum is taken to be one layer."""


def at_convolutions(converted: ModelProto, layers: Layers) -> Layers:
    """The layers by scope, each with the output of the convolution itself, or of the sum of some."""
    scopes = dict(walk(converted.graph))
    made = {path: {name: n for n in graph.node for name in n.output if name} for path, graph in scopes.items()}
    return [(scope, replace(p, conv_output=_convolution(made.get(scope, {}), p.conv_output))) for scope, p in layers]


def summands(producer: Callable[[str], NodeProto | None], name: str) -> list[NodeProto]:
    """The convolutions of which a value is the sum, by Adds alone; one for its own result, none for other values."""
    found: list[NodeProto] = []
    stack = [name]
    while stack:
        node = producer(stack.pop())
        if node is None or not (_is_convolution(node) or _is_sum(node)):
            return []
        if _is_convolution(node):
            found.append(node)
        else:
            stack.extend(reversed(node.input))
        if len(found) + len(stack) > _MOST:
            return []
    return found


def _is_sum(node: NodeProto) -> bool:
    return node.op_type == "Add" and node.domain in ("", "ai.onnx") and len(node.input) == 2


def _convolution(producers: Mapping[str, NodeProto], name: str) -> str:
    """The nearest convolution behind a value; the value itself if there is none, or if it is a sum of some."""
    if summands(producers.get, name):
        return name
    level = [name]
    for _ in range(_DEPTH):
        nodes = [node for name in level if (node := producers.get(name)) is not None]
        found = next((node for node in nodes if _is_convolution(node)), None)
        if found is not None:
            return str(found.output[0])
        level = [name for node in nodes for name in node.input if name]
    return name


def _is_convolution(node: NodeProto) -> bool:
    return node.op_type in _CONVOLUTIONS and node.domain in ("", "ai.onnx")
