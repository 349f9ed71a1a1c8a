"""Which operators a layer becomes, and whether the model's operator set has them."""

from __future__ import annotations

from onnx import NodeProto, defs

from fc2conv.ir.graph import Graph, label
from fc2conv.ir.schema import schema_of
from fc2conv.reasons import Code, Reason


def lacking(graph: Graph, node: NodeProto, *op_types: str, least: int = 1) -> Reason | None:
    """The reason to keep a layer where the model's operator set has not all of these operators.

    `least` is the first version whose operators runtimes know.
    """
    for op_type in op_types:
        versions = range(least, defs.onnx_opset_version() + 1)
        first = next((version for version in versions if schema_of(op_type, version, "") is not None), None)
        if first is None:
            return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"{op_type} is no operator of its own")
        if graph.opset < first:
            return Reason(Code.OPSET_TOO_OLD, label(node), f"{op_type} needs version {first}, here it is {graph.opset}")
    return None
