"""Types and concrete shapes of what a node gives, from those of its operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from fc2conv.verification.exact.terms import SMALL, Shape, Term
from fc2conv.verification.runtime import node_kinds

Kind = tuple[int, Shape | None]
"""An element type (0: not known) and a shape (None: not known)."""

Operands = Sequence[Term | None]


def infer(node: NodeProto, domain: str, opsets: Mapping[str, int], ir_version: int, operands: Operands) -> list[Kind]:
    """Return type and shape of each result of a node."""
    if any(v is not None and v.kind == 0 for v in operands):
        return [(0, None)] * len(node.output)
    found = _inferred(node, domain, opsets, ir_version, operands)
    if all(shape is not None for _, shape in found) or any(v is not None and v.shape is None for v in operands):
        return found
    kinds = [None if v is None else (v.kind, v.shape or (), v.value) for v in operands]
    return [
        one if one[1] is not None else other for one, other in zip(found, node_kinds(node, opsets, kinds), strict=True)
    ]


def carried(kinds: Sequence[Kind], before: Operands, after: Sequence[Term]) -> list[Kind]:
    """Add the shapes of what a Loop carries: those that go into its body and come out of it the same."""
    made = list(kinds)
    for i, (one, other) in enumerate(zip(before, after, strict=False)):
        if one is not None and i < len(made) and one.shape is not None and one.shape == other.shape:
            made[i] = (other.kind, one.shape)
    return made


def _inferred(
    node: NodeProto, domain: str, opsets: Mapping[str, int], ir_version: int, operands: Operands
) -> list[Kind]:
    unknown: list[Kind] = [(0, None)] * len(node.output)
    if domain not in opsets or not onnx.defs.has(node.op_type, domain):
        return unknown
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        types, data = _given(node, operands)
        imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
        found = infer_node_outputs(schema, node, types, data, opset_imports=imports, ir_version=ir_version)
    except (InferenceError, onnx.defs.SchemaError, onnx.checker.ValidationError, ValueError):
        return unknown
    return [_read(found[name]) if name in found else (0, None) for name in node.output]


def _given(node: NodeProto, operands: Operands) -> tuple[dict[str, TypeProto], dict[str, TensorProto]]:
    types: dict[str, TypeProto] = {}
    data: dict[str, TensorProto] = {}
    for name, term in zip(node.input, operands, strict=True):
        if term is None:
            continue
        types[name] = helper.make_tensor_type_proto(term.kind, term.shape)
        if term.value is not None and term.kind == TensorProto.INT64 and term.size <= SMALL:
            data[name] = numpy_helper.from_array(np.array(term.value, order="C"), name)
    return types, data


def _read(kind: TypeProto) -> Kind:
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return tensor.elem_type, None
    if not all(d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim)
