"""The fully connected layer itself: the one rule of fc2conv/layout/contraction.py applied to a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from fc2conv.analysis.context import Context, of_axes, repeats_to
from fc2conv.analysis.contractions import contraction_of, find_branches
from fc2conv.analysis.elementwise import operand, relaid
from fc2conv.analysis.facts import AsIs, FormOf, LayerFacts, Operand
from fc2conv.analysis.ranks import rankless
from fc2conv.ir.graph import label, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.subgraph_shapes import empty
from fc2conv.layers import FCLayer, einsum
from fc2conv.layers.weights import has_number
from fc2conv.layout.axes import Axis, Dim, Size, axes_of, normal, product, put, regroup, size_of
from fc2conv.layout.contraction import Contraction
from fc2conv.layout.view import Provenance, View, align, fresh, solved, with_sizes
from fc2conv.reasons import Code, Reason

_ADD_IT = "Export the model with an Add behind the layer in place of its addend, which is laid out in another way."
_BETA_OF_ONE = "Export the model with a beta of 1, and with a Mul before the addend."


def infer_layer(ctx: Context, layer: FCLayer, refused: Reason | None) -> tuple[View | None, LayerFacts]:
    """Return the view of a layer's result, and the layer as a convolution or the reason why it cannot be one.

    `refused` is a reason known before (the caller excluded the layer, or its type has no Conv).
    """
    if refused is None and ctx.unsized:
        refused = rankless(ctx, layer, ctx.unsized)
    view = _with_known_size(ctx, layer, ctx.view(layer.x))
    mismatch = None if view is None else _other_rank(layer, view)
    if view is None or not view.dims or mismatch is not None:
        shape = ctx.shapes.get(layer.output)
        result = None if shape is None else fresh(layer.output, shape, batch=ctx.batch)
        reason = refused or mismatch or rankless(ctx, layer, layer.x)
        return result, LayerFacts(layer, None, reason, None)
    together, k = _together(layer, view)
    refused = refused or _misfit(ctx, layer, view)
    branches = find_branches(ctx, layer, together, k) if refused is None else ()
    if branches:
        # One of them is a map, and what is beside it hides nothing.
        view = replace(view, provenance=Provenance.MAP, blocked_by="")
        result = _result(ctx, layer, view, branches[0].contraction)
        return result, LayerFacts(layer, branches[0].contraction, None, view, branches=branches)
    found = contraction_of(ctx, layer, together, k, refused)
    result = _result(ctx, layer, view, found)
    if isinstance(found, Reason):
        return result, LayerFacts(layer, None, found, view)
    addend = _addend(ctx, layer, result)
    if isinstance(addend, Reason):
        return _result(ctx, layer, view, addend), LayerFacts(layer, None, addend, view)
    return result, LayerFacts(layer, found, None, view, addend)


def _other_rank(layer: FCLayer, view: View) -> Reason | None:
    """Refuse an Einsum's input that has more dimensions or fewer than its term; return None for any other."""
    if op(layer.node) != "Einsum" or einsum.fits(layer, len(view.dims)):
        return None
    return Reason(Code.WEIGHT_SHAPE, label(layer.node), f"the input has {len(view.dims)} dimensions, its term others")


def _summed(layer: FCLayer, view: View) -> tuple[int, ...]:
    """Return the dimensions of the input that are summed over."""
    return (0,) if len(view.dims) == 1 else tuple([k % len(view.dims) for k in layer.k])


def _together(layer: FCLayer, view: View) -> tuple[View, int]:
    """Return the input with what is summed over as one dimension, and the position of that dimension.

    Its axes are in the order of the weight's rows. A sum over several dimensions is one over their product.
    """
    first, *rest = sorted(summed := _summed(layer, view))
    if not rest:
        return view, first
    whole = tuple(axis for k in summed for axis in view.dims[k])
    dims = (whole if i == first else dim for i, dim in enumerate(view.dims) if i not in rest)
    return view.with_dims(tuple(dims)), first


def _misfit(ctx: Context, layer: FCLayer, view: View) -> Reason | None:
    """Return why the weight cannot be multiplied with the input; None where it can be."""
    node, shape, inferred, real = layer.node, layer.shape, ctx.shapes.get(layer.x), list(map(size_of, view.dims))
    if empty([*(inferred or ()), *real]):
        return Reason(Code.NO_ELEMENTS, label(node), f"input {layer.x}")
    if inferred is not None and not _agree(inferred, real):
        why = "the shape of its input is another one at run time"
        return Reason(Code.WEIGHT_SHAPE, view.blocked_by or label(node), why)
    for k, row in zip(_summed(layer, view), layer.matrix.rows, strict=True):
        if real[k].known and real[k].coefficient != shape[row]:
            why = f"the input has {real[k]} features, the weight {list(shape)}"
            return Reason(Code.WEIGHT_SHAPE, label(node), why)
    if len(real) != 2 and LAYER_OPERATORS[op(node)].matrices:
        return Reason(Code.WEIGHT_SHAPE, label(node), f"the input has {len(real)} dimensions, and {op(node)} takes 2")
    return None


def _agree(inferred: Sequence[Size], real: Sequence[Size]) -> bool:
    """Return whether the shape that runtimes infer before they run a node may be the shape that it has."""
    pairs = zip(inferred, real, strict=False)
    return len(inferred) == len(real) and all(a == b or not (a.known and b.known) for a, b in pairs)


