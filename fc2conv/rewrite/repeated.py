"""Weights that are repeated for each item of a batch, instead of their copies: a product repeats them by itself.

    MatMul (x, Expand (w, [N, K, M]))      ->      MatMul (x, w)
    MatMul (Tile (w, [N, 1, 1]), x)        ->      MatMul (w, x)

This is done to a copy of the model, which is planned beside the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx import NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, op
from fc2conv.layout.axes import Size, size_of
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.swap import exchanged, pooled, swap

if TYPE_CHECKING:
    from fc2conv.layout.view import View

_REPEATS = ("Expand", "Tile")


def once(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Let products read weights instead of copies of them; return None where there are none, or all are converted."""
    views = {plan.graph.path: plan.facts.views for plan in plans}
    kept = not all(each.converts for plan in plans for each in plan.decisions)
    if not kept or not any(True for plan in plans for _ in _copies(plan.graph, plan.constants, views[plan.graph.path])):
        return None
    copy = replace(file, model=deepcopy(file.model))
    for graph, constants, _ in pooled(copy, freeze=options.freeze_initializers):
        replaced: dict[int, list[NodeProto]] = {}
        for i, place, weight in _copies(graph, constants, views.get(graph.path, {})):
            node = deepcopy(graph.nodes[i])
            node.input[place] = weight
            replaced[i] = [node]
        if replaced:
            swap(graph, exchanged(graph, replaced))
    return copy


def _copies(graph: Graph, constants: Constants, views: Mapping[str, View]) -> Iterator[tuple[int, int, str]]:
    """Yield each product that reads a weight repeated along dimensions of the other operand: where, and the weight."""
    for i, operands in enumerate(graph.operands):
        for place in (0, 1) if graph.kinds[i] == "MatMul" else ():
            name = operands[place]
            while (maker := graph.made_by(name)) is not None and op(maker) in _REPEATS:
                name = maker.input[0]
            weight = constants.shape(name)
            whole, other = (_shape(views.get(operands[each])) for each in (place, 1 - place))
            if name != operands[place] and weight and whole and other and _repeats(weight, whole, other):
                yield i, place, name


def _repeats(weight: Sequence[int], whole: Sequence[Size], other: Sequence[Size]) -> bool:
    """Return whether a matrix is repeated along dimensions of the same sizes in the other operand of its product."""
    batches = zip(whole[-3::-1], other[-3::-1], strict=False)
    return (
        len(weight) >= 2
        and set(weight[:-2]) <= {1}
        and [*map(Size, weight[-2:])] == [*whole[-2:]]
        and len(whole) <= len(other)
        and all(size in (there, Size(1)) for size, there in batches)
    )


def _shape(view: View | None) -> list[Size] | None:
    return None if view is None else [size_of(dim) for dim in view.dims]
