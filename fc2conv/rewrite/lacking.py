"""Writes a Reshape instead of layout operators that a target lacks.

Flatten(x)  ->  Reshape(x, [0, -1])
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence

from onnx import NodeProto

from fc2conv.io.choices import of_open_inputs
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label, op, walk
from fc2conv.ir.shapes import inferred
from fc2conv.layout.axes import Size
from fc2conv.layout.relayout import reshape_target
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import Replaced, exchange

_REGROUPING = frozenset(["Flatten", "Squeeze", "Unsqueeze"])


def without(file: ModelFile, lacks: Collection[str], input_shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Replace operators that a target lacks by Reshapes where their targets are constants; return whether any is."""
    gone = _REGROUPING & set(lacks) if "Reshape" not in lacks else frozenset[str]()
    if not any(op(node) in gone for _, graph in walk(file.model.graph) for node in graph.node):
        return False
    given = of_open_inputs(input_shapes, declared_shapes(file.model))
    inferences = [inferred(file.model, {}), *([inferred(file.model, given)] if given else [])]

    def reshapes(graph: Graph, _: Constants, pool: Pool) -> Replaced:
        scopes = [ChainMap(*(shapes.get(each.path, {}) for each in graph.around)) for shapes in inferences]
        replaced: Replaced = {}
        for i, node in enumerate(graph.nodes):
            target = _target(scopes, node) if op(node) in gone else None
            if target is not None:
                result, wanted = node.output[0], label(node)
                new = pool.node("Reshape", node.input[:1], result, node.name, graph.opset, wanted=wanted, shape=target)
                replaced[i] = [new]
        return replaced

    return exchange(file, reshapes, {}, freeze=True)


def _target(scopes: Sequence[Mapping[str, Sequence[Size]]], node: NodeProto) -> tuple[int, ...] | None:
    """Return the target by the first shapes that tell one: the model's own, then those with the caller's sizes."""
    for known in scopes:
        before, after = known.get(node.input[0]), known.get(node.output[0])
        target = None if before is None or after is None else reshape_target(before, after)
        if target is not None:
            return target
    return None
