"""What a model does with the sizes of open axes, which a proof at two sizes may not show.

- It names positions that lie beyond both sizes.
- It makes numbers of the sizes that do not grow evenly: rounded ones, remainders, the larger of two.
- It sums over open axes, and scales by numbers that grow, so that a value is a polynomial of a size: two of degree d
  are the same if they are the same at d + 1 sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.degrees import Degrees, Place, in_result
from fc2conv.verification.exact.evenness import FAR, Numbers, bent, content, depends, longer
from fc2conv.verification.exact.positions import (
    PICKING,
    Values,
    index_crossings,
    item_of,
    length_crossings,
    nonempty_from,
    positions,
    sign_changes,
)
from fc2conv.verification.exact.shapes import carried
from fc2conv.verification.exact.terms import Array, Term, digest, unmoved
from fc2conv.verification.exact.unrolled import passed
from fc2conv.verification.exact.walk import Scope, Walk
from fc2conv.verification.nodes import attribute_bytes, captured, in_order

_LAYOUT = frozenset("Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
"""Operators that give the same numbers in another layout."""
_MOST_BEFORE = 8
"""The most sizes below the first two that are run."""
_SIZES = 3
"""The most sizes at which two models that both make these polynomials are compared."""

Uses = dict[bytes, tuple[int, NodeProto, bool]]
"""What uses one number on the way to the same outputs: for each value the item from which it differs, and its node.

