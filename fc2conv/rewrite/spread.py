"""Functions of each element before a Concat instead of after it, so that a layer reads the Concat itself.

    Relu (Concat (map, vector)) -> layer      ->      Concat (Relu (map), Relu (vector)) -> layer

Constants beside the operand (a norm's parameters, a factor for each feature) are cut as the parts are. The layer is
then the sum of one convolution for each part. This is done to a copy of the model, which is planned beside
the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto

from fc2conv.analysis.norms import norm_factors
from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import OWN, Graph, int_attribute, label, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.layout.axes import size_of
from fc2conv.options import Options
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import Replaced, exchanged

if TYPE_CHECKING:
    from fc2conv.layout.view import View
    from fc2conv.planning.planner import Plan
    from fc2conv.rewrite.qdq import Layers

_OF_EACH = frozenset(
    """Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Mish Abs Neg Sqrt Clip
Identity Dropout""".split()
)
_LAYOUT = frozenset("Reshape Flatten Squeeze Transpose".split())
_EITHER = frozenset("Add Sub Mul Div".split())
"""Functions of each element of either operand."""
_ROUNDS = frozenset({*OWN, *OWN.values()})
"""Functions of each element where they have one scale."""
_NORM = "BatchNormalization"
_BROADCASTS = 7
"""The opset from which on operands broadcast, as they do in the sum of the parts, and a norm has no options."""

Views = Mapping[str, Mapping[str, "View"]]
"""The views of values, by the path of their scope, then by name."""


@dataclass(frozen=True)
class _Chain:
    """A Concat and the functions between it and a layer, from the layer up, each with the operand that it reads.

    `ends` are where the `parts` begin and end along `axis`, and `rank` is that of the parts.
    """

    nodes: tuple[int, ...]
    operands: tuple[int, ...]
    axis: int
    rank: int
    ends: tuple[int, ...]
    parts: tuple[str, ...]


def spread(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Move functions before a Concat where a layer behind them is no sum of its parts; return None without any."""
    views = {plan.graph.path: plan.facts.views for plan in plans}
    decisions = ((plan.graph, each) for plan in plans for each in plan.decisions)
    apart = ((graph, each.index) for graph, each in decisions if each.facts is not None and not each.facts.branches)
    layers = frozenset((graph.path, label(graph.nodes[i])) for graph, i in apart)
    if not any("Concat" in plan.graph.kinds and _chains(plan.graph, plan.constants, layers, views) for plan in plans):
        return None

    def parts(graph: Graph, constants: Constants, pool: Pool) -> Replaced:
        replaced: Replaced = {}
        for chain in _chains(graph, constants, layers, views):
            replaced |= {at: [] for at in chain.nodes} | {chain.nodes[0]: _apart(graph, constants, chain, pool)}
        return replaced

    return exchanged(file, parts, freeze=options.freeze_initializers)


def _chains(graph: Graph, constants: Constants, layers: Layers, views: Views) -> list[_Chain]:
    """Return the chains between a Concat and each of the layers, where these are functions of each element."""
    found = (
        _behind_concat(graph, constants, node, views.get(graph.path, {}))
        for node, kind in zip(graph.nodes, graph.kinds, strict=True)
        if kind in LAYER_OPERATORS and (graph.path, label(node)) in layers
    )
    return [chain for chain in found if chain is not None]


def _behind_concat(graph: Graph, constants: Constants, layer: NodeProto, views: Mapping[str, View]) -> _Chain | None:
    """Return the functions between a layer and a Concat, and the Concat; None where others read them too."""
    nodes: list[int] = []
    operands: list[int] = []
    name = layer.input[0]
    while (at := graph.producer.get(name)) is not None:
        node = graph.nodes[at]
        if graph.only_reader(name) is None or len([each for each in node.output if each]) != 1:
            return None
        nodes.append(at)
        if op(node) == "Concat":
            return _joined(graph, node, nodes, operands, views)
        operand = 0 if _keeps_shape(node, views) else _operand(constants, node)
        if operand is None:
            return None
        operands.append(operand)
        name = node.input[operand]
    return None


