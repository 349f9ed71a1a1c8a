"""Which layer of the original became which convolution, told by names of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import ModelProto, NodeProto

from fc2conv.onnxfile import ModelFile
from fc2conv.proof.convs import KERNELS
from fc2conv.proof.nodes import Nodes, graphs

_LAYERS = frozenset(
    """Gemm MatMul Einsum FusedGemm FusedMatMul TransposeMatMul QLinearMatMul QGemm MatMulInteger
MatMulIntegerToFloat DynamicQuantizeMatMul""".split()
)
_DEPTH = 4


@dataclass(frozen=True)
class SitePair:
    """One converted layer.

    `node` is the FC node's name, for messages; `fc_output` is the first output of the layer's node in the original;
    `output` is the original's value up to which Add, Sub, Mul and Div by constants were fused (`fc_output` if none
    were); `conv_output` is the first output of the convolution in the converted model, or of the last of the nodes
    that a fused operator became behind it. `scope` is the path of the subgraph that holds the layer, as
    `nodes.scope_path` makes it ("" is the main graph, "function NAME" a model-local function).
    """

    node: str
    fc_output: str
    output: str
    conv_output: str
    scope: str = ""


def at_convolutions(converted: ModelProto, pairs: Sequence[SitePair]) -> list[SitePair]:
    """The pairs, each with the output of the convolution itself, from which a fused operator's result is made."""
    scopes = dict(graphs(converted))
    made = {path: {name: n for n in graph.node for name in n.output if name} for path, graph in scopes.items()}
    return [replace(p, conv_output=_convolution(made.get(p.scope, {}), p.conv_output)) for p in pairs]


def _convolution(producers: Mapping[str, NodeProto], name: str) -> str:
    """The nearest convolution behind a value; the value itself if there is none."""
    level = [name]
    for _ in range(_DEPTH):
        nodes = [node for name in level if (node := producers.get(name)) is not None]
        found = next((node for node in nodes if _is_convolution(node)), None)
        if found is not None:
            return str(found.output[0])
        level = [name for node in nodes for name in node.input if name]
    return name


def _is_convolution(node: NodeProto) -> bool:
    return node.op_type in KERNELS and node.domain in ("", "ai.onnx")


def recognise(original: ModelFile, converted: ModelFile) -> list[SitePair]:
    """Pairs told from the two files, scope by scope: a convolution that bears the name of a layer which is gone.

    One without a name is paired if its output's name begins with the one layer's output that is gone.
    """
    old, new = dict(graphs(original.model)), dict(graphs(converted.model))
    return [pair for path in old if path in new for pair in _recognised(path, old[path], new[path])]


def _recognised(path: str, original: Nodes, converted: Nodes) -> Iterator[SitePair]:
    kept = {n.output[0] for n in converted.node if n.op_type in _LAYERS and n.output}
    gone = {n.output[0]: n for n in original.node if n.op_type in _LAYERS and n.output}
    gone = {name: node for name, node in gone.items() if name not in kept}
    by_name = {node.name: node for node in gone.values() if node.name}
    there = {n.output[0] for n in original.node if _is_convolution(n) and n.output}
    named: dict[str, NodeProto] = {}
    alike: dict[str, list[NodeProto]] = {}
    for conv in converted.node:
        if not _is_convolution(conv) or not conv.output or conv.output[0] in there:
            continue
        if conv.name in by_name:
            named[by_name[conv.name].output[0]] = conv
        elif prefixes := [name for name in gone if conv.output[0].startswith(name)]:
            alike.setdefault(max(prefixes, key=len), []).append(conv)
    # A layer that became the sum of several convolutions is none of them.
    found = {name: convs[0] for name, convs in alike.items() if len(convs) == 1} | named
    for name, conv in found.items():
        node = gone[name]
        yield SitePair(node.name or name, name, _with_bias(original, node, conv), conv.output[0], path)


def _with_bias(original: Nodes, node: NodeProto, conv: NodeProto) -> str:
    """The value that a layer computes: behind a MatMul's Add, if that is its only reader and the Conv has a bias."""
    name = str(node.output[0])
    readers = [n for n in original.node if name in n.input]
    outputs = {v if isinstance(v, str) else v.name for v in original.output}
    adds = len(readers) == 1 and readers[0].op_type == "Add" and name not in outputs
    fused = "MatMul" in node.op_type and conv.op_type == "Conv" and len(conv.input) > 2 and conv.input[2]
    return str(readers[0].output[0]) if adds and fused else name
