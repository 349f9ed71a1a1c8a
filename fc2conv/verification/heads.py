"""The head of a model alone, and its values as maps and maps as its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from fc2conv.verification.nodes import subgraphs
from fc2conv.verification.spec import Feature, Layout, MapClaim

Array = NDArray[Any]
SPACE = 2


def as_map(value: Array, layout: Layout, sizes: Sequence[int]) -> Array:
    """A value of the original in the order [N, C, *S] of its map; the batch is what is left.

    Axes of one cell need not be in the layout, as the channels of a sound [N, L] are not.
    """
    axes = [axis for dim in layout for axis in dim]
    split = value.reshape([-1 if axis == 0 else sizes[axis] for axis in axes])
    moved = split.transpose(np.argsort(axes))
    absent = [axis for axis in range(len(sizes)) if axis not in axes]
    return np.ascontiguousarray(np.expand_dims(moved, absent))


def as_value(cells: Array, layout: Layout) -> Array:
    """A map [N, C, *S] as the value of the original that holds it in `layout`."""
    axes = [axis for dim in layout for axis in dim]
    absent = [axis for axis in range(cells.ndim) if axis not in axes]
    moved = cells.transpose(*axes, *absent)
    shape = [int(np.prod([cells.shape[axis] for axis in dim], dtype=int)) for dim in layout]
    return np.ascontiguousarray(moved.reshape(shape))


def window_of(features: Array, feature: Feature, at: Mapping[int, int]) -> Array:
    """What the head reads for one place; along an axis that has no windows that is the first of as many cells."""
    cut = [slice(None)] * SPACE
    for axis in range(SPACE, features.ndim):
        start = at[axis] * feature.steps[axis] if axis in at else 0
        cut.append(slice(start, start + feature.sizes[axis]))
    return features[tuple(cut)]


def cell_of(cells: Array, claim: MapClaim, at: Mapping[int, int]) -> Array:
    """The cell of one place, or those that the training size has along an axis that has no windows."""
    cut = [slice(None)] * SPACE
    for axis in range(SPACE, cells.ndim):
        cut.append(slice(at[axis], at[axis] + 1) if axis in at else slice(claim.sizes[axis]))
    return cells[tuple(cut)]


def extracted(model: ModelProto, inputs: Mapping[str, np.dtype[Any]], output: str) -> ModelProto | None:
    """The part of a model that computes one output from some values; None where it reads other inputs as well."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    weights = {tensor.name for tensor in model.graph.initializer}
    todo, wanted = [output], set()
    while todo:
        name = todo.pop()
        if name in inputs or name in weights or name in wanted or not name:
            continue
        if name not in makers:
            return None
        wanted.update(makers[name].output)
        todo += _reads(makers[name])
    part = ModelProto()
    part.CopyFrom(model)
    nodes = [node for node in model.graph.node if node.output[0] in wanted]
    read = {name for node in nodes for name in _reads(node)}
    for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
        part.graph.ClearField(field)
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in read)
    for name, dtype in inputs.items():
        part.graph.input.append(ValueInfoProto(name=name))
        part.graph.input[-1].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(dtype)
    part.graph.output.append(ValueInfoProto(name=output))
    return part


def _reads(node: Any) -> list[str]:
    inner: list[str] = []
    for graph in subgraphs(node):
        inner += _outer_reads(graph)
    return [*node.input, *inner]


def _outer_reads(graph: GraphProto) -> list[str]:
    """All names that a subgraph reads, its own among them, which nobody else makes."""
    made = {name for node in graph.node for name in node.output} | {t.name for t in graph.initializer}
    made |= {value.name for value in graph.input}
    return [n for node in graph.node for n in _reads(node) if n not in made]
