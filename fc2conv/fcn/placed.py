"""Where a sliding model says that its cells lie, what of an image some of them need, and the memory of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, lcm, prod

import msgspec
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.fcn.training import known_shape
from fc2conv.io.escape import counted
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import Graph, int_attribute, reads
from fc2conv.ir.layer_operators import CONVOLUTIONS
from fc2conv.ir.shapes import inferred
from fc2conv.report.sliding import AxisGeometry
from fc2conv.verification.spec import Sizes

KEY = "fc2conv.geometry."
"""What the keys of `metadata_props` begin with that say where the cells of an output lie."""


PICTURE = 2
"""The spatial dimensions of a picture."""


class Axis(AxisGeometry, frozen=True, kw_only=True):
    """One axis of the geometry that a model gives, of which older ones say less."""

    step: int = 1
    remainders: list[int] = msgspec.field(default_factory=lambda: [0])

    @property
    def runs(self) -> Sizes:
        """The sizes on which the network runs."""
        return Sizes(self.minimum, self.step, tuple(self.remainders))

    @property
    def pace(self) -> int:
        """The number of pixels by which an image moves so that the map moves by whole cells and its size still runs."""
        return lcm(self.period or max(1, round(self.stride or 1)), self.step)

    def middle(self, cell: float) -> float:
        """Return the pixel in the middle of a cell."""
        first = (self.size - 1) / 2 if self.center is None else self.center
        return first + (self.stride or 0) * cell

    def nearest(self, pixel: float) -> int:
        """Return the cell whose middle is nearest to a pixel."""
        return round((pixel - self.middle(0)) / self.stride) if self.stride else 0

    def crop(self, cell: int) -> tuple[int, int]:
        """Return the first pixel of the crop in whose middle a cell lies, and the one after its last pixel."""
        first = ceil(self.middle(cell) - (self.size - 1) / 2 - 1e-6)
        return first, first + self.size

    def needed(self, first: int, last: int, pixels: int) -> tuple[int, int, int]:
        """Return the pixels that give the cells `first` to `last` as the whole image does, and their first cell.

        A crop that begins inside the image reads padding at its rim, so that the cells that begin in front of it are
        left out. It begins at a multiple of the period, and ends a whole number of periods before the image does.
        """
        assert self.stride is not None
        assert self.offset is not None
        assert self.field is not None
        begun = max(0, ceil(-self.offset / self.stride))
        start = self.pace * max(0, floor((first - begun) * self.stride / self.pace))
        before = round(start / self.stride)
        end = max(
            ceil(self.offset + self.stride * last + self.field),
            start + ceil(self.minimum + self.stride * (last - before)),
        )
        return start, pixels - self.pace * max(0, (pixels - end) // self.pace), before


@dataclass(frozen=True)
class Placed:
    axes: list[Axis]
    kind: str
    of: str
    upsampled: bool = False


def placed(file: ModelFile, wanted: str | None, dimensions: int | None = PICTURE) -> tuple[str, Placed]:
    """Return the output to look at, and where its cells lie: the one that was named, or the first map.

    Raise InputError where it has another number of spatial dimensions than `dimensions`.
    """
    found: dict[str, Placed] = {}
    for entry in file.model.metadata_props:
        if str(entry.key).startswith(KEY):
            try:
                found[entry.key.removeprefix(KEY)] = msgspec.convert(of_json(entry.value), Placed)
            except ValueError as error:
                raise InputError(f"{file.path}: its {entry.key} cannot be read ({error})", "convert it again") from None
    maps = {name: geometry for name, geometry in found.items() if geometry.kind in ("map", "cam")}
    if not maps:
        raise InputError(f"{file.path} has no map of scores", "make it with fc2conv IN OUT --fully-convolutional")
    if wanted is not None and wanted not in maps:
        raise UsageError(f"--output names {wanted!r}, which is no map", f"the maps are {', '.join(maps)}")
    name = wanted if wanted is not None else next(iter(maps))
    if dimensions is not None and len(maps[name].axes) != dimensions:
        along = counted(len(maps[name].axes), "dimension")
        what = f"{file.path}: {name} slides along {along}, and a picture has two"
        raise InputError(what, "name another output, or give arrays to fc2conv.run_sliding in Python")
    return name, maps[name]


def image_input(file: ModelFile, name: str, geometry: Placed) -> ValueInfoProto:
    """Return the input that the geometry is about; raise InputError where the geometry cannot be of this model."""
    first = geometry.axes[0]
    value = next((each for each in file.model.graph.input if each.name == first.input), ValueInfoProto())
    rank = len(value.type.tensor_type.shape.dim)
    dims = {axis.dim for axis in geometry.axes if axis.input == first.input and 0 <= axis.dim < rank}
    sizes = [size for axis in geometry.axes for size in (axis.size, axis.minimum, axis.step, axis.pace)]
    if len(dims) < len(geometry.axes) or min(sizes) < 1 or not all(map(_possible, geometry.axes)):
        raise InputError(f"{file.path}: its {KEY}{name} does not fit its inputs", "convert it again")
    weights = {tensor.name for tensor in file.model.graph.initializer}
    rest = [each.name for each in file.model.graph.input if each.name not in weights | {value.name}]
    if rest:
        what = f"{file.path} reads {', '.join(rest)} beside the image {value.name}"
        raise InputError(what, "run it with onnxruntime, which takes all inputs")
    return value


def _possible(axis: Axis) -> bool:
    places = [each for each in (axis.stride, axis.offset, axis.field, axis.center) if each is not None]
    runs = all(0 <= rest < axis.step for rest in axis.remainders) and bool(axis.remainders)
    return runs and bool(np.isfinite(places).all()) and (axis.stride is None or axis.stride > 0)


def interpolated(cells: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate along the last dimension at fractional places: linear between cells, level beyond the outermost."""
    last = cells.shape[-1] - 1
    low = np.clip(np.floor(at).astype(int), 0, last)
    high = np.minimum(low + 1, last)
    share = np.clip(at - low, 0, 1)
    found: np.ndarray = cells[..., low] * (1 - share) + cells[..., high] * share
    return found


