"""Layers that became the sum of several convolutions: cases made by hand, and the faults that only these can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, Weights
from faults import Fault
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from subject import KERNEL, Array, Subject


def split(weight: NDArray[Any], *shapes: tuple[int, ...]) -> list[NDArray[Any]]:
    """The columns of a weight [M, K] as one kernel after the other."""
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(weight, ends[:-1], axis=1)
    return [np.ascontiguousarray(part.reshape(-1, *shape)) for part, shape in zip(parts, shapes, strict=True)]


def _pyramid(w: Weights) -> Weights:
    return dict(zip(("W_1", "W_2", "W_3"), split(w["W"], (3, 1, 1), (3, 2, 2), (3, 1, 2)), strict=True))


PYRAMID = Case(
    "pyramid_of_pools",
    """g (float[N,3,4,4] x) => (float[N,5] y) {
        p1 = GlobalMaxPool(x)
        p2 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        p3 = AveragePool<kernel_shape=[4,2], strides=[4,2]>(x)
        f1 = Flatten(p1)
        f2 = Flatten(p2)
        f3 = Flatten(p3)
        c = Concat<axis=1>(f1, f2, f3)
        [fc] y = Gemm<transB=1>(c, W, b)
    }""",
    """g (float[N,3,4,4] x) => (float[N,5] y) {
        p1 = GlobalMaxPool(x)
        p2 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        p3 = AveragePool<kernel_shape=[4,2], strides=[4,2]>(x)
        [fc_part] y_part = Conv(p1, W_1, b)
        [fc_part_2] y_part_2 = Conv(p2, W_2)
        y_sum = Add(y_part, y_part_2)
        [fc_part_3] y_part_3 = Conv(p3, W_3)
        [fc] y_s = Add(y_sum, y_part_3)
        y = Flatten(y_s)
    }""",
    {"W": (5, 21), "b": (5,)},
    _pyramid,
)


def _two(w: Weights) -> Weights:
    first, second = split(np.ascontiguousarray(w["W"].T), (3, 2, 4), (4, 3, 2))
    return {"W_1": np.ascontiguousarray(first.transpose(0, 3, 1, 2)), "W_2": second}


TWO_LAYOUTS = Case(
    "sum_of_two_layouts",
    """g (float[N,4,3,2] x, float[N,4,3,2] z) => (float[N,5] y) {
        t = Transpose<perm=[0,2,3,1]>(x)
        a = Flatten(t)
        r = Relu(z)
        b = Flatten(r)
        c = Concat<axis=-1>(a, b)
        m = MatMul(c, W)
        s = Add(v, m)
        y = Relu(s)
    }""",
    """g (float[N,4,3,2] x, float[N,4,3,2] z) => (float[N,5] y) {
        [m_part] s_part = Conv(x, W_1, v)
        r = Relu(z)
        [m_part_2] s_part_2 = Conv(r, W_2)
        s_s = Add(s_part, s_part_2)
        y_s = Relu(s_s)
        y = Flatten(y_s)
    }""",
    {"W": (48, 5), "v": (5,)},
    _two,
)

TWICE = Case(
    "a_map_twice_in_a_sum",
    """g (float[N,2,3,3] x) => (float[N,4] y) {
        a = Flatten(x)
        c = Concat<axis=1>(a, a)
        [fc] y = Gemm<transB=1>(c, W)
    }""",
    """g (float[N,2,3,3] x) => (float[N,4] y) {
        [fc_part] y_part = Conv(x, W_1)
        [fc_part_2] y_part_2 = Conv(x, W_2)
        [fc] y_s = Add(y_part, y_part_2)
        y = Flatten(y_s)
    }""",
    {"W": (4, 36)},
    lambda w: dict(zip(("W_1", "W_2"), split(w["W"], (2, 3, 3), (2, 3, 3)), strict=True)),
)

CASES = (PYRAMID, TWO_LAYOUTS, TWICE)


# ------------------------------------------------------------------ faults


def in_sum(plant: Callable[[Subject, list[NodeProto]], bool]) -> Fault:
    """Plants into the first sum in which that changes anything."""

    def planted(subject: Subject) -> bool:
        sums = [[node for name in names if (node := subject.producer(name))] for names in subject.sums]
        return any(plant(subject, nodes) for nodes in sums)

    return planted


def in_last(change: Callable[[Array], Array]) -> Fault:
    """Changes the kernel of the last convolution of a sum, as columns [M, J]."""

    def plant(subject: Subject, nodes: list[NodeProto]) -> bool:
        node = nodes[-1]
        return subject.replace(node, KERNEL[node.op_type], lambda a: change(a.reshape(len(a), -1)).reshape(a.shape))

    return in_sum(plant)


def last_ulp(columns: Array) -> Array:
    columns[-1, -1] += np.spacing(columns[-1, -1])
    return columns


@in_sum
def swapped(subject: Subject, nodes: list[NodeProto]) -> bool:
    """The layer's columns are dealt to the branches in another order: the second branch's first."""
    tensors = [subject.tensor(node.input[1]) for node in nodes]
    kernels = [numpy_helper.to_array(tensor) for tensor in tensors if tensor is not None]
    if len(kernels) < len(nodes):
        return False
    columns = [kernel.reshape(len(kernel), -1) for kernel in kernels]
    dealt = split(np.concatenate([columns[1], columns[0], *columns[2:]], axis=1), *(k.shape[1:] for k in kernels))
    changed = [not np.array_equal(old, new) for old, new in zip(kernels, dealt, strict=True)]
    if nodes[0].input[0] == nodes[1].input[0] or not any(changed):  # of one map that is the same sum
        return False
    for i, (node, kernel) in enumerate(zip(nodes, dealt, strict=True)):
        subject.model.graph.initializer.append(numpy_helper.from_array(kernel, f"planted_{i}"))
        node.input[1] = f"planted_{i}"
    return True


@in_sum
def bias_again(subject: Subject, nodes: list[NodeProto]) -> bool:
    del subject
    first = next((node for node in nodes if len(node.input) > 2), None)
    other = next((node for node in nodes if len(node.input) == 2), None)
    if first is None or other is None:
        return False
    other.input.append(first.input[2])
    return True


@in_sum
def dropped(subject: Subject, nodes: list[NodeProto]) -> bool:
    """The last branch is not added."""
    return _instead(subject, nodes, lambda add, last: next(name for name in add.input if name != last), vanishes=True)


@in_sum
def again(subject: Subject, nodes: list[NodeProto]) -> bool:
    """Another branch is added in the place of the last one."""
    return _instead(subject, nodes, lambda add, last: next(name for name in add.input if name != last), vanishes=False)


def _instead(subject: Subject, nodes: list[NodeProto], other: Callable[[NodeProto, str], str], vanishes: bool) -> bool:
    graph, last = subject.model.graph, nodes[-1].output[0]
    add = next(node for node in graph.node if node.op_type == "Add" and last in node.input)
    kept = other(add, last)
    if vanishes:
        for node in graph.node:
            node.input[:] = [kept if name == add.output[0] else name for name in node.input]
        graph.node.remove(add)
    else:
        add.input[:] = [kept if name == last else name for name in add.input]
    graph.node.remove(nodes[-1])
    return True


@in_sum
def negated(subject: Subject, nodes: list[NodeProto]) -> bool:
    """The last branch is subtracted."""
    last = nodes[-1].output[0]
    add = next(node for node in subject.model.graph.node if node.op_type == "Add" and last in node.input)
    add.op_type, add.input[:] = "Sub", [next(name for name in add.input if name != last), last]
    return True


FAULTS: dict[str, Fault] = {
    "sum: last kernel permuted": in_last(lambda a: np.roll(a, 1, axis=1)),
    "sum: last kernel's outputs reversed": in_last(lambda a: a[::-1]),
    "sum: last kernel by 1 ulp": in_last(last_ulp),
    "sum: two kernels' columns swapped": swapped,
    "sum: bias in two of them": bias_again,
    "sum: a branch dropped": dropped,
    "sum: a branch in another's place": again,
    "sum: a branch subtracted": negated,
}
