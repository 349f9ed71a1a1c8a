"""Faults that are planted into a right conversion, each as a function that edits the model, or leaves it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from subject import BIAS, KERNEL, Array, Subject

ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu")
Fault = Callable[[Subject], bool]


def kernel(change: Callable[[Array], Array | None]) -> Fault:
    """The first kernel that a change makes different."""

    def plant(subject: Subject) -> bool:
        def changed(array: Array) -> Array:
            made = change(array)
            return array if made is None else made

        return any(subject.replace(node, KERNEL[node.op_type], changed) for node in subject.nodes())

    return plant


def bias(change: Callable[[Array], Array]) -> Fault:
    return lambda s: any(s.replace(n, BIAS[n.op_type], change) for n in s.nodes() if n.op_type in BIAS)


def operand(op_types: str, index: int, change: Callable[[Array], Array]) -> Fault:
    return lambda s: any(s.replace(n, index, change) for n in s.model.graph.node if n.op_type in op_types.split())


def flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def ulp(array: Array) -> Array:
    """The last element that is not the largest number is one unit further from zero."""
    last = array.reshape(-1)[-1:]
    last += 1 if array.dtype.kind in "iu" else np.spacing(last)
    return array


def percent(array: Array) -> Array:
    array.flat[0] = array.flat[0] + 3 if array.dtype.kind in "iu" else array.flat[0] * array.dtype.type(1.01)
    return array


def reordered(shape: Callable[[tuple[int, ...]], tuple[int, ...]], perm: tuple[int, ...]) -> Fault:
    """The kernel's elements, read as of another shape and transposed back."""

    def change(array: Array) -> Array | None:
        if array.ndim != 4:
            return None
        m, *rest = array.shape
        return array.reshape(m, *shape(tuple(rest))).transpose(perm).reshape(array.shape)

    return kernel(change)


def swapped(array: Array, axis: int) -> Array:
    """The first two of an axis change places."""
    index = [1, 0, *range(2, array.shape[axis])][: array.shape[axis]]
    return array.take(index, axis=axis)


def square(array: Array) -> Array | None:
    made = flat(array)
    return made.T.reshape(array.shape) if made.shape[0] == made.shape[1] else None


def attribute(op_types: str, name: str, value: Callable[[NodeProto, Subject], Any], layers: bool = True) -> Fault:
    """Another attribute on the first node of a kind for which there is a value; `layers`: on one that was a layer."""

    def plant(subject: Subject) -> bool:
        nodes = subject.nodes() if layers else subject.model.graph.node
        values = ((n, value(n, subject)) for n in nodes if n.op_type in op_types.split())
        node, made = next((each for each in values if each[1] is not None), (None, None))
        if node is None:
            return False
        kept = [a for a in node.attribute if a.name != name]
        if any(helper.get_attribute_value(a) == made for a in node.attribute if a.name == name):
            return False
        node.ClearField("attribute")
        node.attribute.extend([*kept, helper.make_attribute(name, made)])
        return True

    return plant


def strides(node: NodeProto, subject: Subject) -> list[int] | None:
    """Twice the step; None where there is one window, which every stride leaves as it is."""
    known = {v.name: v for v in onnx.shape_inference.infer_shapes(subject.model).graph.value_info}
    shape = known[node.output[0]].type.tensor_type.shape.dim[2:] if node.output[0] in known else ()
    return [2] * rank(node, subject) if any(d.dim_value > 1 for d in shape) else None


def dilations(node: NodeProto, subject: Subject) -> list[int] | None:
    """Twice the distance; None for a kernel of one element, which every dilation leaves as it is."""
    tensor = subject.tensor(node.input[KERNEL[node.op_type]])
    return [2] * rank(node, subject) if tensor is not None and max(tensor.dims[2:]) > 1 else None


def rank(node: NodeProto, subject: Subject) -> int:
    tensor = subject.tensor(node.input[KERNEL[node.op_type]])
    return 2 if tensor is None else len(tensor.dims) - 2


