"""Where paths part and meet again: Split, Slice, Gather, residuals, several heads."""

from __future__ import annotations

from .case import CONVERT, Case

CASES = [
    Case(
        "split_of_the_result",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,2] z) <float[6,24] w, int64[2] s = {4, 2}, float[5,4] v>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w)
          b, c = Split <axis = 1> (a, s)
          [fc2] y = Gemm <transB = 1> (b, v)
          z = Sigmoid (c) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        2,
    ),
    Case(
        "split_opset_11_attribute_negative_axis",
        """graph (float[N,4,3,2] x) => (float[N,3] y) <float[6,24] w>
        { f = Flatten (x)
          [fc] a = Gemm <transB = 1> (f, w)
          b, c = Split <axis = -1, split = [3, 3]> (a)
          g = Sigmoid (c)
          y = Mul (b, g) }""",
        {"fc": [3, 2]},
        1,
        opset=11,
    ),
    Case(
        "slice_of_the_result",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <float[6,24] w, int64[1] from = {1}, int64[1] to = {-1}, int64[1] axis = {-1}, float[5,4] v>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w)
          b = Slice (a, from, to, axis)
          [fc2] y = Gemm <transB = 1> (b, v) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        1,
    ),
    Case(
        "slice_with_steps_of_the_result",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <float[6,24] w, int64[1] from = {5}, int64[1] to = {-7}, int64[1] axis = {1}, int64[1] step = {-2},
         float[5,3] v>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w)
          b = Slice (a, from, to, axis, step)
          [fc2] y = Gemm <transB = 1> (b, v) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        1,
    ),
    Case(
        "slice_of_the_flattened_map_at_channels",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <int64[1] from = {6}, int64[1] to = {18}, int64[1] axis = {1}, float[5,12] w>
        { f = Flatten (x)
          [cut] b = Slice (f, from, to, axis)
          [fc] y = Gemm <transB = 1> (b, w) }""",
        {"fc": (CONVERT, "FC102@cut", "FC301")},
        3,
    ),
    Case(
        "slice_of_the_flattened_map_across_channels",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <int64[1] from = {1}, int64[1] to = {11}, int64[1] axis = {1}, float[5,10] w>
        { f = Flatten (x)
          [cut] b = Slice (f, from, to, axis)
          [fc] y = Gemm <transB = 1> (b, w) }""",
        {"fc": (CONVERT, "FC102@cut", "FC301")},
        3,
    ),
    Case(
        "crop_of_the_map",
        """graph (float[N,4,5,4] x) => (float[N,5] y)
        <int64[2] from = {1, 0}, int64[2] to = {-1, 2}, int64[2] axes = {2, 3}, float[5,24] w>
        { b = Slice (x, from, to, axes)
          f = Flatten (b)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "first_token",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <int64[3] s = {0, 4, 6}, int64 zero = {0}, float[5,4] w>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          f = Gather <axis = 1> (t, zero)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102", "FC301")},
        3,
    ),
    Case(
        "residual_between_equal_views",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] w1, float[8,8] w2, float[5,8] w3>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w1)
          r = Relu (a)
          [fc2] b = Gemm <transB = 1> (r, w2)
          s = Add (r, b)
          [fc3] y = Gemm <transB = 1> (s, w3) }""",
        {"fc1": [3, 2], "fc2": [1, 1], "fc3": [1, 1]},
        1,
    ),
    Case(
        "residual_between_unequal_views",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,24] w1, float[5,24] w2>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w1)
          [join] s = Add (f, a)
          [fc2] y = Gemm <transB = 1> (s, w2) }""",
        {"fc1": [3, 2], "fc2": (CONVERT, "FC102@join", "FC301")},
        4,
    ),
    Case(
        "residual_of_tokens",
        """graph (float[N,4,3,2] x) => (float[N,4,3,2] y)
        <int64[3] s = {0, 4, 6}, int64[4] u = {0, 4, 3, 2}, float[4,8] w1, float[8,4] w2>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          [fc1] a = MatMul (t, w1)
          g = Relu (a)
          [fc2] b = MatMul (g, w2)
          q = Add (t, b)
          v = Transpose <perm = [0, 2, 1]> (q)
          y = Reshape (v, u) }""",
        {"fc1": [1, 1], "fc2": [1, 1]},
        0,
    ),
    Case(
        "dueling_heads",
        """graph (float[N,4,3,2] x) => (float[N,6] y)
        <float[8,24] a1, float[6,8] a2, float[8,24] v1, float[1,8] v2, float[1] v2b>
        { f = Flatten (x)
          [advantage1] p = Gemm <transB = 1> (f, a1)
          q = Relu (p)
          [advantage2] a = Gemm <transB = 1> (q, a2)
          [value1] r = Gemm <transB = 1> (f, v1)
          s = Relu (r)
          [value2] v = Gemm <transB = 1> (s, v2, v2b)
          t = Add (v, a)
          m = ReduceMean <axes = [1], keepdims = 1> (a)
          y = Sub (t, m) }""",
        {"advantage1": [3, 2], "advantage2": [1, 1], "value1": [3, 2], "value2": [1, 1]},
        1,
    ),
    Case(
        "two_heads_by_two_reshapes",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,3] z)
        <int64[2] s = {-1, 24}, float[24,5] w, float[24,3] v>
        { f = Reshape (x, s)
          g = Flatten (x)
          [fc1] y = MatMul (f, w)
          [fc2] z = MatMul (g, v) }""",
        {"fc1": [3, 2], "fc2": [3, 2]},
        2,
    ),
    Case(
        "sum_of_three_layers",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] u, float[24,5] v, float[24,5] w>
        { f = Flatten (x)
          [fc1] a = MatMul (f, u)
          [fc2] b = MatMul (f, v)
          [fc3] c = MatMul (f, w)
          s = Sum (a, b, c)
          y = Max (s, a) }""",
        {"fc1": [3, 2], "fc2": [3, 2], "fc3": [3, 2]},
        1,
    ),
    Case(
        "generator_from_a_map_to_a_map",
        """graph (float[N,4,1,1] x) => (float[N,3,5,5] y)
        <float[4,18] w, int64[4] s = {-1, 2, 3, 3}, float[2,3,3,3] k>
        { f = Flatten (x)
          [fc] g = MatMul (f, w)
          r = Relu (g)
          m = Reshape (r, s)
          y = ConvTranspose (m, k) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "result_makes_a_matrix_for_another_product",
        """graph (float[N,3,7] x) => (float[N,7,3] y) <float[8,3,1] k, float[9,8] w, int64[3] s = {-1, 3, 3}>
        { t = Transpose <perm = [0, 2, 1]> (x)
          c = Conv (x, k)
          p = ReduceMax <axes = [2], keepdims = 0> (c)
          [fc] g = Gemm <transB = 1> (p, w)
          m = Reshape (g, s)
          [apply] y = MatMul (t, m) }""",
        {"fc": [1], "apply": "FC201"},
        2,
    ),
]
