"""What each node reads, and what the forms of it cost: both the placement and the rewriter ask for these."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fc2conv.analysis.facts import AsIs, Elide, Expand, Facts, FormOf, LayerFacts, Remap
from fc2conv.dataclass import dataclass
from fc2conv.ir.graph import Graph
from fc2conv.layout.axes import Layout
from fc2conv.layout.relayout import LayoutStep, conversion
from fc2conv.planning.costs import Costs
from fc2conv.planning.mincut import INFINITE

DEFAULT = Costs()
LAYOUT_OPS = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"])


Framed = tuple[str, tuple[LayoutStep, ...] | None]
"""The value of which a frame is made, and the conversion; None where that cannot be written."""


@dataclass(frozen=True)
class Requirement:
    """What a node reads when it runs on spatial forms: spatial forms of values, and values in their original form."""

    spatial_forms: tuple[str, ...]
    originals: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All that it reads."""
        return (*self.spatial_forms, *self.originals)


_NOTHING = Requirement((), ())


class Requirements:
    """What the nodes of one scope read on spatial forms, and where from."""

    def __init__(self, graph: Graph, facts: Facts, costs: Costs = DEFAULT) -> None:
        self.graph = graph
        self.facts = facts
        self.costs = costs
        self.units = [index if each.part_of is None else each.part_of for index, each in enumerate(facts.nodes)]
        """The unit of each node: the layer that absorbs it, or the node itself."""
        self.results = [
            (each.layer.layer.output,) if each.layer is not None else tuple(filter(None, made))
            for each, made in zip(facts.nodes, graph.results, strict=True)
        ]
        """The values that each unit makes."""
        self.own_prices = [
            costs.node(moves=kind == "Transpose") if kind in LAYOUT_OPS and each.layer is None else 0
            for each, kind in zip(facts.nodes, graph.kinds, strict=True)
        ]
        """The price of each layout node, if it stays; 0 of every other node."""
        self.reframed: dict[int, Framed] = {}
        """For each layer whose frame is not its input's spatial form what `framed` says of it."""
        self.from_above: dict[str, list[int]] = {}
        """Layers that read, when they are converted, values that are not their operands: further up, or branches."""
        self.frames: dict[str, dict[Layout, list[int]]] = {}
        """Layers whose frames are not their input's spatial form, by the value that becomes the frame, and by frame."""
        for index, each in enumerate(facts.nodes):
            layer = each.layer
            if layer is not None and layer.contraction is not None and not _convolves_as_it_is(layer):
                frame = layer.contraction.frame
                self.reframed[index] = source, _ = self.framed(layer.layer.x, frame)
                self.frames.setdefault(source, {}).setdefault(frame, []).append(index)
        self.reads = [self._requirement(index) for index in range(len(facts.nodes))]
        """What each node reads on spatial forms; nothing where it cannot run on them."""
        for index in filter(self.may_convert, range(len(facts.nodes))):
            for name in set(self.reads[index].names).difference(graph.operands[index]):
                self.from_above.setdefault(name, []).append(index)

    def may_run_on_spatial_form(self, index: int) -> bool:
        """Return whether the node has a recipe, or is a layer that can be converted."""
        return self.facts.nodes[index].recipe is not None or self.may_convert(index)

    def may_convert(self, index: int) -> bool:
        """Return whether the node is a layer that can be converted."""
        layer = self.facts.nodes[index].layer
        return layer is not None and layer.contraction is not None

    def beside(self, index: int) -> list[int]:
        """Return the layers that read the same frame as a layer; none where it reads a spatial form."""
        layer = self.facts.nodes[index].layer
        if index not in self.reframed or layer is None or layer.contraction is None:
            return []
        return self.frames[self.reframed[index][0]][layer.contraction.frame]

    def framed(self, value: str, frame: Layout) -> Framed:
        """Return the value of which the frame of a layer that reads `value` is made, and the conversion.

        That is the value or one that only layout nodes part from it, whichever is the shortest way; of equals it is the
        one further up, so that those nodes are removed. The conversion is None where it cannot be written.
        """
        best, shortest = value, conversion(self.facts.views[value].dims, frame)
        name = best
        while shortest != () and (maker := self.graph.producer.get(name)) is not None:
            recipe = self.facts.nodes[maker].recipe
            if not isinstance(recipe, Elide):
                break
            name = recipe.value
            steps = conversion(self.facts.views[name].dims, frame)
            if self.costs.price(steps) <= self.costs.price(shortest):
                best, shortest = name, steps
        return best, shortest

    def frame_prices(self, index: int) -> tuple[int, int]:
        """Return the prices of a layer's frame, made of a value and made of that value's spatial form."""
        source, steps = self.reframed[index]
        spatial_form, own = self.facts.views[source].spatial_form, self.costs.price(steps)
        layer = self.facts.nodes[index].layer
        if spatial_form is None or source not in self.graph.producer or layer is None or layer.contraction is None:
            return own, INFINITE
        return own, self.costs.price(conversion(spatial_form, layer.contraction.frame))

    def originals_read(self, on_spatial_forms: Collection[int], framed: Collection[int]) -> set[str]:
        """Return the values whose original form is read: by a node that stays as it is, or outside.

        The frames of `framed` layers are made of spatial forms.
        """
        wanted = set(self.graph.leaving)
        for index, operands in enumerate(self.graph.operands):
            unit = self.units[index]
            if unit not in on_spatial_forms:
                wanted.update(operands)
            elif unit == index:
                source = {self.reframed[index][0]} if index in framed else set()
                wanted.update(set(self.reads[index].originals) - source)
        return wanted

    def frames_of_spatial_forms(self, on_spatial_forms: Collection[int]) -> set[int]:
        """Return layers whose frames are made of a value's spatial form, as its original takes more layout nodes."""
        if not self.frames:
            return set()
        every = {i for frames in self.frames.values() for layers in frames.values() for i in layers}
        others = self.originals_read(on_spatial_forms, every)
        out: set[int] = set()
        for name, frames in self.frames.items():
            view, maker = self.facts.views[name], self.graph.producer.get(name)
            if maker is None or self.units[maker] not in on_spatial_forms or view.free:
                continue
            there = [layers for each in frames.values() if (layers := [i for i in each if i in on_spatial_forms])]
            more = [prices[1] - prices[0] for layers in there if (prices := self.frame_prices(layers[0]))]
            brought_back = 0 if name in others else self.costs.price(view.from_spatial_form)
            dearer = sum(each for each in more if each > 0) > brought_back
            for layers, each in zip(there, more, strict=True):
                out.update(layers if each <= 0 or not dearer else ())
        return out

    def reads_spatial_form(self, index: int) -> bool:
        """Return whether a layer convolves the spatial forms of what it reads as they are."""
        return self.may_convert(index) and index not in self.reframed

    def _requirement(self, index: int) -> Requirement:
        if not self.may_run_on_spatial_form(index):
            return _NOTHING
        facts, spatial_forms, originals = self.facts.nodes[index], list[str](), list[str]()
        if facts.layer is not None:
            if facts.layer.branches:
                spatial_forms += [each.value for each in facts.layer.branches if isinstance(each.spatial_form, FormOf)]
                plain = (each for each in facts.layer.branches if each.spatial_form is None)
                originals += [self.framed(each.value, each.contraction.frame)[0] for each in plain]
            elif self.reads_spatial_form(index):
                spatial_forms.append(facts.layer.layer.x)
            else:
                originals.append(self.reframed[index][0])
            operands: Sequence[object] = (facts.layer.addend, *(AsIs(name) for name in facts.layer.layer.scalars))
        elif isinstance(facts.recipe, Elide):
            return Requirement((facts.recipe.value,), ())
        elif isinstance(facts.recipe, Remap):
            operands = facts.recipe.operands
        elif isinstance(facts.recipe, Expand):
            operands = [each for step in facts.recipe.steps for each in step.operands]
        else:
            return _NOTHING
        spatial_forms += [each.value for each in operands if isinstance(each, FormOf)]
        originals += [each.name for each in operands if isinstance(each, AsIs) and each.name in self.graph.producer]
        return Requirement(tuple(dict.fromkeys(spatial_forms)), tuple(dict.fromkeys(originals)))

    def operands_moved(self, index: int) -> list[tuple[str, tuple[Layout, Layout]]]:
        """Return the values that a node on spatial forms reads in other layouts than theirs, and the conversions."""
        recipe = self.facts.nodes[index].recipe
        operands = [each for each in recipe.operands if isinstance(each, FormOf)] if isinstance(recipe, Remap) else []
        return [(each.value, each.move) for each in operands if each.move is not None]

    def maker_in_layout(self, name: str, layout: Layout) -> int | None:
        """Return the unit that on spatial forms makes a value in this layout before its spatial form, or None."""
        maker = self.graph.producer.get(name)
        recipe = None if maker is None else self.facts.nodes[maker].recipe
        there = isinstance(recipe, Remap) and recipe.result is not None and recipe.result[0] == layout
        return self.units[maker] if maker is not None and there else None

    def branch_price(self, index: int) -> int:
        """Return the price of bringing the values that a layer reads side by side to one frame."""
        layer = self.facts.nodes[index].layer
        total = 0
        for each in layer.branches if layer is not None else ():
            if each.spatial_form is None:
                total += self.costs.price(self.framed(each.value, each.contraction.frame)[1])
            elif isinstance(each.spatial_form, FormOf) and each.spatial_form.move is not None:
                total += self.costs.price(conversion(*each.spatial_form.move))
        return total


def _convolves_as_it_is(layer: LayerFacts) -> bool:
    """Return whether a layer that can be converted convolves the spatial forms of what it reads."""
    form = layer.reads.spatial_form if layer.reads is not None else None
    if layer.branches or form is None or layer.contraction is None:
        return bool(layer.branches)
    return len(form) == len(layer.contraction.frame) and conversion(form, layer.contraction.frame) == ()
