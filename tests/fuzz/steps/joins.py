"""Where values meet and part: residuals, gates, heads, Concat, Split, Slice, Gather, running sums."""

from __future__ import annotations

import numpy as np
from onnx import helper

from ..builder import Builder, Step, Value
from .elementwise import batch_norm, unary
from .layers import gemm, matmul
from .maps import flatten_to


def join(b: Builder, x: Value) -> Value | None:
    """Add or Mul with another value that broadcasts to this one."""
    others = [v for v in b.values if v is not x and v.rank <= x.rank and v.rank and _fits(v, x)]
    if not others:
        return None
    other = b.pick(others)
    pair = [x.name, other.name]
    return b.add(b.pick(("Add", "Mul")), pair[::-1] if b.chance(0.4) else pair, x.shape)


def _fits(small: Value, large: Value) -> bool:
    return all(a in (1, z) for a, z in zip(small.shape[::-1], large.shape[::-1], strict=False))


def gate(b: Builder, x: Value) -> Value | None:
    """Squeeze and excitation."""
    if x.rank != 4:
        return None
    channels = x.shape[1]
    squeezed = flatten_to(b, b.add("GlobalAveragePool", [x.name], [*x.shape[:2], 1, 1]))
    inner = 1 + b.below(4)
    first = [squeezed.name, b.weight([channels, inner]), *_bias(b, inner)]
    hidden = b.add("Gemm", first, [x.shape[0], inner])
    hidden = b.add("Relu", [hidden.name], hidden.shape)
    second = [hidden.name, b.weight([channels, inner]), *_bias(b, channels)]
    excited = b.add("Gemm", second, [x.shape[0], channels], transB=1)
    excited = b.add("Sigmoid", [excited.name], excited.shape)
    target = b.integers([0, channels, 1, 1])
    shaped = b.add("Reshape", [excited.name, target], [x.shape[0], channels, 1, 1])
    return b.add("Mul", [x.name, shaped.name], x.shape)


def _bias(b: Builder, size: int) -> list[str]:
    """The bias that Gemm had to have before opset 11."""
    return [b.weight([size])] if b.opset < 11 else []


def head(b: Builder, x: Value) -> Value | None:
    """Some layout, a flatten and one or two layers: what real networks end with."""
    if x.rank < 3:
        return None
    if b.chance(0.4):
        x = b.add("Transpose", [x.name], [x.shape[0], *x.shape[2:], x.shape[1]], perm=[0, *range(2, x.rank), 1])
    flat: Value | None = flatten_to(b, x)
    for step in (gemm, unary, b.pick((gemm, matmul, batch_norm))):
        flat = step(b, flat) if flat else None
    return flat


def tokens(b: Builder, x: Value) -> Value | None:
    """The map as [N, L, C] with a layer on its last axis."""
    if x.rank != 4:
        return None
    n, c, h, w = x.shape
    rows = b.add("Reshape", [x.name, b.integers([0, c, -1])], [n, c, h * w])
    turned = b.add("Transpose", [rows.name], [n, h * w, c], perm=[0, 2, 1])
    return matmul(b, turned)


def concat(b: Builder, x: Value) -> Value | None:
    if not x.rank:
        return None
    axis = b.below(x.rank) if x.rank == 1 or b.chance(0.1) else 1 + b.below(x.rank - 1)
    rest = [*x.shape[:axis], *x.shape[axis + 1 :]]
    others = [v for v in b.values if v.rank == x.rank and [*v.shape[:axis], *v.shape[axis + 1 :]] == rest]
    parts = [x, *(b.pick(others) for _ in range(1 + b.below(2)))]
    shape = [*x.shape[:axis], sum(part.shape[axis] for part in parts), *x.shape[axis + 1 :]]
    return b.add("Concat", [part.name for part in parts], shape, axis=b.signed(axis, x.rank))


def split(b: Builder, x: Value) -> Value | None:
    axes = [axis for axis, size in enumerate(x.shape) if axis and size > 1]
    if not axes:
        return None
    axis = b.pick(axes)
    first = 1 + b.below(x.shape[axis] - 1)
    sizes = [first, x.shape[axis] - first]
    extra = [b.integers(sizes)] if b.opset >= 13 else []
    attributes: dict[str, object] = {} if extra else {"split": sizes}
    name, outputs = f"n{len(b.nodes)}", [f"n{len(b.nodes)}_a", f"n{len(b.nodes)}_b"]
    spelled = b.signed(axis, x.rank)
    b.nodes.append(helper.make_node("Split", [x.name, *extra], outputs, name=name, axis=spelled, **attributes))
    parts = [
        Value(output, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
        for output, size in zip(outputs, sizes, strict=True)
    ]
    b.values += parts
    return parts[-1]


def cut(b: Builder, x: Value) -> Value | None:
    """Slice, forwards or backwards; before opset 10 forwards by one."""
    axes = [axis for axis, size in enumerate(x.shape) if axis and size > 1]
    if not axes:
        return None
    axis = b.pick(axes)
    size = x.shape[axis]
    start, step = b.below(size), b.pick((1, 1, 1, 2)) if b.opset >= 10 else 1
    indices = range(start, size, step)
    bounds = (start, size + b.below(3), step)
    if b.opset < 10:
        places: dict[str, object] = {"starts": [start], "ends": [bounds[1]], "axes": [axis]}
        return b.add("Slice", [x.name], [*x.shape[:axis], len(indices), *x.shape[axis + 1 :]], **places)
    if b.chance(0.2):
        indices, bounds = range(size - 1, start - 1, -step), (-1, start - 1 - size if start else -size - 1, -step)
    operands = [b.integers([number]) for number in (bounds[0], bounds[1], b.signed(axis, x.rank), bounds[2])]
    return b.add("Slice", [x.name, *operands], [*x.shape[:axis], len(indices), *x.shape[axis + 1 :]])


def gather(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axis = 1 + b.below(x.rank - 1)
    index = np.array(b.below(x.shape[axis]) if b.chance(0.5) else b.random.permutation(x.shape[axis]), np.int64)
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    return b.add("Gather", [x.name, b.constant(index)], shape, axis=b.signed(axis, x.rank))


def running_sum(b: Builder, x: Value) -> Value | None:
    if b.opset < 11 or x.rank < 2:
        return None
    axis = b.constant(np.array(1 + b.below(x.rank - 1), np.int64))
    return b.add("CumSum", [x.name, axis], x.shape)


JOINS: dict[Step, int] = {join: 4, gate: 1, head: 4, tokens: 2, concat: 3, split: 2, cut: 2, gather: 1, running_sum: 1}
