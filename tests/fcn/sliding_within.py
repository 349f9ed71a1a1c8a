"""What may stand within a backbone, and what may pool at its end, each in one small network without padding."""

from __future__ import annotations

from onnx import ModelProto
from textmodel import parse


def _normed(axes: list[int]) -> str:
    """What a norm over some axes of `q` makes of it, node by node."""
    return f"""mean = ReduceMean <axes = {axes}> (q)  o = Sub (q, mean)  e = Mul (o, o)
        v = ReduceMean <axes = {axes}> (e)  a = Add (v, scale)  z = Sqrt (a)  d = Div (o, z)"""


WITHIN: dict[str, str] = {
    "shuffle by Gather": "r = Gather <axis = 1> (c, order)",
    "shuffle by Reshape": """q = Reshape (c, apart)  t = Transpose <perm = [0, 2, 1, 3, 4]> (q)
        r = Reshape (t, whole)""",
    "shuffle by Reshape, quantized": """q = Reshape (c, apart)  a = QuantizeLinear (q, step, zp)
        b = DequantizeLinear (a, step, zp)  t = Transpose <perm = [0, 2, 1, 3, 4]> (b)  d = QuantizeLinear (t, step, zp)
        e = DequantizeLinear (d, step, zp)  r = Reshape (e, whole)""",
    "onnxruntime's quantized operators": """a = QuantizeLinear (c, step, zp)
        b = com.microsoft.QLinearLeakyRelu <alpha = 0.1> (a, step, zp, step, zp)
        d = com.microsoft.QLinearAdd (a, step, zp, b, step, zp, step, zp)
        e = com.microsoft.QLinearConcat <axis = 1> (step, zp, b, step, zp, d, step, zp)
        f = com.microsoft.QLinearSoftmax <axis = 1, opset = 13> (e, step, zp, step, zp)
        r = DequantizeLinear (f, step, zp)""",
    "maxout of neighbours": "q = Reshape (c, apart)  r = ReduceMax <axes = [2], keepdims = 0> (q)",
    "maxout of halves": "q = Reshape (c, apart)  r = ReduceMax <axes = [1], keepdims = 0> (q)",
    "maxout by Slice": "a = Slice (c, zero, two, one)  b = Slice (c, two, four, one)  r = Max (a, b)",
    "mean of groups": """q = Reshape (c, apart)  m = ReduceMean <axes = [2]> (q)  s = Squeeze (m, two)
        r = Concat <axis = 1> (s, c)""",
    "maxout of a stack": """a = Slice (c, zero, two, one)  b = Slice (c, two, four, one)  u = Unsqueeze (a, two)
        v = Unsqueeze (b, two)  s = Concat <axis = 2> (u, v)  r = ReduceMax <axes = [2], keepdims = 0> (s)""",
    "constants of the type of the map": """h = CastLike (scale, c)  m = Mul (c, h)  r = CastLike (m, c)""",
    "groups scaled": """q = Reshape (c, apart)  p = Mul (q, halves)  t = Sigmoid (p)  r = Reshape (t, whole)""",
    "softmax of groups": "q = Reshape (c, apart)  s = Softmax <axis = 2> (q)  r = Reshape (s, whole)",
    "groups by Gather, as a view by strides": """q = Gather <axis = 1> (c, in_order)  s = Softmax <axis = 2> (q)
        r = Reshape (s, whole)""",
    "L2 of groups": """q = Reshape (c, apart)  n = ReduceL2 <axes = [2]> (q)  l = Clip (n, scale)  d = Div (q, l)
        r = Reshape (d, whole)""",
    "halves of groups swapped": """q = Reshape (c, apart)  a, b = Split <axis = 2> (q)  d = Concat <axis = 2> (b, a)
        r = Reshape (d, whole)""",
    "PRelu": "r = PRelu (c, g41)",
    "LRN": "r = LRN <size = 3, alpha = 0.1, bias = 1.5> (c)",
    "LRN by a mean over channels": """q = Mul (c, c)  u = Unsqueeze (q, one)  p = Pad (u, rim)
        m = AveragePool <kernel_shape = [3, 1, 1], strides = [1, 1, 1]> (p)  s = Squeeze (m, one)
        d = Mul (s, scale)  e = Add (d, scale)  f = Pow (e, scale)  r = Div (c, f)""",
    "a squeeze that asks for the size": """q = Mul (c, c)  u = Unsqueeze (q, one)
        m = AveragePool <kernel_shape = [3, 1, 1], strides = [1, 1, 1], pads = [1, 0, 0, 1, 0, 0]> (u)
        h = Shape (m)  o = Gather (h, one)  e = Equal (o, one)
        s = If (e) <then_branch = yes () => (float[A,B,C,D] a) { a = Squeeze (m, one) },
                    else_branch = no () => (float[A,B,C,D] d) { d = Identity (m) }>
        t = Reshape (s, large)  r = Sub (c, t)""",
    "pools of tokens, which are along the channels": """t = Transpose <perm = [0, 2, 3, 1]> (c)
        q = Reshape (t, tokens)  m = GlobalAveragePool (q)  g = GlobalMaxPool (q)  d = Sub (q, m)  e = Mul (d, g)
        u = Transpose <perm = [0, 2, 1]> (e)  r = Reshape (u, whole)""",
    "L2 of the channels": "n = ReduceL2 <axes = [1]> (c)  l = Clip (n, scale)  r = Div (c, l)",
    "L2 of the channels, expanded": """n = ReduceL2 <axes = [1]> (c)  l = Clip (n, scale)  s = Shape (c)
        e = Expand (l, s)  r = Div (c, e)""",
    "attention over the cells": """a = ReduceMean <axes = [1]> (c)  b = ReduceMax <axes = [1]> (c)
        d = Concat <axis = 1> (a, b)  e = Conv (d, squeeze)  g = Sigmoid (e)  r = Mul (c, g)""",
    "pads computed from Shape": """s = Shape (c)  h = Gather (s, two)  o = Sub (h, h)
        l = Concat <axis = 0> (o, o, o, o)  j = Concat <axis = 0> (l, l)  r = Pad (c, j)""",
}
"""Along the channels: a cell is the original on its crop."""

