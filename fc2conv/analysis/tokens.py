"""Nodes along the tokens of a map: on spatial forms the tokens are one dimension for them, and a picture after them.

    [N, L, C] -> Concat(class token), Slice, Gather(0)
    on spatial forms: [N, C, H, W] -> Reshape [N, C, 1, L] -> the node

A dimension that the spatial form holds as it is needs no Reshape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import NodeProto

from fc2conv.analysis.context import Context, Inferred
from fc2conv.analysis.facts import FormOf, Operand, Relaid, Remap
from fc2conv.dataclass import dataclass
from fc2conv.ir.graph import label
from fc2conv.layers.weights import can_relay
from fc2conv.layout.axes import Axis, Dim, Kind, Layout, Size, axes_of, kind_of, merged, put, same_axes, size_of
from fc2conv.layout.squares import arranged
from fc2conv.layout.view import Provenance, View, align, position, without


@dataclass(frozen=True)
class Along:
    """A dimension of a viewed tensor as dimension `at` of a layout that its spatial form can be reshaped to."""

    spatial_form: Layout
    flat: Layout
    at: int

    def operand(self, name: str) -> FormOf:
        """Return the spatial form of the value in that layout."""
        return FormOf(name, None if self.flat == self.spatial_form else (self.spatial_form, self.flat))

    def replaced(self, dim: Dim, rank: int) -> tuple[Layout, Layout]:
        """Return the layout with `dim` at that position, as the node makes it and as a spatial form."""
        made = put(self.flat, self.at, dim)
        spatial = tuple(each for each in made[2:] if each)
        if self.at < 2 or len(spatial) > 1 or kind_of(dim) is Kind.SPACE:
            return made, made
        return made, (*made[:2], *arranged(spatial, rank))


def along(view: View, axis: int) -> Along | None:
    """Return a dimension as one of the spatial form's, or as the product of all its spatial ones; else None."""
    if view.spatial_form is None or not view.dims[axis]:
        return None
    at = position(view, axis)
    if at is not None:
        return Along(view.spatial_form, view.spatial_form, at)
    if len(view.spatial_form) < 3 or merged(axes_of(view.spatial_form[2:])) != view.dims[axis]:
        return None
    return Along(view.spatial_form, _flat(view.spatial_form, view.dims[axis]), len(view.spatial_form) - 1)


def _flat(spatial_form: Layout, tokens: Dim) -> Layout:
    return (*spatial_form[:2], *((),) * (len(spatial_form) - 3), tokens)


def moved(made: Layout, spatial_form: Layout) -> tuple[Layout, Layout] | None:
    """Return the move of a result to its spatial form; None where it has that layout already."""
    return None if made == spatial_form else (made, spatial_form)


def joined_tokens(ctx: Context, node: NodeProto, names: Sequence[str], axis: int) -> Inferred | None:
    """Join tokens of a map with others, for example a class token; return None where they are no tokens of one map."""
    views = [ctx.view(name) for name in names]
    lead = next((view for view in views if view is not None and _tokens(view, axis)), None)
    shape = ctx.shapes.get(node.output[0])
    if lead is None or lead.spatial_form is None or shape is None or len(shape) != len(lead.dims):
        return None
    rest = replace(without(lead, lead.dims[axis]), spatial_form=None)
    operands: list[Operand | None] = []
    for name, view in zip(names, views, strict=True):
        if view is None:
            operands.append(_constant(ctx, name, lead, axis))
        elif not _beside(rest, view, axis):
            return None
        else:
            operands.append(_part(ctx, name, view, axis, lead))
    sizes = [None if known is None else known[axis] for known in map(ctx.shape, names)]
    parts = [() if view is None else view.dims[axis] for view in views]
    tokens = joined_axis(node, parts, sizes, shape[axis])
    made = _flat(lead.spatial_form, tokens)
    spatial_form = made if kind_of(tokens) is Kind.SPACE else (*made[:2], *arranged((tokens,), len(made) - 2))
    dims = put(lead.dims, axis, tokens)
    provenance, blocked_by = provenance_beside(ctx, node, views)
    ready = [each for each in operands if each is not None]
    if len(ready) < len(operands):
        return Inferred((View(dims, None, provenance, node.output[0], blocked_by),))
    recipe = Remap(tuple(ready), {"axis": len(made) - 1}, moved(made, spatial_form))
    return Inferred((View(dims, spatial_form, provenance, node.output[0], blocked_by),), recipe)


