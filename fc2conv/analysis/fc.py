"""The fully connected layer itself: the one rule of fc2conv/layout/contraction.py applied to a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fc2conv.analysis.branches import find_branches
from fc2conv.analysis.context import Context, size_remedy
from fc2conv.analysis.counts import selected, sizes_given
from fc2conv.analysis.elementwise import relaid
from fc2conv.analysis.facts import AsIs, FormOf, LayerFacts, Operand
from fc2conv.analysis.spatial import sequence_of
from fc2conv.ir.graph import label, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.subgraph_shapes import empty
from fc2conv.layers import FCLayer, einsum, output_sizes
from fc2conv.layers.weights import kernel_of
from fc2conv.layout.axes import Axis, Dim, Kind, Size, axes_of, normal, product, put, regroup, same_axes, size_of
from fc2conv.layout.contraction import Contraction, Obstacle, contract, grouped_frame, own_frame
from fc2conv.layout.view import Provenance, View, align, fresh, solved, with_sizes
from fc2conv.reasons import Code, Reason

_ADD_IT = "Export the model with an Add behind the layer in place of its addend, which is laid out in another way."

_TAKE_TENSORS = "Cut the model behind what takes the input apart, so that its inputs are tensors."

_SQUEEZED = "Give the Squeeze its axes, as it removes each open size that is 1; or write the sizes with --static."

_CONSTANT = "Make {} a constant of the model, as its numbers are sizes"

_SETTLE = (
    "If the condition depends on sizes alone, write them into the model with --static; otherwise give the "
    "result's shape with --overwrite-input-shape and use --scope all."
)


def infer_layer(ctx: Context, layer: FCLayer, refused: Reason | None) -> tuple[View | None, LayerFacts]:
    """The view of a layer's result, and the layer as a convolution or the reason why it cannot be one.

    `refused` is a reason known before (the caller excluded the layer, or its type has no Conv).
    """
    if refused is None and ctx.unsized:
        refused = _rankless(ctx, layer, ctx.unsized)
    view = _with_known_size(ctx, layer, ctx.view(layer.x))
    mismatch = None if view is None else _other_rank(layer, view)
    if view is None or not view.dims or mismatch is not None:
        shape = ctx.shapes.get(layer.output)
        result = None if shape is None else fresh(layer.output, shape, batch=ctx.batch)
        reason = refused or mismatch or _rankless(ctx, layer, layer.x)
        return result, LayerFacts(layer, None, reason, None)
    together, k = _together(layer, view)
    refused = refused or _misfit(ctx, layer, view)
    branches = find_branches(ctx, layer, together, k) if refused is None else ()
    if branches:
        view = replace(
            view, provenance=Provenance.MAP, blocked_by=""
        )  # one of them is a map, and what is beside it hides nothing
        result = _result(ctx, layer, view, branches[0].contraction)
        return result, LayerFacts(layer, branches[0].contraction, None, view, branches=branches)
    found = _contraction(ctx, layer, together, k, refused)
    result = _result(ctx, layer, view, found)
    if isinstance(found, Reason):
        return result, LayerFacts(layer, None, found, view)
    addend = _addend(ctx, layer, result)
    if isinstance(addend, Reason):
        return _result(ctx, layer, view, addend), LayerFacts(layer, None, addend, view)
    return result, LayerFacts(layer, found, None, view, addend)


def _rankless(ctx: Context, layer: FCLayer, name: str) -> Reason:
    """Says of an operand of which not even the rank is known where its shape is lost, and how it is given."""
    node, value = ctx.unshaped(name)
    maker = ctx.graph.made_by(value)
    chosen = maker is not None and op(maker) == "If"
    sizes = _features(ctx, layer) if value == layer.x else "0,3,224,224"
    remedy = f"Give the shape of {value}, such as --overwrite-input-shape {value}:{sizes}, where 0 is any size."
    if maker is not None and op(maker) == "Squeeze":
        remedy = _SQUEEZED
    elif chosen or not _is_tensor(ctx, value):
        remedy = _SETTLE if chosen else _TAKE_TENSORS
    elif given := sizes_given(ctx, value):
        also = remedy[0].lower() + remedy[1:-1]
        remedy = f"{_CONSTANT.format(given)}; or {also}, and inputs with --load-inputs."
    why = ", so that nothing would be proved" if value == ctx.unsized else ""
    return Reason(Code.UNKNOWN_RANK, node, f"nothing tells the shape of {value}{why}", remedy)


def _is_tensor(ctx: Context, name: str) -> bool:
    given = (value for value in ctx.graph.outermost.proto.input if value.name == name)
    return all(value.type.HasField("tensor_type") for value in given)


def _features(ctx: Context, layer: FCLayer) -> str:
    """The sizes of a matrix that a layer may read."""
    shape = ctx.constants.shape(layer.weight) or ()
    return ",".join(["0", *(str(shape[row]) for row in layer.matrix.rows)])


def _other_rank(layer: FCLayer, view: View) -> Reason | None:
    """The reason for an input of an Einsum that has more dimensions or fewer than its term."""
    if op(layer.node) != "Einsum" or einsum.fits(layer, len(view.dims)):
        return None
    return Reason(Code.WEIGHT_SHAPE, label(layer.node), f"the input has {len(view.dims)} dimensions, its term others")


def _summed(layer: FCLayer, view: View) -> tuple[int, ...]:
    """The dimensions of the input that are summed over."""
    return (0,) if len(view.dims) == 1 else tuple(k % len(view.dims) for k in layer.k)


def _together(layer: FCLayer, view: View) -> tuple[View, int]:
    """The input with what is summed over as one dimension, in the order of the weight's rows, and which that is.

    A sum over several dimensions is one over their product.
    """
    first, *rest = sorted(summed := _summed(layer, view))
    whole = tuple(axis for k in summed for axis in view.dims[k])
    dims = (whole if i == first else dim for i, dim in enumerate(view.dims) if i not in rest)
    return view.with_dims(tuple(dims)), first


def _misfit(ctx: Context, layer: FCLayer, view: View) -> Reason | None:
    """The reason for an input that the weight cannot be multiplied with."""
    shape = ctx.constants.shape(layer.weight)
    assert shape is not None
    name, inferred = label(layer.node), ctx.shapes.get(layer.x)
    if empty([*(inferred or ()), *(size_of(dim) for dim in view.dims)]):
        return Reason(Code.NO_ELEMENTS, name, f"input {layer.x}")
    if inferred is not None and not _agree(inferred, [size_of(dim) for dim in view.dims]):
        return Reason(Code.WEIGHT_SHAPE, view.blocked_by or name, "the shape of its input is another one at run time")
    for k, row in zip(_summed(layer, view), layer.matrix.rows, strict=True):
        size = size_of(view.dims[k])
        if size.known and size.coefficient != shape[row]:
            return Reason(Code.WEIGHT_SHAPE, name, f"the input has {size} features, the weight {list(shape)}")
    if LAYER_OPERATORS[op(layer.node)].matrices and len(view.dims) != 2:
        return Reason(
            Code.WEIGHT_SHAPE, name, f"the input has {len(view.dims)} dimensions, and {op(layer.node)} takes 2"
        )
    return None


def _agree(inferred: Sequence[Size], real: Sequence[Size]) -> bool:
    """Whether what runtimes infer before they run a node may be the shape that it has."""
    pairs = zip(inferred, real, strict=False)
    return len(inferred) == len(real) and all(a == b or not (a.known and b.known) for a, b in pairs)


def _with_known_size(ctx: Context, layer: FCLayer, view: View | None) -> View | None:
    """What the weight knows of the sizes of the axes that it meets."""
    shape = ctx.constants.shape(layer.weight)
    if view is None or shape is None or not view.dims or op(layer.node) == "Einsum":
        return view  # an Einsum broadcasts an axis of size 1, so that its weight knows nothing of the input's
    for k, row in zip(_summed(layer, view), layer.matrix.rows, strict=True):
        size = Size(shape[row])
        found = solved(view.dims[k], size)
        ctx.solved.update(found)
        view = with_sizes(view, found)
        if ctx.every and any(not axis.size.known for axis in view.dims[k]):
            # Too many unknown sizes to distinguish the axes: as one axis they are as many as the weight has rows.
            whole = (Axis(f"{layer.x}.{k}", size),)
            view = replace(view, dims=put(view.dims, k, whole), spatial_form=None, origin=layer.x)
    ctx.views[layer.x] = view
    return view


def _contraction(ctx: Context, layer: FCLayer, view: View, k: int, refused: Reason | None) -> Contraction | Reason:
    name = label(layer.node)
    if refused is not None:
        return refused
    if not ctx.every and view.provenance in (Provenance.NONE, Provenance.LOST):
        lost = view.provenance is Provenance.LOST
        given = "what its body is given is not taken for a map" if ctx.graph.path else ""
        return Reason(Code.VIEW_LOST, view.blocked_by) if lost else Reason(Code.NO_FEATURE_MAP, name, given)
    sequence = sequence_of(ctx, layer.x) if not ctx.every and len(view.dims[k]) < 2 else ""
    if sequence:
        return Reason(Code.NO_FEATURE_MAP, name, f"{sequence} has rank 3, and may as well be tokens")
    spatial_form = view.spatial_form
    if ctx.lifts and spatial_form is not None and len(spatial_form) > ctx.rank + 2:
        spatial_form = None  # a volume is no picture: its cells are channels
    found = _grouped(ctx, layer, view, k) if layer.groups else contract(view.dims, spatial_form, k, ctx.rank)
    if isinstance(found, Reason):
        return found
    if isinstance(found, Contraction) and found.frame != view.spatial_form and found.frame[2:] == found.rest:
        spatial = ctx.remembered(found.rest)
        found = replace(found, frame=(*found.frame[:2], *spatial), rest=spatial)
    elif isinstance(found, Contraction) and len(axes_of(found.frame[2:])) == 1:
        ctx.remember(found.frame)
    if isinstance(found, Obstacle):
        if found is Obstacle.BATCH:
            return Reason(Code.BATCH_CONTRACTED, name, f"input {layer.x}")
        given = sizes_given(ctx, layer.x)
        remedy = f"{_CONSTANT.format(given)}." if given else size_remedy(ctx.graph, ctx.view)
        return Reason(Code.UNKNOWN_SIZE, name, f"of the axis of {layer.x} that it sums over", remedy)
    if k and found.frame != view.spatial_form and not layer.groups and selected(ctx, found.rest):
        # Rows of which there may be none are items: a batch may be empty.
        rows = tuple(axis._replace(kind=Kind.BATCH) for axis in view.dims[0])
        found = own_frame((rows, *view.dims[1:]), k, ctx.rank)
    if selector := selected(ctx, found.frame[2:]):
        return Reason(Code.NO_ELEMENTS, selector, f"input {layer.x} is empty where it selects nothing")
    if view.spatial_form is None and not layer.groups:
        _request_form(ctx, view, k, found)
    if kernel_of(ctx.constants, layer, found) is not None:
        return found
    # Scales that run along the features fit the 1x1 kernel of a frame in which all features are channels.
    whole = own_frame(view.dims, k, ctx.rank)
    if not layer.groups and kernel_of(ctx.constants, layer, whole) is not None:
        return whole
    if kernel_of(ctx.constants, replace(layer, alpha=1.0), found) is not None:
        detail = f"alpha {layer.alpha:g} is no number of the type of the quantized weight"
        return Reason(Code.KIND_NOT_SUPPORTED, name, detail)
    return Reason(Code.QUANTIZED_AXIS, name, f"weight {layer.weight}")


def _grouped(ctx: Context, layer: FCLayer, view: View, k: int) -> Contraction | Obstacle | Reason:
    """One matrix for each index of an axis of the view: groups of a convolution."""
    shape = ctx.constants.shape(layer.weight) or ()
    rank = len(view.dims) + len(layer.k) - 1
    gone = [i for i in sorted(i % rank for i in layer.k) if i != k]
    at = [rank + i - sum(j < rank + i for j in gone) for i in layer.groups]
    places = [i for i in layer.matrix.groups if shape[i] != 1] or layer.groups
    fits = all(i >= 0 and size_of(view.dims[i]) == Size(shape[g]) for i, g in zip(at, places, strict=True))
    if not fits or (rank < len(shape) and not layer.matrix.groups) or k in at:
        return Reason(Code.WEIGHT_BATCHED, label(layer.node), f"weight of shape {list(shape)}")
    return grouped_frame(view.dims, k, at, ctx.rank)


def _request_form(ctx: Context, view: View, k: int, found: Contraction) -> None:
    """Asks for a spatial form where the view's axes were born: the value itself, if it will do, or its transpose."""
    origin = ctx.views.get(view.origin)
    if origin is None or view.origin in ctx.requests:
        return
    if len(origin.dims) == ctx.rank + 2:
        direct = contract(view.dims, origin.dims, k, ctx.rank) if same_axes(view.dims, origin.dims) else None
        if isinstance(direct, Contraction) and direct.frame == origin.dims:
            ctx.requests[view.origin] = origin.dims
            return
    if same_axes(found.frame, origin.dims):
        ctx.requests[view.origin] = found.frame


