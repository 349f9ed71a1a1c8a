"""Layers that are left, each with its true reason and the node that caused it."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper

from fc2conv.options import Options

from .case import CONVERT, Case

PAIR = """graph (float[N,4,3,2] x) => (float[N,3] y) <float[5,24] w, float[3,5] v>
{ f = Flatten (x)
  [head_fc1] a = Gemm <transB = 1> (f, w)
  [head_fc2] y = Gemm <transB = 1> (a, v) }"""


def integer_weight(model: ModelProto) -> None:
    """Small integers in place of the zeros that rounding makes of normal values."""
    values = np.arange(48, dtype=np.int32).reshape(24, 2) % 7 - 3
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))


CASES = [
    Case(
        "kept_no_feature_map",
        """graph (float[N,10] x) => (float[N,5] y) <float[10,8] w, float[8,5] v>
        { [fc1] a = MatMul (x, w)
          r = Relu (a)
          [fc2] y = MatMul (r, v) }""",
        {"fc1": "FC101@fc1", "fc2": "FC101"},
    ),
    Case(
        "kept_product_of_two_activations",
        """graph (float[N,4,3,2] x) => (float[N,4,3,3] y)
        { t = Transpose <perm = [0, 1, 3, 2]> (x)
          [attention] y = MatMul (x, t) }""",
        {"attention": "FC201@attention"},
    ),
    Case(
        "kept_view_lost_at_topk",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <int64[1] k = {24}, float[5,24] w>
        { f = Flatten (x)
          [sort] t, i = TopK (f, k)
          [fc] y = Gemm <transB = 1> (t, w) }""",
        {"fc": ("FC102@sort", "FC301@sort")},
    ),
    Case(
        "kept_view_lost_in_an_lstm",
        """graph (float[N,4,1,6] x) => (float[6,N,5] y)
        <int64[1] two = {2}, float[1,32,4] wx, float[1,32,8] wh, int64[1] one = {1}, float[8,5] w>
        { s = Squeeze (x, two)
          t = Transpose <perm = [2, 0, 1]> (s)
          [lstm] h = LSTM <hidden_size = 8> (t, wx, wh)
          q = Squeeze (h, one)
          [fc] y = MatMul (q, w) }""",
        {"fc": ("FC102@lstm", "FC301@lstm")},
    ),
    Case(
        "kept_view_lost_in_cumsum_over_the_flat_axis",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <int64 axis = {1}, float[5,24] w>
        { f = Flatten (x)
          [running] t = CumSum (f, axis)
          [fc] y = Gemm <transB = 1> (t, w) }""",
        {"fc": (CONVERT, "FC102@running", "FC301@running")},
        3,
    ),
    Case(
        "kept_batch_is_contracted",
        """graph (float[24,4,1,1] x) => (float[4,5] y) <float[24,5] w>
        { f = Flatten (x)
          t = Transpose <perm = [1, 0]> (f)
          [fc] y = MatMul (t, w) }""",
        {"fc": "FC103"},
    ),
    Case(
        "kept_rank_is_not_known",
        """graph (float[N,4,3,2] x) => (float[M,5] y)
        <int64[1] all = {-1}, int64[1] zero = {0}, int64[1] two = {2}, int64[2] target = {-1, 24}, float[24,5] w>
        { v = Reshape (x, all)
          first = Slice (v, zero, two)
          bad = IsNaN (first)
          good = Not (bad)
          s = Compress <axis = 0> (target, good)
          [hide] f = Reshape (x, s)
          [fc] y = MatMul (f, w) }""",
        {"fc": ("FC105", "FC102@hide", "FC301")},
    ),
    Case(
        "kept_integers",
        """graph (int32[N,4,3,2] x) => (int32[N,2] y) <int32[24,2] w>
        { f = Flatten (x)
          [fc] y = MatMul (f, w) }""",
        {"fc": "FC204"},
        edit=integer_weight,
    ),
    Case(
        "kept_both_operands_are_constants",
        """graph (float[N,4,3,2] x) => (float[N,4,3,2] y) <float[3,4] u, float[4,2] v>
        { [fold] k = MatMul (u, v)
          y = Mul (x, k) }""",
        {"fold": "FC207@fold"},
    ),
    Case("kept_excluded", PAIR, {"head_fc1": [3, 2], "head_fc2": "FC302"}, 2, options=Options(exclude=("*fc2",))),
    Case(
        "kept_excluded_first",
        PAIR,
        {"head_fc1": "FC302", "head_fc2": ("FC101", "FC102", "FC301", "FC302", CONVERT)},
        3,
        options=Options(exclude=("head_fc1",)),
    ),
    Case("kept_not_included", PAIR, {"head_fc1": [3, 2], "head_fc2": "FC302"}, 2, options=Options(include=("*fc1",))),
    Case("kept_all_excluded", PAIR, {"head_fc1": "FC302", "head_fc2": "FC302"}, 1, options=Options(exclude=("*",))),
    Case(
        "kept_nameless_nodes_go_by_their_output",
        """graph (float[N,4,3,2] x) => (float[N,3] y) <float[5,24] w, float[3,5] v>
        { f = Flatten (x)
          hidden = Gemm <transB = 1> (f, w)
          y = Gemm <transB = 1> (hidden, v) }""",
        {"hidden": [3, 2], "y": "FC302"},
        2,
        options=Options(exclude=("y",)),
    ),
    Case(
        "kept_attention_on_tokens_behind_a_softmax",
        """graph (float[N,4,3,2] x) => (float[N,6,4] y)
        <int64[3] s = {0, 4, 6}, float[4,4] wq, float[4,4] wk, float[4,4] wv, float[4,4] wo>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          [q] q = MatMul (t, wq)
          [k] k = MatMul (t, wk)
          [v] v = MatMul (t, wv)
          kt = Transpose <perm = [0, 2, 1]> (k)
          [scores] a = MatMul (q, kt)
          p = Softmax <axis = -1> (a)
          [mix] m = MatMul (p, v)
          [out] y = MatMul (m, wo) }""",
        {
            **dict.fromkeys(("q", "k", "v"), ([1, 1], [1])),
            **dict.fromkeys(("scores", "mix"), "FC201"),
            "out": (CONVERT, "FC301"),
        },
        8,
    ),
    Case(
        "kept_product_that_gives_its_batch_to_one_item",
        """graph (float[N,1,2,4] x) => (float[N,5] y) <float[3,4,4] w, float[5,24] v>
        { [many] m = MatMul (x, w)
          f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, v) }""",
        {"many": "FC203", "fc": (CONVERT, "FC102", "FC301")},
        2,
        options=Options(scope="all", max_added_transposes=9),
    ),
    Case(
        "kept_product_that_gives_its_batch_and_a_rank",
        """graph (float[2,4] x) => (float[3,2,5] y) <float[3,4,4] w, float[5,4] v, float[4,5] u>
        { [many] m = MatMul (x, w)
          [fc] y = MatMul (m, u) }""",
        {"many": "FC203", "fc": CONVERT},
        4,
        options=Options(scope="all", max_added_transposes=9),
    ),
]
