"""Nodes as the certificate sees them: attributes, signature, inferred types, and evaluation on numbers or ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError, infer_node_outputs

from fc2conv.contained import note
from fc2conv.onnxfile import ModelFile, payload_key
from fc2conv.onnxfile.tensors import tensors
from fc2conv.proof.ids import Array, salt
from fc2conv.proof.values import UnmodelledError, Value

SMALL = 4096
"""Constants of up to this many elements are evaluated at once and shown to shape inference."""

_NEWER = {"QuantizeLinear": 19, "DequantizeLinear": 19}
"""Ops that the reference evaluator has from some opset on only; what they meant before is a part of that."""

_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError)
"""What onnx's reference evaluator raises for a node that it cannot run; it documents none."""


Kind = tuple[int, tuple[int, ...] | None]
"""An element type (0: not known) and a concrete shape (None: not known)."""


@dataclass(frozen=True)
class Call:
    """One node with the values of its inputs (None where an optional one is absent)."""

    node: NodeProto
    inputs: tuple[Value | None, ...]
    file: ModelFile
    opset: int

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Plain attributes by name; tensors, graphs and the like are left out."""
        kinds = (AttributeProto.TENSOR, AttributeProto.GRAPH, AttributeProto.TENSORS, AttributeProto.GRAPHS)
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute if a.type not in kinds}

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number; UnmodelledError for one that is not (the call of a function may give any)."""
        found = self.attributes.get(name, default)
        if not isinstance(found, int | float):
            raise UnmodelledError(f"{self.label} (its {name} is no number)")
        return float(found)

    @property
    def domain(self) -> str:
        """The node's domain; "ai.onnx" is another way to write ""."""
        return "" if self.node.domain == "ai.onnx" else self.node.domain

    @property
    def op(self) -> str:
        """The op with its domain, as `com.microsoft::QGemm`, and without that where it is ONNX's own."""
        return f"{self.domain}::{self.node.op_type}" if self.domain else self.node.op_type

    @property
    def label(self) -> str:
        """How the node is called in messages."""
        return label(self.node)

    def data(self, index: int) -> Value:
        """The input that must be there; UnmodelledError if not."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise UnmodelledError(f"{self.label} (input {index} is missing)")
        return value

    def constant(self, index: int) -> Array | None:
        """The elements of an optional input; None if it is absent, UnmodelledError if it is no constant."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            return None
        if not value.is_constant:
            raise UnmodelledError(f"{self.label} (its input {index} is not a constant)")
        return value.array()

    def signature(self, without: frozenset[str] = frozenset()) -> np.uint64:
        """What the node computes, as a hash: its op and its attributes, apart from those that are told otherwise."""
        return salt(self.domain, self.node.op_type, self.node.overload, _attributes(self.node, self.file, without))


def label(node: NodeProto) -> str:
    """A node's name, or its op and first output where it has none."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '')}"


def _attributes(node: NodeProto, file: ModelFile, without: frozenset[str]) -> tuple[tuple[str, bytes], ...]:
    found = [a for a in node.attribute if a.name not in without]
    return tuple(sorted((a.name, _attribute_bytes(a, file)) for a in found))


def _attribute_bytes(attribute: AttributeProto, file: ModelFile) -> bytes:
    if attribute.type == AttributeProto.TENSOR:
        array = file.array(attribute.t)
        return repr((attribute.t.data_type, array.shape)).encode() + array.tobytes()
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.ClearField("doc_string")
    return canonical(ModelProto(graph=GraphProto(node=[NodeProto(attribute=[copy])])), file)


def canonical(model: ModelProto, file: ModelFile) -> bytes:
    """The bytes of a part of a skeleton, wrapped in a model (which is changed), with a hash in place of each token.

    A token counts payloads, so that one weight may have another in each of two files.
    """
    for tensor, _ in tensors(model):
        if (key := payload_key(tensor)) is not None:
            digest = hashlib.blake2b(digest_size=16)
            for block in file.payloads[key].blocks():
                digest.update(block)
            tensor.ClearField("external_data")
            tensor.raw_data = digest.digest()
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole


def scope_path(path: str, node: NodeProto, attribute: str) -> str:
    """The path of a subgraph: the node (by its name, or its first output) and the attribute, below the node's scope."""
    part = f"{node.name or next((name for name in node.output if name), node.op_type)}.{attribute}"
    return f"{path}/{part}" if path else part


Nodes = GraphProto | FunctionProto
"""What holds nodes."""


def function_path(function: FunctionProto) -> str:
    """The path of a model-local function, all calls of which are one scope."""
    return f"function {function.name}"


def graphs(model: ModelProto) -> Iterator[tuple[str, Nodes]]:
    """The main graph, the functions, and all within them, each with its path."""
    yield from _graphs(model.graph, "")
    for function in model.functions:
        yield from _graphs(function, function_path(function))


def _graphs(graph: Nodes, path: str) -> Iterator[tuple[str, Nodes]]:
    yield path, graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g, scope_path(path, node, attribute.name))


def captured(node: NodeProto) -> list[str]:
    """The names that a node's subgraphs may read from outside, in a fixed order."""
    inner = sorted({name for graph in subgraphs(node) for name in _free(graph)})
    return [name for name in inner if name not in node.input]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that stand in a node's attributes, not those nested in them."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _free(graph: GraphProto) -> set[str]:
    bound = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    bound |= {t.values.name for t in graph.sparse_initializer}
    bound |= {name for node in graph.node for name in node.output}
    used = {name for node in graph.node for name in (*node.input, *captured(node)) if name}
    return (used | {v.name for v in graph.output}) - bound


