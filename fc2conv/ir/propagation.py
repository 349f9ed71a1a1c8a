"""Shapes and small numbers of a scope's values, followed node by node where ONNX's inference loses them.

    s = Shape (map)        N, 8, H, W
    c = Div (s[1], 2)      4                 inference knows no Div
    r = Reshape (map, [s[0], 2, c, -1])      N, 2, 4, H*W

What follows from static sizes alone (pads, crops, indices) is a known number, so that static shapes stay static.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.ir.arithmetic import MOST, SOURCES, Numbers, counted
from fc2conv.ir.arithmetic.amount import Amount, of_size
from fc2conv.ir.arithmetic.lists import Items, of_lists
from fc2conv.ir.bodies import Known, through_bodies
from fc2conv.ir.constants import RANDOM, Constants
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.folding import computed
from fc2conv.ir.graph import Graph, attribute, int_attribute, ints_attribute, op, subgraphs
from fc2conv.ir.node_shapes import at_node
from fc2conv.layout.axes import ONE, Size, cached, nameless, product

Shape = tuple[Size, ...]


@dataclass(frozen=True)
class Propagated:
    """What is known of a scope's values: their shapes, and the small numbers that follow from shapes."""

    shapes: Mapping[str, Shape]
    numbers: Mapping[str, Numbers] = field(default_factory=dict)


NOTHING = Propagated({})


def propagate(
    graph: Graph, constants: Constants, shapes: Mapping[str, Shape], outer: Propagated = NOTHING
) -> Propagated:
    """What is known of a scope, given what inference says of it and what is known of the scopes around it."""
    return _Pass(graph, constants, shapes, outer).run()


_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


