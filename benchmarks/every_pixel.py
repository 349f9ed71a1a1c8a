"""The score at every pixel, in three ways that give the same numbers: crops, shift-and-stitch, and --output-stride 1.

    every_pixel.py [--network fixture|vgg ...] [--times 2] [--rounds 3] [--threads 1] [--seed 0]

`fixture` is fixtures/unpadded.onnx, `vgg` a VGG of three blocks without padding and of random weights. The image has
`--times` the training size. The original runs on the crop of every pixel, in batches of 64; the sliding network runs on
the image without its first i rows and j columns for every i and j below its stride; and the one with an output stride
of 1 runs once. All in one process, with onnxruntime's optimizations. What is compared is the CPU time of the process,
which other programs on the machine do not lengthen; of several rounds a row has the least and the greatest ratio.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import measure
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


def measured(network: str, arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The row of a network: what it is, its cells, the ratios, and the largest difference."""
    original, plain, dense = (folder / f"{network}_{name}.onnx" for name in ("original", "plain", "dense"))
    fixture = Path(__file__).parent.parent / "fixtures" / "unpadded.onnx"
    onnx.save(vgg(arguments.seed) if network == "vgg" else onnx.load(fixture), original)
    for path, stride in ((plain, None), (dense, 1)):
        fc2conv.convert(original, path, Options(sliding=SlidingOptions(output_stride=stride)))
    props = {p.key: p.value for p in onnx.load(plain).metadata_props}
    (axis, _) = json.loads(next(v for k, v in props.items() if k.startswith("fc2conv.geometry.")))["axes"]
    size, stride = axis["size"], int(axis["stride"])
    pixels = arguments.times * size
    image = np.random.default_rng(arguments.seed).standard_normal((1, 3, pixels, pixels)).astype(np.float32)
    runs = {path: session(path, arguments.threads) for path in (original, plain, dense)}
    for each in runs.values():
        each.run(None, {"image": image[:, :, :size, :size]})  # what the first run alone does
    ratios: dict[str, list[float]] = {"stitched": [], "cropped": []}
    for _ in range(arguments.rounds):
        begun = time.process_time()
        (every,) = runs[dense].run(None, {"image": image})
        seconds = time.process_time() - begun
        begun = time.process_time()
        apart = np.abs(stitched(runs[plain], image, every, stride) - every).max()
        ratios["stitched"].append((time.process_time() - begun) / seconds)
        begun = time.process_time()
        gap, count = cropped(runs[original], image, every, size)
        ratios["cropped"].append((time.process_time() - begun) / seconds)
    reach = float(np.ptp(every))
    spans = [f"{min(each):.1f} to {max(each):.1f}" for each in ratios.values()]
    cells = f"{every.shape[2]}x{every.shape[3]} ({count} crops)"
    return [f"{network}, {size}x{size}, stride {stride}", cells, *spans, f"{max(gap, float(apart)) / reach:.1e}"]


def stitched(plain: Any, image: np.ndarray, every: np.ndarray, stride: int) -> np.ndarray:
    """Shift-and-stitch: the sliding network on each shifted image, its cells between one another."""
    found = np.full_like(every, np.nan)
    for i, j in product(range(stride), repeat=2):
        (part,) = plain.run(None, {"image": np.ascontiguousarray(image[:, :, i:, j:])})
        there = found[:, :, i::stride, j::stride]
        there[:] = part[:, :, : there.shape[2], : there.shape[3]]
    return found


def cropped(original: Any, image: np.ndarray, every: np.ndarray, size: int) -> tuple[float, int]:
    """The original on the crop of every cell: how far it is from the cell at most, and how many crops there are."""
    rows, columns = every.shape[2:]
    inside = [(i, j) for i, j in product(range(rows), range(columns)) if max(i, j) + size <= image.shape[-1]]
    gap = 0.0
    for first in range(0, len(inside), 64):
        batch = inside[first : first + 64]
        crops = np.stack([image[0, :, i : i + size, j : j + size] for i, j in batch])
        (wanted,) = original.run(None, {"image": crops})
        gaps = [float(np.abs(w - every[0, :, i, j]).max()) for w, (i, j) in zip(wanted, batch, strict=True)]
        gap = max(gap, *gaps)
    return gap, len(inside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["fixture", "vgg"], nargs="+", default=["fixture", "vgg"])
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(network, arguments, Path(folder)) for network in arguments.network]
    header = ("network", "cells", "shift-and-stitch", "crops", "largest difference, of the range")
    print(measure.markdown(header, rows))
    print(f"\nCPU time as a multiple of that of one run with output stride 1; onnxruntime {onnxruntime.__version__}, ")
    print(f"{arguments.threads} thread, {platform.machine()}")


if __name__ == "__main__":
    main()
