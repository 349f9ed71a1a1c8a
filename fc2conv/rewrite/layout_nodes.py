"""The layout nodes between two forms of a value, from the nearest form in the graph."""

from __future__ import annotations

from collections import defaultdict

from onnx import NodeProto

from fc2conv.ir.element_types import flattens
from fc2conv.ir.graph import Graph, new_node
from fc2conv.layout.axes import Layout
from fc2conv.layout.relayout import LayoutStep, Reshaped, conversion
from fc2conv.planning.costs import Costs
from fc2conv.rewrite.tensors import Tensors

Form = tuple[Layout, str]
"""A layout of a value, and the tensor that holds the value in it."""


class LayoutNodes:
    """Writes the layout nodes of one scope."""

    def __init__(self, graph: Graph, tensors: Tensors, costs: Costs) -> None:
        self._graph, self._tensors, self._costs = graph, tensors, costs
        self._beside: dict[Form, list[Form]] = defaultdict(list)

    def remember(self, form: Form, beside: Form) -> None:
        """Note that a form is in the graph wherever another of the same value is."""
        self._beside[form].append(beside)

    def nearest(self, form: Form, target: Layout) -> tuple[str, tuple[LayoutStep, ...] | None]:
        """Return the tensor from which a layout is cheapest to make, and the steps from there."""
        forms = [*self._beside.get(form, ()), form]
        ways = [(name, conversion(layout, target)) for layout, name in forms]
        return min(ways, key=lambda way: self._costs.price(way[1]))

    def bring(self, form: Form, target: Layout, wanted: str, base: str, out: list[NodeProto]) -> str:
        """Return the tensor that holds a value in a layout; add the nodes that make it to `out` where none does."""
        nearest, steps = self.nearest(form, target)
        if steps == ():
            return nearest
        made = self._tensors.unique(wanted)
        out += self.write(form[0], target, form[1], made, base)
        self.remember(form, (target, made))
        return made

    def write(self, source: Layout, target: Layout, read: str, made: str, base: str) -> list[NodeProto]:
        """Write the layout nodes from one form to another; an Identity where only the name differs."""
        read, steps = self.nearest((source, read), target)
        assert steps is not None, f"the plan asks for a conversion of {base} that cannot be written"
        if not steps:
            return [] if read == made else [new_node("Identity", [read], [made], self._tensors.unique(f"{base}_same"))]
        out: list[NodeProto] = []
        for i, step in enumerate(steps):
            result = made if i == len(steps) - 1 else self._tensors.unique(f"{base}_step")
            out.append(self._node(step, read, result, base))
            read = result
        return out

    def _node(self, step: LayoutStep, read: str, made: str, base: str) -> NodeProto:
        if not isinstance(step, Reshaped):
            name = self._tensors.unique(f"{base}_transpose")
            return new_node("Transpose", [read], [made], name, perm=list(step.perm))
        if step.flattens and flattens(self._graph, base):
            return new_node("Flatten", [read], [made], self._tensors.unique(f"{base}_flatten"), axis=1)
        name = self._tensors.unique(f"{base}_reshape")
        return self._tensors.node("Reshape", [read], made, name, self._graph.opset, wanted=base, shape=step.target)
