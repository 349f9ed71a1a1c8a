"""What a model does with the sizes of open axes, which a proof at two sizes may not show.

- It names positions, that lie behind both sizes.
- It makes numbers of the sizes which do not grow evenly: rounded ones, remainders, the larger of two.
- It sums over open axes, and scales by numbers that grow, so that a value is a polynomial of a size: one of degree d is
  the same as another if it is so at d + 1 sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.positions import FAR, STRAIGHT, bent, content, depends, item_of, positions
from fc2conv.verification.exact.shapes import carried
from fc2conv.verification.exact.terms import Array, Shape, Term, digest
from fc2conv.verification.exact.unrolled import passed
from fc2conv.verification.exact.walk import Scope, Walk
from fc2conv.verification.nodes import captured, in_order, integer

_LAYOUT = frozenset("Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
"""Operators that give the same numbers in another layout."""
_ELEMENTS = {
    **dict.fromkeys(
        """CenterCropPad Expand Gather GatherElements GatherND Pad Reshape Resize Slice Split Squeeze Tile TopK
        Unsqueeze Upsample""".split(),
        (0,),
    ),
    **dict.fromkeys(("ConstantOfShape", "Shape", "Size"), ()),
    "Range": (0, 2),
}
"""The operands whose elements are in a result, of operators that have others which say where, or how many."""
_ADDED = frozenset("Add Sub Sum ReduceSum".split())
"""Operators of which a quotient of one size and of another has both sizes below the line."""
_SUMS = frozenset("ReduceSum ReduceMean ReduceProd MatMul MatMulInteger Gemm Einsum GlobalLpPool".split())
"""Operators that sum over the axes which a result has not."""
_ALONG = {
    **dict.fromkeys("Softmax LogSoftmax".split(), (2, 1, -1)),
    **dict.fromkeys("RMSNormalization SimplifiedLayerNormalization".split(), (3, 1, -1)),
    "LayerNormalization": (6, 4, -1),
    "InstanceNormalization": (6, 4, 2),
    "GroupNormalization": (6, 4, 1),
    "CumSum": (1, 1, 0),
}
"""How often an operand is a factor of a result, and a sum over axes that stay, from which axis on."""
_ALONE, _ONE_AXIS = frozenset("Softmax LogSoftmax".split()), 13
"""Those which sum over that axis alone, from an opset on."""
_MOST_BEFORE = 8
"""How many sizes are run that are below the first two."""
_SIZES = 3
"""At how many sizes two models are compared at the most, of which both make such polynomials."""

Values = Mapping[str, Term]
Place = tuple[str, int]
Uses = dict[bytes, tuple[int, NodeProto, bool]]
"""What uses one number on the way to the same outputs: for each value the item from which it differs, and its node.

