"""Windows of convolutions and pools over maps [lanes, N, C, *S]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.evaluate import At, OpaqueError
from fc2conv.verification.exact.field import Residues


@dataclass(frozen=True)
class Geometry:
    """Kernel, strides, dilations and pads (before, behind) along each spatial axis.

    `over` is how far the last window goes on behind the pads, as ceil_mode allows; the pads have that as well.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    over: tuple[int, ...] = ()


def geometry(at: At, kernel: Sequence[int]) -> Geometry:
    """Read the attributes of a node; pads that a mode asks for are computed, and those that ceil_mode adds."""
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
    """Return the map whose convolution by a reversed kernel is a transposed one: zeros lie between its cells."""
    rank = len(kernel)
    strides, dilations = (list(at.attr(name, [1] * rank)) for name in ("strides", "dilations"))
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[3:], strides, strict=True)]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    mode, cut = at.attr("auto_pad", b"NOTSET"), list(at.attr("pads", [0] * 2 * rank))[:rank]
    if at.attr("output_shape", None) or mode.startswith(b"SAME"):  # the result has this size
        more = at.attr("output_padding", [0] * rank)
        over = [n + r + m - out for n, r, m, out in zip(sizes, reach, more, at.shape[2:], strict=True)]
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
    """Return [lanes, N, C, *cells, elements of the window], padded with zeros."""
    rank = len(plan.kernel)
    padded = np.pad(x, [(0, 0)] * 3 + list(plan.pads)) if any(map(sum, plan.pads)) else x
    reach = [(k - 1) * d + 1 for k, d in zip(plan.kernel, plan.dilations, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(3, 3 + rank)))
    cut = seen[(slice(None),) * 3 + tuple(slice(None, None, s) for s in plan.strides)
               + tuple(slice(None, None, d) for d in plan.dilations)]  # fmt: skip
    return cut.reshape(*cut.shape[: 3 + rank], -1)
