"""One graph with what is visible in it: shapes and constants, its own and those of the graphs around it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from onnx import GraphProto

from fc2conv.ir.graph import subgraphs
from fc2conv.ir.subgraph_shapes import Shapes
from fc2conv.layout.axes import Size


class Scope:
    """A graph, its shapes by value, and the scope around it (None for the main graph)."""

    def __init__(self, graph: GraphProto, shapes: Shapes, outer: Scope | None = None) -> None:
        self.graph = graph
        self.shapes = shapes
        self.outer = outer
        self.dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}

    def shape(self, name: str) -> Sequence[Size] | None:
        """Return the sizes of a value; None where its rank is not known."""
        if name in self.dims:
            return [Size(n) for n in self.dims[name]]
        found = self.shapes.get(name)
        return self.outer.shape(name) if found is None and self.outer is not None else found

    @cached_property
    def constants(self) -> set[str]:
        """The values that no input of the model changes: initializers, and what nodes make of those alone."""
        known = set(self.dims) | (self.outer.constants if self.outer is not None else set())
        inputs = {value.name for value in self.graph.input}
        known -= inputs - set(self.dims)
        for node in self.graph.node:
            if all(name in known for name in node.input if name) and not any(True for _ in subgraphs(node)):
                known.update(name for name in node.output if name)
        return known
