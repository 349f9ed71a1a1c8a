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
from fc2conv.proof.values import UnmodelledError, fitting
from fc2conv.report.types import Check

FACTOR = 4.0
_ROWS = 8
_GROUPS = 4
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
            with fitting(site.pair.node):
                found.append((site, _outcome(site, captured.get(site.pair.fc_output))))
        except (RefusedError, UnmodelledError) as error:
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
    groups, index = _sampled(layer, order.shape[1])
    oriented = layer.oriented()
    weight = np.stack([some_rows(oriented[group], index) for group in groups])
    channels = (groups[:, None] * (layer.outputs // layer.groups) + index).reshape(-1)
    bias, biases = affine.per_output(layer), [convs.bias(call) for call in site.calls]
    if bias is None or not any(biases):  # where only one side has it, the other adds it in a node of its own
        bias, biases = None, [None for _ in biases]
    scale = affine.scale[channels].reshape(len(groups), -1)
    added = None if bias is None else np.asarray(bias)[channels].reshape(scale.shape)
    name = site.pair.node
    before = [_gemm(name, w, None if added is None else added[i], scale[i]) for i, w in enumerate(weight)]
    behind = [
        _Side(_in_groups(call.node, len(groups)), kernel[channels], None if b is None else b.array()[channels])
        for call, kernel, b in zip(site.calls, kernels, biases, strict=True)
    ]
    maps = _maps(layer, groups, order[groups], [kernel.shape for kernel in kernels], real)
    exact = weight.astype(np.float64) * scale[:, :, None]
    return _compared(exact, before, behind, maps, len(channels) < layer.outputs)


@dataclass(frozen=True)
class _Side:
    """A node with its weight or kernel, and a bias [M] or none."""

    node: NodeProto
    weight: Array
    bias: Array | None


def _sampled(layer: Layer, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which groups and which outputs of each are looked at: all of a small layer, else some.

    The outputs are neighbours, as their weights may be columns.
    """
    groups = np.unique(np.linspace(0, layer.groups - 1, min(layer.groups, _GROUPS)).astype(int))
    outputs = layer.outputs // layer.groups
    count = min(outputs, max(4, _WEIGHT // max(1, k * len(groups))))
    start = (outputs - count) // 2
    return groups, np.arange(start, start + count)


def _in_groups(node: NodeProto, groups: int) -> NodeProto:
    """A convolution in as many groups as are looked at."""
    made = NodeProto()
    made.CopyFrom(node)
    for attribute in made.attribute:
        if attribute.name == "group":
            attribute.i = groups
    return made


def _real_rows(layer: Layer, groups: NDArray[np.int64], width: int, real: Array | None) -> Array | None:
    """Some rows [G, R, K] of what a run fed the layer; None where they say nothing or sum over another batch."""
    if real is None or not real.size or not np.isfinite(real).all():
        return None
    rows = np.asarray(layer.rows(real))[groups]  # it moves numbers as it moves ids
    if rows.shape[-1] != width:
        return None
    return rows[:, np.unique(np.linspace(0, rows.shape[1] - 1, _ROWS).astype(int))]


def _maps(
    layer: Layer,
    groups: NDArray[np.int64],
    order: NDArray[np.int64],
    kernels: Sequence[Sequence[int]],
    real: Array | None,
) -> list[tuple[Array, list[Array]]]:
    """Rows [G, R, K], and for each kernel the maps that hold them: real ones, and N(0, 1) in two batches."""
    made: list[tuple[Array, list[Array]]] = []
    rng = np.random.default_rng([order.shape[1], layer.outputs])
    ends = np.cumsum([prod(kernel[1:]) for kernel in kernels])
    rows = _real_rows(layer, groups, order.shape[1], real)
    if rows is not None:
        parts = np.split(np.take_along_axis(rows, order[:, None], axis=-1), ends[:-1], axis=-1)
        made.append((rows, [_map(part, kernel) for part, kernel in zip(parts, kernels, strict=True)]))
    for batch in _BATCHES:
        images = [_dense(batch, len(groups), kernel, rng) for kernel in kernels]
        seen = [_windows(x, len(groups), kernel) for x, kernel in zip(images, kernels, strict=True)]
        rows = np.take_along_axis(np.concatenate(seen, axis=-1), np.argsort(order)[:, None], axis=-1)
        made.append((rows, images))
    return made


def _map(part: Array, kernel: Sequence[int]) -> Array:
    """Windows [G, R, J] as a map [R, G * C, *k] each."""
    groups, count = part.shape[:2]
    return np.moveaxis(part, 0, 1).reshape(count, groups * kernel[1], *kernel[2:])


def _dense(batch: int, groups: int, kernel: Sequence[int], rng: np.random.Generator) -> Array:
    """Maps on which a kernel has two places, one beside the other."""
    shape = (batch, groups * kernel[1], *kernel[2:-1], kernel[-1] + 1)
    return rng.standard_normal(shape).astype(np.float32)


def _windows(images: Array, groups: int, kernel: Sequence[int]) -> Array:
    """The windows [G, P, J] of maps [N, G * C, *S]."""
    seen = sliding_window_view(images, tuple(kernel[2:]), axis=tuple(range(2, images.ndim)))
    each = seen.reshape(len(images), groups, kernel[1], *seen.shape[2:])
    return np.moveaxis(each, (1, 2), (0, len(kernel))).reshape(groups, -1, prod(kernel[1:]))


def _compared(
    weight: Wide,
    before: Sequence[_Side],
    behind: Sequence[_Side],
    maps: Sequence[tuple[Array, list[Array]]],
    sampled: bool,
) -> Outcome:
    """Weights [G, M, K], a layer for each group, and the convolutions, on rows [G, R, K] and their maps."""
    dtype = behind[0].weight.dtype
    zero = np.zeros(weight.shape[1])
    bias = np.stack([zero if each.bias is None else each.bias.astype(np.float64) for each in before])[:, None]
    sizes = np.abs(weight)
    worst, where, clone = 0.0, "", False
    for rows, images in maps:
        wide = rows.astype(dtype).astype(np.float64)
        exact = wide @ weight.swapaxes(1, 2) + bias
        size = np.abs(wide) @ sizes.swapaxes(1, 2) + np.abs(bias)
        allowed = limit = 1.0 + wide.shape[-1] / FACTOR  # K * eps, in units of the bound
        for name in ("layer", "convolution"):
            found, cloned = _each(before, rows, dtype) if name == "layer" else _sum(behind, images, dtype)
            clone = clone or cloned
            found = _as_rows(found, exact.shape)
            share = _share(found, exact, size, np.dtype(np.float32) if cloned else dtype)
            if share.max() / allowed > worst:
                at = tuple(int(i) for i in np.unravel_index(int(share.argmax()), share.shape))
                worst = float(share[at]) / allowed
                output = at[0] * weight.shape[1] + at[2]
                where = f"its {name} alone gives {found[at]:.9g} for output {output} of row {at[1]}"
                where += f", exact is {exact[at]:.9g}"
            allowed = min(max(1.0, 2 * float(share.max())), limit)  # what the convolution may be off
    return Outcome(worst, where, sampled, clone)


def _share(found: Wide, exact: Wide, size: Wide, dtype: np.dtype[Any]) -> Wide:
    """The errors in units of their bounds; what the type cannot hold says nothing."""
    info = finfo(dtype)  # type: ignore[no-untyped-call]
    bound = FACTOR * float(info.eps) * size + exact.shape[-1] * float(info.smallest_subnormal)
    with np.errstate(invalid="ignore"):
        share = np.abs(found - exact) / bound
    return np.where(size < float(info.max), np.nan_to_num(share, nan=np.inf), 0.0)


def _as_rows(found: Array, shape: tuple[int, ...]) -> Wide:
    """The result [N, G * M, *O] of a convolution, or [R, G * M] of a layer, as rows [G, R, M]."""
    if found.size != np.prod(shape):
        raise UnmodelledError(f"the layer (alone it gives a result of shape {list(found.shape)})")
    groups, count, outputs = shape
    return np.moveaxis(np.moveaxis(found, 1, -1).reshape(count, groups, outputs), 0, 1).astype(np.float64)


def _gemm(name: str, weight: Array, bias: Array | None, scale: Wide) -> _Side:
    """The layer as a Gemm of its name; a factor that is not one for all outputs is the weight's."""
    alpha = float(scale[0])
    if (scale != alpha).any():
        alpha, weight = 1.0, (weight.astype(np.float64) * scale[:, None]).astype(weight.dtype)
    return _Side(helper.make_node("Gemm", [], [], name, transB=1, alpha=alpha), weight, bias)


def _each(sides: Sequence[_Side], rows: Array, dtype: np.dtype[Any]) -> tuple[Array, bool]:
    """The layers of all groups in onnxruntime, their results [R, M] side by side."""
    found = [_run(side, x, dtype) for side, x in zip(sides, rows, strict=True)]
    return np.concatenate([made for made, _ in found], axis=1), any(cloned for _, cloned in found)


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
