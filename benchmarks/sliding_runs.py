"""Runs of a network and of its sliding form in onnxruntime, and parts of their graphs; nothing of fc2conv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper

Array = Any
CLOSE, ROUGH, STEP = 5e-5, 2e-3, 0.15
"""How far floats may be apart, those of half precision or of integers, and results of few steps (QLinear operators)."""
_COARSE = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8)


class Runs:
    """A network of fixed size and the sliding one, run side by side on images of any size."""

    def __init__(
        self,
        original: ModelProto,
        sliding: ModelProto,
        stated: Mapping[str, Any],
        given: Mapping[str, Sequence[int]],
        large: ModelProto | None = None,
    ) -> None:
        self.original, self.sliding, self.large = original, sliding, large
        self.stated = {**stated, "inputs": [in_order(each, stated["outputs"]) for each in stated["inputs"]]}
        weights = {tensor.name for tensor in original.graph.initializer}
        self.values = [value for value in original.graph.input if value.name not in weights]
        self.shapes = {v.name: list(given.get(v.name, sizes_of(v))) for v in self.values}
        self.old, self.new = session(original), session(sliding)
        self.maps = [output for output in stated["outputs"] if output["kind"] == "map" and not output["upsampled"]]
        rank = max((len(each["dims"]) for each in stated["inputs"]), default=0)
        self.axes = range(rank)
        kinds = {tensor.data_type for tensor in original.graph.initializer} & {*_COARSE}
        operators = {node.op_type for node in original.graph.node}
        coarse = kinds or any(name.startswith(("Quantize", "Dequantize")) for name in operators)
        self.close = STEP if any(name.startswith("QLinear") for name in operators) else ROUGH if coarse else CLOSE
        self.found: dict[str, Any] = {"training": 0.0, "crops": 0, "windows": 0, "worst": 0.0, "fields": 0, "sizes": 0}
        self.found |= {"gap": None, "wrong": [], "loose": []}

    def feed(self, grown: Sequence[int], seed: int = 7) -> dict[str, Array]:
        """Seeded inputs, so many pixels larger than at the training size along each axis that slides."""
        made = {}
        for value in self.values:
            shape = list(self.shapes[value.name])
            for each in self.stated["inputs"]:
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
            for each in self.stated["inputs"]
            if axis < len(each["dims"])
        )

    def at(self, axis: int, grown: int) -> list[int]:
        """A growth along one axis alone."""
        least = [self.growth(i, 0) for i in self.axes]
        return [grown if i == axis else least[i] for i in self.axes]

    def map(self, output: Mapping[str, Any], feed: Mapping[str, Array]) -> Array:
        (found,) = self.new.run([output["output"]], dict(feed))
        return found

    def placed(self, output: Mapping[str, Any], found: Array) -> Iterator[tuple[list[int], list[int]]]:
        """The cells at multiples of the period, and the pixels at which their crops begin."""
        steps = [round(a["period"] / a["stride"]) for a in output["axes"]]
        for place in product(*(range(0, n, s) for n, s in zip(found.shape[2:], steps, strict=True))):
            yield list(place), [round(a["stride"] * i) for a, i in zip(output["axes"], place, strict=True)]

    def extent(self, output: Mapping[str, Any]) -> list[int]:
        """How many cells a map has at the training size."""
        return list(self.map(output, self.feed([0] * len(self.axes))).shape[2:])

    def cropped(self, name: str, value: Array, start: Sequence[int]) -> Array:
        cut = [slice(None)] * value.ndim
        for each in self.stated["inputs"]:
            if each["input"] == name:
                for dim, first, size in zip(each["dims"], start, each["sizes"], strict=False):
                    cut[dim] = slice(first, first + size)
        return np.ascontiguousarray(value[tuple(cut)])

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


def in_order(stated: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An input with its dimensions in the order of the axes of a map that reads it."""
    dims = next(([a["dim"] for a in each["axes"]] for each in outputs if len(each["axes"]) == len(stated["dims"])
                 and each["axes"][0]["input"] == stated["input"]), stated["dims"])  # fmt: skip
    order = sorted(range(len(stated["dims"])), key=lambda i: dims.index(stated["dims"][i]))
    return {key: value if key == "input" else [value[i] for i in order] for key, value in stated.items()}


def apart(one: Array, other: Array, of: Array | None = None) -> float:
    """The largest difference, as a share of the largest number of the first, or of what both are a part of."""
    if one.shape != other.shape:
        return float("inf")
    if not one.size:
        return 0.0
    one, other = one.astype(np.float64), other.astype(np.float64)
    most = max(float(np.abs(each).max()) for each in (one, *([] if of is None else [of])))
    return float(np.abs(one - other).max() / max(most, 1e-30))


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


def pads(node: Any) -> bool:
    """Whether a node reads what is no cell of its map."""
    given = [tuple(each.ints) for each in node.attribute if each.name == "pads"]
    modes = [each.s for each in node.attribute if each.name == "auto_pad"]
    return node.op_type == "Pad" or any(map(any, given)) or any(mode.startswith(b"SAME") for mode in modes)


def reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from (name for each in inner.node for name in reads(each))


def cut_out(model: ModelProto, source: str | None, output: str, dtype: Any = None) -> ModelProto:
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
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        new.graph.input.add(name=source).type.tensor_type.elem_type = kind
    new.graph.output.add(name=output)
    return new