CUTS: dict[str, str] = {
    "rows as columns, pooled": "t = Transpose <perm = [0, 1, 3, 2]> (c)  r = MaxPool <kernel_shape = [3, 1]> (t)",
    "rows as columns, convolved": "t = Transpose <perm = [0, 1, 3, 2]> (c)  r = Conv <strides = [1, 2]> (t, tall)",
    "the middle": "r = Slice (c, ones, fives, axes)",
    "the first": "r = Slice (c, zeros, threes, axes)",
    "the last": "r = Slice (c, backs, ends, axes)",
    "up to the last": "r = Slice (c, zeros, backs, axes)",
    "the middle, counted from both ends": "r = Gather <axis = 2> (c, both_ends)",
    "one row": "a = Slice (c, ones, fives, axes)  r = Gather <axis = 2> (a, two)",
    "the cell in the middle": "a = Gather <axis = 3> (c, index)  r = Gather <axis = 2> (a, index)",
    "every second": "r = Slice (c, ones, fives, axes, steps)",
}
"""What cuts a part of the map out: at every window it is that part of it."""

WHOLE: dict[str, str] = {
    "InstanceNormalization": "r = InstanceNormalization (c, g4, h4)",
    "MeanVarianceNormalization": "r = MeanVarianceNormalization <axes = [1, 2, 3]> (c)",
    "GroupNormalization": "r = GroupNormalization <num_groups = 2> (c, g4, h4)",
    "groups by Reshape": """q = Reshape (c, groups)  i = InstanceNormalization (q, g2, h2)  b = Reshape (i, whole)
        m = Mul (b, g41)  r = Add (m, h41)""",
    "groups by the norms of others": """b = Tanh (c)  z = Concat <axis = 1> (b, c)  q = Reshape (z, cube)
        a = Gather <axis = 1> (q, first)  d = Gather <axis = 1> (q, second)  n = ReduceL2 <axes = [3, 4]> (d)
        e = Div (a, n)  i = Reshape (e, whole)  r = MaxPool <kernel_shape = [1, 1]> (i)""",
    "groups by Reshape, computed": """q = Reshape (c, groups)  i = InstanceNormalization (q, g2, h2)  s = Shape (c)
        b = Reshape (i, s)  m = Mul (b, g41)  r = Add (m, h41)""",
    "groups on five dimensions": f"q = Reshape (c, apart)  {_normed([2, 3, 4])}  b = Reshape (d, whole)  r = Tanh (b)",
    "groups on three dimensions": f"q = Reshape (c, groups)  {_normed([2])}  b = Reshape (d, whole)  r = Tanh (b)",
    "groups, channels last": f"""l = Transpose <perm = [0, 2, 3, 1]> (c)  q = Reshape (l, behind)
        {_normed([1, 2, 4])}  b = Reshape (d, last_whole)  t = Transpose <perm = [0, 3, 1, 2]> (b)  r = Tanh (t)""",
    "the whole image": f"""q = Identity (c)  {_normed([1, 2, 3])}
        r = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d)""",
    "a choice of two maps": """b = Tanh (c)  u = Unsqueeze (b, one)  v = Unsqueeze (c, one)
        s = Concat <axis = 1> (u, v)  z = Add (b, c)  p = ReduceMean <axes = [2, 3], keepdims = 0> (z)
        e = Gemm (p, w1)  d = Gemm (e, w2)  p1 = Unsqueeze (p, one)  d1 = Unsqueeze (d, one)
        t = Concat <axis = 1> (p1, d1)  o = Softmax <axis = 1> (t)  o1 = Unsqueeze (o, places)  f = Mul (s, o1)
        r = ReduceSum <keepdims = 0> (f, one)""",
    "one group": """q = Reshape (c, all)  i = InstanceNormalization (q, g1, h1)  b = Reshape (i, whole)
        m = Mul (b, g41)  r = Add (m, h41)""",
    "squeeze and excitation": """p = GlobalAveragePool (c)  a = Conv (p, k1)  e = Relu (a)  d = Conv (e, k2)
        g = Sigmoid (d)  r = Mul (c, g)""",
    "squeeze and excitation, one axis after the other": """m = ReduceMean <axes = [2]> (c)
        p = ReduceMean <axes = [3]> (m)  e = Sigmoid (p)  r = Mul (c, e)""",
    "squeeze and excitation by layers": """p = GlobalAveragePool (c)  a = Flatten (p)  e = Gemm (a, w1)
        d = Gemm (e, w2)  g = Sigmoid (d)  u = Unsqueeze (g, cells)  x1 = Expand (u, large)  r = Mul (c, x1)""",
    "a convolution along the channels": """p = GlobalAveragePool (c)  a = Squeeze (p, last)
        t = Transpose <perm = [0, 2, 1]> (a)  e = Conv <pads = [1, 1]> (t, k3)  d = Transpose <perm = [0, 2, 1]> (e)
        u = Unsqueeze (d, last)  g = Sigmoid (u)  r = Mul (c, g)""",
    "a convolution along the channels, expanded": """p = ReduceMean <axes = [2, 3], keepdims = 0> (c)
        a = Unsqueeze (p, one)  e = Conv <pads = [1, 1]> (a, k3)  g = Sigmoid (e)  q = Reshape (g, column)
        s = Shape (c)  x1 = Expand (q, s)  r = Mul (x1, c)""",
    "softmax over the pooled channels": """p = GlobalAveragePool (c)  t = Reshape (p, pairs)
        e = Softmax <axis = 1> (t)  q = Reshape (e, column)  r = Mul (c, q)""",
    "what mixes the pooled items, in front of a layer": """p = GlobalAveragePool (c)  f = Flatten (p)
        m = LpNormalization <axis = 0> (f)  u = Reshape (m, column)  e = Conv (u, k1)  i = Conv (e, k2)
        g = Sigmoid (i)  r = Mul (c, g)""",
    "response normalization": """n = ReduceL2 <axes = [2, 3]> (c)  m = ReduceMean <axes = [1]> (n)  e = Add (m, scale)
        d = Div (n, e)  f = Mul (c, d)  r = Add (f, c)""",
    "pooled beside the map": """p = GlobalAveragePool (c)  a = Conv (p, k1)  u = Resize <mode = "linear"> (a, , , size)
        r = Concat <axis = 1> (c, u)""",
    "pooled beside the map, expanded": """p = GlobalAveragePool (c)  e = Expand (p, large)
        r = Concat <axis = 1> (e, c)""",
}
"""What reads the whole image: the map is what the original computes of an image of that size."""

