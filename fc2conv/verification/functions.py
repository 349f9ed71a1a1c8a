"""Model-local functions: a call is walked as the graph that its function is, with what the call gives."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto

from fc2conv.verification.nodes import subgraphs

MAX_DEPTH = 16
"""How deep calls are followed; one deeper is opaque, as functions that call each other never end."""


def body(function: FunctionProto, call: NodeProto) -> GraphProto:
    """The graph of one call: references to its attributes are those, and the inputs that it leaves out are absent."""
    names = [*call.input, *[""] * len(function.input)][: len(function.input)]
    absent = {inner for inner, given in zip(function.input, names, strict=True) if not given}
    graph = GraphProto(node=function.node)
    graph.input.extend(ValueInfoProto(name=name) for name in function.input)
    graph.output.extend(ValueInfoProto(name=name) for name in function.output)
    given = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
    _bind(graph, given, absent)
    return graph


def _bind(graph: GraphProto, given: Mapping[str, AttributeProto], absent: set[str]) -> None:
    for node in graph.node:
        if absent.intersection(node.input):
            node.input[:] = ["" if name in absent else name for name in node.input]
        if any(a.ref_attr_name for a in node.attribute):
            bound = [_bound(a, given) for a in node.attribute if not a.ref_attr_name or a.ref_attr_name in given]
            node.ClearField("attribute")
            node.attribute.extend(bound)
        for inner in subgraphs(node):
            _bind(inner, given, absent)


def _bound(attribute: AttributeProto, given: Mapping[str, AttributeProto]) -> AttributeProto:
    out = AttributeProto()
    out.CopyFrom(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
    out.name = attribute.name
    return out