def _result(ctx: Context, layer: FCLayer, view: View, found: Contraction | Reason) -> View:
    """The result's view: the outputs in the place of what was summed over, in the tensor and in the spatial form.

    The outputs are one axis, of which each dimension of the result that holds outputs has its part.
    """
    sizes = [Size(size) for size in output_sizes(ctx.constants, layer)]
    new: Dim = (Axis(f"{layer.output}.m", product(sizes)),)
    parts = regroup(normal((new,)), sizes)
    assert parts is not None
    summed = _summed(layer, view)
    dims = [dim for i, dim in enumerate(view.dims) if i not in summed]
    dims[len(dims) - len(layer.kept) :] = [view.dims[i] for i in layer.kept]
    rank = len(dims) + len(layer.m)
    for m, part in sorted(zip(layer.m, parts, strict=True)):
        dims.insert(max(0, rank + m), part)
    # A weight [1, 1, K, M] raises the rank of the result.
    lead = len(ctx.constants.shape(layer.weight) or ()) - layer.matrix.rank - len(layer.matrix.groups)
    dims[:0] = [()] * (lead - max(len(view.dims) - 2, 0) if lead else 0)
    provenance, blocked_by = view.provenance, view.blocked_by
    if isinstance(found, Reason):
        _widen(ctx, layer, view, dims)
        if provenance is Provenance.MAP and found.code is not Code.EXCLUDED:
            provenance, blocked_by = Provenance.OPAQUE, label(layer.node)
        return View(tuple(dims), None, provenance, layer.output, blocked_by)
    if layer.output in ctx.maps:
        provenance, blocked_by = Provenance.MAP, ""
    return View(tuple(dims), found.spatial_form(new), provenance, layer.output, blocked_by)


