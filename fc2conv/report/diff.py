"""A head before and after as the lines of a diff, one for each node, in the order of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fc2conv.io.escape import counted, one_line
from fc2conv.report.parts import Graph, HeadDrawing
from fc2conv.report.types import HeadReport


class Line(NamedTuple):
    """A node before (`-`), after (`+`) or both (` `); `detail` is the shape of its weight, or its perm."""

    mark: str
    op_type: str
    name: str
    detail: str
    shape: str


def title(head: HeadReport) -> str:
    """Return the line above a head, as in `@@ fc1 .. fc3: 1 -> 1 layout node @@`."""
    first, last = one_line(head.sites[0]), one_line(head.sites[-1])
    names = first if len(head.sites) == 1 else f"{first} .. {last}"
    where = f" in {one_line(head.scope)}" if head.scope else ""
    return f"@@ {names}{where}: {head.layout_before} -> {counted(head.layout_after, 'layout node')} @@"


def lines(drawing: HeadDrawing) -> Iterator[Line]:
    """Yield the nodes of both graphs in one order: before each node that both have come those that only one has."""
    before, after = drawing.before, drawing.after
    old, new = _nodes(before), _nodes(after)
    start = 0
    both: set[int] = set()

    def added(end: int) -> Iterator[Line]:
        for j in new[start:end]:
            same = after.nodes[j].change == "same"
            both.update([j] if same else [])
            yield _line(" " if same else "+", after, j)

    for i in old:
        node = before.nodes[i]
        place = new.index(node.counterpart) if node.counterpart in new else -1
        if place < start:  # it has no counterpart, or one further up
            if node.counterpart not in both:
                yield _line("-", before, i)
            continue
        yield from added(place)
        start = place + 1
        if node.change != "same":
            yield _line("-", before, i)
        yield _line(" " if node.change == "same" else "+", after, new[place])
    yield from added(len(new))


def _nodes(graph: Graph) -> list[int]:
    return [i for i, node in enumerate(graph.nodes) if node.kind == "node"]


def _line(mark: str, graph: Graph, i: int) -> Line:
    node = graph.nodes[i]
    shapes = dict.fromkeys(edge.shape for edge in graph.edges if edge.source == i)
    return Line(mark, node.op_type, one_line(node.name), _tight(node.detail), _tight(", ".join(shapes)))


def _tight(sizes: str) -> str:
    return sizes.replace(" x ", "x")