POOLING: dict[str, str] = {
    "a mean by the number of cells": """s = Shape (c)  h = Gather (s, axes)  n = ReduceProd <keepdims = 0> (h)
        o = Cast <to = 1> (n)  d = Mul (c, o)  a = GlobalAveragePool (d)  b = GlobalMaxPool (c)""",
    "MaxPool and the mean": "a = MaxPool <kernel_shape = [6, 6], strides = [6, 6]> (c)  b = GlobalAveragePool (c)",
    "MaxPool of stride 1": "a = MaxPool <kernel_shape = [6, 6]> (c)  b = GlobalAveragePool (c)",
    "MaxPool of another stride": """a = MaxPool <kernel_shape = [6, 6], strides = [4, 3]> (c)
        b = AveragePool <kernel_shape = [6, 6], strides = [6, 6]> (c)""",
    "GlobalMaxPool and AveragePool": """a = GlobalMaxPool (c)
        b = AveragePool <kernel_shape = [6, 6], strides = [2, 2]> (c)""",
    "ReduceMax and AveragePool": """a = ReduceMax <axes = [2, 3]> (c)
        b = AveragePool <kernel_shape = [6, 6], strides = [6, 6]> (c)""",
    "MaxPool and MaxPool": """a = MaxPool <kernel_shape = [6, 6], strides = [6, 6]> (c)
        b = MaxPool <kernel_shape = [6, 6]> (c)""",
    "sum and minimum": "a = ReduceSum (c, axes)  b = ReduceMin <axes = [2, 3]> (c)",
    "norms": "a = ReduceL1 <axes = [2, 3]> (c)  b = ReduceL2 <axes = [2, 3]> (c)",
    "squares": "a = ReduceSumSquare <axes = [2, 3]> (c)  b = GlobalMaxPool (c)",
    "a quantized mean": """d = QuantizeLinear (c, step, zp)
        e = com.microsoft.QLinearGlobalAveragePool <channels_last = 0> (d, step, zp, step, zp)
        a = DequantizeLinear (e, step, zp)  b = GlobalMaxPool (c)""",
    "generalized mean": """d = Clip (c, scale)  e = Pow (d, scale)  f = GlobalAveragePool (e)  a = Pow (f, root)
        b = Identity (a)""",
}
"""Two poolings `a` and `b` of the whole map side by side."""

