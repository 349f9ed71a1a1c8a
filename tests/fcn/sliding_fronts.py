"""What may stand before the first convolution, each in front of one small network without padding."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto
from textmodel import parse

_NHWC = "float[N,8,8,3]"
_NCHW = "float[N,3,8,8]"


@dataclass(frozen=True)
class Front:
    """A `body` that makes the map `m` of 3 channels of an image `x`; `sizes` are those of a larger image."""

    body: str
    image: str = _NCHW
    extra: str = ""
    opset: int = 17
    stride: int = 2


FRONTS = {
    "mean and variance of the colours": Front(
        "n = MeanVarianceNormalization <axes = [3]> (x)  m = Transpose <perm = [0, 3, 1, 2]> (n)", _NHWC
    ),
    "flip by Gather": Front("m = Gather <axis = 1> (x, flip)"),
    "flip by Gather, channels last": Front(
        "g = Gather <axis = -1> (x, flip)  m = Transpose <perm = [0, 3, 1, 2]> (g)", _NHWC
    ),
    "flip by GatherND": Front(
        """t = Transpose <perm = [3, 0, 1, 2]> (x)  g = GatherND (t, places)
        m = Transpose <perm = [1, 0, 2, 3]> (g)""",
        _NHWC,
        "int64[3,1] places = {2, 1, 0}",
    ),
    "flip by Slice": Front(
        "m = Slice (x, last, first, one, last)",
        extra="int64[1] last = {-1}, int64[1] first = {-9223372036854775807}, int64[1] one = {1}",
    ),
    "flip by Slice, channels last": Front(
        "s = Slice (x, last, first, last, last)  m = Transpose <perm = [0, 3, 1, 2]> (s)",
        _NHWC,
        "int64[1] last = {-1}, int64[1] first = {-9223372036854775807}",
    ),
    "flip by Split": Front("r, g, b = Split <axis = 1> (x)  m = Concat <axis = 1> (b, g, r)", opset=13),
    "flip by Split, channels last": Front(
        """r, g, b = Split <axis = 3> (x)  p = Sub (b, mean)  q = Sub (g, mean)
        c = Concat <axis = 3> (p, q, r)  m = Transpose <perm = [0, 3, 1, 2]> (c)""",
        _NHWC,
        opset=13,
    ),
    "channels one by one": Front(
        """r = Gather <axis = 1> (x, zero)  g = Gather <axis = 1> (x, two)  p = Mul (r, mean)
        u = Unsqueeze (p, at)  v = Unsqueeze (g, at)  m = Concat <axis = 1> (v, u, v)""",
        extra="int64 zero = {0}, int64 two = {2}, int64[1] at = {1}",
    ),
    "grey by Concat": Front("m = Concat <axis = 1> (x, x, x)", "float[N,1,8,8]"),
    "grey by Expand": Front("m = Expand (x, three)", "float[N,1,8,8]", "int64[4] three = {1, 3, 1, 1}"),
    "grey by Expand to a size": Front("m = Expand (x, three)", "float[1,1,8,8]", "int64[4] three = {1, 3, 8, 8}"),
    "grey by Expand, channels last": Front(
        "e = Expand (x, three)  m = Transpose <perm = [0, 3, 1, 2]> (e)", "float[N,8,8,1]", "int64[1] three = {3}"
    ),
    "grey by Tile": Front("m = Tile (x, three)", "float[N,1,8,8]", "int64[4] three = {1, 3, 1, 1}"),
    "grey without channels": Front(
        "u = Unsqueeze (x, at)  m = Expand (u, three)", "float[N,8,8]", "int64[1] at = {1}, int64[4] three = {1,3,1,1}"
    ),
    "grey by broadcasting": Front("m = Mul (x, weights)", "float[N,1,8,8]", "float[3,1,1] weights"),
    "one channel tiled": Front(
        "t = Tile (x, three)  m = Mul (t, weights)",
        "float[N,3,8,8]",
        "int64[4] three = {1, 2, 1, 1}, float[6,1,1] weights",
    ),
    "grey of colours": Front(
        "p = Mul (x, weights)  r = ReduceSum (p, at)  m = Concat <axis = 1> (r, r, r)",
        extra="float[3,1,1] weights, int64[1] at = {1}",
    ),
    "grey of colours, dimension dropped": Front(
        "r = ReduceMean <axes = [1], keepdims = 0> (x)  u = Unsqueeze (r, at)  m = Concat <axis = 1> (u, u, u)",
        extra="int64[1] at = {1}",
    ),
    "normalisation, channels last": Front(
        "a = Sub (x, three)  b = Div (a, spread)  m = Transpose <perm = [0, 3, 1, 2]> (b)",
        _NHWC,
        "float[3] three, float[3] spread = {1.5, 2.0, 0.5}",
    ),
    "normalisation on both sides": Front(
        "a = Mul (x, mean)  t = Transpose <perm = [0, 3, 1, 2]> (a)  b = Sub (t, three)  m = Clip (b, , mean)",
        _NHWC,
        "float[1,3,1,1] three",
    ),
    "sums of channels": Front(
        "s = CumSum <exclusive = 1> (x, last)  m = Transpose <perm = [0, 3, 1, 2]> (s)", _NHWC, "int64 last = {-1}"
    ),
    "the largest channels": Front("m, at = TopK <axis = 1> (x, count)", extra="int64[1] count = {3}"),
    "BatchNormalization": Front(
        "m = BatchNormalization (x, g, h, h, v)", extra="float[3] g, float[3] h, float[3] v = {1.0, 2.0, 0.5}"
    ),
    "gamma": Front("a = Abs (x)  m = Pow (a, mean)"),
    "focus": Front(
        """a = Slice (x, s00, e, ax, st)  b = Slice (x, s10, e, ax, st)  c = Slice (x, s01, e, ax, st)
        m = Concat <axis = 1> (a, b, c)""",
        "float[N,1,16,16]",
        """int64[2] s00 = {0, 0}, int64[2] s10 = {1, 0}, int64[2] s01 = {0, 1}, int64[2] ax = {2, 3},
        int64[2] e = {9223372036854775807, 9223372036854775807}, int64[2] st = {2, 2}""",
        stride=4,
    ),
    "focus, one axis after the other": Front(
        """a = Slice (x, s0, e, ax2, st)  b = Slice (x, s1, e, ax2, st)  c = Slice (a, s0, e, ax3, st)
        d = Slice (b, s1, e, ax3, st)  f = Slice (a, s1, e, ax3, st)  m = Concat <axis = 1> (c, d, f)""",
        "float[N,1,16,16]",
        """int64[1] s0 = {0}, int64[1] s1 = {1}, int64[1] ax2 = {2}, int64[1] ax3 = {3},
        int64[1] e = {9223372036854775807}, int64[1] st = {2}""",
        stride=4,
    ),
    "space to depth": Front(
        "d = SpaceToDepth <blocksize = 2> (x)  m = Gather <axis = 1> (d, flip)", "float[N,1,16,16]", stride=4
    ),
    "focus by Reshape": Front(
        """b = Reshape (x, blocks)  t = Transpose <perm = [0, 3, 5, 1, 2, 4]> (b)  f = Reshape (t, whole)
        m = Gather <axis = 1> (f, flip)""",
        "float[N,1,16,16]",
        "int64[6] blocks = {-1, 1, 8, 2, 8, 2}, int64[4] whole = {-1, 4, 8, 8}",
        stride=4,
    ),
    "focus by Reshape, channels last": Front(
        """b = Reshape (x, blocks)  t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (b)  f = Reshape (t, whole)
        g = Gather <axis = 3> (f, flip)  m = Transpose <perm = [0, 3, 1, 2]> (g)""",
        "float[N,16,16,3]",
        "int64[6] blocks = {-1, 8, 2, 8, 2, 3}, int64[4] whole = {-1, 8, 8, 12}",
        stride=4,
    ),
    "pixels spread by Reshape": Front(
        """b = Reshape (x, blocks)  t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (b)  m = Reshape (t, whole)""",
        "float[N,12,8,8]",
        "int64[6] blocks = {-1, 3, 2, 2, 8, 8}, int64[4] whole = {-1, 3, 16, 16}",
        stride=1,
    ),
    "frames": Front("m = Reshape (x, whole)", "float[N,3,1,8,8]", "int64[4] whole = {-1, 3, 8, 8}"),
    "frames of several channels": Front(
        "t = Transpose <perm = [0, 2, 1, 3, 4]> (x)  f = Reshape (t, whole)  m = Gather <axis = 1> (f, flip)",
        "float[N,2,3,8,8]",
        "int64[4] whole = {-1, 6, 8, 8}",
    ),
    "two views": Front(
        "a = Gather <axis = 1> (x, first)  b = Gather <axis = 1> (x, second)  m = Sub (a, b)",
        "float[N,2,3,8,8]",
        "int64 first = {0}, int64 second = {1}",
    ),
    "resized by factors": Front(
        'm = Resize <mode = "nearest"> (x, , up)', extra="float[4] up = {1.0, 1.0, 2.0, 2.0}", stride=1
    ),
    "resized by factors, channels last": Front(
        'r = Resize <mode = "nearest"> (x, , up)  m = Transpose <perm = [0, 3, 1, 2]> (r)',
        _NHWC,
        "float[4] up = {1.0, 2.0, 2.0, 1.0}",
        stride=1,
    ),
    "resized between pixels": Front(
        'm = Resize <mode = "linear"> (x, , half)', "float[N,3,16,16]", "float[4] half = {1.0, 1.0, 0.5, 0.5}", stride=4
    ),
    "resized between pixels, channels last": Front(
        'r = Resize <mode = "linear"> (x, , , half)  m = Transpose <perm = [0, 3, 1, 2]> (r)',
        "float[1,16,16,3]",
        "int64[4] half = {1, 8, 8, 3}",
        stride=4,
    ),
    "resized to a size": Front(
        'm = Resize <mode = "nearest"> (x, , , up)', "float[1,3,8,8]", "int64[4] up = {1, 3, 4, 4}", stride=4
    ),
    "Reshape to an image": Front("m = Reshape (x, image)", "float[N,8,8]", "int64[4] image = {-1, 1, 8, 8}, "),
    "Reshape to the same": Front("m = Reshape (x, image)", extra="int64[4] image = {-1, 3, 8, 8}"),
    "bytes": Front(
        "f = Cast <to = 1> (x)  d = Div (f, mean)  m = Transpose <perm = [0, 3, 1, 2]> (d)", "uint8[N,8,8,3]"
    ),
    "bytes, flipped": Front("g = Gather <axis = 1> (x, flip)  m = Cast <to = 1> (g)", "uint8[N,3,8,8]"),
    "one picture without a batch": Front(
        "u = Unsqueeze (x, at)  m = Transpose <perm = [0, 3, 1, 2]> (u)", "float[8,8,3]", "int64[1] at = {0}"
    ),
    "constant channel": Front(
        "m = Concat <axis = 1> (x, level)", "float[1,2,8,8]", "float[1,1,8,8] level = {" + ", ".join(["0.5"] * 64) + "}"
    ),
    "a level for every item": Front(
        "s = Shape (x)  n = Gather (s, first)  l = Concat <axis = 0> (n, rest)  e = ConstantOfShape (l)  "
        "m = Concat <axis = 1> (x, e)",
        "float[N,2,8,8]",
        "int64[1] first = {0}, int64[3] rest = {1, 8, 8}",
    ),
    "swapped axes": Front("m = Transpose <perm = [0, 3, 2, 1]> (x)", _NHWC),
}


_STEPS = """s = Shape (x)  h = Gather (s, i2)  v = Gather (s, i3)  a = Range (i0, h, i1)  b = Range (i0, v, i1)
    c = Cast <to = 1> (a)  d = Cast <to = 1> (b)  e = Cast <to = 1> (h)  f = Cast <to = 1> (v)
    p = Div (c, e)  q = Div (d, f)  row = Unsqueeze (p, rows)  column = Unsqueeze (q, columns)"""
PLACES = {
    "shares of the size": (
        f"""{_STEPS}  hh = Unsqueeze (h, start)  vv = Unsqueeze (v, start)  n = Concat <axis = 0> (one, one, hh, vv)
        r = Expand (row, n)  k2 = Expand (column, n)  m = Concat <axis = 1> (x, r, k2)""",
        "float[1,2,{0},{0}]",
        4,
    ),
    "how far from the corner": (
        f"""{_STEPS}  r = Mul (row, row)  k2 = Mul (column, column)  n = Add (r, k2)  far = Sqrt (n)
        m = Concat <axis = 1> (x, far)""",
        "float[1,2,{0},{0}]",
        3,
    ),
    "counted, channels last": (
        """s = Shape (x)  n = Slice (s, start, three, start)  o = Concat <axis = 0> (n, one)
        e = ConstantOfShape <value = float[1] {1.0}> (o)  r = CumSum (e, i1)  k2 = CumSum (e, i2)
        j = Concat <axis = 3> (x, r, k2)  m = Transpose <perm = [0, 3, 1, 2]> (j)""",
        "float[N,{0},{0},2]",
        4,
    ),
}
"""Where each pixel lies, computed of the size of the image and put beside it: the map `m`, the image, channels."""


def placed(name: str, size: int = 8) -> ModelProto:
    """A network of an image of this size with the place of each pixel beside it, and a layer over the cells `t`."""
    body, image, channels = PLACES[name]
    return parse(
        f"""g ({image.format(size)} x) => (float[N,5] y) <float[4,{channels},3,3] k, float[5,{4 * (size - 2) ** 2}] w,
            int64 i0 = {{0}}, int64 i1 = {{1}}, int64 i2 = {{2}}, int64 i3 = {{3}}, int64[1] start = {{0}},
            int64[1] one = {{1}}, int64[1] three = {{3}}, int64[3] rows = {{0, 1, 3}}, int64[3] columns = {{0, 1, 2}}>
        {{ {body}  z = Conv <kernel_shape = [3, 3]> (m, k)  t = Tanh (z)  flat = Flatten (t)
           [fc] y = Gemm <transB = 1> (flat, w) }}""",
        opset=17,
    )


def behind(name: str) -> ModelProto:
    """A network of a front, a convolution of every second cell, and a layer over all of its cells."""
    front = FRONTS[name]
    channels = 1 if "image = {-1, 1" in front.extra else 6 if "weights" in front.extra and "tiled" in name else 3
    cells = {1: 7, 2: 3, 4: 3}[front.stride]
    if "resized to a size" in name:
        cells = 1
    batch = front.image[front.image.index("[") + 1 :].split(",")[0]
    batch = batch if not batch.isdigit() or batch == "1" else "1"
    return parse(
        f"""g ({front.image} x) => (float[{batch},5] y) <float[4,{channels},3,3] k, float[5,{4 * cells**2}] w,
            int64[3] flip = {{2, 1, 0}}, float mean = {{0.25}}{", " + front.extra.rstrip(", ") if front.extra else ""}>
        {{
          {front.body}
          conv = Conv <kernel_shape = [3, 3], strides = [2, 2]> (m, k)  map = Tanh (conv)
          row = Flatten (map)  [fc] y = Gemm <transB = 1> (row, w)
        }}""",
        opset=front.opset,
    )
