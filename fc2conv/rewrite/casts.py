"""CastLike as a Cast to the type that it is like, so that it reads no value for its type alone.

    CastLike (0.5, x [float16])      ->      Cast <to = float16> (0.5)

This is done to a copy of the model, which is planned beside the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from fc2conv.io.reader import ModelFile
from fc2conv.ir.element_types import as_cast
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.swap import exchanged, pooled, swap


def named_types(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Replace CastLike by Cast where the type is known, in a copy of the model; return None where it never is."""
    if not any("CastLike" in plan.graph.kinds for plan in plans):
        return None
    copy, changed = replace(file, model=deepcopy(file.model)), False
    for graph, _, _ in pooled(copy, freeze=options.freeze_initializers):
        made = {i: as_cast(graph, node) for i, node in enumerate(graph.nodes)}
        replaced = {i: [node] for i, node in made.items() if node is not graph.nodes[i]}
        if replaced:
            swap(graph, exchanged(graph, replaced))
            changed = True
    return copy if changed else None
