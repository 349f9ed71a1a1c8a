"""What a handler sees while it infers one node, and the registry of handlers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import TypeVar

from onnx import NodeProto

from fc2conv.analysis.facts import AsIs, FormOf, Operand, Recipe, Remap
from fc2conv.analysis.memory import Memory, Traced
from fc2conv.dataclass import dataclass
from fc2conv.ir.arithmetic import Numbers
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, int_attribute, ints_attribute, label, reads
from fc2conv.layout.axes import Axis, Kind, Layout, Size, axes_of, same_axes, size_of
from fc2conv.layout.view import Provenance, View, fresh, provenance_of
from fc2conv.reasons import Reason

Ints = tuple[Size, ...]
"""A small integer tensor, flattened, over symbols."""

Shapes = Mapping[str, Sequence[Size]]
"""Inferred shapes by value; unknown sizes are symbols."""


@dataclass(frozen=True)
class Inferred:
    """A handler's answer: the views of the node's outputs (None: unknown rank), and its recipe."""

    views: tuple[View | None, ...]
    recipe: Recipe | None = None

    @property
    def first(self) -> View:
        """The view of the first result, whose rank is known."""
        assert self.views[0] is not None
        return self.views[0]


@dataclass(frozen=True)
class Wanted:
    """What a plan asks of the passes: `everything` gives spatial forms also to values that come from no map.

    With `tokens`, spatial forms hold the cells of a map together where the tensor does, else apart as maps do.
    `refused` are layers (positions) that are kept whatever their layout, and `maps` results of layers that are known to
    be converted.
    """

    everything: bool = False
    tokens: bool = False
    refused: Mapping[int, Reason] = field(default_factory=dict)
    maps: frozenset[str] = frozenset()


@dataclass
class Context:
    """What the passes of one inference over a scope know, and what the one under way has found.

    `lifts` asks for convolutions of rank 4 alone, `norms` for norms of the channels as reductions.
    `rank` is how many spatial dimensions a frame has, and `batch` the size of the model's batch, where it has one.
    `asked`, `refused` and `maps` are what is wanted, see `Wanted`.
    `sizes` are those of symbols that weights fix, known from a pass before; `solved` are those that this one finds.
    `requested` are the spatial forms that a pass before asked for, and `requests` those that this one asks for.
    `orders` are the spatial dimensions of spatial forms whose tokens have another order than their map.
    `shapeless` are values of a map whose rank is not known, with the node that lost the layout.
    """

    graph: Graph
    constants: Constants
    shapes: Shapes
    rank: int = 2
    lifts: bool = False
    norms: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    batch: Size | None = None
    asked: Traced[str, bool] = field(default_factory=Traced)
    refused: Traced[int, Reason] = field(default_factory=Traced)
    numbers: Traced[str, Numbers] = field(default_factory=Traced)
    requested: Traced[str, Layout] = field(default_factory=Traced)
    maps: Traced[str, bool] = field(default_factory=Traced)
    views: Traced[str, View] = field(default_factory=Traced)
    requests: Traced[str, Layout] = field(default_factory=Traced)
    solved: Traced[str, int] = field(default_factory=Traced)
    shapeless: Traced[str, str] = field(default_factory=Traced)
    orders: Traced[frozenset[str], Layout] = field(default_factory=Traced)

    def begin(self, numbers: Mapping[str, Numbers], requested: Mapping[str, Layout], wanted: Wanted) -> None:
        """Begin a pass, which knows these numbers and requested spatial forms."""
        self.numbers.fill(numbers)
        self.requested.fill(requested)
        self.asked.fill({name: True for name in ("everything", "tokens") if getattr(wanted, name)})
        self.refused.fill(wanted.refused)
        self.maps.fill(dict.fromkeys(wanted.maps, True))
        for found in (self.views, self.requests, self.solved, self.shapeless, self.orders):
            found.fill({})
        self.memory.forget()

    @cached_property
    def memory(self) -> Memory:
        """What passes have inferred of each node."""
        found = (self.views, self.requests, self.solved, self.shapeless, self.orders)
        return Memory((*found, self.requested, self.numbers, self.asked, self.refused, self.maps))

    @cached_property
    def unsized(self) -> str:
        """An input of the model that has no shape: no numbers are made for it, so that nothing is proved."""
        model = self.graph.outermost
        given = (name for name in model.inputs if name not in model.initializers)
        return next((name for name in given if name not in self.shapes), "")

    @property
    def every(self) -> bool:
        """Whether values that come from no map have spatial forms as well."""
        return "everything" in self.asked

    @property
    def tokens(self) -> bool:
        """Whether spatial forms hold the cells of tokens in one dimension."""
        return "tokens" in self.asked

    def remember(self, spatial_form: Layout) -> None:
        """Note how a spatial form lays out the cells of a map, which its tokens hold in another order than the map."""
        self.orders[frozenset(axis.root for axis in axes_of(spatial_form[2:]))] = spatial_form[2:]

    def remembered(self, spatial: Layout) -> Layout:
        """Return the same axes as a spatial form of this rank laid them out before; as they are where no form did."""
        found = self.orders.get(frozenset(axis.root for axis in axes_of(spatial)))
        return found if found is not None and len(found) == len(spatial) and same_axes(found, spatial) else spatial

    def view(self, name: str) -> View | None:
        """Return the view of a value; None where it is constant or its rank is unknown."""
        return self.views.get(name)

    def first(self, node: NodeProto) -> View | None:
        """Return the view of a node's first operand; None where that is a constant or its rank is unknown."""
        return self.views.get(node.input[0]) if node.input else None

    def data(self, node: NodeProto) -> View:
        """Return the view of a node's first operand; raise UnknownError where it is a constant or its rank unknown."""
        if (view := self.first(node)) is None:
            raise UnknownError("the first operand")
        return view

    def ask(self, view: View, wanted: Layout) -> None:
        """Ask for a spatial form where the axes of a value were born, if it has none and those are the axes there."""
        origin = self.views.get(view.origin) if view.spatial_form is None else None
        if origin is not None and same_axes(origin.dims, wanted):
            self.requests.setdefault(view.origin, wanted)

    def has_cells(self, view: View) -> bool:
        """Return whether an axis of a value is known to be cells of a map: those of a graph input are a guess."""
        cells = (axis for axis in axes_of(view.dims) if axis.kind is Kind.SPACE)
        return any(axis.root.rpartition(".")[0] not in self.graph.inputs for axis in cells)

    def shape(self, name: str) -> Sequence[Size] | None:
        """Return the sizes of a value: its view's, else those of shape inference."""
        view = self.views.get(name)
        if view is not None:
            return [size_of(dim) for dim in view.dims]
        constant = self.constant_shape(name) if self.constants.is_constant(name) else None
        return [Size(size) for size in constant] if constant is not None else self.shapes.get(name)

    def constant_shape(self, name: str) -> tuple[int, ...] | None:
        """Return a constant's shape: the inferred one where nodes make it, so that it need not be computed."""
        sizes = self.shapes.get(name)
        if sizes is not None and name in self.graph.producer and all(size.known for size in sizes):
            return tuple(size.coefficient for size in sizes)
        return self.constants.shape(name)

    def integers(self, name: str) -> Ints | None:
        """Return the values of a small integer tensor, where they are known or a symbol stands for them."""
        numbers = self.numbers.get(name)
        if numbers is not None:
            return numbers.as_sizes() if numbers.dtype.kind in "iu" else None
        found = self.constants.ints(name) if self.constants.is_constant(name) else None
        return None if found is None else tuple(Size(value) for value in found)

    def number(self, name: str) -> Numbers | None:
        """Return the numbers of an operand, computed or constant; None where they are not known, or many."""
        found = self.numbers.get(name)
        return self.constants.numbers(name) if found is None else found

    def listed(self, node: NodeProto, name: str, position: int = 1) -> list[int] | None:
        """Return an integer list, an attribute in older opsets and an operand in newer ones; None where it is absent.

        Raise UnknownError where it is an operand and its values are not known.
        """
        if len(node.input) > position and node.input[position]:
            found = self.integers(node.input[position])
            if found is None or any(not value.known for value in found):
                raise UnknownError(name)
            return [value.coefficient for value in found]
        return ints_attribute(node, name)

    def known(self, node: NodeProto, name: str, position: int) -> list[int] | None:
        """Return the same list as `listed`; None also where its values are not known."""
        try:
            return self.listed(node, name, position)
        except UnknownError:
            return None

    def provenance(self, node: NodeProto) -> tuple[Provenance, str]:
        """Return the provenance of all that a node reads, and the node that blocks the layout, if any."""
        read = list(reads([node]))
        views = [view for name in read if (view := self.views.get(name)) is not None]
        provenance, blocked_by = provenance_of(views)
        lost = next((self.shapeless[name] for name in read if name in self.shapeless), "")
        return (Provenance.LOST, lost) if provenance is Provenance.NONE and lost else (provenance, blocked_by)

    def lost(self, node: NodeProto, known: Sequence[Size] | None = None) -> Inferred:
        """Lay out the outputs over new axes: the layout of the operands is not followed past this node.

        `known` is the shape of the outputs where shape inference has none.
        """
        provenance, blocked_by = self.provenance(node)
        if provenance in (Provenance.MAP, Provenance.OPAQUE):
            provenance, blocked_by = Provenance.LOST, label(node)
        views: list[View | None] = []
        for name in node.output:
            shape = (self.shapes.get(name) or known) if name else None
            if shape is None and provenance is Provenance.LOST:
                self.shapeless[name] = blocked_by
            views.append(None if shape is None else fresh(name, shape, provenance, blocked_by, self.batch))
        return Inferred(tuple(views))

    def opaque(self, node: NodeProto, *dims: Layout) -> Inferred:
        """Lay out the outputs as `dims`, without a spatial form, for a node that needs the original layout."""
        provenance, blocked_by = self.provenance(node)
        if provenance is Provenance.MAP:
            provenance, blocked_by = Provenance.OPAQUE, label(node)
        return Inferred(tuple(View(d, None, provenance, node.output[i], blocked_by) for i, d in enumerate(dims)))


