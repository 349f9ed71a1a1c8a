"""Writes a Reshape in place of layout operators that a target lacks.

Flatten(x)  ->  Reshape(x, [0, -1])
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto

from fc2conv.io.choices import of_open_inputs
from fc2conv.io.forms import declared_shapes
from fc2conv.ir.graph import OWN_INITIALIZERS, label, new_node, onnx_opset, op, opset_versions, walk
from fc2conv.ir.shapes import inferred
from fc2conv.ir.subgraph_shapes import Shapes
from fc2conv.layout.relayout import reshape_target
from fc2conv.rewrite.pool import Pool

_REGROUPING = frozenset(["Flatten", "Squeeze", "Unsqueeze"])


def without(model: ModelProto, lacks: Collection[str], input_shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Changes a model: Reshapes in place of what is lacking, where their targets are constants; whether any is."""
    gone = _REGROUPING & set(lacks) if "Reshape" not in lacks else frozenset[str]()
    scopes = [(path, graph) for path, graph in walk(model.graph) if any(op(node) in gone for node in graph.node)]
    if not scopes:
        return False
    shapes = inferred(model, of_open_inputs(input_shapes, declared_shapes(model)))
    taken = {name for _, graph in walk(model.graph) for name in _names(graph)}
    changed = [_rewrite(model, graph, gone, shapes.get(path, {}), taken) for path, graph in reversed(scopes)]
    return any(changed)


def _rewrite(model: ModelProto, graph: GraphProto, gone: frozenset[str], shapes: Shapes, taken: set[str]) -> bool:
    """Changes one scope, an inner one before that which holds it; whether anything is lacking there."""
    nodes, changed = list[NodeProto](), False
    opset = onnx_opset(opset_versions(model))
    for node in graph.node:
        target = _target(node, shapes) if op(node) in gone else None
        if target is None:
            nodes.append(NodeProto.FromString(node.SerializeToString()))
            continue
        pool, changed = Pool((), taken, {}), True
        made = node.output[0]
        reshape = pool.node("Reshape", node.input[:1], made, node.name, opset, wanted=label(node), shape=target)
        if model.ir_version < OWN_INITIALIZERS:
            nodes += [new_node("Constant", [], [tensor.name], "", value=tensor) for tensor in pool.new]
        else:
            graph.initializer.extend(pool.new)
        nodes.append(reshape)
    graph.ClearField("node")
    graph.node.extend(nodes)
    return changed


def _target(node: NodeProto, shapes: Shapes) -> tuple[int, ...] | None:
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    return None if before is None or after is None else reshape_target(before, after)


def _names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    yield from (each.name for each in (*graph.input, *graph.output, *graph.initializer))
