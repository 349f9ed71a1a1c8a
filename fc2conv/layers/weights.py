"""Weights as kernels: an edit of dims where the order is right, a permutation in slabs where it is not.

A weight W[m, k] becomes the kernel W'[m, c, *s] over the same elements: the columns k come in the order in which
the input's dimension holds its axes, and the kernel wants them as (C, *S). No weight is read before it is written.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import TensorProto, helper

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.io.payload import Buffer, Payload, Span
from fc2conv.ir.constants import Constants
from fc2conv.ir.stored import Matrix, Replay, Stored, base_layout, part, windowed
from fc2conv.layers.layer import FCLayer
from fc2conv.layout.axes import Axis, Dim, Layout, axes_of, cached, normal, refine, regroup, size_of
from fc2conv.layout.contraction import Contraction
from fc2conv.layout.relayout import Move, Unnamed, numbered, rearrange, unnamed

SLAB = 32 << 20
"""Bytes of output that are gathered before they are written."""


@dataclass(frozen=True)
class Rearranged:
    """A payload: the elements of another one, permuted and scaled, gathered in slabs of bounded size.

    The source holds `shape` elements of `dtype`. With a `window` (axis, start, stop) it holds `whole` elements instead,
    and that window of them is viewed as `shape`. The result is `transpose(perm)` of these. `scale` is a factor in
    float64, 1 for no factor; the product is rounded once to `dtype`. `unsigned` adds 128 to elements of 8 bits.
    """

    source: Span | Buffer
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    perm: tuple[int, ...]
    scale: float = 1.0
    window: tuple[int, int, int] | None = None
    whole: tuple[int, ...] = ()
    unsigned: bool = False

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the result slab by slab along its first axis; raise OSError if the source cannot be read."""
        out_shape = tuple(self.shape[i] for i in self.perm)
        row = max(1, prod(out_shape[1:])) * self.dtype.itemsize
        rows = max(1, SLAB // row)
        data = _bytes_of(self.source)
        for start in range(0, out_shape[0], rows):
            slab = self._slab(data, start, min(start + rows, out_shape[0]))
            yield slab.reshape(-1).view(np.uint8).data

    def seen(self, data: memoryview) -> np.ndarray:
        """Return the source's elements, as `shape`."""
        shape = self.shape if self.window is None else self.whole
        array = np.frombuffer(data, self.dtype, count=prod(shape)).reshape(shape)
        return windowed(array, self.window).reshape(self.shape)

    def _slab(self, data: memoryview, start: int, stop: int) -> np.ndarray:
        """Return the rows start..stop of the result; walk the source along its first axis and release what was read."""
        slab = np.empty((stop - start, *(self.shape[i] for i in self.perm[1:])), self.dtype)
        array, lead, rows = self.seen(data), self.perm[0], self.shape[0]
        index, target = ([slice(None)] * len(self.shape) for _ in range(2))
        index[lead] = slice(start, stop)
        step = max(1, SLAB // max(1, self.nbytes // max(1, rows))) if lead else rows
        for low in range(0, rows, step):
            if lead:
                index[0] = target[self.perm.index(0)] = slice(low, min(low + step, rows))
            slab[tuple(target)] = array[tuple(index)].transpose(self.perm)
            _forget(data)
        return self.written(slab)

    def written(self, slab: np.ndarray) -> np.ndarray:
        return without_sign(slab) if self.unsigned else _scaled(slab, self.scale)


@dataclass(frozen=True)
class Block:
    """A payload: a block of a kernel [M, C, *S], zero-padded at the end of each dimension, in slabs of bounded size.

    `whole` has the elements of the kernel, whose dimensions are `dims`. `spans` are (start, stop, size) for each
    dimension of the block; with `cells` its second one runs over channels and cells together.
    """

    whole: Rearranged
    dims: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]
    cells: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size for _, _, size in self.spans)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.whole.dtype.itemsize

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the block slab by slab along its first dimension; raise OSError if the source cannot be read."""
        first, last, count = self.spans[0]
        rows = max(1, SLAB // max(1, self.nbytes // count))
        data = _bytes_of(self.whole.source)
        kernel = self.whole.seen(data).transpose(self.whole.perm).reshape(self.dims)
        for low in range(0, count, rows):
            high = min(low + rows, count)
            slab = np.zeros((high - low, *self.shape[1:]), self.whole.dtype)
            there = cut(kernel[first + low : min(first + high, last)], self.spans[1:], cells=self.cells)
            slab[tuple(map(slice, there.shape))] = self.whole.written(there)
            _forget(data)
            yield slab.reshape(-1).view(np.uint8).data


def cut(kernel: np.ndarray, spans: Sequence[tuple[int, int, int]], *, cells: bool) -> np.ndarray:
    """Return the part of some rows of a kernel that `spans` of its other dimensions name."""
    if not cells:
        return kernel[(slice(None), *(slice(start, stop) for start, stop, _ in spans))]
    (start, stop, _), each = spans[0], max(1, prod(kernel.shape[2:]))
    channels = kernel[:, start // each : -(-stop // each)].reshape(len(kernel), -1)
    offset = start // each * each
    return channels[:, start - offset : stop - offset].reshape(len(kernel), stop - start, *(1 for _ in spans[1:]))


def _scaled(array: np.ndarray, scale: float) -> np.ndarray:
    return array if scale == 1.0 else (array.astype(np.float64) * scale).astype(array.dtype)


def without_sign(array: np.ndarray) -> np.ndarray:
    """Convert int8 elements to uint8, each 128 more."""
    return array.view(np.uint8) ^ np.uint8(128)


def _bytes_of(source: Span | Buffer) -> memoryview:
    """Return a payload's bytes without a copy: those in memory, or those in its mapped file."""
    if isinstance(source, Buffer):
        return memoryview(source.data)
    return source.mapped() if source.length else memoryview(b"")


