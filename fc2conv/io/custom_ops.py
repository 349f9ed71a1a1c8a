"""Custom operators: the domains that a model imports for them, and their output shapes, which only the model states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, defs, helper

from fc2conv.io.sizes import declared_size

ONNX_DOMAINS = ("", "ai.onnx")
"""The names of ONNX's own domain."""
FAKE_QUANTIZERS = frozenset(
    f"{domain}::{name}"
    for domain in ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
    for name in ("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc")
).union(("org.openvinotoolkit::FakeQuantize",))
"""Operators that round each element of the first operand, by settings (the scale, bits, bounds) that broadcast to it.

Sources: the operator definitions of QONNX, version 1.0; OpenVINO's of FakeQuantize, which NNCF writes.
"""
SCALED = frozenset(
    f"{domain}{name}"
    for domain in ("com.amd.quark::Extended", "com.vai.quantize::Vitis", "trt::TRT_FP8")
    for name in ("QuantizeLinear", "DequantizeLinear")
)
"""Operators that are ONNX's QuantizeLinear and DequantizeLinear for more types, and round in ways of their own.

Sources: the custom operators of AMD Quark, version 0.13, which has those of Vitis AI's quantizer as well; those of
TensorRT that NVIDIA's ModelOpt, version 0.47, writes.
"""
BLOCKED = frozenset(
    operator
    for kind in ("BFP", "MX")
    for operator in (f"com.amd.quark::{kind}QuantizeDequantize", f"com.vai.quantize::{kind}FixNeuron")
)
"""Operators that round blocks of elements along the dimension `axis` (1; a vector has but one) to a shared exponent.

Source: the custom operators of AMD Quark.
"""
ROUNDING = FAKE_QUANTIZERS | SCALED | BLOCKED
"""Operators that round each element of the first operand in a way that is not computed here."""


def is_custom(node: NodeProto) -> bool:
    """Return whether onnx knows no operator of this name; tools invent some in ONNX's own domain as well."""
    return not defs.has(node.op_type, _name(node.domain))


def settle_imports(model: ModelProto) -> None:
    """Change a model so that it imports each domain once, and all domains of its nodes but ONNX's own.

    Of two versions onnx and onnxruntime follow the last. A domain that is not imported gets its newest version there; a
    domain of custom operators gets version 1.
    """
    last = {_name(entry.domain): entry.version for entry in model.opset_import}
    known, lacking = {"", *last}, dict[str, int]()
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.domain not in known and _name(node.domain) and _is_text(node.domain) and _is_text(node.op_type):
                known_there = defs.has(node.op_type, node.domain)
                version = defs.get_schema(node.op_type, domain=node.domain).since_version if known_there else 1
                lacking[node.domain] = max(version, lacking.get(node.domain, 1))
    settled = {**last, **lacking}
    if all(map(_is_text, settled)) and (lacking or len(last) < len(model.opset_import)):
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(*entry) for entry in settled.items())


def _is_text(name: object) -> bool:
    """Return whether a name is UTF-8; for others protobuf gives bytes, and the model is refused later."""
    return isinstance(name, str)


def stated_shapes(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Return the shapes that a model states for the outputs of custom operators, by the names of these values.

    Where an input has an open size, a shape without an open size may be that of a single run, and is left out.
    """
    graphs = list(_graphs(model.graph))
    made = {name for graph in graphs for node in graph.node if is_custom(node) for name in node.output if name}
    weights = {tensor.name for tensor in model.graph.initializer}
    opened = any(_is_open(value) for value in model.graph.input if value.name not in weights)
    return {
        value.name: value
        for graph in graphs
        for value in graph.value_info
        if value.name in made and value.type.tensor_type.HasField("shape") and (not opened or _is_open(value))
    }


def state_shapes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """Return a copy of a model that states shapes for values that nodes make; a size below 1 is open.

    A value that is in no graph belongs to a function, and to the main graph once the function is inlined.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    made = [(graph, {name for node in graph.node for name in node.output}) for graph in _graphs(copy.graph)]
    for name, shape in shapes.items():
        sizes = [size if size > 0 else None for size in shape]
        for graph in [graph for graph, names in made if name in names] or [copy.graph]:
            said = next((value for value in graph.value_info if value.name == name), None)
            kind = said.type.tensor_type.elem_type if said is not None else TensorProto.FLOAT
            if said is not None:
                graph.value_info.remove(said)
            graph.value_info.append(helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, sizes))
    return copy


def _is_open(value: ValueInfoProto) -> bool:
    return any(declared_size(dim) is None for dim in value.type.tensor_type.shape.dim)


def _name(domain: str) -> str:
    return "" if domain in ONNX_DOMAINS else domain


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g,) if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                yield from _graphs(inner)
