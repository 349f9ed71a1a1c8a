"""Writes a Reshape in place of layout operators that a target lacks.

Flatten(x)  ->  Reshape(x, [0, -1])
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from fc2conv.dataclass import dataclass
from fc2conv.io.choices import of_open_inputs
from fc2conv.io.forms import declared_shapes
from fc2conv.ir.graph import label, new_node, op, opset_versions, walk
from fc2conv.ir.shapes import inferred
from fc2conv.ir.subgraph_shapes import Shapes
from fc2conv.layout.relayout import reshape_target

_REGROUPING = frozenset(["Flatten", "Squeeze", "Unsqueeze"])
_READS_NUMBERS = 5
_INITIALIZERS_ALONE = 4


def without(model: ModelProto, lacks: Collection[str], input_shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Changes a model: Reshapes in place of what is lacking, where their targets are constants; whether any is."""
    gone = _REGROUPING & set(lacks) if "Reshape" not in lacks else frozenset[str]()
    scopes = [(path, graph) for path, graph in walk(model.graph) if any(op(node) in gone for node in graph.node)]
    if not scopes:
        return False
    versions = opset_versions(model)
    opset = next((versions[domain] for domain in ("", "ai.onnx") if domain in versions), 1)
    shapes = inferred(model, of_open_inputs(input_shapes, declared_shapes(model)))
    taken = {name for _, graph in walk(model.graph) for name in _names(graph)}
    rewriter = _Rewriter(gone, taken, opset, model.ir_version)
    changed = [rewriter.rewrite(graph, shapes.get(path, {})) for path, graph in reversed(scopes)]
    return any(changed)


@dataclass
class _Rewriter:
    """Rewrites scopes, an inner one before that which holds it."""

    gone: frozenset[str]
    taken: set[str]
    opset: int
    ir_version: int

    def rewrite(self, graph: GraphProto, shapes: Shapes) -> bool:
        """Changes one scope; whether anything is lacking there that can be written."""
        nodes: list[NodeProto] = []
        changed = False
        for node in graph.node:
            target = _target(node, shapes) if op(node) in self.gone else None
            if target is not None:
                nodes += self._reshape(graph, node, target)
                changed = True
            else:
                nodes.append(NodeProto.FromString(node.SerializeToString()))
        graph.ClearField("node")
        graph.node.extend(nodes)
        return changed

    def _reshape(self, graph: GraphProto, node: NodeProto, target: tuple[int, ...]) -> list[NodeProto]:
        if self.opset < _READS_NUMBERS:
            return [new_node("Reshape", [node.input[0]], node.output, node.name, shape=list(target))]
        shape = f"{label(node)}_shape"
        while shape in self.taken:
            shape += "_"
        self.taken.add(shape)
        tensor = numpy_helper.from_array(np.array(target, np.int64), shape)
        reshape = new_node("Reshape", [node.input[0], shape], node.output, node.name)
        if self.ir_version < _INITIALIZERS_ALONE:  # below, an initializer is an input, and a body can have none
            return [new_node("Constant", [], [shape], "", value=tensor), reshape]
        graph.initializer.append(tensor)
        return [reshape]


def _target(node: NodeProto, shapes: Shapes) -> tuple[int, ...] | None:
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    return None if before is None or after is None else reshape_target(before, after)


def _names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    yield from (each.name for each in (*graph.input, *graph.output, *graph.initializer))
