"""Maps: nodes whose result is a feature map [N, C, *S] whatever they read, and graph inputs that are read as one.

With `--conv-rank 2d` a network of one dimension is one of two, lifted once where its input comes in:

    [N, C, L] -> Conv, kernel k     on spatial forms: [N, C, 1, L] -> Conv, kernel 1 x k
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, handles, same_operator, unknown
from fc2conv.analysis.facts import AsIs, FormOf, Operand, Relaid, Remap
from fc2conv.analysis.reductions import OF_POOLS, of_tokens
from fc2conv.analysis.tokens import moved
from fc2conv.ir.graph import int_attribute, ints_attribute, op, permutation
from fc2conv.ir.layer_operators import CONVOLUTIONS, LAYER_OPERATORS
from fc2conv.ir.stored import base_layout
from fc2conv.layers.weights import can_relay
from fc2conv.layout.axes import ONE, Axis, Dim, Kind, Layout, Size, axes_of, size_of
from fc2conv.layout.relayout import conversion
from fc2conv.layout.view import Provenance, View

MAPS = (
    "Conv ConvTranspose ConvInteger QLinearConv DeformConv MaxPool AveragePool LpPool MaxUnpool "
    "GlobalAveragePool GlobalMaxPool GlobalLpPool "
    "DepthToSpace SpaceToDepth GridSample Col2Im RoiAlign MaxRoiPool AffineGrid com.microsoft::FusedConv "
    "com.microsoft::QLinearAveragePool com.microsoft::QLinearGlobalAveragePool com.microsoft::QLinearConv "
    "com.microsoft::GridSample com.microsoft::NhwcConv com.microsoft::NhwcFusedConv com.microsoft::NhwcMaxPool "
    "com.microsoft::MaxpoolWithMask "
    "com.microsoft.nchwc::ReorderOutput"
).split()
_LRN = 4
"""The rank of LRN's operand."""
_BEGINS = frozenset((*MAPS, *LAYER_OPERATORS))
"""The operators at which a map or the result of a layer begins."""
IMAGE_RANK = 4
"""The least rank of a graph input that is taken for a picture."""
KERNELS: Mapping[str, int] = {**CONVOLUTIONS, "ConvTranspose": 1}
"""Convolutions, and the transposed one, with the position of the kernel among the operands."""
POOLS = frozenset(
    "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool InstanceNormalization".split()
)
_POWERS = {"LpPool": (2,), "GlobalLpPool": (1, 2)}
"""The powers of norms that a proof follows to a map of two dimensions."""
GLOBAL = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_ONE_MORE = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}
"""The value of each attribute for the new dimension."""
ITEMS_CHANGE = {"RoiAlign", "MaxRoiPool", "AffineGrid"}


@handles("LRN", "InstanceNormalization", "GroupNormalization")
def _normalized_map(ctx: Context, node: NodeProto) -> Inferred | None:
    """Keep a map as it is; what is only shaped as one (a group norm by way of a Reshape) keeps its axes."""
    view = ctx.first(node)
    form = None if view is None or view.free else view.spatial_form
    narrow = op(node) == "LRN" and form is not None and len(form) != _LRN  # runtimes take no other rank
    if view is not None and form is not None and form[:2] == view.dims[:2] and not narrow:
        # It asks for the items and the channels, and takes all other axes together.
        return same_operator(node, replace(view, origin=node.output[0]), node.input[1:])
    if view is None or len(view.dims) < 3:
        return _map(ctx, node)
    recipe = lifted(ctx, node, view)
    spatial_form = higher(view.dims, new_dimension(view)) if recipe is not None else view.dims if view.free else None
    return Inferred((replace(view, spatial_form=spatial_form, origin=node.output[0]),), recipe)