def no_bias(subject: Subject) -> bool:
    for node in subject.nodes():
        at = BIAS.get(node.op_type, 99)
        tensor = subject.tensor(node.input[at]) if len(node.input) > at else None
        if tensor is not None and numpy_helper.to_array(tensor).any():
            del node.input[at:]
            return True
    return False


def other_operand(index: Callable[[NodeProto], int]) -> Fault:
    """A layer reads the kernel or the bias of another one, of the same shape and not the same numbers."""

    def plant(subject: Subject) -> bool:
        for node in subject.nodes():
            at = index(node)
            mine = subject.tensor(node.input[at]) if len(node.input) > at else None
            for other in subject.model.graph.initializer:
                if mine is None or other.dims != mine.dims or other.data_type != mine.data_type:
                    continue
                if not np.array_equal(numpy_helper.to_array(other), numpy_helper.to_array(mine)):
                    node.input[at] = other.name
                    return True
        return False

    return plant


def unscaled(index: Callable[[NodeProto], int], which: int) -> Fault:
    """alpha (0) or beta (1) is ignored."""

    def plant(subject: Subject) -> bool:
        for name in subject.convs:
            node, factor = subject.producer(name), subject.factors.get(name, (1.0, 1.0))[which]
            if node is not None and factor not in (0.0, 1.0):
                return subject.replace(node, index(node), lambda a, by=factor: a / a.dtype.type(by))
        return False

    return plant


def dropped(op_types: Iterable[str]) -> Fault:
    def plant(subject: Subject) -> bool:
        nodes = list(subject.model.graph.node)
        outputs = {v.name for v in subject.model.graph.output}
        node = next((n for n in nodes if n.op_type in op_types and n.output[0] not in outputs), None)
        if node is None:
            return False
        for other in nodes:
            other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]
        subject.model.graph.node.remove(node)
        return True

    return plant


def activation(subject: Subject) -> bool:
    node = next((n for n in subject.model.graph.node if n.op_type in ACTIVATIONS), None)
    if node is None:
        return False
    node.ClearField("attribute")
    node.op_type = "Softplus"
    return True


def outputs_swapped(subject: Subject) -> bool:
    names = [v.name for v in subject.model.graph.output][:2]
    makers = [subject.producer(name) for name in names]
    if len(names) < 2 or makers[0] is None or makers[1] is None or makers[0] is makers[1]:
        return False
    for maker, name in zip(makers, names[::-1], strict=True):
        assert maker is not None
        maker.output[0] = name
    return True


def boundary(change: Callable[[list[int]], list[int]]) -> Fault:
    """Another target of a Reshape, or axis of a Flatten, behind a layer."""

    def plant(subject: Subject) -> bool:
        node = next((n for n in reversed(subject.model.graph.node) if n.op_type in ("Reshape", "Flatten")), None)
        if node is None:
            return False
        if node.op_type == "Flatten":
            node.attribute[0].i = 0 if change([0, 1])[0] == 1 else 2
            return True
        return subject.replace(node, 1, lambda target: np.array(change(target.tolist()), dtype=np.int64))

    return plant


def another_input(subject: Subject) -> bool:
    """A layer reads what stands before its input's activation, or another value of the same form."""
    for node in subject.nodes():
        before = subject.producer(node.input[0])
        if before is not None and before.op_type in ACTIVATIONS:
            node.input[0] = before.input[0]
            return True
    return False


def offset(subject: Subject) -> bool:
    """A small constant is added to the last output of a layer: one for all of them would vanish in a Softmax."""
    node = next((n for n in subject.nodes() if n.op_type == "Conv"), None)
    if node is None:
        return False
    tensor = subject.tensor(node.input[1])
    if tensor is None:
        return False
    small = np.zeros((tensor.dims[0], *[1] * rank(node, subject)), numpy_helper.to_array(tensor).dtype)
    small[-1] = 1e-7
    subject.model.graph.initializer.append(numpy_helper.from_array(small, "planted"))
    name, node.output[0] = node.output[0], "planted_before"
    place = list(subject.model.graph.node).index(node)
    subject.model.graph.node.insert(place + 1, helper.make_node("Add", ["planted_before", "planted"], [name]))
    return True


