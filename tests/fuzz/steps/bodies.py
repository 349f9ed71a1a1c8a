"""Nodes with bodies that hold layers: If, Loop and Scan."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper

from ..builder import Builder, Step, Value


def choice(b: Builder, x: Value) -> Value | None:
    """An If, each of whose bodies has a layer over a captured value; by a constant, or by the size of the batch."""
    if x.rank < 2 or b.opset < 11:
        return None
    outputs, name = 1 + b.below(4), f"n{len(b.nodes)}"
    bodies = {}
    for branch in ("then", "else"):
        weight, made = b.weight([x.shape[-1], outputs], x.shape[-1] ** -0.5), f"{name}_{branch}"
        node = helper.make_node("MatMul", [x.name, weight], [made], name=f"{made}_fc")
        nodes = [node]
        if b.chance(0.5):
            nodes = [node, helper.make_node("Relu", [made], [f"{made}_relu"])]
        result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
        bodies[f"{branch}_branch"] = helper.make_graph(nodes, made, [], [result])
    if b.chance(0.5):
        condition = b.constant(np.array(b.chance(0.5)))
    else:
        (shape,) = b.node("Shape", [x.name])
        (size,) = b.node("Gather", [shape, b.constant(np.array(0, np.int64))])
        (condition,) = b.node("Greater", [size, b.constant(np.array(1, np.int64))])
    return b.add("If", [condition], [*x.shape[:-1], outputs], **bodies)


def loop(b: Builder, x: Value) -> Value | None:
    """A Loop whose state passes a layer on each step, now and then in a Loop within, or with all states as a result."""
    if x.rank < 2 or b.opset < 11:
        return None
    name = f"n{len(b.nodes)}"
    steps = _steps(b, x)
    layer = _layer(b, x, f"{name}_state", name)
    nodes = [*layer, helper.make_node("Tanh", [layer[-1].output[0]], [f"{name}_next"])]
    if b.chance(0.3):
        body = _body(b, x, f"{name}_state", [*layer], layer[-1].output[0], f"{name}_inner")
        inner = helper.make_node("Loop", [steps, "", f"{name}_outer"], [f"{name}_within"], body=body)
        nodes = [inner, helper.make_node("Tanh", [f"{name}_within"], [f"{name}_next"])]
    given = f"{name}_state" if nodes[0] is layer[0] else f"{name}_outer"
    body = _body(b, x, given, nodes, f"{name}_next", name)
    if not b.chance(0.3):
        return b.add("Loop", [steps, "", x.name], x.shape, body=body)
    body.node.append(helper.make_node("Identity", [f"{name}_next"], [f"{name}_seen"]))
    body.output.append(helper.make_tensor_value_info(f"{name}_seen", TensorProto.FLOAT, None))
    last, _ = b.node("Loop", [steps, "", x.name], 2, body=body)
    return b.add("Identity", [last], x.shape)


def _steps(b: Builder, x: Value) -> str:
    """How often: a number, or the size of the last dimension."""
    if b.chance(0.6):
        return b.constant(np.array(b.below(4), np.int64))
    (shape,) = b.node("Shape", [x.name])
    (size,) = b.node("Gather", [shape, b.constant(np.array(x.rank - 1, np.int64))])
    return size


def _layer(b: Builder, x: Value, given: str, name: str) -> list[NodeProto]:
    """Nodes that keep the shape of what they are given."""
    features = x.shape[-1]
    weight = b.weight([features, features], features**-0.5)
    node = helper.make_node("MatMul", [given, weight], [f"{name}_made"], name=f"{name}_fc")
    bias = helper.make_node("Add", [f"{name}_made", b.weight([features])], [f"{name}_sum"])
    return [node, bias] if b.chance(0.5) else [node]


def _body(b: Builder, x: Value, given: str, nodes: list[NodeProto], result: str, name: str) -> GraphProto:
    """The body of a Loop, which declares of its state the shape, the rank, or nothing."""
    state = ValueInfoProto(name=given)
    said = b.below(3)
    if said < 2:
        sizes = [None, *x.shape[1:]] if said else [None] * x.rank
        state = helper.make_tensor_value_info(given, TensorProto.FLOAT, sizes)
    number = helper.make_tensor_value_info(f"{name}_number", TensorProto.INT64, [])
    going = helper.make_tensor_value_info(f"{name}_going", TensorProto.BOOL, [])
    on = helper.make_tensor_value_info(f"{name}_on", TensorProto.BOOL, [])
    back = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    going_on = helper.make_node("Identity", [going.name], [on.name])
    return helper.make_graph([going_on, *nodes], f"{name}_body", [number, going, state], [on, back])


def scan(b: Builder, x: Value) -> Value | None:
    """A Scan over rows, as a recurrent network writes it."""
    if x.rank != 3 or b.opset < 11:
        return None
    n, length, features = x.shape
    hidden, name = 1 + b.below(4), f"n{len(b.nodes)}"
    read, kept = b.weight([features, hidden], features**-0.5), b.weight([hidden, hidden], hidden**-0.5)
    axes, attributes = b.axes_form([1], since=18)
    most = b.add("ReduceMax", [x.name, *axes], [n, features], keepdims=0, **attributes)
    first = b.add("MatMul", [most.name, read], [n, hidden])
    nodes = [
        helper.make_node("MatMul", [f"{name}_row", read], [f"{name}_in"], name=f"{name}_in_fc"),
        helper.make_node("MatMul", [f"{name}_state", kept], [f"{name}_back"], name=f"{name}_back_fc"),
        helper.make_node("Add", [f"{name}_in", f"{name}_back"], [f"{name}_sum"]),
        helper.make_node("Tanh", [f"{name}_sum"], [f"{name}_next"]),
        helper.make_node("Identity", [f"{name}_next"], [f"{name}_out_row"]),
    ]
    given = [
        helper.make_tensor_value_info(
            f"{name}_{what}", TensorProto.FLOAT, [None, size] if b.chance(0.6) else [None] * 2
        )
        for what, size in (("state", hidden), ("row", features))
    ]
    results = [helper.make_tensor_value_info(f"{name}_{w}", TensorProto.FLOAT, None) for w in ("next", "out_row")]
    body = helper.make_graph(nodes, f"{name}_body", given, results)
    ways = {"scan_input_axes": [1], "scan_output_axes": [1], "num_scan_inputs": 1}
    if b.chance(0.3):
        ways |= {"scan_input_directions": [1], "scan_output_directions": [1]}
    _, whole = b.node("Scan", [first.name, x.name], 2, body=body, **ways)
    return b.add("Identity", [whole], [n, length, hidden])


BODIES: dict[Step, int] = {choice: 1, loop: 1, scan: 1}
