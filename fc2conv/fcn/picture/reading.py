"""A picture as a person sees it, whatever its file holds, and as a network takes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.fcn.placed import Placed
from fc2conv.io.files import opened
from fc2conv.options import HeatmapOptions

if TYPE_CHECKING:
    from PIL.Image import Image


_DEEP = 257
"""What a 16-bit pixel is divided by, so that 65535 is 255."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def pillow() -> Any:
    """Return Pillow's Image; raise UsageError where Pillow is not installed."""
    try:
        import PIL.Image
    except ImportError:
        raise UsageError("heatmap reads and writes pictures with Pillow", "pip install 'fc2conv[image]'") from None
    PIL.Image.MAX_IMAGE_PIXELS = None  # what is too large meets the memory limit of this process
    return PIL.Image


def read_picture(path: str | os.PathLike[str], channels: int, size: tuple[int, int] | None) -> np.ndarray:
    """Read the pixels [height, width, channels] of a file, from 0 to 255, as a viewer shows them.

    The picture is turned as its EXIF orientation says, what is transparent is laid on white, and 16 bits become
    fractions. `size` is the (height, width) to which it is resized.
    """
    library = pillow()
    if channels not in (1, 3):
        what = f"the network takes {channels} channels, and a picture has 1 or 3"
        raise InputError(what, "feed it from Python, with fc2conv.run_sliding")
    try:
        from PIL import ImageOps

        with opened(path) as stream, library.open(stream) as found:
            picture = _eight_bits(ImageOps.exif_transpose(found), channels)
        if size is not None:
            picture = picture.resize((size[1], size[0]))
    except (OSError, ValueError, SyntaxError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        why = "Pillow knows no such format" if isinstance(error, library.UnidentifiedImageError) else why
        raise InputError(f"the picture {path} cannot be read ({why})", "give a PNG or JPEG file") from None
    pixels = np.asarray(picture)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    pixels = np.clip(pixels, 0, 255) if pixels.dtype != np.uint8 else pixels  # bicubic goes beyond
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


def _eight_bits(picture: Image, channels: int) -> Image:
    """Convert the picture to the mode L, RGB or, for 16 bits, F."""
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).astype(np.float32)
        if deep.size and not 0 <= deep.min() <= deep.max() < 1 << 16:
            raise ValueError("its pixels have more than 16 bits")
        made: Image = pillow().fromarray(deep / _DEEP)
        return made
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers of no known range")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        white = pillow().new("RGBA", clear.size, (255, 255, 255, 255))
        picture = pillow().alpha_composite(white, clear)
    return picture.convert("L" if channels == 1 else "RGB")


def grey(pixels: np.ndarray) -> np.ndarray:
    """Compute the brightness of pixels [height, width, channels], as float32."""
    if pixels.shape[2] == 1:
        return pixels[:, :, 0].astype(np.float32)
    return np.asarray(pixels @ _GREY, np.float32)


@dataclass(frozen=True)
class Feed:
    """How pixels become what the network takes: (pixel * scale - mean) / std, its dimensions in the input's order."""

    options: HeatmapOptions
    channels: int
    order: tuple[int, ...]
    batched: bool
    dtype: Any

    def shape(self, pixels: np.ndarray) -> tuple[int, ...]:
        """Return the shape of the network's input for a picture."""
        sizes = tuple(pixels.shape[dim] for dim in self.order)
        return (1, *sizes) if self.batched else sizes

    def cut(self, pixels: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return a part of a picture as the network takes it."""
        part = pixels[rows, columns]
        part = part[:, :, ::-1] if self.options.bgr else part
        if np.issubdtype(self.dtype, np.integer):
            values = part
        else:
            values = part.astype(np.float32)
            values *= self.options.scale
            values -= np.array(self.options.mean, np.float32)
            values /= np.array(self.options.std, np.float32)
        values = values[:, :, 0] if len(self.order) == 2 else values
        values = values.transpose(self.order).astype(self.dtype, copy=False)
        return values[None] if self.batched else values


def feed(value: ValueInfoProto, geometry: Placed, options: HeatmapOptions) -> Feed:
    """Return how pictures are fed; raise UsageError unless mean and std have 1 number or one for each channel."""
    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    height, width = (axis.dim for axis in geometry.axes)
    first = 0 if 0 in (height, width) else 1  # the one after the batch, where there is one
    rest = [dim for dim in range(first, len(dims)) if dim not in (height, width)]
    channels = dims[rest[0]].dim_value if rest else 1
    if kind == TensorProto.INT8:
        what = f"{value.name} is int8, and a picture has values from 0 to 255"
        raise InputError(what, "feed it from Python, with fc2conv.run_sliding")
    plain = kind == TensorProto.UINT8
    for given, name in ((options.mean, "mean"), (options.std, "std")):
        if not plain and len(given) not in (1, channels):
            raise UsageError(f"--{name} has {len(given)} numbers", f"give 1 or {channels}")
    if len(rest) > 1 or (not rest and channels > 1):
        raise InputError(f"the input {value.name} is not one picture", "feed it from Python, with fc2conv.run_sliding")
    places = {height: 0, width: 1} | dict.fromkeys(rest, 2)
    order = tuple(places[dim] for dim in range(first, len(dims)))
    return Feed(options, channels, order, first > 0, helper.tensor_dtype_to_np_dtype(kind))
