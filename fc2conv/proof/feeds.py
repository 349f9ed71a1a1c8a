"""Inputs for two models: shapes that the original can run on, and seeded numbers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto, helper

from fc2conv.proof.inputs import Fill

Feeds = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]

_SETTINGS = ((64, 8), (224, 8), (32, 16), (28, 1), (16, 32), (299, 64), (128, 128), (256, 256), (96, 2), (8, 4),
             (1, 1))  # fmt: skip
"""(size of unknown spatial dimensions, size of all other unknown ones), in the order in which they are tried.

Larger maps come first, as on a map of 1x1 every layout is the same.
"""

_NORMAL = Fill()


@dataclass(frozen=True)
class Setting:
    """What unknown dimensions become: the batch (an unknown first one), spatial ones (of rank 4 and up), others."""

    batch: int
    spatial: int
    other: int
    ones: bool = False


def settings() -> Iterator[Setting]:
    """Settings for batch 1, likeliest first; integers are 0 and 1, and in a last round all 1."""
    for ones in (False, True):
        for spatial, other in _SETTINGS:
            yield Setting(1, spatial, other, ones)


def inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The graph inputs that a caller must give."""
    weights = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in weights]


def unsupported(model: ModelProto) -> str:
    """The first input for which no numbers can be made, in words; "" if there is none."""
    for info in inputs(model):
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type") or kind.elem_type == TensorProto.UNDEFINED:
            return f"the input {info.name} is {type_name(info.type)}, for which no values are made"
        if not kind.HasField("shape"):
            return f"the input {info.name} has no shape"
    return ""


def type_name(kind: TypeProto) -> str:
    """A type as onnxruntime writes it, such as `sequence(tensor(float))`."""
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


def dynamic_batch(model: ModelProto, given: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the first dimension of some input is open."""
    open_inputs = (v for v in inputs(model) if v.name not in given and v.type.tensor_type.shape.dim)
    return any(_size(v, 0) is None for v in open_inputs)


def dynamic_sizes(model: ModelProto, given: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a dimension other than the first of some input is open, and not the batch by another name."""
    open_inputs = [v for v in inputs(model) if v.name not in given]
    batch = {v.type.tensor_type.shape.dim[0].dim_param for v in open_inputs if v.type.tensor_type.shape.dim}
    return any(
        _size(v, axis) is None and (not dim.dim_param or dim.dim_param not in batch)
        for v in open_inputs
        for axis, dim in enumerate(v.type.tensor_type.shape.dim)
        if axis
    )


def shapes(model: ModelProto, setting: Setting, given: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Concrete shapes of all inputs; dimensions of one symbol have one size."""
    symbols: dict[str, int] = {}
    for info in inputs(model):
        dims = info.type.tensor_type.shape.dim
        if dims and dims[0].dim_param:
            symbols[dims[0].dim_param] = setting.batch
    return {info.name: given.get(info.name) or _shape(info, setting, symbols) for info in inputs(model)}


def _size(info: ValueInfoProto, axis: int) -> int | None:
    """A dimension's size; -1 and 0 stand in files where it is not known."""
    dim = info.type.tensor_type.shape.dim[axis]
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None


def _shape(info: ValueInfoProto, setting: Setting, symbols: Mapping[str, int]) -> tuple[int, ...]:
    dims = info.type.tensor_type.shape.dim
    made = []
    for axis, dim in enumerate(dims):
        size = _size(info, axis)
        default = setting.batch if axis == 0 else setting.spatial if _spatial(info, axis) else setting.other
        made.append(size if size is not None else symbols.get(dim.dim_param, default) if dim.dim_param else default)
    return tuple(made)


def _spatial(info: ValueInfoProto, axis: int) -> bool:
    """In an image, as [N, C, H, W] or as [N, H, W, C]; a known last dimension of up to 4 are channels."""
    rank = len(info.type.tensor_type.shape.dim)
    if rank < 4:
        return False
    last = _size(info, rank - 1)
    return axis < rank - 1 if last is not None and last <= 4 else axis >= 2


def feeds(model: ModelProto, made: Shapes, seed: int, index: int, ones: bool, fill: Fill = _NORMAL) -> Feeds:
    """Numbers for every input, as `fill` says, integers all 1 with `ones`; by seed, name and index alone."""
    return {info.name: _numbers(info, made[info.name], seed, index, ones, fill) for info in inputs(model)}


def _numbers(
    info: ValueInfoProto, shape: tuple[int, ...], seed: int, index: int, ones: bool, fill: Fill
) -> NDArray[Any]:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    rng = np.random.default_rng([seed, zlib.crc32(info.name.encode()), index])
    return np.ones(shape, dtype) if ones and dtype.kind in "biu" else fill.numbers(info.name, dtype, shape, rng)
