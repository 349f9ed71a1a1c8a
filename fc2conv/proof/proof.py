"""One converted layer: which rows its windows are, and whether its kernel and its bias are the layer's, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fc2conv.proof import convs, ids
from fc2conv.proof.affine import Affine
from fc2conv.proof.convs import Windows
from fc2conv.proof.evaluation import Evaluation
from fc2conv.proof.ids import Array, Ids
from fc2conv.proof.kernels import compare
from fc2conv.proof.layers import Layer
from fc2conv.proof.nodes import Call
from fc2conv.proof.sites import SitePair
from fc2conv.proof.values import UnmodelledError


class ContradictionError(Exception):
    """The two models differ for certain; the message says where and how."""


@dataclass
class Site:
    """One pair, and the original's layer once the walk has come to it, or what the trouble with it is.

    Once it is proved, `calls` are its convolutions, the results of which are added up, and `order` [G, K] says for each
    group which element of a row each of a window is, the windows of all of them side by side.
    """

    pair: SitePair
    key: np.uint64
    layer: Layer | None = None
    affine: Affine | None = None
    trouble: str = ""
    calls: tuple[Call, ...] = ()
    order: NDArray[np.int64] | None = None

    @property
    def proved(self) -> bool:
        """Whether kernel, bias and windows are the layer's."""
        return self.order is not None


def order(site: Site, calls: Sequence[Call], evaluation: Evaluation, strict: bool) -> NDArray[np.int64]:
    """Which of the layer's inputs each element of the windows is; raises ContradictionError where it is none."""
    if site.layer is None or site.affine is None or site.trouble:
        raise UnmodelledError(site.trouble or f"{site.pair.fc_output} (not in the original)")
    for call in calls:
        if call.op != site.layer.conv:
            raise ContradictionError(f"{call.label} is a {call.op}, not a {site.layer.conv}")
        _check_attributes(call, site.layer.groups, strict)
    doubt = next((doubt for call in calls if (doubt := call.data(0).doubt)), site.layer.source.doubt)
    if doubt:
        raise UnmodelledError(doubt)
    for call in calls:
        kernel = convs.kernel(call)
        if not kernel.is_constant or kernel.shape is None:
            raise UnmodelledError(f"{call.label} (its kernel is not a constant)")
    try:
        found, ties = _held(site.layer, calls, evaluation, full=False)
    except (ContradictionError, UnmodelledError):
        found, ties = _held(site.layer, calls, evaluation, full=True)
    _check_kernels(site, calls, found, ties)
    _check_bias(site, calls)
    return found


def _check_attributes(call: Call, groups: int, strict: bool) -> None:
    """Strides and dilations are 1, pads 0, even where the maps are so small that this makes no difference.

    The groups are the layer's.

    Another tool may have other ones there, so that this contradicts only where fc2conv is known to have been at work.
    """
    for name, default, wanted in (("strides", 1, 1), ("dilations", 1, 1), ("group", 1, groups), ("pads", 0, 0)):
        given = np.atleast_1d(call.attributes.get(name, default)).tolist()
        if any(n != wanted for n in given):
            what = f"its {name} are {given}"
            raise ContradictionError(what) if strict else UnmodelledError(f"{call.label} ({what})")


