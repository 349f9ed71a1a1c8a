"""Where a head begins and ends: the cheapest placement of the boundaries between spatial forms and originals.

Every node of a region runs on originals (O) or on spatial forms (T). A value that is made in one form and read in the
other is converted once, however many read it. What a labelling costs is in the table of costs.py: layout nodes first,
then layers that are left, then elements moved, then nodes that change without need (an activation stays next to its
convolution).

Each term pays when a producer and a reader (or a label and a requirement) disagree in one direction, which is the form
of a minimum cut: the optimum is exact. Regions are connected only by values whose two forms differ and by frames that
layers share, so that the whole is linear in the size of the graph for regions of bounded size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fc2conv.analysis.facts import Drop, Elide, Expand, Facts, FormOf, Remap
from fc2conv.dataclass import dataclass
from fc2conv.ir.element_types import moves
from fc2conv.ir.graph import Graph
from fc2conv.layout.axes import Layout
from fc2conv.layout.relayout import conversion
from fc2conv.planning.costs import CHANGED, KEPT, WRITTEN_NORM, Costs, nodes, weight
from fc2conv.planning.mincut import INFINITE, SINK, SOURCE, Network
from fc2conv.planning.requirements import DEFAULT, Requirements


@dataclass(frozen=True)
class Region:
    """Nodes whose labels depend on one another (positions in the graph), the layers among them first."""

    layers: tuple[int, ...]
    members: tuple[int, ...]


@dataclass(frozen=True)
class Labelling:
    """The nodes that run on spatial forms, the layout nodes of the region then and before, and what they weigh more."""

    spatial_forms: frozenset[int]
    layout_before: int
    layout_after: int
    dearer: int
    feasible: bool


class Placement(Requirements):
    """The placement problem of one scope."""

    def __init__(self, graph: Graph, facts: Facts, costs: Costs = DEFAULT) -> None:
        super().__init__(graph, facts, costs)
        self._conversions: dict[tuple[str, bool], int] = {}
        self._networks: dict[tuple[int, ...], tuple[dict[int, int], Network]] = {}
        elided = (index for index, each in enumerate(facts.nodes) if isinstance(each.recipe, Elide))
        self._elided = {name: index for index in elided for name in graph.results[index]}

    def _moves(self, index: int) -> list[tuple[Layout, Layout]]:
        """Return the conversions that a node on spatial forms needs for itself alone."""
        recipe = self.facts.nodes[index].recipe
        if isinstance(recipe, Expand):
            operands = [each for step in recipe.steps for each in step.operands if isinstance(each, FormOf)]
            return [each.move for each in operands if each.move is not None]
        own = recipe.move if isinstance(recipe, Elide) else recipe.result if isinstance(recipe, Remap) else None
        return [own] if own is not None else []

    def converting(self, name: str, *, to_spatial_form: bool) -> int:
        """Return the price of a value's other form."""
        key = (name, to_spatial_form)
        if key not in self._conversions:
            view = self.facts.views.get(name)
            steps = None
            if view is not None:
                steps = view.to_spatial_form if to_spatial_form else view.from_spatial_form
            self._conversions[key] = self.costs.price(steps if not steps or moves(self.graph, name) else None)
        return self._conversions[key]

    def _free(self, name: str) -> bool:
        view, maker = self.facts.views.get(name), self.graph.producer.get(name)
        if view is None:
            return maker is None or not isinstance(self.facts.nodes[maker].recipe, Drop)
        return view.free

    # ------------------------------------------------------------------ regions

    def regions(self, layers: Sequence[int]) -> list[Region]:
        """Return the regions that hold the given layers, what lifts the network, or a norm that may be written out."""
        seen: set[int] = set()
        followed: set[str] = set()
        out: list[Region] = []
        wanted = set(layers)
        for start in (*layers, *filter(self._begins, range(len(self.facts.nodes)))):
            if start in seen:
                continue
            seen.add(start)
            members = [start]
            for index in members:
                for neighbour in self._neighbours(index, followed):
                    if neighbour not in seen and self.may_run_on_spatial_form(neighbour):
                        seen.add(neighbour)
                        members.append(neighbour)
            members.sort()
            out.append(Region(tuple(i for i in members if i in wanted), tuple(members)))
        return out

    def _begins(self, index: int) -> bool:
        """Return whether a node that is no layer has reasons of its own to run on spatial forms."""
        recipe = self.facts.nodes[index].recipe
        return (isinstance(recipe, Remap) and recipe.lifts) or (isinstance(recipe, Expand) and recipe.norm)

    def _neighbours(self, index: int, followed: set[str]) -> list[int]:
        """Return the nodes whose labels depend on a node's, except by way of values that others have `followed`."""
        out: list[int] = []
        values = [*self.graph.operands[index], *self.results[index], *self.reads[index].names]
        for name in values:
            if name in followed or not name or self._free(name):
                continue
            followed.add(name)
            if name in self.graph.producer:
                out.append(self.units[self.graph.producer[name]])
            out += [self.units[i] for i in self.graph.uses.get(name, [])]
            out += self.from_above.get(name, [])
        # A node that only regroups dimensions before the region belongs to it, though its result is a spatial form.
        out += [self._elided[name] for name in values if name in self._elided]
        return out + self.beside(index)

    # ------------------------------------------------------------------ labelling

    def label(self, region: Region, forced: frozenset[int], offered: frozenset[int]) -> Labelling:
        """Return the cheapest labelling in which the forced layers run on spatial forms and the offered ones may."""
        before = sum(self.own_prices[index] for index in region.members)
        fed = self._fed(region, forced | offered)
        if self._all_of(region, forced | offered, fed):
            return Labelling(frozenset(region.members), nodes(before), 0, -weight(before), feasible=True)
        if region.members not in self._networks:
            self._networks[region.members] = self._network(region)
        vertex, values = self._networks[region.members]
        network = values.beside()
        for index in region.members:
            self._unary(network, vertex[index], index, forced, offered, index in fed)
        total, sink_side = network.cut()
        spatial_forms = frozenset(index for index in region.members if vertex[index] in sink_side)
        return Labelling(spatial_forms, nodes(before), nodes(total), weight(total) - weight(before), total < INFINITE)

    def _all_of(self, region: Region, layers: frozenset[int], fed: set[int]) -> bool:
        """Return whether all members are the cheapest on spatial forms, and no value between them is converted."""
        members = set(region.members)
        if not layers.issuperset(region.layers):
            return False
        if not all(self._prefers(i, fed) and not self.reads[i].originals for i in members):
            return False
        for name, view in ((name, self.facts.views.get(name)) for name in self._values(region)):
            if view is not None and view.free and name not in self.frames:
                continue
            maker = self.graph.producer.get(name)
            inside = maker is not None and self.units[maker] in members and name not in self.graph.leaving
            readers = map(self.units.__getitem__, self.graph.uses.get(name, ()))
            if not inside or name in self.frames or not members.issuperset(readers):
                return False
        return True

    def _prefers(self, index: int, fed: set[int]) -> bool:
        """Return whether a node costs more on originals, whatever its neighbours do."""
        recipe, layer = self.facts.nodes[index].recipe, self.facts.nodes[index].layer
        if layer is not None:
            return self.reads_spatial_form(index) and not layer.branches
        if isinstance(recipe, Drop) or (isinstance(recipe, Expand) and recipe.norm):
            return False
        if self._moves(index) or self.operands_moved(index):
            return False
        return index in fed or (self.own_prices[index] > CHANGED and not self._read_past(index))

    def _network(self, region: Region) -> tuple[dict[int, int], Network]:
        """Return the vertices of the members, and a network of what the values between them cost."""
        network = Network()
        vertex = {index: network.vertex() for index in region.members}
        originals = {
            name
            for i in region.members
            for name in self.reads[i].originals
            if self.reframed.get(i, ("", None))[0] != name
        }
        for name in self._values(region):
            self._value(network, vertex, name, originals)
        self._relaid(network, vertex)
        return vertex, network

    def _relaid(self, network: Network, vertex: Mapping[int, int]) -> None:
        """Charge for operands in layouts of their own: once for all readers, and not where the maker has made them."""
        readers: dict[tuple[str, tuple[Layout, Layout]], list[int]] = {}
        for index, at in vertex.items():
            for operand in self.operands_moved(index):
                readers.setdefault(operand, []).append(at)
        for (name, move), wanting in readers.items():
            maker = self.maker_in_layout(name, move[1])
            made = None if maker is None else vertex.get(maker)
            self._any(network, made, wanting, self.costs.price(conversion(*move)), spatial_forms=True)

    def _unary(
        self, network: Network, at: int, index: int, forced: frozenset[int], offered: frozenset[int], fed: bool
    ) -> None:
        facts = self.facts.nodes[index]
        if not self._read_past(index):
            network.edge(at, SINK, self.own_prices[index])
        if facts.layer is not None:
            if index in forced:
                network.edge(at, SINK, INFINITE)
            elif index not in offered:
                network.edge(SOURCE, at, INFINITE)
            else:
                network.edge(at, SINK, KEPT)
            network.edge(SOURCE, at, self.branch_price(index))
        elif isinstance(facts.recipe, Remap) and facts.recipe.lifts:
            network.edge(at, SINK, INFINITE)
        elif not isinstance(facts.recipe, Drop):
            network.edge(*((at, SINK) if fed else (SOURCE, at)), CHANGED)
        if isinstance(facts.recipe, Expand) and facts.recipe.norm:
            network.edge(SOURCE, at, WRITTEN_NORM)
        network.edge(SOURCE, at, sum(self.costs.price(conversion(*move)) for move in self._moves(index)))

    def _value(self, network: Network, vertex: Mapping[int, int], name: str, originals: set[str]) -> None:
        view, maker = self.facts.views.get(name), self.graph.producer.get(name)
        if view is not None and view.free and name not in self.frames:
            return  # it is its own spatial form
        made = vertex.get(self.units[maker]) if maker is not None else None
        if maker is not None and name not in self.results[self.units[maker]]:
            return
        readers = list(dict.fromkeys(self.units[i] for i in self.graph.uses.get(name, [])))
        inside = [i for i in readers if i in vertex]
        above = [i for i in self.from_above.get(name, []) if i in vertex]
        on_spatial_forms = [i for i in dict.fromkeys(inside + above) if name in self.reads[i].spatial_forms]
        always = name in self.graph.leaving or len(inside) < len(readers) or name in originals
        if on_spatial_forms and not (self._free(name) and made is None):
            cost = self.converting(name, to_spatial_form=True)
            self._any(network, made, [vertex[i] for i in on_spatial_forms], cost, spatial_forms=True)
        mores = [self._frame(network, vertex, made, layers) for layers in self.frames.get(name, {}).values()]
        if made is not None:
            cost = self.converting(name, to_spatial_form=False)
            if always:
                network.edge(SOURCE, made, cost)
            else:
                # Frames are made of the spatial form, where no original is there for others.
                more = min(sum(mores), cost)
                network.edge(SOURCE, made, more)
                cost -= more
                own = min(self.own_prices[maker], cost) if maker is not None and self._read_past(maker) else 0
                self._any(network, made, [vertex[i] for i in inside], cost, spatial_forms=False, either_way=own)

    def _frame(self, network: Network, vertex: Mapping[int, int], made: int | None, layers: Sequence[int]) -> int:
        """Charge once for a frame that layers share; return how much dearer it is when made of a spatial form."""
        wanting = [vertex[i] for i in layers if i in vertex]
        if not wanting:
            return 0
        of_original, of_spatial_form = self.frame_prices(layers[0])
        self._any(network, None, wanting, min(of_original, of_spatial_form), spatial_forms=True)
        self._any(network, made, wanting, max(of_original - of_spatial_form, 0), spatial_forms=True)
        return max(of_spatial_form - of_original, 0)

    def _read_past(self, index: int) -> bool:
        """Return whether a layout node goes if its readers, layers with frames made before it, run on spatial forms.

        Then readers that do not run on them pay for it, whether it stays for them or its spatial form is brought back.
        """
        if not self.own_prices[index]:
            return False
        (name,) = self.results[index]
        readers = {self.units[i] for i in self.graph.uses.get(name, [])}
        inside = bool(readers) and name not in self.from_above and name not in self.graph.leaving
        past = inside and all(self._reads_past(i, name) for i in readers)
        return past and self.converting(name, to_spatial_form=False) > 0

    def _reads_past(self, index: int, name: str) -> bool:
        """Return whether a reader of a value does not read it on spatial forms."""
        dies = isinstance(self.facts.nodes[index].recipe, Drop)
        return dies or (self.may_convert(index) and name not in self.reads[index].names)

    def _any(
        self,
        network: Network,
        made: int | None,
        readers: list[int],
        cost: int,
        *,
        spatial_forms: bool,
        either_way: int = 0,
    ) -> None:
        """Charge once if any reader wants the form in which the value is not made; `either_way` wherever it is made."""
        if not cost or not readers:
            return
        wants = network.vertex()
        for reader in readers:
            network.edge(*((wants, reader) if spatial_forms else (reader, wants)), INFINITE)
        maker = SOURCE if made is None else made
        network.edge(*((maker, wants) if spatial_forms else (wants, maker)), cost - either_way)
        network.edge(wants, SINK, either_way)

    def _values(self, region: Region) -> dict[str, None]:
        out: dict[str, None] = {}
        for index in region.members:
            out.update(dict.fromkeys([*self.results[index], *self.reads[index].names]))
        return out

    def _fed(self, region: Region, layers: frozenset[int]) -> set[int]:
        """Return the members that a layer feeds, directly or through other members."""
        fed: set[int] = set()
        hot: set[str] = set()
        for index in region.members:
            if index in layers or not hot.isdisjoint(self.graph.operands[index]):
                if index not in layers:
                    fed.add(index)
                hot.update(self.results[index])
        return fed
