"""What a report shows besides what it says: figures of both models, and the graph about each head, before and after.

Both are read off the two skeletons; no weight is touched. They cost a shape inference of each model, and are made only
where they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from onnx import GraphProto, ModelProto

from fc2conv.diagrams.drawings import drawn
from fc2conv.diagrams.figures import figures
from fc2conv.diagrams.scope import Scope
from fc2conv.ir.graph import scope_path, subgraphs
from fc2conv.ir.shapes import inferred
from fc2conv.report.types import HeadReport, Report


def illustrated(
    report: Report, before: ModelProto, after: ModelProto, input_shapes: Mapping[str, tuple[int, ...]]
) -> Report:
    """Add the figures of both models and a drawing of each head to a report; raise InputError as inference does."""
    old, new = _scopes(before, input_shapes), _scopes(after, input_shapes)

    def with_drawing(head: HeadReport) -> HeadReport:
        if head.scope not in old or head.scope not in new:
            return head
        return msgspec.structs.replace(head, drawing=drawn(head.sites, old[head.scope], new[head.scope]))

    heads = [with_drawing(head) for head in report.heads]
    return msgspec.structs.replace(report, heads=heads, before=figures(before, old), after=figures(after, new))


def _scopes(model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Scope]:
    """Return the graphs of a model by their paths, each with the shapes and constants that it sees."""
    shapes = inferred(model, input_shapes)

    def walk(graph: GraphProto, path: str, outer: Scope | None) -> Iterator[tuple[str, Scope]]:
        scope = Scope(graph, shapes.get(path, {}), outer)
        yield path, scope
        for node in graph.node:
            for name, inner in subgraphs(node):
                yield from walk(inner, scope_path(path, node, name), scope)

    return dict(walk(model.graph, "", None))
