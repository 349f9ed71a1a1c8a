"""Steps that make a feature map of another, and those that only lay a value out anew."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import helper

from ..builder import Builder, Step, Value


def convolution(b: Builder, x: Value) -> Value | None:
    if x.rank not in (3, 4, 5):
        return None
    outputs, space = 1 + b.below(6), x.shape[2:]
    kernel = [1 + b.below(min(3, size)) for size in space]
    inputs = [x.name, b.weight([outputs, x.shape[1], *kernel], (x.shape[1] * prod(kernel)) ** -0.5)]
    if b.chance(0.5):
        inputs.append(b.weight([outputs]))
    shape = [x.shape[0], outputs, *(size - k + 1 for size, k in zip(space, kernel, strict=True))]
    return b.add("Conv", inputs, shape, kernel_shape=kernel)


def pool(b: Builder, x: Value) -> Value | None:
    if x.rank not in (3, 4, 5):
        return None
    if b.chance(0.4):
        return b.add(b.pick(("GlobalAveragePool", "GlobalMaxPool")), [x.name], [*x.shape[:2], *[1] * (x.rank - 2)])
    kernel = [1 + b.below(min(2, size)) for size in x.shape[2:]]
    shape = [*x.shape[:2], *((size - k) // k + 1 for size, k in zip(x.shape[2:], kernel, strict=True))]
    return b.add(b.pick(("MaxPool", "AveragePool")), [x.name], shape, kernel_shape=kernel, strides=kernel)


def flatten(b: Builder, x: Value) -> Value | None:
    axis = 1 if b.chance(0.7) and x.rank > 1 else b.below(x.rank + 1)
    spelled = b.signed(axis, x.rank) if axis < x.rank else axis
    return b.add("Flatten", [x.name], [prod(x.shape[:axis]), prod(x.shape[axis:])], axis=spelled)


def transpose(b: Builder, x: Value) -> Value | None:
    if x.rank == 0:
        return None
    perm = [int(axis) for axis in b.random.permutation(x.rank)]
    if x.rank > 2 and b.chance(0.6):
        rest = [int(axis) + 1 for axis in b.random.permutation(x.rank - 1)]
        perm = [0, *b.pick(([*range(2, x.rank), 1], [x.rank - 1, *range(1, x.rank - 1)], rest))]
    return b.add("Transpose", [x.name], [x.shape[axis] for axis in perm], perm=perm)


def reshape(b: Builder, x: Value) -> Value | None:
    target = _merged(b, list(x.shape)) if b.chance(0.7) and x.rank > 1 else _split(b, list(x.shape))
    spelled = list(target)
    if target[:1] == list(x.shape[:1]) and b.chance(0.6):
        spelled[0] = 0
    if b.chance(0.6):
        spelled[b.below(len(spelled))] = -1
    return b.add("Reshape", [x.name, b.integers(spelled)], target)


def _merged(b: Builder, shape: list[int]) -> list[int]:
    """Two or more neighbours as one, mostly without the batch."""
    start = b.below(len(shape) - 1)
    if start == 0 and len(shape) > 2 and b.chance(0.8):
        start = 1
    stop = len(shape) if b.chance(0.6) else start + 2 + b.below(len(shape) - start - 1)
    return [*shape[:start], prod(shape[start:stop]), *shape[stop:]]


def _split(b: Builder, shape: list[int]) -> list[int]:
    """One dimension as two."""
    if not shape:
        return [1]
    axis = b.below(len(shape))
    factors = [factor for factor in range(1, shape[axis] + 1) if shape[axis] % factor == 0]
    factor = b.pick(factors)
    return [*shape[:axis], factor, shape[axis] // factor, *shape[axis + 1 :]]


def squeeze(b: Builder, x: Value) -> Value | None:
    ones = [axis for axis, size in enumerate(x.shape) if size == 1 and (axis or b.chance(0.2))]
    if not ones:
        return None
    axes = sorted({b.pick(ones) for _ in range(1 + b.below(3))})
    extra, attributes = b.axes_form([b.signed(axis, x.rank) for axis in axes], since=13)
    return b.add("Squeeze", [x.name, *extra], [s for axis, s in enumerate(x.shape) if axis not in axes], **attributes)


def unsqueeze(b: Builder, x: Value) -> Value | None:
    if x.rank > 4:
        return None
    axis = b.below(x.rank + 1)
    extra, attributes = b.axes_form([b.signed(axis, x.rank + 1)], since=13)
    return b.add("Unsqueeze", [x.name, *extra], [*x.shape[:axis], 1, *x.shape[axis:]], **attributes)


def flatten_to(b: Builder, x: Value) -> Value:
    """The map as [N, K], by one of the usual ways."""
    shape = [x.shape[0], prod(x.shape[1:])]
    if b.chance(0.5):
        return b.add("Flatten", [x.name], shape)
    if b.chance(0.3):
        return _flatten_by_shape(b, x, shape)
    return b.add("Reshape", [x.name, b.integers(b.pick(([0, -1], [-1, shape[1]])))], shape)


def _flatten_by_shape(b: Builder, x: Value, shape: list[int]) -> Value:
    """As older PyTorch exports it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    start = len(b.nodes)
    names = [f"s{start}_{index}" for index in range(4)]
    zero, rest = b.constant(np.array(0, np.int64)), b.integers([-1])
    extra, attributes = b.axes_form([0], since=13)
    b.nodes += [
        helper.make_node("Shape", [x.name], [names[0]]),
        helper.make_node("Gather", [names[0], zero], [names[1]], axis=0),
        helper.make_node("Unsqueeze", [names[1], *extra], [names[2]], **attributes),
        helper.make_node("Concat", [names[2], rest], [names[3]], axis=0),
    ]
    return b.add("Reshape", [x.name, names[3]], shape)


MAPS: dict[Step, int] = {convolution: 4, pool: 3, flatten: 4, transpose: 5, reshape: 6, squeeze: 3, unsqueeze: 2}
