"""What is picked by an index, or by its rank, in whatever layout; and what looks only similar."""

from __future__ import annotations

import pytest
from exact_models import compared, text

RANKED = "graph (float[N,4] x) => (float[N,2] y, int64[N,2] z) {{ k = Constant<value_ints = [2]>() {} }}"
WORDS = "graph (int64[N,5] x) => (float[N,5,8] y) <float[10,8] e> {{ {} }}"
POOLED = "graph (float[N,4,6,6] x) => (float[N,4,5,5] y) {{ {} }}"
QUANTIZED = "graph (float[N,4] x) => (uint8[N,4] y) {{ s = Constant<value_float = {}>() {} }}"
GROUPS = "graph (float[N,4,5] x) => (float[N,4,5] y) <float[2] s, float[2] b> {{ y = GroupNormalization<{}>(x, s, b) }}"
POOL = "MaxPool<kernel_shape = [2, 2]>"

SAME = {
    "the axis of a TopK": (RANKED, "y, z = TopK<axis = 1>(x, k)", "y, z = TopK(x, k)"),
    "a TopK of columns": (
        RANKED, "y, z = TopK(x, k)",
        "t = Transpose(x) v, i = TopK<axis = 0>(t, k) y = Transpose(v) z = Transpose(i)",
    ),
    "words in a row": (
        WORDS, "y = Gather(e, x)",
        "r = Constant<value_ints = [-1]>() f = Reshape(x, r) g = Gather(e, f) s = Constant<value_ints = [-1, 5, 8]>() "
        "y = Reshape(g, s)",
    ),
    "words by columns": (
        WORDS, "y = Gather(e, x)",
        "t = Transpose(e) g = Gather<axis = 1>(t, x) y = Transpose<perm = [1, 2, 0]>(g)",
    ),
    "the maximum of what is rectified": (POOLED, f"r = Relu(x) y = {POOL}(r)", f"m = {POOL}(x) y = Relu(m)"),
    "bytes are rectified": (QUANTIZED.replace("{}", "0.5", 1), "y = QuantizeLinear(x, s)",
                            "r = Relu(x) y = QuantizeLinear(r, s)"),
}  # fmt: skip
OTHER = {
    "the least": (RANKED, "y, z = TopK(x, k)", "y, z = TopK<largest = 0>(x, k)"),
    "no order": (RANKED, "y, z = TopK(x, k)", "y, z = TopK<sorted = 0>(x, k)"),
    "another order of ties": (
        RANKED, "y, z = TopK(x, k)",
        "p = Constant<value_ints = [3, 2, 1, 0]>() g = Gather<axis = 1>(x, p) y, i = TopK(g, k) "
        "t = Constant<value_int = 3>() z = Sub(t, i)",
    ),
    "other words": (WORDS, "y = Gather(e, x)", "n = Constant<value_int = 9>() i = Sub(n, x) y = Gather(e, i)"),
    "the mean of what is rectified": (
        POOLED, "r = Relu(x) y = AveragePool<kernel_shape = [2, 2]>(r)",
        "m = AveragePool<kernel_shape = [2, 2]>(x) y = Relu(m)"),
    "a scale below 0": (QUANTIZED.replace("{}", "-0.5", 1), "y = QuantizeLinear(x, s)",
                        "r = Relu(x) y = QuantizeLinear(r, s)"),
    "groups of the older definition": (GROUPS, "num_groups = 2", "num_groups = 2, epsilon = 0.00001001"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_what_is_picked(name: str) -> None:
    whole, *pair = (SAME | OTHER)[name]
    found = compared(*(text(whole.format(each), opset=18 if whole is GROUPS else 17) for each in pair))
    assert found.proved == (name in SAME)
    assert found.parted == (name in OTHER)
