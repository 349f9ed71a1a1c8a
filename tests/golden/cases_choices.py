"""What a caller chooses: budgets of layout nodes, and layers by the names of their nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fc2conv.options import Options

from .case import CONVERT, Case, Expectation

NORMED = """graph (float[N,4,3,2] x) => (float[N,6,4] y)
<int64[3] s = {0, 4, 6}, float[4] g, float[4] o, float[4,8] w1, float[8,4] w2>
{ r = Reshape (x, s)
  t = Transpose <perm = [0, 2, 1]> (r)
  n = LayerNormalization <axis = -1> (t, g, o)
  [up] u = MatMul (n, w1)
  q = Relu (u)
  [down] y = MatMul (q, w2) }"""
HEADS = """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,5] z)
<float[24] g, float[24] o, float[5,24] w, float[5,5] v, float[5] g2, float[5] o2, float[5,5] u>
{ f = Flatten (x)
  n = LayerNormalization <axis = -1> (f, g, o)
  [first] y = Gemm <transB = 1> (n, w)
  m = LayerNormalization <axis = -1> (y, g2, o2)
  [second] h = Gemm <transB = 1> (m, v)
  k = CumSum (h, one)
  [third] z = Gemm <transB = 1> (k, u) }""".replace("float[5,5] u>", "float[5,5] u, int64 one = {1}>")
THREE = """graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] w1, float[8] b1, float[6,8] w2, float[5,6] w3>
{ f = Flatten (x)
  ["head/fc1"] a = Gemm <transB = 1> (f, w1, b1)
  r = Relu (a)
  ["head/fc2"] b = Gemm <transB = 1> (r, w2)
  s = Relu (b)
  ["tail/fc3"] y = Gemm <transB = 1> (s, w3) }"""
FC = ("head/fc1", "head/fc2", "tail/fc3")
KERNELS: tuple[Expectation, ...] = ([3, 2], [1, 1], [1, 1])


def chosen(name: str, left: tuple[int, ...], layout: int, **options: Any) -> Case:
    """The three layers, of which some are left out."""
    expect = {fc: "FC302" if i in left else kernel for i, (fc, kernel) in enumerate(zip(FC, KERNELS, strict=True))}
    return Case(f"chosen_{name}", THREE, expect, layout, options=Options(**options))


def budget(name: str, text: str, expect: Mapping[str, Expectation], layout: int, added: int | None) -> Case:
    """A number of layout nodes that may be added for each head."""
    options = Options(max_added_transposes=added)
    return Case(f"budget_{name}_{added}", text, expect, layout, 17, options=options)


LAYERS = ("first", "second", "third")

CASES = [
    budget("of_tokens", NORMED, {"up": "FC301", "down": "FC301"}, 2, None),
    budget("of_tokens", NORMED, {"up": "FC301", "down": "FC301"}, 2, 0),
    budget("of_tokens", NORMED, {"up": "FC301", "down": "FC301"}, 2, 1),
    budget("of_tokens", NORMED, {"up": CONVERT, "down": CONVERT}, 4, 2),
    budget("of_tokens", NORMED, {"up": CONVERT, "down": CONVERT}, 4, 100),
    Case(
        "budget_of_none_in_scope_all",
        NORMED,
        {"up": "FC301", "down": "FC301"},
        2,
        17,
        options=Options(scope="all", max_added_transposes=0),
    ),
    budget("of_heads", HEADS, dict.fromkeys(LAYERS, "FC301"), 1, 0),
    budget("of_heads", HEADS, dict.fromkeys(LAYERS, "FC301"), 1, 1),
    budget("of_heads", HEADS, dict.fromkeys(LAYERS, CONVERT), 7, 2),
    chosen("nothing_in_particular", (), 1),
    chosen("one_by_name", (0, 2), 3, include=("head/fc2",)),
    chosen("a_folder", (2,), 1, include=("head/*",)),
    chosen("by_a_pattern", (1,), 3, include=("*fc[13]",)),
    chosen("two_patterns", (1,), 3, include=("head/fc1", "tail/*")),
    chosen("all_but_one", (1,), 3, exclude=("head/fc2",)),
    chosen("all_but_a_folder", (0, 1), 3, exclude=("head/*",)),
    chosen("include_less_exclude", (0, 2), 3, include=("head/*",), exclude=("*fc1",)),
    chosen("all_but_all", (0, 1, 2), 1, exclude=("*",)),
]
