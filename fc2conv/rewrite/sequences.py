"""Items of sequences as what they are made of, so that layouts are followed through them.

    SequenceAt (SplitToSequence <axis> (x, 2), 1)     ->  Slice (x, 2, 4, axis)
    SequenceAt (SequenceConstruct (x, y), 1)          ->  Identity (y)

This is done to a copy of the model, which is planned beside the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, int_attribute, label, new_node, op
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import exchanged, pooled, swap


def taken_apart(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """The model without items of known places; None where there are none, or all layers are converted."""
    kept = not all(each.converts for plan in plans for each in plan.decisions)
    if not kept or not any(op(node) == "SequenceAt" for plan in plans for node in plan.graph.nodes):
        return None
    copy, changed = replace(file, model=deepcopy(file.model)), False
    for graph, constants, pool in pooled(copy, freeze=options.freeze_initializers):
        items = {i: _item(graph, constants, pool, node) for i, node in enumerate(graph.nodes)}
        replaced = {i: [new] for i, new in items.items() if new is not None}
        if replaced:
            swap(graph, exchanged(graph, replaced), pool.new)
            changed = True
    return copy if changed else None


def _item(graph: Graph, constants: Constants, pool: Pool, node: NodeProto) -> NodeProto | None:
    """The node that takes an item from what a sequence is made of; None where that is not known."""
    sequence = graph.made_by(node.input[0]) if op(node) == "SequenceAt" else None
    places = constants.ints(node.input[1]) if sequence is not None else None
    if sequence is None or places is None or len(places) != 1:
        return None
    (place,) = places
    if op(sequence) == "SequenceConstruct":
        found = list(sequence.input)[place : place + 1 or None]
        return new_node("Identity", found, node.output, label(node)) if found else None
    if op(sequence) != "SplitToSequence":
        return None
    whole, axis = sequence.input[0], int_attribute(sequence, "axis", 0)
    if len(sequence.input) < 2:
        at = np.array(place if not int_attribute(sequence, "keepdims", 1) else [place], np.int64)
        return new_node("Gather", [whole, pool.value(at, "place")], node.output, label(node), axis=axis)
    sizes, shape = constants.ints(sequence.input[1]), constants.shape(sequence.input[1])
    if sizes is None or (place < 0 and not shape) or (shape and not -len(sizes) <= place < len(sizes)):
        return None
    start = sum(sizes[: place % len(sizes)]) if shape else place * sizes[0]
    ends = (start, start + sizes[place if shape else 0], axis)
    names = [pool.value(np.array([end]), name) for end, name in zip(ends, ("start", "end", "axis"), strict=True)]
    return new_node("Slice", [whole, *names], node.output, label(node))