class _Pass:
    """One walk over the nodes; `_better` are the values of which more is known than inference was given."""

    def __init__(self, graph: Graph, constants: Constants, shapes: Mapping[str, Shape], outer: Propagated) -> None:
        self.graph = graph
        self.constants = constants
        self.shapes = {**outer.shapes, **shapes}
        self.numbers = {**outer.numbers}
        self._lists: dict[str, Items] = {}
        self._texts: dict[str, np.ndarray] = {}
        self._better = {*self.numbers, *(() if shapes else outer.shapes)}

    def run(self) -> Propagated:
        graph = self.graph
        for node, kind, operands, results in zip(graph.nodes, graph.kinds, graph.operands, graph.results, strict=True):
            if self.constants.makes(results):
                self._better.update(filter(None, results) if kind != "Constant" else ())
                continue
            found = self._evaluated(node, kind, operands)
            if found is not None:
                for name, numbers in zip(results, found, strict=False):
                    self._take(name, Known(tuple(map(Size, numbers.cells.shape)), numbers))
            elif kind in ("If", "Loop"):
                walk = partial(self._through, node)
                for name, value in zip(results, through_bodies(node, self._known, walk), strict=False):
                    self._take(name, value)
            elif (kind in _RULES or not self._better.isdisjoint(operands)) and self._open(results):
                for name, shape in self._shapes(node, kind).items():
                    self._learn(name, shape)
        return Propagated(self.shapes, self.numbers)

    def _take(self, name: str, value: Known) -> None:
        if value.numbers is not None:
            self.numbers[name] = value.numbers
            self._better.add(name)
        if value.shape is not None:
            self._learn(name, value.shape)

    def _known(self, name: str) -> Known:
        return Known(self.shape(name), self.number(name))

    def _through(self, node: NodeProto, name: str, body: GraphProto, given: Mapping[str, Known]) -> list[Known]:
        """What is known of the results of a body that is given so much."""
        inner = self.graph.within(node, name, body)
        shapes = {each: value.shape for each, value in given.items() if value.shape is not None}
        numbers = {each: value.numbers for each, value in given.items() if value.numbers is not None}
        around = Propagated({**self.shapes, **shapes}, {**self.numbers, **numbers})
        walk = _Pass(inner, Constants(inner, self.constants.file, self.constants), {}, around)
        walk.run()
        return [walk._known(each) for each in inner.outputs]

    def shape(self, name: str) -> Shape | None:
        found = self.shapes.get(name)
        if found is None and self.constants.is_constant(name):
            known = self.constants.shape(name)
            found = None if known is None else tuple(map(Size, known))
        return found

    def number(self, name: str) -> Numbers | None:
        """The numbers of an operand, computed or constant; None where they are not known, or many."""
        found = self.numbers.get(name)
        return self.constants.numbers(name) if found is None else found

    def _evaluated(self, node: NodeProto, kind: str, operands: Sequence[str]) -> tuple[Numbers, ...] | None:
        source = kind in SOURCES
        apart = self.numbers.keys().isdisjoint(operands) and self._lists.keys().isdisjoint(operands)
        if not source and apart and self._texts.keys().isdisjoint(operands):
            return None  # every chain begins with a shape
        node, shape = as_cast(self.graph, node), self.shape(operands[0]) if source else None
        found = counted(node, self.graph.opset, self.number, shape) or self._of_lists(node)
        return self._by_reference(node) if found is None else found

    def _of_lists(self, node: NodeProto) -> tuple[Numbers, ...] | None:
        """What a node makes of a list, and nothing where it makes one, which is noted; None of any other node."""
        read = [self._lists[name] if name in self._lists else self.number(name) for name in node.input if name]
        known = [each for each in read if each is not None]
        found = of_lists(node, known) if len(known) == len(read) else None
        if isinstance(found, tuple):
            self._lists[node.output[0]] = found
            return ()
        return None if found is None else (found,)

    def _by_reference(self, node: NodeProto) -> tuple[Numbers, ...] | None:
        """The results of any other operator of known numbers that gives few."""
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
        """Whether inference left a size open."""
        for name in results:
            shape = self.shapes.get(name)
            if name and (shape is None or any(map(_rank, shape))):
                return True
        return False

    def _shapes(self, node: NodeProto, kind: str) -> Mapping[str, Shape]:
        rule = _RULES.get(kind)
        shape = rule(self, node) if rule is not None else None
        if shape is not None:
            return {node.output[0]: shape}
        if self._better.isdisjoint(node.input):
            return {}
        numbers = [(name, self.number(name)) for name in node.input[1:] if name and self._decides(node, name)]
        values = {name: found.array() for name, found in numbers if found is not None and found.known}
        return at_node(node, self.graph.opsets, {name: self.shape(name) for name in node.input}, values)

    def _decides(self, node: NodeProto, name: str) -> bool:
        """Whether an operand's numbers may decide a shape: floating-point ones only say how much is resized."""
        stored = self.constants.stored(name)
        return stored is None or stored.type not in _FLOATS or op(node) in ("Resize", "Upsample", "Range")

    def _learn(self, name: str, shape: Shape) -> None:
        """Takes over the sizes of which more is known than before; one of 0 or less stays open."""
        shape = tuple(size if size.coefficient > 0 else Size(1, (f"?{name}.{i}",)) for i, size in enumerate(shape))
        old = self.shapes.get(name)
        if old is not None and len(old) == len(shape):
            shape = tuple(min(pair, key=_rank) for pair in zip(old, shape, strict=True))
        if shape != old and not (old is not None and len(old) != len(shape)):
            self.shapes[name] = shape
            self._better.add(name)


@cached
def _rank(size: Size) -> int:
    """How little is known of a size: 0 for a number, then its name, how it is computed, and only that it is there."""
    if not any(map(nameless, size.symbols)):
        return 0 if size.known else 1
    return 2 if all(symbol.startswith("?(") for symbol in size.symbols if nameless(symbol)) else 3


# ------------------------------------------------------------------ shapes that hang on numbers


def _reshaped(known: _Pass, node: NodeProto) -> Shape | None:
    """Reshape: 0 copies a size, and -1 is what is left."""
    data, shape_attribute = known.shape(node.input[0]), ints_attribute(node, "shape")
    target = known.number(node.input[1]) if shape_attribute is None else None
    if shape_attribute is None and target is None:
        return _of_rank(known, node, node.input[1])
    sizes = list(map(Size, shape_attribute or ())) if target is None else list(target.as_sizes())
    for i, size in enumerate(sizes):
        if size == Size(0) and not int_attribute(node, "allowzero", 0) and data is not None and i < len(data):
            sizes[i] = data[i]
    if Size(-1) in sizes:
        i = sizes.index(Size(-1))
        rest = product(size for size in sizes if size != Size(-1))
        whole = product(data).over(rest) if data is not None else None
        sizes[i] = _unknown(node, i) if whole is None else whole
    return tuple(sizes)