def _held(
    layer: Layer, calls: Sequence[Call], evaluation: Evaluation, full: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order [G, K] of the windows' elements, and for each which of them are one that the layer reads twice."""
    seen = convs.seen(calls, [evaluation.ids(call.data(0), full) for call in calls])
    wanted = layer.rows(evaluation.ids(layer.source, full))
    if seen.rows.shape[-1] != wanted.shape[-1]:
        raise ContradictionError(f"a window holds {seen.rows.shape[-1]} elements, the layer sums {wanted.shape[-1]}")
    found, ties = zip(*(_matched(layer, wanted, seen, group) for group in range(layer.groups)), strict=True)
    return np.stack(found), np.stack(ties)


def _matched(layer: Layer, every: Ids, windows: Windows, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order and the ties of one group, after its windows and the layer's rows were held against each other.

    An element that a row has twice is told by the other rows: it is a tie only where it is one in all of them.
    """
    wanted, seen = every[group], windows.rows[group]

    def at(strange: NDArray[np.bool_]) -> str:
        place = [int(i) for i in np.unravel_index(int(np.argmax(strange)), windows.positions)]
        return f"the window at {place}" + (f" of group {group}" if layer.groups > 1 else "")

    bags_wanted, bags_seen = (ids.spread(rows, [1], keepdims=False) for rows in (wanted, seen))
    strange = ~np.isin(bags_seen, bags_wanted)
    if strange.any():
        raise ContradictionError(f"{at(strange)} holds the elements of none of its rows")
    by_bag = np.argsort(bags_wanted, kind="stable")
    row = by_bag[np.searchsorted(bags_wanted[by_bag], bags_seen)]  # of each window, by its elements
    columns, places = wanted[row[0]], seen[0]
    ties: Ids = np.arange(len(columns), dtype=np.uint64)
    if len(np.unique(columns)) < len(columns):
        columns, places, ties = ids.along(wanted[row].T), ids.along(seen.T), ids.along(wanted.T)
    order = np.empty(len(columns), dtype=np.int64)
    order[np.argsort(places, kind="stable")] = np.argsort(columns, kind="stable")
    sums_wanted, sums_seen = layer.sums(wanted), layer.sums(seen, order)
    strange = ~np.isin(sums_seen, sums_wanted)
    if strange.any():
        raise ContradictionError(f"{at(strange)} holds its row in another order")
    missing = ~np.isin(sums_wanted, sums_seen)
    if missing.any():
        raise ContradictionError(f"{int(missing.sum())} of its {len(missing)} rows are in no window")
    return order, np.unique(ties[order], return_inverse=True)[1]


def _check_kernels(site: Site, calls: Sequence[Call], order: NDArray[np.int64], ties: NDArray[np.int64]) -> None:
    assert site.layer is not None
    assert site.affine is not None
    weight = site.layer.oriented()
    arrays = [convs.kernel(call).array() for call in calls]
    flats = [_flat(array) for array in arrays]
    whose = ["its kernel" if len(calls) == 1 else f"the kernel of {call.label}" for call in calls]
    for array, flat, name in zip(arrays, flats, whose, strict=True):
        if site.layer.outputs != len(flat) or weight.dtype != array.dtype:
            shape = list(weight.shape if len(weight) > 1 else weight[0].shape)
            what = f"{list(array.shape)} {array.dtype}, its weight {shape} {weight.dtype}"
            raise ContradictionError(f"{name} is {what}")
    starts = np.cumsum([0, *(flat.shape[1] for flat in flats)])
    for group, matrix in enumerate(weight):
        own = slice(group * len(matrix), (group + 1) * len(matrix))
        scale = None if site.affine.plain else site.affine.scale[own]
        unlike = compare(matrix, [flat[own] for flat in flats], order[group], scale, ties[group])
        if unlike is None:
            continue
        part = int(np.searchsorted(starts, unlike.column, side="right")) - 1
        inner = np.unravel_index(unlike.column - starts[part], arrays[part].shape[1:])
        place = [own.start + unlike.output, *(int(i) for i in inner)]
        raise ContradictionError(f"{whose[part]} has {unlike.found} at {place}, where {unlike.wanted} must be")


def _flat(kernel: Array) -> Array:
    """A kernel as [M, J]; one that is one number throughout is no larger than that."""
    size = (kernel.shape[0], prod(kernel.shape[1:]))
    return kernel.reshape(size) if any(kernel.strides) else np.broadcast_to(kernel[(0,) * kernel.ndim], size)


def _check_bias(site: Site, calls: Sequence[Call]) -> None:
    """Compares what the convolution adds and scales with the original's, so that the message can tell the numbers."""
    assert site.layer is not None
    assert site.affine is not None
    for call in calls:
        scaled = convs.parameters(call)
        if scaled is not None and site.layer.parameters is not None and (what := scaled.unlike(site.layer.parameters)):
            raise ContradictionError(what)
    added = [bias for call in calls if (bias := convs.bias(call)) is not None and bias.is_constant]
    wanted = site.affine.per_output(site.layer)
    if len(added) > 1:
        raise ContradictionError(f"{len(added)} of the convolutions of which it is the sum have a bias")
    if not added or wanted is None or site.layer.outputs != (added[0].shape or (0,))[0]:
        return
    found = added[0].array()
    unlike = ids.constants(found) != ids.constants(wanted)
    if unlike.any():
        i = int(np.argmax(unlike))
        raise ContradictionError(f"its bias has {found[i]} at [{i}], where {wanted[i]} must be")
