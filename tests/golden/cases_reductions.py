"""Heads behind pooling and reductions over space."""

from __future__ import annotations

from .case import CONVERT, Case


def pooled(name: str, nodes: str, declared: str = "", layout: int = 1, opset: int = 13) -> Case:
    """What makes `f` = [N, 4] of the map `x`, and a Gemm that reads it."""
    text = f"""graph (float[N,4,3,2] x) => (float[N,5] y) <{declared + ", " if declared else ""}float[5,4] w,
     float[5] c>
    {{ {nodes}
       [fc] y = Gemm <transB = 1> (f, w, c) }}"""
    return Case(name, text, {"fc": [1, 1]}, layout, opset)


CASES = [
    pooled("gap_flatten", "p = GlobalAveragePool (x)\n f = Flatten (p)"),
    pooled("gmp_reshape", "p = GlobalMaxPool (x)\n f = Reshape (p, s)", "int64[2] s = {0, -1}"),
    pooled("gap_squeeze_input_axes", "p = GlobalAveragePool (x)\n f = Squeeze (p, s)", "int64[2] s = {2, 3}"),
    pooled("gap_squeeze_negative_axes", "p = GlobalAveragePool (x)\n f = Squeeze (p, s)", "int64[2] s = {-1, -2}"),
    pooled("gap_squeeze_attribute", "p = GlobalAveragePool (x)\n f = Squeeze <axes = [2, 3]> (p)", opset=11),
    pooled(
        "gap_squeeze_in_steps",
        "p = GlobalAveragePool (x)\n a = Squeeze (p, s)\n f = Squeeze (a, t)",
        "int64[1] s = {3}, int64[1] t = {2}",
    ),
    Case(
        "gap_squeeze_without_axes",
        """graph (float[3,4,3,2] x) => (float[3,5] y) <float[5,4] w>
        { p = GlobalAveragePool (x)
          f = Squeeze (p)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        1,
    ),
    Case(
        "gap_squeeze_without_axes_drops_the_batch_too",
        """graph (float[1,4,3,2] x) => (float[5] y) <float[4,5] w>
        { p = GlobalAveragePool (x)
          f = Squeeze (p)
          [fc] y = MatMul (f, w) }""",
        {"fc": [1, 1]},
        1,
    ),
    pooled("average_pool_of_all_then_flatten", "p = AveragePool <kernel_shape = [3, 2]> (x)\n f = Flatten (p)"),
    pooled("mean_keepdims_0", "f = ReduceMean <axes = [2, 3], keepdims = 0> (x)"),
    pooled("mean_keepdims_0_negative_axes", "f = ReduceMean <axes = [-1, -2], keepdims = 0> (x)", opset=11),
    pooled(
        "mean_keepdims_1_reshape",
        "p = ReduceMean <axes = [2, 3], keepdims = 1> (x)\n f = Reshape (p, s)",
        "int64[2] s = {-1, 4}",
    ),
    pooled("mean_opset_18_axes_are_an_input", "f = ReduceMean <keepdims = 0> (x, a)", "int64[2] a = {2, 3}", opset=18),
    pooled(
        "mean_twice", "p = ReduceMean <axes = [3], keepdims = 0> (x)\n f = ReduceMean <axes = [2], keepdims = 0> (p)"
    ),
    pooled("max_keepdims_0", "f = ReduceMax <axes = [2, 3], keepdims = 0> (x)"),
    pooled("sum_opset_13_axes_are_an_input", "f = ReduceSum <keepdims = 0> (x, a)", "int64[2] a = {2, 3}"),
    pooled(
        "mean_channels_last",
        "t = Transpose <perm = [0, 2, 3, 1]> (x)\n f = ReduceMean <axes = [1, 2], keepdims = 0> (t)",
    ),
    pooled(
        "mean_over_tokens",
        """a = Reshape (x, s)
        t = Transpose <perm = [0, 2, 1]> (a)
        f = ReduceMean <axes = [1], keepdims = 0> (t)""",
        "int64[3] s = {0, 4, 6}",
        layout=2,
    ),
    pooled(
        "mean_over_flattened_space",
        "a = Reshape (x, s)\n f = ReduceMean <axes = [2], keepdims = 0> (a)",
        "int64[3] s = {0, 4, -1}",
    ),
    Case(
        "mean_over_one_axis_keeps_the_other",
        """graph (float[N,4,3,7] x) => (float[N,7,5] y) <float[4,5] w>
        { p = ReduceMean <axes = [2], keepdims = 0> (x)
          t = Transpose <perm = [0, 2, 1]> (p)
          [fc] y = MatMul (t, w) }""",
        {"fc": ([1], [1, 1])},
        2,
    ),
    Case(
        "mean_over_channels_is_no_pooling",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,6] w>
        { p = ReduceMean <axes = [1], keepdims = 0> (x)
          f = Flatten (p)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102", "FC301")},
        3,
    ),
    Case(
        "mean_of_the_result_over_its_channels",
        """graph (float[N,4,3,2] x) => (float[N,1] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] g = Gemm <transB = 1> (f, w)
          y = ReduceMean <axes = [1], keepdims = 1> (g) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "mean_and_deviation_concatenated",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,8] w>
        { m = ReduceMean <axes = [2, 3], keepdims = 1> (x)
          d = Sub (x, m)
          q = Mul (d, d)
          v = ReduceMean <axes = [2, 3], keepdims = 0> (q)
          s = Sqrt (v)
          a = ReduceMean <axes = [2, 3], keepdims = 0> (x)
          f = Concat <axis = 1> (a, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        1,
    ),
]