def joined_axis(node: NodeProto, parts: Sequence[Dim], sizes: Sequence[Size | None], otherwise: Size) -> Dim:
    """Return the new axis of a Concat along these parts, of their kind; it has another size where one is not known."""
    known = [size.coefficient for size in sizes if size is not None and size.known]
    kinds = {kind_of(part) for part in parts}
    size = Size(sum(known)) if len(known) == len(sizes) else otherwise
    return (Axis(f"{node.output[0]}.joined", size, kind=kinds.pop() if len(kinds) == 1 else Kind.OTHER),)


def provenance_beside(ctx: Context, node: NodeProto, views: Sequence[View | None]) -> tuple[Provenance, str]:
    """Return the provenance of what is joined of several values; features of a map beside others hide its layout."""
    provenance, blocked_by = ctx.provenance(node)
    if provenance is Provenance.MAP and any(view is None or view.provenance is not Provenance.MAP for view in views):
        return Provenance.OPAQUE, label(node)
    return provenance, blocked_by


def _tokens(view: View, axis: int) -> bool:
    """Return whether a dimension is all of the space of a spatial form; the others are its items and its channels."""
    spatial_form = view.spatial_form if view.provenance in (Provenance.MAP, Provenance.OPAQUE) else None
    return (
        spatial_form is not None
        and len(spatial_form) > 2
        and bool(view.dims[axis])
        and merged(axes_of(spatial_form[2:])) == view.dims[axis]
    )


def _beside(rest: View, view: View, axis: int) -> bool:
    """Return whether a part has the items and channels of the first."""
    if len(view.dims) != len(rest.dims):
        return False
    other = align(rest, replace(without(view, view.dims[axis]), spatial_form=None))
    return other is not None and other.dims == rest.dims


def _part(ctx: Context, name: str, view: View, axis: int, lead: View) -> Operand | None:
    """Return a part in the layout of the whole; where it has no spatial form, ask for one and return None."""
    assert lead.spatial_form is not None
    places = [
        next((i for i, dim in enumerate(lead.dims) if dim and dim == part), None) for part in lead.spatial_form[:2]
    ]
    channels = [view.dims[i] if i is not None else () for i in places]
    wanted = _flat((*channels, *lead.spatial_form[2:]), view.dims[axis])
    if view.spatial_form is not None:
        return FormOf(name, moved(view.spatial_form, wanted)) if same_axes(view.spatial_form, wanted) else None
    ctx.ask(view, wanted)
    return None


def _constant(ctx: Context, name: str, lead: View, axis: int) -> Operand | None:
    """Return a constant part, whose items and channels are those of the first; None where it has others."""
    shape = ctx.constants.shape(name) if ctx.constants.computable(name) else None
    if shape is None or len(shape) != len(lead.dims):
        return None
    tokens: Dim = (Axis(f"{name}.tokens", Size(shape[axis])),)
    source = tuple(tokens if i == axis else dim for i, dim in enumerate(lead.dims))
    if any(size_of(dim) != Size(size) for dim, size in zip(source, shape, strict=True)):
        return None
    assert lead.spatial_form is not None
    target = _flat(lead.spatial_form, tokens if shape[axis] != 1 else ())
    source = tuple(dim if size_of(dim) != Size(1) else () for dim in source)
    return Relaid(name, source, target) if can_relay(shape, source, target) else None
