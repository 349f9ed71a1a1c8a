"""A layer over maps that were flattened and put side by side: the sum of one convolution for each.

    sum_k W[m, k] * concat(x1, x2)[k] = sum_k1 W[m, k1] * x1[k1] + sum_k2 W[m, K1 + k2] * x2[k2]

Where the maps have one extent, their twins are joined on the channels instead (see axiswise.py).
"""

from __future__ import annotations

from fc2conv.analysis.context import Context
from fc2conv.analysis.facts import Branch
from fc2conv.ir.graph import int_attribute, op
from fc2conv.ir.stored import part
from fc2conv.layers import Floating, Site
from fc2conv.layers.weights import kernel
from fc2conv.layout.axes import size_of
from fc2conv.layout.view import Contraction, Trail, View, align, contract, without


def find_branches(ctx: Context, site: Site, view: View, k: int) -> tuple[Branch, ...]:
    """The branches of a layer, if it reads a Concat of maps along what it sums over, and each has a twin of its own."""
    concat = ctx.graph.made_by(site.x)
    if view.twin is not None or concat is None or op(concat) != "Concat" or site.addend or site.groups:
        return ()
    if site.arithmetic != Floating() or len(site.k) > 1 or int_attribute(concat, "axis", 1) % len(view.dims) != k:
        return ()
    out: list[Branch] = []
    start = 0
    for name in concat.input:
        part_view = ctx.view(name)
        if part_view is None or part_view.trail is not Trail.MAP or part_view.twin is None:
            return ()
        found = contract(part_view.dims, part_view.twin, k)
        if not isinstance(found, Contraction) or found.frame != part_view.twin:
            return ()
        stop = start + size_of(part_view.dims[k]).coefficient
        out.append(Branch(name, found, start, stop))
        start = stop
    return tuple(out) if _agree(ctx, out, k) and all(_has_kernel(ctx, site, each) for each in out) else ()


def _agree(ctx: Context, branches: list[Branch], k: int) -> bool:
    """Whether the results lie alike: the same batch, and nothing left of space."""
    rest = [without(ctx.views[each.value], ctx.views[each.value].dims[k]) for each in branches]
    for other, each in zip(rest, branches, strict=True):
        same = align(rest[0], other)
        if same is None or (same.dims, same.twin) != (rest[0].dims, rest[0].twin) or any(each.contraction.rest):
            return False
    return True


def _has_kernel(ctx: Context, site: Site, branch: Branch) -> bool:
    stored = ctx.constants.stored(site.weight)
    assert stored is not None
    rows = part(stored, site.matrix.rows[0], branch.start, branch.stop) if site.matrix.outputs else None
    found = branch.contraction
    return rows is not None and kernel(rows, site.matrix, found.contracted, found.kernel, site.alpha) is not None
