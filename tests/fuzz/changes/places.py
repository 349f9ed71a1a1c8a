"""Where a model is changed, what may come there, and what a change is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

UNKNOWN = (b"\xaa\x3f\x05hello", b"\xa8\x3f\x96\x01", b"\xad\x3f\0\0\0\0", b"\xa9\x3f\0\0\0\0\0\0\0\0")
"""A field 1013 that no message of ONNX has, of each wire type."""

INTEGERS = (-(1 << 63), -(1 << 31), -5, -2, -1, 0, 0, 1, 1, 2, 3, 4, 7, 8, 16, 1000, 1 << 20, 1 << 31, (1 << 63) - 1)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
DOMAINS = ("", "", "ai.onnx", "com.microsoft", "ai.onnx.ml", "local", "\N{SNOWMAN}")
TYPES = (*range(29), 99, -1)
NAMES = ("", "x", "y", "N", "../../etc", "a\nb", "\x1b[31m", "\N{SNOWMAN}", "n" * 300)

Random: TypeAlias = random.Random
Change: TypeAlias = Callable[[ModelProto, Random], None]


def all_graphs(model: ModelProto) -> list[GraphProto]:
    found, todo = [], [model.graph]
    while todo:
        graph = todo.pop()
        found.append(graph)
        todo += [each.g for node in graph.node for each in node.attribute if each.HasField("g")]
    return found


def all_nodes(model: ModelProto) -> list[NodeProto]:
    nodes = [node for graph in all_graphs(model) for node in graph.node]
    return nodes + [node for function in model.functions for node in function.node]


def any_node(model: ModelProto, own: Random) -> NodeProto:
    return own.choice(all_nodes(model))


def any_tensor(model: ModelProto, own: Random) -> TensorProto:
    tensors = [tensor for graph in all_graphs(model) for tensor in graph.initializer]
    tensors += [each.t for node in all_nodes(model) for each in node.attribute if each.HasField("t")]
    return own.choice(tensors)


def any_attribute(model: ModelProto, own: Random) -> AttributeProto:
    return own.choice([each for node in all_nodes(model) for each in node.attribute])


def any_name(model: ModelProto, own: Random) -> str:
    """Mostly a name of the model, now and then another."""
    names = [name for node in all_nodes(model) for name in (*node.input, *node.output)]
    return own.choice(NAMES) if own.random() < 0.15 or not names else own.choice(names)


def any_value(model: ModelProto, own: Random) -> Any:
    graph = own.choice(all_graphs(model))
    return own.choice([*graph.input, *graph.output, *graph.value_info])


def sort_last(model: ModelProto, own: Random) -> None:
    """Moves the last node in front of the first that reads its result."""
    del own
    nodes = list(model.graph.node)
    last = nodes.pop()
    at = next((i for i, node in enumerate(nodes) if set(node.input) & set(last.output)), len(nodes))
    nodes.insert(at, last)
    kept = ModelProto()
    kept.graph.node.extend(nodes)
    model.graph.ClearField("node")
    model.graph.node.extend(kept.graph.node)
