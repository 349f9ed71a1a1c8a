"""Functions of each element in front of a Concat in place of behind it, so that a layer reads the Concat itself.

    Relu (Concat (map, vector)) -> layer      ->      Concat (Relu (map), Relu (vector)) -> layer

The layer is then the sum of one convolution for each part. This is done to a copy of the model, which is planned beside
the model itself.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx import NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import Graph, label, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.scopes import scopes
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import swap_nodes

if TYPE_CHECKING:
    from fc2conv.rewrite.qdq import Layers

_OF_EACH = frozenset(
    """Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Mish Abs Neg Sqrt Clip
Identity Dropout""".split()
)


def spread(file: ModelFile, layers: Layers, *, freeze: bool) -> ModelFile | None:
    """The model in which these layers read what is put side by side; None where they do so, or read nothing such."""
    if not any(_chains(graph, layers) for graph, _ in scopes(file, freeze=freeze)):
        return None
    copy = replace(file, model=deepcopy(file.model))
    found = list(scopes(copy, freeze=freeze))
    pool = Pool((), {name for graph, _ in found for name in graph.names}, {})
    for graph, _ in reversed(found):
        replaced: dict[int, list[NodeProto]] = {}
        for chain in _chains(graph, layers):
            replaced |= {at: [] for at in chain} | {chain[0]: _apart(graph, chain, pool)}
        swap_nodes(graph, replaced)
    return copy


def _chains(graph: Graph, layers: Layers) -> list[list[int]]:
    """What is between a Concat and each of the layers, where that is functions of each element."""
    found = (
        _behind_concat(graph, node)
        for node in graph.nodes
        if op(node) in LAYER_OPERATORS and (graph.path, label(node)) in layers
    )
    return [chain for chain in found if len(chain) > 1]


def _behind_concat(graph: Graph, layer: NodeProto) -> list[int]:
    """The functions between a layer and a Concat, and that; none where others read them too."""
    out: list[int] = []
    name = layer.input[0]
    while (at := graph.producer.get(name)) is not None:
        node = graph.nodes[at]
        alone = len(graph.uses[name]) == 1 and name not in graph.captured and name not in graph.outputs
        if not alone or len([each for each in node.output if each]) != 1:
            return []
        out.append(at)
        if op(node) == "Concat":
            return out
        if op(node) not in _OF_EACH:
            return []
        name = node.input[0]
    return []


def _apart(graph: Graph, chain: list[int], pool: Pool) -> list[NodeProto]:
    """The functions of each part, and the Concat of their results."""
    *functions, concat = (graph.nodes[at] for at in chain)
    out: list[NodeProto] = []
    joined = deepcopy(concat)
    for i, part in enumerate(concat.input):
        for function in reversed(functions):
            new = deepcopy(function)
            new.input[0], part = part, pool.unique(f"{function.output[0]}_{i}")
            new.output[0] = part
            new.name = pool.unique(f"{label(function)}_{i}")
            out.append(new)
        joined.input[i] = part
    joined.output[0] = functions[0].output[0]
    return [*out, joined]
