"""Dense evaluation against cropping: one run of the sliding network beside the original on every crop.

    dense.py MODEL [--sizes 448,896] [--batch 8] [--most 64] [--rounds 3] [--threads 0]

MODEL is a classifier on images of one size (`make_vgg16.py OUT`); it is made fully convolutional here. For each image
size the sliding network runs once on the image, and the original runs on the crops that the map's cells stand for, in
batches. Where there are more than `--most` crops, that many are run, and the time of all is taken in proportion. The
two take turns in one process, with all of onnxruntime's optimizations; a row has the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import measure
import numpy as np
import onnx
import onnxruntime


def session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def geometry(path: Path) -> list[dict[str, Any]]:
    """The axes of the first map, as the model tells them."""
    model = onnx.load(path, load_external_data=False)
    entry = next(p for p in model.metadata_props if p.key.startswith("fc2conv.geometry."))
    axes: list[dict[str, Any]] = json.loads(entry.value)["axes"]
    return axes


def crops(image: np.ndarray, cells: tuple[int, ...], axes: list[dict[str, Any]]) -> list[np.ndarray]:
    out = []
    for place in product(*map(range, cells)):
        cut = [slice(None)] * image.ndim
        for axis, i in zip(axes, place, strict=True):
            start = int(axis["stride"]) * i
            cut[axis["dim"]] = slice(start, start + axis["size"])
        out.append(image[tuple(cut)])
    return out


def clocked(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sizes", default="448,896")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--most", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import fc2conv

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sliding.onnx"
        options = fc2conv.Options(sliding=fc2conv.SlidingOptions(), verify=False)
        fc2conv.convert(arguments.model, path, options)
        axes = geometry(path)
        original, sliding = session(arguments.model, arguments.threads), session(path, arguments.threads)
        for size in map(int, arguments.sizes.split(",")):
            rows.append(row(original, sliding, axes, size, arguments))
            print(f"{size} done", file=sys.stderr, flush=True)
    header = ("image", "cells", "crops run", "sliding s", "crops s", "all crops s", "speed-up")
    print(measure.markdown(header, rows))


def row(original: Any, sliding: Any, axes: list[dict[str, Any]], size: int, arguments: argparse.Namespace) -> list[str]:
    shape = [d if isinstance(d, int) else 1 for d in original.get_inputs()[0].shape]
    for axis in axes:
        shape[axis["dim"]] = size
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    name = original.get_inputs()[0].name
    cells = sliding.run(None, {name: image})[0].shape[2:]
    every = crops(image, cells, axes)
    picked = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(arguments.most, len(every))).astype(int))]
    batches = [np.concatenate(picked[i : i + arguments.batch]) for i in range(0, len(picked), arguments.batch)]
    original.run(None, {name: batches[0]})
    dense, cropped = [], []
    for _ in range(arguments.rounds):
        dense.append(clocked(lambda: sliding.run(None, {name: image})))
        cropped.append(clocked(lambda: [original.run(None, {name: batch}) for batch in batches]))
    one, some = statistics.median(dense), statistics.median(cropped)
    whole = some * len(every) / len(picked)
    shown = "x".join(map(str, cells))
    return [
        f"{size}x{size}",
        f"{shown} = {len(every)}",
        f"{len(picked)}",
        f"{one:.2f}",
        f"{some:.2f}",
        f"{whole:.1f}",
        f"{whole / one:.1f}",
    ]


if __name__ == "__main__":
    main()
