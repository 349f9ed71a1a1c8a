"""A judge of sliding networks with no code of theirs: onnxruntime, numpy, and what the file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx
from execute import run
from onnx import ModelProto, ValueInfoProto, helper
from onnx.utils import Extractor

import fc2conv
from fc2conv import Options, SlidingOptions

Array = np.ndarray[Any, Any]
CLOSE = 2e-5
"""max|a - b| against max|a|, for sums of float32 in another order."""


def slid(model: ModelProto, scope: Any = "spatial", **options: Any) -> ModelProto:
    """The sliding model, not verified by the tool itself."""
    given = Options(sliding=SlidingOptions(**options), verify=False, scope=scope)
    found = fc2conv.convert(model, options=given).model
    assert found is not None
    onnx.checker.check_model(found, full_check=True)
    return found


def accepted(model: ModelProto, **options: Any) -> ModelProto:
    """The sliding model, verified by the tool as well."""
    converted = fc2conv.convert(model, options=Options(sliding=SlidingOptions(**options)))
    assert converted.report.verification is not None
    assert converted.report.verification.verdict.accepted
    assert converted.model is not None
    return converted.model


def geometry(model: ModelProto, output: str) -> dict[str, Any]:
    """What the file says of an output."""
    given = {p.key: p.value for p in model.metadata_props}
    found: dict[str, Any] = json.loads(given[f"fc2conv.geometry.{output}"])
    return found


def image(model: ModelProto, sizes: Mapping[int, int], batch: int = 1, seed: int = 0) -> dict[str, Array]:
    """A random input; `sizes` by dimension, in place of what the model says."""
    (value,) = [v for v in model.graph.input if v.name not in {t.name for t in model.graph.initializer}]
    dims = value.type.tensor_type.shape.dim
    shape = [sizes.get(i, dim.dim_value or batch) for i, dim in enumerate(dims)]
    random = np.random.default_rng(seed)
    if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        return {value.name: random.integers(0, 256, shape).astype(np.uint8)}
    return {value.name: random.standard_normal(shape).astype(np.float32)}


def apart(one: Array, other: Array) -> float:
    """The largest difference in units of the largest magnitude of the first."""
    assert one.shape == other.shape, (one.shape, other.shape)
    return float(np.abs(one.astype(np.float64) - other).max() / np.abs(one).max())


def at_training_size(original: ModelProto, sliding: ModelProto, batch: int = 2) -> float:
    """How far the outputs are apart there, for outputs [N, M] that became [N, M, 1 ..]."""
    given = image(original, {}, batch)
    pairs = zip(run(original, given), run(sliding, given), strict=True)
    return max(apart(a.reshape(b.shape), b) for a, b in pairs)


def at_crops(original: ModelProto, sliding: ModelProto, sizes: Sequence[int], output: int = 0) -> float:
    """How far each cell is from the original on the crop that the geometry places it at."""
    name = sliding.graph.output[output].name
    axes = geometry(sliding, name)["axes"]
    (value,) = [v for v in original.graph.input if v.name == axes[0]["input"]]
    # Crops of the last cells may reach beyond the image, to pixels that no window reads.
    given = image(original, {axis["dim"]: size + axis["size"] for axis, size in zip(axes, sizes, strict=True)})
    seen = [slice(None)] * len(value.type.tensor_type.shape.dim)
    for axis, size in zip(axes, sizes, strict=True):
        seen[axis["dim"]] = slice(size)
    cells = run(sliding, {value.name: np.ascontiguousarray(given[value.name][tuple(seen)])})[output]
    worst = 0.0
    assert prod(cells.shape[2:]) > 1
    for place in product(*map(range, cells.shape[2:])):
        cut = [slice(None)] * len(value.type.tensor_type.shape.dim)
        for axis, i in zip(axes, place, strict=True):
            start = int(axis["stride"] * i)
            cut[axis["dim"]] = slice(start, start + axis["size"])
        crop = {value.name: np.ascontiguousarray(given[value.name][tuple(cut)])}
        wanted = run(original, crop)[output].reshape(-1)
        worst = max(worst, apart(wanted, cells[(0, slice(None), *place)].reshape(-1)))
    return worst


def with_outputs(model: ModelProto, *names: str) -> ModelProto:
    """The model with more outputs."""
    new = ModelProto()
    new.CopyFrom(model)
    new.graph.output.extend(ValueInfoProto(name=name) for name in names)
    return new


def at_windows(
    original: ModelProto,
    sliding: ModelProto,
    features: str,
    extent: Sequence[int],
    sizes: Mapping[int, int],
    step: int = 1,
) -> int:
    """Holds every cell of the first map against the original's head on that window of the features [N, C, *S]."""
    output = original.graph.output[0].name
    inferred = onnx.shape_inference.infer_shapes(original)
    if all(value.name != features for value in inferred.graph.value_info):
        inferred.graph.value_info.append(helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, None))
    head = Extractor(inferred).extract_model([features], [output])
    found = run(with_outputs(sliding, features), image(original, sizes))
    cells, maps = found[0], found[-1]
    count = 0
    for place in product(*map(range, cells.shape[2:])):
        cut = [slice(i * step, i * step + n) for i, n in zip(place, extent, strict=True)]
        window = np.ascontiguousarray(maps[(slice(None), slice(None), *cut)])
        wanted = run(head, {features: window})[0].reshape(-1)
        assert apart(wanted, cells[(0, slice(None), *place)].reshape(-1)) < CLOSE, place
        count += 1
    assert count > 1
    return count
