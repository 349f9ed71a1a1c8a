"""Other forms of a model, planned beside the model itself: in a copy a layer may see more of a map, or be constant.

CastLike (0.5, x [float16])            ->      Cast <to = float16> (0.5)
MatMul (x, w), w sparse                ->      MatMul (x, w), w an initializer
MatMul (x, Expand (w, [N, K, M]))      ->      MatMul (x, w), as a product repeats a weight by itself
MatMul (Tile (w, [N, 1, 1]), x)        ->      MatMul (w, x)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from fc2conv.io.forms import dense
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import tensors
from fc2conv.ir.constants import Constants
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.graph import Graph, attribute, int_attribute, label, new_node, op, walk
from fc2conv.layout.axes import Size, size_of
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite import functions
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import Replaced, exchanged

if TYPE_CHECKING:
    from fc2conv.layout.view import View

_REPEATS = ("Expand", "Tile")
_READS = frozenset(("SequenceAt", "ConcatFromSequence"))


def named_types(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Replace CastLike by Cast where the type is known, so that it reads no value for its type alone."""
    if not any("CastLike" in plan.graph.kinds for plan in plans):
        return None

    def casts(graph: Graph, _: Constants, __: Pool) -> Replaced:
        made = {i: as_cast(graph, node) for i, node in enumerate(graph.nodes)}
        return {i: [node] for i, node in made.items() if node is not graph.nodes[i]}

    return exchanged(file, casts, freeze=options.freeze_initializers)


def written_out(file: ModelFile, plans: Sequence[Plan], _: Options) -> ModelFile | None:
    """Make sparse tensors dense; return None where the model has none, or all layers are converted."""
    if not _keeps(plans) or not any(is_sparse for _, is_sparse in tensors(file.model)):
        return None
    model = deepcopy(file.model)
    changed = [_initializers(file, graph) | _constants(file, graph.node) for _, graph in walk(model.graph)]
    return replace(file, model=model) if any(changed) else None


def _keeps(plans: Sequence[Plan]) -> bool:
    return not all(each.converts for plan in plans for each in plan.decisions)


def _initializers(file: ModelFile, graph: GraphProto) -> bool:
    arrays = [dense(file, each) for each in graph.sparse_initializer]
    for i, array in reversed(list(enumerate(arrays))):
        if array is not None:
            name = graph.sparse_initializer[i].values.name
            graph.initializer.append(numpy_helper.from_array(array, name))
            del graph.sparse_initializer[i]
    return any(array is not None for array in arrays)


def _constants(file: ModelFile, nodes: Sequence[NodeProto]) -> bool:
    changed = False
    for node in nodes:
        found = attribute(node, "sparse_value") if op(node) == "Constant" else None
        array = None if found is None else dense(file, found.sparse_tensor)
        if array is not None:
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(array)))
            changed = True
    return changed


