"""Does planning and rewriting take time linear in the nodes? Graphs of 5,000, 10,000 and 20,000 nodes.

    python benchmarks/scaling.py [--nodes 5000 10000 20000] [-n 3]

A graph is a chain of blocks in channels-last style (two transposes about two layers, with a residual), and every tenth
block has a flattened head with an output of its own. The last column is the time against the size before, per node:
1.0 is linear.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import measure
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))

import fc2conv

CHANNELS, SIDE, CLASSES = 8, 4, 5
OPTIONS = fc2conv.Options(verify=False)


def block(index: int, value: str) -> list[NodeProto]:
    """Nine nodes: Conv, Transpose, (MatMul, Add) twice with a Relu between, Transpose, Add."""
    name = f"b{index}"
    plan: list[tuple[str, list[str], dict[str, object]]] = [
        ("Conv", [value, "kernel"], {}),
        ("Transpose", [f"{name}_0"], {"perm": [0, 2, 3, 1]}),
        ("MatMul", [f"{name}_1", f"up{index}"], {}),
        ("Add", [f"{name}_2", "bias"], {}),
        ("Relu", [f"{name}_3"], {}),
        ("MatMul", [f"{name}_4", f"down{index}"], {}),
        ("Add", ["bias", f"{name}_5"], {}),
        ("Transpose", [f"{name}_6"], {"perm": [0, 3, 1, 2]}),
        ("Add", [f"{name}_0", f"{name}_7"], {}),
    ]
    return [
        helper.make_node(op, inputs, [f"{name}_{step}"], name=f"{name}_{step}_{op}", **attributes)
        for step, (op, inputs, attributes) in enumerate(plan)
    ]


def head(index: int) -> list[NodeProto]:
    """Flatten and one layer, down to an output."""
    flatten = helper.make_node("Flatten", [f"b{index}_8"], [f"flat{index}"], name=f"flatten{index}")
    layer = helper.make_node("Gemm", [f"flat{index}", "head"], [f"y{index}"], name=f"head{index}", transB=1)
    return [flatten, layer]


def graph_of(nodes: int) -> ModelProto:
    """A model with about as many nodes."""
    random = np.random.default_rng(5)

    def tensor(name: str, *shape: int) -> TensorProto:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(2 * np.prod(shape[1:]) ** 0.5)
        return numpy_helper.from_array(values, name)

    size = CHANNELS * SIDE * SIDE
    made: list[NodeProto] = []
    tensors = [tensor("kernel", CHANNELS, CHANNELS, 1, 1), tensor("bias", CHANNELS), tensor("head", CLASSES, size)]
    outputs, value, index = [], "x", 0
    while len(made) < nodes:
        made += block(index, value)
        tensors += [tensor(f"up{index}", CHANNELS, CHANNELS), tensor(f"down{index}", CHANNELS, CHANNELS)]
        value = f"b{index}_8"
        if index % 10 == 9:
            made += head(index)
            outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, ["N", CLASSES]))
        index += 1
    shape = ["N", CHANNELS, SIDE, SIDE]
    outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(made, f"chain_{nodes}", [image], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def fastest(action: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[5_000, 10_000, 20_000])
    parser.add_argument("-n", "--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows, before = [], 0.0
    for nodes in arguments.nodes:
        model = graph_of(nodes)
        count = len(model.graph.node)
        plan = fastest(lambda model=model: fc2conv.plan(model, OPTIONS), arguments.rounds)
        whole = fastest(lambda model=model: fc2conv.convert(model, options=OPTIONS), arguments.rounds)
        report = fc2conv.convert(model, options=OPTIONS).report
        per_node = whole / count
        growth = f"{per_node / before:.2f}" if before else ""
        before = per_node
        layout = f"{report.layout_nodes.before} -> {report.layout_nodes.after}"
        times = [f"{plan:.2f}", f"{whole:.2f}", f"{1e6 * per_node:.0f}"]
        rows.append([count, len(report.converted), layout, *times, growth])
    header = [
        "nodes",
        "layers converted",
        "layout nodes",
        "plan s",
        "convert s",
        "us a node",
        "per node, against before",
    ]
    print(measure.markdown(header, rows))


if __name__ == "__main__":
    main()
