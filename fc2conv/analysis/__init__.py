"""Inference: the view of every value of a scope, with one module of handlers for each family of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from onnx import NodeProto

from fc2conv.analysis import (
    axiswise,
    elementwise,
    norms,
    products,
    quantized,
    recurrent,
    reductions,
    reshapes,
    resizing,
    spatial,
)
from fc2conv.analysis.context import HANDLERS, Context, Inferred, Shapes, UnknownError, Wanted
from fc2conv.analysis.facts import Drop, Facts, NodeFacts
from fc2conv.analysis.fc import infer_layer
from fc2conv.analysis.reshapes import shape_on_spatial_form
from fc2conv.analysis.spatial import IMAGE_RANK, KERNELS, as_map
from fc2conv.dataclass import dataclass
from fc2conv.ir.arithmetic import SOURCES, Numbers, counted
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.propagation import Propagated
from fc2conv.layers import FCLayer, find_layer
from fc2conv.layout.axes import Kind, Layout, Size, axes_of, same_axes
from fc2conv.layout.view import Provenance, View, fresh, with_sizes

FAMILIES = (axiswise, elementwise, norms, products, quantized, recurrent, reductions, reshapes, resizing, spatial)
"""The modules whose import fills the registry of handlers."""

ROUNDS = 8
"""The most passes; spatial forms that are still asked for after them are not made."""

SEED = -1
"""The key, instead of a node's position, for what is known before the first node."""


