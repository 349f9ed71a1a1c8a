"""Elementwise nodes: they run on spatial forms as on the originals, if all operands can be laid out the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, handles, of_axes, of_rank, repeats_to, same_operator, unknown
from fc2conv.analysis.facts import AsIs, Expand, FormOf, Operand, Relaid, Remap, Step
from fc2conv.io.custom_ops import FAKE_QUANTIZERS
from fc2conv.ir.graph import int_attribute, label, op
from fc2conv.layers.weights import can_move, can_relay
from fc2conv.layout.axes import ONE, Axis, Kind, Layout, Size, axes_of, cached, refine, same_axes, size_of
from fc2conv.layout.view import Provenance, View, align, broadcast_layouts, fresh, joined, repeated

UNARY = (
    "Relu LeakyRelu Sigmoid Tanh Elu Selu Celu Softplus Softsign HardSigmoid HardSwish Gelu Mish "
    "ThresholdedRelu Swish Erf Abs Neg Exp Log Sqrt Reciprocal Floor Ceil Round Sign Sin Cos Tan Sinh "
    "Cosh Asin Acos Atan Asinh Acosh Atanh Not IsNaN IsInf Identity Cast Clip Shrink BitwiseNot Scale "
    "ParametricSoftplus ScaledTanh Affine com.microsoft::Gelu com.microsoft::QuickGelu"
).split()
BROADCAST = (
    "Add Sub Mul Div Pow Max Min Sum Mean Mod And Or Xor Equal Less Greater LessOrEqual GreaterOrEqual "
    "Where BitShift BitwiseAnd BitwiseOr BitwiseXor"
).split() + sorted(FAKE_QUANTIZERS)
Moved = tuple[Layout, Layout] | None


@handles(*(name for name in UNARY if name != "Clip"))
def _unary(ctx: Context, node: NodeProto) -> Inferred | None:
    return same_operator(node, ctx.data(node)) if len([name for name in node.input if name]) == 1 else None


@handles("Clip")
def _clip(ctx: Context, node: NodeProto) -> Inferred | None:
    view = ctx.data(node)
    if any(tuple(shape) not in ((), (ONE,)) for name in node.input[1:] if (shape := ctx.shape(name)) is not None):
        return None  # bounds are scalars by the specification
    return same_operator(node, view, node.input[1:])


@handles("Dropout", "CastLike")
def _beside_settings(ctx: Context, node: NodeProto) -> Inferred | None:
    """Run on an operand beside settings: how much is dropped, or the value whose type is taken."""
    view = ctx.data(node)
    if len(node.input) > 2 and node.input[2] and ctx.constants.ints(node.input[2]) != (0,):
        return ctx.opaque(node, *(view.dims for _ in node.output))
    return Inferred(tuple(view for _ in node.output), same_operator(node, view, node.input[1:]).recipe)


@handles(*BROADCAST)
def _broadcast(ctx: Context, node: NodeProto) -> Inferred | None:
    if ctx.graph.opset < 7 and op(node) not in ("Sum", "Max", "Min", "Mean"):
        return _before_numpy(ctx, node)
    names = [name for name in node.input if name]
    return combined(ctx, node, names) or ctx.lost(node, _broadcast_shape(ctx, node, names))


@handles("PRelu")
def _prelu(ctx: Context, node: NodeProto) -> Inferred | None:
    """Broadcast the slope to X alone. onnxruntime lets it go beyond, and then takes the result for one of X's shape.

    So an open size of X may be 1 where the slope has more, and does not follow from it.
    """
    x, slope = ctx.shape(node.input[0]), ctx.shape(node.input[1])
    if x is None or slope is None or ctx.graph.opset < 7:
        return _broadcast(ctx, node)
    pairs = zip(reversed(x), reversed(slope), strict=False)
    if len(slope) <= len(x) and all(other in (ONE, size) for size, other in pairs):
        return _broadcast(ctx, node)
    provenance, blocked_by = ctx.provenance(node)
    if provenance is not Provenance.NONE:
        provenance, blocked_by = Provenance.LOST, label(node)
    shape = _broadcast_shape(ctx, node, list(node.input))
    if shape is None:
        return None
    view = fresh(node.output[0], shape, provenance, blocked_by)
    # Which open dimension is the batch is not known, and runtimes have another rank for it: all are items.
    items = (tuple(a._replace(kind=a.kind if a.size.known else Kind.BATCH) for a in dim) for dim in view.dims)
    return Inferred((replace(view, dims=tuple(items)),))


def _broadcast_shape(ctx: Context, node: NodeProto, names: Sequence[str]) -> Sequence[Size] | None:
    """Return the shape of operands that disagree on axes: the sizes that one of them knows, in their largest rank."""
    shapes = [shape for name in names if (shape := ctx.shape(name)) is not None]
    if len(shapes) < len(names):
        return None
    out = list(unknown(node.output[0], max(map(len, shapes))))
    for shape in shapes:
        for i, size in enumerate(shape, start=len(out) - len(shape)):
            if size.known and size != ONE:
                out[i] = size
    return out


def _before_numpy(ctx: Context, node: NodeProto) -> Inferred | None:
    """Combine operands before opset 7, where one was broadcast only on demand, along a named axis."""
    view = ctx.data(node)
    others = [ctx.view(name) for name in node.input[1:]]
    if int_attribute(node, "broadcast", 0) or any(other is None or other.dims != view.dims for other in others):
        return ctx.opaque(node, view.dims)
    return combined(ctx, node, list(node.input))


def combined(ctx: Context, node: NodeProto, names: Sequence[str]) -> Inferred | None:
    """Lay out a broadcasting node in the axes of the first operand that has cells of a map, or is not constant."""
    views, shapes = _operands(ctx, names)
    if not views:
        return None
    # A scalar that is computed (the scale of dynamic quantization) broadcasts to any layout.
    scalars = {name for name, view in views.items() if not view.spatial_form and not any(view.dims)}
    scalars = scalars if len(scalars) < len(views) else set()
    activations = {name: view for name, view in views.items() if name not in scalars}
    first, *others = activations.values()
    lead = first if not others or ctx.has_cells(first) else next(filter(ctx.has_cells, others), first)
    aligned = {name: view if view is lead else align(lead, view) for name, view in activations.items()}
    live = [view for view in aligned.values() if view is not None]
    plain = lead if not others else joined(node.output[0], lead, live) if len(live) == len(activations) else None
    if plain is None:
        return None
    # A scalar of more dimensions than the others, all of size 1, gives the result as many.
    wider = _widened(node, plain.dims, [*((1,) * len(views[name].dims) for name in scalars), *shapes])
    if wider != plain.dims:
        result = View(wider, None, plain.provenance, node.output[0], plain.blocked_by)
        return _wider(ctx, node, names, result, {**views, **dict(zip(activations, live, strict=True))})
    form, moved = lead.spatial_form, list[Moved]([None])
    if any(view.spatial_form is None for view in live):
        _request(ctx, names)
        form = None
    elif others:
        form, moved = _common_form(live, plain.dims, form)
    if form is None:
        return Inferred((plain if lead.spatial_form is None else replace(plain, origin=node.output[0]),))
    result = plain if form is plain.spatial_form else plain.with_form(form)
    moves = dict(zip(activations, moved, strict=True))
    operands = [AsIs(name) if name in scalars else operand(ctx, name, result, moves.get(name)) for name in names]
    ready = tuple([each for each in operands if each is not None])
    fits = len(ready) == len(operands) and all(len(views[name].dims) <= len(form) for name in scalars)
    return Inferred((result,), Remap(ready)) if fits else ctx.opaque(node, plain.dims)


def _operands(ctx: Context, names: Sequence[str]) -> tuple[dict[str, View], list[tuple[int, ...]]]:
    """Return the views of computed operands, and the shapes of constant ones; both empty where one is unknown."""
    views: dict[str, View] = {}
    shapes: list[tuple[int, ...]] = []
    for name in names:
        if not ctx.constants.is_constant(name) and (view := ctx.view(name)) is not None:
            views[name] = view
        elif (shape := ctx.constant_shape(name)) is not None:  # of a constant alone
            shapes.append(shape)
        else:
            return {}, []
    return views, shapes


def _wider(ctx: Context, node: NodeProto, names: Sequence[str], plain: View, live: Mapping[str, View]) -> Inferred:
    """Lay out a result that a constant makes larger than its operands as requested, if all broadcast to that.

    Mul(1 / deviation [N, T, 1], scale [C])      on spatial forms: Mul([N, 1, T, 1], [1, C, 1, 1])
    """
    wanted = ctx.requested.get(plain.origin)
    if wanted is None or not same_axes(wanted, plain.dims):
        return Inferred((plain,))
    result = replace(plain, spatial_form=wanted)
    operands = [_to_wider(name, live[name], wanted) if name in live else operand(ctx, name, result) for name in names]
    # The result has the rank of its spatial form only where an operand has.
    ranks = [
        len(each.target if isinstance(each, Relaid) else wanted if isinstance(each, FormOf) else ctx.shape(name) or ())
        for name, each in zip(names, operands, strict=True)
    ]
    if any(each is None for each in operands) or max(ranks) < len(wanted):
        return Inferred((plain,))
    if max(ranks) > len(wanted):
        return ctx.opaque(node, plain.dims)  # one number of more dimensions
    return Inferred((result,), Remap(tuple(each for each in operands if each is not None)))


def _to_wider(name: str, view: View, wanted: Layout) -> Operand | None:
    if not any(view.dims):
        return AsIs(name)  # one number
    return FormOf(name) if repeats_to(view.spatial_form, wanted) else None


def _common_form(live: Sequence[View], dims: Layout, first: Layout | None) -> tuple[Layout | None, list[Moved]]:
    """Return the spatial form of a broadcast result, and the moves of operands whose forms have another layout.

    Spatial forms that broadcast as they are need no moves. Else the `first` of the operands that have all axes of the
    result decides, and the others of the same axes are moved.
    """
    if all(view.spatial_form is view.dims and len(view.dims) == len(dims) for view in live):
        return dims, [None] * len(live)
    forms = [view.spatial_form for view in live if view.spatial_form is not None]
    form = broadcast_layouts(forms, right=False)
    # One axis at two places (rows folded into the batch beside a map) would broadcast against itself.
    apart = form is not None and (form == dims or _once_each(form, dims))
    if form is not None and apart and all(_repeats_the_same(view, dims, form) for view in live):
        return form, [None] * len(forms)
    leading = (first, *forms) if first in forms else forms
    wanted = next((form for form in leading if form is not None and same_axes(form, dims)), None)
    if wanted is None:
        return None, []
    moved: list[Moved] = []
    for form in forms:
        fits = repeats_to(form, wanted)
        if not fits and not same_axes(form, wanted):
            return None, []
        moved.append(None if fits else (form, wanted))
    return wanted, moved


def _repeats_the_same(view: View, dims: Layout, form: Layout) -> bool:
    """Return whether what the spatial form of an operand repeats is what the operand itself repeats."""
    if view.spatial_form == form:
        return True
    whole = dict(zip(reversed(view.dims), reversed(dims), strict=False))
    pairs = zip(view.spatial_form or (), form, strict=True)
    return all(not own or own == result or whole.get(own) == result for own, result in pairs)


@cached
def _once_each(spatial_form: Layout, dims: Layout) -> bool:
    both = refine(spatial_form, dims)
    return both is not None and Counter(axes_of(both[0])) == Counter(axes_of(both[1]))


def _widened(node: NodeProto, dims: Layout, shapes: Sequence[tuple[int, ...]]) -> Layout:
    """Return the result's dimensions where constants are larger than what they are combined with, or may be."""
    rank = max([len(dims), *map(len, shapes)])
    out = list(of_rank(dims, rank))
    for shape in shapes:
        for i, size in enumerate(shape, start=rank - len(shape)):
            if size == 1 or (out[i] and not size_of(out[i]).symbols):
                continue
            # A cell of open size is one, or as many as the constant has.
            if not out[i] or repeated(out[i], Size(size)) or out[i][0].kind is Kind.SPACE:
                out[i] = (Axis(f"{node.output[0]}.{i}", Size(size), kind=out[i][0].kind if out[i] else Kind.OTHER),)
    return tuple(out)


