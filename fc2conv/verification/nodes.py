"""Nodes and graphs: names, attributes as bytes, what subgraphs read, and their order."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from fc2conv.io.forms import checkable
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key, tensors
from fc2conv.sandbox import note

MAX_DEPTH = 16
"""How deep calls are followed; a deeper one is opaque, as functions that call each other never end."""

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
FAKE_QUANTIZERS = (
    *(
        f"{domain}::{name}"
        for domain in ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
        for name in ("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc")
    ),
    "org.openvinotoolkit::FakeQuantize",
)
"""Operators that round each element of the first operand, by settings that broadcast to it."""
SCALED = tuple(
    f"{domain}{name}"
    for domain in ("com.amd.quark::Extended", "com.vai.quantize::Vitis", "trt::TRT_FP8")
    for name in ("QuantizeLinear", "DequantizeLinear")
)
"""Operators of quantizers that round each element in a way of their own, by a scale and a zero point."""
BLOCKED = (
    *(f"com.amd.quark::{name}QuantizeDequantize" for name in ("BFP", "MX")),
    *(f"com.vai.quantize::{name}FixNeuron" for name in ("BFP", "MX")),
)
"""Operators of quantizers that round blocks of elements along one dimension to a shared exponent."""
Array = NDArray[Any]


def label(node: NodeProto) -> str:
    """Return a node's name, or its op and first output where it has no name."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '')}"


_PLAIN_KINDS = frozenset(
    getattr(AttributeProto, name) for name in ("INT", "INTS", "FLOAT", "FLOATS", "STRING", "STRINGS")
)


def integer(node: NodeProto, name: str, default: int) -> int:
    """Return the value of an attribute that is an integer."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def content(array: Array) -> bytes:
    """Return the bytes of an array's elements; of text the words, as the bytes are addresses."""
    return repr(array.tolist()).encode() if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()


def attribute_bytes(attribute: AttributeProto, file: ModelFile) -> bytes:
    """Return the bytes of an attribute, with a hash instead of each token."""
    if attribute.type in _PLAIN_KINDS and not attribute.doc_string:
        plain: bytes = attribute.SerializeToString(deterministic=True)
        return plain
    if attribute.type == AttributeProto.TENSOR:
        array = file.array(attribute.t)
        return repr((attribute.t.data_type, array.shape)).encode() + content(array)
    copy = deepcopy(attribute)
    copy.ClearField("doc_string")
    return canonical(ModelProto(graph=GraphProto(node=[NodeProto(attribute=[copy])])), file)


def canonical(model: ModelProto, file: ModelFile) -> bytes:
    """Return the bytes of a part of a skeleton, wrapped in a model (which is changed), with tokens made hashes.

    A token counts payloads, so that one weight may have another token in each of two files.
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


def element_types(model: ModelProto) -> dict[str, int]:
    """Return the element types of the main graph's values by onnx's inference; 0 where it does not know one."""
    note("onnx.shape_inference")
    try:
        graph = onnx.shape_inference.infer_shapes(checkable(model)).graph
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
        graph = model.graph
    kinds = {v.name: innermost(v.type).tensor_type for v in (*graph.value_info, *graph.output, *graph.input)}
    return {name: kind.elem_type for name, kind in kinds.items()} | {t.name: t.data_type for t in graph.initializer}


def innermost(kind: TypeProto) -> TypeProto:
    """Return the type itself; of a sequence or an optional the type of its elements."""
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    return kind


def nodes_of(graphs: Iterable[GraphProto | FunctionProto]) -> Iterator[NodeProto]:
    """Yield the nodes of graphs, and those of their subgraphs."""
    for graph in graphs:
        for node in graph.node:
            yield node
            yield from nodes_of(subgraphs(node))


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes of the main graph and of the functions, and those of their subgraphs."""
    return nodes_of([model.graph, *model.functions])


def functions_of(model: ModelProto, function: FunctionProto) -> list[FunctionProto]:
    """Return a function of a model, and those that it calls, themselves or in another."""
    named = {(each.domain, each.name, each.overload): each for each in model.functions}
    found, stack = dict[tuple[str, str, str], FunctionProto](), [(function.domain, function.name, function.overload)]
    while stack:
        if (name := stack.pop()) in named and name not in found:
            found[name] = named[name]
            stack += [(node.domain, node.op_type, node.overload) for node in nodes_of([named[name]])]
    return [*found.values()]


def body_of(function: FunctionProto, call: NodeProto) -> GraphProto:
    """Return the graph of one call, with its attributes bound; the inputs that the call leaves out are absent."""
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
    out = deepcopy(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
    out.name = attribute.name
    return out


def is_random(node: NodeProto) -> bool:
    """Return whether a node draws random numbers; a Dropout does in training mode, which is an operand."""
    return node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)


def captured(node: NodeProto) -> list[str]:
    """Return the names that a node's subgraphs may read from outside, in a fixed order."""
    inner = sorted({name for graph in subgraphs(node) for name in _free(graph)}) if node.attribute else []
    return [name for name in inner if name not in node.input]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes, not those nested in them."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def rename(node: NodeProto, names: Mapping[str, str], prefix: str) -> None:
    """Give the values of a node new names, in subgraphs as well; a value without a new name gets a prefix."""

    def new(name: str) -> str:
        return names.get(name, f"{prefix}{name}") if name else ""

    node.input[:] = [new(name) for name in node.input]
    node.output[:] = [new(name) for name in node.output]
    node.name = f"{prefix}{node.name}" if node.name else ""
    for graph in subgraphs(node):
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = new(value.name)
        for inner in graph.node:
            rename(inner, names, prefix)


def _free(graph: GraphProto) -> set[str]:
    bound = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    bound |= {t.values.name for t in graph.sparse_initializer}
    bound |= {name for node in graph.node for name in node.output}
    used = {name for node in graph.node for name in (*node.input, *captured(node)) if name}
    return (used | {v.name for v in graph.output}) - bound


def needed(graph: GraphProto, names: Iterable[str], given: Container[str] = ()) -> set[str]:
    """Return these values and all that they are computed from; a value that is given is left out with its operands."""
    makers = {name: node for node in graph.node for name in node.output if name}
    stack, found = [*names], set[str]()
    while stack:
        name = stack.pop()
        if name and name not in found and name not in given:
            found.add(name)
            if name in makers:
                stack += [*makers[name].input, *captured(makers[name])]
    return found


def in_order(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the nodes, each after those that it reads from; files in the wild are not always in this order."""
    producers = {name: node for node in nodes for name in node.output if name}
    order: list[NodeProto] = []
    seen: set[int] = set()
    references = list(nodes)  # protobuf makes a new object for a node that nothing refers to
    stack = [(node, False) for node in reversed(references)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            read = (producers.get(name) for name in reversed([*node.input, *captured(node)]))
            stack.extend((before, False) for before in read if before is not None and id(before) not in seen)
    return order