@dataclass(eq=False)
class Inference:
    """One scope's inference, repeated until no further spatial form is asked for.

    Where axes are born at a node that needs the original layout, layers after it ask for a spatial form, so that a
    second pass can make it there. A pass infers again only what has changed since an earlier one (see memory.py).
    """

    constants: Constants
    known: Propagated
    conv_rank: int | None = None
    norms: bool = False
    outer: Mapping[str, View] = field(default_factory=dict)

    def __post_init__(self) -> None:
        constants, graph, shapes = self.constants, self.constants.graph, self.known.shapes
        self.graph, self.shapes, self.numbers = graph, shapes, self.known.numbers
        self.rank = self.conv_rank or own_rank(graph, constants)
        self.lifts = self.conv_rank == 2
        self.batch = _batch(graph, constants, shapes)
        self._contexts: dict[frozenset[tuple[str, int]], Context] = {}
        self._counts = bool(self.numbers) or not SOURCES.isdisjoint(graph.kinds)
        self._given = {name: each for name, each in self.numbers.items() if name not in graph.producer}
        self._computed = [(i, node) for i, node in enumerate(graph.nodes) if not constants.makes(graph.results[i])]

        kinds = enumerate(graph.kinds)
        found = ((i, find_layer(graph, constants, i, shapes)) for i, kind in kinds if kind in LAYER_OPERATORS)
        self.found = {i: each for i, each in found if each is not None}
        layers = [(i, each) for i, each in self.found.items() if isinstance(each, FCLayer)]
        self._parts = {j: NodeFacts(part_of=i) for i, each in layers for j in each.absorbed}

    def run(self, wanted: Wanted) -> Facts:
        """Return the facts that a plan wants; first settle requested spatial forms and the sizes that weights fix."""
        requested: dict[str, Layout] = {}
        sizes: dict[str, int] = {}
        for _ in range(ROUNDS):
            facts = self._pass(self._context(sizes), requested, wanted)
            new = {name: layout for name, layout in facts.requests.items() if name not in requested}
            if not new and facts.sizes.keys() <= sizes.keys():
                break
            requested |= new
            sizes = {**facts.sizes, **sizes}
        return facts

    def _context(self, sizes: Mapping[str, int]) -> Context:
        """Return the context of the passes that know these sizes."""
        key = frozenset(sizes.items())
        if key not in self._contexts:
            self._contexts[key] = Context(
                self.graph,
                self.constants,
                _with_sizes(self.shapes, sizes),
                self.rank,
                self.lifts,
                self.norms,
                sizes,
                self.batch,
            )
        return self._contexts[key]

    def _pass(self, ctx: Context, requested: Mapping[str, Layout], wanted: Wanted) -> Facts:
        ctx.begin(self._given, requested, wanted)
        if ctx.memory.recall(SEED) is None:
            self._seed(ctx)
            ctx.memory.keep(SEED, NodeFacts())
        nodes: list[NodeFacts] = [NodeFacts()] * len(self.graph.nodes)
        for i, node in self._computed:
            if nodes[i].part_of is not None:
                continue
            facts = ctx.memory.recall(i)
            if facts is None:
                facts = self._inferred(ctx, i, node)
                ctx.memory.keep(i, facts)
            nodes[i] = facts
            for j in facts.layer.layer.absorbed if facts.layer is not None else ():
                nodes[j] = self._parts[j]
        self._spare_concats(nodes)
        return Facts(dict(ctx.views.now), tuple(nodes), dict(ctx.requests.now), dict(ctx.solved.now))

    def _inferred(self, ctx: Context, i: int, node: NodeProto) -> NodeFacts:
        numbers = self._numbers(ctx, i, node)
        if numbers is not None:
            return self._counted(ctx, node, numbers)
        layer = self.found.get(i)
        if isinstance(layer, FCLayer):
            view, facts = infer_layer(ctx, layer, ctx.refused.get(i))
            if view is not None:
                self._settle(ctx, layer.output, view)
            return NodeFacts(layer=facts)
        inferred = self._infer(ctx, i, node)
        for name, each in zip(self.graph.results[i], inferred.views, strict=False):
            if name and each is not None:
                self._settle(ctx, name, each)
        return NodeFacts(inferred.recipe)

    def _numbers(self, ctx: Context, i: int, node: NodeProto) -> tuple[Numbers, ...] | None:
        """Return the numbers that a node computes; the propagated ones where the views say the same of its operands."""
        if not self._counts:
            return None
        shape, operands, results = None, self.graph.operands[i], self.graph.results[i]
        if self.graph.kinds[i] in SOURCES:
            sizes = ctx.shape(operands[0])
            shape = None if sizes is None else tuple(sizes)
            same = shape == self.shapes.get(operands[0])
        else:
            same = all(ctx.numbers.get(name) is self.numbers.get(name) for name in operands)
        if same:
            found = tuple(self.numbers[name] for name in results if name in self.numbers)
            return found if found and len(found) == len(results) else None
        return counted(node, self.graph.opset, ctx.number, shape)

    def _counted(self, ctx: Context, node: NodeProto, found: Sequence[Numbers]) -> NodeFacts:
        """Settle arithmetic on shapes, which is dropped on spatial forms unless its result is asked for there."""
        for name, numbers in zip(node.output, found, strict=False):
            ctx.numbers[name] = numbers
            self._settle(ctx, name, fresh(name, [Size(size) for size in numbers.cells.shape]))
        measured = shape_on_spatial_form(ctx, node) if op(node) == "Shape" else None
        if measured is not None:
            name = node.output[0]
            ctx.views[name] = replace(ctx.views[name], spatial_form=ctx.views[name].dims)
            return NodeFacts(measured)
        return NodeFacts(Drop() if all(ctx.views[name].spatial_form is None for name in node.output if name) else None)

    def _spare_concats(self, nodes: list[NodeFacts]) -> None:
        """Drop on spatial forms each Concat that layers alone read, where each of these reads its branches."""
        joined = [each.layer.layer.x for each in nodes if each.layer is not None and each.layer.branches]
        for name in dict.fromkeys(joined):
            readers = [nodes[i].layer for i in self.graph.uses[name]]
            if name not in self.graph.leaving and all(reader is not None and reader.branches for reader in readers):
                nodes[self.graph.producer[name]] = NodeFacts(Drop())

    def _infer(self, ctx: Context, i: int, node: NodeProto) -> Inferred:
        handler = HANDLERS.get(self.graph.kinds[i])
        try:
            found = handler(ctx, node) if handler is not None else None
        except UnknownError:
            found = None
        return found if found is not None else ctx.lost(node)

    def _seed(self, ctx: Context) -> None:
        for name, view in self.outer.items():
            # The spatial form of a captured value is out of reach, unless it is the value itself.
            ctx.views[name] = replace(view, spatial_form=view.spatial_form if view.free else None, origin=name)
        for name in self.graph.inputs:
            shape = self.shapes.get(name)
            if shape is not None and not self.constants.is_constant(name):
                outermost = not self.graph.path
                provenance = Provenance.MAP if len(shape) >= IMAGE_RANK - 1 and outermost else Provenance.NONE
                view = fresh(name, shape, provenance, batch=self.batch)
                self._settle(ctx, name, as_map(ctx, view) if outermost else view)

    def _settle(self, ctx: Context, name: str, view: View) -> None:
        """Record a view, with the spatial form that was asked for at this value, if it holds the same axes.

        Axes that are asked for as items (numbers beside a map, one for each item) are items in the value as well.
        """
        view = with_sizes(view, ctx.sizes)
        wanted = ctx.requested.get(name) if view.spatial_form is None and view.origin == name else None
        if wanted is not None and same_axes(view.dims, wanted):
            items = {axis: axis for axis in axes_of(wanted) if axis.kind is Kind.BATCH}
            dims = tuple(tuple(items.get(axis, axis) for axis in dim) for dim in view.dims)
            view = replace(view, dims=dims, spatial_form=wanted)
        ctx.views[name] = view


def _batch(graph: Graph, constants: Constants, shapes: Shapes) -> Size | None:
    """Return the batch size: the first dimension of the model's first image, else of its first input of rank 2 on."""
    if graph.path:
        return Size(1, (f"{graph.path} batch",))  # no size is known to be its batch, and every open one may be
    known = [shapes[name] for name in graph.inputs if name in shapes and not constants.is_constant(name)]
    found = [shape[0] for least in (IMAGE_RANK, 2) for shape in known if len(shape) >= least]
    return found[0] if found else None


def own_rank(graph: Graph, constants: Constants) -> int:
    """Return the spatial rank of the convolutions of a scope; 2 where they differ, or there are no convolutions."""
    nodes = ((at, names) for kind, names in zip(graph.kinds, graph.operands, strict=True) if (at := KERNELS.get(kind)))
    shapes = map(constants.shape, {names[at] for at, names in nodes})
    ranks = {len(kernel) - 2 for kernel in shapes if kernel is not None and len(kernel) > 2}
    return ranks.pop() if len(ranks) == 1 else 2


def _with_sizes(shapes: Shapes, sizes: Mapping[str, int]) -> Shapes:
    if not sizes:
        return shapes
    return {name: tuple(size.given(sizes) for size in shape) for name, shape in shapes.items()}


__all__ = ["Facts", "Inference"]
