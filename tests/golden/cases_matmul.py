"""MatMul of every rank, on either side, with its Add and Mul."""

from __future__ import annotations

from .case import CONVERT, Case

FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"


def tail(name: str, declared: str, nodes: str, layout: int | None = 1) -> Case:
    """Flatten, MatMul to `m`, and what follows, down to `y`."""
    text = f"{FLAT} <float[24,5] w, {declared}> {{ f = Flatten (x)\n [fc] m = MatMul (f, w)\n {nodes} }}"
    return Case(name, text, {"fc": [3, 2]}, layout)


def static_tail(name: str, declared: str, nodes: str, output: str = "[3,5]", layout: int | None = 2) -> Case:
    text = f"""graph (float[3,4,3,2] x) => (float{output} y) <float[24,5] w, {declared}>
    {{ f = Flatten (x)
       [fc] m = MatMul (f, w)
       {nodes} }}"""
    return Case(name, text, {"fc": [3, 2]}, layout)


CASES = [
    Case(
        "matmul_rank_1",
        """graph (float[1,4,3,3] x) => (float[5] y) <int64[1] shape = {-1}, float[36,5] w, float[5] b>
        { f = Reshape (x, shape)
          [fc] m = MatMul (f, w)
          y = Add (m, b) }""",
        {"fc": [3, 3]},
        1,
    ),
    Case(
        "matmul_rank_2",
        f"{FLAT} <float[24,5] w> {{ f = Flatten (x)\n [fc] y = MatMul (f, w) }}",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "matmul_rank_3_tokens",
        """graph (float[N,4,3,2] x) => (float[N,6,5] y) <int64[3] shape = {0, 4, -1}, float[4,5] w, float[5] b>
        { f = Reshape (x, shape)
          t = Transpose <perm = [0, 2, 1]> (f)
          [fc] m = MatMul (t, w)
          y = Add (m, b) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "matmul_rank_4_channels_last_and_back",
        """graph (float[N,4,3,2] x) => (float[N,5,3,2] y) <float[4,5] w, float[5] b>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          [fc] m = MatMul (t, w)
          a = Add (b, m)
          y = Transpose <perm = [0, 3, 1, 2]> (a) }""",
        {"fc": [1, 1]},
        0,
    ),
    Case(
        "matmul_rank_5_channels_last",
        """graph (float[N,4,2,3,2] x) => (float[N,2,3,2,5] y) <float[4,5] w>
        { t = Transpose <perm = [0, 2, 3, 4, 1]> (x)
          [fc] y = MatMul (t, w) }""",
        {"fc": [1, 1, 1]},
        1,
    ),
    Case(
        "matmul_weight_has_leading_ones",
        f"{FLAT} <float[1,24,5] w, int64[1] axis = {{0}}> "
        "{ f = Flatten (x)\n [fc] m = MatMul (f, w)\n y = Squeeze (m, axis) }",
        {"fc": ([3, 2], "FC203")},
        2,
    ),
    Case(
        "matmul_weight_is_a_vector",
        """graph (float[N,4,3,2] x) => (float[N] y) <float[24] w>
        { f = Flatten (x)
          [fc] y = MatMul (f, w) }""",
        {"fc": ([3, 2], "FC205")},
        2,
    ),
    Case(
        "matmul_over_the_width",
        """graph (float[N,4,3,2] x) => (float[N,4,3,5] y) <float[2,5] w, float[5] b>
        { [fc] m = MatMul (x, w)
          y = Add (b, m) }""",
        {"fc": CONVERT},
        2,
    ),
    Case(
        "matmul_over_all_of_space_keeps_channels",
        """graph (float[N,4,3,2] x) => (float[N,4,5] y) <int64[3] shape = {0, 0, -1}, float[6,5] w>
        { f = Reshape (x, shape)
          [fc] y = MatMul (f, w) }""",
        {"fc": CONVERT},
        4,
    ),
    Case(
        "matmul_constant_on_the_left_contracts_channels",
        """graph (float[N,4,3,2] x) => (float[N,5,6] y) <int64[3] shape = {0, 4, -1}, float[5,4] w>
        { f = Reshape (x, shape)
          [fc] y = MatMul (w, f) }""",
        {"fc": [1, 1]},
        1,
    ),
    Case(
        "matmul_constant_on_the_left_of_a_transposed_flat",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5,1] b>
        { f = Flatten (x)
          t = Transpose <perm = [1, 0]> (f)
          [fc] m = MatMul (w, t)
          a = Add (m, b)
          y = Transpose <perm = [1, 0]> (a) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "matmul_constant_on_the_left_mixes_rows",
        """graph (float[N,4,3,2] x) => (float[N,4,7,2] y) <float[7,3] w>
        { [fc] y = MatMul (w, x) }""",
        {"fc": CONVERT},
        2,
    ),
    tail("matmul_add", "float[5] b", "y = Add (m, b)"),
    tail("matmul_add_constant_first", "float[5] b", "y = Add (b, m)"),
    tail("matmul_add_1_m", "float[1,5] b", "y = Add (m, b)"),
    tail("matmul_add_scalar", "float[1] b", "y = Add (m, b)"),
    tail("matmul_mul_then_add", "float[5] s, float[5] b", "z = Mul (m, s)\n y = Add (z, b)"),
    tail("matmul_add_then_mul", "float[5] b, float[1,5] s", "z = Add (m, b)\n y = Mul (s, z)"),
    tail("matmul_mul_by_a_scalar", "float s = {0.125}", "y = Mul (m, s)"),
    tail("matmul_sub_and_div", "float[5] b, float[5] svar", "z = Sub (m, b)\n y = Div (z, svar)"),
    tail("matmul_constant_minus_layer", "float[5] b", "y = Sub (b, m)"),
    static_tail("matmul_add_n_1_is_no_bias", "float[3,1] b", "y = Add (m, b)"),
    static_tail("matmul_add_n_m_is_no_bias", "float[3,5] b", "y = Add (m, b)"),
    static_tail("matmul_add_raises_the_rank", "float[2,1,5] b", "y = Add (m, b)", "[2,3,5]", 3),
    static_tail("matmul_mul_n_1", "float[3,1] b", "y = Mul (m, b)"),
    Case(
        "matmul_add_of_an_activation",
        """graph (float[N,4,3,2] x, float[N,5] r) => (float[N,5] y) <float[24,5] w>
        { f = Flatten (x)
          [fc] m = MatMul (f, w)
          y = Add (r, m) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "matmul_value_before_its_add_is_read_elsewhere",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,5] z) <float[24,5] w, float[5] b>
        { f = Flatten (x)
          [fc] m = MatMul (f, w)
          y = Add (m, b)
          z = Relu (m) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "matmul_value_before_its_add_is_an_output",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,5] m) <float[24,5] w, float[5] b>
        { f = Flatten (x)
          [fc] m = MatMul (f, w)
          y = Add (m, b) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "matmul_bias_of_two_adds",
        f"{FLAT} <float[24,5] w, float[5] b, float[5] c> "
        "{ f = Flatten (x)\n [fc] m = MatMul (f, w)\n z = Add (m, b)\n y = Add (c, z) }",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "matmul_of_a_value_by_itself_added",
        f"{FLAT} <float[24,5] w> {{ f = Flatten (x)\n [fc] m = MatMul (f, w)\n y = Add (m, m) }}",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "matmul_token_mixing_as_mixers_do",
        """graph (float[N,4,3,2] x) => (float[N,6,4] y)
        <int64[3] shape = {0, 4, 6}, float[6,8] w1, float[8] b1, float[8,6] w2, float[6] b2, float[4,4] w3>
        { f = Reshape (x, shape)
          [mix1] m1 = MatMul (f, w1)
          a1 = Add (m1, b1)
          r1 = Relu (a1)
          [mix2] m2 = MatMul (r1, w2)
          a2 = Add (m2, b2)
          s = Add (f, a2)
          t = Transpose <perm = [0, 2, 1]> (s)
          [channels] y = MatMul (t, w3) }""",
        {"mix1": CONVERT, "mix2": CONVERT, "channels": CONVERT},
        6,
    ),
    Case(
        "matmul_batched_weight_over_channels",
        """graph (float[N,4,3,2] x) => (float[N,4,3,5] y) <float[4,2,5] w>
        { [fc] y = MatMul (x, w) }""",
        {"fc": ("FC203", "FC301", CONVERT)},
        3,
    ),
]
