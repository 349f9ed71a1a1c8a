"""The sizes that all values have at the training size, on which the pass is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto, ValueInfoProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.io.sizes import declared_size
from fc2conv.ir.constants import Constants
from fc2conv.ir.propagation import propagate
from fc2conv.ir.shapes import inferred
from fc2conv.layout.axes import Size
from fc2conv.reasons import Code

_BATCHES = (7, 1)
"""What an open batch is taken to be: a number that divides few others, or 1 where the graph knows no other."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """The known shapes of all values of the main graph, and the numbers that follow from them for every batch."""

    shapes: Mapping[str, Shape]
    numbers: Mapping[str, np.ndarray]


def at_training_size(
    constants: Constants, given: Sequence[ValueInfoProto], overwritten: Mapping[str, Shape]
) -> Training:
    """Return what is known at the training size; inputs of unknown size have no shape."""
    found: list[Training] = []
    seen: list[Mapping[str, Shape]] = []
    for batch in _BATCHES:
        wanted = {value.name: shape for value in given if (shape := _shape(value, batch, overwritten)) is not None}
        if wanted not in seen:
            seen.append(wanted)
            try:
                found.append(_found(constants, given, wanted))
            except InputError:
                continue  # this batch contradicts the graph
    if not found:
        return Training({}, {})
    best = max(found, key=lambda each: len(each.shapes))
    numbers = {
        name: array
        for name, array in best.numbers.items()
        if all(name in other.numbers and np.array_equal(array, other.numbers[name]) for other in found)
    }
    return Training(best.shapes, numbers)


def unknown_from(name: str, constants: Constants, shapes: Mapping[str, Shape]) -> tuple[NodeProto, str]:
    """Find the first node on the way to a value from which on shapes are not known, and tell what helps.

    Its sizes may follow from initializers of a caller.
    """
    graph, maker = constants.graph, name
    while maker:
        first = graph.nodes[graph.producer[maker]]
        before = (each for each in first.input if each in graph.producer and each not in shapes)
        maker = next((each for each in before if not constants.is_constant(each)), "")
    found, left = set[str](), list(first.input[1:])
    while left:
        name = left.pop()
        if name not in found and name in graph.producer:
            left += graph.nodes[graph.producer[name]].input
        found.add(name)
    if any(constants.is_overridable(name) for name in found):
        return first, Code.WEIGHT_OVERRIDABLE.remedy
    return first, "Export the model so that this node gives a known shape, or cut the model before it."


def _found(constants: Constants, given: Sequence[ValueInfoProto], wanted: Mapping[str, Shape]) -> Training:
    inputs = {value.name for value in given}
    known = propagate(constants.graph, constants, inferred(constants.file.model, wanted, constants.graph)[""])
    shapes = {name: shape for name, sizes in known.shapes.items() if (shape := known_shape(sizes)) is not None}
    return Training(
        {name: shape for name, shape in shapes.items() if name in wanted or name not in inputs},
        {name: numbers.array() for name, numbers in known.numbers.items() if numbers.known},
    )


def _shape(value: ValueInfoProto, batch: int, overwritten: Mapping[str, Shape]) -> Shape | None:
    dims = value.type.tensor_type.shape.dim
    given = overwritten.get(value.name) or [declared_size(dim) or 0 for dim in dims]
    sizes = [size or (batch if i == 0 else 0) for i, size in enumerate(given)]
    return tuple(sizes) if sizes and all(sizes) else None


def known_shape(sizes: Sequence[Size]) -> Shape | None:
    """Return sizes as numbers; None where one of them is not known."""
    return tuple(size.coefficient for size in sizes) if all(size.known for size in sizes) else None