_WEIGHTS = """int64[2,2] in_order = {0, 1, 2, 3}, int64[4] order = {2, 0, 3, 1},
    int64[5] apart = {-1, 2, 2, %(n)d, %(n)d},
    int64[4] whole = {-1, 4, %(n)d, %(n)d}, int64[6] cube = {-1, 2, 2, 2, %(n)d, %(n)d},
    int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4}, int64[1] last = {-1},
    int64[10] rim = {0, 0, 1, 0, 0, 0, 0, 1, 0, 0}, float scale = {0.75}, float step = {0.05}, uint8 zp = {128},
    float root = {1.5}, float[1,2,1,1] squeeze,
    float[4] g4, float[4] h4, float[2] g2, float[2] h2, float[1] g1, float[1] h1, float[4,1,1] g41, float[4,1,1] h41,
    int64[3] groups = {0, 2, -1}, int64[3] all = {0, 1, -1}, float[2,4,1,1] k1, float[4,2,1,1] k2, float[1,1,3] k3,
    int64[2] ones = {1, 1}, int64[2] fives = {5, 4},
    int64[2] zeros = {0, 0}, int64[2] threes = {3, 4}, int64[2] backs = {-2, -3}, int64[2] axes = {2, 3},
    int64[3] both_ends = {1, -4, -3},
    int64[2] ends = {100, 6}, int64 index = {3}, int64 first = {0}, int64 second = {1},
    int64[2] steps = {2, 1}, float[4,2] w1,
    float[2,4] w2, float[4,4,3,1] tall, int64[2] cells = {2, 3}, int64[4] large = {1, 4, %(n)d, %(n)d},
    int64[2] places = {3, 4}, float[1,2,1,1,1] halves, int64[5] behind = {-1, %(n)d, %(n)d, 2, 2},
    int64[4] last_whole = {-1, %(n)d, %(n)d, 4}, int64[4] size = {1, 2, %(n)d, %(n)d}, int64[4] column = {1, 4, 1, 1},
    int64[3] pairs = {1, 2, 2}, int64[3] tokens = {0, -1, 4}"""


def within(body: str, channels: int = 4, size: int = 8, cells: int = 0) -> ModelProto:
    """A network of an image of this size, whose map `r` is made of the map `c` by the body, and a layer over it."""
    n = size - 2
    count = channels * (cells or n * n)
    return parse(
        f"""g (float[1,2,{size},{size}] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,{count}] w,
            {_WEIGHTS % {"n": n}}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body}  row = Flatten (r)
           [fc] y = Gemm <transB = 1> (row, w) }}""",
        opset=opset(body),
    )


def pooling(body: str, joined: str = "r = Concat <axis = 1> (a, b)") -> ModelProto:
    """A network that joins two poolings of its map and has a layer behind."""
    channels = 8 if "Concat" in joined else 4
    return parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,{channels}] w, {_WEIGHTS % {"n": 6}}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body}  {joined}  row = Flatten (r)
           [fc] y = Gemm <transB = 1> (row, w) }}""",
        opset=17,
    )


def opset(body: str) -> int:
    return 21 if "GroupNormalization" in body else 17


def channels(name: str) -> int:
    """How many channels the map `r` has."""
    if name.startswith("maxout"):
        return 2
    if name in ("pooled beside the map, expanded", "onnxruntime's quantized operators"):
        return 8
    return 6 if name in ("mean of groups", "pooled beside the map") else 4
