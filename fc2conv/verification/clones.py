"""A float32 clone of a model in float64 or bfloat16, for which onnxruntime's CPU lacks operators such as Conv."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper

from fc2conv.io.forms import materialize
from fc2conv.io.reader import ModelFile, model_file_from_proto
from fc2conv.verification.nodes import subgraphs

MOST = 1 << 28
"""Bytes of a model that is cloned: it is held in memory."""

_KINDS = (TensorProto.DOUBLE, TensorProto.BFLOAT16)
_NAMED = ("to", "dtype", "output_dtype", "stash_type")


def clone(file: ModelFile) -> ModelFile | None:
    """The model with float32 in place of float64 and bfloat16 throughout; None where there is neither, or too much."""
    if file.nbytes > MOST or not any(t.data_type in _KINDS for t in _tensors(file.model.graph)):
        return None
    whole = materialize(file.model, file.payloads)
    for tensor in _tensors(whole.graph):
        if tensor.data_type in _KINDS:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for graph in _graphs(whole.graph):
        for info in (*graph.input, *graph.output, *graph.value_info):
            _retype(info.type)
    for node in _nodes(whole):
        for attribute in node.attribute:
            if attribute.name in _NAMED and attribute.type == AttributeProto.INT and attribute.i in _KINDS:
                attribute.i = TensorProto.FLOAT
    return model_file_from_proto(whole)


def _retype(kind: TypeProto) -> None:
    if kind.tensor_type.elem_type in _KINDS:
        kind.tensor_type.elem_type = TensorProto.FLOAT


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in _graphs(model.graph):
        yield from graph.node


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            yield from (a.t for a in node.attribute if a.type == AttributeProto.TENSOR)
