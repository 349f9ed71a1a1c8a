"""Draws docs/cells.svg: where the cells of a map lie on an image, in the four ways of docs/sliding.md.

    python docs/cells.py

Each panel is made from what `fc2conv` writes into the file of fixtures/mini_vgg.onnx. A filled dot is the middle of a
cell that reads pixels alone, a hollow one that of a cell that reads padding; the frame is the crop of the first cell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fc2conv
from fc2conv import Options, SlidingOptions

ROOT = Path(__file__).parent.parent
PIXELS = 40, 52
SCALE, GAP, TITLE = 5, 80, 20
PANELS: list[tuple[str, dict[str, Any]]] = [
    ("--padding keep (the default)", {}),
    ("--padding same", {"padding": "same"}),
    ("--padding valid", {"padding": "valid"}),
    ("--output-stride 1", {"output_stride": 1}),
]


def axes(options: dict[str, Any]) -> list[dict[str, Any]]:
    sliding = SlidingOptions(**options)
    model = fc2conv.convert(ROOT / "fixtures" / "mini_vgg.onnx", options=Options(sliding=sliding, verify=False)).model
    assert model is not None
    props = {prop.key: prop.value for prop in model.metadata_props}
    found: list[dict[str, Any]] = json.loads(props["fc2conv.geometry.logits"])["axes"]
    return found


def cells(axis: dict[str, Any], pixels: int, covers: bool) -> list[tuple[float, bool]]:
    """The middle of each cell in pixels, and whether it reads padding."""
    stride = axis["stride"]
    count = -(-pixels // stride) if covers else (pixels - axis["minimum"]) // stride + 1
    found = []
    for i in range(int(count)):
        first = axis["offset"] + stride * i
        found.append((axis["center"] + 0.5 + stride * i, first < 0 or first + axis["field"] > pixels))
    return found


def panel(title: str, options: dict[str, Any], left: float, top: float) -> list[str]:
    height, width = PIXELS
    rows, columns = axes(options)
    out = [
        f'<text x="{left}" y="{top - 8}">{title}</text>',
        f'<rect x="{left}" y="{top}" width="{width * SCALE}" height="{height * SCALE}" class="image"/>',
    ]
    y0, x0 = (axis["center"] + 0.5 - axis["size"] / 2 for axis in (rows, columns))
    size = rows["size"] * SCALE
    out.append(f'<rect x="{left + x0 * SCALE}" y="{top + y0 * SCALE}" width="{size}" height="{size}" class="crop"/>')
    covers = options.get("padding") == "same"
    radius = 1.3 if rows["stride"] == 1 else 4
    for y, above in cells(rows, height, covers):
        for x, beside in cells(columns, width, covers):
            kind = "padded" if above or beside else "pure"
            out.append(f'<circle cx="{left + x * SCALE:g}" cy="{top + y * SCALE:g}" r="{radius}" class="{kind}"/>')
    return out


def main() -> None:
    height, width = PIXELS
    wide, high = width * SCALE + GAP, height * SCALE + GAP + TITLE
    total = 2 * wide + GAP, 2 * high + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" width="{total[0]}">',
        "<title>The cells of a map of fixtures/mini_vgg.onnx on an image of 40x52 pixels</title>",
        "<style>text{font:14px sans-serif;fill:#333}.image{fill:#f2f2f2;stroke:#888}.crop{fill:none;stroke:#d62;"
        "stroke-width:2}.pure{fill:#06c}.padded{fill:#fff;stroke:#06c}</style>",
        f'<rect width="{total[0]}" height="{total[1]}" fill="#fff"/>',
    ]
    for i, (title, options) in enumerate(PANELS):
        parts += panel(title, options, GAP + i % 2 * wide, GAP + TITLE + i // 2 * high)
    (ROOT / "docs" / "cells.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
