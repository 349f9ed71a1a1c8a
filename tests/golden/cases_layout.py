"""Every way to flatten a map, and the traps among them."""

from __future__ import annotations

from fc2conv.options import Options, VerifyOptions

from .case import CONVERT, Case

SHAPE = {"x": (1, 4, 3, 2)}
FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"


def flattened(
    name: str, declared: str, nodes: str, layout: int = 1, kernel: tuple[int, ...] = (3, 2), **more: object
) -> Case:
    """What makes `f` of the map, and a Gemm that reads it."""
    names = f"<{declared + ', ' if declared else ''}float[5,24] w, float[5] c>"
    text = f"{FLAT} {names} {{ {nodes}\n [fc] y = Gemm <transB = 1> (f, w, c) }}"
    return Case(name, text, {"fc": list(kernel)}, layout, **more)  # type: ignore[arg-type]


CASES = [
    flattened("flatten_axis_1", "", "f = Flatten <axis = 1> (x)"),
    flattened("flatten_negative_axis", "", "f = Flatten <axis = -3> (x)", opset=11),
    flattened("flatten_twice", "", "a = Flatten (x)\n f = Flatten (a)"),
    flattened("reshape_0_minus_1", "int64[2] s = {0, -1}", "f = Reshape (x, s)"),
    flattened("reshape_minus_1_k", "int64[2] s = {-1, 24}", "f = Reshape (x, s)"),
    flattened("reshape_allowzero", "int64[2] s = {-1, 24}", "f = Reshape <allowzero = 1> (x, s)", opset=18),
    flattened(
        "reshape_in_steps", "int64[3] s = {0, 4, -1}, int64[2] t = {0, -1}", "a = Reshape (x, s)\n f = Reshape (a, t)"
    ),
    flattened("flatten_behind_a_conv", "float[4,4,1,1] k", "a = Conv (x, k)\n r = Relu (a)\n f = Flatten (r)"),
    flattened("flatten_channels_last", "", "t = Transpose <perm = [0, 2, 3, 1]> (x)\n f = Flatten (t)"),
    flattened("flatten_h_and_w_swapped", "", "t = Transpose <perm = [0, 1, 3, 2]> (x)\n f = Flatten (t)"),
    flattened("flatten_w_h_c", "", "t = Transpose <perm = [0, 3, 2, 1]> (x)\n f = Flatten (t)"),
    flattened("flatten_h_c_w", "", "t = Transpose <perm = [0, 2, 1, 3]> (x)\n f = Flatten (t)"),
    flattened(
        "flatten_by_way_of_tokens",
        "int64[3] s = {0, 4, 6}, int64[2] u = {0, 24}",
        "a = Reshape (x, s)\n t = Transpose <perm = [0, 2, 1]> (a)\n f = Reshape (t, u)",
    ),
    flattened(
        "flatten_by_unsqueeze_and_squeeze",
        "int64[1] one = {1}, int64[2] u = {0, -1}",
        "a = Unsqueeze (x, one)\n b = Squeeze (a, one)\n f = Reshape (b, u)",
    ),
    flattened(
        "flatten_keeps_the_batch_last",
        "int64[2] u = {24, -1}",
        "t = Transpose <perm = [1, 2, 3, 0]> (x)\n a = Reshape (t, u)\n f = Transpose <perm = [1, 0]> (a)",
    ),
    flattened(
        "flatten_behind_a_channel_shuffle",
        "int64[5] s = {0, 2, 2, 3, 2}, int64[4] u = {0, 4, 3, 2}",
        "a = Reshape (x, s)\n t = Transpose <perm = [0, 2, 1, 3, 4]> (a)\n b = Reshape (t, u)\n f = Flatten (b)",
        4,
    ),
    flattened(
        "flatten_behind_space_to_depth_by_hand",
        "int64[5] s = {0, 4, 3, 2, 1}, int64[2] u = {0, -1}",
        "a = Reshape (x, s)\n t = Transpose <perm = [0, 3, 1, 2, 4]> (a)\n f = Reshape (t, u)",
    ),
    flattened(
        "shape_gather_unsqueeze_concat",
        "int64 zero = {0}, int64[1] axes = {0}, int64[1] rest = {-1}",
        """s = Shape (x)
              g = Gather (s, zero)
              u = Unsqueeze (g, axes)
              t = Concat <axis = 0> (u, rest)
              f = Reshape (x, t)""",
    ),
    flattened(
        "shape_slice_concat",
        "int64[1] zero = {0}, int64[1] one = {1}, int64[1] rest = {24}",
        """s = Shape (x)
              b = Slice (s, zero, one, zero)
              t = Concat <axis = 0> (b, rest)
              f = Reshape (x, t)""",
    ),
    flattened(
        "shape_product_of_the_rest",
        "int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64 three = {3}, int64[1] axes = {0}",
        """s = Shape (x)
              n = Gather (s, zero)
              cc = Gather (s, one)
              h = Gather (s, two)
              v = Gather (s, three)
              ch = Mul (cc, h)
              chw = Mul (ch, v)
              nu = Unsqueeze (n, axes)
              ku = Unsqueeze (chw, axes)
              t = Concat <axis = 0> (nu, ku)
              f = Reshape (x, t)""",
    ),
    flattened(
        "shape_with_start_and_end",
        "int64[1] rest = {-1}",
        """n = Shape <start = 0, end = 1> (x)
              t = Concat <axis = 0> (n, rest)
              f = Reshape (x, t)""",
        opset=15,
    ),
    Case(
        "flatten_axis_0_of_one_image",
        """graph (float[1,4,3,2] x) => (float[1,5] y) <float[5,24] w>
        { f = Flatten <axis = 0> (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "flatten_axis_0_merges_the_batch",
        """graph (float[2,4,3,2] x) => (float[1,5] y) <float[5,48] w>
        { [flatten] f = Flatten <axis = 0> (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC103"},
    ),
    Case(
        "reshape_1_minus_1_merges_the_batch",
        """graph (float[2,4,3,2] x) => (float[1,5] y) <int64[2] s = {1, -1}, float[5,48] w>
        { [flatten] f = Reshape (x, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC103"},
    ),
    Case(
        "reshape_1_minus_1_of_one_image",
        """graph (float[1,4,3,2] x) => (float[1,5] y) <int64[2] s = {1, -1}, float[5,24] w>
        { f = Reshape (x, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "reshape_minus_1_18_splits_the_channels",
        """graph (float[N,4,3,3] x) => (float[M,5] y) <int64[2] s = {-1, 18}, float[5,18] w>
        { f = Reshape (x, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102", "FC103", "FC301")},
        4,
    ),
    Case(
        "reshape_cuts_across_axes",
        """graph (float[N,4,3,2] x) => (float[M,5] y) <int64[2] s = {-1, 8}, float[5,8] w>
        { [cut] f = Reshape (x, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": ("FC102@cut", "FC103", "FC301")},
    ),
    Case(
        "flatten_axis_2_rows_of_channels",
        """graph (float[N,4,3,2] x) => (float[R,5] y) <float[5,6] w>
        { f = Flatten <axis = 2> (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": CONVERT},
        4,
    ),
    Case(
        "flatten_axis_3_rows_of_lines",
        """graph (float[N,4,3,2] x) => (float[R,5] y) <float[5,2] w>
        { f = Flatten <axis = 3> (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": CONVERT},
        4,
    ),
    Case(
        "flatten_axis_rank_makes_single_elements",
        """graph (float[1,4,1,1] x) => (float[4,5] y) <float[5,1] w>
        { f = Flatten <axis = 4> (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC102", "FC101", "FC301")},
        4,
    ),
    Case(
        "trap_c_equals_hw_flat",
        """graph (float[N,6,3,2] x) => (float[N,5] y) <float[36,5] w>
        { f = Flatten (x)
          [fc] y = MatMul (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "trap_c_equals_hw_channels_last",
        """graph (float[N,6,3,2] x) => (float[N,5] y) <float[36,5] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          f = Flatten (t)
          [fc] y = MatMul (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "trap_c_equals_hw_tokens",
        """graph (float[N,6,3,2] x) => (float[N,6,5] y) <int64[3] s = {0, 6, 6}, float[6,5] w>
        { a = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (a)
          [fc] y = MatMul (t, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "trap_c_equals_hw_without_the_transpose",
        """graph (float[N,6,3,2] x) => (float[N,6,5] y) <int64[3] s = {0, 6, 6}, float[6,5] w>
        { a = Reshape (x, s)
          [fc] y = MatMul (a, w) }""",
        {"fc": CONVERT},
        4,
    ),
    Case(
        "trap_batch_equals_channels",
        """graph (float[4,4,3,2] x) => (float[4,5] y) <float[5,24] w>
        { t = Transpose <perm = [1, 0, 2, 3]> (x)
          f = Flatten (t)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC103"},
    ),
    Case(
        "rows_of_pixels_and_back",
        """graph (float[N,4,3,2] x) => (float[N,5,3,2] y)
        <int64[2] s = {-1, 4}, float[5,4] w, int64[4] u = {-1, 3, 2, 5}>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          f = Reshape (t, s)
          [fc] g = Gemm <transB = 1> (f, w)
          b = Reshape (g, u)
          y = Transpose <perm = [0, 3, 1, 2]> (b) }""",
        {"fc": [1, 1]},
        0,
    ),
    Case(
        "rows_of_pixels_left_as_rows",
        """graph (float[N,4,3,2] x) => (float[R,5] y) <int64[2] s = {-1, 4}, float[5,4] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          f = Reshape (t, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "map_of_rank_3",
        """graph (float[N,4,9] x) => (float[N,5] y) <float[6,4,3] k, float[5,42] w>
        { a = Conv <kernel_shape = [3]> (x, k)
          f = Flatten (a)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [7]},
        1,
    ),
    Case(
        "map_of_rank_5",
        """graph (float[N,2,2,3,2] x) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [2, 3, 2]},
        1,
    ),
    Case(
        "map_of_rank_5_channels_last",
        """graph (float[N,2,2,3,2] x) => (float[N,5] y) <float[5,24] w>
        { t = Transpose <perm = [0, 2, 3, 4, 1]> (x)
          f = Flatten (t)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [2, 3, 2]},
        1,
    ),
    Case(
        "input_of_rank_3_that_is_flattened",
        """graph (float[N,8,6] x) => (float[N,5] y) <float[5,48] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "recogniser_sums_over_height_and_channels",
        """graph (float[N,4,3,7] x) => (float[N,7,5] y) <int64[3] s = {0, 7, -1}, float[12,5] w>
        { t = Transpose <perm = [0, 3, 1, 2]> (x)
          f = Reshape (t, s)
          [fc] y = MatMul (f, w) }""",
        {"fc": [3, 1]},
        2,
    ),
    Case(
        "recogniser_time_first",
        """graph (float[N,4,3,7] x) => (float[7,N,5] y) <int64[3] s = {7, -1, 12}, float[12,5] w, float[5] b>
        { t = Transpose <perm = [3, 0, 2, 1]> (x)
          f = Reshape (t, s)
          [fc] m = MatMul (f, w)
          y = Add (m, b) }""",
        {"fc": [3, 1]},
        2,
    ),
    Case(
        "recogniser_sums_over_width",
        """graph (float[N,4,3,7] x) => (float[N,3,5] y) <int64[3] s = {0, 3, -1}, float[28,5] w>
        { t = Transpose <perm = [0, 2, 1, 3]> (x)
          f = Reshape (t, s)
          [fc] y = MatMul (f, w) }""",
        {"fc": [1, 7]},
        2,
    ),
    Case(
        "patches_of_a_map",
        """graph (float[N,3,4,6] x) => (float[N,6,5] y)
        <int64[6] s = {0, 3, 2, 2, 3, 2}, int64[3] u = {0, 6, 12}, float[12,5] w>
        { a = Reshape (x, s)
          t = Transpose <perm = [0, 2, 4, 3, 5, 1]> (a)
          f = Reshape (t, u)
          [fc] y = MatMul (f, w) }""",
        {"fc": CONVERT},
        5,
    ),
    Case(
        "size_of_space_is_not_known",
        """graph (float[N,4,H,W] x) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC104"},
        sizes={"H": 3, "W": 2},
    ),
    Case(
        "size_of_space_is_given",
        """graph (float[N,4,H,W] x) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
        sizes={"H": 3, "W": 2},
        options=Options(input_shapes=SHAPE, verification=VerifyOptions(input_shapes=SHAPE)),
    ),
    Case(
        "size_of_space_is_not_needed_behind_a_global_pool",
        """graph (float[N,4,H,W] x) => (float[N,5] y) <float[5,4] w>
        { p = GlobalAveragePool (x)
          f = Flatten (p)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 1]},
        1,
        sizes={"H": 3, "W": 2},
    ),
    Case(
        "size_of_space_is_not_needed_channels_last",
        """graph (float[N,4,H,W] x) => (float[N,5,H,W] y) <float[4,5] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          [fc] m = MatMul (t, w)
          y = Transpose <perm = [0, 3, 1, 2]> (m) }""",
        {"fc": [1, 1]},
        0,
        sizes={"H": 3, "W": 2},
    ),
]
