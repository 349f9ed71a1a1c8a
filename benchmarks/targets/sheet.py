"""Judges what was written for a target by the target's sheet alone: the model, and the limits in its TOML file.

    sheet.py [--targets NAME,NAME] [--command fc2conv] MODEL...

For each target the models are converted by `COMMAND batch --target NAME --scope all --static`, and what came of it is
read with onnx. The limits are read and applied here once more: nothing of fc2conv is imported. It finds

    illegal   a convolution that the original has not and that the sheet does not allow
    fits      a layer that was kept, though the sheet prefers convolutions and allows its 1x1

and prints a row for each target: layers, those that were converted, those kept that the sheet allows as they are, those
kept that it does not, and the two counts. Exit 1 where one of the two is not 0.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, shape_inference

SHEETS = Path(__file__).parents[2] / "fc2conv" / "targets"
KERNELS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
WEIGHTS = {"Gemm": 1, "MatMul": 1, "QLinearMatMul": 3, "MatMulInteger": 1, "QGemm": 3, "FusedGemm": 1, "FusedMatMul": 1}
Sheet = dict[str, Any]


@dataclass
class Shape:
    """A convolution as a sheet sees it; None is a size that is not known."""

    kernel: tuple[int, ...]
    inputs: int
    outputs: int
    groups: int = 1
    spatial: tuple[int | None, ...] = ()
    batch: int | None = 1
    type: str = "float32"


@dataclass
class Model:
    """A model with what shape inference says of its values."""

    proto: ModelProto
    shapes: dict[str, list[int | None]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        inferred = shape_inference.infer_shapes(self.proto, data_prop=True)
        for graph in graphs(inferred.graph):
            for value in (*graph.value_info, *graph.input, *graph.output):
                kind = value.type.tensor_type
                self.types[value.name] = kind.elem_type
                if kind.HasField("shape"):
                    self.shapes[value.name] = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
            for tensor in graph.initializer:
                self.shapes[tensor.name], self.types[tensor.name] = list(tensor.dims), tensor.data_type
                self.constants.add(tensor.name)
            for node in graph.node:
                if node.op_type == "Constant" or (node.input and all(x in self.constants for x in node.input if x)):
                    self.constants.update(node.output)

    def type_of(self, name: str) -> str:
        """The element type of a value as NumPy calls it."""
        kind = self.types.get(name, 0)
        return str(helper.tensor_dtype_to_np_dtype(kind).name) if kind else "float32"

    def nodes(self) -> Iterator[NodeProto]:
        """Every node of every scope."""
        for graph in graphs(self.proto.graph):
            yield from graph.node


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and those in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from graphs(inner)


def sheet(name: str) -> Sheet:
    """The tables of a target, on those of the one that it is like."""
    own = tomllib.loads((SHEETS / f"{name}.toml").read_text(encoding="utf-8"))
    return {**sheet(own["like"]), **own} if own.get("like") else own


def takes(limit: Sheet, value: int | None) -> bool:
    """Whether a number is within a limit."""
    if value is None:
        return True
    low, high = limit.get("least", 0), limit.get("most", 1 << 62)
    listed, odd = limit.get("allowed"), limit.get("odd", False)
    return (
        low <= value <= high
        and (not listed or value in listed)
        and not (odd and value % 2 == 0)
        and (value % limit.get("multiple", 1) == 0)
    )


def illegal(conv: Shape, target: Sheet) -> list[str]:
    """Every limit that a convolution breaks, in words."""
    limits = target.get("conv", {})
    height, width = max(conv.kernel[:-1], default=1), conv.kernel[-1]
    spatial = conv.spatial or (1,)
    values = {
        "kernel-height": height,
        "kernel-width": width,
        "kernel-area": prod(conv.kernel),
        "input-channels": conv.inputs,
        "output-channels": conv.outputs,
        "groups": conv.groups,
        "rank": len(conv.kernel) + 2,
        "height": spatial[-2] if len(spatial) > 1 else 1,
        "width": spatial[-1],
    }
    out = []
    for key, value in values.items():
        for limit in limits.get(key, []):
            if conv.type in limit.get("types", [conv.type]) and not takes(limit, value):
                out.append(f"{key} {value}")
    for law in limits.get("kernel-law", []):
        weights = height * width * -(-conv.inputs // law["lanes"])
        if conv.type in law.get("types", [conv.type]) and weights > law["most"]:
            out.append(f"kernel-law {weights}")
    for pairs in limits.get("kernels", []) if len(conv.kernel) > 1 else ():
        if [height, width] not in pairs["sizes"]:
            out.append(f"kernel {height}x{width}")
    for names in limits.get("types", []):
        if conv.type not in names["names"]:
            out.append(f"type {conv.type}")
    for limit in target.get("model", {}).get("batch", []):
        if not takes(limit, conv.batch):
            out.append(f"batch {conv.batch}")
    return out


def convolutions(model: Model, but: set[str]) -> Iterator[tuple[NodeProto, Shape]]:
    """The convolutions whose name and value the original has not."""
    for node in model.nodes():
        place = KERNELS.get(node.op_type)
        if place is None or node.output[0] in but or (node.name and node.name in but):
            continue
        weight, read = model.shapes.get(node.input[place]), model.shapes.get(node.input[0], [])
        if weight is None or len(weight) < 3:
            continue
        known = [size or 1 for size in weight]
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        batch = read[0] if read else 1
        kind = model.type_of(node.input[place])
        yield node, Shape(tuple(known[2:]), known[1], known[0], groups, tuple(read[2:]), batch, kind)


def layers(model: Model) -> Iterator[tuple[NodeProto, Shape, bool]]:
    """The layers with a constant matrix, each as a 1x1 convolution, and whether one reads vectors as far as known."""
    for node in model.nodes():
        place = WEIGHTS.get(node.op_type)
        if place is None or len(node.input) <= place or node.input[place] not in model.constants:
            continue
        weight, read = model.shapes.get(node.input[place], []), model.shapes.get(node.input[0], [])
        if len(weight) != 2 or node.input[0] in model.constants:
            continue
        rows, outputs = (size or 1 for size in weight)
        if next((a.i for a in node.attribute if a.name == "transB"), 0):
            rows, outputs = outputs, rows
        cells = (1, 1) if len(read) <= 2 else (1, None)
        yield (
            node,
            Shape((1, 1), rows, outputs, 1, cells, read[0] if read else 1, model.type_of(node.input[place])),
            len(read) in (0, 2),
        )


def kept_as_allowed(node: NodeProto, layer: Shape, flat: bool, target: Sheet) -> bool:
    """Whether the sheet allows a layer as it is."""
    limits, lacks = target.get("fc", {}), target.get("model", {}).get("lacks", [])
    if any(not flag["value"] for flag in limits.get("runs", [])) or any(node.op_type in x["names"] for x in lacks):
        return False
    if any(node.op_type not in names["names"] for names in limits.get("operators", [])):
        return False
    if any(layer.type not in names["names"] for names in limits.get("types", [])):
        return False
    values = {"inputs": layer.inputs, "outputs": layer.outputs, "rank": 2 if flat else 3}
    return all(takes(limit, value) for key, value in values.items() for limit in limits.get(key, []))


def judge(before: Path, after: Path, target: Sheet, count: Counter[str]) -> list[str]:
    """One model as it was and as it was written: the counts, and what is wrong."""
    old, new = Model(onnx.load(before)), Model(onnx.load(after))
    there = {label for node in old.nodes() if node.op_type in KERNELS for label in (node.name, node.output[0])}
    wrong = []
    for node, conv in convolutions(new, there - {""}):
        if found := illegal(conv, target):
            count["illegal"] += 1
            wrong.append(f"illegal: {node.name} ({', '.join(found)})")
    kept = list(layers(new))
    for node, layer, flat in kept:
        form = wanted(node, flat, target.get("prefers", {}))
        count["allowed" if kept_as_allowed(node, layer, flat, target) else "beyond"] += 1
        if form != "keep" and not illegal(layer, target):
            count["fits"] += 1
            wrong.append(f"fits: {node.name} ({node.op_type})")
    count["layers"] += len(list(layers(old)))
    count["kept"] += len(kept)
    return wrong


def wanted(node: onnx.NodeProto, flat: bool, prefers: dict[str, list[dict[str, Any]]]) -> str:
    """The form that a sheet prefers for a layer: what it says of the operator, else of vectors or tokens."""
    vectors = prefers.get("form", [])
    facts = [*([] if flat else prefers.get("tokens", [])), *vectors]
    name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    own = [fact for fact in facts if name in fact.get("operators", [])]
    return next((fact["value"] for fact in (*own, *facts) if fact in own or not fact.get("operators")), "map")


def written(models: Path, out: Path, name: str, command: list[str]) -> Iterator[tuple[Path, Path]]:
    """Convert a folder of models for a target; each as it was and as it was written."""
    options = ["--target", name, "--scope", "all", "--static", "--no-verify", "--jobs", "1"]
    subprocess.run([*command, "batch", str(models), str(out), *options], capture_output=True, check=False)
    for model in sorted(models.iterdir()):
        yield model, out / model.name


def main() -> None:
    """Judge every model for every target, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default=",".join(sorted(path.stem for path in SHEETS.glob("*.toml"))))
    parser.add_argument("--command", default="fc2conv")
    parser.add_argument("models", type=Path, nargs="+")
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        for path in given.models:
            shutil.copy(path, models)
        for name in given.targets.split(","):
            target, count = sheet(name), Counter[str]()
            for before, after in written(models, Path(folder) / name, name, shlex.split(given.command)):
                if not after.exists():
                    count["failed"] += 1
                    continue
                for line in judge(before, after, target, count):
                    print(f"{name}: {before.name}: {line}", file=sys.stderr, flush=True)
            bad += count["illegal"] + count["fits"]
            keys = ("allowed", "beyond", "illegal", "fits", "failed")
            shown = [count["layers"], count["layers"] - count["kept"], *(count[key] for key in keys)]
            print(f"| `{name}` | {' | '.join(map(str, shown))} |", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
