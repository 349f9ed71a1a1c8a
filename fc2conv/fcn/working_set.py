"""How much memory a run of a model takes, from the shapes of its values: so that a tile is chosen before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.fcn.training import known_shape
from fc2conv.ir.graph import Graph, int_attribute, reads
from fc2conv.ir.shapes import inferred

_BYTES, _WIDE = 4, 8
_UNFOLDED = {"Conv": _BYTES, "FusedConv": _BYTES, "QLinearConv": 1, "ConvInteger": 1}
"""Convolutions, and the bytes of an element of what they unfold before they multiply."""

_IN_PLACE = frozenset((*UNARY, *BROADCAST))


def working_set(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Compute the most bytes that are alive at once where inputs have these shapes, beside the weights.

    A value is alive from the node that makes it to the last that reads it; what works on each element may write over
    it. One of unknown shape is taken to be as large as the largest that its node reads.
    """
    found = inferred(model, shapes)[""]
    graph = Graph.of(model)
    wide = any(each.data_type == TensorProto.DOUBLE for each in graph.initializers.values())
    known = {name: shape for name, sizes in found.items() if (shape := known_shape(sizes)) is not None} | dict(shapes)
    bytes_of = {name: prod(shape) * (_WIDE if wide else _BYTES) for name, shape in known.items()}
    weights = {name: list(tensor.dims) for name, tensor in graph.initializers.items()}
    last = {name: i for i, node in enumerate(graph.nodes) for name in reads([node])}
    kept = set(graph.outputs) | set(shapes)
    alive = sum(bytes_of[name] for name in shapes)
    most = alive
    for i, node in enumerate(graph.nodes):
        operands = [name for name in dict.fromkeys(reads([node])) if name not in weights]
        largest = max((bytes_of.get(name, 0) for name in operands), default=0)
        made = sum(bytes_of.setdefault(name, largest) for name in node.output if name)
        dying = [bytes_of.get(name, 0) for name in operands if last[name] == i and name not in kept]
        inside = made if node.op_type in _IN_PLACE and made in dying else 0
        most = max(most, alive + made - inside + _unfolded(node, weights, known))
        alive += made
        done = {name for name in (*operands, *node.output) if name and last.get(name, -1) <= i and name not in kept}
        alive -= sum(bytes_of.get(name, 0) for name in done)
    return most


def _unfolded(node: NodeProto, weights: Mapping[str, Sequence[int]], known: Mapping[str, tuple[int, ...]]) -> int:
    """Return the bytes that a convolution unfolds: of integers, or of floats if the weight has more rows than cells."""
    if node.op_type not in _UNFOLDED:
        return 0
    kernel = weights.get(node.input[3 if node.op_type == "QLinearConv" else 1])
    made = known.get(node.output[0])
    if kernel is None or made is None:
        return 0
    cells, each = prod(made[2:]), prod(kernel[1:]) * _UNFOLDED[node.op_type]
    whole = _UNFOLDED[node.op_type] == 1 or cells < kernel[0] // max(1, int_attribute(node, "group", 1))
    return cells * each if whole and prod(kernel[2:]) > 1 else 0