def _joined(
    graph: Graph, concat: NodeProto, nodes: Sequence[int], operands: Sequence[int], views: Mapping[str, View]
) -> _Chain | None:
    """Return the chain after a Concat of parts of known widths; None where it is empty, or adds dimensions."""
    own, read = (views.get(name) for name in (concat.output[0], graph.nodes[nodes[0]].output[0]))
    if not operands or own is None or read is None or len(read.dims) != len(own.dims):
        return None
    rank = len(own.dims)
    axis = int_attribute(concat, "axis", 1) % rank
    names = tuple(graph.joined(concat, axis, rank, lambda _: True))
    parts = [views[name] for name in names if name in views]
    if len(parts) < len(names):
        return None
    widths = [size_of(part.dims[axis]) for part in parts]
    if not all(width.known for width in widths):
        return None
    ends = accumulate((width.coefficient for width in widths), initial=0)
    return _Chain(tuple(nodes), tuple(operands), axis, rank, tuple(ends), names)


def _keeps_shape(node: NodeProto, views: Mapping[str, View]) -> bool:
    """Return whether a node that may change a shape gives its operand as it is."""
    if op(node) not in _LAYOUT:
        return False  # it may read nothing
    read, made = (views.get(name) for name in (node.input[0], node.output[0]))
    return read is not None and made is not None and read.dims == made.dims


def _operand(constants: Constants, node: NodeProto) -> int | None:
    """Return the position of the one operand of a function of each element, whose others are constants; else None."""
    if constants.graph.opset < _BROADCASTS:
        return None
    if op(node) in _OF_EACH:
        return 0
    if op(node) not in (*_EITHER, *_ROUNDS, "PRelu", _NORM) or int_attribute(node, "training_mode", 0):
        return None
    computed = [i for i, name in enumerate(node.input) if not constants.computable(name)]
    if len(computed) != 1 or (computed[0] and op(node) not in _EITHER):
        return None
    if op(node) in _ROUNDS and any(constants.shape(name) not in ((), (1,)) for name in node.input[1:] if name):
        return None
    if not int_attribute(node, "spatial", 1):
        return None
    if op(node) == _NORM and norm_factors(node, [constants.array(name) for name in node.input[1:5]], 2) is None:
        return None
    return computed[0]


def _apart(graph: Graph, constants: Constants, chain: _Chain, pool: Pool) -> list[NodeProto]:
    """Return the functions of each part, and the Concat of their results; add the parts of constants to the pool."""
    *functions, concat = (graph.nodes[at] for at in chain.nodes)
    out: list[NodeProto] = []
    joined = deepcopy(concat)
    del joined.input[:]
    for i, (part, ends) in enumerate(zip(chain.parts, pairwise(chain.ends), strict=True)):
        cut = _Cut(chain, ends, pool)
        for function, operand in reversed(list(zip(functions, chain.operands, strict=True))):
            arrays = [constants.array(name) if k != operand else None for k, name in enumerate(function.input)]
            for new in _of_part(function, operand, arrays, cut):
                new.input[operand], part = part, pool.unique(f"{function.output[0]}_{i}")
                new.output[0] = part
                new.name = pool.unique(f"{label(function)}_{i}")
                out.append(new)
        joined.input.append(part)
    joined.output[0] = functions[0].output[0]
    return [*out, joined]


@dataclass(frozen=True)
class _Cut:
    """One part of a Concat, which begins and ends here along its axis."""

    chain: _Chain
    ends: tuple[int, int]
    pool: Pool

    def of(self, name: str, values: np.ndarray) -> str:
        """Return the part of a constant that belongs to this part; all of it where it does not run along the axis."""
        axis = self.chain.axis - self.chain.rank + values.ndim
        if not 0 <= axis < values.ndim or values.shape[axis] != self.chain.ends[-1]:
            return name
        return self.pool.value(values.take(range(*self.ends), axis), f"{name}_{self.ends[0]}")


def _of_part(node: NodeProto, operand: int, arrays: Sequence[np.ndarray | None], cut: _Cut) -> list[NodeProto]:
    """Return a function of one part; a norm along the axis becomes a factor and an addend, as on spatial forms."""
    if op(node) in _LAYOUT:
        return []
    new = deepcopy(node)
    if op(node) in _OF_EACH or (op(node) == _NORM and cut.chain.axis != 1):
        return [new]
    if op(node) == _NORM:
        factors = norm_factors(node, arrays[1:5], cut.chain.rank)
        assert factors is not None
        slope, shift = (cut.of(node.input[k], each) for k, each in enumerate(factors, 1))
        return [
            NodeProto(op_type=kind, input=["", name], output=[""]) for kind, name in (("Mul", slope), ("Add", shift))
        ]
    for k, values in enumerate(arrays):
        if k != operand and values is not None:
            new.input[k] = cut.of(node.input[k], values)
    return [new]
