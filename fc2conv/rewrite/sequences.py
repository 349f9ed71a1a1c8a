"""Items of sequences as what they are made of, so that layouts are followed through them.

    SequenceAt (SplitToSequence <axis> (x, 2), 1)     ->  Slice (x, 2, 4, axis)
    SequenceAt (SequenceConstruct (x, y), 1)          ->  Identity (y)
    ConcatFromSequence <axis> (SequenceConstruct (x, y))           ->  Concat <axis> (x, y)
    ConcatFromSequence <axis> (SplitToSequence <axis> (x, 2))      ->  Identity (x)

SequenceEmpty, SequenceInsert and SequenceErase are followed as well.

This is done to a copy of the model, which is planned beside the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, int_attribute, label, new_node, op
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite import functions
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import Replaced, exchanged

_READS = frozenset(("SequenceAt", "ConcatFromSequence"))


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
