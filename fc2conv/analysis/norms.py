"""Nodes that keep the shape of what they read and need whole dimensions of it: norms, scans, scatters."""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, dimension_of, handles
from fc2conv.analysis.facts import AsIs, OfTwin, Operand, Remap
from fc2conv.layout.axes import Layout, same_axes

SHAPE_KEEPING = (
    "LpNormalization MeanVarianceNormalization CumSum CumProd RotaryEmbedding TensorScatter "
    "com.microsoft::BiasSoftmax com.microsoft::BiasAdd com.microsoft::GroupNorm com.microsoft::RotaryEmbedding "
    "com.microsoft::Trilu ai.onnx.ml::Scaler ai.onnx.ml::Normalizer ai.onnx.ml::Imputer ai.onnx.ml::Binarizer "
    "EyeLike Trilu RandomNormalLike RandomUniformLike Bernoulli ReverseSequence ScatterElements ScatterND"
).split()


NORMS = (
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization "
    "com.microsoft::LayerNormalization com.microsoft::SimplifiedLayerNormalization"
).split()


@handles(*NORMS)
def _norm(ctx: Context, node: NodeProto) -> Inferred | None:
    """A norm of the channels needs them as the last dimension, and asks nothing of the others.

    tokens [N, L, C] -> norm           on twins: [N, C, H, W] -> Transpose -> norm -> Transpose
    """
    found = _shape_keeping(ctx, node)
    view = ctx.data(node)
    if found is None or view is None or len([name for name in node.output if name]) > 1:
        return found
    result = found.views[0]
    assert result is not None
    if dimension_of(node, len(view.dims), -1) != len(view.dims) - 1:
        return found
    if view.twin is None:
        wanted = ctx.wishes.get(node.output[0])
        if wanted is not None and len(wanted) > 1 and wanted[1] == view.dims[-1] and same_axes(wanted, view.dims):
            ctx.requests.setdefault(view.origin, wanted)
        return found
    if view.twin[1] != view.dims[-1] or not any(view.twin[2:]):
        return found  # of one cell the original costs no more
    last: Layout = (view.twin[0], *view.twin[2:], view.twin[1])
    rest = tuple(AsIs(name) for name in node.input[1:])
    operands: tuple[Operand, ...] = (OfTwin(node.input[0], (view.twin, last)), *rest)
    views = (replace(result, twin=view.twin), *found.views[1:])
    return Inferred(views, Remap(operands, {"axis": -1}, (last, view.twin)))


@handles(*SHAPE_KEEPING)
def _shape_keeping(ctx: Context, node: NodeProto) -> Inferred | None:
    """Needs the original layout, and its first result is laid out like its first operand."""
    view = ctx.data(node)
    if view is None:
        return None
    inferred = ctx.opaque(node, view.dims)
    rest = ctx.lost(node).views[1:]
    return Inferred((*inferred.views, *rest))


@handles("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
def _skipping(ctx: Context, node: NodeProto) -> Inferred | None:
    """Normalizes a sum, and gives the sum itself as the fourth result."""
    found = _shape_keeping(ctx, node)
    return found and Inferred(tuple(found.views[0] if i == 3 else view for i, view in enumerate(found.views)))
