"""A folder of classifiers made fully convolutional, and judged: no code of the mode is used but the conversion itself.

    sliding_zoo.py MODELS [--score SCORE.py] [--only SUBSTRING ...] [--sample N] [--no-verify]

The judge has onnxruntime, numpy, and what the file says of itself (strides, sizes, least sizes). At the training size
the outputs must be the original's. On a larger image and on one of odd sizes, every cell of the first map must be the
original's head on that window of the features: the last value of several cells that both models have under one name,
and that all of the output goes through. At the least size there must be a cell, and none with a pixel less. Differences
are max|a - b| / max|a|. `gap` is the largest difference from the original on the crops, which is padding's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import measure
import zoo

CLOSE = 1e-3
MOST_CROPS = 9


def judged(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One model: what was compared, or why not."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import fc2conv
    from fc2conv.errors import Fc2convError

    original = zoo.load(path, zoo.module(arguments.score))
    start = time.perf_counter()
    given = {name: tuple(shape) for name, shape in zoo.shapes(path).items()}
    options = fc2conv.Options(sliding=fc2conv.SlidingOptions(), verify=not arguments.no_verify, input_shapes=given)
    try:
        conversion = fc2conv.convert(original, options=options)
    except Fc2convError as error:
        return {"refused": error.message}
    report = conversion.report
    found = Judge(original, conversion.model, given).judge()
    return {**found, "layers": len(report.converted), "seconds": round(time.perf_counter() - start, 1)}


class Judge:
    """The two models of one output, run side by side."""

    def __init__(self, original: Any, sliding: Any, given: Mapping[str, Sequence[int]]) -> None:
        self.original, self.sliding = original, sliding
        told = {p.key.removeprefix("fc2conv.geometry."): json.loads(p.value) for p in sliding.metadata_props
                if p.key.startswith("fc2conv.geometry.")}  # fmt: skip
        self.output = next(iter(told))
        self.axes = [axis for axis in told[self.output]["axes"] if axis["stride"] is not None]
        self.value = next(v for v in original.graph.input if v.name == self.axes[0]["input"])
        dims = self.value.type.tensor_type.shape.dim
        self.shape = list(given.get(self.value.name, [d.dim_value or 1 for d in dims]))
        self.old, self.new = session(original), session(sliding)

    def feed(self, sizes: Sequence[int]) -> dict[str, Any]:
        """A seeded image, with these sizes along the axes that slide."""
        import numpy as np
        from onnx import helper

        shape = list(self.shape)
        for axis, size in zip(self.axes, sizes, strict=True):
            shape[axis["dim"]] = size
        dtype = helper.tensor_dtype_to_np_dtype(self.value.type.tensor_type.elem_type)
        rng = np.random.default_rng(7)
        numbers = rng.standard_normal(shape) if np.issubdtype(dtype, np.floating) else rng.integers(0, 255, shape)
        return {self.value.name: numbers.astype(dtype)}

    def judge(self) -> dict[str, Any]:
        """All comparisons."""
        training = [axis["size"] for axis in self.axes]
        given = self.feed(training)
        index = [v.name for v in self.sliding.graph.output].index(self.output)
        (wanted,), found = self.old.run([self.output], given), self.new.run(None, given)[index]
        at_training = apart(self._ordered(wanted, found.shape), found)
        least = "x".join(str(axis["minimum"]) for axis in self.axes)
        if found.size > found.shape[0] * found.shape[1]:
            return {"training": at_training, "windows": 0, "larger": None, "odd": None, "minimum": least,
                    "below": self._below(), "gap": None, "features": "several cells at the training size"}  # fmt: skip
        larger = [int(axis["size"] + 2 * axis["stride"]) for axis in self.axes]
        odd = [int(axis["size"] + axis["stride"] + (axis["stride"] > 1)) for axis in self.axes]
        name = self._features()
        windows = [self._windows(name, sizes, training) for sizes in (larger, odd)] if name else []
        return {
            "training": at_training,
            "features": name or "",
            "windows": sum(count for count, _ in windows),
            "larger": windows[0][1] if windows else None,
            "odd": windows[1][1] if windows else None,
            "minimum": least,
            "below": self._below(),
            "gap": self._gap(larger),
        }

    def _ordered(self, wanted: Any, shape: Sequence[int]) -> Any:
        """The original's output as a map: [N, M] is one cell, and others are turned round until they fit."""
        if wanted.size == shape[0] * shape[1]:
            return wanted.reshape(shape)
        for perm in permutations(range(wanted.ndim)):
            turned = wanted.transpose(perm)
            turned = turned.reshape(shape) if turned.shape == tuple(n for n in shape if n > 1) else turned
            if turned.shape == tuple(shape):
                return turned
        return wanted

    def _features(self) -> str | None:
        """The last value of several cells that both models name alike, and through which all of the output goes."""
        from onnx import shape_inference

        known = shape_inference.infer_shapes(fixed(self.original, self.value.name, self.shape)).graph
        there = {name for node in self.sliding.graph.node for name in node.output}
        for node in reversed(self.original.graph.node):
            for value in known.value_info:
                if value.name not in node.output or value.name not in there:
                    continue
                sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
                several = len(sizes) == len(self.axes) + 2 and any(size > 1 for size in sizes[2:])
                if several and not self._leaks(value.name):
                    return str(value.name)
        return None

    def _leaks(self, name: str) -> bool:
        """Whether the output reads the image other than through a value."""
        return any(i == self.value.name for i in part(self.original, name, self.output)[1])

    def _windows(self, name: str, sizes: Sequence[int], training: Sequence[int]) -> tuple[int, float]:
        import numpy as np

        nodes, _ = part(self.original, name, self.output)
        head = session(cut(self.original, nodes, name, self.output))
        both = session(with_output(self.sliding, name))
        extent = both.run([name], self.feed(training))[0].shape[2:]
        more = both.run([name], self.feed([t + int(a["stride"]) for t, a in zip(training, self.axes, strict=True)]))
        steps = [new - old for new, old in zip(more[0].shape[2:], extent, strict=True)]
        cells, maps = both.run([self.output, name], self.feed(sizes))
        worst = count = 0
        for place in product(*map(range, cells.shape[2:])):
            window = [slice(i * s, i * s + n) for i, s, n in zip(place, steps, extent, strict=True)]
            (wanted,) = head.run(None, {name: np.ascontiguousarray(maps[(slice(None), slice(None), *window)])})
            worst = max(worst, apart(wanted.reshape(-1), cells[(slice(None), slice(None), *place)].reshape(-1)))
            count += 1
        return count, worst

    def _below(self) -> str:
        """What happens with the least image, and with a pixel less."""
        least = [axis["minimum"] for axis in self.axes]
        if self.new.run([self.output], self.feed(least))[0].size == 0:
            return "the least gives no cell"
        if min(least) == 1:
            return "-"
        try:
            empty = self.new.run([self.output], self.feed([size - 1 for size in least]))[0].size == 0
        except Exception:  # noqa: BLE001  # onnxruntime's exceptions have no common class
            return "error"
        return "empty" if empty else "a cell as well"

    def _gap(self, sizes: Sequence[int]) -> float:
        import numpy as np

        given = self.feed(sizes)
        (cells,) = self.new.run([self.output], given)
        worst = 0.0
        for place in list(product(*map(range, cells.shape[2:])))[:MOST_CROPS]:
            crop = [slice(None)] * len(self.shape)
            for axis, i in zip(self.axes, place, strict=False):
                crop[axis["dim"]] = slice(int(axis["stride"] * i), int(axis["stride"] * i) + axis["size"])
            (wanted,) = self.old.run(
                [self.output], {self.value.name: np.ascontiguousarray(given[self.value.name][tuple(crop)])}
            )
            worst = max(worst, apart(wanted.reshape(-1), cells[(slice(None), slice(None), *place)].reshape(-1)))
        return worst


