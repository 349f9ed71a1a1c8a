"""Products of two activations, for example those of attention."""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred, handles
from fc2conv.analysis.facts import FormOf, Remap
from fc2conv.analysis.tokens import moved
from fc2conv.ir.graph import int_attribute, op
from fc2conv.layers.einsum import ELLIPSIS, equation
from fc2conv.layout.axes import Dim, Layout, same_axes, size_of
from fc2conv.layout.view import View


@handles("Einsum")
def _einsum(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out each dimension of the result as the first operand's that has its letter."""
    terms, result = equation(node)
    if any(len(set(term)) < len(term) or ELLIPSIS in term for term in [*terms, result]):
        return None
    dims: dict[str, Dim] = {}
    for i, (name, term) in enumerate(zip(node.input, terms, strict=False)):
        view = ctx.view(name)
        if view is not None and len(view.dims) == len(term):
            for letter, dim in zip(term, view.dims, strict=True):
                # Axes of a second operand are other axes, whatever they are called.
                named = tuple(axis._replace(root=f"{node.output[0]}/{axis.root}") for axis in dim) if i else dim
                dims.setdefault(letter, named)
    if any(letter not in dims for letter in result):
        return None
    return ctx.opaque(node, tuple(dims[letter] for letter in result))


_RIGHT = {"QLinearMatMul": 3}
"""The position of the right operand where it is not the second."""


@handles("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "com.microsoft::FusedMatMul")
def _product(ctx: Context, node: NodeProto) -> Inferred | None:
    """Lay out a product of two activations: the leading dimensions are the left operand's, the last the right one's."""
    names = node.input[0], node.input[_RIGHT.get(op(node), 1)]
    left, right = (_turned(ctx.view(name), node, side) for name, side in zip(names, "AB", strict=True))
    if left is None or right is None or len(right.dims) > len(left.dims):
        return None
    # The right operand's axes are other axes, whatever they are called.
    other = [tuple(axis._replace(root=f"{node.output[0]}/{axis.root}") for axis in dim) for dim in right.dims]
    batch = [()] * (len(left.dims) - len(other)) + other[:-2]
    leading = [dim or more for dim, more in zip(left.dims[:-2], batch, strict=True)]
    inferred = ctx.opaque(node, (*leading, left.dims[-2], other[-1]))
    turned = _written_transposed(ctx, node, left, right, inferred.first) if op(node) == "MatMul" else None
    return inferred if turned is None else turned


def _written_transposed(ctx: Context, node: NodeProto, left: View, right: View, result: View) -> Inferred | None:
    """Compute V' P' instead of P V, where the spatial form of the result is asked for.

    P V, then Transpose, Reshape to tokens      on spatial forms: V' P' = (P V)', which is a Reshape away from channels
    """
    wanted = ctx.requested.get(node.output[0])
    sizes = [[size_of(dim) for dim in view.dims[:-2]] for view in (left, right)]
    if wanted is None or right.spatial_form is None or sizes[0] != sizes[1] or not same_axes(wanted, result.dims):
        return None
    weights, features = _transposed(left.dims), _transposed(right.dims)
    origin = ctx.views.get(left.origin)
    if left.spatial_form is None and origin is not None and origin.dims == left.dims:
        ctx.requests.setdefault(left.origin, weights)
    if left.spatial_form != weights or not same_axes(right.spatial_form, features):
        return None
    operands = (FormOf(node.input[1], moved(right.spatial_form, features)), FormOf(node.input[0]))
    recipe = Remap(operands, {}, moved(_transposed(result.dims), wanted))
    return Inferred((replace(result, spatial_form=wanted),), recipe)


def _turned(view: View | None, node: NodeProto, side: str) -> View | None:
    """Return an operand as it is multiplied: with its last two dimensions exchanged where an attribute says so.

    Return None where it has fewer, or its matrices are not in the last two.
    """
    if view is None or len(view.dims) < 2 or int_attribute(node, f"transBatch{side}", 0):
        return None
    if not int_attribute(node, f"trans{side}", 0):
        return view
    return replace(view, dims=_transposed(view.dims), spatial_form=None)


def _transposed(dims: Layout) -> Layout:
    return (*dims[:-2], dims[-1], dims[-2])
