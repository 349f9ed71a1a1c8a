"""The sizes that all values have at the training size, on which the pass is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from fc2conv.axes import Size
from fc2conv.constants import Constants
from fc2conv.errors import InputError
from fc2conv.onnxfile import declared_size
from fc2conv.shapes import inferred

_BATCHES = (7, 1)
"""What an open batch is taken to be: a number that divides few others, or 1 where the graph knows no other."""

_SHORT = 64
Shape = tuple[int, ...]


def training_shapes(
    constants: Constants, given: Sequence[ValueInfoProto], overwritten: Mapping[str, Shape]
) -> dict[str, Shape]:
    """The known shapes of all values of the main graph; inputs whose size nobody knows have none."""
    best: dict[str, Shape] = {}
    model = _folded(constants)
    for batch in _BATCHES:
        wanted = {value.name: shape for value in given if (shape := _shape(value, batch, overwritten)) is not None}
        try:
            found = inferred(model, wanted, constants.graph.overridable)[""]
        except InputError:
            continue  # this batch contradicts the graph
        shapes = {name: known for name, sizes in found.items() if (known := _known(sizes)) is not None}
        shapes = {name: shape for name, shape in shapes.items() if name in wanted or not _is_input(name, given)}
        if len(shapes) > len(best):
            best = shapes
    return best


def _folded(constants: Constants) -> ModelProto:
    """A copy of the model in which short lists of integers that nodes compute of constants are constants.

    Inference does not follow all that exporters write there, such as the pads of a Pad out of other lists.
    """
    model = ModelProto()
    model.CopyFrom(constants.file.model)
    for node in model.graph.node:
        if len(node.output) == 1 and node.op_type != "Constant" and constants.is_constant(node.output[0]):
            values = constants.array(node.output[0]) if constants.ints(node.output[0]) is not None else None
            if values is not None and values.size <= _SHORT and values.dtype == np.int64:
                tensor = numpy_helper.from_array(np.array(values))
                node.CopyFrom(helper.make_node("Constant", [], list(node.output), name=node.name, value=tensor))
    return model


def _is_input(name: str, given: Sequence[ValueInfoProto]) -> bool:
    return any(value.name == name for value in given)


def _shape(value: ValueInfoProto, batch: int, overwritten: Mapping[str, Shape]) -> Shape | None:
    dims = value.type.tensor_type.shape.dim
    given = overwritten.get(value.name) or [declared_size(dim) or 0 for dim in dims]
    sizes = [size or (batch if i == 0 else 0) for i, size in enumerate(given)]
    return tuple(sizes) if sizes and all(sizes) else None


def _known(sizes: Sequence[Size]) -> Shape | None:
    return tuple(size.coefficient for size in sizes) if all(size.known for size in sizes) else None
