"""The model with dense tensors instead of its sparse ones.

y = MatMul (x, w), w sparse      ->      y = MatMul (x, w), w an initializer
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from onnx import GraphProto, NodeProto, helper, numpy_helper

from fc2conv.io.forms import dense
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import tensors
from fc2conv.ir.graph import attribute, op, walk
from fc2conv.options import Options
from fc2conv.planning.planner import Plan


def written_out(file: ModelFile, plans: Sequence[Plan], _: Options) -> ModelFile | None:
    """Make sparse tensors dense in a copy of the model; return None where it has none, or all layers are converted."""
    kept = not all(each.converts for plan in plans for each in plan.decisions)
    if not kept or not any(is_sparse for _, is_sparse in tensors(file.model)):
        return None
    model = deepcopy(file.model)
    changed = [_initializers(file, graph) | _constants(file, graph.node) for _, graph in walk(model.graph)]
    return replace(file, model=model) if any(changed) else None


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
