"""A sliding network run on a picture of any size, and what it sees laid over the picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from fc2conv.errors import InputError, UsageError
from fc2conv.io.apart import check_apart
from fc2conv.io.files import checked_target, opened, written
from fc2conv.io.parsing import of_json
from fc2conv.io.parts import parts_of
from fc2conv.io.reader import ModelFile, read_model
from fc2conv.ir.validate import check_model
from fc2conv.options import HeatmapOptions
from fc2conv.report.sliding import Seen
from fc2conv.verification.sliding import one_output

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, Any]

_KEY = "fc2conv.geometry."
_RAMP = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
"""Dark to bright, as readable in grey as in colour."""
_COVER = 0.6
_RANK = 4


@dataclass(frozen=True)
class _Axis:
    """One axis of the geometry that the model tells, in pixels; see docs/reference.md."""

    input: str
    dim: int
    size: int
    minimum: int
    stride: float | None
    offset: float | None
    field: float | None


@dataclass(frozen=True)
class _Geometry:
    axes: list[_Axis]
    kind: str
    of: str
    upsampled: bool


def heatmap(
    model: str | os.PathLike[str],
    image: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: HeatmapOptions,
) -> Seen:
    """Runs a sliding network on a picture, and writes the picture with the scores of one class over it."""
    check_apart([("the picture", output)], [*parts_of(model), ("the image", image)])
    checked_target(output)
    file = read_model(model)
    check_model(file.model)
    name, geometry = _geometry(file, options.output)
    value = _input(file, name, geometry)
    picture = _opened(image, options, _channels(value, geometry))
    _check_size(picture, geometry, image)
    scores = one_output(file, {value.name: _array(picture, value, geometry, options)}, name)
    if scores.ndim != _RANK or not scores.size:
        raise InputError(f"{file.path}: {name} is no map of two dimensions", "name another output with --output")
    label = _label(scores, options.label)
    cells = scores[0, label].astype(np.float64)
    if np.isnan(cells).all():
        raise InputError(f"{file.path}: {name} has no number for class {label}", "check --scale, --mean and --std")
    row, column = (int(i) for i in np.unravel_index(int(np.nanargmax(cells)), cells.shape))
    with written(output) as stream:
        _overlay(picture, cells, geometry).save(stream, "PNG")
    left, top, right, bottom = _box(picture, geometry, cells.shape, row, column)
    return Seen(
        output=name,
        label=label,
        score=float(cells[row, column]),
        cell=(row, column),
        cells=(cells.shape[0], cells.shape[1]),
        box=(left, top, right, bottom),
    )


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError:
        raise UsageError("heatmap reads and writes pictures with Pillow", "pip install 'fc2conv[image]'") from None
    return PIL.Image


def _geometry(file: ModelFile, wanted: str | None) -> tuple[str, _Geometry]:
    """The output to draw, and where its cells lie: the one that was named, or the first map."""
    told: dict[str, _Geometry] = {}
    for entry in file.model.metadata_props:
        if str(entry.key).startswith(_KEY):
            try:
                told[entry.key.removeprefix(_KEY)] = msgspec.convert(of_json(entry.value), _Geometry)
            except ValueError as error:
                raise InputError(f"{file.path}: its {entry.key} cannot be read ({error})", "convert it again") from None
    maps = {name: geometry for name, geometry in told.items() if geometry.kind in ("map", "cam")}
    if not maps:
        raise InputError(f"{file.path} has no map of scores", "make it with fc2conv IN OUT --fully-convolutional")
    if wanted is not None and wanted not in maps:
        raise UsageError(f"--output names {wanted!r}, which is no map", f"the maps are {', '.join(maps)}")
    name = wanted if wanted is not None else next(iter(maps))
    if len(maps[name].axes) != _RANK - 2:
        raise InputError(f"{file.path}: {name} is no map of two dimensions", "name another output with --output")
    return name, maps[name]


def _input(file: ModelFile, name: str, geometry: _Geometry) -> ValueInfoProto:
    """The input that the geometry is about; raises InputError where what it says cannot be of this model."""
    first = geometry.axes[0]
    value = next((each for each in file.model.graph.input if each.name == first.input), ValueInfoProto())
    rank = len(value.type.tensor_type.shape.dim)
    dims = {axis.dim for axis in geometry.axes if axis.input == first.input and 0 < axis.dim < rank}
    sizes = [size for axis in geometry.axes for size in (axis.size, axis.minimum)]
    places = [place for axis in geometry.axes for place in (axis.stride, axis.offset, axis.field) if place is not None]
    if len(dims) < len(geometry.axes) or min(sizes) < 1 or not np.isfinite(places).all():
        raise InputError(f"{file.path}: its {_KEY}{name} does not fit its inputs", "convert it again")
    return value


def _channels(value: ValueInfoProto, geometry: _Geometry) -> int:
    """How many channels the network takes: what is neither batch nor spatial."""
    spatial = {axis.dim for axis in geometry.axes}
    rest = [dim.dim_value for i, dim in enumerate(value.type.tensor_type.shape.dim) if i and i not in spatial]
    return rest[0] if rest else 1


def _opened(image: str | os.PathLike[str], options: HeatmapOptions, channels: int) -> Image:
    pillow = _pillow()
    if channels not in (1, 3):
        raise InputError(f"the network takes {channels} channels, and a picture has 1 or 3", "none: feed it yourself")
    try:
        with opened(image) as stream, pillow.open(stream) as found:
            picture: Image = found.convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, pillow.DecompressionBombError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"the picture {image} cannot be read ({why})", "give a PNG or JPEG file") from None
    if options.size is not None:
        picture = picture.resize((options.size[1], options.size[0]))
    return picture


def _check_size(picture: Image, geometry: _Geometry, image: str | os.PathLike[str]) -> None:
    height, width = geometry.axes
    if picture.height < height.minimum or picture.width < width.minimum:
        what = f"the picture {image} is {picture.height}x{picture.width} pixels (height x width)"
        least = f"{height.minimum}x{width.minimum}"
        raise InputError(f"{what}, and the network takes {least} and more", f"enlarge it, as with --size {least}")


def _array(picture: Image, value: ValueInfoProto, geometry: _Geometry, options: HeatmapOptions) -> Array:
    """The picture as the network takes it: (pixel * scale - mean) / std, its dimensions in the input's order."""
    pixels = np.asarray(picture, np.float64)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if options.bgr:
        pixels = pixels[:, :, ::-1]
    kind = value.type.tensor_type.elem_type
    if kind not in (TensorProto.UINT8, TensorProto.INT8):
        for given, name in ((options.mean, "mean"), (options.std, "std")):
            if len(given) not in (1, pixels.shape[2]):
                raise UsageError(f"--{name} has {len(given)} numbers", f"give 1 or {pixels.shape[2]}")
        pixels = (pixels * options.scale - np.array(options.mean)) / np.array(options.std)
    rank = len(value.type.tensor_type.shape.dim)
    height, width = (axis.dim for axis in geometry.axes)
    rest = [dim for dim in range(1, rank) if dim not in (height, width)]
    if len(rest) > 1 or (not rest and pixels.shape[2] > 1):
        raise InputError(f"the input {value.name} is not one picture", "none: feed it yourself")
    if not rest:
        pixels = pixels[:, :, 0]
    order = [({height: 0, width: 1} | dict.fromkeys(rest, 2))[dim] for dim in range(1, rank)]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    return np.ascontiguousarray(pixels.transpose(order)[None].astype(dtype))


