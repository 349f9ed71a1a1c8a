"""Types and concrete shapes of what a node gives, from those of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
    rule = CONTRIB.get(node.op_type) if domain == "com.microsoft" else None
    if rule is not None:
        try:
            return (rule(operands) + [(0, None)] * len(node.output))[: len(node.output)]
        except (IndexError, ValueError, AttributeError, TypeError):
            return [(0, None)] * len(node.output)
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


def _shape(operands: Operands, index: int) -> Shape:
    term = operands[index]
    if term is None or term.shape is None:
        raise ValueError("no shape")
    return term.shape


def _kind(operands: Operands, index: int) -> int:
    term = operands[index] if index < len(operands) else None
    return term.kind if term is not None else 0


def _broadcast(*indices: int, typed: int = 0) -> Callable[[Operands], list[Kind]]:
    """The operands broadcast to the result, which has the type of one of them."""

    def rule(operands: Operands) -> list[Kind]:
        shapes = [_shape(operands, i) for i in indices if i < len(operands) and operands[i] is not None]
        return [(_kind(operands, typed), np.broadcast_shapes(*shapes))]

    return rule


def _matrix(a: int, b: int, kind: Callable[[Operands], int]) -> Callable[[Operands], list[Kind]]:
    """A product of matrices with batches that broadcast."""

    def rule(operands: Operands) -> list[Kind]:
        one, other = _shape(operands, a), _shape(operands, b)
        return [(kind(operands), (*np.broadcast_shapes(one[:-2], other[:-2]), one[-2], other[-1]))]

    return rule


def _all_like_first(operands: Operands) -> list[Kind]:
    """LayerNorm with a residual: the sum comes as the fourth result."""
    first = _kind(operands, 0), _shape(operands, 0)
    return [first, (0, None), (0, None), first]


_FLOAT: Callable[[Operands], int] = lambda _: TensorProto.FLOAT  # noqa: E731

CONTRIB: dict[str, Callable[[Operands], list[Kind]]] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _broadcast(0, 3)),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), _broadcast(0)),
    **dict.fromkeys(("Gelu", "QuickGelu"), _broadcast(0)),
    **dict.fromkeys(("BiasGelu", "FastGelu"), _broadcast(0, 1)),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _all_like_first),
    "QuantizeLinear": _broadcast(0, typed=2),
    "DequantizeLinear": _broadcast(0, typed=1),
    "QLinearMatMul": _matrix(0, 3, lambda o: _kind(o, 7)),
    "MatMulIntegerToFloat": _matrix(0, 1, lambda o: _kind(o, 2)),
    "DynamicQuantizeMatMul": _matrix(0, 1, _FLOAT),
}
"""Operators of onnxruntime whose shapes onnx does not infer."""
