"""Maps [lanes, N, C, *S]: their windows for convolutions and pools, and Resize along one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Residues


@dataclass(frozen=True)
class Geometry:
    """Kernel, strides, dilations and pads (before, after) along each spatial axis.

    `over` is how far the last window extends beyond the pads, as ceil_mode allows; the pads include that as well.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    over: tuple[int, ...] = ()


def geometry(at: At, kernel: Sequence[int]) -> Geometry:
    """Read the attributes of a node, and compute the pads of auto_pad and those that ceil_mode adds."""
    sizes = at.dims(0)[2:]
    rank = len(sizes)
    if len(kernel) != rank:
        raise OpaqueError
    strides = tuple(at.attr("strides", [1] * rank))
    dilations = tuple(at.attr("dilations", [1] * rank))
    given = list(at.attr("pads", [0] * 2 * rank))
    mode = at.attr("auto_pad", b"NOTSET").decode()
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if mode != "NOTSET" and any(given):
        raise OpaqueError  # no runtime takes both
    if mode.startswith("SAME"):
        pads = tuple(_same(n, s, r, mode) for n, s, r in zip(sizes, strides, reach, strict=True))
    else:
        pads = tuple((0, 0) if mode == "VALID" else (given[i], given[i + rank]) for i in range(rank))
    out = at.shape[2:]
    ended, over, cut = [], [], list(kernel)
    for i, ((low, high), n, s, r, cells) in enumerate(zip(pads, sizes, strides, reach, out, strict=True)):
        short = max(0, (cells - 1) * s + r - (n + low + high))
        if cells == 1 and dilations[i] == 1:  # the only window ends with the pads
            cut[i], short = cut[i] - short, 0
        ended.append((low, high + short))
        over.append(short)
    return Geometry(tuple(cut), strides, dilations, tuple(ended), tuple(over))


def _same(size: int, stride: int, reach: int, mode: str) -> tuple[int, int]:
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    low = total // 2 if mode == "SAME_UPPER" else total - total // 2
    return low, total - low


