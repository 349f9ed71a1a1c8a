"""Reads written models alone and counts convolutions in a form that no chip wants.

    python benchmarks/forms.py OUT.onnx ... [--before FOLDER]

    rank      a convolution whose input has another rank than 4
    batch     one that runs on another batch than the model, at batch 1
    kernel    one with a kernel of more than one cell behind a Reshape or Transpose of what is no map

With --before the models of the same names there tell which convolutions were in the model before: those are not
counted, and layout nodes are given before and after. The model alone says what is a map: what convolutions,
pools and inputs of rank 4 give, and what goes on from there without a Reshape or Transpose. Exit status:
1 where one is found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto

KERNELS = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
LAYOUT = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
POOLS = {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
Shapes = dict[str, list[int]]


def shapes_at_batch_one(model: ModelProto) -> Shapes:
    """The shapes that inference finds where every open batch is 1; 0 for a size that is not known."""
    small = ModelProto()
    small.CopyFrom(model)
    for value in small.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and not dims[0].dim_value:
            dims[0].dim_value = 1
    del small.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(small, data_prop=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    return {**found, **{t.name: list(t.dims) for t in graph.initializer}}


def maps(graph: GraphProto, shapes: Shapes) -> set[str]:
    """Values that are maps without a doubt."""
    out = {v.name for v in graph.input if len(shapes.get(v.name, [])) == 4}
    for node in graph.node:
        if node.op_type in KERNELS or node.op_type in POOLS:
            out.update(node.output)
        elif node.op_type not in LAYOUT and any(name in out for name in node.input):
            out.update(name for name in node.output if len(shapes.get(name, [0] * 4)) == 4)
    return out


def behind_layout(graph: GraphProto, known: set[str]) -> set[str]:
    """Values that a Reshape or Transpose made, and what goes on from there."""
    out: set[str] = set()
    for node in graph.node:
        if node.op_type in KERNELS or node.op_type in POOLS:
            continue
        if node.op_type in LAYOUT or (any(name in out for name in node.input) and not set(node.input) & known):
            out.update(node.output)
    return out


def illegal(node: NodeProto, shapes: Shapes, reshaped: set[str]) -> Iterator[str]:
    """What is wrong with one convolution."""
    x, kernel = shapes.get(node.input[0], []), shapes.get(node.input[KERNELS[node.op_type]], [])
    rank = len(x) or len(kernel)
    if rank and rank != 4:
        yield "rank"
    if x and x[0] not in (0, 1):
        yield "batch"
    if node.input[0] in reshaped and any(size > 1 for size in kernel[2:]):
        yield "kernel"


def layout_nodes(graph: GraphProto) -> int:
    """How many layout nodes a graph holds, without its subgraphs."""
    return sum(node.op_type in LAYOUT for node in graph.node)


def main() -> int:
    """Prints each convolution that is illegal, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    counts = {"rank": 0, "batch": 0, "kernel": 0}
    nodes = [0, 0]
    convolutions = 0
    for path in options.models:
        model = onnx.load(path, load_external_data=False)
        there: set[str] = set()
        if options.before:
            before = onnx.load(options.before / path.name, load_external_data=False)
            there = {node.name for node in before.graph.node if node.op_type in KERNELS}
            nodes[0] += layout_nodes(before.graph)
            nodes[1] += layout_nodes(model.graph)
        shapes = shapes_at_batch_one(model)
        reshaped = behind_layout(model.graph, maps(model.graph, shapes))
        for node in model.graph.node:
            if node.op_type in KERNELS and node.name not in there:
                convolutions += 1
                for what in illegal(node, shapes, reshaped):
                    counts[what] += 1
                    print(f"{path.name}: {node.name}: {what}, input {shapes.get(node.input[0])}")
    print(f"{convolutions} convolutions;", ", ".join(f"{what} {count}" for what, count in counts.items()))
    if options.before:
        print(f"layout nodes {nodes[0]} -> {nodes[1]}")
    return int(any(counts.values()))


if __name__ == "__main__":
    sys.exit(main())
