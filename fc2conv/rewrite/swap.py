"""The nodes and initializers of a scope, put in place of those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import GraphProto, NodeProto, TensorProto

from fc2conv.ir.graph import Graph, alive, reads


def swap(graph: Graph, nodes: Sequence[NodeProto], initializers: Iterable[TensorProto] = ()) -> None:
    """Put nodes in place of a scope's, and initializers beside its own, without what is read no more.

    What nobody read before stays. An initializer that is an input as well takes its entry along.
    """
    kept, proto = alive(nodes, graph.outputs, graph), graph.proto
    gone = graph.read.intersection(graph.initializers) - {*reads(kept), *graph.outputs}
    fresh = GraphProto(
        node=kept,
        initializer=[*(tensor for tensor in proto.initializer if tensor.name not in gone), *initializers],
        input=[value for value in proto.input if value.name not in gone],
    )
    for field in ("node", "initializer", "input"):
        proto.ClearField(field)
    proto.MergeFrom(fresh)
