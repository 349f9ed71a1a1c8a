"""One converted layer: which rows its windows are, and whether its kernel and its bias are the layer's, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fc2conv.proof import convs, ids
from fc2conv.proof.affine import Affine
from fc2conv.proof.convs import Windows, windows
from fc2conv.proof.evaluation import Evaluation
from fc2conv.proof.ids import Ids
from fc2conv.proof.kernels import compare
from fc2conv.proof.layers import Layer
from fc2conv.proof.nodes import Call
from fc2conv.proof.sites import SitePair
from fc2conv.proof.values import UnmodelledError, Value


class ContradictionError(Exception):
    """The two models differ for certain; the message says where and how."""


@dataclass
class Site:
    """One pair, and the original's layer once the walk has come to it, or what the trouble with it is.

    Once it is proved, `call` is its convolution, and `order` says which element of a row each of a window is.
    """

    pair: SitePair
    key: np.uint64
    layer: Layer | None = None
    affine: Affine | None = None
    trouble: str = ""
    call: Call | None = None
    order: NDArray[np.int64] | None = None

    @property
    def proved(self) -> bool:
        """Whether kernel, bias and windows are the layer's."""
        return self.order is not None


def order(site: Site, call: Call, evaluation: Evaluation, strict: bool) -> NDArray[np.int64]:
    """Which of the layer's inputs each element of a window is; raises ContradictionError where it is none."""
    if site.layer is None or site.affine is None or site.trouble:
        raise UnmodelledError(site.trouble or f"{site.pair.fc_output} (not in the original)")
    if call.op != site.layer.conv:
        raise ContradictionError(f"{call.label} is a {call.op}, not a {site.layer.conv}")
    _check_attributes(call, strict)
    doubt = call.data(0).doubt or site.layer.source.doubt
    if doubt:
        raise UnmodelledError(doubt)
    kernel = convs.kernel(call)
    if not kernel.is_constant or kernel.shape is None:
        raise UnmodelledError(f"{call.label} (its kernel is not a constant)")
    try:
        found, ties = _held(site.layer, call, kernel.shape, evaluation, full=False)
    except (ContradictionError, UnmodelledError):
        found, ties = _held(site.layer, call, kernel.shape, evaluation, full=True)
    _check_kernel(site, kernel, found, ties)
    _check_bias(site, call)
    return found


def _check_attributes(call: Call, strict: bool) -> None:
    """Strides, dilations and group are 1 and pads 0, even where the maps are so small that this makes no difference.

    Another tool may have other ones there, so that this contradicts only where fc2conv is known to have been at work.
    """
    for name, plain in (("strides", 1), ("dilations", 1), ("group", 1), ("pads", 0)):
        given = np.atleast_1d(call.attributes.get(name, plain)).tolist()
        if any(n != plain for n in given):
            what = f"its {name} are {given}"
            raise ContradictionError(what) if strict else UnmodelledError(f"{call.label} ({what})")


def _held(
    layer: Layer, call: Call, kernel: tuple[int, ...], evaluation: Evaluation, full: bool
) -> tuple[NDArray[np.int64], bool]:
    """The order of the windows' elements, and whether some element is read twice by one row, so that it is a guess."""
    seen = windows(call, evaluation.ids(call.data(0), full), kernel)
    wanted = layer.rows(evaluation.ids(layer.source, full))
    return _matched(layer, wanted, seen), len(np.unique(wanted[0])) < wanted.shape[1]


def _matched(layer: Layer, wanted: Ids, seen: Windows) -> NDArray[np.int64]:
    """The order in which the windows hold the rows' elements, after all were held against each other."""
    if seen.rows.shape[1] != wanted.shape[1]:
        raise ContradictionError(f"a window holds {seen.rows.shape[1]} elements, the layer sums {wanted.shape[1]}")
    bags_wanted, bags_seen = (ids.spread(rows, [1], keepdims=False) for rows in (wanted, seen.rows))
    strange = ~np.isin(bags_seen, bags_wanted)
    if strange.any():
        place = np.unravel_index(int(np.argmax(strange)), seen.positions)
        raise ContradictionError(f"the window at {[int(i) for i in place]} holds the elements of none of its rows")
    row = int(np.argmax(bags_wanted == bags_seen[0]))
    order = np.empty(wanted.shape[1], dtype=np.int64)
    order[np.argsort(seen.rows[0], kind="stable")] = np.argsort(wanted[row], kind="stable")
    sums_wanted, sums_seen = layer.sums(wanted), layer.sums(seen.rows, order)
    strange = ~np.isin(sums_seen, sums_wanted)
    if strange.any():
        place = np.unravel_index(int(np.argmax(strange)), seen.positions)
        raise ContradictionError(f"the window at {[int(i) for i in place]} holds its row in another order")
    missing = ~np.isin(sums_wanted, sums_seen)
    if missing.any():
        raise ContradictionError(f"{int(missing.sum())} of its {len(missing)} rows are in no window")
    return order


def _check_kernel(site: Site, kernel: Value, order: NDArray[np.int64], ties: bool) -> None:
    assert site.layer is not None
    assert site.affine is not None
    weight, array = site.layer.oriented(), kernel.array()
    size = (array.shape[0], prod(array.shape[1:]))
    flat = array.reshape(size) if any(array.strides) else np.broadcast_to(array[(0,) * array.ndim], size)
    if weight.shape != flat.shape or weight.dtype != array.dtype:
        what = f"{list(array.shape)} {array.dtype}, its weight {list(weight.shape)} {weight.dtype}"
        raise ContradictionError(f"its kernel is {what}")
    unlike = compare(weight, flat, order, None if site.affine.plain else site.affine.scale)
    if unlike is None:
        return
    if ties:
        raise UnmodelledError(f"{site.layer.label} (it reads one element twice)")
    place = [unlike.output, *(int(i) for i in np.unravel_index(unlike.column, array.shape[1:]))]
    raise ContradictionError(f"its kernel has {unlike.found} at {place}, where {unlike.wanted} must be")


def _check_bias(site: Site, call: Call) -> None:
    """Compares what the convolution adds and scales with the original's, so that the message can tell the numbers."""
    assert site.layer is not None
    assert site.affine is not None
    scaled = convs.parameters(call)
    if scaled is not None and site.layer.parameters is not None and (what := scaled.unlike(site.layer.parameters)):
        raise ContradictionError(what)
    found = convs.bias(call)
    wanted = site.affine.per_output(site.layer)
    if found is None or wanted is None or not found.is_constant or site.layer.outputs != (found.shape or (0,))[0]:
        return
    unlike = ids.constants(found.array()) != ids.constants(wanted)
    if unlike.any():
        i = int(np.argmax(unlike))
        raise ContradictionError(f"its bias has {found.array()[i]} at [{i}], where {wanted[i]} must be")
