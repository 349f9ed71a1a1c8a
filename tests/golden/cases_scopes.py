"""Scope `all`: layers with no feature map upstream, and those behind opaque nodes."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case

EVERY = Options(scope="all")

CASES = [
    Case(
        "all_mlp_on_vectors",
        """graph (float[N,10] x) => (float[N,5] y)
        <float[8,10] w1, float[8] b1, float[7,8] w2, float[5,7] w3, float[5] b3>
        { [fc1] a = Gemm <transB = 1> (x, w1, b1)
          r = Relu (a)
          [fc2] b = Gemm <transB = 1> (r, w2)
          s = Tanh (b)
          [fc3] y = Gemm <transB = 1> (s, w3, b3) }""",
        {"fc1": CONVERT, "fc2": CONVERT, "fc3": CONVERT},
        2,
        options=EVERY,
    ),
    Case(
        "all_tokens_of_rank_3",
        """graph (float[N,6,8] x) => (float[N,6,8] y) <float[8,16] w1, float[16] b1, float[16,8] w2, float[8] b2>
        { [up] a = MatMul (x, w1)
          c = Add (a, b1)
          g = Relu (c)
          [down] b = MatMul (g, w2)
          d = Add (b, b2)
          y = Add (x, d) }""",
        {"up": CONVERT, "down": CONVERT},
        4,
        options=EVERY,
    ),
    Case(
        "all_unknown_sequence_length",
        """graph (float[N,L,8] x) => (float[N,L,5] y) <float[8,5] w, float[5] b>
        { [fc] a = MatMul (x, w)
          y = Add (b, a) }""",
        {"fc": CONVERT},
        4,
        options=EVERY,
        sizes={"L": 7},
    ),
    Case(
        "all_embedding_and_classifier",
        """graph (int64[N,6] ids) => (float[N,6,9] y) <float[9,4] table>
        { e = Gather (table, ids)
          t = Transpose <perm = [1, 0]> (table)
          [tied] y = MatMul (e, t) }""",
        {"tied": CONVERT},
        4,
        options=EVERY,
    ),
    Case(
        "all_behind_a_layer_norm",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24] gamma, float[24] beta, float[5,24] w>
        { f = Flatten (x)
          b = LayerNormalization <axis = -1> (f, gamma, beta)
          [fc] y = Gemm <transB = 1> (b, w) }""",
        {"fc": CONVERT},
        3,
        opset=17,
        options=EVERY,
    ),
    Case(
        "all_where_the_view_is_lost",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <int64[1] k = {24}, float[5,24] w>
        { f = Flatten (x)
          t, i = TopK (f, k)
          [fc] y = Gemm <transB = 1> (t, w) }""",
        {"fc": CONVERT},
        3,
        options=EVERY,
    ),
    Case(
        "all_rank_1_state",
        """graph (float[10] x) => (float[5] y) <float[10,8] w, float[8] b, float[8,5] v>
        { [fc1] a = MatMul (x, w)
          c = Add (b, a)
          r = Relu (c)
          [fc2] y = MatMul (r, v) }""",
        {"fc1": CONVERT, "fc2": CONVERT},
        4,
        options=EVERY,
    ),
    Case(
        "all_folds_the_batch_into_rows",
        """graph (float[N,6,8] x) => (float[N,6,5] y) <int64[2] s = {-1, 8}, float[5,8] w, int64[3] u = {-1, 6, 5}>
        { r = Reshape (x, s)
          [fc] a = Gemm <transB = 1> (r, w)
          y = Reshape (a, u) }""",
        {"fc": CONVERT},
        4,
        options=EVERY,
    ),
    Case(
        "all_merged_batch_is_a_row_of_its_own",
        """graph (float[2,4,3,2] x) => (float[1,5] y) <int64[2] s = {1, -1}, float[5,48] w>
        { f = Reshape (x, s)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": (CONVERT, "FC103")},
        3,
        options=EVERY,
    ),
    Case(
        "all_attention_block",
        """graph (float[N,6,4] x) => (float[N,6,4] y)
        <float[4] gamma, float[4] beta, float[4,4] wq, float[4,4] wk, float[4,4] wv, float[4,4] wo>
        { t = LayerNormalization <axis = -1> (x, gamma, beta)
          [q] q = MatMul (t, wq)
          [k] k = MatMul (t, wk)
          [v] v = MatMul (t, wv)
          kt = Transpose <perm = [0, 2, 1]> (k)
          [scores] a = MatMul (q, kt)
          p = Softmax <axis = -1> (a)
          [mix] m = MatMul (p, v)
          [out] o = MatMul (m, wo)
          y = Add (x, o) }""",
        {"q": CONVERT, "k": CONVERT, "v": CONVERT, "scores": "FC201", "mix": "FC201", "out": CONVERT},
        11,
        opset=17,
        options=EVERY,
    ),
    Case(
        "spatial_budget_allows_a_layer_behind_a_norm",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24] gamma, float[24] beta, float[5,24] w>
        { f = Flatten (x)
          b = LayerNormalization <axis = -1> (f, gamma, beta)
          [fc] y = Gemm <transB = 1> (b, w) }""",
        {"fc": CONVERT},
        3,
        opset=17,
        options=Options(max_added_transposes=4),
    ),
]