def apart(one: Any, other: Any) -> float:
    import numpy as np

    assert one.shape == other.shape, (one.shape, other.shape)
    return float(np.abs(one.astype(np.float64) - other).max() / max(float(np.abs(one).max()), 1e-30))


def session(model: Any) -> Any:
    """Without optimizations: onnxruntime's own convolutions die of an empty map, which an image too small can give."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def copied(model: Any) -> Any:
    new = type(model)()
    new.CopyFrom(model)
    return new


def with_output(model: Any, name: str) -> Any:
    new = copied(model)
    if name not in [value.name for value in new.graph.output]:
        new.graph.output.add(name=name)
    return new


def fixed(model: Any, name: str, shape: Sequence[int]) -> Any:
    new = copied(model)
    for value in new.graph.input:
        if value.name == name:
            for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = size
    return new


def reads(node: Any) -> Iterator[str]:
    yield from (name for name in node.input if name)


def part(model: Any, source: str, output: str) -> tuple[list[Any], set[str]]:
    """The nodes between a value and an output, and all that they read from outside."""
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    todo, seen, outside = [output], set(), set()
    while todo:
        name = todo.pop()
        if name == source or name in weights or name in seen:
            continue
        seen.add(name)
        if name not in makers:
            outside.add(name)
            continue
        todo += reads(makers[name])
    return [node for node in model.graph.node if seen & set(node.output)], outside


def cut(model: Any, nodes: Sequence[Any], source: str, output: str) -> Any:
    """A model of these nodes alone."""
    new = copied(model)
    for field in ("node", "input", "output", "value_info"):
        new.graph.ClearField(field)
    read = {name for node in nodes for name in reads(node)}
    kept = [tensor for tensor in new.graph.initializer if tensor.name in read]
    new.graph.ClearField("initializer")
    new.graph.initializer.extend(kept)
    new.graph.node.extend(nodes)
    new.graph.input.add(name=source).type.tensor_type.elem_type = kind(model, source)
    new.graph.output.add(name=output)
    return new


def kind(model: Any, name: str) -> int:
    """The element type of a value."""
    from onnx import shape_inference

    known = shape_inference.infer_shapes(model).graph.value_info
    return next(int(value.type.tensor_type.elem_type) for value in known if value.name == name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("--no-verify", action="store_true", help="without the tool's own proof")
    arguments = parser.parse_args()
    if arguments.at is not None:
        print(json.dumps(judged(arguments.at, arguments)))
        return
    rows, wrong = [], 0
    for path in zoo.models(arguments):
        extra = ["--no-verify"] if arguments.no_verify else []
        command = zoo.child(__file__, arguments, path, extra)
        name = str(path.relative_to(arguments.folder).with_suffix(""))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout, check=False)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"crash": done.stderr[-200:]}
        except subprocess.TimeoutExpired:
            found = {"crash": "timeout"}
        print(name, json.dumps(found), file=sys.stderr, flush=True)
        rows.append(row(name, found))
        wrong += rows[-1][-1].startswith("wrong") or "crash" in found
    header = ("model", "layers", "training", "windows", "larger", "odd", "least", "below", "gap", "")
    print(measure.markdown(header, rows))
    print(f"\n{len(rows)} models, {wrong} wrong")


def row(name: str, found: Mapping[str, Any]) -> list[str]:
    if "training" not in found:
        why = f"refused: {found['refused']}" if "refused" in found else f"crash: {found['crash']}"
        return [name, *[""] * 8, " ".join(why.split())]
    numbers = [found["training"], found["larger"] or 0.0, found["odd"] or 0.0]
    good = all(number < CLOSE for number in numbers) and found["below"] in ("error", "empty", "-")
    shown = [f"{n:.1e}" if n is not None else "-" for n in (found["training"], found["larger"], found["odd"])]
    return [
        name,
        str(found["layers"]),
        shown[0],
        str(found["windows"]),
        *shown[1:],
        found["minimum"],
        found["below"],
        "-" if found["gap"] is None else f"{found['gap']:.1e}",
        "ok" if good else "wrong",
    ]


if __name__ == "__main__":
    main()
