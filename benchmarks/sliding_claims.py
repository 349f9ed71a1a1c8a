"""What the report of a sliding network claims, held against runs of it and of its original in onnxruntime.

Nothing of fc2conv is imported. All claims are those of the JSON report (`sliding`): where the cells of each map lie
(`stride`, `period`, `size`), what they read (`offset`, `field`), on which sizes the network runs (`minimum`, `step`,
`remainders`), and whether anything pads.

- training size: every output is the original's.
- crops: where nothing pads, every cell at a multiple of the period is the original on the crop of the image.
- windows: every such cell is the original's head on that window of the features, the last map that both models hold
  under one name and that all of the output goes through; and the features are the original's on the larger image.
- fields: other pixels around what a cell reads change nothing; its first and last ones change something.
- sizes: the network runs on those that are claimed and on no others, and a period more gives as many cells more as it
  says. An image that moves by a period moves the cells that read no rim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from math import lcm
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, shape_inference

Array = Any
CLOSE, ROUGH = 5e-5, 2e-3
"""How far floats may be apart, and those of half precision or of integers."""
_SMALL = 64
"""Images of this size and less are run in all sizes, and their fields must be tight."""
_FAR = 1200
"""Beyond this size no image is made so large that a field fits into it."""
_MOST_CROPS = 16
_COARSE = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8)


class Judge:
    """A network of fixed size and the sliding one, run side by side."""

    def __init__(
        self,
        original: ModelProto,
        sliding: ModelProto,
        told: Mapping[str, Any],
        given: Mapping[str, Sequence[int]],
        large: ModelProto | None = None,
    ) -> None:
        self.original, self.sliding, self.large = original, sliding, large
        self.told = {**told, "inputs": [in_order(each, told["outputs"]) for each in told["inputs"]]}
        weights = {tensor.name for tensor in original.graph.initializer}
        self.values = [value for value in original.graph.input if value.name not in weights]
        self.shapes = {v.name: list(given.get(v.name, sizes_of(v))) for v in self.values}
        self.old, self.new = session(original), session(sliding)
        self.maps = [output for output in told["outputs"] if output["kind"] == "map" and not output["upsampled"]]
        rank = max((len(each["dims"]) for each in told["inputs"]), default=0)
        self.axes = range(rank)
        kinds = {tensor.data_type for tensor in original.graph.initializer} & {*_COARSE}
        self.close = ROUGH if kinds or any(has_coarse(original)) else CLOSE
        self.found: dict[str, Any] = {"training": 0.0, "crops": 0, "windows": 0, "worst": 0.0, "fields": 0, "sizes": 0}
        self.found |= {"gap": None, "wrong": [], "loose": []}

    def judge(self) -> dict[str, Any]:
        """All comparisons of all maps."""
        self.found["least"] = "x".join(str(n) for each in self.told["inputs"][:1] for n in each["minimum"])
        self.training()
        for axis in self.axes:
            self.sizes(axis)
        for output in self.maps:
            placed = {i: a for i, a in enumerate(output["axes"]) if a["stride"] is not None}
            if len(placed) == len(output["axes"]) and not any(self.found["wrong"]):
                self.crops(output)
                self.windows(output)
                for axis in placed:
                    self.fields(output, axis)
        return self.found

    def wrong(self, said: str) -> None:
        self.found["wrong"].append(said)

    def compare(self, what: str, wanted: Array, found: Array) -> float:
        """How far two values are apart; more than they may be is wrong."""
        gap = apart(wanted, found)
        if not gap <= self.close:
            self.wrong(f"{what} differs by {gap:.1e}")
        return gap

    # ------------------------------------------------------------------ images

    def feed(self, grown: Sequence[int], seed: int = 7) -> dict[str, Array]:
        """Seeded inputs, so many pixels larger than at the training size along each axis that slides."""
        made = {}
        for value in self.values:
            shape = list(self.shapes[value.name])
            for each in self.told["inputs"]:
                if each["input"] == value.name:
                    for dim, size, more in zip(each["dims"], each["sizes"], grown, strict=False):
                        shape[dim] = size + more
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            rng = np.random.default_rng(seed)
            floats = np.issubdtype(dtype, np.floating)
            made[value.name] = (rng.standard_normal(shape) if floats else rng.integers(0, 255, shape)).astype(dtype)
        return made

    def growth(self, axis: int, pixels: int) -> int:
        """The least growth of at least so many pixels with which the network runs."""
        return next(more for more in range(pixels, pixels + (1 << 14)) if self.runs(axis, more))

    def runs(self, axis: int, grown: int) -> bool:
        """Whether every input that slides is claimed to run with that size along an axis."""
        return all(
            each["sizes"][axis] + grown >= each["minimum"][axis]
            and (each["sizes"][axis] + grown) % each["step"][axis] in each["remainders"][axis]
            for each in self.told["inputs"]
            if axis < len(each["dims"])
        )

    def at(self, axis: int, grown: int) -> list[int]:
        """A growth along one axis alone."""
        least = [self.growth(i, 0) for i in self.axes]
        return [grown if i == axis else least[i] for i in self.axes]

    def map(self, output: Mapping[str, Any], feed: Mapping[str, Array]) -> Array:
        (found,) = self.new.run([output["output"]], dict(feed))
        return found

    # ------------------------------------------------------------------ the claims

    def training(self) -> None:
        """The outputs at the training size, if the network runs on that."""
        if not all(self.runs(axis, 0) for axis in self.axes):
            self.found["loose"].append("it does not run on the training size")
            return
        feed = self.feed([0] * len(self.axes))
        for output in self.maps:
            (wanted,) = self.old.run([output["of"]], feed)
            found = self.map(output, feed)
            gap = self.compare(f"{output['output']} at the training size", ordered(wanted, found.shape), found)
            self.found["training"] = max(self.found["training"], gap)

    def sizes(self, axis: int) -> None:
        """The sizes that run, and how many cells they give."""
        each = next(each for each in self.told["inputs"] if axis < len(each["dims"]))
        size, least, step = each["sizes"][axis], each["minimum"][axis], each["step"][axis]
        periods = [a["period"] for out in self.maps for i, a in enumerate(out["axes"]) if i == axis and a["period"]]
        every = lcm(1, step, *periods)
        if size + 2 * every <= 4 * _SMALL:
            tried = set(range(1, size + 2 * every + 3))
        else:
            tried = {least - 1, least, least + 1, least + step, size - 1, size, size + 1, size + 2, size + every}
        for pixels in sorted(tried - {0}):
            cells = self.cells(axis, pixels - size)
            if bool(cells) != self.runs(axis, pixels - size):
                said = f"axis {axis}: {pixels} pixels {'run' if cells else 'do not run'}"
                self.found["loose" if cells and pixels < least else "wrong"].append(said)
            if cells and pixels - every in tried and (before := self.cells(axis, pixels - size - every)):
                for output, more, less in zip(self.maps, cells, before, strict=True):
                    a = output["axes"][axis] if axis < len(output["axes"]) else None
                    if a and a["stride"] and a["every"] == 1 and (more - less) * a["stride"] != every:
                        self.wrong(f"axis {axis}: {every} pixels more than {pixels - every} give {more - less} cells")
            self.found["sizes"] += 1

    def cells(self, axis: int, grown: int) -> list[int]:
        """How many cells the maps have along an axis; none where the network does not run."""
        try:
            found = self.new.run([output["output"] for output in self.maps], self.feed(self.at(axis, grown)))
        except Exception:  # noqa: BLE001  # onnxruntime's exceptions have no common class
            return []
        return [each.shape[axis + 2] for each in found] if all(each.size for each in found) else []

    def placed(self, output: Mapping[str, Any], found: Array) -> Iterator[tuple[list[int], list[int]]]:
        """The cells at multiples of the period, and the pixels at which their crops begin."""
        steps = [round(a["period"] / a["stride"]) for a in output["axes"]]
        for place in product(*(range(0, n, s) for n, s in zip(found.shape[2:], steps, strict=True))):
            yield list(place), [round(a["stride"] * i) for a, i in zip(output["axes"], place, strict=True)]

    def crops(self, output: Mapping[str, Any]) -> None:
        """The original on every crop that lies in the image; the gap alone where something pads."""
        axes = output["axes"]
        grown = [self.growth(i, 2 * a["period"] + (a["period"] > 1)) for i, a in enumerate(axes)]
        feed = self.feed(grown)
        found = self.map(output, feed)
        extent = self.extent(output)
        for place, start in list(self.placed(output, found))[: None if not self.told["padded"] else _MOST_CROPS]:
            if any(p + e > n for p, e, n in zip(place, extent, found.shape[2:], strict=True)):
                continue
            cut = {name: self.cropped(name, value, start) for name, value in feed.items()}
            if any(value.shape != tuple(self.feed([0] * len(axes))[name].shape) for name, value in cut.items()):
                continue
            (wanted,) = self.old.run([output["of"]], cut)
            part = found[(slice(None), slice(None), *(slice(p, p + e) for p, e in zip(place, extent, strict=True)))]
            if self.told["padded"]:
                self.found["gap"] = max(self.found["gap"] or 0.0, apart(ordered(wanted, part.shape), part))
            else:
                gap = self.compare(f"{output['output']} at cell {place}", ordered(wanted, part.shape), part)
                self.found["crops"], self.found["worst"] = self.found["crops"] + 1, max(self.found["worst"], gap)

    def extent(self, output: Mapping[str, Any]) -> list[int]:
        """How many cells a map has at the training size."""
        return list(self.map(output, self.feed([0] * len(self.axes))).shape[2:])

    def cropped(self, name: str, value: Array, start: Sequence[int]) -> Array:
        cut = [slice(None)] * value.ndim
        for each in self.told["inputs"]:
            if each["input"] == name:
                for dim, first, size in zip(each["dims"], start, each["sizes"], strict=False):
                    cut[dim] = slice(first, first + size)
        return np.ascontiguousarray(value[tuple(cut)])

    def windows(self, output: Mapping[str, Any]) -> None:
        """The original's head on every window of the features."""
        if any(n > 1 for n in self.extent(output)):
            return
        name, shape = self.features(output)
        if not name:
            return
        within = {pool["node"] for pool in self.told["pools"] if pool["action"] == "within"}
        nodes, _ = part(self.original, name, output["of"])
        claimed = not within & {each for node in nodes for each in (node.name, *node.output)}
        head = session(cut_out(self.original, name, output["of"]))
        both = session(with_output(self.sliding, name))
        axes, run = output["axes"], lambda grown: both.run([output["output"], name], self.feed(grown))
        zero = [0] * len(axes)
        extent = run(zero)[1].shape[2:]
        periods = [lcm(a["period"], each) for a, each in zip(axes, self.told["inputs"][0]["step"], strict=True)]
        one, more = run(zero), run(periods)
        moved = [[b - a for a, b in zip(x.shape[2:], y.shape[2:], strict=True)] for x, y in zip(one, more, strict=True)]
        if not all(out and inner for out, inner in zip(*moved, strict=True)):
            return
        for grown in ([self.growth(i, 2 * p) for i, p in enumerate(periods)],
                      [self.growth(i, p + 1) for i, p in enumerate(periods)]):  # fmt: skip
            cells, maps = run(grown)
            self.in_front(name, maps, grown)
            for place in product(*(range(0, n * claimed, s) for n, s in zip(cells.shape[2:], moved[0], strict=True))):
                at = [i // s * m for i, s, m in zip(place, *moved, strict=True)]
                window = maps[(slice(None), slice(None), *(slice(i, i + n) for i, n in zip(at, extent, strict=True)))]
                (wanted,) = head.run(None, {name: np.ascontiguousarray(window).reshape(shape)})
                cell = cells[(slice(None), slice(None), *place)]
                gap = self.compare(f"{output['output']} at window {place}", wanted.reshape(-1), cell.reshape(-1))
                self.found["windows"], self.found["worst"] = self.found["windows"] + 1, max(self.found["worst"], gap)

    def in_front(self, name: str, maps: Array, grown: Sequence[int]) -> None:
        """The features of the original on the larger image, where it runs on that."""
        feed = self.feed(grown)
        model = opened(cut_out(self.original, None, name), feed)
        if self.large is not None:
            shapes = {value.name: sizes_of(value) for value in self.large.graph.input}
            first = self.told["inputs"][0]
            more = [shapes[first["input"]][dim] - size for dim, size in zip(first["dims"], first["sizes"], strict=True)]
            feed = self.feed(more)
            maps = session(with_output(self.sliding, name)).run([name], feed)[0]
            model = opened(cut_out(self.large, None, name), feed)
        kinds = [each.s for node in model.graph.node for each in node.attribute if each.name == "auto_pad"]
        if any(kind.startswith(b"SAME") for kind in kinds):
            return  # its padding depends on the size of the image, and the sliding network's is that of a window
        try:
            (wanted,) = session(model).run([name], feed)
        except Exception:  # noqa: BLE001  # the original names sizes: it is not for this image
            return
        if wanted.size == maps.size:
            gap = self.compare(f"{name} of {grown}", wanted.reshape(maps.shape), maps)
            self.found["worst"] = max(self.found["worst"], gap)
        elif self.large is not None:
            self.wrong(f"{name} has the shape {list(maps.shape)} and not {list(wanted.shape)}")

    def features(self, output: Mapping[str, Any]) -> tuple[str, Sequence[int]]:
        """The last map of several cells that both models have, through which all of the output goes, and its shape.

        That is the original's, which may hold the channels in several dimensions.
        """
        there = {name for node in self.sliding.graph.node for name in node.output}
        names = [name for node in reversed(self.original.graph.node) for name in node.output if name in there]
        feed = self.feed([0] * len(self.axes))
        rank = len(output["axes"]) + 2
        old, new = session(with_output(self.original, *names)), session(with_output(self.sliding, *names))
        known = zip(names, old.run(names, feed), new.run(names, feed), strict=True)
        for name, one, other in known:
            several = other.ndim == rank and one.size == other.size and any(n > 1 for n in other.shape[2:])
            there = several and apart(one.reshape(other.shape), other) <= self.close
            if there and not self.leaks(name, output["of"]):
                return name, one.shape
        return "", ()

    def leaks(self, name: str, output: str) -> bool:
        """Whether an output reads the image other than through a value."""
        return bool({value.name for value in self.values} & part(self.original, name, output)[1])

    # ------------------------------------------------------------------ what a cell reads

    def fields(self, output: Mapping[str, Any], axis: int) -> None:
        """Pixels around the field change nothing, the first and the last of it do; and the map moves by periods."""
        a = output["axes"][axis]
        size, period = a["size"], a["period"]
        field = a["field"] or 0
        wanted = 2 * period if size + 3 * period + field > _FAR else int(max(0, field - size) + 3 * period)
        grown = self.growth(axis, wanted)
        feed = self.feed(self.at(axis, grown))
        pixels = size + grown
        base = self.map(output, feed)
        cells = base.shape[axis + 2]
        steps = round(period / a["stride"])
        middle = [i for i in range(cells // 2, cells // 2 + steps) if i < cells]
        if a["field"] is None:
            for pixel in (0, pixels - 1):
                self.touched(output, axis, feed, base, {pixel: middle})
            return
        for i in sorted({0, *middle, cells - 1}):
            first, end = a["offset"] + a["stride"] * i, a["offset"] + a["stride"] * i + a["field"]
            around = [pixel for pixel in range(pixels) if not first <= pixel < end]
            moved = np.take(self.map(output, self.other(feed, a, around)), i, axis + 2)
            if around and not apart(np.take(base, i, axis + 2), moved) <= 1e-6:
                self.wrong(f"axis {axis}: cell {i} reads beyond {first:g} to {end:g}")
            self.found["fields"] += 1
        for end in (0, field - 1):
            at = {i: a["offset"] + a["stride"] * i + end for i in middle}
            rows = {round(pixel): [i] for i, pixel in at.items() if pixel == round(pixel) and 0 <= pixel < pixels}
            if len(rows) == sum(pixel == round(pixel) for pixel in at.values()):
                self.touched(output, axis, feed, base, rows)
        self.shifted(output, axis, feed, base)

    def touched(self, output: Any, axis: int, feed: Any, base: Array, rows: Mapping[int, Sequence[int]]) -> None:
        """One of these rows changes its cells: where maps upsample, the cells of a period read unlike fields."""
        a = output["axes"][axis]
        self.found["fields"] += 1
        for (pixel, cells), scale in product(rows.items(), (1, 30, 1000)):
            moved = self.map(output, self.other(feed, a, [pixel], scale))
            if not np.array_equal(np.take(moved, cells, axis + 2), np.take(base, cells, axis + 2)):
                return
        if rows:
            tight = a["size"] <= _SMALL and a["field"] is not None and np.issubdtype(base.dtype, np.floating)
            said = f"axis {axis}: pixels {list(rows)} change no cell"
            self.found["wrong" if tight else "loose"].append(said)

    def other(self, feed: Mapping[str, Array], a: Mapping[str, Any], rows: Sequence[int], scale: float = 1) -> Any:
        """The inputs with other pixels in some rows of one."""
        value = feed[a["input"]].copy()
        at = (*[slice(None)] * a["dim"], list(rows))
        rng = np.random.default_rng(11)
        if np.issubdtype(value.dtype, np.floating):
            value[at] = (rng.standard_normal(value[at].shape) * scale).astype(value.dtype)
        else:
            value[at] = 255 - value[at]
        return {**feed, a["input"]: value}

    def shifted(self, output: Any, axis: int, feed: Mapping[str, Array], base: Array) -> None:
        """The image without its first period: the cells that read no rim are those behind."""
        a = output["axes"][axis]
        step = self.told["inputs"][0]["step"][axis]
        period = lcm(a["period"], step)
        behind = {}
        for name, value in feed.items():
            each = next((each for each in self.told["inputs"] if each["input"] == name), None)
            cut = [slice(None)] * value.ndim
            if each is not None:
                cut[each["dims"][axis]] = slice(period, None)
            behind[name] = np.ascontiguousarray(value[tuple(cut)])
        pixels = feed[a["input"]].shape[a["dim"]]
        if not self.runs(axis, pixels - period - a["size"]):
            return
        moved = self.map(output, behind)
        cells = round(period / a["stride"])
        for i in range(moved.shape[axis + 2]):
            first = a["offset"] + a["stride"] * i
            if first >= 0 and first + a["field"] <= pixels - period and i + cells < base.shape[axis + 2]:
                one, other = np.take(base, i + cells, axis + 2), np.take(moved, i, axis + 2)
                self.compare(f"{output['output']} moved by {period}, at cell {i},", one, other)


# ---------------------------------------------------------------------- models


def in_order(told: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An input with its dimensions in the order of the axes of a map that reads it."""
    dims = next(([a["dim"] for a in each["axes"]] for each in outputs if len(each["axes"]) == len(told["dims"])
                 and each["axes"][0]["input"] == told["input"]), told["dims"])  # fmt: skip
    order = sorted(range(len(told["dims"])), key=lambda i: dims.index(told["dims"][i]))
    return {key: value if key == "input" else [value[i] for i in order] for key, value in told.items()}


def apart(one: Array, other: Array) -> float:
    if one.shape != other.shape:
        return float("inf")
    if not one.size:
        return 0.0
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-30))


def ordered(wanted: Array, shape: Sequence[int]) -> Array:
    """The original's output as a map: [N, M] is one cell, and others are turned round until they fit."""
    if wanted.size != int(np.prod(shape)):
        return wanted
    if all(n == 1 for n in shape[2:]):
        return wanted.reshape(shape)
    for perm in permutations(range(wanted.ndim)):
        turned = wanted.transpose(perm)
        if [n for n in turned.shape if n > 1] == [n for n in shape if n > 1]:
            return turned.reshape(shape)
    return wanted.reshape(shape)


def session(model: ModelProto) -> Any:
    """Without optimizations: onnxruntime's own convolutions die of an empty map, which an image too small can give."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def sizes_of(value: Any) -> list[int]:
    return [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]


def has_coarse(model: ModelProto) -> Iterator[bool]:
    yield from (node.op_type.startswith(("Quantize", "QLinear", "Dequantize")) for node in model.graph.node)


def copied(model: ModelProto) -> ModelProto:
    new = ModelProto()
    new.CopyFrom(model)
    return new


def with_output(model: ModelProto, *names: str) -> ModelProto:
    new = copied(model)
    for name in names:
        if name not in [value.name for value in new.graph.output]:
            new.graph.output.add(name=name)
    return new


def opened(model: ModelProto, feed: Mapping[str, Array]) -> ModelProto:
    """The model with inputs of any size, and no sizes of other values."""
    model.graph.ClearField("value_info")
    for value in model.graph.input:
        if value.name in feed:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return model


def part(model: ModelProto, source: str | None, output: str) -> tuple[list[Any], set[str]]:
    """The nodes between a value and an output, and all that they read from outside."""
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    todo, seen, outside = [output], set(), set()
    while todo:
        name = todo.pop()
        if name == source or name in weights or name in seen or not name:
            continue
        seen.add(name)
        if name not in makers:
            outside.add(name)
            continue
        todo += reads(makers[name])
    return [node for node in model.graph.node if seen & set(node.output)], outside


def reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from (name for each in inner.node for name in reads(each))


def cut_out(model: ModelProto, source: str | None, output: str) -> ModelProto:
    """A model of the nodes between a value, or the inputs, and an output."""
    nodes, _ = part(model, source, output)
    new = copied(model)
    for field in ("node", "output", "value_info"):
        new.graph.ClearField(field)
    read = {name for node in nodes for name in reads(node)}
    kept = [tensor for tensor in new.graph.initializer if tensor.name in read]
    new.graph.ClearField("initializer")
    new.graph.initializer.extend(kept)
    new.graph.node.extend(nodes)
    if source is not None:
        new.graph.ClearField("input")
        known = shape_inference.infer_shapes(model).graph.value_info
        kind = next((value.type.tensor_type.elem_type for value in known if value.name == source), TensorProto.FLOAT)
        new.graph.input.add(name=source).type.tensor_type.elem_type = kind
    new.graph.output.add(name=output)
    return new
