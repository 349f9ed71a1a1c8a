"""Pixels that are looked up, pictures without a batch, and values that come from no image, all judged on crops."""

from __future__ import annotations

import numpy as np
import pytest
from execute import run
from onnx import ModelProto, TensorProto
from sliding_judge import CLOSE, apart, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions

_TAIL = """c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (m, k)  r = Tanh (c)  f = Flatten (r)
    [fc] y = Gemm <transB = 1> (f, w)"""
LOOKUPS = {
    "a channel for each number": (
        "int64[1,12,12]",
        "o = OneHot <axis = 1> (x, three, switch)  m = Cast <to = 1> (o)",
    ),
    "a channel for each number, last": (
        "int64[1,12,12]",
        "o = OneHot (x, three, switch)  m = Transpose <perm = [0, 3, 1, 2]> (o)",
    ),
    "rows of a table": ("int64[1,12,12]", "o = Gather (palette, x)  m = Transpose <perm = [0, 3, 1, 2]> (o)"),
    "numbers of a table": ("int64[1,3,12,12]", "m = Gather (curve, x)"),
    "numbers of a table, channels last": (
        "int64[1,12,12,3]",
        "o = Gather (curve, x)  m = Transpose <perm = [0, 3, 1, 2]> (o)",
    ),
    "norm of the channels": ("float[1,3,12,12]", "m = LpNormalization <axis = 1, p = 2> (x)"),
    "rows in the middle": ("float[1,3,14,12]", "m = Gather <axis = 2> (x, rows)"),
    "one picture, channels last": (
        "float[12,12,3]",
        "t = Transpose <perm = [2, 0, 1]> (x)  m = Unsqueeze (t, zero)",
    ),
}
"""What is in front, and the input that it reads."""


def network(name: str) -> ModelProto:
    image, front = LOOKUPS[name]
    return parse(
        f"""g ({image} x) => (float[1,5] y) <float[4,3,3,3] k, float[5,100] w, int64 three = {{3}},
            float[2] switch = {{0.0, 1.0}}, float[4,3] palette, float[4] curve, int64[1] zero = {{0}},
            int64[12] rows = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}>
        {{ {front}  {_TAIL} }}"""
    )


@pytest.mark.parametrize("name", LOOKUPS)
def test_every_cell_is_the_network_on_its_crop(name: str) -> None:
    original = network(name)
    conversion = fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    assert conversion.model is not None
    assert conversion.report.sliding is not None
    (found,) = conversion.report.sliding.inputs
    size = [dim.dim_value for dim in original.graph.input[0].type.tensor_type.shape.dim]
    random, shape = np.random.default_rng(3), list(size)
    for dim, more in zip(found.dims, (6, 8), strict=True):
        shape[dim] += more
    floats = original.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    picture = random.standard_normal(shape).astype(np.float32) if floats else random.integers(0, 3, shape)
    (cells,) = run(conversion.model, {"x": picture})
    assert cells.shape == (1, 5, 4, 5)
    for i, j in ((0, 0), (1, 3), (3, 4)):
        cut = [slice(None)] * len(shape)
        for dim, first in zip(found.dims, (2 * i, 2 * j), strict=True):
            cut[dim] = slice(first, first + size[dim])
        (wanted,) = run(original, {"x": np.ascontiguousarray(picture[tuple(cut)])})
        assert apart(wanted[0], cells[0, :, i, j]) < CLOSE


BESIDE = {
    "joined with the flattened map": "f = Flatten (r)  j = Concat <axis = 1> (f, z)  [fc] y = Gemm <transB = 1> (j, w)",
    "joined with the pooled map": """p = GlobalAveragePool (r)  f = Flatten (p)  s = Relu (z)
        j = Concat <axis = 1> (s, f)  [fc] y = Gemm <transB = 1> (j, w11)""",
    "joined with the map": """[film] h = Gemm <transB = 1> (z, v)  u = Unsqueeze (h, space)  e = Expand (u, cells)
        q = Concat <axis = 1> (r, e)  p = GlobalAveragePool (q)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w8)""",
    "a factor for each channel": """[film] h = Gemm <transB = 1> (z, v)  u = Unsqueeze (h, space)  q = Mul (r, u)
        f = Flatten (q)  [fc] y = Gemm <transB = 1> (f, w100)""",
    "scores of its own": """f = Flatten (r)  [fc] a = Gemm <transB = 1> (f, w100)  [other] b = Gemm <transB = 1> (z, u7)
        y = Add (a, b)""",
}
"""A vector for each image, beside the image."""


