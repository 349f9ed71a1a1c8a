"""Where paths meet: gates that multiply a map, and Concat of maps, flat maps and layers."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case

GATE = "<float[2,4] w1, float[2] c1, float[4,2] w2, float[4] c2{more}>"


def gate(name: str, more: str, nodes: str, layout: int = 0) -> Case:
    """Squeeze and excitation; the nodes make `g` of `e` = [N, 4]."""
    text = f"""graph (float[N,4,3,2] x) => (float[N,4,3,2] y) {GATE.format(more=more)}
    {{ p = GlobalAveragePool (x)
       f = Flatten (p)
       [fc1] a = Gemm <transB = 1> (f, w1, c1)
       r = Relu (a)
       [fc2] b = Gemm <transB = 1> (r, w2, c2)
       e = Sigmoid (b)
       {nodes}
       y = Mul (x, g) }}"""
    return Case(name, text, {"fc1": [1, 1], "fc2": [1, 1]}, layout)


CASES = [
    gate("gate_by_reshape", ", int64[4] s = {-1, 4, 1, 1}", "g = Reshape (e, s)"),
    gate("gate_by_unsqueeze", ", int64[2] s = {2, 3}", "g = Unsqueeze (e, s)"),
    gate(
        "gate_by_two_unsqueezes",
        ", int64[1] s = {2}, int64[1] u = {-1}",
        "a1 = Unsqueeze (e, s)\n g = Unsqueeze (a1, u)",
    ),
    gate(
        "gate_by_expand", ", int64[2] s = {2, 3}, int64[4] u = {1, 1, 3, 2}", "q = Unsqueeze (e, s)\n g = Expand (q, u)"
    ),
    Case(
        "gate_channels_last",
        """graph (float[N,3,2,4] x) => (float[N,3,2,4] y) <float[4,2] w1, float[2,4] w2, int64[4] s = {-1, 1, 1, 4}>
        { t = Transpose <perm = [0, 3, 1, 2]> (x)
          p = GlobalAveragePool (t)
          q = Transpose <perm = [0, 2, 3, 1]> (p)
          [fc1] a = MatMul (q, w1)
          r = Relu (a)
          [fc2] b = MatMul (r, w2)
          e = Sigmoid (b)
          y = Mul (x, e) }""",
        {"fc1": [1, 1], "fc2": [1, 1]},
        4,
    ),
    Case(
        "shared_mlp_on_two_pools",
        """graph (float[N,4,3,2] x) => (float[N,4,3,2] y) <float[2,4] w1, float[4,2] w2, int64[4] s = {0, 4, 1, 1}>
        { p = GlobalAveragePool (x)
          q = GlobalMaxPool (x)
          pf = Flatten (p)
          qf = Flatten (q)
          [p1] pa = Gemm <transB = 1> (pf, w1)
          [p2] pb = Gemm <transB = 1> (pa, w2)
          [q1] qa = Gemm <transB = 1> (qf, w1)
          [q2] qb = Gemm <transB = 1> (qa, w2)
          a = Add (pb, qb)
          e = Sigmoid (a)
          g = Reshape (e, s)
          y = Mul (g, x) }""",
        {"p1": [1, 1], "p2": [1, 1], "q1": [1, 1], "q2": [1, 1]},
        0,
    ),
    Case(
        "concat_of_gap_and_gmp",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,8] w>
        { p = GlobalAveragePool (x)
          q = GlobalMaxPool (x)
          pf = Flatten (p)
          qf = Flatten (q)
          f = Concat <axis = 1> (pf, qf)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        1,
    ),
    Case(
        "concat_negative_axis_of_keepdims",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,8] w>
        { p = ReduceMean <axes = [2, 3], keepdims = 0> (x)
          q = ReduceMax <axes = [2, 3], keepdims = 0> (x)
          f = Concat <axis = -1> (p, q)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        1,
    ),
    Case(
        "concat_of_flattened_maps_of_equal_extents",
        """graph (float[N,4,3,2] x, float[N,2,3,2] z) => (float[N,5] y) <float[5,36] w>
        { a = Flatten (x)
          b = Flatten (z)
          [join] f = Concat <axis = 1> (a, b)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": ([3, 2], "FC102@join")},
        3,
    ),
    Case(
        "concat_of_flattened_maps_of_unequal_extents",
        """graph (float[N,4,3,2] x, float[N,2,2,2] z) => (float[N,5] y) <float[5,32] w>
        { a = Flatten (x)
          b = Flatten (z)
          [join] f = Concat <axis = 1> (a, b)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102@join", "FC301")},
        4,
    ),
    Case(
        "rows_in_the_batch_beside_the_map_they_came_from",
        """graph (float[1,4,3,2] x) => (float[1,5] y)
        <int64[3] flat = {1, 4, 6}, int64[2] rows = {-1, 4}, int64[3] back = {1, 6, 4}, float[4,4] w, float[4,5] v,
         float[4] g>
        { r = Reshape (x, flat)
          t = Transpose <perm = [0, 2, 1]> (r)
          l = LayerNormalization <axis = -1> (t, g)
          f = Reshape (l, rows)
          [fc] m = MatMul (f, w)
          u = Reshape (m, back)
          a = Add (t, u)
          c = ReduceMean <axes = [1], keepdims = 0> (a)
          [out] y = MatMul (c, v) }""",
        {"fc": (CONVERT, "FC301"), "out": (CONVERT, "FC301")},
        8,
        17,
        options=Options(scope="all"),
    ),
    Case(
        "concat_of_channels_last_flats",
        """graph (float[N,4,3,2] x, float[N,2,3,2] z) => (float[N,5] y) <float[5,36] w>
        { xt = Transpose <perm = [0, 2, 3, 1]> (x)
          zt = Transpose <perm = [0, 2, 3, 1]> (z)
          j = Concat <axis = 3> (xt, zt)
          f = Flatten (j)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "concat_of_a_flat_map_and_a_vector",
        """graph (float[N,4,3,2] x, float[N,3] v) => (float[N,5] y) <float[5,27] w>
        { a = Flatten (x)
          [join] f = Concat <axis = 1> (a, v)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102@join", "FC301")},
        4,
    ),
    Case(
        "concat_of_layers",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[3,24] w1, float[6,24] w2, float[5,9] w>
        { a = Flatten (x)
          [fc1] p = Gemm <transB = 1> (a, w1)
          [fc2] q = Gemm <transB = 1> (a, w2)
          f = Concat <axis = 1> (p, q)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc1": [3, 2], "fc2": [3, 2], "fc": [1, 1]},
        1,
    ),
    Case(
        "concat_of_kernels_of_text",
        """graph (float[N,4,9] x) => (float[N,5] y) <float[3,4,2] k2, float[3,4,3] k3, int64[1] s = {2}, float[5,6] w>
        { a = Conv (x, k2)
          b = Conv (x, k3)
          p = MaxPool <kernel_shape = [8]> (a)
          q = MaxPool <kernel_shape = [7]> (b)
          ps = Squeeze (p, s)
          qs = Squeeze (q, s)
          f = Concat <axis = 1> (ps, qs)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1]},
        1,
    ),
]