# ------------------------------------------------------------------ the memory of a run


_BYTES, _WIDE = 4, 8
_UNFOLDED = {"Conv": _BYTES, "FusedConv": _BYTES, "QLinearConv": 1, "ConvInteger": 1}
"""Convolutions, and the bytes of an element of what they unfold before they multiply."""
_IN_PLACE = frozenset((*UNARY, *BROADCAST))


def working_set(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Compute the most bytes that are alive at once where inputs have these shapes, beside the weights.

    A value is alive from the node that makes it to the last that reads it; what works on each element may write over
    it. One of unknown shape is taken to be as large as the largest that its node reads.
    """
    found = inferred(model, shapes)[""]
    graph = Graph.of(model)
    wide = any(each.data_type == TensorProto.DOUBLE for each in graph.initializers.values())
    known = {name: shape for name, sizes in found.items() if (shape := known_shape(sizes)) is not None} | dict(shapes)
    bytes_of = {name: prod(shape) * (_WIDE if wide else _BYTES) for name, shape in known.items()}
    weights = {name: list(tensor.dims) for name, tensor in graph.initializers.items()}
    last = {name: i for i, node in enumerate(graph.nodes) for name in reads([node])}
    kept = set(graph.outputs) | set(shapes)
    alive = sum(bytes_of[name] for name in shapes)
    most = alive
    for i, node in enumerate(graph.nodes):
        operands = [name for name in dict.fromkeys(reads([node])) if name not in weights]
        largest = max((bytes_of.get(name, 0) for name in operands), default=0)
        made = sum(bytes_of.setdefault(name, largest) for name in node.output if name)
        dying = [bytes_of.get(name, 0) for name in operands if last[name] == i and name not in kept]
        inside = made if node.op_type in _IN_PLACE and made in dying else 0
        most = max(most, alive + made - inside + _unfolded(node, weights, known))
        alive += made
        done = {name for name in (*operands, *node.output) if name and last.get(name, -1) <= i and name not in kept}
        alive -= sum(bytes_of.get(name, 0) for name in done)
    return most


def _unfolded(node: NodeProto, weights: Mapping[str, Sequence[int]], known: Mapping[str, tuple[int, ...]]) -> int:
    """Return the bytes that a convolution unfolds: of integers, or of floats if the weight has more rows than cells."""
    if node.op_type not in _UNFOLDED:
        return 0
    kernel = weights.get(node.input[CONVOLUTIONS.get(node.op_type, 1)])
    made = known.get(node.output[0])
    if kernel is None or made is None:
        return 0
    cells, each = prod(made[2:]), prod(kernel[1:]) * _UNFOLDED[node.op_type]
    whole = _UNFOLDED[node.op_type] == 1 or cells < kernel[0] // max(1, int_attribute(node, "group", 1))
    return cells * each if whole and prod(kernel[2:]) > 1 else 0
