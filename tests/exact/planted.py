"""Faults of every kind, at a place that the seed chooses: each changes the exact function by construction.

A fault gets the original and the model that is to equal it, and edits the second; or both, where what it is about must
be there first (a Hardmax, two random nodes). It says whether there was a place for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import planted_around
import planted_layers
from editing import FLOAT, Array, Editor, Fault, attribute, set_attribute, several, static
from onnx import NodeProto
from planted_layers import LAYERS, fits, kernel_shape, listed, seen

POSITIVE = (
    "Relu Sigmoid Softmax Abs Exp Softplus Clip MaxPool Flatten Reshape Transpose Squeeze Unsqueeze GlobalMaxPool"
)
NORMS = "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization"


def _ulp(array: Array, rng: np.random.Generator) -> Array:
    flat = array.copy().reshape(-1)
    place = int(rng.integers(flat.size))
    flat[place] = np.nextafter(flat[place], flat.dtype.type(np.inf))
    return flat.reshape(array.shape)


def ulp(places: dict[str, Sequence[int]]) -> Fault:
    """One unit in the last place of one element of a constant operand, by the operator's name."""

    def plant(_: Editor, new: Editor) -> bool:
        def operands(node: NodeProto) -> list[tuple[int, Array]]:
            found = [(i, new.constant(node.input[i])) for i in places.get(node.op_type, ()) if i < len(node.input)]
            return [(i, a) for i, a in found if a is not None and a.dtype.kind == "f" and a.size and seen(new, node)]

        node = new.one(n for n in new.nodes if operands(n))
        if node is None:
            return False
        index, array = operands(node)[int(new.rng.integers(len(operands(node))))]
        new.replace(node, index, _ulp(array, new.rng))
        return True

    return plant


def epsilon(_: Editor, new: Editor) -> bool:
    """One unit in the last place of a norm's epsilon."""
    node = new.node(NORMS)
    if node is None:
        return False
    value = np.float32(attribute(node, "epsilon", 1e-5))
    set_attribute(node, "epsilon", float(np.nextafter(value, np.float32(1))))
    return True


def offset(_: Editor, new: Editor) -> bool:
    """About 1e-30 on each element, another number for each: no Softmax and no mean cancels that."""
    name = new.value(lambda _, shape: static(shape[1:]) and np.prod(shape[1:]) > 1)
    if not name:
        return False
    sizes = [int(size) for size in new.shape(name)[1:]]
    small = (new.rng.uniform(1e-30, 2e-30, (1, *sizes))).astype(np.float32)
    new.behind(name, lambda x: [new.make("Add", x, new.add(small))])
    return True


def channels(_: Editor, new: Editor) -> bool:
    """Two channels of a map change places."""
    name = new.value(lambda name, shape: len(shape) > 3 and _maps(new, name) and several(shape[1]))
    if not name:
        return False
    order = np.arange(new.shape(name)[1])
    one, other = new.rng.choice(order.size, 2, replace=False)
    order[[one, other]] = order[[other, one]]
    new.behind(name, lambda x: [new.make("Gather", x, new.add(order), axis=1)])
    return True


def _maps(new: Editor, name: str) -> bool:
    maker = new.maker(name)
    plain = ("Conv", "Relu", "MaxPool", "BatchNormalization", "AveragePool")
    return maker is not None and maker.op_type in plain and not any(map(new.unordered, new.nodes))


