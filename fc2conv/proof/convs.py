"""The convolution's side of a layer: what its windows hold, as its attributes stand, and what it is scaled with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fc2conv.proof import ids as h
from fc2conv.proof.ids import Ids
from fc2conv.proof.nodes import Call
from fc2conv.proof.parameters import Parameters
from fc2conv.proof.values import UnmodelledError, Value

KERNELS = {"Conv": 1, "QLinearConv": 3, "ConvInteger": 1}
"""Convolutions, each with the place of its kernel; the map is operand 0."""

_WINDOW_LIMIT = 1 << 27


def kernel(call: Call) -> Value:
    """The kernel of a convolution."""
    return call.data(KERNELS[call.node.op_type])


def bias(call: Call) -> Value | None:
    """The floating-point bias of a Conv; that of a QLinearConv is one of its parameters."""
    return call.inputs[2] if call.node.op_type == "Conv" and len(call.inputs) > 2 else None


def parameters(call: Call) -> Parameters | None:
    """What a quantized convolution scales with; None for Conv."""
    held = [*call.inputs, *[None] * 9]
    if call.node.op_type == "QLinearConv":
        return Parameters("QLinear", (held[1], held[2]), (held[4], held[5]), (held[6], held[7]), held[8])
    if call.node.op_type == "ConvInteger":
        return Parameters("Integer", (None, held[2]), (None, held[3]))
    return None


@dataclass(frozen=True)
class Windows:
    """What each group of a convolution sees: `rows` [G, P, J] over its output's positions [N, *O], in their order."""

    rows: Ids
    positions: tuple[int, ...]

    def place(self, products: Ids) -> Ids:
        """The output [N, G * M, *O] from [P, G * M]."""
        return np.moveaxis(products.reshape((*self.positions, -1)), -1, 1)


def seen(calls: Sequence[Call], maps: Sequence[Ids]) -> Windows:
    """The windows of convolutions whose results are added up, as those of one: each beside the others."""
    parts = [windows(call, x, kernel(call).shape or ()) for call, x in zip(calls, maps, strict=True)]
    if any(part.positions != parts[0].positions for part in parts):
        raise UnmodelledError(f"{calls[0].label} (added up with a result of another shape)")
    if len(parts) == 1:
        return parts[0]
    return Windows(np.concatenate([part.rows for part in parts], axis=-1), parts[0].positions)


def windows(call: Call, x: Ids, kernel: Sequence[int]) -> Windows:
    """The windows of a Conv with a kernel [G * M, C / G, *k], exactly as its attributes place them; padding is 0."""
    attributes = call.attributes
    spatial, groups = len(kernel) - 2, int(attributes.get("group", 1))
    if x.ndim != len(kernel) or x.shape[1] != groups * kernel[1]:
        raise UnmodelledError(f"{call.label} (a kernel {list(kernel)} in {groups} groups on an input {list(x.shape)})")
    size = [int(n) for n in attributes.get("kernel_shape", kernel[2:])]
    if size != list(kernel[2:]):
        raise UnmodelledError(f"{call.label} (kernel_shape {size}, and a kernel {list(kernel)})")
    strides = [int(n) for n in attributes.get("strides", [1] * spatial)]
    dilations = [int(n) for n in attributes.get("dilations", [1] * spatial)]
    extent = [(n - 1) * d + 1 for n, d in zip(size, dilations, strict=True)]
    pads = _pads(call, x.shape[2:], extent, strides)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=h.FLOAT_ZERO)
    if not x.size or any(n < e for n, e in zip(padded.shape[2:], extent, strict=True)):
        raise UnmodelledError(f"{call.label} (a kernel {size} on an input {list(padded.shape)})")
    seen = sliding_window_view(padded, extent, axis=tuple(range(2, x.ndim)))
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    seen = seen[(*steps, *(slice(None, None, d) for d in dilations))]
    if seen.size > _WINDOW_LIMIT:
        raise UnmodelledError(f"{call.label} ({seen.size} elements in all windows)")
    positions = (seen.shape[0], *seen.shape[2 : 2 + spatial])
    grouped = seen.reshape(seen.shape[0], groups, kernel[1], *seen.shape[2:])
    rows = np.moveaxis(grouped, (1, 2), (0, 2 + spatial)).reshape(groups, prod(positions), -1)
    return Windows(rows, positions)


def sums(rows: Ids, zero: Sequence[Ids]) -> Ids:
    """The ids [P, 1] of the sums of integers over rows [P, J], each less a zero point or none."""
    made = h.spread(rows, [-1], keepdims=True)
    return h.ordered(h.salt("sums"), [made, *(each.reshape(1, 1) for each in zero)])


def _pads(call: Call, size: Sequence[int], extent: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    mode = call.attributes.get("auto_pad", b"NOTSET").decode()
    if mode == "VALID":
        return [(0, 0)] * len(size)
    if mode == "NOTSET":
        given = [int(n) for n in call.attributes.get("pads", [0] * 2 * len(size))]
        return list(zip(given[: len(size)], given[len(size) :], strict=True))
    totals = [max((ceil(n / s) - 1) * s + e - n, 0) for n, e, s in zip(size, extent, strides, strict=True)]
    upper = mode == "SAME_UPPER"
    return [(t // 2, t - t // 2) if upper else (t - t // 2, t // 2) for t in totals]
