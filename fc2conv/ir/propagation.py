"""Shapes and small numbers of a scope's values, followed node by node where ONNX's inference loses them.

    s = Shape (map)        N, 8, H, W
    c = Div (s[1], 2)      4                 inference knows no Div
    r = Reshape (map, [s[0], 2, c, -1])      N, 2, 4, H*W

What follows from static sizes alone (pads, crops, indices) is a known number, so that static shapes stay static.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.ir.arithmetic import MOST, SOURCES, Numbers, counted
from fc2conv.ir.arithmetic.lists import Items, of_lists
from fc2conv.ir.bodies import Known, through_bodies
from fc2conv.ir.constants import RANDOM, Constants
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.folding import computed
from fc2conv.ir.graph import Graph, op, subgraphs
from fc2conv.ir.node_shapes import at_node
from fc2conv.ir.open_shapes import RULES, Shape
from fc2conv.layout.axes import Size, cached, nameless, product


@dataclass(frozen=True)
class Propagated:
    """What is known of a scope's values: their shapes, and the small numbers that follow from shapes."""

    shapes: Mapping[str, Shape]
    numbers: Mapping[str, Numbers] = field(default_factory=dict)


NOTHING = Propagated({})
_MOST_WALKED = 1 << 14
"""Nodes of bodies after which no further step of a Loop is walked."""


@dataclass
class _Walked:
    """How many nodes of bodies one propagation has walked, in all walks together."""

    nodes: int = 0


def propagate(
    graph: Graph, constants: Constants, shapes: Mapping[str, Shape], outer: Propagated = NOTHING
) -> Propagated:
    """Return what is known of a scope, given what inference says of it and what is known of the scopes around it."""
    return _Pass(graph, constants, shapes, outer).run()


_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


