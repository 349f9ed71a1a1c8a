"""Softmax and its kin: before opset 13 they flatten to two dimensions at `axis`."""

from __future__ import annotations

from .case import CONVERT, Case


def behind(name: str, op: str, opset: int) -> Case:
    """A layer and a Softmax over its result."""
    text = f"""graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5] c>
    {{ f = Flatten (x)
       [fc] g = Gemm <transB = 1> (f, w, c)
       y = {op} (g) }}"""
    return Case(name, text, {"fc": [3, 2]}, 1, opset)


def tokens(name: str, op: str, opset: int, layout: int) -> Case:
    """A layer on tokens and a Softmax over its result `[N, L, M]`."""
    text = f"""graph (float[N,4,3,2] x) => (float[N,6,5] y) <int64[3] s = {{0, 4, 6}}, float[4,5] w>
    {{ a = Reshape (x, s)
       t = Transpose <perm = [0, 2, 1]> (a)
       [fc] g = MatMul (t, w)
       y = {op} (g) }}"""
    return Case(name, text, {"fc": [1, 1]}, layout, opset)


CASES = [
    behind("softmax_11_axis_1", "Softmax <axis = 1>", 11),
    behind("softmax_11_default_axis", "Softmax", 11),
    behind("softmax_11_axis_minus_1", "Softmax <axis = -1>", 11),
    behind("softmax_11_axis_0_over_everything", "Softmax <axis = 0>", 11),
    behind("softmax_13_axis_1", "Softmax <axis = 1>", 13),
    behind("softmax_13_default_axis", "Softmax", 13),
    behind("softmax_13_axis_0_over_the_batch", "Softmax <axis = 0>", 13),
    behind("log_softmax_11", "LogSoftmax <axis = 1>", 11),
    behind("log_softmax_13", "LogSoftmax <axis = -1>", 13),
    behind("hardmax_11", "Hardmax <axis = 1>", 11),
    behind("hardmax_13", "Hardmax <axis = -1>", 13),
    tokens("softmax_13_over_the_outputs_of_tokens", "Softmax <axis = -1>", 13, 2),
    tokens("softmax_13_over_tokens", "Softmax <axis = 1>", 13, 2),
    tokens("softmax_11_over_tokens_and_outputs", "Softmax <axis = 1>", 11, 2),
    tokens("softmax_11_over_the_outputs_of_tokens", "Softmax <axis = 2>", 11, 2),
    tokens("log_softmax_11_over_the_outputs_of_tokens", "LogSoftmax <axis = 2>", 11, 2),
    Case(
        "softmax_over_channels_of_the_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w>
        { a = Softmax <axis = 1> (x)
          f = Flatten (a)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "softmax_over_the_flattened_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [norm] a = Softmax <axis = 1> (f)
          [fc] y = Gemm <transB = 1> (a, w) }""",
        {"fc": (CONVERT, "FC301", "FC102@norm")},
        3,
    ),
    Case(
        "softmax_between_two_layers",
        """graph (float[N,4,3,2] x) => (float[N,3] y) <float[5,24] w, float[3,5] v>
        { f = Flatten (x)
          [fc1] g = Gemm <transB = 1> (f, w)
          a = Softmax <axis = 1> (g)
          [fc2] y = Gemm <transB = 1> (a, v) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        1,
        opset=11,
    ),
    Case(
        "argmax_of_the_result",
        """graph (float[N,4,3,2] x) => (int64[N,1] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] g = Gemm <transB = 1> (f, w)
          y = ArgMax <axis = 1, keepdims = 1> (g) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "topk_of_the_result",
        """graph (float[N,4,3,2] x) => (float[N,2] y, int64[N,2] i) <float[5,24] w, int64[1] k = {2}>
        { f = Flatten (x)
          [fc] g = Gemm <transB = 1> (f, w)
          y, i = TopK <axis = -1> (g, k) }""",
        {"fc": [3, 2]},
        2,
    ),
]