def _request(ctx: Context, names: Sequence[str]) -> None:
    """Ask for a spatial form of each operand without one, laid out like that of the first that has one."""
    views = [view for name in names if (view := ctx.view(name)) is not None]
    model = next((view for view in views if view.spatial_form), None)
    if model is None:
        return
    for view in views:
        if view.spatial_form is None and view.origin not in ctx.requests:
            wanted = align(view, model)
            if wanted is None or wanted.spatial_form is None:
                continue
            both = refine(view.dims, wanted.spatial_form)
            own = set(axes_of(both[0])) if both is not None else set()
            if both is not None and own <= set(axes_of(both[1])):
                ctx.requests[view.origin] = of_axes(both[1], own)


def operand(ctx: Context, name: str, result: View, move: Moved = None) -> Operand | None:
    """Return an operand of an elementwise node on spatial forms; None where a constant cannot be laid out for it."""
    if not ctx.constants.is_constant(name):
        return FormOf(name, move)
    shape = ctx.constant_shape(name)
    made = None if shape is None else relaid(name, shape, result)
    return made if not isinstance(made, Relaid) or can_move(ctx.constants, name, made.source, made.target) else None


def relaid(constant: str | np.ndarray, shape: Sequence[int], result: View) -> Operand | None:
    """Move a constant that broadcasts to the result's dimensions so that it broadcasts to the result's spatial form.

    Return None where it does not broadcast to them, or not to those of the spatial form.
    """
    assert result.spatial_form is not None
    if (offset := len(result.dims) - len(shape)) < 0:
        return None
    source: Layout = tuple(() if size == 1 else result.dims[i + offset] for i, size in enumerate(shape))
    if not any(source) and len(shape) <= len(result.spatial_form) and isinstance(constant, str):
        return AsIs(constant)
    if any(size != 1 and size_of(dim) != Size(size) for dim, size in zip(source, shape, strict=True)):
        return None
    if result.free:
        return Relaid(constant, source, (*((),) * offset, *source))
    moved = _broadcast_form(tuple(shape), source, result.spatial_form)
    return None if moved is None else Relaid(constant, *moved)


