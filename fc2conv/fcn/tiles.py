"""A sliding model run on an image of any size: whole where memory allows it, else in tiles that give the same map.

A tile is as much of the image as some cells read. What it computes at its own rim, where the image goes on, is left
out, so that its cells are those of the whole image but for the order in which onnxruntime sums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import ceil, floor, prod
from typing import Any

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, LimitError, UsageError
from fc2conv.fcn.forms import SPACE
from fc2conv.fcn.placed import PICTURE, Axis, Placed, image_input, placed, working_set
from fc2conv.io.reader import ModelFile, read_model
from fc2conv.io.sizes import declared_size
from fc2conv.ir.graph import label
from fc2conv.ir.validate import check_model
from fc2conv.sandbox import limit_for, note, return_memory, room
from fc2conv.sandbox.shortage import said_by
from fc2conv.verification.runtime import RefusedError, Session

Cut = Callable[[Sequence[slice]], np.ndarray]
"""A function that returns what the network takes for some pixels of the image along each axis."""
Part = tuple[np.ndarray, list[int], tuple[int, ...] | None]
"""Cells [N, M, *S] of a map, where they begin along each axis, and with the first part the shape of the whole map."""

_SLACK, _SHARE = 48 << 20, 1.15
"""What a run takes beyond its values: bytes, and as a factor."""
_SMALLER = 0.7
_ORDER = " (height x width)"
_WHOLE = ("Global", "InstanceNormalization", "GroupNormalization", "Reduce", "MeanVarianceNormalization")


@dataclass(frozen=True)
class Span:
    """A tile along one axis: its pixels, the cells within it that count, and the place of the first in the map."""

    start: int
    end: int
    local: int = 0
    first: int = 0
    stop: int | None = None


class Runner:
    """A sliding model, open for runs on images."""

    def __init__(self, file: ModelFile, name: str, geometry: Placed) -> None:
        self.file, self.name, self.geometry = file, name, geometry
        self.input = geometry.axes[0].input
        self.dims = tuple(axis.dim for axis in geometry.axes)
        made = next((value for value in file.model.graph.output if value.name == name), ValueInfoProto())
        sizes = made.type.tensor_type.shape.dim
        self.channels = max(1, sizes[1].dim_value) if len(sizes) > 1 else 1
        self._single = {dim for dim, size in enumerate(sizes) if size.dim_value == 1}
        self.tileable = not any(axis.stride is not None and axis.field is None for axis in geometry.axes)
        return_memory()  # so that a tile takes what is alive, and no more
        try:
            self._session = Session(file)
        except RefusedError as error:
            raise _not_run(error) from None

    def cells(self, pixels: Sequence[int]) -> tuple[int, ...]:
        """Return, along each axis, no fewer cells than the map of an image of this size has."""
        return tuple(
            size if self.geometry.upsampled else 1 if axis.stride is None else ceil(size / axis.stride) + 1
            for axis, size in zip(self.geometry.axes, pixels, strict=True)
        )

    def run(self, shape: Sequence[int], cut: Cut, reserved: int) -> Iterator[Part]:
        """Yield the map of an image whose network input has this shape, anew where a tile was too large.

        `reserved` are bytes that the caller needs besides. Raise LimitError where no tile fits, or, for a network
        that reads the whole image in each cell, where the image does not fit.
        """
        side = max(shape[dim] for dim in self.dims)
        while True:
            side, tiles = self._chosen(shape, side, reserved)
            try:
                yield from self._run(tiles, cut)
                return
            except RefusedError as error:
                why = said_by(str(error))
                if why is None or why.limit != "memory":
                    raise _not_run(error) from None
                if side <= self._least():
                    raise self._too_large(shape, reserved) from None
                side = max(self._least(), floor(side * _SMALLER))

    def _run(self, tiles: Sequence[Sequence[Span]], cut: Cut) -> Iterator[Part]:
        """Yield the cells of all tiles, the last tile first: it says how many cells there are."""
        for i, spans in enumerate(reversed(list(product(*tiles)))):
            given = np.ascontiguousarray(cut([slice(span.start, span.end) for span in spans]))
            (found,) = self._session.run({self.input: given}, [self.name])
            cells = np.asarray(found)
            spatial = range(SPACE, cells.ndim)
            sliding = spatial if len(spatial) == len(spans) else [dim for dim in spatial if dim not in self._single]
            if len(sliding) != len(spans):
                what = f"{self.file.path}: {self.name} is no map of {len(spans)} spatial dimensions"
                raise InputError(what, "name another output")
            along = dict(zip(sliding, spans, strict=True))
            every = [along.get(dim, Span(0, 1)) for dim in spatial]
            part = cells[(slice(None), slice(None), *(slice(span.local, span.stop) for span in every))]
            first = [span.first for span in every]
            ends = (begin + count for begin, count in zip(first, part.shape[SPACE:], strict=True))
            yield part, first, None if i else (*part.shape[:SPACE], *ends)

    def _chosen(self, shape: Sequence[int], side: int, reserved: int) -> tuple[int, list[list[Span]]]:
        """Choose the largest tile no larger than `side` that fits into memory; return its side and all tiles."""
        budget = room() - reserved
        while True:
            tiles = self._tiles(shape, side)
            taken = self._taken(shape, tiles)
            if taken <= budget:
                return side, tiles
            if not self.tileable or side <= self._least():
                raise self._too_large(shape, reserved)
            share = (max(budget, 1) / taken) ** (1 / len(self.dims))
            side = max(self._least(), floor(side * min(0.95, share)))

    def _least(self) -> int:
        return max(axis.minimum for axis in self.geometry.axes)

    def _tiles(self, shape: Sequence[int], side: int) -> list[list[Span]]:
        """Return the tiles along all axes, of about `side` pixels."""
        upsampled = self.geometry.upsampled
        return [
            list(_spans(axis, shape[axis.dim], side, upsampled)) if self.tileable else [Span(0, shape[axis.dim])]
            for axis in self.geometry.axes
        ]

    def _taken(self, shape: Sequence[int], tiles: Sequence[Sequence[Span]]) -> int:
        """Return the bytes that the largest of the tiles takes."""
        sizes = list(shape)
        for dim, spans in zip(self.dims, tiles, strict=True):
            sizes[dim] = max(span.end - span.start for span in spans)
        fed = 2 * 4 * prod(sizes)  # while it is cut, turned and scaled
        return ceil(working_set(self.file.model, {self.input: tuple(sizes)}) * _SHARE) + fed + _SLACK

    def _too_large(self, shape: Sequence[int], reserved: int) -> LimitError:
        """Return the error that says what a run takes for which there is no room, and what would fit."""
        least = self._least()
        tiles = self._tiles(shape, least)
        taken = self._taken(shape, tiles) + reserved
        pixels = "x".join(str(max(span.end - span.start for span in spans)) for spans in tiles)
        what = f"the map itself and a tile of {pixels} pixels take about {_mib(taken)}"
        fits = ""
        if not self.tileable:
            what = f"{self._whole()} reads the whole image, so that tiles would give another map. Its {pixels} pixels"
            what += f"{_ORDER if len(self.dims) == PICTURE else ''} take about {_mib(taken)}"
            fits = self._smaller(shape, reserved)
        note("choosing tiles")
        limit = f"raise --memory-limit to {(limit_for(taken) >> 20) + 64} or more"
        return LimitError(f"{what}, where {_mib(room())} are free", f"{fits}{limit}", limit="memory")

    def _smaller(self, shape: Sequence[int], reserved: int) -> str:
        """Return the remedy that names the size of an image of the same proportions that fits whole; "" without one."""
        share = 1.0
        while True:
            share *= 0.9
            sizes = list(shape)
            for axis in self.geometry.axes:
                sizes[axis.dim] = floor(shape[axis.dim] * share)
                if sizes[axis.dim] < axis.minimum:
                    return ""
            if self._taken(sizes, self._tiles(sizes, max(sizes))) + reserved * share**2 <= room():
                option = " (--size)" if len(self.dims) == PICTURE else ""
                return f"give one of {'x'.join(str(sizes[dim]) for dim in self.dims)}, which fits{option}, or "

    def _whole(self) -> str:
        """Name the first node on the way to the output that reads all cells of a map."""
        wanted, first = {self.name}, NodeProto(name=self.name)
        for node in reversed(self.file.model.graph.node):
            if wanted & set(node.output):
                wanted |= set(node.input)
                first = node if node.op_type.startswith(_WHOLE) else first
        return f"{label(first)} ({first.op_type})" if first.op_type else label(first)


def _spans(axis: Axis, pixels: int, side: int, upsampled: bool) -> Iterator[Span]:
    """Yield the tiles along one axis; no tile is much larger than `side` unless no smaller one has a cell."""
    if axis.stride is None or side >= pixels:
        yield Span(0, pixels)
        return
    rim = axis.needed(1 << 20, 1 << 20, 1 << 40)
    whole = rim[1] - rim[0]  # what a tile of one cell takes inside of the image
    step = max(axis.pace, side - whole + axis.pace)
    count = max(1, floor(step / (1 if upsampled else axis.stride)))
    first = 0
    while True:
        if upsampled:
            low, high = (max(0.0, (at - axis.middle(0)) / axis.stride) for at in (first, first + count - 1))
            start, end, _ = axis.needed(floor(low), ceil(high), pixels)
            local = first - start
        else:
            start, end, before = axis.needed(first, first + count - 1, pixels)
            local = first - before
        if end >= pixels:
            yield Span(start, pixels, local, first)
            return
        yield Span(start, end, local, first, local + count)
        first += count


def run_sliding(path: str | os.PathLike[str], image: np.ndarray, output: str | None) -> np.ndarray:
    """Run a model on an image that is given as the network takes it; return the whole map."""
    file = read_model(path)
    check_model(file.model)
    name, geometry = placed(file, output, None)
    value = image_input(file, name, geometry)
    declared = [declared_size(dim) for dim in value.type.tensor_type.shape.dim]
    runs = {axis.dim: axis.runs for axis in geometry.axes}
    if image.ndim != len(declared):
        what = f"the image has {image.ndim} dimensions, and {value.name} has {len(declared)}"
        raise UsageError(what, "give all of them")
    for dim, (size, fixed) in enumerate(zip(image.shape, declared, strict=True)):
        if fixed and fixed != size:
            raise InputError(f"dimension {dim} of the image is {size}", f"{value.name} takes {fixed}")
        if dim in runs and not runs[dim].runs(size):
            what = f"dimension {dim} of the image is {size}, and the network does not run on that"
            smaller = f"crop it to {runs[dim].below(size)} or " if runs[dim].below(size) else ""
            raise InputError(what, f"{smaller}pad it to {runs[dim].above(size)}")
    kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return whole_map(Runner(file, name, geometry), image, kind)


def whole_map(runner: Runner, image: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the whole map [N, M, *S] of an image that is given as the network takes it."""

    def cut(parts: Sequence[slice]) -> np.ndarray:
        at = [slice(None)] * image.ndim
        for dim, part in zip(runner.dims, parts, strict=True):
            at[dim] = part
        return image[tuple(at)].astype(dtype, copy=False)

    cells = prod(runner.cells([image.shape[dim] for dim in runner.dims]))
    stored = 2 * image.shape[0] * runner.channels * cells * np.dtype(np.float32).itemsize
    for part, first, whole in runner.run(image.shape, cut, stored):
        if whole is not None:
            made = np.empty(whole, part.dtype)
        at = (slice(one, one + count) for one, count in zip(first, part.shape[SPACE:], strict=True))
        made[(slice(None), slice(None), *at)] = part
    return made


def _not_run(error: RefusedError) -> InputError:
    return InputError(f"onnxruntime does not run the model: {error}", "check the model and its input")


def _mib(nbytes: int) -> str:
    return f"{-(-nbytes >> 20):,} MiB"
