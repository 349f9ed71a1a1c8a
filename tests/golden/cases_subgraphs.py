"""Subgraphs and functions: scopes of their own. A later issue converts within them; until then they stay valid."""

from __future__ import annotations

from .case import CONVERT, Case
from .cases_gemm import legacy_types

LEFT = (CONVERT, "FC101", "FC102", "FC208", "FC105", "FC201")

CASES = [
    Case(
        "if_with_a_layer_in_each_branch",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w, float[5,24] v>
        { f = Flatten (x)
          y = If (c) <
            then_branch = yes () => (float[N,5] p) { [fc_then] p = Gemm <transB = 1> (f, w) },
            else_branch = no () => (float[N,5] q) { [fc_else] q = Gemm <transB = 1> (f, v) }
          > }""",
        {"fc_then": LEFT, "fc_else": LEFT},
        5,
    ),
    Case(
        "if_before_ir_version_4",  # an initializer must be listed as an input, and a subgraph has none to list it in
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w, float[24,20] v, float[20] b, float[5] d>
        { f = Flatten (x)
          y = If (c) <
            then_branch = yes () => (float[N,5] p) { [fc_then] p = Gemm <transB = 1, alpha = 2.0> (f, w, d) },
            else_branch = no () => (float[N,5] q) {
              [fc_1] g = Gemm <beta = 0.5> (f, v, b)
              k = Constant <value = float[20,5] {PLACE}> ()
              e = Constant <value = float[1] {0.25}> ()
              [fc_2] q = Gemm (g, k, e)
            }
          > }""".replace("PLACE", ", ".join(f"{(7 * i) % 31 - 15}.5" for i in range(100))),
        {"fc_then": LEFT, "fc_1": LEFT, "fc_2": LEFT},
        5,
        opset=9,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "if_reads_the_result_of_a_layer",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] g = Gemm <transB = 1> (f, w)
          y = If (c) <
            then_branch = yes () => (float[N,5] p) { p = Relu (g) },
            else_branch = no () => (float[N,5] q) { q = Identity (g) }
          > }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "if_reads_a_weight_of_the_outer_scope",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y, float[N,5] z) <float[5,24] w>
        { f = Flatten (x)
          [fc] z = Gemm <transB = 1> (f, w)
          y = If (c) <
            then_branch = yes () => (float[N,5] p) { [inner] p = Gemm <transB = 1, alpha = 2.0> (f, w) },
            else_branch = no () => (float[N,5] q) { q = Relu (z) }
          > }""",
        {"fc": [3, 2], "inner": LEFT},
        4,
    ),
    Case(
        "layer_behind_an_if",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w>
        { m = If (c) <
            then_branch = yes () => (float[N,4,3,2] p) { p = Relu (x) },
            else_branch = no () => (float[N,4,3,2] q) { q = Identity (x) }
          >
          f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": LEFT},
        1,
    ),
    Case(
        "loop_with_a_layer_that_feeds_itself",
        """graph (float[N,4,3,2] x) => (float[N,24] y) <int64 trips = {3}, bool go = {1}, float[24,24] w>
        { f = Flatten (x)
          y = Loop (trips, go, f) <
            body = step (int64 i, bool cond, float[N,24] state) => (bool on, float[N,24] next)
            { on = Identity (cond)
              [fc_step] g = MatMul (state, w)
              next = Tanh (g) }
          > }""",
        {"fc_step": LEFT},
        2,
    ),
    Case(
        "function_that_holds_a_layer",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5] b>
        { f = Flatten (x)
          [call] y = local.linear (f, w, b) }
        <domain: "local", opset_import: ["" : 13]>
        linear (a, w, b) => (r)
        { [fc_inner] r = Gemm <transB = 1> (a, w, b) }""",
        {"fc_inner__1": [3, 2]},
        2,
        domains={"local": 1},
    ),
    Case(
        "function_behind_which_a_layer_stands",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w>
        { m = local.twice (x)
          f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }
        <domain: "local", opset_import: ["" : 13]>
        twice (a) => (r)
        { r = Add (a, a) }""",
        {"fc": LEFT},
        1,
        domains={"local": 1},
    ),
]
