"""The two sides of a converted layer: what the fully connected one computes, and what the convolution does.

An FC layer is `out[r, m] = sum_k x[r, k] W[m, k] + bias`, over the rows r of its input. Its ids are
`D[r, m] = H(layer, m, sum_k H(x[r, k], k))`. The convolution of the same layer sees the window of its input at
every position p as a row of J elements, by its attributes as they stand. If `order` says which k each element of the
window is, its ids are `H(layer, m, sum_j H(x[p, j], order[j]))`: the same hash where the same numbers meet the same
weights. That `kernel[m, j] = W[m, order[j]]` is then all that is left to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fc2conv.proof import ids as h
from fc2conv.proof.ids import Array, Ids
from fc2conv.proof.nodes import Call
from fc2conv.proof.values import UnmodelledError, Value, blame

_WINDOW_LIMIT = 1 << 27


@dataclass(frozen=True)
class Layer:
    """One FC layer of the original.

    `rows` makes its rows [R, K] from the ids of `source`, and `place` its output from ids [R, M]. `oriented`
    reads the weight as [M, K]; `rank` is the output's, and `axis` its axis of m.
    """

    label: str
    key: np.uint64
    source: Value
    weight: Value
    oriented: Callable[[], Array]
    rows: Callable[[Ids], Ids]
    place: Callable[[Ids], Ids]
    outputs: int
    rank: int
    axis: int
    alpha: float = 1.0
    addend: Value | None = None
    beta: float = 1.0

    def products(self, rows: Ids, order: NDArray[np.int64] | None = None) -> Ids:
        """The ids [R, M] of the sums over k, without bias."""
        channel = h.mix(np.arange(self.outputs, dtype=np.uint64) ^ self.key)
        return h.mix(self.sums(rows, order)[:, None] ^ channel[None, :])

    @staticmethod
    def sums(rows: Ids, order: NDArray[np.int64] | None = None) -> Ids:
        """What each row is as a sequence over k; column j of `rows` is element `order[j]`."""
        return h.along(rows if order is None else rows[:, np.argsort(order)])


def gemm(call: Call, key: np.uint64) -> Layer:
    """`alpha * A' B' + beta * C`, A' and B' transposed as transA and transB say; the weight may be either."""
    flip_a, flip_b = (bool(call.attributes.get(name, 0)) for name in ("transA", "transB"))
    a, b, right = _operands(call)
    _ = _matrix(a), _matrix(b)
    weight, source, flip, flip_source = (b, a, flip_b, flip_a) if right else (a, b, flip_a, flip_b)
    turned = flip == right  # whether the weight, as stored, is [M, K]
    return Layer(
        label=call.label,
        key=key,
        source=source,
        weight=weight,
        oriented=(lambda: weight.array()) if turned else (lambda: weight.array().T),
        rows=(lambda x: x.T) if flip_source == right else (lambda x: x),
        place=(lambda d: d) if right else (lambda d: d.T),
        outputs=_matrix(weight)[0 if turned else 1],
        rank=2,
        axis=1 if right else 0,
        alpha=float(call.attributes.get("alpha", 1.0)),
        addend=call.inputs[2] if len(call.inputs) > 2 else None,
        beta=float(call.attributes.get("beta", 1.0)),
    )


def matmul(call: Call, key: np.uint64) -> Layer:
    """`X W` or `W X` with a weight of rank 2, or of more with leading ones."""
    a, b, right = _operands(call)
    weight, source = (b, a) if right else (a, b)
    shape, wide = source.shape, weight.shape
    if shape is None or wide is None:
        raise UnmodelledError(f"{blame(source if shape is None else weight)} (the shape of its result is not known)")
    if len(wide) < 2 or prod(wide[:-2]) != 1 or len(wide) > max(2, len(shape)):
        raise UnmodelledError(f"{call.label} (a weight of shape {wide} and an input of shape {shape})")
    across = right or len(shape) == 1  # whether k is the source's last axis
    lead = shape[:-1] if across else (*shape[:-2], shape[-1])
    outputs = wide[-1] if right else wide[-2]

    def place(products: Ids) -> Ids:
        made = products.reshape((*lead, outputs))
        return made if across else np.swapaxes(made, -1, -2)

    return Layer(
        label=call.label,
        key=key,
        source=source,
        weight=weight,
        oriented=lambda: (lambda w: w.T if right else w)(weight.array().reshape(wide[-2:])),
        rows=lambda x: (x if across else np.swapaxes(x, -1, -2)).reshape(-1, shape[-1 if across else -2]),
        place=place,
        outputs=outputs,
        rank=len(lead) + 1,
        axis=len(lead) if across else len(lead) - 1,
    )


LAYERS: dict[str, Callable[[Call, np.uint64], Layer]] = {"Gemm": gemm, "MatMul": matmul}
"""The layers that a certificate knows; a quantized one is one more function here, and its kernel one in `window`."""


def _operands(call: Call) -> tuple[Value, Value, bool]:
    """A, B, and whether B is the weight."""
    a, b = call.data(0), call.data(1)
    if a.is_constant == b.is_constant:
        raise UnmodelledError(f"{call.label} ({'both' if a.is_constant else 'neither'} of its operands is a constant)")
    return a, b, b.is_constant


def _matrix(value: Value) -> tuple[int, int]:
    if value.shape is None or len(value.shape) != 2:
        why = "the shape of its result is not known" if value.shape is None else f"a matrix of shape {value.shape}"
        raise UnmodelledError(f"{blame(value)} ({why})")
    return value.shape[0], value.shape[1]


@dataclass(frozen=True)
class Windows:
    """What a convolution sees: `rows` [P, J] over its output's positions [N, *O], and the position of each row."""

    rows: Ids
    positions: tuple[int, ...]

    def place(self, products: Ids) -> Ids:
        """The output [N, M, *O] from [P, M]."""
        return np.moveaxis(products.reshape((*self.positions, -1)), -1, 1)


def windows(call: Call, x: Ids, kernel: Sequence[int]) -> Windows:
    """The windows of a Conv with a kernel [M, C, *k], exactly as its attributes place them; padding is 0."""
    attributes = call.attributes
    spatial = len(kernel) - 2
    if attributes.get("group", 1) != 1 or x.ndim != len(kernel):
        raise UnmodelledError(f"{call.label} (group {attributes.get('group', 1)}, input of rank {x.ndim})")
    size = [int(n) for n in attributes.get("kernel_shape", kernel[2:])]
    strides = [int(n) for n in attributes.get("strides", [1] * spatial)]
    dilations = [int(n) for n in attributes.get("dilations", [1] * spatial)]
    extent = [(n - 1) * d + 1 for n, d in zip(size, dilations, strict=True)]
    pads = _pads(call, x.shape[2:], extent, strides)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=h.FLOAT_ZERO)
    if any(n < e for n, e in zip(padded.shape[2:], extent, strict=True)):
        raise UnmodelledError(f"{call.label} (a kernel {size} on an input {list(padded.shape)})")
    seen = sliding_window_view(padded, extent, axis=tuple(range(2, x.ndim)))
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    seen = seen[(*steps, *(slice(None, None, d) for d in dilations))]
    if seen.size > _WINDOW_LIMIT:
        raise UnmodelledError(f"{call.label} ({seen.size} elements in all windows)")
    positions = (seen.shape[0], *seen.shape[2 : 2 + spatial])
    rows = np.moveaxis(seen, 1, 1 + spatial).reshape(prod(positions), -1)
    return Windows(rows, positions)


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