def infer(call: Call, opsets: Mapping[str, int], ir_version: int) -> list[Kind]:
    """Element type and, where it follows from those of the inputs, the concrete shape of every output."""
    unknown: list[Kind] = [(0, None)] * len(call.node.output)
    domain = call.domain
    if call.op in _PLAIN and not any(v is None or v.elem_type == 0 for v in call.inputs[:1]):
        try:
            return [_plain(call)]
        except ValueError:
            return unknown  # its operands do not broadcast
    if call.op == "com.microsoft::QLinearConcat":
        return [_joined(call)]
    if any(v is not None and v.elem_type == 0 for v in call.inputs) or any(True for _ in subgraphs(call.node)):
        return unknown
    if not onnx.defs.has(call.node.op_type, domain) or domain not in opsets:
        return unknown
    try:
        schema = onnx.defs.get_schema(call.node.op_type, opsets[domain], domain)
        types, data = _types(call)
        imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
        found = infer_node_outputs(schema, call.node, types, data, opset_imports=imports, ir_version=ir_version)
    except (InferenceError, onnx.defs.SchemaError, onnx.checker.ValidationError, UnmodelledError, ValueError):
        return unknown  # a constant that its nodes cannot compute, an element type that onnx does not know
    return [_told(found[name]) if name in found else (0, None) for name in call.node.output]


_PLAIN = {
    **dict.fromkeys(("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul"), ((0, 3), 0)),
    **dict.fromkeys(("com.microsoft::QLinearLeakyRelu", "com.microsoft::QLinearSigmoid"), ((0,), 0)),
    "com.microsoft::QLinearSoftmax": ((0,), 0),
    **dict.fromkeys(("com.microsoft::Gelu", "com.microsoft::QuickGelu", "com.microsoft::FastGelu"), ((0,), 0)),
    "com.microsoft::QLinearWhere": ((0, 1, 4), 1),
    "com.microsoft::BiasGelu": ((0, 1), 0),
    "com.microsoft::QuantizeLinear": ((0,), 2),
    "com.microsoft::DequantizeLinear": ((0,), 1),
}
"""onnxruntime's own ops that onnx cannot infer: the operands that broadcast to the result, and that of its type."""


def _plain(call: Call) -> Kind:
    broadcast, typed = _PLAIN[call.op]
    shapes = [call.data(i).shape for i in broadcast]
    told = [shape for shape in shapes if shape is not None]
    of_type = call.inputs[typed] if len(call.inputs) > typed else None
    return 0 if of_type is None else of_type.elem_type, np.broadcast_shapes(*told) if len(told) == len(shapes) else None


def _joined(call: Call) -> Kind:
    parts = [call.data(i) for i in range(2, len(call.inputs), 3)]
    axis, shapes = call.attributes.get("axis", 0), [part.shape for part in parts if part.shape is not None]
    if len(shapes) < len(parts) or any(not -len(shape) <= axis < len(shape) for shape in shapes):
        return parts[0].elem_type, None
    rest = {(*shape[:axis], *shape[axis:][1:]) for shape in shapes}
    whole = list(shapes[0])
    whole[axis] = sum(shape[axis] for shape in shapes)
    return parts[0].elem_type, tuple(whole) if len(rest) == 1 else None


def _types(call: Call) -> tuple[dict[str, TypeProto], dict[str, TensorProto]]:
    types: dict[str, TypeProto] = {}
    data: dict[str, TensorProto] = {}
    for name, value in zip(call.node.input, call.inputs, strict=True):
        if value is None:
            continue
        types[name] = helper.make_tensor_type_proto(value.elem_type, value.shape)
        if value.is_constant and value.elem_type == TensorProto.INT64 and _size(value) <= SMALL:
            data[name] = numpy_helper.from_array(np.ascontiguousarray(value.array()), name)
    return types, data


def _size(value: Value) -> int:
    return int(np.prod(value.shape or (1,), dtype=np.int64))


def _told(kind: TypeProto) -> Kind:
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return tensor.elem_type, None
    if not all(d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim)


def evaluate(node: NodeProto, opset: int, feeds: Sequence[Array | None]) -> list[Array]:
    """Runs one node with onnx's reference evaluator, on numbers or on ids: it cares for no element type."""
    copy = NodeProto()
    copy.CopyFrom(node)
    names = ["" if feed is None else f"in{i}" for i, feed in enumerate(feeds)]
    copy.ClearField("input")
    copy.input.extend(names)
    inputs = [onnx.ValueInfoProto(name=name) for name in names if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    imports = [helper.make_opsetid(node.domain, opset)]
    if node.domain not in ("", "ai.onnx"):
        raise UnmodelledError(f"{label(node)} (domain {node.domain})")
    if node.op_type in _NEWER:
        imports = [helper.make_opsetid(node.domain, max(opset, _NEWER[node.op_type]))]
    model = helper.make_model(helper.make_graph([copy], "node", inputs, outputs), opset_imports=imports)
    given = {name: feed for name, feed in zip(names, feeds, strict=True) if feed is not None}
    note("onnx.reference", label(node))
    try:
        with np.errstate(all="ignore"):  # what is not finite here is not in the model either
            made = iter(ReferenceEvaluator(model).run(None, given))
    except (*_FAULTS, MemoryError) as error:
        raise UnmodelledError(f"{label(node)} ({error})") from error
    return [np.asarray(next(made)) if name else np.zeros(0) for name in node.output]


def prepare() -> None:
    """Has onnx.reference and numpy load what they load at first use, for children of this process to find it there."""
    evaluate(helper.make_node("Identity", ["x"], ["y"]), 13, [np.unique(np.zeros(1))])
