"""Small networks to judge by sliding.py: what may stand in front, within, and at the end of a backbone, one at a time.

    sliding_made.py OUT

The tables are those of the tests (tests/fcn), with backbones that upsample, crop and pad besides. A network that reads
the whole image comes twice, as `m.onnx` and on a larger image as `m.onnx.large`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "fcn"), str(ROOT / "fixtures")]

_UP = 'Resize <mode = "nearest"> (a, , up)'
BACKBONES = {
    "skip, nearest": (f"{{x0}} a = {{half}} u = {_UP} j = Concat <axis = 1> (s, u) c = Conv (j, k8)", 16, 14),
    "skip, linear": (f"{{x0}} a = {{half}} u = {_UP.replace('nearest', 'linear')} j = Concat <axis = 1> (s, u) "
                     "c = Conv (j, k8)", 16, 14),
    "cubic": ('s = Conv <strides = [2, 2]> (x, k) u = Resize <mode = "cubic"> (s, , up) '
              "c = Conv <strides = [2, 2]> (u, k4)", 16, 6),
    "half the size": ('s = Resize <mode = "linear"> (x, , down) c = Conv (s, k)', 16, 6),
    "three quarters": ('s = Resize <mode = "linear"> (x, , fewer) c = Conv (s, k)', 16, 10),
    "one and a half, nearest": ('s = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", '
                                'nearest_mode = "floor"> (x, , more) c = Conv (s, k)', 16, 22),
    "antialias": ('s = Resize <mode = "linear", antialias = 1> (x, , down) c = Conv (s, k)', 16, 6),
    "rounding up": ("s = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x) "
                    "c = Conv <strides = [2, 2]> (s, k)", 18, 4),
    "means, rounding up": ("s = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x) "
                           "c = Conv (s, k)", 17, 7),
    "reflection": ('s = Pad <mode = "reflect"> (x, rim) c = Conv <strides = [2, 2]> (s, k)', 16, 10),
    "corners aligned": ('s = Conv <strides = [2, 2]> (x, k) u = Resize <mode = "linear", '
                        'coordinate_transformation_mode = "align_corners"> (s, , up) '
                        "c = Conv <strides = [2, 2]> (u, k4)", 16, 6),
    "depth to space": ("s = Conv <strides = [4, 4], pads = [1, 1, 1, 1]> (x, wide) "
                       "u = DepthToSpace <blocksize = 2> (s) c = Conv (u, k)", 16, 6),
    "space to depth": ("s = SpaceToDepth <blocksize = 2> (x) c = Conv (s, k8)", 16, 6),
    "two ways": ("a = Conv <strides = [2, 2]> (x, k) b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) "
                 "d = Conv (b, k1) e = Slice (d, zeros, ends, axes) c = Add (a, e)", 16, 7),
    "auto_pad": ('s = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, k) '
                 'c = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (s, k4)', 15, 4),
    "dilated": ("s = Conv <dilations = [2, 2]> (x, k) c = Conv <dilations = [3, 3], strides = [2, 2]> (s, k4)", 18, 4),
}  # fmt: skip
"""Backbones that make a map `c` of 4 channels of the image `x`; the sizes of both."""

SIGNALS = {
    "signal": ("float[N,2,40] x", "c = Conv <strides = [2]> (x, kernel)  r = Tanh (c)", "float[4,2,5] kernel", 72),
    "signal, mean": ("float[N,2,40] x", "c = Conv (x, kernel)  r = GlobalAveragePool (c)", "float[4,2,5] kernel", 4),
    "volume": ("float[N,1,8,10,9] x", "c = Conv <strides = [2, 1, 2]> (x, kernel)  r = Tanh (c)",
               "float[4,1,3,3,3] kernel", 384),
}  # fmt: skip


def backbone(name: str) -> onnx.ModelProto:
    """A network of a backbone and a layer over its map."""
    from textmodel import parse

    body, size, cells = BACKBONES[name]
    body = body.replace("{x0}", "s = Conv <pads = [1, 1, 1, 1]> (x, k)")
    body = body.replace("{half}", "Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (s, k4)")
    return parse(
        f"""g (float[1,2,{size},{size}] x) => (float[1,5] y)
        <float[4,2,3,3] k, float[8,2,3,3] wide, float[4,4,3,3] k4, float[4,8,3,3] k8, float[4,2,1,1] k1,
         float[4] up = {{1.0, 1.0, 2.0, 2.0}}, float[4] down = {{1.0, 1.0, 0.5, 0.5}},
         float[4] fewer = {{1.0, 1.0, 0.75, 0.75}}, float[4] more = {{1.0, 1.0, 1.5, 1.5}},
         int64[8] rim = {{0, 0, 3, 3, 0, 0, 3, 3}}, int64[2] zeros = {{0, 0}}, int64[2] ends = {{-1, -1}},
         int64[2] axes = {{2, 3}}, float[5,{4 * cells**2}] w>
        {{ {body}  row = Flatten (c)  [fc] y = Gemm <transB = 1> (row, w) }}""",
        opset=18,
    )


def signal(name: str) -> onnx.ModelProto:
    """A network of one spatial axis, or of three."""
    from textmodel import parse

    image, body, weights, columns = SIGNALS[name]
    return parse(
        f"""g ({image}) => (float[N,5] y) <{weights}, float[5,{columns}] w>
        {{ {body}  row = Flatten (r)  [fc] y = Gemm <transB = 1> (row, w) }}"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    import sliding_fronts
    import sliding_within as inner
    from test_within import _CELLS

    made = {f"fronts/{name}": sliding_fronts.behind(name) for name in sliding_fronts.FRONTS}
    made |= {f"places/{name}": sliding_fronts.placed(name) for name in sliding_fronts.PLACES}
    made |= {f"within/{name}": inner.within(body, inner.channels(name)) for name, body in inner.WITHIN.items()}
    made |= {f"whole/{name}": inner.within(body, inner.channels(name)) for name, body in inner.WHOLE.items()}
    made |= {f"cuts/{name}": inner.within(body, cells=_CELLS.get(name, 1)) for name, body in inner.CUTS.items()}
    for name, body in inner.POOLING.items():
        made[f"pooling/{name}, joined"] = inner.pooling(body)
        made[f"pooling/{name}, added"] = inner.pooling(body, "r = Add (a, b)")
    made |= {f"backbones/{name}": backbone(name) for name in BACKBONES}
    made |= {f"axes/{name}": signal(name) for name in SIGNALS}
    for name, model in made.items():
        path = out / f"{name.replace(' ', '_')}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
    for name in sliding_fronts.PLACES:
        onnx.save(sliding_fronts.placed(name, 12), out / "places" / f"{name.replace(' ', '_')}.onnx.large")
    for name, body in inner.WHOLE.items():
        large = inner.within(body, inner.channels(name), size=12)
        onnx.save(large, out / "whole" / f"{name.replace(' ', '_')}.onnx.large")
    print(f"{len(made)} networks")


if __name__ == "__main__":
    main()
