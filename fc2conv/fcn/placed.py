"""Where a sliding model says that the cells of its maps lie, and what of an image some of them need."""

from __future__ import annotations

from functools import cached_property
from math import ceil, floor, lcm

import msgspec
import numpy as np
from onnx import ValueInfoProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.io.escape import counted
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.verification.spec import Sizes

KEY = "fc2conv.geometry."
"""What the keys of `metadata_props` begin with that say where the cells of an output lie."""


PICTURE = 2
"""The spatial dimensions of a picture."""


@dataclass(frozen=True)
class Axis:
    """One axis of the geometry that the model gives, in pixels; see docs/sliding-reference.md."""

    input: str
    dim: int
    size: int
    minimum: int
    stride: float | None
    offset: float | None
    field: float | None
    period: int | None = None
    center: float | None = None
    step: int = 1
    remainders: tuple[int, ...] = (0,)

    @property
    def runs(self) -> Sizes:
        """The sizes on which the network runs."""
        return Sizes(self.minimum, self.step, self.remainders)

    @cached_property
    def every(self) -> int:
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
        start = self.every * max(0, floor((first - begun) * self.stride / self.every))
        before = round(start / self.stride)
        end = max(
            ceil(self.offset + self.stride * last + self.field),
            start + ceil(self.minimum + self.stride * (last - before)),
        )
        return start, pixels - self.every * max(0, (pixels - end) // self.every), before


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
    sizes = [size for axis in geometry.axes for size in (axis.size, axis.minimum, axis.step, axis.every)]
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
