"""Places the nodes and edges of a drawing: sizes by the length of the words, places by a library's layered layout.

Only sizes and edges are handed to the library; no text of a model reaches it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise

import graphlay

from fc2conv.dataclass import dataclass
from fc2conv.report.html.views import short
from fc2conv.report.parts import DrawnEdge, DrawnNode, Graph

_CHAR, _LINE, _PAD, _MARK = 7.25, 16.0, 10.0, 24.0
_MAX_COLUMNS = 26
_WIDE = 540.0
_MARGIN = 14.0
_OPTIONS = {"direction": "topbottom", "spacing": {"layer_gap": 44.0, "node_gap": 30.0}}


@dataclass(frozen=True)
class Box:
    """A node: its upper left corner, its size, and its lines of text, in px."""

    node: DrawnNode
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """An edge: the corners of its line as an SVG path, and its label about (x, y)."""

    edge: DrawnEdge
    path: str
    label: str
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Placed:
    """A drawing, in px from its upper left corner."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]

    @property
    def wide(self) -> bool:
        """Whether it is drawn smaller where a column of the page is too narrow for it."""
        return self.width > _WIDE


def placed(graph: Graph) -> Placed:
    """Lay out the drawing of a graph; the same graph is always drawn in the same way."""
    lines = [_lines(node) for node in graph.nodes]
    labels = [short(edge.shape, _MAX_COLUMNS) for edge in graph.edges]
    request = graphlay.Graph()
    for each in lines:
        width = max(max(map(_columns, each)) * _CHAR + 2 * _PAD, _columns(each[0]) * _CHAR + 2 * _MARK)
        request.node(width=width, height=len(each) * _LINE + _PAD)
    for edge, label in zip(graph.edges, labels, strict=True):
        request.edge(edge.source, edge.target, label_size={"width": _width(label), "height": _LINE})
    found = graphlay.layout(request, options=_OPTIONS)
    rectangles = [_rectangle(n["center"], n["size"]["width"], n["size"]["height"]) for n in found.nodes]
    lanes = [[(p["x"], p["y"]) for p in e["points"]] for e in found.edges]
    anchors = [e["label_anchor"] or e["points"][len(e["points"]) // 2] for e in found.edges]
    values = [(edge.source, edge.value) for edge in graph.edges]
    for i, (lane, at) in enumerate(zip(lanes, anchors, strict=True)):
        if values.count(values[i]) > 1 and not _beside(lane, at["x"], at["y"], _width(labels[i])):
            labels[i] = ""  # there was no room for it, and another edge of the value shows the shape
    beside = [_rectangle(anchor, _width(label), _LINE) for anchor, label in zip(anchors, labels, strict=True)]
    corners = [point for lane in lanes for point in lane]
    corners += [point for x, y, w, h in (*rectangles, *beside) for point in ((x, y), (x + w, y + h))] or [(0.0, 0.0)]
    left, top = (min(side) - _MARGIN for side in zip(*corners, strict=True))
    right, bottom = (max(side) + _MARGIN for side in zip(*corners, strict=True))
    boxes = [
        Box(node, _px(x - left), _px(y - top), _px(w), _px(h), text)
        for node, text, (x, y, w, h) in zip(graph.nodes, lines, rectangles, strict=True)
    ]
    routes = [
        Route(edge, _path(lane, left, top), label, _px(at["x"] - left), _px(at["y"] - top), _px(_width(label)))
        for edge, label, lane, at in zip(graph.edges, labels, lanes, anchors, strict=True)
    ]
    return Placed(_px(right - left), _px(bottom - top), tuple(boxes), tuple(routes))


def _rectangle(centre: Mapping[str, float], width: float, height: float) -> tuple[float, float, float, float]:
    """Return the upper left corner and the size of a box centred on a point."""
    return centre["x"] - width / 2, centre["y"] - height / 2, width, height


def _beside(lane: Sequence[tuple[float, float]], x: float, y: float, width: float) -> bool:
    """Return whether a label centred on (x, y) lies on a line, or right next to it."""
    far, high = width / 2 + _PAD, _LINE
    return any(
        min(x0, x1) - far <= x <= max(x0, x1) + far and min(y0, y1) - high <= y <= max(y0, y1) + high
        for (x0, y0), (x1, y1) in pairwise(lane)
    )


def _lines(node: DrawnNode) -> tuple[str, ...]:
    if node.kind == "more":
        return ("\N{HORIZONTAL ELLIPSIS}",)
    words = [node.op_type, node.name, node.detail]
    return tuple(short(word, _MAX_COLUMNS) for word in words if word) or ("",)


def _columns(text: str) -> int:
    """Count the columns that a monospaced font takes for a text."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _width(label: str) -> float:
    return _columns(label) * _CHAR * 0.92 + 8 if label else 0.0


def _path(lane: Sequence[tuple[float, float]], left: float, top: float) -> str:
    return "M" + "L".join(f"{_px(x - left):g} {_px(y - top):g}" for x, y in lane)


def _px(value: float) -> float:
    return round(value, 1)
