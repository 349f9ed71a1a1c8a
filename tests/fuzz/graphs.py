"""Random valid models out of feature maps, layout chains, fully connected layers of every form, and joins.

`random_graph(seed)` draws steps one after the other and tracks the shape of every value while it builds, so that each
node is valid by construction. The same seed gives the same model wherever onnx and onnxruntime know the same opsets.
Nodes whose result jumps (TopK, comparisons) are left out: there a rounding error would look like a fault. Quantization
jumps by small steps: `RandomModel.quantized` says where it does.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto, helper

from .builder import MAX_ELEMENTS, OPSETS, Builder, RandomModel, Step, Value
from .steps import STEPS
from .steps.maps import convolution


def random_graph(seed: int) -> RandomModel:
    """The model of a seed."""
    random = np.random.default_rng(seed)
    b = Builder(random, OPSETS[int(random.integers(len(OPSETS)))], 1 + int(random.integers(3)))
    for _ in range(1 if b.chance(0.8) else 2):
        _add_input(b)
    if b.chance(0.5):
        convolution(b, b.values[0])
    steps, weights = list(STEPS), np.array(list(STEPS.values()), float)
    goal = len(b.nodes) + 3 + b.below(12)
    for _ in range(200):
        step = steps[int(random.choice(len(steps), p=weights / weights.sum()))]
        recent = b.values[-1 - min(int(random.exponential(0.7)), len(b.values) - 1)]
        _attempt(b, step, recent)
        if len(b.nodes) >= goal:
            break
    return _finished(b, seed)


def _add_input(b: Builder) -> None:
    rank = b.pick((2, 3, 4, 4, 4, 4, 5))
    space = [1 + b.below(5 if rank < 5 else 3) for _ in range(rank - 2)]
    value = Value(f"x{len(b.inputs)}", (b.batch, 1 + b.below(6), *space))
    b.inputs.append(value)
    b.values.append(value)


def _attempt(b: Builder, step: Step, x: Value) -> None:
    """Takes the step, and takes it back where it makes a tensor too large or of too high a rank."""
    nodes, tensors, values = len(b.nodes), len(b.tensors), len(b.values)
    step(b, x)
    if any(prod(value.shape) > MAX_ELEMENTS or value.rank > 6 for value in b.values[values:]):
        del b.nodes[nodes:], b.tensors[tensors:], b.values[values:]


def _finished(b: Builder, seed: int) -> RandomModel:
    """The model: what nobody reads is an output, and now and then something that is read as well."""
    read = {name for node in b.nodes for name in node.input}
    made = [value for value in b.values if value not in b.inputs]
    outputs = [value for value in made if value.name not in read or b.chance(0.08)]
    if not outputs:
        outputs = [b.add("Identity", [b.values[0].name], b.values[0].shape)]
    dynamic = b.chance(0.6)
    graph = helper.make_graph(
        b.nodes,
        f"random_{seed}",
        [_value_info(value, dynamic=dynamic) for value in b.inputs],
        [helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [None] * value.rank) for value in outputs],
        b.tensors,
    )
    domains = {node.domain: 1 for node in b.nodes if node.domain}
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": b.opset, **domains}.items()]
    version = 10 if b.opset >= 21 else 8
    model = helper.make_model(graph, opset_imports=imports, ir_version=version, functions=b.functions)
    return RandomModel(model, b.batch, dynamic)


def _value_info(value: Value, *, dynamic: bool) -> object:
    shape: list[int | str] = list(value.shape)
    if dynamic:
        shape[0] = "N"
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape)
