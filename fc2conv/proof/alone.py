"""Each converted floating-point layer alone: onnxruntime's layer and its convolution against sums in float64.

The bound, for each element of either result, with x a row, W the weight and b the bias:

    |d| <= 4 * eps * (|alpha| |x| |W|^T + |beta| |b|)

Source: the error of an inner product in floating point is at most n * eps * |x| |w| to first order (N. J. Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), where n is how often a partial sum is rounded on
its way. Blocked and vectorised kernels keep that to a handful, however long the sum: measured over 42 layers with
K = 105 to 25088, no element of a Gemm or a Conv of onnxruntime was beyond 1.05 * eps * (...). 4 leaves room for
other machines, and is 10^4 times tighter than K * eps. A large layer is sampled: some outputs, some rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from fc2conv.proof import convs
from fc2conv.proof.ids import Array
from fc2conv.proof.kernels import some_rows
from fc2conv.proof.layers import Layer
from fc2conv.proof.proof import Site
from fc2conv.proof.runtime import RefusedError, Single
from fc2conv.proof.values import UnmodelledError
from fc2conv.report.types import Check

FACTOR = 4.0
_ROWS = 24
_WEIGHT = 1 << 21
"""Elements of a weight that are looked at."""
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_BATCHES = (1, 3)
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One layer: the worst error in units of its bound, what stands there, and what was looked at."""

    worst: float
    where: str
    sampled: bool
    clone: bool


def check_alone(sites: Sequence[Site], captured: Mapping[str, Array]) -> Check:
    """Checks all layers that the certificate has proved; `captured` has what feeds some, by their output's name."""
    floats = [site for site in sites if site.proved and site.layer is not None and site.layer.conv == "Conv"]
    found: list[tuple[Site, Outcome]] = []
    refused = ""
    for site in floats:
        try:
            found.append((site, _outcome(site, captured.get(site.pair.fc_output))))
        except (RefusedError, UnmodelledError, ValueError) as error:
            refused = refused or f"{site.pair.node}: {error}"
    if not found:
        detail = refused or "no layer in floating point was proved"
        return Check(name="layers", verdict="inconclusive" if refused else "skipped", detail=detail)
    site, worst = max(found, key=lambda each: each[1].worst)
    if worst.worst > 1.0 or np.isnan(worst.worst):
        return Check(name="layers", verdict="fail", detail=f"{site.pair.node}: {worst.where}")
    said = f"{len(found)} layers alone are within {worst.worst:.2g} of the bound of {FACTOR:g} eps against float64"
    notes = [
        f"{sum(each.sampled for _, each in found)} sampled",
        f"{sum(each.clone for _, each in found)} as float32",
        f"{len(floats) - len(found)} could not be run",
    ]
    notes = [note for note in notes if not note.startswith("0 ")]
    return Check(name="layers", verdict="pass", detail=f"{said} ({', '.join(notes)})" if notes else said)


def _outcome(site: Site, real: Array | None) -> Outcome:
    layer, call = site.layer, site.call
    assert layer is not None
    assert call is not None
    assert site.affine is not None
    assert site.order is not None
    kernel = convs.kernel(call).array()
    if kernel.dtype.name not in _FLOATS:
        raise UnmodelledError(f"{call.label} (a kernel of {kernel.dtype.name})")
    index = _outputs(layer, len(site.order))
    weight = some_rows(layer.oriented(), index)
    bias, after = site.affine.per_output(layer), convs.bias(call)
    scaled = site.affine.scale[index]
    before = _Side(weight, None if bias is None else np.asarray(bias)[index], scaled)
    behind = _Side(kernel[index], None if after is None else after.array()[index], np.ones(len(index)))
    return _compared(before, behind, _maps(layer, site.order, kernel.shape, real), call.node, len(index) < layer.outputs)


@dataclass(frozen=True)
class _Side:
    """A weight or kernel, a bias [M] or none, and the factors [M] of the products."""

    weight: Array
    bias: Array | None
    scale: Wide


def _outputs(layer: Layer, k: int) -> NDArray[np.int64]:
    """Which outputs are looked at: all of a small layer, else some; neighbours, as their weights may be columns."""
    count = min(layer.outputs, max(4, _WEIGHT // max(1, k)))
    start = (layer.outputs - count) // 2
    return np.arange(start, start + count)


def _maps(
    layer: Layer, order: NDArray[np.int64], kernel: Sequence[int], real: Array | None
) -> list[tuple[Array, Array]]:
    """Rows of the layer and the maps that hold them as windows: real ones, and dense N(0, 1) maps of two batches."""
    made: list[tuple[Array, Array]] = []
    rng = np.random.default_rng([len(order), layer.outputs])
    if real is not None and real.size and np.isfinite(real).all():
        rows = layer.rows(real)  # type: ignore[arg-type]  # it moves numbers as it moves ids
        rows = np.asarray(rows)[np.unique(np.linspace(0, len(rows) - 1, _ROWS).astype(int))]
        made.append((rows, rows[:, order].reshape(len(rows), *kernel[1:])))
    for batch in _BATCHES:
        size = [n + 1 if i == len(kernel) - 3 else n for i, n in enumerate(kernel[2:])]
        images = rng.standard_normal((batch, kernel[1], *size)).astype(np.float32)
        seen = sliding_window_view(images, tuple(kernel[2:]), axis=tuple(range(2, images.ndim)))
        flat = np.moveaxis(seen, 1, len(kernel) - 1).reshape(-1, len(order))
        rows = np.empty_like(flat)
        rows[:, order] = flat
        made.append((rows, images))
    return made


def _compared(
    before: _Side, behind: _Side, maps: Sequence[tuple[Array, Array]], conv: NodeProto, sampled: bool
) -> Outcome:
    dtype = behind.weight.dtype
    worst, where, clone = 0.0, "", False
    for rows, images in maps:
        given = rows.astype(dtype), images.astype(dtype)
        first, cloned = _layer_alone(given[0], before)
        second, _ = _conv_alone(given[1], behind, conv)
        wide = given[0].astype(np.float64)
        weight = before.weight.astype(np.float64) * before.scale[:, None]
        bias = np.zeros(len(weight)) if before.bias is None else before.bias.astype(np.float64)
        exact = wide @ weight.T + bias
        eps = float(np.finfo(np.float32 if cloned else dtype).eps)
        bound = FACTOR * eps * (np.abs(wide) @ np.abs(weight).T + np.abs(bias)) + np.finfo(np.float32).tiny
        if dtype.itemsize == 2:  # the result itself is rounded to 16 bits, or the smallest of those
            bound += float(onnx_finfo(dtype).smallest_subnormal)
        clone = clone or cloned
        for name, found in (("the layer", first), ("its convolution", second)):
            share = np.abs(found.reshape(exact.shape) - exact) / bound
            if share.max() > worst or np.isnan(share).any():
                worst = float(np.nan_to_num(share, nan=np.inf).max())
                r, m = (int(i) for i in np.unravel_index(int(np.nan_to_num(share, nan=np.inf).argmax()), share.shape))
                got = found.reshape(exact.shape)[r, m]
                where = f"{name} alone gives {got:.9g} for output {m} of row {r}, where {exact[r, m]:.9g} is exact"
                where += f" and {bound[r, m]:.3g} is allowed"
    return Outcome(worst, where, sampled, clone)