class _Pass:
    """One walk over the nodes; `_better` are the values of which more is known than inference was given.

    Unknown numbers and sizes have `_prefix` in their names: no other scope that is seen, and no other walk, has it.
    """

    def __init__(
        self,
        graph: Graph,
        constants: Constants,
        shapes: Mapping[str, Shape],
        outer: Propagated,
        given: Mapping[str, Known] | None = None,
        walked: _Walked | None = None,
        prefix: str = "",
    ) -> None:
        self.graph = graph
        self.constants = constants
        self._walked = walked or _Walked()
        self._prefix = prefix or "'" * (len(graph.around) - 1)
        self.shapes, self.numbers = {**outer.shapes}, {**outer.numbers}
        for name in (*graph.inputs, *graph.initializers, *graph.producer) if self.shapes or self.numbers else ():
            self.shapes.pop(name, None)  # another value of this name, around the scope
            self.numbers.pop(name, None)
        self.shapes |= shapes
        self._lists: dict[str, Items] = {}
        self._texts: dict[str, np.ndarray] = {}
        self._better = {*self.numbers, *(() if shapes else self.shapes)}
        for name, value in (given or {}).items():
            self._take(name, value)

    def run(self) -> Propagated:
        graph = self.graph
        for node, kind, operands, results in zip(graph.nodes, graph.kinds, graph.operands, graph.results, strict=True):
            if self.constants.makes(results):
                self._better.update(filter(None, results) if kind != "Constant" else ())
                if self._settled(kind, operands, results):
                    continue
            found = self._evaluated(node, kind, operands)
            if found is not None:
                for name, numbers in zip(results, found, strict=False):
                    self._take(name, Known(tuple(map(Size, numbers.cells.shape)), numbers))
            elif kind in ("If", "Loop"):
                walk = partial(self._through, node)
                for name, value in zip(results, through_bodies(node, self._known, walk), strict=False):
                    self._take(name, value)
            elif (kind in RULES or not self._better.isdisjoint(operands)) and self._open(results):
                for name, shape in self._shapes(node, kind).items():
                    self._learn(name, shape)
        return Propagated(self.shapes, self.numbers)

    def _settled(self, kind: str, operands: Sequence[str], results: Sequence[str]) -> bool:
        """Return whether the constants say all of a node's results; learn the shapes that inference left open.

        A constant that is not computed has a shape, and its Shape has numbers.
        """
        opened = [name for name in results if self._open([name])]
        known = {name: self.constants.shape(name) for name in opened}
        for name, shape in known.items():
            if shape is not None:
                self._learn(name, tuple(map(Size, shape)))
        return None not in known.values() and kind not in SOURCES and self.numbers.keys().isdisjoint(operands)

    def _take(self, name: str, value: Known) -> None:
        if value.numbers is not None:
            self.numbers[name] = value.numbers
            self._better.add(name)
        if value.shape is not None:
            self._learn(name, value.shape)

    def _known(self, name: str) -> Known:
        return Known(self.shape(name), self.number(name))

    def _through(self, node: NodeProto, name: str, body: GraphProto, given: Mapping[str, Known]) -> list[Known]:
        """Return what is known of the results of a body, given what is known of its inputs."""
        before = self._walked.nodes
        if op(node) == "Loop" and before > _MOST_WALKED:
            return []
        self._walked.nodes += 1 + len(body.node)
        inner = self.graph.within(node, name, body)
        around, constants = Propagated(self.shapes, self.numbers), Constants(inner, self.constants.file, self.constants)
        walk = _Pass(inner, constants, {}, around, given, self._walked, f"{self._prefix}#{before}.")
        walk.run()
        return [walk._known(each) for each in inner.outputs]

    def shape(self, name: str) -> Shape | None:
        found = self.shapes.get(name)
        if found is None and self.constants.is_constant(name):
            known = self.constants.shape(name)
            found = None if known is None else tuple(map(Size, known))
        return found

    def number(self, name: str) -> Numbers | None:
        """Return the numbers of an operand, computed or constant; None where they are not known, or many."""
        found = self.numbers.get(name)
        return self.constants.numbers(name) if found is None else found

    def _evaluated(self, node: NodeProto, kind: str, operands: Sequence[str]) -> tuple[Numbers, ...] | None:
        source = kind in SOURCES
        apart = self.numbers.keys().isdisjoint(operands) and self._lists.keys().isdisjoint(operands)
        if not source and apart and self._texts.keys().isdisjoint(operands):
            return None  # every chain begins with a shape
        node, shape = as_cast(self.graph, node), self.shape(operands[0]) if source else None
        found = counted(node, self.graph.opset, self.number, shape, self._prefix) or self._of_lists(node)
        return self._by_reference(node) if found is None else found

    def _of_lists(self, node: NodeProto) -> tuple[Numbers, ...] | None:
        """Return what a node reads from a list; note the list that it makes, and return (); else return None."""
        read = [self._lists[name] if name in self._lists else self.number(name) for name in node.input if name]
        known = [each for each in read if each is not None]
        found = of_lists(node, known) if len(known) == len(read) else None
        if isinstance(found, tuple):
            self._lists[node.output[0]] = found
            return ()
        return None if found is None else (found,)

    def _by_reference(self, node: NodeProto) -> tuple[Numbers, ...] | None:
        """Compute the results of any other operator on known numbers, if there are few; else return None."""
        if node.domain not in ONNX_DOMAINS or op(node) in (*RANDOM, *SOURCES) or any(True for _ in subgraphs(node)):
            return None
        known = {name: self.number(name) for name in node.input if name}
        values = {name: each.array() for name, each in known.items() if each is not None and each.known}
        values |= {name: self._texts[name] for name in known.keys() & self._texts.keys()}
        shapes = at_node(node, self.graph.opsets, {}, values) if len(values) == len(known) else {}
        few = all(name in shapes and product(shapes[name]).coefficient <= MOST for name in node.output if name)
        made = computed(node, values, self.graph.opsets) if few and shapes else None
        self._texts |= {
            name: each for name, each in zip(node.output, made or (), strict=False) if each.dtype.kind == "U"
        }
        found = [Numbers.of(array) for array in made or ()]
        out = tuple(each for each in found if each is not None)
        return out if out and len(out) == len(node.output) else None

    def _open(self, results: Iterable[str]) -> bool:
        """Return whether inference left a size open."""
        for name in results:
            shape = self.shapes.get(name)
            if name and (shape is None or any(map(_rank, shape))):
                return True
        return False

    def _shapes(self, node: NodeProto, kind: str) -> Mapping[str, Shape]:
        rule = RULES.get(kind)
        shape = rule(self, node) if rule is not None else None
        if shape is not None:
            return {node.output[0]: shape}
        if self._better.isdisjoint(node.input):
            return {}
        numbers = [(name, self.number(name)) for name in node.input[1:] if name and self._decides(node, name)]
        values = {name: found.array() for name, found in numbers if found is not None and found.known}
        return at_node(node, self.graph.opsets, {name: self.shape(name) for name in node.input}, values)

    def _decides(self, node: NodeProto, name: str) -> bool:
        """Return whether an operand's numbers may decide a shape: floating-point ones only say how much is resized."""
        stored = self.constants.stored(name)
        return stored is None or stored.type not in _FLOATS or op(node) in ("Resize", "Upsample", "Range")

    def _learn(self, name: str, shape: Shape) -> None:
        """Take over the sizes of which more is known than before; a size of 0 or less stays open."""
        shape = tuple(
            Size(1, (f"?{self._prefix}{name}.{i}",))
            if size.coefficient <= 0 or size.symbols == (f"?{name}.{i}",)
            else size
            for i, size in enumerate(shape)
        )
        old = self.shapes.get(name)
        if old is not None and len(old) == len(shape):
            shape = tuple(min(pair, key=_rank) for pair in zip(old, shape, strict=True))
        if shape != old and not (old is not None and len(old) != len(shape)):
            self.shapes[name] = shape
            self._better.add(name)


@cached
def _rank(size: Size) -> int:
    """Return how little is known of a size: 0 for a number, 1 for a name, 2 for a formula, 3 for an unknown size."""
    if not any(map(nameless, size.symbols)):
        return 0 if size.known else 1
    return 2 if all(symbol.startswith("?(") for symbol in size.symbols if nameless(symbol)) else 3
