"""Differences of two models of which nothing that they compute depends: what the report of a comparison notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from fc2conv.verification.nodes import captured, function_path, graphs

_FIELDS = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")
_MOST = 60
"""Characters of a text that are shown."""


def noted(original: ModelProto, converted: ModelProto, same_signature: bool) -> list[str]:
    """What is not the same, thing by thing, each in one line; of the signature only where it means the same."""
    one, other = original.graph, converted.graph
    found = [*_described(original, converted)]
    found += [f"opset of {name or 'ai.onnx'}: {a} -> {b}" for name, a, b in _opsets(original, converted)]
    if _texts(original.functions) != _texts(converted.functions):
        found.append("model-local functions")
    if same_signature and _texts((*one.input, *one.output)) != _texts((*other.input, *other.output)):
        found.append("doc strings of inputs and outputs, or names of their sizes")
    if sorted(_texts(one.value_info)) != sorted(_texts(other.value_info)):
        found.append("value_info")
    dead = [_dead(graph) for graph in (one, other)]
    if dead[0] != dead[1]:
        counts = f"{len(dead[0])} in the first model, {len(dead[1])} in the second"
        found.append(f"nodes that no output depends on: {counts}")
    if [n.op_type for n in one.node] == [n.op_type for n in other.node]:
        found += _named(one, other)
    return found


def live(graph: GraphProto) -> list[NodeProto]:
    """The nodes that an output depends on."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    stack, found = [v.name for v in graph.output], set[int]()
    while stack:
        i = makers.get(stack.pop())
        if i is not None and i not in found:
            found.add(i)
            stack += [*graph.node[i].input, *captured(graph.node[i])]
    return [node for i, node in enumerate(graph.node) if i in found]


def _dead(graph: GraphProto) -> list[bytes]:
    outputs = {name for node in live(graph) for name in node.output}
    return sorted(_texts(node for node in graph.node if not outputs.intersection(node.output)))


def changed_operators(original: ModelProto, converted: ModelProto) -> list[tuple[str, str]]:
    """The operators of both models that mean one thing at the opset of the one and another at that of the other.

    They are the same where the newer definition takes other element types, or more that is optional.
    """
    one, other = _definitions(original), _definitions(converted)
    pairs = ((name, a, b) for name in sorted(one.keys() & other.keys()) for a in one[name] for b in other[name])
    return list(dict.fromkeys(name for name, a, b in pairs if _changed(min(a, b), max(a, b), name)))


def _definitions(model: ModelProto) -> dict[tuple[str, str], set[int]]:
    """For each operator in the model, in its functions too, the opsets since which it is defined as it is."""
    found: dict[tuple[str, str], set[int]] = {}
    inner = {function_path(function): function.opset_import for function in model.functions}
    for path, graph in graphs(model):
        imports = inner.get(path.split("/")[0], model.opset_import)
        versions = {_domain(o.domain): o.version for o in imports}
        for node in graph.node:
            domain = _domain(node.domain)
            since = _since(node.op_type, versions.get(domain, 0), domain)
            found.setdefault((domain, node.op_type), set()).add(since)
    return found


def _since(op_type: str, version: int, domain: str) -> int:
    """0 for an operator that onnx does not define."""
    if not onnx.defs.has(op_type, domain) or version < 1:
        return 0
    try:
        return int(onnx.defs.get_schema(op_type, version, domain).since_version)
    except onnx.defs.SchemaError:  # one that is newer than the opset
        return 0


def _changed(one: int, other: int, name: tuple[str, str]) -> bool:
    """Whether an operator means something else at the newer of two opsets."""
    if one == other:
        return False
    if not one:
        return True
    old, new = (onnx.defs.get_schema(name[1], version, name[0]) for version in (one, other))
    defaults = [{k: a.default_value.SerializeToString() for k, a in s.attributes.items()} for s in (old, new)]
    added = [a for k, a in new.attributes.items() if k not in old.attributes]
    kept = all(defaults[1].get(k) == default for k, default in defaults[0].items())
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    fits = [b.option in (a.option, optional) for a, b in zip(old.inputs, new.inputs, strict=False)]
    more = len(new.inputs) >= len(old.inputs) and new.min_input <= old.min_input
    return not (kept and more and all(fits)) or any(attribute.required for attribute in added)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _opsets(original: ModelProto, converted: ModelProto) -> Iterator[tuple[str, object, object]]:
    one, other = ({_domain(o.domain): o.version for o in m.opset_import} for m in (original, converted))
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield name, one.get(name, "none"), other.get(name, "none")


def _described(original: ModelProto, converted: ModelProto) -> Iterator[str]:
    one, other = original.graph, converted.graph
    for name in _FIELDS:
        if getattr(original, name) != getattr(converted, name):
            yield f"{name}: {_short(getattr(original, name))} -> {_short(getattr(converted, name))}"
    if one.name != other.name:
        yield f"name of the graph: {_short(one.name)} -> {_short(other.name)}"
    if one.doc_string != other.doc_string:
        yield "doc_string of the graph"
    for what, a, b in (
        ("metadata_props", original.metadata_props, converted.metadata_props),
        ("metadata_props of the graph", one.metadata_props, other.metadata_props),
    ):
        before, after = ({p.key: p.value for p in each} for each in (a, b))
        keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        if keys:
            yield f"{what}: {_few(keys)}"
    if _texts(one.quantization_annotation) != _texts(other.quantization_annotation):
        yield "quantization_annotation"
    if _texts(original.training_info) != _texts(converted.training_info):
        yield "training_info"


def _named(one: GraphProto, other: GraphProto) -> Iterator[str]:
    """What two graphs of the same operators name or describe in another way."""
    pairs = list(zip(one.node, other.node, strict=True))
    names = [a.name for a, b in pairs if a.name != b.name]
    if names:
        yield f"names of nodes: {_few(names)}"
    values = [x for a, b in pairs for x, y in zip_longest(a.output, b.output) if x and x != y]
    if values:
        yield f"names of inner values: {_few(values)}"
    weights = {t.name for t in one.initializer} ^ {t.name for t in other.initializer}
    if weights:
        yield f"names of weights: {_few(sorted(weights))}"
    if any(a.doc_string != b.doc_string or _texts(a.metadata_props) != _texts(b.metadata_props) for a, b in pairs):
        yield "doc strings or metadata_props of nodes"


def _texts(messages: Iterable[Any]) -> list[bytes]:
    return [message.SerializeToString(deterministic=True) for message in messages]


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(_short(name)[1:-1] for name in names[:3]) + more
