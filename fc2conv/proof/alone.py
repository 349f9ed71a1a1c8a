"""Each converted floating-point layer alone: onnxruntime's layer and its convolution against sums in float64.

The bound, for each element of either result, with x a row, W the weight and b the bias:

    |d| <= 4 * eps * (|alpha| |x| |W|^T + |beta| |b|)

Source: the error of an inner product in floating point is at most n * eps * |x| |w| to first order (N. J. Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), where n is how often a partial sum is rounded on
its way. Blocked and vectorised kernels keep that to a handful, however long the sum: measured over 42 layers with
K = 105 to 25088, no element of a Gemm or a Conv of onnxruntime was beyond 1.05 * eps * (...). 4 leaves room for
other machines, and is 10^4 times tighter than K * eps. Where all terms are alike (a light model's equal weights) each
rounding goes the same way, and the layer itself is beyond that: then its convolution may be as far off as twice
that, and either no further than the K * eps that holds for any order. A large layer is sampled: some outputs and rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ml_dtypes import finfo  # onnx depends on it, and numpy's knows no bfloat16
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto, helper

from fc2conv.proof import convs
from fc2conv.proof.ids import Array
from fc2conv.proof.kernels import some_rows
from fc2conv.proof.layers import Layer
from fc2conv.proof.proof import Site
from fc2conv.proof.runtime import RefusedError, run_node
from fc2conv.proof.values import UnmodelledError
from fc2conv.report.types import Check

FACTOR = 4.0
_ROWS = 8
_WEIGHT = 1 << 19
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
    layer, affine, order = site.layer, site.affine, site.order
    assert layer is not None
    assert affine is not None
    assert order is not None
    kernels = [convs.kernel(call).array() for call in site.calls]
    if kernels[0].dtype.name not in _FLOATS:
        raise UnmodelledError(f"{site.calls[0].label} (a kernel of {kernels[0].dtype.name})")
    index = _outputs(layer, len(order))
    weight = some_rows(layer.oriented(), index)
    bias, biases = affine.per_output(layer), [convs.bias(call) for call in site.calls]
    if bias is None or not any(biases):  # where only one side has it, the other adds it in a node of its own
        bias, biases = None, [None for _ in biases]
    before = _gemm(site.pair.node, weight, None if bias is None else np.asarray(bias)[index], affine.scale[index])
    behind = [
        _Side(call.node, kernel[index], None if b is None else b.array()[index])
        for call, kernel, b in zip(site.calls, kernels, biases, strict=True)
    ]
    maps = _maps(layer, order, [kernel.shape for kernel in kernels], real)
    exact = weight.astype(np.float64) * affine.scale[index][:, None]
    return _compared(exact, before, behind, maps, len(index) < layer.outputs)


@dataclass(frozen=True)
class _Side:
    """A node with its weight or kernel, and a bias [M] or none."""

    node: NodeProto
    weight: Array
    bias: Array | None


def _outputs(layer: Layer, k: int) -> NDArray[np.int64]:
    """Which outputs are looked at: all of a small layer, else some; neighbours, as their weights may be columns."""
    count = min(layer.outputs, max(4, _WEIGHT // max(1, k)))
    start = (layer.outputs - count) // 2
    return np.arange(start, start + count)


def _maps(
    layer: Layer, order: NDArray[np.int64], kernels: Sequence[Sequence[int]], real: Array | None
) -> list[tuple[Array, list[Array]]]:
    """Rows of the layer, and for each kernel the maps that hold them: real ones, and N(0, 1) in two batches."""
    made: list[tuple[Array, list[Array]]] = []
    rng = np.random.default_rng([len(order), layer.outputs])
    ends = np.cumsum([prod(kernel[1:]) for kernel in kernels])
    if real is not None and real.size and np.isfinite(real).all():
        rows = layer.rows(real)  # it moves numbers as it moves ids
        rows = np.asarray(rows)[np.unique(np.linspace(0, len(rows) - 1, _ROWS).astype(int))]
        parts = np.split(rows[:, order], ends[:-1], axis=1)
        made.append((rows, [p.reshape(len(rows), *kernel[1:]) for p, kernel in zip(parts, kernels, strict=True)]))
    for batch in _BATCHES:
        images = [_dense(batch, kernel, rng) for kernel in kernels]
        flat = np.concatenate([_windows(x, kernel) for x, kernel in zip(images, kernels, strict=True)], axis=1)
        rows = np.empty_like(flat)
        rows[:, order] = flat
        made.append((rows, images))
    return made


def _dense(batch: int, kernel: Sequence[int], rng: np.random.Generator) -> Array:
    """Maps on which a kernel has two places, one beside the other."""
    return rng.standard_normal((batch, *kernel[1:-1], kernel[-1] + 1)).astype(np.float32)


def _windows(images: Array, kernel: Sequence[int]) -> Array:
    seen = sliding_window_view(images, tuple(kernel[2:]), axis=tuple(range(2, images.ndim)))
    return np.moveaxis(seen, 1, len(kernel) - 1).reshape(-1, prod(kernel[1:]))


def _compared(
    weight: Wide, before: _Side, behind: Sequence[_Side], maps: Sequence[tuple[Array, list[Array]]], sampled: bool
) -> Outcome:
    dtype = behind[0].weight.dtype
    bias = np.zeros(len(weight)) if before.bias is None else before.bias.astype(np.float64)
    sizes = np.abs(weight)
    worst, where, clone = 0.0, "", False
    for rows, images in maps:
        wide = rows.astype(dtype).astype(np.float64)
        exact = wide @ weight.T + bias
        size = np.abs(wide) @ sizes.T + np.abs(bias)
        allowed = limit = 1.0 + len(wide[0]) / FACTOR  # K * eps, in units of the bound
        for name, sides, given in (("layer", [before], [rows]), ("convolution", behind, images)):
            found, cloned = _sum(sides, given, dtype)
            clone = clone or cloned
            found = _as_rows(found, exact.shape)
            share = _share(found, exact, size, np.dtype(np.float32) if cloned else dtype)
            if share.max() / allowed > worst:
                r, m = (int(i) for i in np.unravel_index(int(share.argmax()), share.shape))
                worst = float(share[r, m]) / allowed
                where = (
                    f"its {name} alone gives {found[r, m]:.9g} for output {m} of row {r}, exact is {exact[r, m]:.9g}"
                )
            allowed = min(max(1.0, 2 * float(share.max())), limit)  # what the convolution may be off
    return Outcome(worst, where, sampled, clone)


def _share(found: Wide, exact: Wide, size: Wide, dtype: np.dtype[Any]) -> Wide:
    """The errors in units of their bounds; what the type cannot hold says nothing."""
    info = finfo(dtype)  # type: ignore[no-untyped-call]
    bound = FACTOR * float(info.eps) * size + len(exact[0]) * float(info.smallest_subnormal)
    with np.errstate(invalid="ignore"):
        share = np.abs(found - exact) / bound
    return np.where(size < float(info.max), np.nan_to_num(share, nan=np.inf), 0.0)


def _as_rows(found: Array, shape: tuple[int, ...]) -> Wide:
    """The result [N, M, *O] of a convolution, or [R, M] of a layer, as rows."""
    if found.size != np.prod(shape):
        raise UnmodelledError(f"the layer (alone it gives a result of shape {list(found.shape)})")
    return np.moveaxis(found, 1, -1).reshape(shape).astype(np.float64)


def _gemm(name: str, weight: Array, bias: Array | None, scale: Wide) -> _Side:
    """The layer as a Gemm of its name; a factor that is not one for all outputs is the weight's."""
    alpha = float(scale[0])
    if (scale != alpha).any():
        alpha, weight = 1.0, (weight.astype(np.float64) * scale[:, None]).astype(weight.dtype)
    return _Side(helper.make_node("Gemm", [], [], name, transB=1, alpha=alpha), weight, bias)


def _sum(sides: Sequence[_Side], given: Sequence[Array], dtype: np.dtype[Any]) -> tuple[Array, bool]:
    """Nodes in onnxruntime, their results added up, and whether one ran on a float32 clone, lacking in its own type."""
    found = [_run(side, x, dtype) for side, x in zip(sides, given, strict=True)]
    return sum((made for made, _ in found[1:]), start=found[0][0]), any(cloned for _, cloned in found)


def _run(side: _Side, given: Array, dtype: np.dtype[Any]) -> tuple[Array, bool]:
    operands = [given, side.weight, *([] if side.bias is None else [side.bias])]
    for kind in (dtype, np.dtype(np.float32)):
        try:
            made = run_node(side.node, [np.ascontiguousarray(each.astype(dtype).astype(kind)) for each in operands])
            return made, kind != dtype
        except RefusedError:
            if kind == np.float32:
                raise
    raise AssertionError
