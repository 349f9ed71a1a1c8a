"""Every scope of a model with its constants, an outer one before those within it."""

from __future__ import annotations

from collections.abc import Iterator

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, subgraphs


def scopes(file: ModelFile, *, freeze: bool) -> Iterator[tuple[Graph, Constants]]:
    """Yields the graph of a model and its subgraphs; with `freeze` initializers that are inputs are constant."""
    graph = Graph.of(file.model, freeze=freeze)
    stack = [(graph, Constants(graph, file))]
    while stack:
        graph, constants = stack.pop()
        yield graph, constants
        for node in graph.nodes:
            for name, proto in subgraphs(node):
                inner = graph.within(node, name, proto)
                stack.append((inner, Constants(inner, file, constants)))
