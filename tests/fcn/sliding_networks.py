"""Small networks without padding: one with any tail behind its layer, and one with any pooling in front of it."""

from __future__ import annotations

from collections.abc import Callable

from onnx import ModelProto
from textmodel import parse

Load = Callable[[str], ModelProto]
HEAD = "float[4,2,3,3] k, float[5,36] w, float[5] b"
"""A convolution without padding of [N,2,8,8], every second pixel, and a layer over its 4x3x3 map."""


def network(tail: str, opset: int = 13, outputs: str = "float[N,5] y", extra: str = "") -> ModelProto:
    """An unpadded network whose scores are `s` [N,5]; `tail` makes the output of it."""
    return parse(
        f"""g (float[N,2,8,8] x) => ({outputs}) <{HEAD}{extra}>
        {{
          c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)
          r = Relu (c)
          f = Flatten (r)
          [fc] s = Gemm <transB = 1> (f, w, b)
          {tail}
        }}""",
        opset=opset,
    )


POOLED = {
    "GlobalAveragePool": ("p = GlobalAveragePool (c)  f = Flatten (p)", 13),
    "GlobalMaxPool": ("p = GlobalMaxPool (c)  f = Flatten (p)", 13),
    "ReduceMean": ("f = ReduceMean <axes = [2, 3], keepdims = 0> (c)", 13),
    "ReduceMean, kept dimensions": ("p = ReduceMean <axes = [-1, -2]> (c)  f = Reshape (p, row)", 13),
    "ReduceMean of opset 18": ("p = ReduceMean (c, axes)  f = Flatten (p)", 18),
    "twice ReduceMean": (
        "q = ReduceMean <axes = [3], keepdims = 0> (c)  f = ReduceMean <axes = [2], keepdims = 0> (q)",
        13,
    ),
    "tokens": ("q = Reshape (c, rows)  f = ReduceMean <axes = [2], keepdims = 0> (q)", 13),
    "channels last": (
        "t = Transpose <perm = [0, 2, 3, 1]> (c)  f = ReduceMean <axes = [1, 2], keepdims = 0> (t)",
        13,
    ),
    "ReduceMax": ("f = ReduceMax <axes = [2, 3], keepdims = 0> (c)", 13),
    "AveragePool": ("p = AveragePool <kernel_shape = [6, 6]> (c)  f = Flatten (p)", 13),
    "AveragePool, wide stride": ("p = AveragePool <kernel_shape = [6, 6], strides = [6, 6]> (c)  f = Flatten (p)", 9),
    "AveragePool, larger than the map": (
        "p = AveragePool <kernel_shape = [7, 8], pads = [0, 1, 1, 1]> (c)  f = Flatten (p)",
        9,
    ),
    "squeezed": ("p = GlobalAveragePool (c)  f = Squeeze <axes = [2, 3]> (p)", 11),
}


def pooled(name: str) -> ModelProto:
    body, opset = POOLED[name]
    return parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,4] w, float[5] b,
            int64[2] row = {{-1, 4}}, int64[3] rows = {{0, 4, 36}}, int64[2] axes = {{2, 3}}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body}  [fc] y = Gemm <transB = 1> (f, w, b) }}""",
        opset=opset,
    )