def _forget(data: memoryview) -> None:
    """Release the pages of a mapped file that were read."""
    if isinstance(data.obj, mmap.mmap):
        system.forget(data.obj)


@dataclass(frozen=True)
class Form:
    """A constant in a new form: its move from the stored shape, a factor, and its replayed nodes.

    `scale` is folded into what is stored; where nodes are replayed the factor is `after` them, as they round as well.
    `axes` says for each replayed node along which dimension of the new form its parameters vary (None: along none), and
    `layout` is a kernel's layout over the stored tensor's axes. With `unsigned` int8 elements are stored as uint8, each
    128 more.
    """

    stored: Stored
    move: Move
    scale: float = 1.0
    axes: tuple[int | None, ...] = ()
    layout: Layout = ()
    after: float = 1.0
    unsigned: bool = False

    @property
    def data_type(self) -> int:
        """The TensorProto.DataType of what is stored in the new form."""
        return int(TensorProto.UINT8) if self.unsigned else self.stored.data_type

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size.coefficient for size in self.move.out)

    @property
    def fill(self) -> np.ndarray:
        """The one value of a ConstantOfShape."""
        return _scaled(np.asarray(self.stored.values).reshape(-1)[:1], self.scale)

    @property
    def edit_of_dims(self) -> bool:
        return not self.move.moves and self.scale == 1.0 and self.stored.window is None and not self.unsigned

    def payload(self, source: Span | Buffer) -> Payload:
        """Return the bytes of the new form, made from those of the stored one."""
        return source if self.edit_of_dims else self.rearranged(source)

    def rearranged(self, source: Span | Buffer) -> Rearranged:
        """Return the elements of the new form as a payload, in whatever order they are stored."""
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(self.stored.data_type))
        shape = tuple(size.coefficient for size in self.move.shape) or (1,)
        window, whole = self.stored.window, self.stored.base
        if window is not None:
            assert isinstance(self.stored.values, TensorProto)
            whole = tuple(self.stored.values.dims)
        return Rearranged(source, dtype, shape, self.move.perm or (0,), self.scale, window, whole, self.unsigned)


def relaid(stored: Stored, source: Layout, target: Layout) -> Form | None:
    """Return a stored constant, whose dimensions are `source`, with the dimensions of `target` (over the same axes)."""
    both = refine(source, target)
    named = _named(stored, both[0]) if both is not None else None
    if both is None or named is None:
        return None
    layout = _substituted(both[1], named)
    move = None if layout is None else rearrange(base_layout(stored.base), layout)
    if layout is None or move is None:
        return None
    axes = tuple(_axis(replay, layout) for replay in stored.replay)
    if -1 in axes:
        return None
    return Form(stored, replace(move, out=tuple(size_of(dim) for dim in target)), axes=axes, layout=layout)


def can_relay(shape: Sequence[int], source: Layout, target: Layout) -> bool:
    """Return whether the values of a constant of this shape can be moved from one layout to another."""
    plain = tuple(shape)
    return relaid(Stored(np.empty(0), plain, base_layout(plain), 0), source, target) is not None