def _label(scores: Array, wanted: int | None) -> int:
    if wanted is None:
        return int(np.nan_to_num(scores[0], nan=-np.inf).max(axis=(1, 2)).argmax())
    if not 0 <= wanted < scores.shape[1]:
        raise UsageError(f"there is no class {wanted}", f"the classes are 0 to {scores.shape[1] - 1}")
    return wanted


# ------------------------------------------------------------------ drawing


def _centers(axis: _Axis, cells: int, pixels: int, upsampled: bool) -> Array:
    """The pixel in the middle of each cell's field; cells that read the whole image are spread evenly."""
    if upsampled:
        return np.arange(cells, dtype=np.float64)
    if axis.stride is None or axis.offset is None or axis.field is None:
        return np.asarray((np.arange(cells) + 0.5) * pixels / cells - 0.5)
    return np.asarray(axis.offset + (axis.field - 1) / 2 + axis.stride * np.arange(cells))


def _spread(cells: Array, geometry: _Geometry, height: int, width: int) -> Array:
    """The cells at every pixel: linear between the middles of their fields, level beyond the outermost."""
    rows = _centers(geometry.axes[0], cells.shape[0], height, geometry.upsampled)
    columns = _centers(geometry.axes[1], cells.shape[1], width, geometry.upsampled)
    wide = np.stack([np.interp(np.arange(width), columns, row) for row in cells])
    return np.stack([np.interp(np.arange(height), rows, column) for column in wide.T], axis=1)


def _overlay(picture: Image, cells: Array, geometry: _Geometry) -> Image:
    values = _spread(np.nan_to_num(cells), geometry, picture.height, picture.width)
    low, high = float(values.min()), float(values.max())
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    at = np.linspace(0, 1, len(_RAMP))
    colour = np.stack([np.interp(level, at, _RAMP[:, i]) for i in range(3)], axis=-1)
    below = np.asarray(picture.convert("L"), np.float64)[:, :, None]
    drawn = (1 - _COVER) * below + _COVER * colour
    made: Image = _pillow().fromarray(np.clip(np.round(drawn), 0, 255).astype(np.uint8), "RGB")
    return made


def _box(
    picture: Image, geometry: _Geometry, cells: tuple[int, ...], row: int, column: int
) -> tuple[int, int, int, int]:
    """The pixels of the crop that a cell stands for, within the picture."""
    spans = []
    for axis, i, count, pixels in zip(
        geometry.axes, (row, column), cells, (picture.height, picture.width), strict=True
    ):
        stride = axis.stride
        if geometry.upsampled and stride is not None:
            i = min(int(i * max(1, (pixels - axis.size) // stride + 1) / count), count - 1)
        start = 0 if stride is None else round(i * stride)
        spans.append((start, min(start + axis.size, pixels)))
    (top, bottom), (left, right) = spans
    return left, top, right, bottom
