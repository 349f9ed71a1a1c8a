"""Weights that are quantized along their inputs, quantized once more with a scale for each output.

    DequantizeLinear(W, s[K]) -> the layer      ->      DequantizeLinear(W', s'[M]) -> the layer

W' is round(s W / s') in 8 bits, s' the largest |s W| of an output over 127. That changes what the model computes, so
that it is done only where it is asked for, to the model before it is planned; the report keeps it apart from what is
proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
from onnx import NodeProto, TensorProto

from fc2conv.io.payload import Buffer
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label, new_node
from fc2conv.layers import FCLayer, find_layer
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.qdq import Layers
from fc2conv.rewrite.swap import Replaced, exchanged

Changes = Mapping[tuple[str, str], float]
"""By scope and name of a layer how far a weight moved, relative to the layer's largest one."""

_LARGEST = 127


def requantized(file: ModelFile, layers: Layers, *, freeze: bool) -> tuple[ModelFile, Changes]:
    """Quantize the weights of some layers per output in a copy; return the model, and how far the weights moved."""
    changes: dict[tuple[str, str], float] = {}

    def quantized(graph: Graph, constants: Constants, pool: Pool) -> Replaced:
        replaced: Replaced = {}
        for i, node in enumerate(graph.nodes):
            name = graph.path, label(node)
            layer = find_layer(graph, constants, i, {}) if name in layers else None
            found = _of_layer(layer, constants, pool) if isinstance(layer, FCLayer) else None
            if isinstance(layer, FCLayer) and found is not None:
                before, changes[name] = found
                new = deepcopy(node)
                new.input[list(new.input).index(layer.weight)] = before.output[0]
                replaced[i] = [before, new]
        return replaced

    copy = exchanged(file, quantized, freeze=freeze)
    return copy or file, changes


def _of_layer(layer: FCLayer, constants: Constants, pool: Pool) -> tuple[NodeProto, float] | None:
    """Quantize a weight for each output; return None where several dimensions have outputs or its values forbid it."""
    rank = len(layer.shape)
    if len(layer.matrix.outputs) != 1 or layer.matrix.side_by_side(rank):
        return None
    values = constants.array(layer.weight)
    return None if values is None else _quantized(values, layer.matrix.outputs[0] % rank, layer.weight, pool)


def _quantized(values: np.ndarray, axis: int, name: str, pool: Pool) -> tuple[NodeProto, float] | None:
    """Return a node that makes a weight of integers with a scale for each output, and how far the weight moved.

    Return None where the type of the weight has no such scale: it would be 0, a few bits of a number, or infinite.
    """
    wide = values.astype(np.float64)
    others = tuple(i for i in range(wide.ndim) if i != axis)
    most = np.abs(wide).max(axis=others)
    with np.errstate(all="ignore"):
        scale = np.where(most == 0, 1, most / _LARGEST).astype(values.dtype)
        held = (most == 0) | (np.abs(scale.astype(np.float64) * _LARGEST - most) <= most / _LARGEST)
    if not held.all():
        return None
    spread = scale.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(wide.ndim)])
    integers = np.clip(np.rint(wide / spread), -_LARGEST, _LARGEST).astype(np.int8)
    moved = float(np.abs(integers * spread - wide).max() / max(float(most.max()), np.finfo(np.float64).tiny))
    stored = pool.placed(pool.unique(f"{name}_int8"), TensorProto.INT8, values.shape, Buffer(integers.tobytes()))
    made = pool.unique(f"{name}_requantized")
    scales = pool.value(scale, f"{name}_scales")
    return new_node("DequantizeLinear", [stored, scales], [made], pool.unique(f"{name}_dequantize"), axis=axis), moved