def same_operator(node: NodeProto, view: View, beside: Sequence[str] = (), **changed: object) -> Inferred:
    """Give the result the first operand's view: the node runs on its spatial form, with `beside` operands as they are.

    `changed` are attributes with other values there.
    """
    operands: tuple[Operand, ...] = (FormOf(node.input[0]), *map(AsIs, beside))
    return Inferred((view,), Remap(operands, changed) if view.spatial_form is not None else None)


def of_rank(dims: Layout, rank: int) -> Layout:
    """Return dimensions with as many of size 1 before them as a rank asks for."""
    return (*((),) * (rank - len(dims)), *dims)


def repeats_to(form: Layout | None, whole: Layout | None) -> bool:
    """Return whether a layout broadcasts to another one of its rank, as it is."""
    if form is None or whole is None or len(form) != len(whole):
        return False
    return all(not own or own == dim for own, dim in zip(form, whole, strict=True))


def of_axes(layout: Layout, axes: Collection[Axis]) -> Layout:
    """Return a layout without all axes but these."""
    return tuple(tuple(axis for axis in dim if axis in axes) for dim in layout)


def unknown(name: str, rank: int) -> tuple[Size, ...]:
    """Return sizes that are not known, one symbol each."""
    return tuple(Size(1, (f"?{name}.{i}",)) for i in range(rank))


