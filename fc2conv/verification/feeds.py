"""Inputs for two models: shapes that the original can run on, and seeded numbers in the range that the model names."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import declared_size
from fc2conv.verification.nodes import integer

Feeds = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]
Place = tuple[str, int]
"""An input and one of its dimensions."""

_SETTINGS = ((64, 8), (224, 8), (32, 16), (28, 1), (16, 32), (299, 64), (128, 128), (256, 256), (96, 2), (8, 4),
             (1, 1))  # fmt: skip
"""(size of unknown spatial dimensions, size of all other unknown ones), in the order in which they are tried.

Larger maps come first, as on a map of 1x1 every layout is the same.
"""
_PIXELS = {"NominalRange_0_255": (0.0, 255.0), "Normalized_0_1": (0.0, 1.0), "Normalized_1_1": (-1.0, 1.0),
           "NominalRange_16_235": (16.0, 235.0)}  # fmt: skip
"""The ONNX specification's metadata on images (docs/MetadataProps.md), for `Image.NominalPixelRange`."""
_MOST_STEPS = 3.0
"""How many steps a Loop takes at most whose number is an input."""
_WORDS = ("a", "b", "one", "two")


# ------------------------------------------------------------------ shapes


@dataclass(frozen=True)
class Setting:
    """The sizes of unknown dimensions: the batch (an unknown first one), spatial ones (of rank 4 and up), others.

    Dimensions that are `fixed` have a size of their own.
    """

    batch: int
    spatial: int
    other: int
    ones: bool = False
    fixed: Mapping[Place, int] = field(default_factory=dict)


def settings() -> Iterator[Setting]:
    """Yield settings for batch 1, likeliest first; integers are 0 and 1, and in a last round all 1."""
    for ones in (False, True):
        for spatial, other in _SETTINGS:
            yield Setting(1, spatial, other, ones)


def inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the graph inputs that a caller must give."""
    weights = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in weights]


def unsupported(model: ModelProto, given: Collection[str] = ()) -> str:
    """Name the first input for which no numbers can be made, and say why; "" if there is no such input.

    The caller gives the shapes of those inputs that are `given`.
    """
    for info in inputs(model):
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type") or kind.elem_type == TensorProto.UNDEFINED:
            return f"the input {info.name} is {type_name(info.type)}, for which no values are made"
        if not kind.HasField("shape") and info.name not in given:
            return f"the input {info.name} has no shape"
    return ""


def type_name(kind: TypeProto) -> str:
    """Write a type as onnxruntime does, for example `sequence(tensor(float))`."""
    which = kind.WhichOneof("value")
    if which is None:
        return "of no type"
    inner = getattr(kind, which)
    name = which.removesuffix("_type")
    if which in ("sequence_type", "optional_type"):
        return f"{name}({type_name(inner.elem_type)})"
    if which == "map_type":
        return f"map({_element(inner.key_type)},{type_name(inner.value_type)})"
    return f"{name}({_element(inner.elem_type)})" if which.endswith("tensor_type") else name


def _element(kind: int) -> str:
    known = kind in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(kind)).lower() if known else f"element type {kind}"


Given = Mapping[str, tuple[int, ...]]
_Dims = Sequence[tuple[int | None, str]]
"""For each dimension its size (None where it is open) and its symbol ("" where it has no symbol)."""


def dynamic_batch(model: ModelProto, given: Given) -> bool:
    """Return whether the first dimension of some input is open."""
    return any(axis == 0 for group in open_places(model, given) for _, axis in group)


def shapes(model: ModelProto, setting: Setting, given: Given) -> Shapes:
    """Return concrete shapes of all inputs; dimensions of one symbol have one size."""
    known = {info.name: _dims(info, given) for info in inputs(model)}
    batch = {dims[0][1] for dims in known.values() if dims} - {""}

    def size(name: str, axis: int) -> int:
        size, symbol = known[name][axis]
        other = setting.spatial if _spatial(known[name], axis) else setting.other
        return size or setting.fixed.get((name, axis)) or (setting.batch if axis == 0 or symbol in batch else other)

    return {name: tuple(size(name, axis) for axis in range(len(dims))) for name, dims in known.items()}


def open_places(model: ModelProto, given: Given) -> list[list[Place]]:
    """Return the open dimensions of the inputs, those of one symbol together."""
    groups: dict[object, list[Place]] = {}
    for info in inputs(model):
        for axis, (size, symbol) in enumerate(_dims(info, given)):
            if size is None:
                groups.setdefault(symbol or (info.name, axis), []).append((info.name, axis))
    return list(groups.values())


def other_places(model: ModelProto, given: Given) -> list[list[Place]]:
    """Return the open dimensions that are not the batch: those after the first, and a first one of another symbol."""
    known = {info.name: _dims(info, given) for info in inputs(model)}
    return [g for g in places_beside_batch(model, given) if all(axis or known[name][0][1] for name, axis in g)]


def places_beside_batch(model: ModelProto, given: Given) -> list[list[Place]]:
    """Return the open dimensions apart from the first group with a first dimension, which is the batch if one is."""
    groups = open_places(model, given)
    first = next((group for group in groups if any(axis == 0 for _, axis in group)), [])
    return [group for group in groups if group != first]


def distinct(model: ModelProto, setting: Setting, given: Given, step: int) -> Setting:
    """Return a setting where no two open dimensions are equal: equal sizes would hide that one replaces the other."""
    base, fixed, taken = shapes(model, setting, given), dict(setting.fixed), {setting.batch}
    for group in other_places(model, given):
        size = next(size for size in count(base[group[0][0]][group[0][1]], step) if size not in taken)
        fixed.update(dict.fromkeys(group, size))
        taken.add(size)
    return replace(setting, fixed=fixed)


def is_spatial(model: ModelProto, place: Place) -> bool:
    """Return whether a dimension is one of an image's sides."""
    name, axis = place
    return any(_spatial(_dims(info, {}), axis) for info in inputs(model) if info.name == name) and axis > 0


