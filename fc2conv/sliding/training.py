"""The sizes that all values have at the training size, on which the pass is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto

from fc2conv.axes import Size
from fc2conv.errors import InputError
from fc2conv.onnxfile import ModelFile
from fc2conv.shapes import inferred

_BATCHES = (7, 1)
"""What an open batch is taken to be: a number that divides few others, or 1 where the graph knows no other."""

Shape = tuple[int, ...]


def training_shapes(
    file: ModelFile, given: Sequence[ValueInfoProto], overwritten: Mapping[str, Shape]
) -> dict[str, Shape]:
    """The known shapes of all values of the main graph; inputs whose size nobody knows have none."""
    best: dict[str, Shape] = {}
    for batch in _BATCHES:
        wanted = {value.name: shape for value in given if (shape := _shape(value, batch, overwritten)) is not None}
        try:
            found = inferred(file.model, wanted)[""]
        except InputError:
            continue  # this batch contradicts the graph
        shapes = {name: known for name, sizes in found.items() if (known := _known(sizes)) is not None}
        shapes = {name: shape for name, shape in shapes.items() if name in wanted or not _is_input(name, given)}
        if len(shapes) > len(best):
            best = shapes
    return best


def _is_input(name: str, given: Sequence[ValueInfoProto]) -> bool:
    return any(value.name == name for value in given)


def _shape(value: ValueInfoProto, batch: int, overwritten: Mapping[str, Shape]) -> Shape | None:
    dims = value.type.tensor_type.shape.dim
    if value.name in overwritten:
        return overwritten[value.name]
    sizes = [dim.dim_value if dim.dim_value > 0 else batch if i == 0 else 0 for i, dim in enumerate(dims)]
    return tuple(sizes) if sizes and all(sizes) else None


def _known(sizes: Sequence[Size]) -> Shape | None:
    return tuple(size.coefficient for size in sizes) if all(size.known for size in sizes) else None
