"""What two models do that their walks at two sizes do not show: the sizes, and the variables, that a proof needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.degrees import Place
from fc2conv.verification.exact.evenness import Items, Uses
from fc2conv.verification.exact.growth import Growth, Pins
from fc2conv.verification.exact.positions import item_of
from fc2conv.verification.exact.terms import Shape
from fc2conv.verification.exact.walk import Walk

_MOST_BEFORE = 8
"""The most sizes below the first two that are run."""
_SIZES = 3
"""The most sizes at which two models that both make these polynomials are compared."""


@dataclass(frozen=True)
class Beyond:
    """What two sizes do not show of two models.

    `position` is the last position beyond both sizes that matters, and `node` names it. The models must be the same at
    this number of `sizes`, and at the numbers of items `before` these as well. A size is a factor of a value up to
    `degree` times. What has the same numbers at both sizes, and others elsewhere, must be compared as a variable: the
    values of each model that are `hidden`, by name. A number without a name there stays what it is, but no law may ask
    for its sign. One node that reads one of these is `hiding`.
    """

    position: int = 0
    node: NodeProto | None = None
    sizes: int = 2
    degree: int = 0
    before: frozenset[float] = frozenset()
    hidden: Sequence[Mapping[tuple[Place, str], bytes]] = ({}, {})
    hiding: NodeProto | None = None


def beyond(one: Growth, other: Growth, sizes: Items, shared: bool = False) -> Beyond:
    """Return what two models, or one alone, do that two sizes do not show; `sizes` are the least possible, and both.

    What follows a position that both models name is a variable; with `shared`, sizes beyond it are run instead.
    """
    least, few, many = sizes
    ways = ((one.uses.get(what, {}), other.uses.get(what, {})) for what in one.uses | other.uses)
    roots = {each: one.made.get(each, set()) | other.made.get(each, set()) for each in one.made | other.made}
    equal = {each for each, known in roots.items() if len(known) > 1}
    found = [use for pair in ways for use in _unmatched(*pair, equal)] + [*one.empty, *other.empty]
    fewer = {float(few + 1 + item - n) for item, _ in found if item < 0 for n in (0, 1)}
    named = [each for of in (other, one) for each in ((of.places, of.shared) if shared else (of.places,))]
    for pair in {pair for places in named for pair in places}:
        known = {n: node for places in named for n, node in places.get(pair, {}).items()}
        use, edges = _of_positions(known, pair, (few, many))
        found.append(use)
        fewer |= edges
    position, node = max(found, key=lambda use: use[0], default=(0, None))
    steep = max((one.degrees, other.degrees), key=lambda each: each.degree)
    if position < many:
        position, node = 0, None
    node = node or (steep.node if steep.degree > 1 else None)
    most = _SIZES if one.degrees.steps == other.degrees.steps else steep.degree + 1  # both multiply as often
    before = sorted(n for n in fewer if least <= n < few)[-_MOST_BEFORE:]
    variables = _variables([[of.opaque] if shared else [of.opaque, of.picked] for of in (one, other)], (one, other))
    return Beyond(position, node, max(2, min(most, steep.degree + 1)), steep.degree, frozenset(before), *variables)


def _of_positions(
    known: Mapping[int, NodeProto], pair: tuple[int, int], ends: tuple[int, int]
) -> tuple[tuple[int, NodeProto], set[float]]:
    """Return the items that positions on one axis ask for, with a node, and the fewer items at which one is the rim."""
    last = [max(each, key=abs) for back in (False, True) if (each := [n for n in known if (n < 0) == back])]
    whole = sum(map(abs, last))  # x[i] and x[-j] are one item of i + j
    use = whole and item_of(whole + 1, pair, ends), known[max(last, key=abs)]  # two items follow: one has no order
    items = (pair[1] - pair[0]) / (ends[1] - ends[0])
    edges = {size for n in {whole, *map(abs, known)} for size in (n - 1, n)} if items > 0 else set()
    return use, {ends[0] - (pair[0] - size) / items for size in edges}


def _variables(
    pins: Sequence[Sequence[Pins]], models: Sequence[Growth]
) -> tuple[list[dict[tuple[Place, str], bytes]], NodeProto | None]:
    """Return the values of each model that are variables, by name, and one node that reads one."""
    first, second = ({key for each in of for key, _ in each.values()} for of in pins)
    both = first & second
    opaque = [{at: pin for each in of for at, pin in each.items() if pin[0] in both} for of in pins]
    found = [of | model.numbers for of, model in zip(opaque, models, strict=True)]
    hidden = [{at: name for at, (name, _) in each.items()} for each in found]
    return hidden, next((node for each in found for _, node in each.values()), None)


def thin(runs: Sequence[Sequence[Walk]]) -> NodeProto | None:
    """Return a node of one model alone, or of numbers, where an open axis has not two sizes that are at least two.

    One element has no order, and is its own sum.
    """
    for side in (1, 2):
        walks = [each[side - 1] for each in runs]
        every = [{scope.place: scope.values for scope, _ in walk.nodes} for walk in walks]
        for scope, node in walks[0].nodes:
            made = (scope.own[name] for name in node.output if name in scope.own)
            if any(term.sides == side or term.value is not None for term in made):
                at = [values[scope.place] for values in every if scope.place in values]
                names = (*node.input, *node.output)
                if any(_is_thin([each[name].shape for each in at if name in each]) for name in names):
                    return node
    return None


def _is_thin(shapes: Iterable[Shape | None]) -> bool:
    axes = map(set, zip(*(shape for shape in shapes if shape is not None), strict=False))
    return any(len(sizes) > 1 and len(sizes - {0, 1}) < 2 for sizes in axes)


def _unmatched(one: Uses, other: Uses, equal: Collection[bytes]) -> list[tuple[int, NodeProto]]:
    """Return the uses in one model alone: where both have equally many, the values may have other layouts.

    A use that `hides`, as its number is the same at both sizes, is no matter of layout. Nor is one of a number that is
    `equal` to another one at both sizes: one may replace the other.
    """
    alone = [(one | other)[key] for key in one.keys() ^ other.keys()]
    unequal = len(one) != len(other)
    return [
        (each.item, each.node)
        for each in alone
        if unequal or each.hides or any(content in equal for content in each.read)
    ]
