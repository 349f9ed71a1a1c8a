"""The score at every pixel, in three ways that give the same numbers: crops, shift-and-stitch, and --output-stride 1.

    every_pixel.py [--network fixture|vgg] [--times 2] [--threads 1] [--seed 0]

`fixture` is fixtures/unpadded.onnx, `vgg` a VGG of three blocks without padding and of random weights. The image has
`--times` the training size. The original runs on the crop of every pixel, in batches of 64; the sliding network runs on
the image without its first i rows and j columns for every i and j below its stride; and the one with an output stride
of 1 runs once. All in one process, with onnxruntime's optimizations.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import fc2conv
from fc2conv import Options, SlidingOptions

BLOCKS = ((16, 2), (32, 2), (64, 2))
SIZE = 64


def vgg(seed: int) -> onnx.ModelProto:
    """Convolutions of 3x3 without padding, three MaxPools, and two layers."""
    random = np.random.default_rng(seed)
    nodes, weights, name, channels, size = [], {}, "image", 3, SIZE
    for width, count in BLOCKS:
        for _ in range(count):
            made = f"v{len(nodes)}"
            weights[f"{made}_k"] = random.standard_normal((width, channels, 3, 3)) * (2 / (9 * channels)) ** 0.5
            nodes += [
                helper.make_node("Conv", [name, f"{made}_k"], [f"{made}_c"]),
                helper.make_node("Relu", [f"{made}_c"], [made]),
            ]
            name, channels, size = made, width, size - 2
        nodes.append(helper.make_node("MaxPool", [name], [f"p{width}"], kernel_shape=[2, 2], strides=[2, 2]))
        name, size = f"p{width}", size // 2
    weights["w1"] = random.standard_normal((channels * size * size, 128)) * (2 / (channels * size * size)) ** 0.5
    weights["w2"] = random.standard_normal((128, 10)) * 0.1
    nodes += [
        helper.make_node("Flatten", [name], ["flat"]),
        helper.make_node("MatMul", ["flat", "w1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w2"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "vgg",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["fixture", "vgg"], default="fixture")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    fixture = Path(__file__).parent.parent / "fixtures" / "unpadded.onnx"
    with tempfile.TemporaryDirectory() as folder:
        original, plain, dense = (Path(folder) / name for name in ("original.onnx", "plain.onnx", "dense.onnx"))
        onnx.save(vgg(given.seed) if given.network == "vgg" else onnx.load(fixture), original)
        for path, stride in ((plain, None), (dense, 1)):
            fc2conv.convert(original, path, Options(sliding=SlidingOptions(output_stride=stride)))
        props = {p.key: p.value for p in onnx.load(plain).metadata_props}
        (axis, _) = json.loads(next(v for k, v in props.items() if k.startswith("fc2conv.geometry.")))["axes"]
        size, stride = axis["size"], int(axis["stride"])
        pixels = given.times * size
        image = np.random.default_rng(given.seed).standard_normal((1, 3, pixels, pixels)).astype(np.float32)
        runs = {path: session(path, given.threads) for path in (original, plain, dense)}
        for each in runs.values():
            each.run(None, {"image": image[:, :, :size, :size]})  # what the first run alone does
        begun = time.perf_counter()
        (every,) = runs[dense].run(None, {"image": image})
        seconds = {"output stride 1": time.perf_counter() - begun}
        rows, columns = every.shape[2:]

        begun = time.perf_counter()
        stitched = np.full_like(every, np.nan)
        for i, j in product(range(stride), repeat=2):
            (part,) = runs[plain].run(None, {"image": np.ascontiguousarray(image[:, :, i:, j:])})
            there = stitched[:, :, i::stride, j::stride]
            there[:] = part[:, :, : there.shape[2], : there.shape[3]]
        seconds["shift-and-stitch"] = time.perf_counter() - begun

        begun = time.perf_counter()
        inside = [(i, j) for i, j in product(range(rows), range(columns)) if max(i, j) + size <= pixels]
        gap = 0.0
        for first in range(0, len(inside), 64):
            batch = inside[first : first + 64]
            crops = np.stack([image[0, :, i : i + size, j : j + size] for i, j in batch])
            (wanted,) = runs[original].run(None, {"image": crops})
            gap = max(
                gap, *(float(np.abs(w - every[0, :, i, j]).max()) for w, (i, j) in zip(wanted, batch, strict=True))
            )
        seconds["crops"] = time.perf_counter() - begun
        reach = float(np.ptp(every))
        print(f"{rows}x{columns} cells of {pixels}x{pixels} pixels; {len(inside)} crops")
        apart = float(np.abs(stitched - every).max())
        print(f"from the crops {gap / reach:.1e}, from shift-and-stitch {apart / reach:.1e} of the range")
        for name, taken in seconds.items():
            print(f"{name:18} {taken:8.3f} s  {taken / seconds['output stride 1']:6.1f}")


if __name__ == "__main__":
    main()