def once(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Let products read weights instead of copies of them for each item; return None where all are converted."""
    views = {plan.graph.path: plan.facts.views for plan in plans}
    if not _keeps(plans) or not any(_copies(plan.graph, plan.constants, plan.facts.views) for plan in plans):
        return None

    def products(graph: Graph, constants: Constants, _: Pool) -> Replaced:
        replaced: Replaced = {}
        for i, place, weight in _copies(graph, constants, views.get(graph.path, {})):
            node = deepcopy(graph.nodes[i])
            node.input[place] = weight
            replaced[i] = [node]
        return replaced

    return exchanged(file, products, freeze=options.freeze_initializers)


def _copies(graph: Graph, constants: Constants, views: Mapping[str, View]) -> list[tuple[int, int, str]]:
    """Return the products that read a weight repeated along dimensions of the other operand: where, and the weight."""
    out = []
    for i, operands in enumerate(graph.operands):
        for place in (0, 1) if graph.kinds[i] == "MatMul" else ():
            name = operands[place]
            while (maker := graph.made_by(name)) is not None and op(maker) in _REPEATS:
                name = maker.input[0]
            weight = constants.shape(name)
            whole, other = (_shape(views.get(operands[each])) for each in (place, 1 - place))
            if name != operands[place] and weight and whole and other and _repeats(weight, whole, other):
                out.append((i, place, name))
    return out


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


def taken_apart(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Replace reads of known items in a copy of the model; return None where there are none, or none would help."""
    if not functions.hidden(plans, options) or all(_READS.isdisjoint(plan.graph.kinds) for plan in plans):
        return None
    model = functions.inlined(file.model) or file.model
    return exchanged(replace(file, model=model), _taken, freeze=options.freeze_initializers)


def _taken(graph: Graph, constants: Constants, pool: Pool) -> Replaced:
    """Return the nodes that read what a sequence is made of instead of it, where that is known."""
    rules = {"SequenceAt": _item, "ConcatFromSequence": _joined}
    nodes = ((i, node, rules.get(op(node))) for i, node in enumerate(graph.nodes))
    made = {i: rule(graph, constants, pool, node) for i, node, rule in nodes if rule is not None}
    return {i: new for i, new in made.items() if new}


def _items(graph: Graph, constants: Constants, name: str) -> list[str] | None:
    """Return the tensors that were put into a sequence; None where one or its place is not known."""
    node = graph.made_by(name)
    kind = "" if node is None else op(node)
    if node is not None and kind in ("SequenceConstruct", "SequenceEmpty"):
        return list(node.input)
    if node is None or kind not in ("SequenceInsert", "SequenceErase"):
        return None
    inserts, found = kind == "SequenceInsert", _items(graph, constants, node.input[0])
    if found is None:
        return None
    given = node.input[1 + inserts : 2 + inserts]
    places = constants.ints(given[0]) if any(given) else (len(found) if inserts else -1,)
    if places is None or len(places) != 1 or not -len(found) <= places[0] < len(found) + inserts:
        return None
    if inserts:
        found.insert(places[0], node.input[1])
    else:
        del found[places[0]]
    return found


def _joined(graph: Graph, constants: Constants, pool: Pool, node: NodeProto) -> list[NodeProto]:
    sequence = graph.made_by(node.input[0])
    axis, new = (int_attribute(node, name, 0) for name in ("axis", "new_axis"))
    if sequence is not None and op(sequence) == "SplitToSequence":
        apart = len(sequence.input) < 2 and not int_attribute(sequence, "keepdims", 1)
        same = axis == int_attribute(sequence, "axis", 0) and not new and not apart
        return [new_node("Identity", sequence.input[:1], node.output, label(node))] if same else []
    items = _items(graph, constants, node.input[0])
    if not items:
        return []
    wide = [pool.unique(f"{name}_item") if new else name for name in items]
    pairs = zip(items, wide, strict=True) if new else ()
    made = [pool.node("Unsqueeze", [a], b, "", graph.opset, wanted=b, axes=(axis,)) for a, b in pairs]
    return [*made, new_node("Concat", wide, node.output, label(node), axis=axis)]


def _item(graph: Graph, constants: Constants, pool: Pool, node: NodeProto) -> list[NodeProto]:
    """Return the node that takes an item from what a sequence is made of; [] where that is not known."""
    sequence = graph.made_by(node.input[0])
    places = constants.ints(node.input[1]) if sequence is not None else None
    if sequence is None or places is None or len(places) != 1:
        return []
    (place,) = places
    items = _items(graph, constants, node.input[0])
    if items is not None:
        found = items[place : place + 1 or None]
        return [new_node("Identity", found, node.output, label(node))] if found else []
    if op(sequence) != "SplitToSequence":
        return []
    whole, axis = sequence.input[0], int_attribute(sequence, "axis", 0)
    if len(sequence.input) < 2:
        at = np.array(place if not int_attribute(sequence, "keepdims", 1) else [place], np.int64)
        return [new_node("Gather", [whole, pool.value(at, "place")], node.output, label(node), axis=axis)]
    sizes, shape = constants.ints(sequence.input[1]), constants.shape(sequence.input[1])
    if sizes is None or (place < 0 and not shape) or (shape and not -len(sizes) <= place < len(sizes)):
        return []
    start = sum(sizes[: place % len(sizes)]) if shape else place * sizes[0]
    ends = (start, start + sizes[place if shape else 0], axis)
    names = [pool.value(np.array([end]), name) for end, name in zip(ends, ("start", "end", "axis"), strict=True)]
    return [new_node("Slice", [whole, *names], node.output, label(node))]
