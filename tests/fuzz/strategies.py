"""Random valid models out of feature maps, layout chains, fully connected layers of every form, and joins.

`random_graph(seed)` tracks the shape of every value while it builds, so that each node is valid by construction. The
same seed gives the same model on every machine. Nodes whose result jumps (TopK, comparisons) are left out: there a
rounding error would look like a fault. Quantization jumps by small steps: `RandomModel.quantized` says where it does.
The steps of layers in other forms (Einsum, batched, quantized) and of norms written out are in `forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

T = TypeVar("T")
MAX_ELEMENTS = 4096
OPSETS = (11, 12, 13, 15, 17, 18, 21)
UNARY = ("Relu", "Sigmoid", "Tanh", "Abs", "LeakyRelu", "HardSigmoid", "Identity", "Neg", "Elu", "Softplus", "Softsign")


@dataclass(frozen=True)
class Value:
    """A tensor of the graph and its shape, in which the batch is a number too."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class RandomModel:
    """A model, and the batch that it was built for; where `dynamic`, others may run as well, or may not."""

    model: ModelProto
    batch: int
    dynamic: bool

    @property
    def quantized(self) -> bool:
        """Whether activations are rounded to integers, so that a rounding error may become a whole step."""
        return any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in self.model.graph.node)


@dataclass
class Builder:
    """A graph in the making."""

    random: np.random.Generator
    opset: int
    batch: int
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)

    # -- draws ---------------------------------------------------------------------------------------------------
    def below(self, bound: int) -> int:
        return int(self.random.integers(bound))

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def signed(self, axis: int, rank: int) -> int:
        """An axis in one of its two spellings."""
        return axis - rank if self.chance(0.4) else axis

    # -- parts ---------------------------------------------------------------------------------------------------
    def weight(self, shape: Sequence[int], scale: float = 1.0, *, positive: bool = False) -> str:
        values = self.random.standard_normal(tuple(shape)) * scale
        return self.constant(np.asarray(np.abs(values) + 0.5 if positive else values).astype(np.float32))

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """An initializer, or now and then a Constant node."""
        name = f"k{len(self.tensors) + len(self.nodes)}"
        tensor = numpy_helper.from_array(array, name)
        if self.chance(0.1):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.tensors.append(tensor)
        return name

    def add(self, op: str, inputs: Sequence[str], shape: Sequence[int], **attributes: object) -> Value:
        """A node with one output of the given shape."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        value = Value(f"{name}_out", tuple(int(size) for size in shape))
        self.values.append(value)
        return value

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> list[str]:
        """A node whose results no other step reads (integers, or a part of a larger form)."""
        names = [f"n{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names

    def axes_form(self, axes: Sequence[int], *, since: int) -> tuple[list[str], dict[str, object]]:
        """Axes as an attribute before an opset, and as an input from it on."""
        return ([self.integers(axes)], {}) if self.opset >= since else ([], {"axes": list(axes)})


Step = Callable[[Builder, Value], Value | None]


# -- feature maps ----------------------------------------------------------------------------------------------------
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


# -- layout ----------------------------------------------------------------------------------------------------------
def flatten(b: Builder, x: Value) -> Value | None:
    axis = 1 if b.chance(0.7) and x.rank > 1 else b.below(x.rank + 1)
    spelled = b.signed(axis, x.rank) if axis < x.rank else axis
    return b.add("Flatten", [x.name], [prod(x.shape[:axis]), prod(x.shape[axis:])], axis=spelled)


def transpose(b: Builder, x: Value) -> Value | None:
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


# -- fully connected layers ------------------------------------------------------------------------------------------
def gemm(b: Builder, x: Value) -> Value | None:
    if x.rank != 2:
        return None
    trans_a, trans_b, outputs = int(b.chance(0.1)), int(b.chance(0.5)), 1 + b.below(8)
    rows, inner = x.shape[::-1] if trans_a else x.shape
    inputs = [x.name, stored(b, [outputs, inner] if trans_b else [inner, outputs], inner**-0.5)]
    attributes: dict[str, object] = {"transB": trans_b} if trans_b or b.chance(0.3) else {}
    attributes |= {"transA": 1} if trans_a else {}
    attributes |= {"alpha": b.pick((0.5, -1.5, 2.0, 0.0))} if b.chance(0.3) else {}
    if b.chance(0.7):
        forms: list[list[int]] = [[outputs], [1, outputs], [1], [], [1, 1]]
        forms += [[rows, 1], [rows, outputs]] if b.chance(0.3) else []
        form = b.pick(forms)
        inputs.append(b.weight(form))
        attributes |= {"beta": b.pick((0.5, -2.0, 0.0))} if b.chance(0.3) else {}
    return b.add("Gemm", inputs, [rows, outputs], **attributes)


def matmul(b: Builder, x: Value) -> Value | None:
    if not x.rank:
        return None
    inner, outputs = x.shape[-1], 1 + b.below(8)
    y = b.add("MatMul", [x.name, _matrix(b, inner, outputs)], [*x.shape[:-1], outputs])
    return affine(b, y, outputs)


def _matrix(b: Builder, inner: int, outputs: int) -> str:
    """The weight as it stands, or as a Transpose, a Reshape or an Identity of what stands."""
    scale, form = inner**-0.5, b.below(8)
    name = f"w{len(b.nodes)}"
    if form == 0:
        b.nodes.append(helper.make_node("Transpose", [b.weight([outputs, inner], scale)], [name], perm=[1, 0]))
    elif form == 1:
        target = b.integers([inner, outputs])
        b.nodes.append(helper.make_node("Reshape", [b.weight([inner * outputs], scale), target], [name]))
    elif form == 2:
        b.nodes.append(helper.make_node("Identity", [b.weight([inner, outputs], scale)], [name]))
    else:
        return stored(b, [inner, outputs], scale)
    return name


def stored(b: Builder, shape: Sequence[int], scale: float) -> str:
    """A weight as floats, or now and then as half floats or integers of a few bits with their scales."""
    if b.chance(0.05):
        half = b.constant((b.random.standard_normal(tuple(shape)) * scale).astype(np.float16))
        return b.node("Cast", [half], to=TensorProto.FLOAT)[0]
    return quantized_weight(b, shape, scale) if b.chance(0.15) else b.weight(shape, scale)


def quantized_weight(b: Builder, shape: Sequence[int], scale: float) -> str:
    """DequantizeLinear of integers: per tensor, along a dimension, or in blocks of one."""
    bits = b.pick((4, 8)) if b.opset >= 21 else 8
    axis, attributes, scales = b.below(len(shape)), {}, []
    form = b.below(3 if b.opset >= 21 else 2 if b.opset >= 13 else 1)
    if form:
        scales, attributes = [shape[axis]], {"axis": b.signed(axis, len(shape))}
    if form == 2:
        block = b.pick([size for size in range(1, shape[axis] + 1) if shape[axis] % size == 0])
        scales = [*shape[:axis], shape[axis] // block, *shape[axis + 1 :]]
        attributes |= {"block_size": block}
    dtype = ml_dtypes.int4 if bits == 4 else b.pick((np.int8, np.uint8))
    middle, reach = (128, 100) if dtype is np.uint8 else (0, 100 if bits == 8 else 7)
    values = b.random.integers(middle - reach, middle + reach, tuple(shape), endpoint=True)
    operands = [b.constant(values.astype(dtype))]
    operands.append(b.constant((b.random.uniform(0.5, 1.5, scales) * 2 * scale / reach).astype(np.float32)))
    if dtype is np.uint8 or b.chance(0.5):
        zeros = middle + b.random.integers(-3, 4, scales) * b.below(2)
        operands.append(b.constant(np.asarray(zeros).astype(dtype)))
    return b.node("DequantizeLinear", operands, **attributes)[0]


def affine(b: Builder, y: Value, outputs: int) -> Value:
    """A bias, a scale, both or neither, with the constant on either side."""
    for op in ("Mul", "Add"):
        if b.chance(0.25 if op == "Mul" else 0.6):
            shape = b.pick(([outputs], [1, outputs], [1], [])) if y.rank > 1 else [outputs]
            pair = [y.name, b.weight(shape)]
            y = b.add(op, pair[::-1] if b.chance(0.4) else pair, y.shape)
    return y


def matmul_left(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    outputs, inner = 1 + b.below(8), x.shape[-2]
    shape = [*x.shape[:-2], outputs, x.shape[-1]]
    return b.add("MatMul", [b.weight([outputs, inner], inner**-0.5), x.name], shape)


# -- elementwise -----------------------------------------------------------------------------------------------------
def unary(b: Builder, x: Value) -> Value | None:
    return b.add(b.pick(UNARY), [x.name], x.shape)


def with_constant(b: Builder, x: Value) -> Value | None:
    shape = [size if b.chance(0.5) else 1 for size in x.shape]
    while shape and shape[0] == 1 and b.chance(0.6):
        shape.pop(0)
    pair = [x.name, b.weight(shape)]
    return b.add(b.pick(("Add", "Mul", "Sub", "Max")), pair[::-1] if b.chance(0.4) else pair, x.shape)


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


# -- joins and cuts --------------------------------------------------------------------------------------------------
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
    hidden = b.add("Gemm", [squeezed.name, b.weight([channels, inner])], [x.shape[0], inner])
    hidden = b.add("Relu", [hidden.name], hidden.shape)
    excited = b.add("Gemm", [hidden.name, b.weight([channels, inner])], [x.shape[0], channels], transB=1)
    excited = b.add("Sigmoid", [excited.name], excited.shape)
    target = b.integers([0, channels, 1, 1])
    shaped = b.add("Reshape", [excited.name, target], [x.shape[0], channels, 1, 1])
    return b.add("Mul", [x.name, shaped.name], x.shape)


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
    """Slice, forwards or backwards."""
    axes = [axis for axis, size in enumerate(x.shape) if axis and size > 1]
    if not axes:
        return None
    axis = b.pick(axes)
    size = x.shape[axis]
    start, step = b.below(size), b.pick((1, 1, 1, 2))
    indices = range(start, size, step)
    bounds = (start, size + b.below(3), step)
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
    if x.rank < 2:
        return None
    axis = b.constant(np.array(1 + b.below(x.rank - 1), np.int64))
    return b.add("CumSum", [x.name, axis], x.shape)


STEPS: dict[Step, int] = {
    convolution: 4, pool: 3, flatten: 4, transpose: 5, reshape: 6, squeeze: 3, unsqueeze: 2, gemm: 8, matmul: 7,
    matmul_left: 3, unary: 4, with_constant: 4, prelu: 1, dropout: 1, batch_norm: 2, layer_norm: 1, softmax: 1,
    reduce: 3, join: 4, gate: 1, head: 4, tokens: 2, concat: 3, split: 2, cut: 2, gather: 1, running_sum: 1,
}  # fmt: skip
