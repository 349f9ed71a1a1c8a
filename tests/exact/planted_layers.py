"""Faults of a converted layer: its weight in another order, or another layer's, a bias or a summand that is lost."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from editing import Array, Editor, Fault, attribute
from onnx import NodeProto

LAYERS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Einsum": 1}


def seen(new: Editor, node: NodeProto) -> bool:
    """Whether every element of a layer's weight meets one of the map: not so where a kernel is larger than its map."""
    padded = any(listed(node, "pads", 1, 0)) or attribute(node, "auto_pad")
    return node.op_type != "Conv" or not padded or fits(new, node)


def fits(new: Editor, node: NodeProto) -> bool:
    """Whether a kernel is no larger than its map, of which the sizes are known."""
    kernel, sizes = kernel_shape(new, node), new.shape(node.input[0])[2:]
    return len(kernel) == len(sizes) and all(isinstance(n, int) and n >= k for n, k in zip(sizes, kernel, strict=True))


def kernel_shape(new: Editor, node: NodeProto) -> tuple[int, ...]:
    """The sizes of a convolution's kernel; () where it is no constant."""
    array = new.constant(node.input[1])
    return () if array is None else array.shape[2:]


def listed(node: NodeProto, name: str, count: int, default: int) -> list[int]:
    """A list of integers that is an attribute, or so many defaults."""
    return list(attribute(node, name, [default] * count))  # type: ignore[call-overload]


def _summed_alone(node: NodeProto) -> bool:
    """Whether an Einsum sums its weight over an axis that nothing else has, so that its order is nothing."""
    equation = str(attribute(node, "equation", b"").decode()) if node.op_type == "Einsum" else ""  # type: ignore[attr-defined]
    return "->" in equation and any(equation.count(letter) == 1 for letter in equation if letter.isalpha())


def kernel(change: Callable[[Array], Array]) -> Fault:
    """A layer's weight, changed."""

    def plant(_: Editor, new: Editor) -> bool:
        def changed(node: NodeProto) -> Array | None:
            index = LAYERS.get(node.op_type, 99)
            array = new.constant(node.input[index]) if index < len(node.input) else None
            made = None if array is None or array.ndim < 2 or _summed_alone(node) else change(array)
            return None if made is None or np.array_equal(made, array) or not seen(new, node) else made  # type: ignore[arg-type]

        node = new.one(n for n in new.nodes if n.op_type in LAYERS and changed(n) is not None)
        if node is None:
            return False
        array = changed(node)
        assert array is not None
        new.replace(node, LAYERS[node.op_type], array)
        return True

    return plant


def _flipped(array: Array) -> Array:
    return np.flip(array, axis=tuple(range(2, array.ndim)))


def _inputs_swapped(array: Array) -> Array:
    return array if array.shape[1] < 2 else array[:, [1, 0, *range(2, array.shape[1])][: array.shape[1]]]


def _outputs_swapped(array: Array) -> Array:
    return array if len(array) < 2 else array[[1, 0, *range(2, len(array))]]


def _shifted(array: Array) -> Array:
    return np.roll(array.reshape(len(array), -1), 1, axis=1).reshape(array.shape)


def _channels_last(array: Array) -> Array:
    """What is read as of channels last, of an array that has them first."""
    rows, channels, *space = array.shape
    return np.moveaxis(array.reshape(rows, *space, channels), -1, 1) if prod(space) > 1 else array


def groups(_: Editor, new: Editor) -> bool:
    """The kernels of the first two groups change places."""
    node = new.node("Conv", lambda n: attribute(n, "group", 1) != 1 and seen(new, n))
    array = None if node is None else new.constant(node.input[1])
    if node is None or array is None:
        return False
    size = len(array) // int(attribute(node, "group"))  # type: ignore[call-overload]
    new.replace(node, 1, np.concatenate([array[size : 2 * size], array[:size], array[2 * size :]]))
    return True


def other_weight(_: Editor, new: Editor) -> bool:
    """A layer reads the weight of another one."""

    def others(node: NodeProto) -> list[str]:
        index = LAYERS.get(node.op_type, 99)
        own = new.constant(node.input[index]) if index < len(node.input) else None
        if own is None or own.ndim < 2:
            return []
        weights = [(t.name, new.constant(t.name)) for t in new.source.graph.initializer]
        return [n for n, a in weights if a is not None and a.shape == own.shape and a.dtype == own.dtype
                and not np.array_equal(a, own)]  # fmt: skip

    node = new.one(n for n in new.nodes if others(n) and seen(new, n))
    if node is None:
        return False
    node.input[LAYERS[node.op_type]] = others(node)[0]
    return True


def no_bias(_: Editor, new: Editor) -> bool:
    """A layer without its bias."""

    def biased(node: NodeProto) -> bool:
        array = new.constant(node.input[2]) if len(node.input) > 2 else None
        return array is not None and array.size > 1 and np.ptp(array.astype(float)) > 0

    node = new.node("Conv Gemm", biased)
    if node is None:
        return False
    del node.input[2:]
    return True


def no_summand(_: Editor, new: Editor) -> bool:
    """A sum without its second operand."""

    def summed(node: NodeProto) -> bool:
        one, other = node.input
        return {one, other} <= new.varying and new.shape(one) == new.shape(other) == new.shape(node.output[0]) != ()

    node = new.node("Add", summed)
    if node is None:
        return False
    new.instead(node, [new.make("Identity", node.input[0])])
    return True


def ordered(fault: Fault) -> Fault:
    """A fault that is one where nothing treats all channels in one way, as a mean does."""
    return lambda old, new: not any(map(new.unordered, new.nodes)) and fault(old, new)


FAULTS: dict[str, Fault] = {
    "inputs of a weight swapped": kernel(_inputs_swapped),
    "outputs of a weight swapped": ordered(kernel(_outputs_swapped)),
    "columns of a weight shifted by one": kernel(_shifted),
    "channels of a kernel last": kernel(_channels_last),
    "kernel flipped": kernel(_flipped),
    "kernels of two groups swapped": ordered(groups),
    "weight of another layer": other_weight,
    "bias dropped": no_bias,
    "summand dropped": no_summand,
}