def _expanded(known: _Pass, node: NodeProto) -> Shape | None:
    """Expand: the larger of two sizes, one of which is 1."""
    data, target = known.shape(node.input[0]), known.number(node.input[1])
    if data is None or target is None:
        return _of_rank(known, node, node.input[1])
    sizes = target.as_sizes()
    rank = max(len(data), len(sizes))
    pairs = zip((ONE,) * (rank - len(data)) + data, (ONE,) * (rank - len(sizes)) + sizes, strict=True)
    return tuple(
        wanted
        if size in (ONE, wanted)
        else size
        if wanted == ONE or (size.known and size != ONE)
        else _unknown(node, i)
        for i, (size, wanted) in enumerate(pairs)
    )


def _filled(known: _Pass, node: NodeProto) -> Shape | None:
    """ConstantOfShape: the numbers themselves."""
    target = known.number(node.input[0])
    return _of_rank(known, node, node.input[0]) if target is None else target.as_sizes()


def _tiled(known: _Pass, node: NodeProto) -> Shape | None:
    """Tile: each size, so many times."""
    if len(node.input) != 2:
        return None  # before opset 6
    data, times = known.shape(node.input[0]), known.number(node.input[1])
    if data is None or times is None or len(data) != times.cells.size:
        return None
    return tuple(size * each for size, each in zip(data, times.as_sizes(), strict=True))


def _resized(known: _Pass, node: NodeProto) -> Shape | None:
    """Resize to sizes that are not all known."""
    sizes = known.number(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    data = known.shape(node.input[0])
    if sizes is None or data is None or sizes.known or sizes.cells.size != len(data):
        return None
    return None if attribute(node, "keep_aspect_ratio_policy") is not None else sizes.as_sizes()


def _counted(known: _Pass, node: NodeProto) -> Shape | None:
    """Range from 0 by 1: as many as its end."""
    start, stop, step = (known.number(name) for name in node.input)
    if start is None or stop is None or step is None or not (start.known and step.known):
        return None
    return stop.as_sizes() if (start.array().item(), step.array().item()) == (0, 1) else None


def _sliced(known: _Pass, node: NodeProto) -> Shape | None:
    """Slice by numbers that are not all known: along each axis they may be, or take all of it."""
    data, bounds = known.shape(node.input[0]), [known.number(name) if name else None for name in node.input[1:]]
    if data is None or len(bounds) < 2 or bounds[0] is None or bounds[1] is None or bounds[1].known:
        return None
    starts, ends, count = bounds[0].cells, bounds[1].cells, len(bounds[0].cells)
    axes = bounds[2].ints() if bounds[2:] and bounds[2] is not None else range(count)
    steps = bounds[3].ints() if bounds[3:] and bounds[3] is not None else [1] * count
    sizes = list(data)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        whole = of_size(data[axis])
        if not any(isinstance(each, Amount) for each in (start, end)) and data[axis].known:
            sizes[axis] = Size(len(range(data[axis].coefficient)[start:end:step]))
        elif start != 0 or step != 1 or end != whole:
            sizes[axis] = _unknown(node, axis % len(data))
    return tuple(sizes)


def _convolved(known: _Pass, node: NodeProto) -> Shape | None:
    """Conv and ConvTranspose of what nothing is known of: rank and channels are those of the weight."""
    weight = known.shape(node.input[1]) if known.shape(node.input[0]) is None else None
    if weight is None or len(weight) < 2:
        return None
    channels = weight[0] if op(node) == "Conv" else weight[1] * Size(int_attribute(node, "group", 1))
    return tuple(channels if i == 1 else _unknown(node, i) for i in range(len(weight)))


def _of_rank(known: _Pass, node: NodeProto, target: str) -> Shape | None:
    """As many unknown sizes as a target has elements."""
    shape = known.shape(target)
    if shape is None or len(shape) != 1 or not shape[0].known:
        return None
    return tuple(_unknown(node, i) for i in range(shape[0].coefficient))


def _unknown(node: NodeProto, i: int) -> Size:
    return Size(1, (f"?{node.output[0]}.{i}",))


_RULES: dict[str, Callable[[_Pass, NodeProto], Shape | None]] = {
    "Reshape": _reshaped,
    "Expand": _expanded,
    "ConstantOfShape": _filled,
    "Tile": _tiled,
    "Resize": _resized,
    "Range": _counted,
    "Slice": _sliced,
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolved),
}
"""Results whose sizes are computed: what inference sees of them is what it can count."""