Last comes whether the number is the same at both sizes, so that they do not show what is done with another number.
"""


@dataclass(frozen=True)
class Beyond:
    """What two sizes do not show of two models.

    `position` is the last position beyond both sizes that matters, and `node` names it. The models must be the same at
    this number of `sizes`, and at the numbers of items `before` these as well. A size is a factor of a value up to
    `degree` times. What has the same numbers at both sizes, and others elsewhere, must be compared as a variable: terms
    by the names that `opaque` gives them at each size, numbers of each model by those of `hidden`. A number without a
    name there stays what it is, but no law may ask for its sign. One node that reads one of these is `hiding`.
    """

    position: int = 0
    node: NodeProto | None = None
    sizes: int = 2
    degree: int = 0
    before: frozenset[float] = frozenset()
    opaque: Sequence[Mapping[bytes, bytes]] = ({}, {})
    hidden: Sequence[Mapping[tuple[Place, str], bytes]] = ({}, {})
    hiding: NodeProto | None = None


@dataclass(frozen=True)
class _At:
    """A node at both sizes: the `names` that it reads, their `numbers`, and the results that are numbers (`gives`).

    It is `alone` if the other model has no equal node.
    """

    scope: Scope
    node: NodeProto
    others: Values
    alone: bool
    names: Sequence[str]
    numbers: Sequence[Numbers]
    gives: Sequence[str]

    def of(self, name: str) -> Numbers:
        """Return the numbers of a value that the node reads."""
        return self.numbers[self.names.index(name)]


def _at(scope: Scope, node: NodeProto, others: Values, side: int) -> _At:
    values = scope.values
    alone = any(scope.own[name].sides == side for name in node.output if name in scope.own)
    names = [name for name in (*node.input, *captured(node)) if name in values and name in others]
    numbers = [(values[name].value, others[name].value) for name in names]
    gives = [name for name in node.output if name in values and values[name].value is not None]
    return _At(scope, node, others, alone, names, numbers, gives)


def _how(at: _At, behind: Mapping[str, tuple[int, bytes]], named: bytes) -> bytes:
    """Name what a node does with the numbers that it reads, by its operator and attributes and how these were made."""
    attributes = [
        (a.name, attribute_bytes(a, at.scope.walk.file)) for a in at.node.attribute if not a.HasField("g") or not named
    ]
    read = [
        behind[name][1] if name in behind else content(*each)
        for name, each in zip(at.names, at.numbers, strict=True)
        if not named or name in at.node.input or name in behind
    ]
    return digest(at.node.op_type, attributes, read, named)


class Growth:
    """What one model does with open sizes, by its walks at few items and at many; a value that is `cut` is a variable.

    `uses` are those of numbers that may differ at other sizes. `places` are the positions that nodes name, by the sizes
    of their axis, negative ones from the end, each with its node. `empty` are the items beyond which there are elements
    that both sizes lack. `opaque` are the keys, at both sizes, of values that differ at other sizes, and `hiding` their
    nodes; `numbers` are numbers that do, with a name, or without one if only their sign differs.
    """

    def __init__(self, few: Walk, many: Walk, cut: Callable[[Term], bool], sizes: tuple[float, int, int]) -> None:
        self.uses: dict[object, Uses] = {}
        self.places: dict[tuple[int, int], dict[int, NodeProto]] = {}
        self.degrees = Degrees(cut)
        self.empty: list[tuple[int, NodeProto]] = []
        self.opaque: dict[bytes, tuple[set[bytes], set[bytes]]] = {}
        self.hiding: dict[bytes, NodeProto] = {}
        self.numbers: dict[tuple[Place, str], tuple[bytes, NodeProto]] = {}
        self._sizes, self._bodies = sizes, few.bodies
        self._bent: dict[tuple[Place, str], tuple[int, bytes]] = {}
        self._filled: dict[bytes, int] = {}
        self._scopes = [{scope.place: scope for scope, _ in walk.nodes} for walk in (few, many)]
        others, ways = self._scopes[1], dict[Place, dict[str, frozenset[str]]]()
        for scope, node in few.nodes:
            if scope.place not in others:
                continue
            at = _at(scope, node, others[scope.place].values, few.side)
            for name, how, key, item, hides in self._taken(at):
                if scope.place not in ways:
                    ways[scope.place] = _outputs_of(scope)
                what = how, ways[scope.place].get(name)
                self.uses.setdefault(what, {})[key] = item, node, hides
                if hides:
                    self._pin(node, name, scope.place, key)

    def _taken(self, at: _At) -> Iterator[tuple[str, bytes, bytes, int, bool]]:
        """Note what one node does, and yield its results that use a number which may differ at other sizes."""
        node, place = at.node, at.scope.place
        self._note_positions(at)
        hollow = self._note_empty(at)
        grown = self._note_degrees(at)
        crossing: list[int] = []
        if not at.gives:
            crossing = index_crossings(node, at.scope.values, at.others, self._sizes)
            for name in sign_changes(node, at.scope.values, at.others, self._sizes):
                self.numbers.setdefault((place, name), (b"", node))
        behind = {name: self._bent[place, name] for name in at.names if (place, name) in self._bent}
        named = self._bodies.get((place, node.output[0]), b"")
        steps = FAR if named and not self._fixed(at.scope, node) else 0
        ends = [hollow, *length_crossings(node, at.scope.values, at.others, self._sizes)] if at.gives else crossing
        made = [at.scope.values[name].value for name in at.gives]
        own = bent(node, at.numbers, made, self._sizes, grown if at.gives else 0, bool(behind))
        worst = _worst([own, *(item for item, _ in behind.values()), steps, *ends])
        if not worst:
            return
        if node.op_type in _LAYOUT and at.gives and node.input[0] in behind:
            self._bent |= {(place, name): behind[node.input[0]] for name in at.gives}
            return
        how = _how(at, behind, named)
        factors = {name for name in behind if not at.gives and not named and in_result(node, name)}
        picked = bool(behind) and node.op_type in PICKING
        hides = any(crossing) or picked or any(_same_numbers(*at.of(name)) for name in behind.keys() - factors)
        for name in factors:
            if _partly_same(*at.of(name)):
                self.numbers[place, name] = behind[name][1], node
        for i, name in enumerate(node.output):
            if name in at.gives:
                self._bent[place, name] = worst, digest(how, i)
            elif name and node.op_type != "Reshape":
                key = digest(named, i) if named else at.scope.own[name].key
                yield name, how, key, worst, hides or bool(named)

    def _note_positions(self, at: _At) -> None:
        """Note the positions that a node of this model alone names."""
        if at.alone or at.node.op_type == "Squeeze":
            for n, pair in positions(at.node, at.scope.values, at.others):
                self.places.setdefault(pair, {}).setdefault(n, at.node)

    def _note_degrees(self, at: _At) -> int:
        """Note how often an open size is a factor of a node's results, and return how many operands grow."""
        place = at.scope.place
        pairs = [(at.scope.values[name], at.others[name]) for name in at.names]
        grown = [self.degrees.of(place, name, *pair) for name, pair in zip(at.names, pairs, strict=True)]
        scales = [each for name, each in zip(at.names, grown, strict=True) if in_result(at.node, name)]
        if at.gives:
            self.degrees.note_numbers(at.node, place, at.gives, scales, longer(at.numbers))
        else:
            both = [at.scope.values[name] for name in at.node.output if name in at.scope.values and name in at.others]
            self.degrees.note(at.node, at.scope.opsets.get("", 0), both, at.others, pairs, scales)
        return sum(map(bool, grown))

    def _note_empty(self, at: _At) -> int:
        """Note results that may have elements at other sizes, and return the item from which they do.

        At both sizes they are empty, so that no element of them is compared.
        """
        values, place = at.scope.values, at.scope.place
        made = [values[name].key for name in at.node.output if _none(values, name) and _none(at.others, name)]
        item = max((self._filled.get(values[name].key, 0) for name in at.names), default=0, key=abs)
        if made and not item:
            changing = any((place, name) in self._bent for name in at.names)
            item = FAR if changing else nonempty_from(at.node, values, at.others, self._sizes)
        self._filled |= dict.fromkeys(made if item else (), item)
        if item and at.alone and not at.gives:
            self.empty.append((item, at.node))
        elif item:
            for name in at.node.output:
                self._pin(at.node, name, place)
        return item

    def _pin(self, node: NodeProto, name: str, place: Place, key: bytes = b"") -> None:
        """Note the keys, at both sizes, of a value that must be only a variable where both models have it."""
        for i, scopes in enumerate(self._scopes):
            both = (values[name] for values in (scopes[place].own, scopes[place].values) if name in values)
            terms = [unmoved(term, ("Reshape",)) for term in both]  # chains of reshapes are one
            if terms and terms[-1].value is None and 0 not in (terms[-1].shape or ()):
                key = key or terms[-1].key
                self.opaque.setdefault(key, (set(), set()))[i].update(term.key for term in terms)
                self.hiding[key] = node

    def _fixed(self, scope: Scope, node: NodeProto) -> bool:
        """Return whether a node takes the same steps at both sizes, or is an If: its operand says the branch."""
        if node.op_type == "If":
            return True
        body = next(a.g for a in node.attribute if a.HasField("g"))
        goes, path = body.output[0].name, f"{scope.path}/{node.output[0]}"
        numbers = node.input[len(carried(node)) :] if node.op_type == "Scan" else node.input[:1]
        said = [(scope.place, name) for name in numbers if name]
        few, many = ({each for each in of if each[0].rpartition("/")[0] == path} for of in self._scopes)
        if node.op_type == "SequenceMap":
            return few == many
        if node.op_type == "Loop" and not (node.input[0] and passed(body, goes) == body.input[1].name):
            said += [(place, goes) for place in few]
            made = {name for each in body.node for name in each.output}
            if few != many or goes not in made or any(each in self._bent for each in said):
                return False
        terms = ([each[place].values.get(name) for each in self._scopes] for place, name in said)
        return all(_same_numbers(*(None if each is None else each.value for each in pair)) for pair in terms)


