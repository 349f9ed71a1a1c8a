"""Nodes that work along one named dimension: on the twin the dimension has another number.

Softmax and its kin, Concat, Split, Slice, Gather, and the norms, scans and searches that need a whole dimension.
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.axes import Axis, Layout, Size, size_of
from fc2conv.graph import int_attribute, op
from fc2conv.layout.context import Context, Inferred, handles, position
from fc2conv.layout.facts import AsIs, NewInts, OfTwin, Operand, Runs
from fc2conv.view import View, align


@handles("Softmax", "LogSoftmax", "Hardmax")
def _softmax(ctx: Context, node: NodeProto) -> Inferred | None:
    """Softmax over a dimension (opset 13 on), or over all dimensions from `axis` on as one (before 13)."""
    view = ctx.data(node)
    if view is None:
        return None
    new = ctx.graph.opset >= 13
    rank = len(view.dims)
    axis = int_attribute(node, "axis", -1 if new else 1)
    axis += rank if axis < 0 else 0
    dims = view.dims[axis : axis + 1] if new else view.dims[axis:]
    held = [dim for dim in dims if dim]
    if view.twin is None or len(held) != 1:
        return ctx.opaque(node, view.dims)
    at = next((i for i, dim in enumerate(view.twin) if dim == held[0]), None)
    # Before opset 13 the twin is flattened from the axis on as well: only dimensions of size 1 may follow.
    if at is None or (not new and any(view.twin[at + 1 :])):
        return ctx.opaque(node, view.dims)
    return Inferred((view,), Runs((OfTwin(node.input[0]),), {"axis": at}))


@handles("Concat")
def _concat(ctx: Context, node: NodeProto) -> Inferred | None:
    views = [ctx.view(name) for name in node.input]
    known = [view for view in views if view is not None]
    if len(known) != len(views):
        return _concat_with_constants(ctx, node)
    rank = len(known[0].dims)
    axis = int_attribute(node, "axis", 1)
    axis += rank if axis < 0 else 0
    first = known[0]
    place = {position(view, axis) for view in known}
    size = _sum([size_of(view.dims[axis]) for view in known], node)
    new = (Axis(f"{node.output[0]}.{axis}", size),)
    rest = [_without(view, axis) for view in known]
    aligned = [align(rest[0], other) for other in rest]
    trail, culprit = ctx.trail(node)
    dims = (*first.dims[:axis], new, *first.dims[axis + 1 :])
    plain = View(dims, None, trail, node.output[0], culprit)
    at = next(iter(place))
    if at is None or len(place) > 1:
        return Inferred((plain,))
    for other in aligned:
        if other is None or other.dims != rest[0].dims or other.twin != rest[0].twin:
            return Inferred((plain,))
    assert first.twin is not None
    twin = (*first.twin[:at], new, *first.twin[at + 1 :])
    return Inferred((replace(plain, twin=twin),), Runs(tuple(OfTwin(name) for name in node.input), {"axis": at}))


def _concat_with_constants(ctx: Context, node: NodeProto) -> Inferred | None:
    """With a constant among the parts (a class token) the dimension is new, and the others stay."""
    view = next((view for name in node.input if (view := ctx.view(name)) is not None), None)
    shape = ctx.shapes.get(node.output[0])
    if view is None or shape is None or len(shape) != len(view.dims):
        return None
    axis = int_attribute(node, "axis", 1) % len(shape)
    new = (Axis(f"{node.output[0]}.{axis}", shape[axis]),)
    return ctx.opaque(node, (*view.dims[:axis], new, *view.dims[axis + 1 :]))


def _sum(sizes: list[Size], node: NodeProto) -> Size:
    if all(size.known for size in sizes):
        return Size(sum(size.coefficient for size in sizes))
    return Size(1, (f"?{node.output[0]}.concat",))


def _without(view: View, axis: int) -> View:
    gone = set(view.dims[axis])

    def rest(layout: Layout) -> Layout:
        return tuple(tuple(a for a in dim if a not in gone) for dim in layout)

    return replace(view, dims=rest(view.dims), twin=view.twin and rest(view.twin))


@handles("Split")
def _split(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    if view is None:
        return None
    axis = int_attribute(node, "axis", 0)
    axis += len(view.dims) if axis < 0 else 0
    sizes = ctx.listed(node, "split")
    whole = size_of(view.dims[axis])
    parts = len(node.output)
    if sizes is None:
        if not whole.known:
            return None
        chunk = -(-whole.coefficient // parts)
        sizes = [chunk] * (parts - 1) + [whole.coefficient - chunk * (parts - 1)]
    results = [_recut(node.output[i], view, axis, Size(size)) for i, size in enumerate(sizes)]
    at = position(view, axis)
    if at is None:
        return ctx.opaque(node, *(result.dims for result in results))
    operands: tuple[Operand, ...] = (OfTwin(node.input[0]), *(AsIs(name) for name in node.input[1:]))
    return Inferred(tuple(results), Runs(operands, {"axis": at}))


def _recut(name: str, view: View, axis: int, size: Size) -> View:
    """The view with one dimension replaced by a part of it, which is an axis of its own, in the twin too."""
    new = (Axis(f"{name}.{axis}", size),)
    at = position(view, axis)
    twin = None if at is None or view.twin is None else (*view.twin[:at], new, *view.twin[at + 1 :])
    dims = (*view.dims[:axis], new, *view.dims[axis + 1 :])
    return replace(view, dims=dims, twin=twin, birth=name)


@handles("Slice")
def _slice(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    shape = ctx.shapes.get(node.output[0])
    if view is None or shape is None or len(shape) != len(view.dims):
        return None
    axes = ctx.listed(node, "axes", 3)
    if axes is None:
        starts = ctx.listed(node, "starts", 1)
        axes = list(range(len(starts or view.dims)))
    axes = [axis % len(view.dims) for axis in axes]
    result = view
    places: list[int] = []
    for axis in axes:
        at = position(result, axis)
        cut = _recut(node.output[0], result, axis, shape[axis])
        places.append(-1 if at is None else at)
        result = cut
    if -1 in places or view.twin is None:
        return ctx.opaque(node, result.dims)
    if ctx.graph.opset < 10:
        return Inferred((result,), Runs((OfTwin(node.input[0]),), {"axes": places}))
    steps = (AsIs(node.input[4]),) if len(node.input) > 4 else ()
    operands = (OfTwin(node.input[0]), AsIs(node.input[1]), AsIs(node.input[2]), NewInts(tuple(places)), *steps)
    return Inferred((result,), Runs(operands))


@handles("Gather")
def _gather(ctx: Context, node: NodeProto) -> Inferred | None:
    """A constant index takes a slice of one dimension; what it picks is an axis of its own, or none for a scalar."""
    view = ctx.data(node)
    indices = ctx.constants.shape(node.input[1]) if ctx.constants.is_constant(node.input[1]) else None
    if view is None or indices is None or len(indices) > 1:
        return None
    axis = int_attribute(node, "axis", 0) % len(view.dims)
    new = [(Axis(f"{node.output[0]}.{axis}", Size(size)),) for size in indices]
    return ctx.opaque(node, (*view.dims[:axis], *new, *view.dims[axis + 1 :]))


SHAPE_KEEPING = (
    "LayerNormalization RMSNormalization LpNormalization MeanVarianceNormalization SimplifiedLayerNormalization CumSum "
    "com.microsoft::LayerNormalization com.microsoft::SimplifiedLayerNormalization "
    "com.microsoft::SkipLayerNormalization EyeLike Trilu QuantizeLinear DequantizeLinear RandomNormalLike "
    "RandomUniformLike Bernoulli ReverseSequence ScatterElements ScatterND"
).split()


@handles(*SHAPE_KEEPING)
def _shape_keeping(ctx: Context, node: NodeProto) -> Inferred | None:
    """Needs the original layout, and its first result is laid out like its first operand."""
    view = ctx.data(node)
    if view is None:
        return None
    inferred = ctx.opaque(node, view.dims)
    rest = ctx.lost(node).views[1:]
    return Inferred((*inferred.views, *rest))


@handles("Pad", "Tile", "Expand", "Resize", "Upsample")
def _resized(ctx: Context, node: NodeProto) -> Inferred | None:
    """Dimensions whose size stays are kept; those that change are axes of their own. Of a map it makes a map."""
    view = ctx.data(node)
    shape = ctx.shapes.get(node.output[0])
    if view is None or shape is None or len(shape) < len(view.dims):
        return None
    pad = len(shape) - len(view.dims)
    old: Layout = (*((),) * pad, *view.dims)
    dims = tuple(
        dim if size_of(dim) == size and size.known else (Axis(f"{node.output[0]}.{i}", size),)
        for i, (dim, size) in enumerate(zip(old, shape, strict=True))
    )
    if view.free and pad == 0 and len(dims) > 2:
        return Inferred((View(dims, dims, view.trail, node.output[0], view.culprit),))
    return ctx.opaque(node, dims)


@handles("MatMul", "Gemm")
def _product(ctx: Context, node: NodeProto) -> Inferred | None:
    """A product of two activations takes its leading dimensions from the left operand and its last from the right."""
    left, right = (ctx.view(name) for name in node.input[:2])
    if op(node) != "MatMul" or left is None or right is None or min(len(left.dims), len(right.dims)) < 2:
        return None
    last = tuple(replace(axis, root=f"{node.output[0]}/{axis.root}") for axis in right.dims[-1])
    if len(right.dims) > len(left.dims):
        return None
    return ctx.opaque(node, (*left.dims[:-1], last))
