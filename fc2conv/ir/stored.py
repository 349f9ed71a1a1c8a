"""Constants as they are stored: a tensor of the model (or computed values) seen through a layout over its axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import BLOCKED, ROUNDING, SCALED
from fc2conv.ir.graph import attribute, int_attribute, op, own_op
from fc2conv.layout.axes import Axis, Dim, Layout, Size, cached, normal, size_of

QUANTIZERS = ROUNDING.union(("QuantizeLinear", "DequantizeLinear"))
"""Operators of quantization, which stay in front of a new form."""


@dataclass(frozen=True, eq=False)
class Replay:
    """An elementwise node on the way from the stored values to the constant, which is run on the new form as well.

    `dim` are the stored tensor's axes along which its parameters vary (none: they are scalars); `block` how many
    indices of that dimension share one (0: each has its own). `layout` has the dimensions of what the node read.
    """

    node: NodeProto
    dim: Dim = ()
    block: int = 0
    layout: Layout = ()


@dataclass(frozen=True)
class Stored:
    """A constant as it is stored, seen through a layout.

    `values` is a tensor of the model, an array that was computed, or (for ConstantOfShape) an array of one value
    that fills the whole; `base` is the shape in which they are stored and `layout` the constant's dimensions over
    that shape's axes. `data_type` is the TensorProto.DataType of what is stored. `window` is the part (axis, start,
    stop) of what is stored that is meant, if not the whole; `base` is then its shape. `replay` are the nodes that
    make the constant of it (Cast, QuantizeLinear, DequantizeLinear), and `made_type` the type that they make.
    """

    values: TensorProto | np.ndarray
    base: tuple[int, ...]
    layout: Layout
    data_type: int
    filled: bool = False
    window: tuple[int, int, int] | None = None
    replay: tuple[Replay, ...] = ()
    made_type: int = 0

    @property
    def type(self) -> int:
        return self.made_type or self.data_type

    @property
    def quantized(self) -> bool:
        """Whether nodes of quantization make it, whose products round: they stay, and are not computed."""
        return any(own_op(replay.node) in QUANTIZERS for replay in self.replay)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(size_of(dim).coefficient for dim in self.layout)


@dataclass(frozen=True)
class Matrix:
    """Which dimensions of a weight, counted from its end, are its rows (summed over) and which its outputs.

    `groups` are dimensions with a matrix for each index, whose outputs follow each other; where none are named, they
    are those before the matrix.
    """

    rows: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """How many dimensions one matrix has."""
        return len(self.rows) + len(self.outputs)

    def side_by_side(self, rank: int) -> tuple[int, ...]:
        """Return the dimensions of a weight of this rank that have a matrix for each index."""
        return self.groups or tuple(range(-rank, -self.rank))


def part(stored: Stored, dim: int, start: int, stop: int) -> Stored | None:
    """Return the indices start..stop of one dimension; None where it is not one whole axis of the stored tensor."""
    axes = stored.layout[dim]
    roots = [f"w{i}" for i in range(len(stored.base))]
    if len(axes) != 1 or stored.window or axes[0] != Axis(axes[0].root, Size(stored.shape[dim])):
        return None
    if any(each.block or any(axis.root == axes[0].root for axis in each.dim) for each in stored.replay):
        return None
    at = roots.index(axes[0].root)
    if stored.base[at] != stored.shape[dim]:
        return None
    base = (*stored.base[:at], stop - start, *stored.base[at + 1 :])
    new = axes[0]._replace(size=Size(stop - start))
    layout = normal(tuple(new if axis == axes[0] else axis for axis in d) for d in stored.layout)
    return replace(stored, base=base, layout=layout, window=(at, start, stop))


def windowed(values: np.ndarray, window: tuple[int, int, int] | None) -> np.ndarray:
    """Return the part (axis, start, stop) of an array; all of it without a window."""
    if window is None:
        return values
    axis, start, stop = window
    return values[(slice(None),) * axis + (slice(start, stop),)]


@cached
def base_layout(base: tuple[int, ...]) -> Layout:
    """Return the layout of a tensor as it is stored: one axis for each dimension."""
    return normal((Axis(f"w{i}", Size(size)),) for i, size in enumerate(base))


def stored_values(values: TensorProto | np.ndarray) -> Stored:
    """Return a constant whose dimensions are those in which it is stored."""
    if isinstance(values, TensorProto):
        dims = tuple(values.dims[:])
        return Stored(values, dims, base_layout(dims), values.data_type)
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    return Stored(values, values.shape, base_layout(values.shape), kind)


def constant_node(node: NodeProto) -> Stored | None:
    """Return the value of a Constant node; None for strings and sparse tensors."""
    value = attribute(node, "value")
    if value is not None:
        return stored_values(value.t)
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        found = attribute(node, name)
        if found is not None:
            kind = np.float32 if "float" in name else np.int64
            return stored_values(np.array(helper.get_attribute_value(found), kind))
    return None


def scales_of(shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...]:
    """Return the shape of the scales along one dimension of a tensor: one for each index, or each block of indices."""
    if not block:
        return (shape[axis],)
    return tuple(-(-size // block) if i == axis % len(shape) else size for i, size in enumerate(shape))


def rounded(stored: Stored, node: NodeProto, settings: Iterable[Stored | None]) -> Stored | None:
    """Return a constant that a node rounds by settings that broadcast to it; None where they vary along two dimensions.

    Settings of quantization that do not hold for all elements are along an axis, and do not broadcast. A node that
    rounds blocks along a dimension has no settings.
    """
    rank, along = len(stored.shape), set[int]()
    if op(node) in BLOCKED:
        axis = int_attribute(node, "axis", 1) if rank > 1 else 0
        dim = stored.layout[axis] if -rank <= axis < rank else ()
        replay = Replay(node, dim, block=1) if dim else Replay(node)
        return replace(stored, replay=(*stored.replay, replay)) if dim or not any(stored.layout) else None
    for given in settings:
        if given is None or given.replay or len(given.shape) > rank:
            return None
        if op(node) in SCALED and any(size != 1 for size in given.shape):
            return None
        own = stored.shape[rank - len(given.shape) :]
        if any(size not in (1, known) for size, known in zip(given.shape, own, strict=True)):
            return None
        along |= {i for i, size in enumerate(given.shape, start=rank - len(own)) if size != 1}
    if len(along) > 1:
        return None
    dim = next((stored.layout[i] for i in along), ())
    return replace(stored, replay=(*stored.replay, Replay(node, dim)))


def replayed(
    stored: Stored, node: NodeProto, settings: Sequence[Stored | None], *, expand: bool = False
) -> Stored | None:
    """Return a constant behind a Cast or a node of quantization, which stays; None for one that is computed instead.

    With `expand` that is one in blocks: it is computed in floating point.
    """
    kind = own_op(node)
    if kind in ROUNDING:
        return rounded(stored, node, settings)
    if kind == "Cast":
        return replace(stored, replay=(*stored.replay, Replay(node)), made_type=int_attribute(node, "to", 1))
    scale, zero_point = (*settings, None, None)[:2]
    if scale is None or (zero_point is not None and zero_point.replay) or scale.replay:
        return None
    if zero_point is not None and prod(zero_point.shape) not in (1, prod(scale.shape)):
        return None
    axis, rank = int_attribute(node, "axis", 1), len(stored.shape)
    dim: Dim = ()
    block = int_attribute(node, "block_size", 0) if len(scale.shape) == rank > 1 else 0
    if prod(scale.shape) != 1 or block:
        if not -rank <= axis < rank:
            return None
        dim = stored.layout[axis]
        if scale.shape != scales_of(stored.shape, axis, block) or (block and expand):
            return None
    default = scale.type if kind == "DequantizeLinear" else TensorProto.UINT8
    if kind == "QuantizeLinear" and zero_point is not None:
        default = zero_point.type
    made = int_attribute(node, "output_dtype", 0) or default
    return replace(stored, replay=(*stored.replay, Replay(node, dim, block, stored.layout)), made_type=made)