def _dims(info: ValueInfoProto, given: Given) -> _Dims:
    """List the dimensions of an input as the caller gives them, else as they are declared."""
    dims = info.type.tensor_type.shape.dim
    sizes = given.get(info.name) or [declared_size(dim) or 0 for dim in dims]
    symbols = [str(dim.dim_param) for dim in dims] or [""] * len(sizes)
    return [(size if size > 0 else None, symbol) for size, symbol in zip(sizes, symbols, strict=True)]


def _spatial(dims: _Dims, axis: int) -> bool:
    """Return whether an axis is one of an image, [N, C, H, W] or [N, H, W, C]; a last size of up to 4 is channels."""
    rank, last = len(dims), dims[-1][0]
    return rank >= 4 and (axis < rank - 1 if last is not None and last <= 4 else axis >= 2)


# ------------------------------------------------------------------ numbers


@dataclass(frozen=True)
class Fill:
    """How inputs are filled: `ranges` by name, from `low` to `high`; all other floats as `default` says.

    A `default` of None is N(0, 1), and `ones` makes all integers 1. `said` is where the ranges come from, in words.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    default: tuple[float, float] | None = None
    said: str = "N(0, 1)"
    ones: bool = False

    def numbers(self, info: ValueInfoProto, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        """Make numbers for one input."""
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
        if dtype.kind in "OSU":
            return rng.choice(np.array(_WORDS, dtype=object), shape)
        whole = dtype.kind in "biu"
        if whole and self.ones:
            return np.ones(shape, dtype)
        bounds = self.ranges.get(info.name, (0, 1) if whole else self.default)
        if bounds is None:
            return np.asarray(rng.standard_normal(shape)).astype(dtype)
        low, high = bounds
        made = rng.integers(int(low), int(high) + 1, shape) if whole else rng.uniform(low, high, shape)
        return np.asarray(made).astype(dtype)


def feeds(model: ModelProto, sizes: Shapes, fill: Fill, seed: int, index: int) -> Feeds:
    """Make numbers for every input, as `fill` says; they depend on seed, name and index alone."""
    found = {}
    for info in inputs(model):
        rng = np.random.default_rng([seed, zlib.crc32(info.name.encode()), index])
        found[info.name] = fill.numbers(info, sizes[info.name], rng)
    return found


def fills(file: ModelFile, given: tuple[float, float] | None) -> Iterator[Fill]:
    """Yield the ways to fill inputs, in the order in which they are tried until the outputs say something."""
    known = dict(_known(file))
    if given is not None:
        low, high = given
        yield Fill({**known, **dict.fromkeys(_floats(file.model), given)}, given, f"[{low:g}, {high:g}], as given")
        return
    ranges = "".join(f", {name} in [{low:g}, {high:g}]" for name, (low, high) in known.items())
    yield Fill(known, None, f"N(0, 1){ranges}")
    yield Fill(known, (0.0, 1.0), f"[0, 1], as N(0, 1) shows too little{ranges}")
    yield Fill(known, (0.0, 255.0), f"[0, 255], as less shows too little{ranges}")


def _floats(model: ModelProto) -> list[str]:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    return [v.name for v in model.graph.input if v.type.tensor_type.elem_type in kinds]


def _known(file: ModelFile) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the ranges that the model names: by nodes that quantize or index with an input, by metadata, by bytes."""
    model = file.model
    weights = {t.name: t for t in model.graph.initializer}
    pixels = {p.key: p.value for p in model.metadata_props}.get("Image.NominalPixelRange", "")
    for info in inputs(model):
        tensor = info.type.tensor_type
        readers = (_read(file, node, info.name, weights) for node in model.graph.node if info.name in node.input)
        found = next(filter(None, readers), None)
        if found is None and len(tensor.shape.dim) >= 3:
            if tensor.elem_type in (TensorProto.UINT8, TensorProto.INT8):
                bounds = np.iinfo(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
                found = float(bounds.min), float(bounds.max)
            elif info.name in _floats(model):
                found = _PIXELS.get(pixels)
        if found is not None:
            yield info.name, found


def _read(
    file: ModelFile, node: NodeProto, name: str, weights: Mapping[str, TensorProto]
) -> tuple[float, float] | None:
    """Return the range that a reader asks of an input: what it quantizes, the axis that it indexes, or some steps."""
    if node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[0] == name:
        scale, zero = (weights.get(node.input[i]) for i in (1, 2))
        if scale is None or zero is None or prod(scale.dims) != 1 or prod(zero.dims) != 1:
            return None
        s, z = file.array(scale).item(), file.array(zero).reshape(-1)
        bounds = np.iinfo(z.dtype) if z.dtype.kind in "iu" else None
        return None if bounds is None else ((bounds.min - int(z[0])) * s, (bounds.max - int(z[0])) * s)
    if node.op_type == "Loop" and node.input[0] == name:
        return 1.0, _MOST_STEPS
    if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] == name and node.input[0] in weights:
        return 0.0, float(weights[node.input[0]].dims[integer(node, "axis", 0)] - 1)
    return None