def _with_known_size(ctx: Context, layer: FCLayer, view: View | None) -> View | None:
    """Return the view with the sizes that the weight gives to the axes that it meets."""
    if view is None or not view.dims or op(layer.node) == "Einsum":
        return view  # an Einsum broadcasts an axis of size 1, so that its weight knows nothing of the input's
    for k, row in zip(_summed(layer, view), layer.matrix.rows, strict=True):
        if size_of(view.dims[k]).known:
            continue
        size = Size(layer.shape[row])
        found = solved(view.dims[k], size)
        ctx.solved.update(found)
        view = with_sizes(view, found)
        if ctx.every and any(not axis.size.known for axis in view.dims[k]):
            # Too many unknown sizes to distinguish the axes: as one axis they are as many as the weight has rows.
            whole = (Axis(f"{layer.x}.{k}", size),)
            view = replace(view, dims=put(view.dims, k, whole), spatial_form=None, origin=layer.x)
        ctx.views[layer.x] = view
    return view


def _result(ctx: Context, layer: FCLayer, view: View, found: Contraction | Reason) -> View:
    """Return the result's view, with the outputs instead of what was summed over, also in the spatial form.

    The outputs are one axis, and each dimension of the result that holds outputs has its part of that axis.
    """
    sizes = [Size(size) for size in layer.output_sizes]
    new: Dim = (Axis(f"{layer.output}.m", product(sizes)),)
    parts = normal((new,)) if len(sizes) == 1 else regroup(normal((new,)), sizes)
    assert parts is not None
    summed = _summed(layer, view)
    once = [len(view.dims) + i for i in layer.once]
    dims = [dim for i, dim in enumerate(view.dims) if i not in summed and i not in once]
    dims[len(dims) - len(layer.kept) :] = [view.dims[i] for i in layer.kept]
    rank = len(dims) + len(layer.m)
    for m, part in sorted(zip(layer.m, parts, strict=True)):
        dims.insert(max(0, rank + m), part)
    # A weight [1, 1, K, M] raises the rank of the result.
    lead = len(layer.shape) - layer.matrix.rank - len(layer.matrix.groups)
    dims[:0] = [()] * (lead - max(len(view.dims) - 2, 0) if lead else 0)
    provenance, blocked_by = view.provenance, view.blocked_by
    if isinstance(found, Reason):
        _widen(layer, view, dims)
        if provenance is Provenance.MAP and found.code is not Code.EXCLUDED:
            provenance, blocked_by = Provenance.OPAQUE, label(layer.node)
        return View(tuple(dims), None, provenance, layer.output, blocked_by)
    if layer.output in ctx.maps:
        provenance, blocked_by = Provenance.MAP, ""
    return View(tuple(dims), found.spatial_form(new), provenance, layer.output, blocked_by)


def _widen(layer: FCLayer, view: View, dims: list[Dim]) -> None:
    """Give the result the weight's batch where the input has one item for all of its matrices, or may have."""
    if op(layer.node) == "Einsum" or len(layer.m) > 1:
        return  # it is known where its dimensions are
    lead = layer.shape[: -layer.matrix.rank]
    start = len(dims) - (2 if len(view.dims) > 1 else 1) - len(lead)
    for i, size in enumerate(lead, max(start, 0)):
        if size != 1 and size_of(dims[i]) != Size(size):
            dims[i] = (Axis(f"{layer.output}.{i}", Size(size)),)


def _addend(ctx: Context, layer: FCLayer, result: View) -> Operand | Reason | None:
    """Return Gemm's C where it is not one value per output: an operand of an Add on the result's spatial form."""
    if layer.addend is None:
        return None
    name, node = layer.addend, label(layer.node)
    if ctx.constants.is_constant(name):
        array, stored = ctx.constants.array(name), ctx.constants.stored(name)
        if array is not None:
            scaled = (array.astype(np.float64) * layer.beta).astype(array.dtype)
            made = relaid(scaled, scaled.shape, result)
        elif stored is not None and stored.quantized and layer.beta == 1.0:
            made = operand(ctx, name, result)
        else:
            return Reason(Code.WEIGHT_CHAIN, node, f"addend {name}")
        return made or Reason(Code.VIEW_LOST, node, f"addend {name}", _ADD_IT)
    view, weight = ctx.view(name), ctx.constants.stored(layer.weight)
    if view is None:
        return rankless(ctx, layer, name)
    if weight is not None and not has_number(weight.type, layer.beta):
        kind = TensorProto.DataType.Name(weight.type).lower()
        why = f"beta {layer.beta:g} of an addend that is computed, which {kind} does not have"
        return Reason(Code.KIND_NOT_SUPPORTED, node, why, _BETA_OF_ONE)
    if not any(view.dims):
        return AsIs(name)
    aligned = align(result, view)
    if aligned is not None and repeats_to(aligned.spatial_form, result.spatial_form):
        return FormOf(name)
    reverse = align(view, result)
    if view.spatial_form is None and reverse is not None and reverse.spatial_form is not None:
        ctx.requests.setdefault(view.origin, of_axes(reverse.spatial_form, axes_of(view.dims)))
    return Reason(Code.VIEW_LOST, node, f"addend {name}", _ADD_IT)