def _widen(ctx: Context, layer: FCLayer, view: View, dims: list[Dim]) -> None:
    """Gives the result the weight's batch where the input has one item for all of its matrices, or may have."""
    if op(layer.node) == "Einsum":
        return  # its letters say where its dimensions are
    lead = (ctx.constants.shape(layer.weight) or ())[: -layer.matrix.rank]
    start = len(dims) - (2 if len(view.dims) > 1 else 1) - len(lead)
    for i, size in enumerate(lead, max(start, 0)):
        if size != 1 and size_of(dims[i]) != Size(size):
            dims[i] = (Axis(f"{layer.output}.{i}", Size(size)),)


def _addend(ctx: Context, layer: FCLayer, result: View) -> Operand | Reason | None:
    """Gemm's C where it is not one value per output: an operand of an Add on the result's spatial form."""
    if layer.addend is None:
        return None
    name, node = layer.addend, label(layer.node)
    if ctx.constants.is_constant(name):
        array = ctx.constants.array(name)
        if array is None:
            return Reason(Code.WEIGHT_CHAIN, node, f"addend {name}")
        scaled = (array.astype(np.float64) * layer.beta).astype(array.dtype)
        return relaid(scaled, scaled.shape, result) or Reason(Code.VIEW_LOST, node, f"addend {name}", _ADD_IT)
    view = ctx.view(name)
    if view is None:
        return _rankless(ctx, layer, name)
    if not any(view.dims):
        return AsIs(name)
    aligned = align(result, view)
    if aligned is not None and aligned.spatial_form is not None and result.spatial_form is not None:
        fits = len(aligned.spatial_form) == len(result.spatial_form)
        if fits and all(not a or a == b for a, b in zip(aligned.spatial_form, result.spatial_form, strict=True)):
            return FormOf(name)
    reverse = align(view, result)
    if view.spatial_form is None and reverse is not None and reverse.spatial_form is not None:
        own = set(axes_of(view.dims))
        ctx.requests.setdefault(view.origin, tuple(tuple(a for a in dim if a in own) for dim in reverse.spatial_form))
    return Reason(Code.VIEW_LOST, node, f"addend {name}", _ADD_IT)
