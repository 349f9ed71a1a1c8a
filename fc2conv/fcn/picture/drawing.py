"""Scores laid over a picture, one class or several on a sheet, with a legend that says what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.fcn.picture.reading import grey, pillow
from fc2conv.fcn.placed import Axis, Placed, interpolated

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[int, int, int, int]

_RAMP = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
"""Dark to bright, as readable in grey as in colour."""
_COLOURS = np.stack([np.interp(np.linspace(0, 4, 256), range(5), _RAMP[:, i]) for i in range(3)], axis=-1)
_BAND = 256
"""How many rows of pixels are drawn at once."""
_PANEL = 480
"""The longer side of a picture on a sheet of several, in pixels at most."""
_LINE, _GAP, _NARROW = 20, 8, 300
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class Panel:
    """The scores [rows, columns] of one class, what is said of it, and the box of its best cell."""

    cells: np.ndarray
    caption: str
    box: Box


@dataclass(frozen=True)
class Style:
    """The scores that are drawn darkest and brightest, how much of the picture they cover, and what else is drawn."""

    low: float
    high: float
    opacity: float
    boxes: bool
    legend: bool


def sheet(pixels: np.ndarray, panels: Sequence[Panel], geometry: Placed, style: Style) -> Image:
    """Draw one picture of full size, or a sheet with the picture itself and one panel for each class."""
    if len(panels) == 1:
        drawn = _overlaid(pixels, panels[0], geometry, style)
        return _with_legend(drawn, [panels[0].caption], style) if style.legend else drawn
    share = min(1.0, _PANEL / max(pixels.shape[:2]))
    small = _reduced(pixels, share)
    plain: Image = pillow().fromarray(
        np.ascontiguousarray(np.broadcast_to(small.round(), (*small.shape[:2], 3)), np.uint8)
    )
    pictures = [plain, *(_overlaid(small, panel, geometry, style, pixels.shape[:2]) for panel in panels)]
    captions = ["the picture", *(panel.caption for panel in panels)]
    wide, high = max(plain.width, _NARROW), plain.height + _LINE
    across = ceil(sqrt(len(pictures)))
    down = ceil(len(pictures) / across)
    page = pillow().new("RGB", (across * (wide + _GAP) - _GAP, down * (high + _GAP) - _GAP), _PAPER)
    for i, (each, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = i % across * (wide + _GAP), i // across * (high + _GAP)
        page.paste(each, (left, top))
        _written(page, caption, left, top + plain.height + 2, wide)
    return _with_legend(page, [], style)


def _reduced(pixels: np.ndarray, share: float) -> np.ndarray:
    """Resize the pixels to a share of their size, each channel by itself."""
    if share == 1:
        return pixels
    height, width = (max(1, round(size * share)) for size in pixels.shape[:2])
    channels = [pillow().fromarray(np.ascontiguousarray(pixels[:, :, i])) for i in range(pixels.shape[2])]
    return np.stack([np.asarray(each.resize((width, height))) for each in channels], axis=2)


def _overlaid(
    pixels: np.ndarray, panel: Panel, geometry: Placed, style: Style, full: tuple[int, int] | None = None
) -> Image:
    """Draw a picture in grey with the scores of one class over it, linear between the middles of the cells.

    `full` is the size (height, width) of the picture that was run, where this is a smaller one.
    """
    height, width = pixels.shape[:2]
    scale = [whole / size for whole, size in zip(full or pixels.shape[:2], (height, width), strict=True)]
    rows, columns = (
        _places(axis, (np.arange(size, dtype=np.float32) + 0.5) * by - 0.5, geometry.upsampled)
        for axis, size, by in zip(geometry.axes, (height, width), scale, strict=True)
    )
    wide = interpolated(np.nan_to_num(panel.cells.astype(np.float32), nan=style.low), columns)
    drawn = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND):
        band = slice(top, top + _BAND)
        values = interpolated(wide.T, rows[band]).T
        share = (values - style.low) / (style.high - style.low) if style.high > style.low else np.zeros_like(values)
        colour = _COLOURS[np.clip(np.round(share * 255), 0, 255).astype(np.uint8)]
        below = grey(pixels[band])[:, :, None]
        drawn[band] = np.clip(np.round((1 - style.opacity) * below + style.opacity * colour), 0, 255)
    made: Image = pillow().fromarray(drawn)
    if style.boxes:
        left, top, right, bottom = panel.box
        down, across = scale
        _framed(made, (round(left / across), round(top / down), round(right / across), round(bottom / down)))
    return made


def _places(axis: Axis, pixels: np.ndarray, upsampled: bool) -> np.ndarray:
    if upsampled:
        return pixels
    return np.zeros_like(pixels) if axis.stride is None else np.asarray((pixels - axis.middle(0)) / axis.stride)


def _framed(drawn: Image, box: Box) -> None:
    from PIL import ImageDraw

    left, top, right, bottom = box
    thick = max(1, round(max(drawn.size) / 400))
    pen = ImageDraw.Draw(drawn)
    for grow, colour in ((thick, (0, 0, 0)), (0, (255, 255, 255))):
        corners = [(left - grow, top - grow), (right - 1 + grow, bottom - 1 + grow)]
        pen.rectangle(corners, outline=colour, width=thick + 2 * grow)


def _with_legend(drawn: Image, captions: Sequence[str], style: Style) -> Image:
    """Draw lines of text below a picture, and the colours from the lowest to the highest score."""
    width = max(drawn.width, _NARROW)
    page: Image = pillow().new("RGB", (width, drawn.height + (len(captions) + 2) * _LINE + _GAP), _PAPER)
    page.paste(drawn, (0, 0))
    top = drawn.height + 2
    for caption in captions:
        _written(page, caption, _GAP // 2, top, width)
        top += _LINE
    long = min(width - _GAP, 3 * _NARROW)
    shades = np.broadcast_to(_COLOURS[np.linspace(0, 255, long).astype(np.uint8)].round(), (_LINE - 6, long, 3))
    page.paste(pillow().fromarray(np.ascontiguousarray(shades, np.uint8)), (_GAP // 2, top + 3))
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        said = f"{style.low + (style.high - style.low) * share:.4g}"
        _written(page, said, round(_GAP // 2 + share * (long - 1)), top + _LINE, width, anchor)
    return page


def _written(page: Image, text: str, left: int, top: int, width: int, anchor: str = "la") -> None:
    """Write a line of text, cut to the width."""
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    pen = ImageDraw.Draw(page)
    while len(text) > 1 and pen.textlength(text, font) > width - _GAP:
        text = f"{text[:-2]}…"
    pen.text((left, top), text, _INK, font, anchor=anchor)
