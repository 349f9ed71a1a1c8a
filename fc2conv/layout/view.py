"""Views: how a tensor holds a feature map.

A `View` pairs a tensor's own layout (`dims`) with the layout of its channel-first spatial form (`spatial_form`, `(N, C,
*S)`). Both hold the same elements, so that a node may run on either (see fc2conv/layout/axes.py for the layouts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cached_property

from fc2conv.dataclass import dataclass
from fc2conv.layout.axes import ONE, Axis, Dim, Kind, Layout, Size, axes_of, nameless, normal, refine, regroup, size_of
from fc2conv.layout.relayout import LayoutStep, conversions


class Provenance(Enum):
    """Where a value's layout comes from."""

    MAP = "a feature map, with nothing between that needs the original layout"
    OPAQUE = "a feature map, behind a node that needs the original layout"
    LOST = "a feature map, whose layout could not be followed past a node"
    NONE = "no feature map"


@dataclass(frozen=True)
class View:
    """How a tensor holds the elements of a feature map.

    `dims` is its own layout, `spatial_form` that of its channel-first spatial form (None where it has none yet),
    `provenance` and `blocked_by` say where the layout comes from and which node hid or lost it. `origin` names the
    value whose axes these are, and at which a spatial form could be made by a transpose.
    """

    dims: Layout
    spatial_form: Layout | None
    provenance: Provenance
    origin: str
    blocked_by: str = ""

    def __post_init__(self) -> None:
        dims, form = self.dims, self.spatial_form
        object.__setattr__(self, "dims", normal(dims))
        if form is not None:
            object.__setattr__(self, "spatial_form", self.dims if form is dims else normal(form))

    @cached_property
    def free(self) -> bool:
        """Whether the tensor *is* its spatial form, so that going from one to the other costs nothing."""
        return self.spatial_form == self.dims

    @cached_property
    def _steps(self) -> tuple[tuple[LayoutStep, ...] | None, tuple[LayoutStep, ...] | None]:
        return (None, None) if self.spatial_form is None else conversions(self.dims, self.spatial_form)

    @property
    def to_spatial_form(self) -> tuple[LayoutStep, ...] | None:
        """The nodes that make the spatial form of the tensor; None without one, or if they cannot be written."""
        return self._steps[0]

    @property
    def from_spatial_form(self) -> tuple[LayoutStep, ...] | None:
        """The nodes that make the tensor of its spatial form; None as above."""
        return self._steps[1]

    def with_dims(self, dims: Layout) -> View:
        """Return the same elements under the same spatial form in other dimensions."""
        return View(dims, self.spatial_form, self.provenance, self.origin, self.blocked_by)

    def with_form(self, spatial_form: Layout | None) -> View:
        """Return the same elements in the same dimensions under another spatial form."""
        return View(self.dims, spatial_form, self.provenance, self.origin, self.blocked_by)


def identical(left: View, right: View) -> bool:
    """Return whether two views are equal, and the kinds of their axes too, which are no part of an axis' identity."""
    forms = left.spatial_form or (), right.spatial_form or ()
    return left == right and kinds_of(left.dims) == kinds_of(right.dims) and kinds_of(forms[0]) == kinds_of(forms[1])


def kinds_of(layout: Layout) -> list[Kind]:
    """Return the kinds of the axes of a layout, in their order."""
    return [axis.kind for dim in layout for axis in dim]


def position(view: View, dim: int) -> int | None:
    """Return the dimension of the spatial form with exactly the axes of this dimension, or None."""
    wanted = view.dims[dim]
    if view.spatial_form is None or not wanted:
        return None
    return next((i for i, axes in enumerate(view.spatial_form) if axes == wanted), None)


def provenance_of(views: Sequence[View]) -> tuple[Provenance, str]:
    """Return the provenance of a result of several operands, and the node that blocks its layout, if any."""
    for wanted in (Provenance.OPAQUE, Provenance.MAP, Provenance.LOST):
        for view in views:
            if view.provenance is wanted:
                return wanted, view.blocked_by
    return Provenance.NONE, ""


def solved(dim: Dim, size: Size) -> dict[str, int]:
    """Return the symbols whose values follow where a dimension is known to be this large.

    A single symbol equals the quotient of the two sizes. Where the quotient is 1, each of several symbols is 1.
    """
    whole = size_of(dim)
    left = size.over(Size(whole.coefficient)) if whole.symbols else None
    if left is None or not left.known:
        return {}
    names = set(whole.symbols)
    if left == ONE:
        return dict.fromkeys(names, 1)
    return {whole.symbols[0]: left.coefficient} if len(whole.symbols) == 1 else {}