def apart(at: At, x: Residues, kernel: Sequence[int]) -> tuple[Residues, Geometry]:
    """Put zeros between cells, and return the map whose convolution by a reversed kernel is a transposed one."""
    rank = len(kernel)
    strides, dilations = (list(at.attr(name, [1] * rank)) for name in ("strides", "dilations"))
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[3:], strides, strict=True)]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    mode, cut = at.attr("auto_pad", b"NOTSET"), list(at.attr("pads", [0] * 2 * rank))[:rank]
    if at.attr("output_shape", None) or mode.startswith(b"SAME"):  # the result has this size
        more = at.attr("output_padding", [0] * rank)
        over = [max(0, n + r + m - out) for n, r, m, out in zip(sizes, reach, more, at.shape[2:], strict=True)]
        cut = [each // 2 if mode == b"SAME_UPPER" else each - each // 2 for each in over]
    before = [r - p for r, p in zip(reach, cut, strict=True)]
    behind = [out + r - n - b for out, r, n, b in zip(at.shape[2:], reach, sizes, before, strict=True)]
    lead, ends = [slice(None)] * 3, list(zip(before, sizes, behind, strict=True))
    wide = np.zeros((*x.shape[:3], *sizes), np.int32)
    wide[tuple(lead + [slice(None, None, s) for s in strides])] = x
    inner = wide[tuple(lead + [slice(-min(0, low), n + min(0, high)) for low, n, high in ends])]
    pads = tuple((max(0, low), max(0, high)) for low, _, high in ends)
    return inner, Geometry(tuple(kernel), (1,) * rank, tuple(dilations), pads)


def windows(x: Residues, plan: Geometry) -> Residues:
    """Return the windows of a map padded with zeros: [lanes, N, C, *cells, elements of the window]."""
    rank = len(plan.kernel)
    padded = np.pad(x, [(0, 0)] * 3 + list(plan.pads)) if any(map(sum, plan.pads)) else x
    reach = [(k - 1) * d + 1 for k, d in zip(plan.kernel, plan.dilations, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(3, 3 + rank)))
    cut = seen[(slice(None),) * 3 + tuple(slice(None, None, s) for s in plan.strides)
               + tuple(slice(None, None, d) for d in plan.dilations)]  # fmt: skip
    return cut.reshape(*cut.shape[: 3 + rank], -1)


# ------------------------------------------------------------------ Resize

_HALF = Fraction(1, 2)
_PLACES = {
    "asymmetric": lambda i, s: i / s,
    "half_pixel": lambda i, s: (i + _HALF) / s - _HALF,
    "tf_half_pixel_for_nn": lambda i, s: (i + _HALF) / s,
}
"""The place of cell i of the result on the cells before, by the scale; any other mode depends on their number."""
_NEAREST = {"floor": floor, "ceil": ceil, "round_prefer_floor": lambda x: ceil(x - _HALF),
            "round_prefer_ceil": lambda x: floor(x + _HALF)}  # fmt: skip
_REACH = {"linear": 1, "bilinear": 1, "cubic": 2}
"""How many cells a mode reads on each side of a place."""
_MOST, _NEAR = 1000, 1e-5
"""The largest denominator of a scale, and the relative error of a place that a runtime may make."""


def resize(at: At) -> Residues:
    """Apply Resize as a linear map along one axis after the other.

    The nearest cell is picked where no rounding decides which one that is. Elsewhere a cell has unknown factors, which
    are the same for cells that lie in the same way between those that they read.
    """
    x, simple = at.res(0), at.op.name == "Resize" and at.op.version < 11  # onnxruntime rounds up what it makes smaller
    older = simple or at.op.name == "Upsample"
    given = dict(at.op.attributes) if not older else {"mode": at.attr("mode", b"nearest")}
    mode = given.pop("mode", b"nearest").decode()
    how = given.pop("coordinate_transformation_mode", b"asymmetric" if older else b"half_pixel").decode()
    nearest = given.pop("nearest_mode", b"floor" if older else b"round_prefer_floor").decode()
    axes = [axis % (x.ndim - 1) for axis in given.pop("axes", range(x.ndim - 1))]
    if given.pop("keep_aspect_ratio_policy", b"stretch") != b"stretch" or how == "tf_crop_and_resize":
        raise OpaqueError
    where = 1 if older else 2
    scales = at.attr("scales", None) or (at.numbers(where).reshape(-1) if at.has(where) else ())
    for axis in range(x.ndim - 1):
        size, wanted = x.shape[axis + 1], at.shape[axis]
        scale = np.float32(scales[axes.index(axis)] if len(scales) and axis in axes else wanted / size)
        how_here = "half_pixel" if how == "pytorch_half_pixel" and wanted > 1 else how
        if scale == 1 and wanted == size:
            continue
        if size == 1:  # whatever lies around it is that cell as well
            x = np.repeat(x, wanted, axis=axis + 1)
            continue
        ratio = Fraction(float(scale)).limit_denominator(_MOST)
        even = how_here in _PLACES and abs(float(ratio / Fraction(float(scale))) - 1) < 1e-6
        places = [_PLACES[how_here](i, ratio) for i in range(wanted)] if even else []
        take = "ceil" if simple and ratio < 1 else nearest
        picked = _picked(places, take, ratio == Fraction(float(scale))) if mode == "nearest" else []
        if picked:
            x = np.take(x, np.clip(picked, 0, size - 1), axis=axis + 1)
            continue
        at.evaluator.spend(float(x.size) * wanted)
        name = ("resize", mode, how_here, take if mode == "nearest" else "", sorted(given.items()))
        if places and mode in _REACH:
            reach = _REACH[mode] / ratio if given.get("antialias") and ratio < 1 else 0
            factors = _factors(at, (*name, ratio if reach else ""), mode, places, size, Fraction(reach))
        else:
            factors = at.field.uniform((*name, scale, size, wanted), (wanted, size))
        x = _mapped(at, x, axis + 1, factors)
    return x


def _picked(places: Sequence[Fraction], nearest: str, exact: bool) -> list[int]:
    """Return the cells that are nearest to places; no cells where the rounding of a place decides."""
    take = _NEAREST[nearest]
    near = [Fraction(_NEAR) * (1 + abs(place)) for place in places]
    certain = exact or all(take(p - e) == take(p + e) for p, e in zip(places, near, strict=True))
    return [take(place) for place in places] if certain else []


def _factors(
    at: At, name: tuple[object, ...], mode: str, places: Sequence[Fraction], size: int, reach: Fraction
) -> Residues:
    """Return a matrix of unknown factors: one for each way in which a place lies between the cells that it reads.

    `reach` is that of a filter as wide as a cell of the result. A cell outside of the map is its first or its last
    cell, or changes the other factors where the filter leaves it out.
    """
    field = at.field
    out = np.zeros((field.lanes, len(places), size), np.int32)
    for i, place in enumerate(places):
        if reach:
            first, last = floor(place - reach) + 1, ceil(place + reach) - 1
        else:
            first = floor(place) - _REACH[mode] + 1 if place.denominator > 1 else int(place)
            last = ceil(place) + _REACH[mode] - 1 if place.denominator > 1 else int(place)
        outside = (max(0, -first), max(0, last - size + 1)) if reach or at.attr("exclude_outside", 0) else ()
        taps = field.uniform((*name, place - floor(place), outside), (last - first + 1,))
        for tap in range(last - first + 1):
            cell = min(max(first + tap, 0), size - 1)
            if not outside or cell == first + tap:
                out[:, i, cell : cell + 1] = field.add(out[:, i, cell : cell + 1], taps[:, tap : tap + 1])
    return out


def _mapped(at: At, x: Residues, axis: int, factors: Residues) -> Residues:
    """Multiply a matrix with each line along an axis."""
    lines = np.moveaxis(x, axis, -1)
    rows = at.field.matmul(lines.reshape(len(x), -1, lines.shape[-1]), factors.swapaxes(-1, -2))
    return np.moveaxis(rows.reshape(*lines.shape[:-1], -1), -1, axis)


RULES: dict[str, Rule] = dict.fromkeys(("Resize", "Upsample"), resize)
