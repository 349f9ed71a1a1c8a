"""Functions and subgraphs that hold layers: each call and each body by itself, with what they capture."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case

EVERY = Options(scope="all")
LOCAL = {"local": 1}
LINEAR = """
<domain: "local", opset_import: ["" : 17]>
linear (a, w, b) => (r)
{ [inner] r = Gemm <transB = 1> (a, w, b) }"""

CASES = [
    Case(
        "function_called_twice_with_other_shapes",
        f"""graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] w1, float[8] b1, float[5,8] w2, float[5] b2>
        {{ f = Flatten (x)
          [first] h = local.linear (f, w1, b1)
          r = Relu (h)
          [second] y = local.linear (r, w2, b2) }}{LINEAR}""",
        {"inner__1": [3, 2], "inner__2": [1, 1]},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "function_called_with_two_maps_of_other_extents",
        f"""graph (float[N,4,3,2] x, float[N,6,2,2] z) => (float[N,5] y) <float[5,24] w, float[5] b>
        {{ f = Flatten (x)
          g = Flatten (z)
          [first] p = local.linear (f, w, b)
          [second] q = local.linear (g, w, b)
          y = Sub (p, q) }}{LINEAR}""",
        {"inner__1": [3, 2], "inner__2": [2, 2]},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "function_with_its_own_flatten_and_constants",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w>
        { [call] y = local.classify (x, w) }
        <domain: "local", opset_import: ["" : 17]>
        classify (image, w) => (r)
        { shape = Constant <value = int64[2] {-1, 24}> ()
          flat = Reshape (image, shape)
          [inner] p = Gemm <transB = 1> (flat, w)
          r = Relu (p) }""",
        {"inner__1": [3, 2]},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "function_within_a_function",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] w1, float[5,8] w2>
        { [call] y = local.head (x, w1, w2) }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        head (image, w1, w2) => (r)
        { flat = Flatten (image)
          h = local.layer (flat, w1)
          r = local.layer (h, w2) }
        <domain: "local", opset_import: ["" : 17]>
        layer (a, w) => (q)
        { [inner] p = Gemm <transB = 1> (a, w)
          q = Relu (p) }""",
        {"inner__2": CONVERT, "inner__3": CONVERT},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "function_with_attributes_of_the_call",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,8] w1, float[5,8] w2>
        { f = Flatten (x)
          [first] h = local.scaled <alpha = 0.5, turned = 0> (f, w1)
          [second] y = local.scaled <alpha = -2.0, turned = 1> (h, w2) }
        <domain: "local", opset_import: ["" : 17]>
        scaled <alpha, turned> (a, w) => (r)
        { [inner] r = Gemm <alpha: float = @alpha, transB: int = @turned> (a, w) }""",
        {"inner__1": [3, 2], "inner__2": [1, 1]},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "function_of_dynamo_for_a_norm_between_layers",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] w1, float[8] s, float[5,8] w2>
        { f = Flatten (x)
          [fc1] h = Gemm <transB = 1> (f, w1)
          n = local.rms (h, s)
          [fc2] y = Gemm <transB = 1> (n, w2) }
        <domain: "local", opset_import: ["" : 17]>
        rms (a, s) => (r)
        { q = Mul (a, a)
          m = ReduceMean <axes = [-1]> (q)
          u = Sqrt (m)
          d = Div (a, u)
          r = Mul (d, s) }""",
        {"fc1": [3, 2], "fc2": (CONVERT, "FC102", "FC301")},
        1,
        17,
        domains=LOCAL,
    ),
    Case(
        "if_with_layers_on_a_captured_map",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w, float[8,24] v, float[5,8] u>
        { m = Relu (x)
          y = If (c) <
            then_branch = yes () => (float[N,5] p)
            { f = Flatten (m)
              [fc_then] p = Gemm <transB = 1> (f, w) },
            else_branch = no () => (float[N,5] q)
            { g = Flatten (m)
              [fc_else1] h = Gemm <transB = 1> (g, v)
              r = Relu (h)
              [fc_else2] q = Gemm <transB = 1> (r, u) }
          > }""",
        {"fc_then": [3, 2], "fc_else1": [3, 2], "fc_else2": [1, 1]},
        2,
        17,
    ),
    Case(
        "if_within_an_if",
        """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) <float[5,24] w>
        { y = If (c) <
            then_branch = yes () => (float[N,5] p)
            { p = If (c) <
                then_branch = inner_yes () => (float[N,5] s)
                { f = Flatten (x)
                  [deep] s = Gemm <transB = 1> (f, w) },
                else_branch = inner_no () => (float[N,5] t)
                { g = Flatten (x)
                  [deeper] t = Gemm <transB = 1, alpha = 2.0> (g, w) }
              > },
            else_branch = no () => (float[N,5] q)
            { h = Flatten (x)
              [outer] q = Gemm <transB = 1> (h, w) }
          > }""",
        {"deep": [3, 2], "deeper": [3, 2], "outer": [3, 2]},
        3,
        17,
    ),
    Case(
        "loop_with_a_layer_on_a_captured_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <int64 trips = {3}, bool go = {1}, float[5,24] w, int64 zero = {0}, int64[1] last = {-1}>
        { m = Tanh (x)
          f = Flatten (m)
          [first] start = Gemm <transB = 1> (f, w)
          y = Loop (trips, go, start) <
            body = step (int64 i, bool cond, float[N,5] state) => (bool on, float[N,5] next)
            { on = Identity (cond)
              g = Flatten (m)
              [again] d = Gemm <transB = 1, alpha = 0.5> (g, w)
              next = Add (state, d) }
          > }""",
        {"first": [3, 2], "again": [3, 2]},
        2,
        17,
    ),
    Case(
        "loop_in_scope_all",
        """graph (float[N,10] x) => (float[N,10] y) <int64 trips = {3}, bool go = {1}, float[10,10] w, float[10] b>
        { y = Loop (trips, go, x) <
            body = step (int64 i, bool cond, float[N,10] state) => (bool on, float[N,10] next)
            { on = Identity (cond)
              [fc_step] g = Gemm (state, w, b)
              next = Tanh (g) }
          > }""",
        {"fc_step": CONVERT},
        2,
        17,
        options=EVERY,
    ),
    Case(
        "scan_over_maps",
        """graph (float[3,2,4,3,2] x, float[2,5] start) => (float[2,5] y, float[3,2,5] all) <float[5,24] w>
        { y, all = Scan <num_scan_inputs = 1, body = step (float[2,5] state, float[2,4,3,2] map)
            => (float[2,5] next, float[2,5] out)
            { m = MaxPool <kernel_shape = [1, 1]> (map)
              f = Flatten (m)
              [fc] g = Gemm <transB = 1> (f, w)
              next = Add (state, g)
              out = Relu (g) }> (start, x) }""",
        {"fc": [3, 2]},
        1,
        17,
    ),
    Case(
        "scan_with_a_captured_weight_and_map",
        """graph (float[3,2,5] x, float[2,4,3,2] m, float[2,5] start) => (float[2,5] y) <float[5,24] w, float[5,5] v>
        { y, all = Scan <num_scan_inputs = 1, body = step (float[2,5] state, float[2,5] row)
            => (float[2,5] next, float[2,5] out)
            { f = Flatten (m)
              [map] g = Gemm <transB = 1> (f, w)
              [row] h = Gemm <transB = 1> (row, v)
              s = Add (g, h)
              next = Add (state, s)
              out = Relu (s) }> (start, x) }""",
        {"map": [3, 2], "row": (CONVERT, "FC101")},
        1,
        17,
    ),
]