def with_sizes(view: View, sizes: Mapping[str, int]) -> View:
    """Return the view with known sizes instead of symbols."""
    if not sizes:
        return view
    axes = {*axes_of(view.dims), *axes_of(view.spatial_form or ())}
    opened = (axis for axis in axes if axis.size.symbols or axis.stride.symbols)
    return _mapped(view, {a: a._replace(size=a.size.given(sizes), stride=a.stride.given(sizes)) for a in opened})


def settled(view: View, size: Size) -> View:
    """Return the view, given the number of its elements.

    A lone axis of unknown size gets this size. Where the axes are larger by unknown sizes alone, each of these is 1.
    """
    axes = axes_of(view.dims)
    if len(axes) == 1 and not axes[0].size.known and size.known:
        return _mapped(view, {axes[0]: axes[0]._replace(size=size)})
    surplus = size_of(axes).over(size)
    if surplus is None or surplus.coefficient != 1 or not surplus.symbols:
        return view
    ones = (axis for axis in axes if axis.size.coefficient == 1 and axis.size.symbols)
    return without(view, tuple(axis for axis in ones if set(axis.size.symbols) <= set(surplus.symbols)))


def _mapped(view: View, changes: dict[Axis, Axis]) -> View:
    if not changes:
        return view

    def mapped(layout: Layout) -> Layout:
        return tuple(tuple(changes.get(axis, axis) for axis in dim) for dim in layout)

    return replace(view, dims=mapped(view.dims), spatial_form=view.spatial_form and mapped(view.spatial_form))


def without(view: View, axes: Dim) -> View:
    """Return the view without some of its axes."""
    return _mapped(view, {axis: axis._replace(size=ONE) for axis in axes})


def fresh(
    name: str,
    shape: Sequence[Size],
    provenance: Provenance = Provenance.NONE,
    blocked_by: str = "",
    batch: Size | None = None,
) -> View:
    """Return a view over new axes, one for each dimension, without a spatial form; `batch` is the model's batch.

    The items are the first dimension that is not 1, except a last dimension of known size: that holds features.
    """
    dims: list[Dim] = [(Axis(f"{name}.{i}", size),) for i, size in enumerate(shape)]
    items = (i for i, size in enumerate(shape) if size != ONE and (i < len(shape) - 1 or not size.known))
    first = next(items, 0)
    if len(dims) > 1 and batch is not None:
        dims[first : first + 1] = [_items(Axis(f"{name}.{first}", shape[first]), batch)]
    return View(tuple(dims), None, provenance, name, blocked_by)


def _items(axis: Axis, batch: Size) -> Dim:
    """Split a first dimension into the items of the batch and what follows in each.

    Where the batch does not divide it, it stays one axis: BATCH where both sizes are open, else OTHER.
    """
    each = axis.size.over(batch)
    if batch == ONE or each is None or not each.known:
        unknown = not axis.size.known and not batch.known
        return (axis._replace(kind=Kind.BATCH if unknown else Kind.OTHER),)
    pair = axis.split(each)
    assert pair is not None
    return pair[0]._replace(kind=Kind.BATCH), pair[1]


def _match(left: Dim, right: Dim, *, alone: bool) -> list[tuple[Axis, Axis]] | None:
    """Pair the axes of two dimensions that broadcasting makes equal, and cut axes where one side is finer."""
    a, b = list(left), list(right)
    pairs: list[tuple[Axis, Axis]] = []
    if alone and len(a) == len(b) == 1:
        return [(a[0], b[0])]
    while a and b:
        x, y = a.pop(), b.pop()
        if x.size != y.size:
            x_parts, y_parts = x.split(y.size), y.split(x.size)
            if x_parts:
                a.append(x_parts[0])
                x = x_parts[1]
            elif y_parts:
                b.append(y_parts[0])
                y = y_parts[1]
            else:
                return None
        pairs.append((x, y))
    return None if a or b else pairs