@handles(*OF_POOLS)
def _pool(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.first(node)
    return (None if view is None else of_tokens(ctx, node, view)) or _map(ctx, node)


@handles(*(name for name in MAPS if name not in OF_POOLS))
def _map(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out the result over new axes, except for the batch, which is the operand's."""
    made, kind = node.output[0], op(node)
    shape = ctx.shapes.get(made) or _by_kernel(ctx, node)
    source = ctx.first(node)
    if shape is None or len(shape) < 3:
        return None
    last = "::" in kind and ("::Nhwc" in kind or int_attribute(node, "channels_last", 0))
    kinds = [Kind.BATCH, *([Kind.SPACE] * (len(shape) - 2))]
    kinds.insert(len(shape) - 1 if last else 1, Kind.OTHER)
    own: list[Dim] = [(Axis(f"{made}.{i}", size, ONE, kinds[i]),) for i, size in enumerate(shape)]
    same = source is not None and source.dims and kind not in ITEMS_CHANGE
    if source is not None and same and (not shape[0].known or size_of(source.dims[0]) == shape[0]):
        own[0] = source.dims[0]
    rest = ctx.lost(node).views[1:] if len(node.output) > 1 else ()
    dims = tuple(own)
    spatial_form = (dims[0], dims[-1], *dims[1:-1]) if last else dims
    recipe = lifted(ctx, node, source)
    if recipe is not None and kind in GLOBAL and source is not None and source.spatial_form is not None:
        spatial_form = (*spatial_form[:2], *((),) * (len(source.spatial_form) - 2))
    elif rises(ctx, kind):
        spatial_form = higher(spatial_form, new_dimension(source))
    return Inferred((View(dims, spatial_form, Provenance.MAP, made), *rest), recipe)


def _by_kernel(ctx: Context, node: NodeProto) -> Sequence[Size] | None:
    """Return what a convolution's kernel says of a result whose input is not known: its rank and its channels."""
    if op(node) != "Conv" or not ctx.constants.is_constant(node.input[1]):
        return None
    kernel = ctx.constants.shape(node.input[1])
    if kernel is None or len(kernel) < 3:
        return None
    sizes = unknown(node.output[0], len(kernel))
    return (sizes[0], Size(kernel[0]), *sizes[2:])


def sequence_of(ctx: Context, name: str) -> str:
    """Return the graph input of rank 3 that is all that a value sees of a map; "" where it sees more.

    This input is a 1-D map where it is flattened, or convolved; else it may as well be tokens.
    """
    found, stack, seen = "", [name], set[str]()
    while stack:
        each = stack.pop()
        view, maker = ctx.view(each), ctx.graph.producer.get(each)
        if view is None or view.provenance is not Provenance.MAP or each in seen:
            continue
        seen.add(each)
        if maker is not None and ctx.graph.kinds[maker] not in _BEGINS:
            stack += ctx.graph.operands[maker]
        elif maker is None and len(view.dims) == 3 and not any(axis.kind is Kind.SPACE for axis in axes_of(view.dims)):
            found = each
        else:
            return ""
    return found


def higher(layout: Layout, at: int = 2) -> Layout:
    """Add a height of 1 to a map of one dimension, or a width of 1 where the new dimension is `at` 3."""
    return (*layout[:at], (), *layout[at:]) if len(layout) == 3 else layout


def new_dimension(view: View | None) -> int:
    """Return where the new dimension of a map goes: the height, or the width if its spatial form has a width of 1."""
    column = view is not None and len(view.dims) == 3 and view.spatial_form == higher(view.dims, 3)
    return 3 if column else 2


def lifted(ctx: Context, node: NodeProto, view: View | None) -> Remap | None:
    """Run the node on a map with a height of 1; return None where it cannot, or its input is not yet in that form."""
    kind = op(node)
    if kind in GLOBAL and _over_cells(view):
        return Remap((FormOf(node.input[0]),))
    if not rises(ctx, kind) or view is None or len(view.dims) != 3 or not _reads_map(node):
        return None
    if kind in _POWERS and (int_attribute(node, "p", 2) not in _POWERS[kind] or int_attribute(node, "ceil_mode", 0)):
        return None
    at = new_dimension(view)
    wanted = higher(view.dims, at)
    ctx.ask(view, wanted)
    if view.spatial_form is None or len([name for name in node.output if name]) > 1:
        return None
    if view.spatial_form != wanted and (kind not in KERNELS or conversion(view.spatial_form, wanted) is None):
        return None
    first = FormOf(node.input[0], moved(view.spatial_form, wanted))
    operands: list[Operand] = [first, *(AsIs(name) for name in node.input[1:])]
    if kind in KERNELS:
        name = node.input[KERNELS[kind]]
        shape = ctx.constants.shape(name) if ctx.constants.computable(name) else None
        source = None if shape is None else base_layout(shape)
        if shape is None or source is None or len(source) != 3 or not can_relay(shape, source, higher(source, at)):
            return None
        operands[KERNELS[kind]] = Relaid(name, source, higher(source, at))
    return Remap(tuple(operands), _attributes(node, at - 2), lifts=kind in KERNELS)


def as_map(ctx: Context, view: View) -> View:
    """Return a graph input as the map that a node reads, else as a picture if it has enough dimensions.

    Its dimensions are items, channels and cells in the order in which they are read, after a Transpose too.
    """
    order, kind = next(_readings(ctx, view), (list(range(len(view.dims))), ""))
    if len(view.dims) < (2 if kind else IMAGE_RANK):
        return view
    kinds = {order[0]: Kind.BATCH, order[1]: Kind.OTHER}
    dims = tuple(tuple(axis._replace(kind=kinds.get(i, Kind.SPACE)) for axis in dim) for i, dim in enumerate(view.dims))
    spatial_form = tuple(dims[i] for i in order)
    return replace(view, dims=dims, spatial_form=higher(spatial_form) if rises(ctx, kind) else spatial_form)


def _readings(ctx: Context, view: View) -> Iterator[tuple[list[int], str]]:
    """Yield the orders in which convolutions and pools read the dimensions of a graph input, with the operator."""
    rank = len(view.dims)
    for node in _readers(ctx, view.origin):
        if _reads_map(node):
            yield list(range(rank)), op(node)
        perm = permutation(node, rank) if op(node) == "Transpose" else None
        if perm is not None:
            yield from ((perm, op(each)) for each in _readers(ctx, node.output[0]) if _reads_map(each))


def _readers(ctx: Context, name: str) -> list[NodeProto]:
    nodes = (ctx.graph.nodes[i] for i in ctx.graph.uses.get(name, []))
    return [node for node in nodes if node.input[0] == name]


def _reads_map(node: NodeProto) -> bool:
    return op(node) in (*KERNELS, *POOLS)


def rises(ctx: Context, kind: str) -> bool:
    """Return whether the result of an operator on a map of one dimension has a spatial form of two."""
    return ctx.lifts or (ctx.rank == 2 and kind in POOLS)


def _over_cells(view: View | None) -> bool:
    """Return whether a 1-D map has a spatial form with its cells, in any order, as a global pool needs no order."""
    form = view.spatial_form if view is not None and len(view.dims) == 3 else None
    return view is not None and form is not None and form[:2] == view.dims[:2]


def _attributes(node: NodeProto, at: int) -> dict[str, object]:
    given = {name: found for name in _ONE_MORE if (found := ints_attribute(node, name))}
    more: dict[str, object] = {name: [*found[:at], _ONE_MORE[name], *found[at:]] for name, found in given.items()}
    pads = ints_attribute(node, "pads")
    if pads:
        more["pads"] = [pads[0], 0, pads[1], 0] if at else [0, pads[0], 0, pads[1]]
    return more