Last comes whether the number is the same one at both sizes, so that neither shows what is done with another.
"""


@dataclass(frozen=True)
class Beyond:
    """The last position behind two sizes that matters, its node, and at how many sizes two models must be the same.

    They must be so with the numbers of items `before` those as well, where a model does something else there.
    """

    position: int = 0
    node: NodeProto | None = None
    sizes: int = 2
    before: frozenset[float] = frozenset()


class Growth:
    """What one model does with open sizes, by its walks at few items and at many; what is `cut` is a variable.

    `uses` are those of numbers that may be others at other sizes, `places` the positions that are named by the sizes of
    their axis, from the end below 0, each with its node. `degree` is the largest of a value as a polynomial of a size,
    which `node` makes, and `steps` are those of what is multiplied on the way to it.
    """

    def __init__(self, few: Walk, many: Walk, cut: Callable[[Term], bool], sizes: tuple[float, int, int]) -> None:
        self.uses: dict[object, Uses] = {}
        self.places: dict[tuple[int, int], dict[int, NodeProto]] = {}
        self.degree, self.node = 0, NodeProto()
        self.steps = Counter[tuple[int, ...]]()
        self._side, self._cut, self._sizes, self._bodies = few.side, cut, sizes, few.bodies
        self._degrees: dict[bytes, int] = {}
        self._numbers: dict[tuple[Place, str], int] = {}
        self._bent: dict[tuple[Place, str], tuple[int, bytes]] = {}
        self._grow: dict[tuple[bytes, bytes], int] = {}
        self._values = [{scope.place: scope.values for scope, _ in walk.nodes} for walk in (few, many)]
        others, ways = self._values[1], dict[Place, dict[str, frozenset[str]]]()
        for scope, node in few.nodes:
            taken = self._taken(scope, node, others[scope.place]) if scope.place in others else ()
            for name, how, key, item, hides in taken:
                if scope.place not in ways:
                    ways[scope.place] = _outputs_of(scope)
                what = how, ways[scope.place].get(name)
                self.uses.setdefault(what, {})[key] = item, node, hides

    def _taken(self, scope: Scope, node: NodeProto, others: Values) -> Iterator[tuple[str, bytes, bytes, int, bool]]:
        """Take one node in, and yield its results that use a number which may be another one."""
        values, place = scope.values, scope.place
        alone = any(name in scope.own and scope.own[name].sides == self._side for name in node.output)
        if alone or node.op_type == "Squeeze":
            for n, pair in positions(node, values, others):
                self.places.setdefault(pair, {}).setdefault(n, node)
        names = [name for name in (*node.input, *captured(node)) if name in values and name in others]
        pairs = [(values[name], others[name]) for name in names]
        numbers = [(one.value, other.value) for one, other in pairs]
        grown = [self._degree_of(place, name, *pair) for name, pair in zip(names, pairs, strict=True)]
        scales = [each for name, each in zip(names, grown, strict=True) if _in_result(node, name)]
        gives = {name: values[name] for name in node.output if name in values and values[name].value is not None}
        behind = [self._bent[place, name] for name in names if (place, name) in self._bent]
        if gives:
            degree = (max if node.op_type in STRAIGHT else sum)([0, *scales])
            self._numbers |= {(place, name): degree for name in gives if degree > 1}
        else:
            version, both = scope.opsets.get("", 0), [values[n] for n in node.output if n in values and n in others]
            self._scaled(node, version, both, others, pairs, scales)
        made = [term.value for term in gives.values()]
        grows = sum(map(bool, grown)) if gives else 0
        named = self._bodies.get((place, node.output[0]), b"")
        steps = FAR if named and not self._fixed(scope, node) else 0
        items = bent(node, numbers, made, self._sizes, grows, bool(behind)), *(item for item, _ in behind), steps
        worst = _worst(items)
        if not worst:
            return
        if node.op_type in _LAYOUT and gives and (place, node.input[0]) in self._bent:
            self._bent |= {(place, name): self._bent[place, node.input[0]] for name in gives}
            return
        attributes = [
            a.SerializeToString(deterministic=True) for a in node.attribute if not a.HasField("g") or not named
        ]
        read = [
            self._bent[place, name][1] if (place, name) in self._bent else content(*each)
            for name, each in zip(names, numbers, strict=True)
            if not named or name in node.input or (place, name) in self._bent
        ]
        how = digest(node.op_type, attributes, read, named)
        changing = (pair for name, pair in zip(names, numbers, strict=True) if (place, name) in self._bent)
        hides = any(_same_numbers(*pair) for pair in changing)
        for i, name in enumerate(node.output):
            if name in gives:
                self._bent[place, name] = worst, digest(how, i)
            elif name and node.op_type != "Reshape":
                key = digest(named, i) if named else scope.own[name].key
                yield name, how, key, worst, hides or bool(named)

    def _fixed(self, scope: Scope, node: NodeProto) -> bool:
        """Whether a node takes the same steps at both sizes, or is an If: what it reads says which branch is taken."""
        if node.op_type == "If":
            return True
        body = next(a.g for a in node.attribute if a.HasField("g"))
        goes, path = body.output[0].name, f"{scope.path}/{node.output[0]}"
        said = [
            (scope.place, n) for n in (node.input[len(carried(node)) :] if node.op_type == "Scan" else node.input[:1])
        ]
        if node.op_type == "Loop" and not (node.input[0] and passed(body, goes) == body.input[1].name):
            few, many = ({each for each in of if each[0].rpartition("/")[0] == path} for of in self._values)
            said = [*(each for each in said if each[1]), *((place, goes) for place in few)]
            made = {name for each in body.node for name in each.output}
            if few != many or goes not in made or any(each in self._bent for each in said):
                return False
        return all(_same_numbers(*(each[place][name].value for each in self._values)) for place, name in said)

    def _degree_of(self, place: Place, name: str, one: Term, other: Term) -> int:
        """How often an open size is a factor of a value, or of a number that is known."""
        if one.value is None:
            return self._degrees.get(one.key, 0)
        if (place, name) in self._numbers:
            return self._numbers[place, name]
        pair = one.key, other.key
        if pair not in self._grow:
            self._grow[pair] = int(depends(one.value, other.value))
        return self._grow[pair]

    def _scaled(
        self,
        node: NodeProto,
        version: int,
        made: Sequence[Term],
        others: Values,
        pairs: Sequence[tuple[Term, Term]],
        scales: list[int],
    ) -> None:
        """Note how often an open size is a factor of what a node gives."""
        own = [term for term in made if not self._cut(term)]
        if not own or any(term.key in self._degrees for term in made):
            return  # a call has its body's
        times, sums, start = _ALONG.get(node.op_type, (1, 0, 0))
        opened = [_opened(*pair) for pair in pairs]
        if node.op_type in _ALONG and opened:
            start = integer(node, "axis", start)
            rank = len(pairs[0][0].shape or ())
            first, alone = start % max(rank, 1), node.op_type in _ALONE and version >= _ONE_AXIS
            sums = sums if any(axis == first if alone else axis >= first for axis, _ in opened[0]) else 0
        elif node.op_type in _SUMS:
            left = Counter(pair for _, pair in _opened(made[0], others[node.output[0]]))
            sums = int(any(Counter(pair for _, pair in each) - left for each in opened))
        if node.op_type == "Pow" and len(pairs) > 1 and pairs[1][0].value is not None and pairs[1][0].size == 1:
            times = max(1, int(abs(float(pairs[1][0].value.reshape(-1)[0]))))
        straight = node.op_type in STRAIGHT and node.op_type not in _ADDED
        degree = (max if straight else sum)([0, *scales]) * times + sums
        self._degrees |= dict.fromkeys((term.key for term in own), degree)
        if degree > max([1, *scales]):
            self.steps[(*sorted(scales), degree)] += 1
        if degree > self.degree:
            self.degree, self.node = degree, node


def beyond(one: Growth, other: Growth, sizes: tuple[float, int, int]) -> Beyond:
    """Return what two models do, or one alone, that two sizes do not show; `sizes` are the least there is, and both."""
    least, *ends = sizes
    found = [
        use for what in one.uses | other.uses for use in _unmatched(one.uses.get(what, {}), other.uses.get(what, {}))
    ]
    before = {float(ends[0] + 1 + item - n) for item, _ in found if item < 0 for n in (0, 1)}
    for pair in one.places | other.places:  # x[i] and x[-j] are one item of i + j
        known = other.places.get(pair, {}) | one.places.get(pair, {})
        last = [max(each, key=abs) for back in (False, True) if (each := [n for n in known if (n < 0) == back])]
        whole = sum(map(abs, last))
        found.append((item_of(whole, pair, (ends[0], ends[1])), known[max(last, key=abs)]))
        items = (pair[1] - pair[0]) / (ends[1] - ends[0])
        edges = {size for n in {whole, *map(abs, known)} for size in (n - 1, n)} if items > 0 else ()
        before |= {ends[0] - (pair[0] - size) / items for size in edges}
    position, node = max(found, key=lambda use: use[0], default=(0, None))
    steep = max((one, other), key=lambda each: each.degree)
    if position < ends[1]:
        position, node = 0, None
    node = node or (steep.node if steep.degree > 1 else None)
    most = _SIZES if one.steps == other.steps else steep.degree + 1  # both multiply as often
    few = sorted(n for n in before if least <= n < ends[0])
    return Beyond(position, node, max(2, min(most, steep.degree + 1)), frozenset(few[-_MOST_BEFORE:]))


def _worst(items: Sequence[int]) -> int:
    """The last of some items from which something may be another thing; none is behind all and before all others."""
    before, last = {item for item in items if item < 0}, max(items)
    return FAR if len(before) > (last <= 0) else last or min(items)


def _unmatched(one: Uses, other: Uses) -> list[tuple[int, NodeProto]]:
    """Return the uses in one model alone: where both have as many, the values may have other layouts.

    What a number hides that is the same at both sizes is no matter of layout.
    """
    alone = [(one | other)[key] for key in one.keys() ^ other.keys()]
    return [(item, node) for item, node, hides in alone if hides or len(one) != len(other)]


def _same_numbers(one: Array | None, other: Array | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _opened(one: Term, other: Term) -> list[tuple[int, tuple[int, int]]]:
    """The axes of a value that grow, with their sizes."""
    shapes = (one.shape or (), other.shape or ())
    return [(axis, pair) for axis, pair in enumerate(zip(*shapes, strict=False)) if pair[0] != pair[1]]


def _in_result(node: NodeProto, name: str) -> bool:
    """Whether elements of an operand are in the result, or scale it: those that say where or how many do not."""
    picked = _ELEMENTS.get(node.op_type)
    return picked is None or name in [node.input[i] for i in picked if i < len(node.input)] or name not in node.input


def _outputs_of(scope: Scope) -> dict[str, frozenset[str]]:
    """Return the outputs that each value of a graph is on the way to."""
    found = {value.name: frozenset([value.name]) for value in scope.graph.output}
    for node in reversed(in_order(scope.graph.node)):
        there = frozenset[str]().union(*(found.get(name, frozenset()) for name in node.output))
        for name in (*node.input, *captured(node)):
            found[name] = found.get(name, frozenset()) | there
    return found


def fewer(sizes: Mapping[float, Mapping[str, Shape]], items: float) -> dict[str, Shape]:
    """The shapes of inputs for fewer items than two sizes have; a part of an item is one of the steps of an axis."""
    (few, one), (many, other) = sizes.items()
    dims = {name: zip(shape, other[name], strict=True) for name, shape in one.items()}
    less = (few - items) / (many - few)
    return {name: tuple(round(a - less * (b - a)) for a, b in pairs) for name, pairs in dims.items()}