def can_move(constants: Constants, name: str, source: Layout, target: Layout) -> bool:
    """Return whether a constant can be moved from one layout to another, by its values or with what rounds it."""
    stored = constants.stored(name)
    moves = stored is not None and stored.quantized and relaid(stored, source, target) is not None
    return moves or constants.computable(name)


def has_number(data_type: int, number: float) -> bool:
    """Return whether an element type has a number, so that a factor of this type is not rounded."""
    return float(np.array(number, helper.tensor_dtype_to_np_dtype(data_type))) == number


def kernel(stored: Stored, matrix: Matrix, contracted: Dim, kernel_layout: Layout, scale: float) -> Form | None:
    """Return a weight as the kernel [M, C, *S]; `contracted` are the axes of its rows, major first."""
    found = _moved(stored.layout, stored.base, matrix, *unnamed((contracted,), kernel_layout))
    if found is None:
        return None
    layout, move = found
    axes = [_axis(replay, layout) for replay in stored.replay]
    folded, after = (1.0, scale) if stored.replay else (scale, 1.0)
    if not _per_output(stored, axes) or not has_number(stored.type, after):
        return None
    return Form(stored, move, folded, tuple(axes), layout, after)


@cached
def _moved(
    own: Layout, base: tuple[int, ...], matrix: Matrix, rows: Unnamed, wanted: Unnamed
) -> tuple[Layout, Move] | None:
    """Return a kernel's layout over the weight's axes, and the move that makes it; the next block shares both."""
    (contracted,), kernel_layout = numbered(rows), numbered(wanted)
    outputs = axes_of(tuple(own[i] for i in (*matrix.side_by_side(len(own)), *matrix.outputs)))
    columns = regroup(tuple(own[i] for i in matrix.rows), [axis.size for axis in contracted])
    if columns is None:
        return None
    by_axis = dict(zip(contracted, columns, strict=True))
    layout = normal([outputs, *(tuple(a for axis in dim for a in by_axis[axis]) for dim in kernel_layout)])
    move = rearrange(base_layout(base), layout)
    return None if move is None else (layout, move)


def kernel_of(
    constants: Constants, layer: FCLayer, found: Contraction, rows: tuple[int, int] | None = None
) -> Form | None:
    """Return a layer's weight (or some of its rows) as the kernel of a convolution; None where that is impossible."""
    key = (layer.weight, layer.matrix, layer.alpha, found.contracted, found.kernel, rows)
    if key not in constants.forms:
        whole = constants.stored(layer.weight)
        assert whole is not None, f"{layer.weight} is no constant"
        stored = whole if rows is None else part(whole, layer.matrix.rows[0], *rows)
        form = stored and kernel(stored, layer.matrix, found.contracted, found.kernel, layer.alpha)
        if form is None and stored is not None and (own := constants.in_own_order(stored, stored.shape)):
            form = kernel(own, layer.matrix, found.contracted, found.kernel, layer.alpha)
        constants.forms[key] = form
    known: Form | None = constants.forms[key]
    return known


def _per_output(stored: Stored, axes: Sequence[int | None]) -> bool:
    """Return whether parameters vary by output alone, or in blocks: no engine takes one for each input channel."""
    return all(
        axis in (None, 0) or (replay.block and axis != -1) for replay, axis in zip(stored.replay, axes, strict=True)
    )


def _axis(replay: Replay, layout: Layout) -> int | None:
    """Return the dimension of a form along which a replayed node's parameters vary; None without one, -1 if torn."""
    if not replay.dim:
        return None
    return next((i for i, dim in enumerate(layout) if dim == replay.dim), -1)


def _named(stored: Stored, source: Layout) -> dict[Axis, Dim] | None:
    """Return, for each axis of a layout, the axes of the stored tensor that run over the same elements."""
    out: dict[Axis, Dim] = {}
    for own, dim in zip(stored.layout, source, strict=True):
        parts = regroup((own,), [axis.size for axis in dim]) if dim else ()
        if parts is None:
            return None
        out.update(zip(dim, parts, strict=True))
    return out


def _substituted(target: Layout, named: dict[Axis, Dim]) -> Layout | None:
    fine = refine(target, tuple((axis,) for axis in named))
    if fine is None or any(axis not in named for dim in fine[0] for axis in dim):
        return None
    return normal(tuple(a for axis in dim for a in named[axis]) for dim in fine[0])
