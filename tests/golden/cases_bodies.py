"""Bodies of Loop and Scan that declare other shapes than they are given, which onnxruntime does not mind."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case

EVERY = Options(scope="all")


def loop(
    name: str, first: str, declared: str, nodes: str, expect: dict[str, object], rank: int = 2, layout: int = 4
) -> Case:
    """A Loop of three iterations over a state that begins as `f`, with `nodes` from `state` to `next`."""
    text = f"""graph (float[N,4,3,2] x) => (float[{",".join("ABCD"[:rank])}] y)
        <int64 trips = {{3}}, bool go = {{1}}, float[24,24] w, float[1,1,1,1] one, int64[3] wide = {{1,-1,24}}>
        {{ {first}
          y = Loop (trips, go, f) <
            body = step (int64 i, bool cond, {declared} state) => (bool on, float[] next) {{
              on = Identity (cond)
              {nodes} }}
          > }}"""
    return Case(name, text, expect, layout, options=EVERY)  # type: ignore[arg-type]


LAYER = "[fc] g = MatMul (state, w)\n next = Tanh (g)"

CASES = [
    loop("state_as_declared", "f = Flatten (x)", "float[N,24]", LAYER, {"fc": CONVERT}),
    loop("state_of_another_rank", "h = Flatten (x)\n f = Add (h, one)", "float[N,24]", LAYER, {"fc": "FC105"}, 4),
    loop("state_of_another_symbol", "f = Flatten (x)", "float[B,24]", LAYER, {"fc": CONVERT}),
    loop(
        "state_that_grows_a_rank",
        "f = Flatten (x)",
        "float[N,24]",
        "[fc] g = MatMul (state, w)\n next = Add (g, one)",
        {"fc": ("FC105", CONVERT)},
        4,
    ),
    loop(
        "state_that_becomes_rows",
        "h = Flatten (x)\n f = Reshape (h, wide)",
        "float[N,1,24]",
        "[fc] g = MatMul (state, w)\n next = Transpose <perm = [1, 0, 2]> (g)",
        {"fc": CONVERT},
        3,
        6,
    ),
    Case(
        "scan_over_maps_of_another_symbol",
        """graph (float[3,N,4,3,2] x, float[N,5] start) => (float[N,5] y) <float[5,24] w>
        { y = Scan <num_scan_inputs = 1, body = step (float[B,5] state, float[B,4,3,2] map) => (float[B,5] next)
            { f = Flatten (map)
              [fc] g = Gemm <transB = 1> (f, w)
              next = Add (state, g) }> (start, x) }""",
        {"fc": [1, 1]},
        2,
        17,
        options=EVERY,
    ),
    Case(
        "scan_within_a_loop",
        """graph (float[N,3,24] x) => (float[N,24] y)
        <int64 trips = {2}, bool go = {1}, float[24,24] w, float[24,24] v, int64[1] axis = {1}>
        { start = ReduceSum <keepdims = 0> (x, axis)
          y = Loop (trips, go, start) <
            body = outer (int64 i, bool cond, float[B,24] state) => (bool on, float[B,24] next)
            { on = Identity (cond)
              last = Scan <num_scan_inputs = 1, scan_input_axes = [1], body = inner
                (float[C,24] carried, float[C,24] row) => (float[C,24] passed)
                { [deep] g = MatMul (carried, w)
                  s = Add (g, row)
                  passed = Tanh (s) }> (state, x)
              [flat] next = MatMul (last, v) }
          > }""",
        {"deep": CONVERT, "flat": CONVERT},
        6,
        17,
        options=EVERY,
    ),
]