def size_remedy(graph: Graph, view: Callable[[str], View | None]) -> str:
    """Return the remedy for an unknown size: give an input of the model its open sizes, else export with fixed ones."""
    given = [name for name in graph.outermost.inputs if name not in graph.outermost.initializers]
    known = [(name, found.dims) for name in given if (found := view(name)) is not None and found.dims]
    for name, dims in known:
        batch, *rest = (size_of(dim) for dim in dims)
        opened = [i for i, size in enumerate(rest, 1) if not size.known]
        if opened:
            sizes = ",".join(str(size) if size.known else f"D{i}" for i, size in enumerate(rest, 1))
            first = batch.coefficient if batch.known else 1
            numbers = " and ".join(f"D{i}" for i in opened)
            return f"Fix the input's shape: --overwrite-input-shape {name}:{first},{sizes}, with numbers for {numbers}."
    return "Export the model with fixed sizes, so that shape inference knows this one."


class UnknownError(Exception):
    """An operand's values are needed and not known, or fit no operand; the engine loses the layout at this node."""


def dimension(axis: int, rank: int) -> int:
    """Return the dimension that an axis (negative from the end) names; raise UnknownError where it is out of range."""
    if not -rank <= axis < rank:
        raise UnknownError(f"axis {axis} of rank {rank}")
    return axis % rank


def dimension_of(node: NodeProto, rank: int, default: int) -> int:
    """Return the dimension that a node's attribute `axis` names; raise UnknownError where it is out of range."""
    return dimension(int_attribute(node, "axis", default), rank)


Handler = Callable[[Context, NodeProto], Inferred | None]
"""The inference of one node; None says "not in this form", and the layout is lost here."""

_Handler = TypeVar("_Handler", bound=Handler)

HANDLERS: dict[str, Handler] = {}


def handles(*operators: str) -> Callable[[_Handler], _Handler]:
    """Register a handler for operators (with their domain unless that is ONNX's own)."""

    def register(handler: _Handler) -> _Handler:
        for name in operators:
            assert name not in HANDLERS, name
            HANDLERS[name] = handler
        return handler

    return register
