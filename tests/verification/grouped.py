"""Layers with a matrix for each index of an axis: cases made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case
from numpy.typing import NDArray


def kernel(weight: NDArray[Any], *size: int) -> NDArray[Any]:
    """Matrices [G, K, M] as the kernel [G * M, *size] of a convolution in G groups."""
    return np.ascontiguousarray(weight.swapaxes(1, 2)).reshape(-1, *size)


TOKENS = Case(
    "a_matrix_for_each_head",
    """g (float[N,4,3,6] x) => (float[N,4,3,5] y) {
        [fc1] a = MatMul(x, W)
        c = Add(a, b)
        r = Relu(c)
        [fc2] y = MatMul(r, V)
    }""",
    """g (float[N,4,3,6] x) => (float[N,4,3,5] y)
    <int64[4] to_map = {0, 24, 3, 1}, int64[4] to_heads = {0, 4, 5, 3}> {
        t = Transpose<perm=[0,1,3,2]>(x)
        m = Reshape(t, to_map)
        [fc1] c_conv = Conv<group=4>(m, W_conv, b_conv)
        r_conv = Relu(c_conv)
        [fc2] y_conv = Conv<group=4>(r_conv, V_conv)
        h = Reshape(y_conv, to_heads)
        y = Transpose<perm=[0,1,3,2]>(h)
    }""",
    {"W": (4, 6, 7), "b": (7,), "V": (4, 7, 5)},
    lambda w: {
        "W_conv": kernel(w["W"], 6, 1, 1), "b_conv": np.tile(w["b"], 4), "V_conv": kernel(w["V"], 7, 1, 1)
    },
)  # fmt: skip

CHANNELS = Case(
    "a_matrix_for_each_channel",
    """g (float[N,4,3,2] x) => (float[N,4,1,5] y) <int64[4] rows = {0, 4, 1, 6}> {
        f = Tanh(x)
        r = Reshape(f, rows)
        [fc] m = MatMul(r, W)
        y = Relu(m)
    }""",
    """g (float[N,4,3,2] x) => (float[N,4,1,5] y) <int64[4] rows = {0, 4, 1, 5}> {
        f = Tanh(x)
        [fc] m_conv = Conv<group=4>(f, W_conv)
        s = Relu(m_conv)
        y = Reshape(s, rows)
    }""",
    {"W": (4, 6, 5)},
    lambda w: {"W_conv": kernel(w["W"], 1, 3, 2)},
)

LEFT = Case(
    "a_matrix_on_the_left_for_each_pair_of_indices",
    """g (float[N,2,3,6,4] x) => (float[N,2,3,5,4] y) {
        [fc] a = MatMul(W, x)
        y = Add(a, b)
    }""",
    """g (float[N,2,3,6,4] x) => (float[N,2,3,5,4] y)
    <int64[3] to_map = {0, 36, 4}, int64[5] to_pairs = {0, 2, 3, 5, 4}> {
        m = Reshape(x, to_map)
        [fc] y_conv = Conv<group=6>(m, W_conv, b_conv)
        y = Reshape(y_conv, to_pairs)
    }""",
    {"W": (2, 3, 5, 6), "b": (2, 3, 5, 1)},
    lambda w: {"W_conv": w["W"].reshape(30, 6, 1), "b_conv": w["b"].reshape(30)},
)

CASES: tuple[Case, ...] = (TOKENS, CHANNELS, LEFT)

LETTERS = Case(
    "an_einsum_with_a_letter_in_all_terms",
    """g (float[N,6,4,3] x) => (float[N,5,4,3] y) {
        [fc] a = Einsum<equation="nkgr,gkm->nmgr">(x, W)
        y = Add(a, b)
    }""",
    """g (float[N,6,4,3] x) => (float[N,5,4,3] y)
    <int64[3] to_map = {0, 24, 3}, int64[4] to_groups = {0, 4, 5, 3}> {
        t = Transpose<perm=[0,2,1,3]>(x)
        m = Reshape(t, to_map)
        [fc] y_conv = Conv<group=4>(m, W_conv, b_conv)
        s = Reshape(y_conv, to_groups)
        y = Transpose<perm=[0,2,1,3]>(s)
    }""",
    {"W": (4, 6, 5), "b": (5, 4, 1)},
    lambda w: {"W_conv": kernel(w["W"], 6, 1), "b_conv": w["b"][..., 0].T.reshape(20)},
)
"""An Einsum, which fc2conv itself does not convert so."""