def beyond(one: Growth, other: Growth, sizes: tuple[float, int, int]) -> Beyond:
    """Return what two models, or one alone, do that two sizes do not show; `sizes` are the least possible, and both."""
    least, *ends = sizes
    found = [
        use for what in one.uses | other.uses for use in _unmatched(one.uses.get(what, {}), other.uses.get(what, {}))
    ] + [*one.empty, *other.empty]
    fewer_items = {float(ends[0] + 1 + item - n) for item, _ in found if item < 0 for n in (0, 1)}
    for pair in one.places | other.places:  # x[i] and x[-j] are one item of i + j
        known = other.places.get(pair, {}) | one.places.get(pair, {})
        last = [max(each, key=abs) for back in (False, True) if (each := [n for n in known if (n < 0) == back])]
        whole = sum(map(abs, last))
        found.append((item_of(whole, pair, (ends[0], ends[1])), known[max(last, key=abs)]))
        items = (pair[1] - pair[0]) / (ends[1] - ends[0])
        edges = {size for n in {whole, *map(abs, known)} for size in (n - 1, n)} if items > 0 else ()
        fewer_items |= {ends[0] - (pair[0] - size) / items for size in edges}
    position, node = max(found, key=lambda use: use[0], default=(0, None))
    steep = max((one.degrees, other.degrees), key=lambda each: each.degree)
    if position < ends[1]:
        position, node = 0, None
    node = node or (steep.node if steep.degree > 1 else None)
    most = _SIZES if one.degrees.steps == other.degrees.steps else steep.degree + 1  # both multiply as often
    few = sorted(n for n in fewer_items if least <= n < ends[0])
    most = max(2, min(most, steep.degree + 1))
    both = one.opaque.keys() & other.opaque.keys()
    opaque = [{each: key for key in both for of in (one, other) for each in of.opaque[key][i]} for i in (0, 1)]
    numbers = [{at: name for at, (name, _) in each.numbers.items()} for each in (one, other)]
    nodes = [node for each in (one, other) for _, node in each.numbers.values()]
    hiding = next(iter([*(one.hiding[key] for key in one.hiding if key in both), *nodes]), None)
    before = frozenset(few[-_MOST_BEFORE:])
    return Beyond(position, node, most, steep.degree, before, opaque, numbers, hiding)


def _worst(items: Sequence[int]) -> int:
    """Return the last item from which a result may change; FAR where two lie before the sizes, or on both sides."""
    before, last = {item for item in items if item < 0}, max(items)
    return FAR if len(before) > (last <= 0) else last or min(items)


def _unmatched(one: Uses, other: Uses) -> list[tuple[int, NodeProto]]:
    """Return the uses in one model alone: where both have equally many, the values may have other layouts.

    A use that `hides`, as its number is the same at both sizes, is no matter of layout.
    """
    alone = [(one | other)[key] for key in one.keys() ^ other.keys()]
    return [(item, node) for item, node, hides in alone if hides or len(one) != len(other)]


def _none(values: Values, name: str) -> bool:
    return name in values and 0 in (values[name].shape or ())


def _same_numbers(one: Array | None, other: Array | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _partly_same(one: Array | None, other: Array | None) -> bool:
    """Return whether some of the numbers are the same at both sizes, in the same number of places or in more."""
    if one is None or other is None or one.shape != other.shape:
        return not depends(one, other)
    return bool((one == other).any())


def _outputs_of(scope: Scope) -> dict[str, frozenset[str]]:
    """Return the outputs that depend on each value of a graph."""
    found = {value.name: frozenset([value.name]) for value in scope.graph.output}
    for node in reversed(in_order(scope.graph.node)):
        there = frozenset[str]().union(*(found.get(name, frozenset()) for name in node.output))
        for name in (*node.input, *captured(node)):
            found[name] = found.get(name, frozenset()) | there
    return found