def _rename(layout: Layout, names: dict[Axis, Axis], taken: set[str]) -> Layout | None:
    """Replace each axis of the layout by its partner; keep the axes without a partner apart from the names in use."""
    if names.keys() >= set(axes_of(layout)):
        return normal([[names[axis] for axis in dim] for dim in layout])
    both = refine(layout, tuple((axis,) for axis in names))
    if both is None:
        return None
    fine: dict[Axis, Axis] = {}
    for partner, pieces in zip(names.values(), both[1], strict=True):
        # An axis that the layout holds in pieces has a partner in as many pieces.
        parts = regroup(((partner,),), [piece.size for piece in pieces]) if len(pieces) > 1 else ((partner,),)
        if parts is None or any(len(part) != 1 for part in parts):
            return None
        fine.update((piece, part[0]) for piece, part in zip(pieces, parts, strict=True))

    def partner_of(axis: Axis) -> Axis:
        if axis in fine:
            return fine[axis]
        return axis._replace(root=axis.root + "'") if axis.root in taken else axis

    return normal(tuple(partner_of(axis) for axis in dim) for dim in both[0])


def align(left: View, right: View) -> View | None:
    """Return the right view in the left one's axes, as an elementwise node with broadcasting pairs their dimensions.

    Return None where the two disagree. A single axis may pair with one of another symbolic size: the node itself
    requires that the two be equal or 1. A dimension that may be repeated shares no axis with the other.
    """
    if left.dims == right.dims and kinds_of(left.dims) == kinds_of(right.dims):
        return right
    if right.free and len(left.dims) == len(right.dims) and all(map(_alike, left.dims, right.dims)):
        return View(left.dims, left.dims, right.provenance, right.origin, right.blocked_by)
    rank = max(len(left.dims), len(right.dims))
    pad = [((),) * (rank - len(view.dims)) + view.dims for view in (left, right)]
    names: dict[Axis, Axis] = {}
    for a, b in zip(*pad, strict=True):
        if a == b:
            names.update(zip(b, a, strict=True))
            continue
        if not a or not b or repeated(a, size_of(b)) or repeated(b, size_of(a)):
            continue
        pairs = _match(a, b, alone=not (size_of(a).known and size_of(b).known))
        if pairs is None:
            return None
        names.update((y, x) for x, y in pairs)
    taken = {axis.root for axis in axes_of(left.dims)}
    dims, spatial_form = _rename(right.dims, names, taken), right.spatial_form
    if spatial_form is not None:
        spatial_form = dims if right.free else _rename(spatial_form, names, taken)
    if dims is None or (spatial_form is None) != (right.spatial_form is None):
        return None
    return View(dims, spatial_form, right.provenance, right.origin, right.blocked_by)


def _alike(one: Dim, other: Dim) -> bool:
    """Return whether two dimensions are one axis each, of the same size, or the same axes."""
    return (len(one) == len(other) == 1 and one[0].size == other[0].size) or one == other


def repeated(dim: Dim, size: Size) -> bool:
    """Return whether a dimension of open size meets a known size, so that it is repeated where it is 1.

    Return False where its size was not inferred.
    """
    own = size_of(dim)
    opened = own.coefficient == 1 and not own.known and not any(map(nameless, own.symbols))
    return opened and size.known and size != ONE


def broadcast_layouts(layouts: Sequence[Layout], *, right: bool) -> Layout | None:
    """Return the layout of a broadcast result; None where layouts differ in rank (spatial forms) or in a dimension."""
    if all(layout is layouts[0] for layout in layouts):
        return layouts[0]
    rank = max(len(layout) for layout in layouts)
    if not right and any(len(layout) != rank for layout in layouts):
        return None
    out: list[Dim] = [()] * rank
    for layout in layouts:
        for i, dim in enumerate(layout, start=rank - len(layout)):
            if not out[i] or repeated(out[i], size_of(dim)):
                out[i] = dim
            elif dim and dim != out[i] and not repeated(dim, size_of(out[i])):
                return None
    return tuple(out)


def joined(name: str, lead: View, live: Sequence[View]) -> View | None:
    """Return the view of a value made of several views aligned with `lead`; None where they do not broadcast.

    It has no spatial form yet.
    """
    dims = broadcast_layouts([view.dims for view in live], right=True)
    if dims is None:
        return None
    same = dims == lead.dims or set(axes_of(dims)) == set(axes_of(lead.dims))
    provenance, blocked_by = provenance_of(live)
    return View(dims, None, provenance, lead.origin if same else name, blocked_by)
