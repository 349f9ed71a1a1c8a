"""Declared sizes: exporters write 0 or -1 for a dimension that is open, and libraries compute with such numbers."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto


def declared_size(dim: TensorShapeProto.Dimension) -> int | None:
    """Returns the number that a dimension is declared to be, or None for an open one."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def open_sizes(model: ModelProto) -> None:
    """Changes a model so that every size below 1 in a declaration is open; what tensors hold keeps its sizes."""
    _open_graph(model.graph)
    for function in model.functions:
        for value in function.value_info:
            open_type(value.type)
        _open_nodes(function.node)


def open_type(kind: TypeProto) -> None:
    """Changes the type of a value so that every size below 1 is open."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        for dim in getattr(kind, which).shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")
    elif which in ("sequence_type", "optional_type"):
        open_type(getattr(kind, which).elem_type)
    elif which == "map_type":
        open_type(kind.map_type.value_type)


def _open_graph(graph: GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        open_type(value.type)
    _open_nodes(graph.node)


def _open_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _open_graph(attribute.g)
            for graph in attribute.graphs:
                _open_graph(graph)
            if attribute.HasField("tp"):
                open_type(attribute.tp)
            for kind in attribute.type_protos:
                open_type(kind)
