"""The graph about a head, before and after, clipped to the nodes that change and those next to them.

What changed is read off the two graphs alone: a node is the same where the other graph holds one that is equal to
the byte and reads constants of the same shapes. Nothing of the plan is asked, so that the drawing shows what was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal

from onnx import NodeProto

from fc2conv.diagrams.scope import Scope
from fc2conv.ir.graph import ints_attribute, label, op
from fc2conv.layout.axes import Size, nameless
from fc2conv.report.parts import Change, DrawnEdge, DrawnNode, Graph, HeadDrawing

MAX_SITES = 4
"""Layers of a head that are drawn."""
MAX_STEPS = 3
"""How far from a layer a changed node may be and still be drawn."""
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
        """Return the values that a node reads and that are not constant, each once."""
        return [name for name in dict.fromkeys(node.input) if name and name not in self.scope.constants]

    def before(self, i: int) -> Iterator[int]:
        """Yield the nodes that make what a node reads."""
        return (self.producer[name] for name in self.read(self.nodes[i]) if name in self.producer)

    def behind(self, i: int) -> Iterator[int]:
        """Yield the nodes that read what a node makes."""
        return (reader for name in self.nodes[i].output for reader in self.readers.get(name, ()))

    @cached_property
    def signatures(self) -> list[tuple[bytes, str]]:
        """What each node is, with the shapes of the constants that it reads."""
        return [(node.SerializeToString(deterministic=True), self.weights(node)) for node in self.nodes]

    def operator(self, i: int) -> tuple[str, list[bytes], str]:
        """Return what a node does, whatever its operands: its operator, attributes and weights."""
        node = self.nodes[i]
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        return op(node), attributes, self.weights(node)

    def weights(self, node: NodeProto) -> str:
        """Return the shapes of a node's constant operands of a rank above 1, as text."""
        shapes = [self.scope.shape(name) for name in node.input if name in self.scope.constants]
        return ", ".join(_sizes(shape) for shape in shapes if shape is not None and len(shape) > 1)


def drawn(sites: Sequence[str], before: Scope, after: Scope) -> HeadDrawing:
    """Draw the graph about the layers `sites`, named by their nodes, in both scopes."""
    old, new = _Side(before), _Side(after)
    pairs = _counterparts(old, new)
    back = {j: i for i, j in pairs.items()}
    shown = list(dict.fromkeys(sites))[:MAX_SITES]
    gone, made = _changes(old, new, pairs, "removed"), _changes(new, old, back, "added")
    one, other = _core(old, gone, shown), _core(new, made, shown)
    left = _Drawing(old, gone, one | {back[j] for j in other if j in back})
    right = _Drawing(new, made, other | {pairs[i] for i in one if i in pairs})
    return HeadDrawing(
        before=left.graph({i: right.place[j] for i, j in pairs.items() if j in right.place}),
        after=right.graph({j: left.place[i] for j, i in back.items() if i in left.place}),
        sites_left_out=len(set(sites)) - len(shown),
    )


def _changes(side: _Side, other: _Side, pairs: Mapping[int, int], alone: Change) -> list[Change]:
    """Return what became of each node; `alone` is what a node without a counterpart became."""
    there = Counter(other.signatures)
    out: list[Change] = []
    for i, signature in enumerate(side.signatures):
        there[signature] -= 1
        if there[signature] >= 0:
            out.append("same")
        elif i not in pairs:
            out.append(alone)
        else:
            same = side.operator(i) == other.operator(pairs[i])
            out.append("rewired" if same else "changed")
    return out


def _counterparts(old: _Side, new: _Side) -> dict[int, int]:
    """Pair each node with that of the other graph that has its name, or makes its value or the spatial form of it."""
    names = {label(node): i for i, node in enumerate(new.nodes)}
    out: dict[int, int] = {}
    taken: set[int] = set()
    for i, node in enumerate(old.nodes):
        made = (new.producer.get(form) for name in node.output if name for form in (name, f"{name}_s"))
        found = next((j for j in (names.get(label(node)), *made) if j is not None), None)
        if found is not None and found not in taken:
            out[i] = found
            taken.add(found)
    return out


def _core(side: _Side, changes: Sequence[Change], sites: Sequence[str]) -> set[int]:
    """Return the layers, and the changed nodes within a few steps of them."""
    core = {i for i, node in enumerate(side.nodes) if label(node) in sites}
    rim = set(core)
    for _ in range(MAX_STEPS):
        near = {j for i in rim for j in (*side.before(i), *side.behind(i)) if changes[j] != "same"}
        rim = near - core
        core |= rim
    return core


class _Drawing:
    """What of one graph is drawn: `place` has the nodes (positions in the graph) with their places in the drawing."""

    def __init__(self, side: _Side, changes: Sequence[Change], core: set[int]) -> None:
        self.side = side
        self.changes = changes
        near = {j for i in core for j in (*side.before(i), *islice(side.behind(i), MAX_READERS))}
        self.place = {i: place for place, i in enumerate(sorted(core | near)[:MAX_NODES])}

    def graph(self, links: Mapping[int, int]) -> Graph:
        """Draw the nodes and edges, with the graph's own inputs and outputs, and `...` where it goes on.

        `links` are the places that the counterparts of nodes have in the other drawing.
        """
        place = self.place
        nodes = [self._node(i, links.get(i)) for i in place]
        edges: list[DrawnEdge] = []

        def extra(kind: Literal["value", "more"], name: str = "") -> int:
            nodes.append(DrawnNode(name=name, op_type="", kind=kind))
            return len(nodes) - 1

        values: dict[str, int] = {}
        for i in place:
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
        for i in place:
            node = self.side.nodes[i]
            for name in node.output:
                if name in self.side.outputs:
                    edges.append(self._edge(place[i], extra("value", name), name))
            if not any(j in place for j in self.side.behind(i)):
                unseen = next((name for name in node.output if self.side.readers.get(name)), None)
                if unseen is not None:
                    edges.append(self._edge(place[i], extra("more"), unseen))
        return Graph(nodes=nodes, edges=edges)

    def _node(self, i: int, link: int | None) -> DrawnNode:
        node = self.side.nodes[i]
        perm = ints_attribute(node, "perm")
        detail = self.side.weights(node) or ("" if perm is None else f"perm {' '.join(map(str, perm))}")
        return DrawnNode(name=label(node), op_type=op(node), change=self.changes[i], detail=detail, counterpart=link)

    def _edge(self, source: int, target: int, value: str) -> DrawnEdge:
        shape = self.side.scope.shape(value)
        return DrawnEdge(source=source, target=target, value=value, shape="" if shape is None else _sizes(shape))


def _sizes(shape: Sequence[Size]) -> str:
    """Write sizes as `N x 512 x 7 x 7`, with the model's own symbols, and `?` for a size that has no name."""
    return " x ".join(_size(size) for size in shape) or "scalar"


def _size(size: Size) -> str:
    symbols = [_UNKNOWN if nameless(symbol) else symbol for symbol in size.symbols]
    numbers = [str(size.coefficient)] if size.coefficient != 1 or not symbols else []
    return " ".join([*numbers, *symbols])
