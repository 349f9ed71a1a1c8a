"""What is fed: the range of each input, from what the caller says, the model's quantization or metadata, or a guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key

_PIXELS = {"NominalRange_0_255": (0.0, 255.0), "Normalized_0_1": (0.0, 1.0), "Normalized_1_1": (-1.0, 1.0),
           "NominalRange_16_235": (16.0, 235.0)}  # fmt: skip
"""The ONNX specification's metadata on images (docs/MetadataProps.md), for `Image.NominalPixelRange`."""
_SMALL = 2
_WORDS = ("a", "b", "one", "two")


@dataclass(frozen=True)
class Fill:
    """How inputs are filled: `ranges` by name, from `low` to `high`; all other floats as `default` says.

    A `default` of None is N(0, 1). `said` tells where the ranges come from.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    default: tuple[float, float] | None = None
    said: str = "N(0, 1)"

    def numbers(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator
    ) -> NDArray[Any]:
        """Numbers of one input."""
        if dtype.kind in "OSU":
            return rng.choice(np.array(_WORDS, dtype=object), shape)
        low, high = self.ranges.get(name, (0, _SMALL - 1) if dtype.kind in "biu" else self.default or (0, 0))
        if dtype.kind in "biu":
            return np.asarray(rng.integers(int(low), int(high) + 1, shape)).astype(dtype)
        if name not in self.ranges and self.default is None:
            return np.asarray(rng.standard_normal(shape)).astype(dtype)
        return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


def fills(file: ModelFile, given: tuple[float, float] | None) -> Iterator[Fill]:
    """What is tried, in this order, until the model's outputs say something."""
    known = dict(_known(file))
    if given is not None:
        low, high = given
        yield Fill({**known, **dict.fromkeys(_floats(file.model), given)}, given, f"[{low:g}, {high:g}], as given")
        return
    told = ", ".join(f"{name} in [{low:g}, {high:g}]" for name, (low, high) in known.items())
    yield Fill(known, None, f"N(0, 1), {told}" if told else "N(0, 1)")
    yield Fill(known, (0.0, 1.0), f"[0, 1], as N(0, 1) shows too little{', ' if told else ''}{told}")
    yield Fill(known, (0.0, 255.0), f"[0, 255], as less shows too little{', ' if told else ''}{told}")


def _floats(model: ModelProto) -> list[str]:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    return [v.name for v in model.graph.input if v.type.tensor_type.elem_type in kinds]


def _known(file: ModelFile) -> Iterator[tuple[str, tuple[float, float]]]:
    model = file.model
    weights = {t.name: t for t in model.graph.initializer}
    pixels = {p.key: p.value for p in model.metadata_props}.get("Image.NominalPixelRange", "")
    for info in model.graph.input:
        if info.name in weights:
            continue
        tensor = info.type.tensor_type
        readers = [node for node in model.graph.node if info.name in node.input]
        found = next((told for node in readers if (told := _told(file, node, info.name, weights))), None)
        if found is not None:
            yield info.name, found
        elif len(tensor.shape.dim) >= 3 and tensor.elem_type in (TensorProto.UINT8, TensorProto.INT8):
            bounds = np.iinfo(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            yield info.name, (float(bounds.min), float(bounds.max))
        elif pixels in _PIXELS and len(tensor.shape.dim) >= 3 and info.name in _floats(model):
            yield info.name, _PIXELS[pixels]


def _told(
    file: ModelFile, node: NodeProto, name: str, weights: Mapping[str, TensorProto]
) -> tuple[float, float] | None:
    """What one reader says of an input: the range that it quantizes, or the size of the axis that it indexes."""
    if node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[0] == name:
        scale, zero = (weights.get(node.input[i]) for i in (1, 2))
        if scale is None or zero is None or any(payload_key(t) is not None for t in (scale, zero)):
            return None
        s, z = file.array(scale).reshape(-1), file.array(zero).reshape(-1)
        if s.size != 1 or z.size != 1 or z.dtype.kind not in "iu":
            return None
        bounds = np.iinfo(z.dtype)
        return float((bounds.min - int(z[0])) * float(s[0])), float((bounds.max - int(z[0])) * float(s[0]))
    if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] == name and node.input[0] in weights:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        return 0.0, float(weights[node.input[0]].dims[axis] - 1)
    return None