@pytest.mark.parametrize("name", BESIDE)
def test_a_vector_beside_the_image_is_the_same_at_every_cell(name: str) -> None:
    original = parse(
        f"""g (float[N,3,12,12] x, float[N,7] z) => (float[N,5] y) <float[4,3,3,3] k, float[5,107] w, float[4,7] v,
            float[5,100] w100, float[5,7] u7, float[5,11] w11, float[5,8] w8, int64[4] cells = {{1, 1, 5, 5}},
            int64[2] space = {{2, 3}}>
        {{ c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)  r = Tanh (c)  {BESIDE[name]} }}"""
    )
    conversion = fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    assert conversion.model is not None
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict.accepted
    random = np.random.default_rng(4)
    picture, vector = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 16, 18), (2, 7)))
    (cells,) = run(conversion.model, {"x": picture, "z": vector})
    for i, j in ((0, 0), (1, 2), (2, 3)):
        crop = np.ascontiguousarray(picture[:, :, 2 * i : 2 * i + 12, 2 * j : 2 * j + 12])
        (wanted,) = run(original, {"x": crop, "z": vector})
        assert apart(wanted, cells[:, :, i, j]) < CLOSE


def test_the_least_number_of_an_image_is_one_node() -> None:
    model = parse(
        """g (float[1,3,12,12] x) => (float[1,5] y) <float[4,3,3,3] k, float[5,100] w>
        { a = ReduceMin <axes = [1, 2, 3]> (x)  b = ReduceMax <axes = [1, 2, 3]> (x)  d = Sub (x, a)  e = Sub (b, a)
          m = Div (d, e) """
        + _TAIL
        + " }"
    )
    assert [node.op_type for node in slid(model).graph.node[:2]] == ["ReduceMin", "ReduceMax"]
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    assert report.verification.verdict.accepted


ONE_AXIS = {
    "a kernel of one row": (40, "u = Unsqueeze (x, two)  c = Conv <strides = [1, 2]> (u, k5)  f = Flatten (c)", 72),
    "two of them, channels last": (
        40,
        """t = Transpose <perm = [0, 2, 1]> (x)  u = Unsqueeze (t, two)
        c = Conv <kernel_shape = [1, 5], strides = [1, 2]> (u, k5)  s = Squeeze (c, two)  r = Relu (s)
        v = Unsqueeze (r, two)  d = Conv (v, k3)  e = Squeeze (d, two)  f = Flatten (e)""",
        64,
    ),
}
"""Signals whose convolutions are written for two dimensions."""


@pytest.mark.parametrize("name", ONE_AXIS)
def test_signals_exported_with_two_dimensions(name: str) -> None:
    size, body, columns = ONE_AXIS[name]
    last = name.endswith("last")
    shape = f"1,{size},2" if last else f"1,2,{size}"
    original = parse(
        f"""g (float[{shape}] x) => (float[1,5] y) <float[4,2,1,5] k5, float[4,4,1,3] k3, float[5,{columns}] w,
            int64[1] two = {{2}}> {{ {body}  [fc] y = Gemm <transB = 1> (f, w) }}"""
    )
    sliding = slid(original)
    signal = np.random.default_rng(6).standard_normal((1, size + 11, 2) if last else (1, 2, size + 11))
    signal = signal.astype(np.float32)
    (cells,) = run(sliding, {"x": signal})
    assert cells.shape == (1, 5, 7)
    for i in (0, 3, 5):
        part = slice(2 * i, 2 * i + size)
        (wanted,) = run(original, {"x": np.ascontiguousarray(signal[:, part] if last else signal[:, :, part])})
        assert apart(wanted[0], cells[0, :, i]) < CLOSE
