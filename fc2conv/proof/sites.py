"""Which layer of the original became which convolution, told by names of values."""

from __future__ import annotations

from dataclasses import dataclass

from fc2conv.onnxfile import ModelFile

_LAYERS = ("Gemm", "MatMul")


@dataclass(frozen=True)
class SitePair:
    """One converted layer.

    `node` is the FC node's name, for messages; `fc_output` is the first output of the Gemm or MatMul in the original;
    `output` is the original's value up to which Add, Sub, Mul and Div by constants were fused (`fc_output` if none
    were); `conv_output` is the first output of the Conv in the converted model. `scope` is the path of
    the subgraph that holds the layer, as `nodes.scope_path` makes it ("" is the main graph).
    """

    node: str
    fc_output: str
    output: str
    conv_output: str
    scope: str = ""


def recognise(original: ModelFile, converted: ModelFile) -> list[SitePair]:
    """Pairs told from the two files: a Conv that bears the name of a layer which is gone.

    A Conv without a name is paired if its output's name begins with the one layer's output that is gone.
    """
    kept = {n.output[0] for n in converted.model.graph.node if n.op_type in _LAYERS and n.output}
    gone = {n.output[0]: n for n in original.model.graph.node if n.op_type in _LAYERS and n.output}
    gone = {name: node for name, node in gone.items() if name not in kept}
    by_name = {node.name: node for node in gone.values() if node.name}
    there = {n.output[0] for n in original.model.graph.node if n.op_type == "Conv" and n.output}
    pairs = []
    for conv in converted.model.graph.node:
        if conv.op_type != "Conv" or conv.domain not in ("", "ai.onnx") or not conv.output or conv.output[0] in there:
            continue
        prefixes = [name for name in gone if conv.output[0].startswith(name)]
        node = by_name.get(conv.name) or (gone[max(prefixes, key=len)] if prefixes else None)
        if node is not None:
            name = node.output[0]
            pairs.append(SitePair(node.name or name, name, name, conv.output[0]))
    return pairs
