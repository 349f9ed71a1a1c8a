"""Which layer of the original became which convolution, told by names of values."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import ModelProto, NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.verification.nodes import Nodes, graphs

_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_LAYERS = frozenset(
    """Gemm MatMul Einsum FusedGemm FusedMatMul TransposeMatMul QLinearMatMul QGemm MatMulInteger
MatMulIntegerToFloat DynamicQuantizeMatMul""".split()
)
_DEPTH = 5
_MOST = 256
"""Convolutions of which a sum is taken to be one layer."""


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


def at_convolutions(converted: ModelProto, pairs: Sequence[SitePair]) -> list[SitePair]:
    """The pairs, each with the output of the convolution itself, or of the sum of some, behind what was fused."""
    scopes = dict(graphs(converted))
    made = {path: {name: n for n in graph.node for name in n.output if name} for path, graph in scopes.items()}
    return [replace(p, conv_output=_convolution(made.get(p.scope, {}), p.conv_output)) for p in pairs]


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


def recognise(original: ModelFile, converted: ModelFile) -> list[SitePair]:
    """Pairs told from the two files, scope by scope: a convolution that bears the name of a layer which is gone.

    So may the last Add of a sum of convolutions. Those without a name are paired if their own or their outputs' names
    begin with the one layer's output that is gone.
    """
    old, new = dict(graphs(original.model)), dict(graphs(converted.model))
    return [pair for path in old if path in new for pair in _recognised(path, old[path], new[path])]


def _recognised(path: str, original: Nodes, converted: Nodes) -> Iterator[SitePair]:
    kept = {n.output[0] for n in converted.node if n.op_type in _LAYERS and n.output}
    gone = {n.output[0]: n for n in original.node if n.op_type in _LAYERS and n.output}
    gone = {name: node for name, node in gone.items() if name not in kept}
    by_name = {node.name: node for node in gone.values() if node.name}
    there = {n.output[0]: n.op_type for n in original.node if n.output}
    producers = {name: node for node in converted.node for name in node.output if name}
    named: dict[str, str] = {}
    alike: dict[str, dict[str, set[str]]] = {}
    for node in converted.node:
        made = node.output[0] if node.output else ""
        convs = [] if there.get(made) == node.op_type else summands(producers.get, made)
        if convs and node.name in by_name:
            named[by_name[node.name].output[0]] = made
        elif convs and len(owners := {_owner(conv, gone, by_name) for conv in convs}) == 1 and (owner := min(owners)):
            alike.setdefault(owner, {})[made] = {str(conv.output[0]) for conv in convs}
    for name, made in (_united(alike) | named).items():
        node = gone[name]
        output = _with_bias(original, node, summands(producers.get, made))
        yield SitePair(node.name or name, name, output, made, path)


def _owner(conv: NodeProto, gone: Iterable[str], by_name: Container[str]) -> str:
    """The layer's output with which the name of a convolution, or of its result, begins; "" if there is none."""
    if conv.name in by_name:
        return ""
    prefixes = [name for name in gone if conv.output[0].startswith(name) or conv.name.startswith(name)]
    return max(prefixes, key=len, default="")


def _united(alike: Mapping[str, Mapping[str, set[str]]]) -> dict[str, str]:
    """Of several results that are named after one layer, that which all their convolutions are summands of."""
    found: dict[str, str] = {}
    for name, results in alike.items():
        whole = set().union(*results.values())
        found.update((name, made) for made, convs in results.items() if convs == whole)
    return found


def _with_bias(original: Nodes, node: NodeProto, convs: Sequence[NodeProto]) -> str:
    """The value that a layer computes: behind a MatMul's Add, if that is its only reader and a Conv has a bias."""
    name = str(node.output[0])
    readers = [n for n in original.node if name in n.input]
    outputs = {v if isinstance(v, str) else v.name for v in original.output}
    adds = len(readers) == 1 and readers[0].op_type == "Add" and name not in outputs
    fused = "MatMul" in node.op_type and any(c.op_type == "Conv" and len(c.input) > 2 and c.input[2] for c in convs)
    return str(readers[0].output[0]) if adds and fused else name
