"""Every scope of a model with its constants, an outer one before those within it."""

from __future__ import annotations

from collections.abc import Iterator

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, opset_versions, scope_path, subgraphs


def scopes(file: ModelFile, *, freeze: bool) -> Iterator[tuple[Graph, Constants]]:
    """Yields the graph of a model and its subgraphs; with `freeze` initializers that are inputs are constant."""
    model = file.model
    graph = Graph(model.graph, opset_versions(model), ir_version=model.ir_version, freeze=freeze)
    stack = [(graph, Constants(graph, file))]
    while stack:
        graph, constants = stack.pop()
        yield graph, constants
        for node in graph.nodes:
            for name, proto in subgraphs(node):
                inner = Graph(proto, graph.opsets, ir_version=4, outer=graph, path=scope_path(graph.path, node, name))
                stack.append((inner, Constants(inner, file, constants)))
