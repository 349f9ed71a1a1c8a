"""Borders, repetitions, enlargements and choices: what puts cells of a value, or constants, in other places."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ..builder import Builder, Step, Value


def pad(b: Builder, x: Value) -> Value | None:
    """A border of a constant, of the edge or of the reflected map; now and then one that is cut off."""
    if x.rank < 2:
        return None
    mode = b.pick(("constant", "constant", "edge", "reflect"))
    most = [0, *(min(2, size - 1) if mode == "reflect" else 2 for size in x.shape[1:])]
    begin, end = ([b.below(size + 1) if b.chance(0.5) else 0 for size in most] for _ in range(2))
    if mode == "constant" and b.chance(0.2):
        begin = [-1 if axis and size > 1 else 0 for axis, size in enumerate(x.shape)]
    shape = [before + size + after for before, size, after in zip(begin, x.shape, end, strict=True)]
    attributes: dict[str, object] = {} if mode == "constant" and b.chance(0.5) else {"mode": mode}
    if b.opset < 11:
        value: dict[str, object] = {"value": 0.5} if mode == "constant" else {}
        return b.add("Pad", [x.name], shape, pads=[*begin, *end], **attributes, **value)
    value_input = [b.constant(np.float32(-0.5))] if mode == "constant" and b.chance(0.5) else []
    return b.add("Pad", [x.name, b.integers([*begin, *end]), *value_input], shape, **attributes)


def tile(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    repeats = [1, *(1 + b.below(2) for _ in x.shape[1:])]
    return b.add("Tile", [x.name, b.integers(repeats)], [n * s for n, s in zip(repeats, x.shape, strict=True)])


def expand(b: Builder, x: Value) -> Value | None:
    """A value to more of it along dimensions of size 1, and now and then to one dimension more."""
    if b.opset < 8 or x.rank < 2 or x.rank > 4:
        return None
    shape = [1 + b.below(3) if axis and size == 1 else size for axis, size in enumerate(x.shape)]
    target = [1, *(size if b.chance(0.5) else 1 for size in x.shape[1:])]
    target = [new if old == 1 else given for old, new, given in zip(x.shape, shape, target, strict=True)]
    target[0] = 1
    return b.add("Expand", [x.name, b.integers(target)], shape)


def depth_and_space(b: Builder, x: Value) -> Value | None:
    if x.rank != 4:
        return None
    n, c, h, w = x.shape
    if c % 4 == 0:
        mode: dict[str, object] = {"mode": b.pick(("DCR", "CRD"))} if b.opset >= 11 else {}
        return b.add("DepthToSpace", [x.name], [n, c // 4, 2 * h, 2 * w], blocksize=2, **mode)
    if h % 2 == w % 2 == 0:
        return b.add("SpaceToDepth", [x.name], [n, 4 * c, h // 2, w // 2], blocksize=2)
    return None


def resize(b: Builder, x: Value) -> Value | None:
    """Each cell of a map several times, or one of several, by scales or by sizes."""
    if b.opset < 13 or x.rank not in (3, 4):
        return None
    scales = [1.0, 1.0, *(b.pick((1.0, 2.0, 3.0)) for _ in x.shape[2:])]
    shape = [int(size * scale) for size, scale in zip(x.shape, scales, strict=True)]
    by_size = b.chance(0.4) and x.shape[0] == b.batch
    operands = ["", "", b.integers(shape)] if by_size else ["", b.constant(np.array(scales, np.float32))]
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if b.chance(0.7) else {}
    return b.add("Resize", [x.name, *operands], shape, mode="nearest", **attributes)


def where(b: Builder, x: Value) -> Value | None:
    """Some of the values, and constants in place of the others."""
    if b.opset < 9 or not x.rank:
        return None
    shape = [1, *(size if b.chance(0.6) else 1 for size in x.shape[1:])]
    pair = [x.name, b.weight(shape if b.chance(0.5) else [])]
    return b.add("Where", [b.constant(b.random.random(shape) < 0.6), *(pair[::-1] if b.chance(0.4) else pair)], x.shape)


def clip(b: Builder, x: Value) -> Value | None:
    if b.opset < 11:
        return b.add("Clip", [x.name], x.shape, min=-0.5, max=b.pick((0.7, 6.0)))
    low, high = (b.constant(np.float32(bound)) for bound in (-0.5, 0.7))
    return b.add("Clip", [x.name, *b.pick(([low], [low, high], ["", high]))], x.shape)


def several(b: Builder, x: Value) -> Value | None:
    """Sum, Mean, Min or Max of the value, a constant and now and then another value of its shape."""
    if b.opset < 8:
        return None
    others = [v for v in b.values if v.shape == x.shape and v is not x]
    operands = [x.name, b.weight([size if b.chance(0.5) else 1 for size in x.shape])]
    if others and b.chance(0.5):
        operands.insert(b.below(3), b.pick(others).name)
    return b.add(b.pick(("Sum", "Mean", "Min", "Max")), operands, x.shape)


def gather_table(b: Builder, x: Value) -> Value | None:
    """Places of one dimension in a table, which takes two dimensions."""
    if x.rank < 2 or x.rank > 4:
        return None
    axis = 1 + b.below(x.rank - 1)
    index = b.random.integers(0, x.shape[axis], (1 + b.below(2), 1 + b.below(3)))
    if b.opset >= 11 and b.chance(0.3):
        index -= x.shape[axis]
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    return b.add("Gather", [x.name, b.constant(index)], shape, axis=b.signed(axis, x.rank))


def sizes(b: Builder, x: Value) -> Value | None:
    """A Reshape by numbers that the model computes: two neighbours as one."""
    if x.rank < 3 or b.opset < 13:
        return None
    at = 1 + b.below(x.rank - 2)
    (shape,) = b.node("Shape", [x.name])
    parts = [b.node("Gather", [shape, b.integers([axis])])[0] for axis in range(x.rank)]
    parts[at : at + 2] = b.node("Mul", parts[at : at + 2])
    if b.chance(0.4):
        parts[b.below(len(parts))] = b.integers([-1])
    (target,) = b.node("Concat", parts, axis=0)
    return b.add("Reshape", [x.name, target], [*x.shape[:at], x.shape[at] * x.shape[at + 1], *x.shape[at + 2 :]])


def shuffle(b: Builder, x: Value) -> Value | None:
    """Channels of groups in turns: Reshape, Transpose, Reshape."""
    if x.rank != 4 or x.shape[1] % 2:
        return None
    n, c, h, w = x.shape
    parts = b.add("Reshape", [x.name, b.integers([0, 2, c // 2, h, w])], [n, 2, c // 2, h, w])
    turned = b.add("Transpose", [parts.name], [n, c // 2, 2, h, w], perm=[0, 2, 1, 3, 4])
    return b.add("Reshape", [turned.name, b.integers([-1, c, h, w])], x.shape)


def doubles(b: Builder, x: Value) -> Value | None:
    """A layer of doubles, or a function of each element."""
    if b.opset < 11 or not x.rank:
        return None
    (wide,) = b.node("Cast", [x.name], to=TensorProto.DOUBLE)
    shape = x.shape
    if b.chance(0.5):
        shape = (*x.shape[:-1], 1 + b.below(4))
        (wide,) = b.node("MatMul", [wide, b.constant(b.random.standard_normal((x.shape[-1], shape[-1])))])
    return b.add("Cast", [wide], shape, to=TensorProto.FLOAT)


MOVES: dict[Step, int] = {
    pad: 2, tile: 1, expand: 1, depth_and_space: 2, resize: 1, where: 1, clip: 1, several: 1, gather_table: 1, sizes: 2,
    shuffle: 1, doubles: 1,
}  # fmt: skip