def weight_of_the_rest(subject: Subject) -> bool:
    """A weight outside the heads, changed in place."""
    own = {name for node in subject.nodes() for name in node.input}
    for tensor in subject.model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name not in own and array.dtype.kind == "f" and array.size > 1:
            tensor.CopyFrom(numpy_helper.from_array(ulp(array.copy()), tensor.name))
            return True
    return False


def one(values: list[int]) -> list[int]:
    return [1, *values[1:]] if values[0] != 1 else [-1, 1]


FAULTS: dict[str, Fault] = {
    "H and W swapped": reordered(lambda s: (s[0], s[2], s[1]), (0, 1, 3, 2)),
    "HWC for CHW": reordered(lambda s: (s[1], s[2], s[0]), (0, 3, 1, 2)),
    "WHC for CHW": reordered(lambda s: (s[2], s[1], s[0]), (0, 3, 2, 1)),
    "kernel flipped": kernel(lambda a: a[..., ::-1] if a.ndim > 2 else None),
    "channels reversed": kernel(lambda a: a[:, ::-1]),
    "columns shifted by one": kernel(lambda a: np.roll(flat(a), 1, axis=1).reshape(a.shape)),
    "two columns swapped": kernel(lambda a: swapped(flat(a), 1).reshape(a.shape)),
    "two outputs swapped": kernel(lambda a: swapped(a, 0)),
    "outputs reversed": kernel(lambda a: a[::-1]),
    "transB confused (square)": kernel(square),
    "one weight by 1 ulp": kernel(ulp),
    "one weight by 1 %": kernel(percent),
    "one output negated": kernel(lambda a: np.concatenate([-a[:1], a[1:]])),
    "kernel of another layer": other_operand(lambda n: KERNEL[n.op_type]),
    "alpha ignored": unscaled(lambda n: KERNEL[n.op_type], 0),
    "beta ignored": unscaled(lambda _: 2, 1),
    "bias dropped": no_bias,
    "bias doubled": bias(lambda b: b * 2),
    "bias negated": bias(lambda b: -b),
    "bias by 1 ulp": bias(ulp),
    "bias shifted by one": bias(lambda b: np.roll(b, 1)),
    "bias of another layer": other_operand(lambda n: BIAS.get(n.op_type, 99)),
    "pads added": attribute("Conv QLinearConv ConvInteger", "pads", lambda n, s: [1] * 2 * rank(n, s)),
    "stride 2": attribute("Conv QLinearConv ConvInteger", "strides", strides),
    "dilation 2": attribute("Conv QLinearConv ConvInteger", "dilations", dilations),
    "group 2": attribute("Conv QLinearConv ConvInteger", "group", lambda *_: 2),
    "wrong softmax axis": attribute("Softmax LogSoftmax", "axis", lambda *_: 0, layers=False),
    "softmax over a map's last axis": attribute("Softmax LogSoftmax", "axis", lambda *_: 3, layers=False),
    "activation dropped": dropped(ACTIVATIONS),
    "activation of another kind": activation,
    "normalization dropped": dropped(("BatchNormalization",)),
    "batch merged at the boundary": boundary(one),
    "a Transpose's axes swapped": attribute(
        "Transpose", "perm", lambda n, _: (lambda p: [p[0], *p[1:][::-1]])(list(n.attribute[0].ints)), layers=False
    ),
    "output names swapped": outputs_swapped,
    "another input": another_input,
    "a small offset behind the layer": offset,
    "scale of the wrong channel": operand("QLinearConv", 4, lambda a: np.roll(a, 1)),
    "scale of the result": operand("QLinearConv", 6, lambda a: np.nextafter(a, a.dtype.type(np.inf))),
    "zero point of the result": operand("QLinearConv", 7, lambda a: a + np.ones_like(a)),
    "zero point of the input": operand("QLinearConv", 2, lambda a: a + np.ones_like(a)),
    "zero point of the weight": operand("QLinearConv", 5, lambda a: a + np.ones_like(a)),
    "a weight outside the heads by 1 ulp": weight_of_the_rest,
}
