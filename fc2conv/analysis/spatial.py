"""Seeds: nodes whose result is a feature map [N, C, *S] whatever they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, handles, same_operator, unknown
from fc2conv.analysis.lifted import GLOBAL, higher, lifted, new_dimension, rises
from fc2conv.analysis.reductions import OF_POOLS, of_tokens
from fc2conv.ir.graph import int_attribute, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.layout.axes import ONE, Axis, Dim, Kind, Size, axes_of, size_of
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
