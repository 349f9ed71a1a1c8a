"""Steps that keep the shape of a value, norms among them, and reductions."""

from __future__ import annotations

from ..builder import Builder, Step, Value

UNARY = ("Relu", "Sigmoid", "Tanh", "Abs", "LeakyRelu", "HardSigmoid", "Identity", "Neg", "Elu", "Softplus", "Softsign")


def unary(b: Builder, x: Value) -> Value | None:
    return b.add(b.pick(UNARY), [x.name], x.shape)


def with_constant(b: Builder, x: Value) -> Value | None:
    shape = [size if b.chance(0.5) else 1 for size in x.shape]
    while shape and shape[0] == 1 and b.chance(0.6):
        shape.pop(0)
    pair = [x.name, b.weight(shape)]
    return b.add(
        b.pick(("Add", "Mul", "Sub", *(("Max",) if b.opset >= 8 else ()))),
        pair[::-1] if b.chance(0.4) else pair,
        x.shape,
    )


def prelu(b: Builder, x: Value) -> Value | None:
    shape = [1 if axis == 0 or b.chance(0.5) else size for axis, size in enumerate(x.shape)]
    while len(shape) > 1 and shape[0] == 1 and b.chance(0.7):
        shape.pop(0)
    return b.add("PRelu", [x.name, b.weight(shape or [1], 0.2)], x.shape) if x.rank else None


def dropout(b: Builder, x: Value) -> Value | None:
    return b.add("Dropout", [x.name], x.shape)


def batch_norm(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    size = [x.shape[1]]
    weights = [b.weight(size), b.weight(size), b.weight(size), b.weight(size, positive=True)]
    return b.add("BatchNormalization", [x.name, *weights], x.shape)


def layer_norm(b: Builder, x: Value) -> Value | None:
    if b.opset < 17 or x.rank < 2 or x.shape[-1] < 3:
        return None
    axis = b.pick((-1, x.rank - 1))
    weights = [b.weight(x.shape[-1:]), b.weight(x.shape[-1:])]
    return b.add("LayerNormalization", [x.name, *weights], x.shape, axis=axis, epsilon=0.01)


def softmax(b: Builder, x: Value) -> Value | None:
    if not x.rank:
        return None
    axis = b.below(x.rank) if b.chance(0.4) else x.rank - 1
    return b.add(b.pick(("Softmax", "LogSoftmax")), [x.name], x.shape, axis=b.signed(axis, x.rank))


def reduce(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axes = sorted({1 + b.below(x.rank - 1) for _ in range(1 + b.below(3))})
    if b.chance(0.5) and x.rank > 2:
        axes = list(range(2, x.rank))
    op, keep = b.pick((("ReduceMean", 18), ("ReduceMax", 18), ("ReduceSum", 13))), int(b.chance(0.5))
    extra, attributes = b.axes_form([b.signed(axis, x.rank) for axis in axes], since=op[1])
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return b.add(op[0], [x.name, *extra], shape, keepdims=keep, **attributes)


ELEMENTWISE: dict[Step, int] = {
    unary: 4, with_constant: 4, prelu: 1, dropout: 1, batch_norm: 2, layer_norm: 1, softmax: 1, reduce: 3,
}  # fmt: skip