@cached
def _broadcast_form(shape: tuple[int, ...], source: Layout, spatial_form: Layout) -> tuple[Layout, Layout] | None:
    """Return the layout of a constant, and that in which it broadcasts to a spatial form; None where it cannot.

    The kinds of the axes do not matter.
    """
    both = refine(source, spatial_form)
    if both is None:
        return None
    present = set(axes_of(both[0]))
    if any(0 < len(set(dim) & present) < len(set(dim)) for dim in both[1]):
        return None
    target = tuple(dim if set(dim) <= present else () for dim in both[1])
    return (both[0], target) if can_relay(shape, both[0], target) else None


@handles("com.microsoft::BiasGelu", "com.microsoft::FastGelu")
def _biased_gelu(ctx: Context, node: NodeProto) -> Inferred | None:
    """Compute Gelu(x + b) with one b per feature of the last dimension; the operators take b in no other shape."""
    gelu = "Gelu" if node.op_type == "BiasGelu" else "FastGelu"
    names = [name for name in node.input if name]
    if len(names) == 1:
        return _unary(ctx, node)
    found = combined(ctx, node, names)
    if found is None or not isinstance(found.recipe, Remap):
        return found
    steps = (Step("Add", found.recipe.operands), Step(gelu, (-1,), domain=node.domain))
    return Inferred(found.views, Expand(steps))