def group(_: Editor, new: Editor) -> bool:
    """A convolution in two groups, each of half of the inputs."""

    def halves(node: NodeProto) -> bool:
        array = new.constant(node.input[1])
        return array is not None and attribute(node, "group", 1) == 1 and array.shape[0] % 2 == array.shape[1] % 2 == 0

    node = new.node("Conv", halves)
    array = None if node is None else new.constant(node.input[1])
    if node is None or array is None:
        return False
    new.replace(node, 1, array[:, : array.shape[1] // 2])
    set_attribute(node, "group", 2)
    return True


def _explicit(new: Editor, node: NodeProto) -> bool:
    shape = new.shape(node.output[0])[2:]
    return bool(shape) and static(shape) and bool(kernel_shape(new, node)) and not attribute(node, "auto_pad")


def stride(_: Editor, new: Editor) -> bool:
    """Twice the step, and each result twice."""
    node = new.node("Conv", lambda n: _explicit(new, n) and any(several(size) for size in new.shape(n.output[0])[2:]))
    if node is None:
        return False
    sizes = [int(size) for size in new.shape(node.output[0])[2:]]
    set_attribute(node, "strides", [2 * s for s in listed(node, "strides", len(sizes), 1)])

    def twice(x: str) -> list[NodeProto]:
        made: list[NodeProto] = []
        for axis, size in enumerate(sizes, start=2):
            made.append(new.make("Gather", made[-1].output[0] if made else x, new.ints(*(i // 2 for i in range(size))),
                                 axis=axis))  # fmt: skip
        return made

    new.behind(node.output[0], twice)
    return True


def dilation(_: Editor, new: Editor) -> bool:
    """A wider kernel over a map that is padded by as much."""

    def odd(node: NodeProto) -> bool:
        return _explicit(new, node) and all(k % 2 for k in kernel_shape(new, node)) and max(kernel_shape(new, node)) > 1

    node = new.node("Conv", lambda n: odd(n) and fits(new, n))
    if node is None:
        return False
    sizes = kernel_shape(new, node)
    pads = listed(node, "pads", 2 * len(sizes), 0)
    set_attribute(node, "dilations", [d + 1 for d in listed(node, "dilations", len(sizes), 1)])
    set_attribute(node, "pads", [p + (k - 1) // 2 for p, k in zip(pads, sizes * 2, strict=True)])
    return True


def pads(_: Editor, new: Editor) -> bool:
    """A map that is padded by one more, and a result that is cut at the other end."""
    node = new.node("Conv", lambda n: _explicit(new, n))
    if node is None:
        return False
    sizes = [int(size) for size in new.shape(node.output[0])[2:]]
    set_attribute(node, "pads", [p + 1 for p in listed(node, "pads", 2 * len(sizes), 0)])
    axes = range(2, 2 + len(sizes))
    new.behind(node.output[0], lambda x: [new.sliced(x, [*axes], [0] * len(sizes), sizes)])
    return True


def rectifier(make: Callable[[Editor, str], NodeProto]) -> Fault:
    """Another function for a Relu of what may be negative."""

    def plant(_: Editor, new: Editor) -> bool:
        def signed(node: NodeProto) -> bool:
            maker = new.maker(node.input[0])
            return new.kinds.get(node.output[0], (FLOAT,))[0] == FLOAT and (
                maker is None or maker.op_type not in POSITIVE.split()
            )

        node = new.node("Relu", signed)
        if node is None:
            return False
        new.instead(node, [make(new, node.input[0])])
        return True

    return plant


# ------------------------------------------------------------------ other functions


def operator(old_type: str, new_type: str, **attributes: object) -> Fault:
    """Another operator of the same operands."""

    def plant(_: Editor, new: Editor) -> bool:
        node = new.node(old_type, lambda n: len(n.input) < 2 or n.input[0] != n.input[1])
        if node is None:
            return False
        node.op_type = new_type
        for key, value in attributes.items():
            set_attribute(node, key, value)
        return True

    return plant


def dropped(op_types: str) -> Fault:
    """A node that gives its first operand."""

    def plant(_: Editor, new: Editor) -> bool:
        node = new.node(op_types, lambda n: new.shape(n.input[0]) == new.shape(n.output[0]) != ())
        if node is None:
            return False
        new.instead(node, [new.make("Identity", node.input[0])])
        return True

    return plant


def swapped(_: Editor, new: Editor) -> bool:
    """The operands of a difference, of a quotient or of a Concat of equal shapes, in another order."""

    def differ(node: NodeProto) -> bool:
        one, other, *_ = node.input
        even = any(reader.op_type in ("Abs", "Pow", "Mul") for reader in new.readers(node.output[0]))
        return one != other and new.shape(one) == new.shape(other) != () and {one, other} <= new.varying and not even

    node = new.node("Sub Div Concat", lambda n: len(n.input) > 1 and differ(n))
    if node is None:
        return False
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return True


def softmax(_: Editor, new: Editor) -> bool:
    """A Softmax over another axis."""
    node = new.node("Softmax LogSoftmax", lambda n: len(new.shape(n.output[0])) > 1)
    if node is None or new.opset < 13:
        return False
    shape = new.shape(node.output[0])
    axis = int(attribute(node, "axis", -1)) % len(shape)  # type: ignore[call-overload]
    if shape[axis] == 1:
        return False
    set_attribute(node, "axis", (axis + 1) % len(shape))
    return True


WEIGHTS = {**{name: [index] for name, index in LAYERS.items()}, "LSTM": [1, 2], "GRU": [1, 2]}
BIASES = {"Conv": [2], "Gemm": [2], "Add": [0, 1], "BatchNormalization": [2], "LayerNormalization": [2], "Sub": [1]}
SCALES = {
    "BatchNormalization": [1], "LayerNormalization": [1], "InstanceNormalization": [1], "Mul": [0, 1], "Div": [1],
    "QuantizeLinear": [1], "DequantizeLinear": [1], "QLinearConv": [1, 4, 6], "QLinearMatMul": [1, 4, 6],
}  # fmt: skip

FAULTS: dict[str, Fault] = {
    "a weight by one ulp": ulp(WEIGHTS),
    "a bias by one ulp": ulp(BIASES),
    "a scale by one ulp": ulp(SCALES),
    "a mean or variance by one ulp": ulp({"BatchNormalization": [3, 4]}),
    "epsilon by one ulp": epsilon,
    "an offset of 1e-30": offset,
    "channels of a map swapped": channels,
    **planted_layers.FAULTS,
    "groups": group,
    "stride, each result twice": stride,
    "dilation, padded": dilation,
    "pads, cut": pads,
    "Relu to LeakyRelu(1e-6)": rectifier(lambda e, x: e.make("LeakyRelu", x, alpha=1e-6)),
    "Relu to Clip(0, 6)": rectifier(lambda e, x: e.clipped(x, 0.0, 6.0)),
    "Relu to Softplus": rectifier(lambda e, x: e.make("Softplus", x)),
    **planted_around.FAULTS,
    "Add to Sub": operator("Add", "Sub"),
    "Max to mean": operator("MaxPool", "AveragePool"),
    "global mean to maximum": operator("GlobalAveragePool", "GlobalMaxPool"),
    "operands swapped": swapped,
    "Softmax of another axis": softmax,
    "activation dropped": dropped("Tanh Sigmoid LeakyRelu Elu HardSwish Erf Gelu"),
    "norm dropped": dropped(NORMS),
}
