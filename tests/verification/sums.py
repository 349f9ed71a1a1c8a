"""Layers that became the sum of several convolutions: cases made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case, Weights
from numpy.typing import NDArray


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
