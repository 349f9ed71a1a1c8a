"""The one rule that makes a fully connected layer a convolution: how a sum over one dimension of a tensor is one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from fc2conv.dataclass import dataclass
from fc2conv.layout.axes import Axis, Dim, Kind, Layout, refine
from fc2conv.layout.squares import arranged


class Obstacle(Enum):
    """Why a contraction is not a convolution."""

    BATCH = "batch"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Contraction:
    """A contracted dimension as a convolution over `frame` (N, C, *S).

    `kernel` is the kernel's layout without its outputs, (C, *S): a spatial dimension that is summed over is as
    large as it is in the frame, the rest are 1. `contracted` are the weight's rows in their order. `rest` is the
    frame without what was summed over: the result's spatial form is (N, outputs, *rest), or (N, groups x outputs,
    *rest) where the weight has one matrix for each index of the axes `groups`.
    """

    frame: Layout
    kernel: Layout
    contracted: Dim
    batch: Dim
    rest: Layout
    groups: Dim = ()

    def spatial_form(self, outputs: Dim) -> Layout:
        """Return the spatial form of the result."""
        return (self.batch, self.groups + outputs, *self.rest)


def contract(dims: Layout, spatial_form: Layout | None, k: int, rank: int = 2) -> Contraction | Obstacle:
    """Convert a sum over dimension `k` of a tensor with a view to a convolution, or return the obstacle: the one rule.

    If `k` holds all of C, nothing of N, and each spatial dimension wholly or not at all, and if the spatial dimensions
    that it holds are cells of a map, the spatial form itself is convolved. Otherwise the contracted axes become the
    channels and every other axis stays: a 1x1 convolution of another spatial form.
    """
    layouts = refine(dims, spatial_form if spatial_form is not None else ())
    if layouts is None:
        # Cuts that do not nest: only a frame of the tensor's own dimensions has room for them.
        batch_roots = {axis.root for axis in (spatial_form or dims)[0]} if k or spatial_form else set()
        return Obstacle.BATCH if batch_roots & {axis.root for axis in dims[k]} else own_frame(dims, k, rank)
    summed = set(layouts[0][k])
    items = _batch(layouts[0], k) if spatial_form is None else _batch(layouts[1][:1], 1)
    if summed & set(items):
        return Obstacle.BATCH
    if any(not axis.size.known for axis in summed):
        return Obstacle.UNKNOWN
    if spatial_form is not None and set(layouts[1][1]) <= summed:
        beside = tuple(axis for axis in layouts[1][0] if axis in summed)  # axes of N beside the batch: frames
        batch = tuple(axis for axis in layouts[1][0] if axis not in summed)
        channels, spatial = beside + layouts[1][1], layouts[1][2:]
        if all(_covered(dim, summed) or not set(dim) & summed for dim in spatial):
            inside = tuple(dim if set(dim) <= summed else () for dim in spatial)
            rest = tuple(() if set(dim) <= summed else dim for dim in spatial)
            frame = (batch, channels, *spatial) if beside else spatial_form
            return Contraction(frame, (channels, *inside), layouts[0][k], batch, rest)
    return own_frame(layouts[0], k, rank)


def _covered(dim: Dim, summed: set[Axis]) -> bool:
    """Return whether a kernel may cover a spatial dimension: all of it is summed over, and all are cells of a map."""
    return set(dim) <= summed and all(axis.kind is Kind.SPACE for axis in dim)


def _batch(dims: Layout, k: int) -> Dim:
    """Return the axes of the batch; a contraction over the first dimension has no batch in that dimension."""
    return tuple(axis for dim in (dims if k else dims[1:]) for axis in dim if axis.kind is Kind.BATCH)


def own_frame(dims: Layout, k: int, rank: int = 2) -> Contraction:
    """Return the contraction over a frame (batch, contracted axes, all other axes in `rank` spatial dimensions)."""
    batch = tuple(axis for i, dim in enumerate(dims) for axis in dim if i != k and axis.kind is Kind.BATCH)
    rest = (tuple(axis for axis in dim if axis.kind is not Kind.BATCH) for i, dim in enumerate(dims) if i != k)
    kept = arranged(tuple(dim for dim in rest if dim), rank)
    return Contraction((batch, dims[k], *kept), (dims[k], *((),) * len(kept)), dims[k], batch, kept)


def grouped_frame(dims: Layout, k: int, groups: Sequence[int], rank: int = 2) -> Contraction | Obstacle:
    """Return the contraction of a weight with one matrix for each index of `groups`: a convolution in as many groups.

    The channels are (groups, contracted axes).
    """
    together = tuple(axis for i in groups for axis in dims[i])
    if any(not axis.size.known for axis in (*together, *dims[k])):
        return Obstacle.UNKNOWN
    if any(axis.kind is Kind.BATCH for axis in dims[k]):
        return Obstacle.BATCH
    plain = own_frame(tuple(() if i in groups else dim for i, dim in enumerate(dims)), k, rank)
    batch, channels, *kept = plain.frame
    return Contraction((batch, together + channels, *kept), plain.kernel, dims[k], batch, tuple(kept), together)
