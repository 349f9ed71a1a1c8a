"""Carries out a plan: spatial forms on demand, boundaries where an original is still read, one swap of the node list.

Every value that is made on one form and read on the other is converted once. A spatial form that is the value itself
(a map as exporters of channel-first graphs write it) needs nothing, so that transposes which were there only
for the layers cancel by themselves. What nobody reads any more is removed at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx import NodeProto

from fc2conv.analysis.facts import AsIs, Branch, Elide, Expand, FormOf, LayerFacts, NewInts, Operand, Relaid, Remap
from fc2conv.ir.graph import changed, label, named, new_node, op
from fc2conv.layout.axes import size_of
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.biases import with_biases
from fc2conv.rewrite.convolutions import Place, convolution, plus, without_sign
from fc2conv.rewrite.fitting import Fitter
from fc2conv.rewrite.layout_nodes import LayoutNodes
from fc2conv.rewrite.parts import Weight
from fc2conv.rewrite.tensors import Tensors

if TYPE_CHECKING:
    from fc2conv.targets.fits import Fit

_WRITTEN = Remap | Expand | Elide


class Rewriter:
    """Rewrites one scope; `tensors` takes the new constants, and `fits` cuts convolutions of layers, by position.

    With `unsigned` the target takes kernels of integers without a sign.
    """

    def __init__(self, plan: Plan, tensors: Tensors, fits: Mapping[int, tuple[Fit, ...]], *, unsigned: bool) -> None:
        self.plan = plan
        self.fits = fits
        self.unsigned = unsigned
        self.fitter = Fitter(tensors, plan.graph.opset)
        self.graph = plan.graph
        self.views = plan.facts.views
        self.tensors = tensors
        self.requirements = plan.requirements
        self._on_spatial_forms = {i for i in plan.on_spatial_forms if self._carried_out(i)}
        self._framed = self.requirements.frames_of_spatial_forms(self._on_spatial_forms)
        self._wanted = self.requirements.originals_read(self._on_spatial_forms, self._framed)
        self._names = self._name_spatial_forms()
        self._kernels: dict[str, tuple[int, ...]] = {}
        self._layout_nodes = LayoutNodes(plan.graph, tensors, self.requirements.costs)

    def _carried_out(self, index: int) -> bool:
        """Return whether a node on spatial forms is rewritten; arithmetic on shapes stays until nobody reads it."""
        facts = self.plan.facts.nodes[index]
        return facts.layer is not None or isinstance(facts.recipe, _WRITTEN)

    def run(self) -> list[NodeProto]:
        """Return the new nodes of the scope, before those that nobody reads any more are removed."""
        own = {*self.graph.inputs, *self.graph.producer}
        outer = self._order(self._spatial_forms_read() - own)
        out = [node for name in [*self.graph.inputs, *outer] for node in self._enter(name)]
        for index, node in enumerate(self.graph.nodes):
            unit = self.requirements.units[index]
            if unit not in self._on_spatial_forms:
                out.append(node)
                for name in self.graph.results[index]:
                    out += self._enter(name)
            elif index == self._last(unit):
                # A layer takes the place of the last node that it absorbs: there its bias is known.
                nodes = self._on_spatial_form(unit, self.graph.nodes[unit])
                out += [*self.tensors.drained(), *nodes]
                for name in self.requirements.results[unit]:
                    out += self._leave(name)
        return with_biases(out, self._kernels, self.graph.leaving, self.tensors)

    @property
    def unread(self) -> set[str]:
        """The new names of results that nobody reads: what was dead stays so, and a layer is never lost."""
        read = self.graph.read
        return {made for name, made in self._names.items() if name in self.graph.producer and name not in read}

    @property
    def forms(self) -> dict[str, str]:
        """The value that each spatial form is of, by the name of the form; the first of several."""
        return {self._names[name]: name for name in reversed(self._order(set(self._names)))}

    def _last(self, unit: int) -> int:
        layer = self.plan.facts.nodes[unit].layer
        return max((unit, *layer.layer.absorbed)) if layer is not None else unit

    # ------------------------------------------------------------------ names

    def _spatial_forms_read(self) -> set[str]:
        return {name for index in self._on_spatial_forms for name in self.requirements.reads[index].spatial_forms}

    def _name_spatial_forms(self) -> dict[str, str]:
        """Name the tensor of every spatial form.

        A value whose spatial form is itself keeps its name; where a spatial form is handed through nodes that vanish,
        the first value of that kind that is still read names the tensor for all of them.
        """
        root: dict[str, str] = {}
        for index in sorted(self._on_spatial_forms):
            recipe = self.plan.facts.nodes[index].recipe
            for name in self.requirements.results[index]:
                if isinstance(recipe, Elide) and recipe.move is None:
                    root[name] = root.get(recipe.value, recipe.value)
                else:
                    root[name] = name
        read = self._spatial_forms_read()
        names: dict[str, str] = {}
        for name in [*(n for n in read if n not in root), *root]:
            view = self.views.get(name) if name in self._wanted else None
            owner = root.get(name, name)
            if view is not None and view.free and owner not in names and (owner in root or not self.views[owner].free):
                names[owner] = name
        for owner in dict.fromkeys([*self._order(read - root.keys()), *root.values()]):
            if owner not in root and (owner not in self.views or self.views[owner].free):
                names[owner] = owner
            elif owner not in names:
                free = self.views[owner].free
                names[owner] = owner if free else self.tensors.unique(f"{owner}_s")  # its spatial form
        return {name: names[root.get(name, name)] for name in [*read, *root]}

    def _order(self, names: set[str]) -> list[str]:
        place = {name: i for i, name in enumerate(self.graph.inputs)}
        return sorted(names, key=lambda name: (self.graph.producer.get(name, -1), place.get(name, 0), name))

    # ------------------------------------------------------------------ boundaries

    def _enter(self, name: str) -> list[NodeProto]:
        """Write the spatial form of a value that is made in its original form, if any node reads it."""
        made = self._names.get(name, name)
        if made == name:
            return []
        view = self.views[name]
        assert view.spatial_form is not None
        self._layout_nodes.remember((view.spatial_form, made), (view.dims, name))
        return self._layout_nodes.write(view.dims, view.spatial_form, name, made, name)

    def _leave(self, name: str) -> list[NodeProto]:
        """Write the original form of a value that is made on its spatial form, if anything reads it."""
        if name not in self._wanted or self._names.get(name) == name:
            return []
        view = self.views[name]
        assert view.spatial_form is not None
        return self._layout_nodes.write(view.spatial_form, view.dims, self._names[name], name, name)

    # ------------------------------------------------------------------ nodes on spatial forms

    def _on_spatial_form(self, index: int, node: NodeProto) -> list[NodeProto]:
        facts = self.plan.facts.nodes[index]
        if facts.layer is not None:
            return self._layer(index, facts.layer)
        if isinstance(facts.recipe, Remap):
            return self._same_node(node, facts.recipe)
        if isinstance(facts.recipe, Expand):
            return self._other_nodes(node, facts.recipe)
        if isinstance(facts.recipe, Elide) and facts.recipe.move is not None:
            read, made = self._names[facts.recipe.value], self._names[node.output[0]]
            return self._layout_nodes.write(*facts.recipe.move, read, made, node.output[0])
        return []

    def _same_node(self, node: NodeProto, recipe: Remap) -> list[NodeProto]:
        new = changed(node, **recipe.attributes)
        if recipe.lifts:
            new.name = label(node)
        del new.input[:], new.output[:]
        before: list[NodeProto] = []
        new.input.extend(self._moved(each, before) for each in recipe.operands)
        new.output.extend(self._names.get(name, name) if name else "" for name in node.output)
        after: list[NodeProto] = []
        if recipe.result is not None:
            made, new.output[0] = new.output[0], self.tensors.unique(f"{node.output[0]}_last")
            after = self._layout_nodes.write(*recipe.result, new.output[0], made, node.output[0])
            self._layout_nodes.remember((recipe.result[1], made), (recipe.result[0], new.output[0]))
        return [*before, new, *after]

    def _other_nodes(self, node: NodeProto, recipe: Expand) -> list[NodeProto]:
        out: list[NodeProto] = []
        results: list[str] = []
        for i, step in enumerate(recipe.steps):
            place = 0 if i == len(recipe.steps) - 1 else step.makes
            made = self.tensors.unique(f"{node.output[0]}_step") if place is None else self._names[node.output[place]]
            inputs = [results[each] if isinstance(each, int) else self._moved(each, out) for each in step.operands]
            name = self.tensors.unique(f"{label(node)}_{step.op_type.lower()}")
            out.append(new_node(step.op_type, inputs, [made], name, **dict(step.attributes or {})))
            out[-1].domain = step.domain
            results.append(made)
        return out

    def _moved(self, operand: Operand, before: list[NodeProto]) -> str:
        """Return the name of an operand, and add the layout nodes that it needs to `before`."""
        name = self._operand(operand)
        if not isinstance(operand, FormOf) or operand.move is None:
            return name
        source, target = operand.move
        return self._layout_nodes.bring((source, name), target, f"{operand.value}_like", operand.value, before)

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, FormOf):
            return self._names[operand.value]
        if isinstance(operand, AsIs):
            return operand.name
        if isinstance(operand, NewInts):
            return self.tensors.ints(operand.values, "axes")
        assert isinstance(operand, Relaid)
        return self.tensors.relaid(operand.constant, operand.source, operand.target)

    def _layer(self, index: int, facts: LayerFacts) -> list[NodeProto]:
        """Write the convolution of one layer, with what its frame and its addend need."""
        layer, found = facts.layer, facts.contraction
        assert found is not None
        if facts.branches:
            return self._branches(index, facts)
        out: list[NodeProto] = []
        read = self._names.get(layer.x, "")
        if not self.requirements.reads_spatial_form(index):
            source, _ = self.requirements.reframed[index]
            view, framed = self.views[source], index in self._framed
            form = (view.spatial_form or (), self._names[source]) if framed else (view.dims, source)
            read = self._layout_nodes.bring(form, found.frame, f"{layer.x}_frame", layer.x, out)
        may = self.unsigned and index not in self.fits
        unsigned = may and without_sign(layer, self.plan.constants, found.rest)
        weight = Weight(layer, found)
        kernel, shape = self.tensors.kernel(weight, unsigned=unsigned)
        result = self._names[layer.output]
        made = result if facts.addend is None else self.tensors.unique(f"{layer.output}_conv")
        place = Place(read, made, kernel, shape, size_of(found.groups).coefficient, unsigned)
        out += self._convolution(index, 0, place, weight)
        if facts.addend is not None:
            return [*out, *self._added(facts, made, result)]
        if op(out[-1]) == "Conv" and len(out[-1].input) == 2:
            self._kernels[result] = shape
        return out

    def _convolution(self, index: int, number: int, place: Place, weight: Weight) -> list[NodeProto]:
        """Write the convolution of a layer, or of one of its branches, cut where the target asks for it."""
        nodes = convolution(weight.layer, place, self.tensors)
        fits = self.fits.get(index)
        return nodes if fits is None else self.fitter.fitted(nodes, place.kernel, weight, fits[number])

    def _branches(self, index: int, facts: LayerFacts) -> list[NodeProto]:
        """Write a convolution for each branch and their sum; the first has the bias, the last Add the layer's name."""
        layer, name = facts.layer, label(facts.layer.node)
        out: list[NodeProto] = []
        total = ""
        for i, branch in enumerate(facts.branches):
            weight = Weight(layer, branch.contraction, (branch.start, branch.stop))
            kernel, shape = self.tensors.kernel(weight)
            made = self.tensors.unique(f"{layer.output}_part")
            part = replace(layer, node=named(layer.node, self.tensors.unique(f"{name}_part")))
            part = replace(part, bias=None) if total else part
            place = Place(self._branch_read(branch, out), made, kernel, shape)
            out += self._convolution(index, i, place, replace(weight, layer=part))
            if total:
                last = branch is facts.branches[-1]
                partial = self._names[layer.output] if last else self.tensors.unique(f"{layer.output}_sum")
                node_name = layer.node.name if last else self.tensors.unique(f"{name}_sum")
                out.append(new_node(plus(self.graph.opset), [total, made], [partial], node_name))
                made = partial
            total = made
        return out

    def _branch_read(self, branch: Branch, before: list[NodeProto]) -> str:
        """Return what the convolution of a branch reads, and add the nodes that make it to `before`."""
        operand, frame, wanted = branch.spatial_form, branch.contraction.frame, f"{branch.value}_frame"
        if operand is None:
            source, _ = self.requirements.framed(branch.value, frame)
            form = self.views[source].dims, source
        elif isinstance(operand, Relaid) or operand.move is None:
            return self._operand(operand)
        else:
            form = operand.move[0], self._names[branch.value]
        return self._layout_nodes.bring(form, frame, wanted, branch.value, before)

    def _added(self, facts: LayerFacts, made: str, result: str) -> list[NodeProto]:
        layer = facts.layer
        assert facts.addend is not None
        name = label(layer.node)
        addend = self._operand(facts.addend)
        out: list[NodeProto] = []
        if layer.beta != 1.0 and not isinstance(facts.addend, Relaid):
            scaled = self.tensors.unique(f"{name}_beta")
            factor = self.tensors.scalar(layer.beta, layer.weight, f"{name}_beta")
            out.append(new_node("Mul", [addend, factor], [scaled], self.tensors.unique(f"{name}_scale")))
            addend = scaled
        return [*out, new_node("Add", [made, addend], [result], self.tensors.unique(f"{name}_add"))]
