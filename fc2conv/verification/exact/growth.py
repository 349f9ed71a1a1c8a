"""What a model does with the sizes of open axes, which a proof at two sizes may not show.

- It names positions that lie beyond both sizes.
- It makes numbers of the sizes that do not grow evenly: rounded ones, remainders, the larger of two.
- It sums over open axes, and scales by numbers that grow, so that a value is a polynomial of a size: two of degree d
  are the same if they are the same at d + 1 sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.degrees import Degrees, Place
from fc2conv.verification.exact.evenness import (
    FAR,
    Bend,
    Items,
    Twice,
    Use,
    Uses,
    bent,
    content,
    one_of,
    partly_same,
    same_numbers,
    worst,
)
from fc2conv.verification.exact.positions import (
    PICKING,
    in_result,
    index_crossings,
    leaves_one,
    length_crossings,
    nonempty_from,
    positions,
    sign_changes,
)
from fc2conv.verification.exact.shapes import carried
from fc2conv.verification.exact.terms import SMALL, TURNS, Term, digest, unmoved
from fc2conv.verification.exact.unrolled import STEPS, passed
from fc2conv.verification.exact.walk import Scope, Walk
from fc2conv.verification.nodes import attribute_bytes, captured, in_order

Pins = dict[tuple[Place, str], tuple[bytes, NodeProto]]
"""Values of one model that must be only variables, each with the name of the variable and its node."""


@dataclass(frozen=True)
class _At(Twice):
    """A node of a graph; it is `alone` if the other model has no equal node."""

    scope: Scope
    side: int

    @property
    def place(self) -> Place:
        """The graph, and how often that was walked before."""
        return self.scope.place

    @property
    def alone(self) -> bool:
        own = self.scope.own
        return any(own[name].sides == self.side for name in self.node.output if name in own)


def _how(at: _At, behind: Mapping[str, Bend], named: bytes, inside: bool) -> bytes:
    """Name what a node does with the numbers that it reads, by its operator and attributes and how these were made.

    Bodies are left out where they are `named`, or numbers that are made inside of them are.
    """
    without = bool(named) or inside
    attributes = [
        (a.name, attribute_bytes(a, at.scope.walk.file))
        for a in at.node.attribute
        if not a.HasField("g") or not without
    ]
    read = [
        behind[name].how if name in behind else content(*each)
        for name, each in zip(at.names, at.numbers, strict=True)
        if not without or name in at.node.input or name in behind
    ]
    return digest(at.node.op_type, attributes, read, named)


class Growth:
    """What one model does with open sizes, by its walks at few items and at many; a value that is `cut` is a variable.

    `uses` are those of numbers that may differ at other sizes. `places` are the positions that nodes of this model
    alone name, by the sizes of their axis, negative ones from the end, each with its node; `shared` are those of nodes
    that both have, and `picked` what these give. `empty` are the items beyond which there are elements that both sizes
    lack. `opaque` are values that differ at other sizes, and `numbers` numbers that do, without a name if only their
    sign differs. `made` are the roots of small numbers that grow, by their content at both sizes.
    """

    def __init__(self, few: Walk, many: Walk, cut: Callable[[Term], bool], sizes: Items) -> None:
        self.uses: dict[object, Uses] = {}
        self.places: dict[tuple[int, int], dict[int, NodeProto]] = {}
        self.degrees = Degrees(cut)
        self.empty: list[tuple[int, NodeProto]] = []
        self.made: dict[bytes, set[frozenset[bytes]]] = {}
        self.shared: dict[tuple[int, int], dict[int, NodeProto]] = {}
        self.opaque: Pins = {}
        self.picked: Pins = {}
        self.numbers: Pins = {}
        self._sizes, self._bodies = sizes, few.bodies
        self._bent: dict[tuple[Place, str], Bend] = {}
        self._filled: dict[bytes, int] = {}
        self._inner: dict[tuple[str, str], dict[Place, Scope]] = {}
        self._scopes = [{scope.place: scope for scope, _ in walk.nodes} for walk in (few, many)]
        others, ways = self._scopes[1], dict[Place, dict[str, frozenset[str]]]()
        outputs = {value.name for value in few.file.model.graph.output}
        for scope, node in few.nodes:
            if scope.place not in others:
                continue
            for there in ((scope.path, scope.within), (scope.path.rpartition("/")[0], "")):
                self._inner.setdefault(there, {})[scope.place] = scope
            at = _At(node, scope.values, others[scope.place].values, scope, few.side)
            for name, how, key, use in self._taken(at):
                if scope.place not in ways:
                    ways[scope.place] = _outputs_of(scope)
                what = how, ways[scope.place].get(name)
                self.uses.setdefault(what, {})[key] = use
                if use.hides:
                    self._pin(self.opaque, node, name, scope.place, key)
            for name in outputs.intersection(at.gives) if scope.main else ():
                if bend := self._bent.get((scope.place, name)):
                    self.uses.setdefault((bend.how, frozenset([name])), {})[bend.how] = Use(bend.item, node, True)
            for name in at.gives:
                pair = at.few[name].value, at.many[name].value if name in at.many else None
                if not same_numbers(*pair) and all(each is None or each.size <= SMALL for each in pair):
                    bend = self._bent.get((scope.place, name))
                    self.made.setdefault(content(*pair), set()).add(bend.roots if bend else frozenset())

    def _taken(self, at: _At) -> Iterator[tuple[str, bytes, bytes, Use]]:
        """Note what one node does, and yield its results that use a number which may differ at other sizes."""
        node, place = at.node, at.place
        self._note_positions(at)
        hollow = self._note_empty(at)
        grown = self._note_degrees(at)
        crossing = [] if at.gives else index_crossings(at, self._sizes)
        for name in () if at.gives else sign_changes(at, self._sizes):
            self.numbers.setdefault((place, name), (b"", node))
        behind = {name: self._bent[place, name] for name in at.names if (place, name) in self._bent}
        named = self._bodies.get((place, node.output[0]), b"")
        steps = FAR if named and not self._fixed(at.scope, node) else 0
        ends = [hollow, *length_crossings(at, self._sizes)] if at.gives else crossing
        own = bent(at, self._sizes, grown, bool(behind))
        inside = self._inside(at)
        if node.op_type == "If" and at.gives and not behind:  # it is the branch that is taken
            self._bent |= {(place, name): inside[name] for name in at.gives if name in inside}
            return
        new = worst([own, steps, *ends])
        last = worst([new, *(bend.item for bend in (*behind.values(), *inside.values()))])
        if not last:
            return
        if node.op_type in {*TURNS, "Identity"} and at.gives and node.input[0] in behind:
            self._bent |= {(place, name): behind[node.input[0]] for name in at.gives}
            return
        how = digest(_how(at, behind, named, bool(inside)), *(bend.how for bend in inside.values()))
        roots = frozenset([how] if new else ()).union(*(each.roots for each in (*behind.values(), *inside.values())))
        factors = {name for name in behind if not at.gives and not named and in_result(node, name)}
        picked = bool(behind) and node.op_type in PICKING
        hides = any(crossing) or picked or any(same_numbers(*at.of(name)) for name in behind.keys() - factors)
        for name in factors:
            if partly_same(*at.of(name)):
                self.numbers[place, name] = behind[name].how, node
        for i, name in enumerate(node.output):
            if name in at.gives:
                self._bent[place, name] = Bend(last, digest(how, i), roots)
            elif name and node.op_type == "Reshape":  # another order of the same sizes is another layout
                use = Use(last, node, hides=False)
                yield from ((name, root, root, use) for root in roots if node.input[0] not in behind)
            elif name:
                key = digest(named, i) if named else how if name in inside else at.scope.own[name].key
                read = [content(*at.of(each)) for each in behind]
                yield name, how, key, Use(last, node, hides or bool(named or name in inside), read)

    def _inside(self, at: _At) -> dict[str, Bend]:
        """Return what may change at other sizes of the numbers that calls, branches and bodies give to results."""
        node, scope = at.node, at.scope
        path, steps = f"{scope.path}/{node.output[0]}", node.op_type in STEPS
        keys = (scope.path, f"{scope.within}{node.output[0]}:"), (path, "" if steps else f"{scope.within}:")
        inner = [each for key in keys for each in self._inner.get(key, {}).values()]
        if not steps and ((scope.place, node.output[0]) in self._bodies or any(s.depth == scope.depth for s in inner)):
            inner = [each for each in inner if each.depth == scope.depth][-1:]  # the branch that is taken, or the call
        found: dict[str, dict[Bend, None]] = {}
        for each in inner:
            bends = [self._bent.get((each.place, value.name)) for value in each.graph.output]
            for i, name in enumerate(node.output):
                found.setdefault(name, {}).update((b, None) for b in (bends if steps else bends[i : i + 1]) if b)
        return {name: one_of(list(bends)) for name, bends in found.items() if bends}

    def _note_positions(self, at: _At) -> None:
        """Note the positions that a node names.

        Of an open axis of which both sizes leave one element, larger sizes may leave more, which then have an order.
        """
        found = list(positions(at))
        alone = bool(found) and (at.alone or at.node.op_type == "Squeeze" or leaves_one(at))
        for n, pair in found:
            (self.places if alone else self.shared).setdefault(pair, {}).setdefault(n, at.node)
            for name in at.node.output if n and not alone else ():  # all sizes have the first
                self._pin(self.picked, at.node, name, at.place)

    def _note_degrees(self, at: _At) -> int:
        """Note how often an open size is a factor of a node's results, and return how many operands grow."""
        pairs = at.pairs(at.names)
        grown = [self.degrees.of(at.place, name, *pair) for name, pair in zip(at.names, pairs, strict=True)]
        scales = [each for name, each in zip(at.names, grown, strict=True) if in_result(at.node, name)]
        if at.gives:
            self.degrees.note_numbers(at, at.place, scales)
        else:
            self.degrees.note(at, at.scope.opsets.get("", 0), scales)
        return sum(map(bool, grown))

    def _note_empty(self, at: _At) -> int:
        """Note results that may have elements at other sizes, and return the item from which they do.

        At both sizes they are empty, so that no element of them is compared.
        """
        pairs = at.pairs(at.node.output)
        made = [one.key for one, other in pairs if 0 in (one.shape or ()) and 0 in (other.shape or ())]
        item = max((self._filled.get(at.few[name].key, 0) for name in at.names), default=0, key=abs)
        if made and not item:
            changing = any((at.place, name) in self._bent for name in at.names)
            item = FAR if changing else nonempty_from(at, self._sizes)
        self._filled |= dict.fromkeys(made if item else (), item)
        if item and at.alone and not at.gives:
            self.empty.append((item, at.node))
        elif item:
            for name in at.node.output:
                self._pin(self.opaque, at.node, name, at.place)
        return item

    def _pin(self, pins: Pins, node: NodeProto, name: str, place: Place, key: bytes = b"") -> None:
        """Note a value that must be only a variable where both models have it."""
        both = (scopes[place].values[name] for scopes in self._scopes if name in scopes[place].values)
        terms = [unmoved(term, ("Reshape",)) for term in both]  # chains of reshapes are one
        unknown = (term for term in terms if term.value is None and 0 not in (term.shape or ()))
        if (term := next(unknown, None)) is not None:
            pins[place, name] = key or term.key, node

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
        return all(same_numbers(*(None if each is None else each.value for each in pair)) for pair in terms)


def _outputs_of(scope: Scope) -> dict[str, frozenset[str]]:
    """Return the outputs that depend on each value of a graph."""
    found = {value.name: frozenset([value.name]) for value in scope.graph.output}
    for node in reversed(in_order(scope.graph.node)):
        there = frozenset[str]().union(*(found.get(name, frozenset()) for name in node.output))
        for name in (*node.input, *captured(node)):
            found[name] = found.get(name, frozenset()) | there
    return found
