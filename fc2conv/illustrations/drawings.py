"""The graph about a head, before and after, clipped to the nodes that change and those next to them.

What changed is read off the two graphs alone: a node is the same where the other graph holds one that is equal to
the byte and reads constants of the same shapes. Nothing of the plan is asked, so that the drawing shows what was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from onnx import AttributeProto, NodeProto

from fc2conv.axes import Size
from fc2conv.graph import label, op
from fc2conv.illustrations.scope import Scope
from fc2conv.report.types import Change, DrawnEdge, DrawnNode, Graph, HeadDrawing

MAX_SITES = 4
"""Layers of a head that are drawn."""
MAX_STEPS = 3
"""How far from a layer a changed node may stand that is drawn."""
MAX_NODES = 32
"""Nodes of one graph that are drawn."""
MAX_READERS = 3
"""Unchanged readers of one value that are drawn."""

_UNKNOWN = "?"


class _Side:
    """One of the two graphs: its nodes, who makes and who reads a value, and what each node is, to the byte."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes = [node for node in scope.graph.node if not self._constant(node)]
        self.producer = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.readers: dict[str, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for name in self.read(node):
                self.readers.setdefault(name, []).append(i)
        self.inputs = {value.name for value in scope.graph.input}
        self.outputs = {value.name for value in scope.graph.output}

    def _constant(self, node: NodeProto) -> bool:
        return all(name in self.scope.constants for name in node.output if name)

    def read(self, node: NodeProto) -> list[str]:
        """The values that a node reads and that are not constant, each once."""
        return [name for name in dict.fromkeys(node.input) if name and name not in self.scope.constants]

    def before(self, i: int) -> Iterator[int]:
        """The nodes that make what a node reads."""
        return (self.producer[name] for name in self.read(self.nodes[i]) if name in self.producer)

    def behind(self, i: int) -> Iterator[int]:
        """The nodes that read what a node makes."""
        return (reader for name in self.nodes[i].output for reader in self.readers.get(name, ()))

    @cached_property
    def signatures(self) -> list[tuple[bytes, str]]:
        """What each node is, with the shapes of the constants that it reads."""
        return [(node.SerializeToString(deterministic=True), self.weights(node)) for node in self.nodes]

    def weights(self, node: NodeProto) -> str:
        """The shapes of a node's constant operands, a rank above 1 only."""
        shapes = [self.scope.shape(name) for name in node.input if name in self.scope.constants]
        return ", ".join(_sizes(shape) for shape in shapes if shape is not None and len(shape) > 1)


def drawn(sites: Sequence[str], before: Scope, after: Scope) -> HeadDrawing:
    """The graph about the layers `sites`, named by their nodes, in both scopes."""
    old, new = _Side(before), _Side(after)
    pairs = _counterparts(old, new)
    shown = list(dict.fromkeys(sites))[:MAX_SITES]
    left = _Drawing(old, _changed(old, new), shown)
    right = _Drawing(new, _changed(new, old), shown)
    places = {i: place for place, i in enumerate(right.shown)}
    links = {i: places[pairs[i]] for i in left.shown if pairs.get(i) in places}
    back = {place: i for i, place in links.items()}
    homes = {i: place for place, i in enumerate(left.shown)}
    return HeadDrawing(
        before=left.graph("removed", links),
        after=right.graph("added", {i: homes[back[places[i]]] for i in right.shown if places[i] in back}),
        sites_left_out=len(set(sites)) - len(shown),
    )


def _changed(side: _Side, other: _Side) -> set[int]:
    there = Counter(other.signatures)
    out = set()
    for i, signature in enumerate(side.signatures):
        there[signature] -= 1
        if there[signature] < 0:
            out.add(i)
    return out


def _counterparts(old: _Side, new: _Side) -> dict[int, int]:
    """The node of the other graph that has the same name, or makes the same value."""
    names = {node.name: i for i, node in enumerate(new.nodes) if node.name}
    out: dict[int, int] = {}
    taken: set[int] = set()
    for i, node in enumerate(old.nodes):
        found = names.get(node.name) if node.name else None
        found = next((new.producer[n] for n in node.output if n in new.producer), None) if found is None else found
        if found is not None and found not in taken:
            out[i] = found
            taken.add(found)
    return out


class _Drawing:
    """What of one graph is drawn: `shown`, positions of nodes in the order of the graph."""

    def __init__(self, side: _Side, changed: set[int], sites: Sequence[str]) -> None:
        self.side = side
        self.changed = changed
        core = self._core([i for i, node in enumerate(side.nodes) if label(node) in sites])
        self.shown = sorted(core | set(self._next_to(core)))[:MAX_NODES]

    def _core(self, seeds: Iterable[int]) -> set[int]:
        """The layers, and the changed nodes within a few steps of them."""
        core = set(seeds)
        rim = set(core)
        for _ in range(MAX_STEPS):
            near = {j for i in rim for j in (*self.side.before(i), *self.side.behind(i)) if j in self.changed}
            rim = near - core
            core |= rim
        return core

    def _next_to(self, core: set[int]) -> Iterator[int]:
        for i in core:
            yield from self.side.before(i)
            yield from list(self.side.behind(i))[:MAX_READERS]

    def graph(self, gone: Change, links: Mapping[int, int]) -> Graph:
        """The nodes and edges, with the graph's own inputs and outputs, and `...` where it goes on."""
        place = {i: p for p, i in enumerate(self.shown)}
        nodes = [self._node(i, gone, links.get(i)) for i in self.shown]
        edges: list[DrawnEdge] = []

        def extra(kind: str, name: str = "") -> int:
            nodes.append(DrawnNode(name=name, op_type="", kind="more" if kind == "more" else "value"))
            return len(nodes) - 1

        values: dict[str, int] = {}
        for i in self.shown:
            hidden = False
            for name in self.side.read(self.side.nodes[i]):
                maker = self.side.producer.get(name)
                if maker in place:
                    edges.append(self._edge(place[maker], place[i], name))
                elif maker is None and name in self.side.inputs:
                    values[name] = values[name] if name in values else extra("value", name)
                    edges.append(self._edge(values[name], place[i], name))
                elif not hidden:
                    hidden = True
                    edges.append(self._edge(extra("more"), place[i], name))
        for i in self.shown:
            node = self.side.nodes[i]
            for name in node.output:
                if name in self.side.outputs:
                    edges.append(self._edge(place[i], extra("value", name), name))
            if not any(j in place for j in self.side.behind(i)):
                unseen = next((name for name in node.output if self.side.readers.get(name)), None)
                if unseen is not None:
                    edges.append(self._edge(place[i], extra("more"), unseen))
        return Graph(nodes=nodes, edges=edges)

    def _node(self, i: int, gone: Change, link: int | None) -> DrawnNode:
        node = self.side.nodes[i]
        change: Change = "same" if i not in self.changed else gone if link is None else "changed"
        detail = self.side.weights(node) or _perm(node)
        return DrawnNode(name=label(node), op_type=op(node), change=change, detail=detail, counterpart=link)

    def _edge(self, source: int, target: int, value: str) -> DrawnEdge:
        shape = self.side.scope.shape(value)
        return DrawnEdge(source=source, target=target, value=value, shape="" if shape is None else _sizes(shape))


def _perm(node: NodeProto) -> str:
    found = next((a for a in node.attribute if a.name == "perm" and a.type == AttributeProto.INTS), None)
    return f"perm {' '.join(map(str, found.ints))}" if found is not None else ""


def _sizes(shape: Sequence[Size]) -> str:
    """`N x 512 x 7 x 7`, with the model's own symbols, and `?` for a size that has no name."""
    return " x ".join(_size(size) for size in shape) or "scalar"


def _size(size: Size) -> str:
    symbols = [_UNKNOWN if symbol.startswith("?") else symbol for symbol in size.symbols]
    numbers = [str(size.coefficient)] if size.coefficient != 1 or not symbols else []
    return " ".join([*numbers, *symbols])
