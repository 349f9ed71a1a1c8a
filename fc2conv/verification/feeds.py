"""Inputs for two models: shapes that the original can run on, and seeded numbers."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto, helper

from fc2conv.io.sizes import declared_size
from fc2conv.verification.inputs import Fill

Feeds = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]

_SETTINGS = ((64, 8), (224, 8), (32, 16), (28, 1), (16, 32), (299, 64), (128, 128), (256, 256), (96, 2), (8, 4),
             (1, 1))  # fmt: skip
"""(size of unknown spatial dimensions, size of all other unknown ones), in the order in which they are tried.

Larger maps come first, as on a map of 1x1 every layout is the same.
"""

_NORMAL = Fill()


Place = tuple[str, int]
"""An input and one of its dimensions."""


@dataclass(frozen=True)
class Setting:
    """What unknown dimensions become: the batch (an unknown first one), spatial ones (of rank 4 and up), others.

    Those that are `fixed` have a size of their own.
    """

    batch: int
    spatial: int
    other: int
    ones: bool = False
    fixed: Mapping[Place, int] = field(default_factory=dict)


def settings() -> Iterator[Setting]:
    """Settings for batch 1, likeliest first; integers are 0 and 1, and in a last round all 1."""
    for ones in (False, True):
        for spatial, other in _SETTINGS:
            yield Setting(1, spatial, other, ones)


def inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The graph inputs that a caller must give."""
    weights = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in weights]


def unsupported(model: ModelProto, given: Collection[str] = ()) -> str:
    """The first input for which no numbers can be made, in words; "" if there is none.

    The caller says the shapes of those that are `given`.
    """
    for info in inputs(model):
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type") or kind.elem_type == TensorProto.UNDEFINED:
            return f"the input {info.name} is {type_name(info.type)}, for which no values are made"
        if not kind.HasField("shape") and info.name not in given:
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


_Given = Mapping[str, tuple[int, ...]]
_Dims = Sequence[tuple[int | None, str]]
"""Of each dimension its size, None where it is open, and its symbol, "" where it has none."""


def dynamic_batch(model: ModelProto, given: _Given) -> bool:
    """Whether the first dimension of some input is open."""
    return any(dims[0][0] is None for v in inputs(model) if (dims := _dims(v, given)))


def dynamic_sizes(model: ModelProto, given: _Given) -> bool:
    """Whether a dimension other than the first of some input is open, and not the batch by another name."""
    known = [dims for v in inputs(model) if (dims := _dims(v, given))]
    batch = {symbol for (size, symbol), *_ in known if size is None and symbol}
    return any(size is None and symbol not in batch for _, *rest in known for size, symbol in rest)


def shapes(model: ModelProto, setting: Setting, given: _Given) -> Shapes:
    """Concrete shapes of all inputs; dimensions of one symbol have one size."""
    known = {info.name: _dims(info, given) for info in inputs(model)}
    batch = {dims[0][1] for dims in known.values() if dims} - {""}
    return {name: _shape(name, dims, setting, batch) for name, dims in known.items()}


def _dims(info: ValueInfoProto, given: _Given) -> _Dims:
    """Lists the dimensions of an input as the caller gives them, else as they are declared."""
    dims = info.type.tensor_type.shape.dim
    sizes = given.get(info.name) or [declared_size(dim) or 0 for dim in dims]
    symbols = [str(dim.dim_param) for dim in dims] or [""] * len(sizes)
    return [(size if size > 0 else None, symbol) for size, symbol in zip(sizes, symbols, strict=True)]


def _shape(name: str, dims: _Dims, setting: Setting, batch: Collection[str]) -> tuple[int, ...]:
    made = []
    for axis, (size, symbol) in enumerate(dims):
        other = setting.spatial if _spatial(dims, axis) else setting.other
        fixed = setting.fixed.get((name, axis))
        made.append(size or fixed or (setting.batch if axis == 0 or symbol in batch else other))
    return tuple(made)


def open_places(model: ModelProto, given: _Given) -> list[list[Place]]:
    """The open dimensions of the inputs, those of one symbol together."""
    groups: dict[object, list[Place]] = {}
    for info in inputs(model):
        for axis, (size, symbol) in enumerate(_dims(info, given)):
            if size is None:
                groups.setdefault(symbol or (info.name, axis), []).append((info.name, axis))
    return list(groups.values())


def is_spatial(model: ModelProto, place: Place) -> bool:
    """Whether a dimension is one of an image's sides."""
    name, axis = place
    return any(_spatial(_dims(info, {}), axis) for info in inputs(model) if info.name == name) and axis > 0


def _spatial(dims: _Dims, axis: int) -> bool:
    """Whether a dimension is one of an image, [N, C, H, W] or [N, H, W, C], where up to 4 are channels."""
    rank, last = len(dims), dims[-1][0]
    if rank < 4:
        return False
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
