"""What two models only say in another way: nothing that they compute depends on it.

The report of a comparison notes it; a conversion must leave the description of a model as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from onnx import FunctionProto, GraphProto, ModelProto, ValueInfoProto

from fc2conv.io.reader import ModelFile
from fc2conv.verification.feeds import inputs
from fc2conv.verification.nodes import canonical, captured

_FIELDS = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")
_MOST = 60
"""Characters of a text that are shown."""


def noted(original: ModelFile, converted: ModelFile) -> list[str]:
    """What is not the same, thing by thing, each in one line."""
    one, other = original.model.graph, converted.model.graph
    found = [*described(original, converted)]
    if _texts(original.model.functions) != _texts(converted.model.functions):
        found.append("model-local functions")
    if sorted(_texts(one.value_info)) != sorted(_texts(other.value_info)):
        found.append("value_info")
    dead = [_dead(graph) for graph in (one, other)]
    if dead[0] != dead[1]:
        counts = f"{len(dead[0])} in the first model, {len(dead[1])} in the second"
        found.append(f"nodes that no output depends on: {counts}")
    if [n.op_type for n in one.node] == [n.op_type for n in other.node]:
        found += _named(one, other)
    return found


def described(original: ModelFile, converted: ModelFile) -> Iterator[str]:
    """What the two models say of themselves, and not of their nodes and values."""
    old, new = original.model, converted.model
    for name in _FIELDS:
        if getattr(old, name) != getattr(new, name):
            yield f"{name}: {_short(getattr(old, name))} -> {_short(getattr(new, name))}"
    if old.graph.name != new.graph.name:
        yield f"name of the graph: {_short(old.graph.name)} -> {_short(new.graph.name)}"
    if old.graph.doc_string != new.graph.doc_string:
        yield "doc_string of the graph"
    for what, a, b in (("", old, new), (" of the graph", old.graph, new.graph)):
        before, after = ({str(p.key): p.value for p in each.metadata_props} for each in (a, b))
        if keys := _changed(before, after):
            yield f"metadata_props{what}: {_few(keys)}"
    one, other = ({v.name: _said(v) for v in (*inputs(m), *m.graph.output)} for m in (old, new))
    if any(one[name] != other[name] for name in one.keys() & other.keys()):
        yield "doc strings of inputs and outputs, names of their sizes, or the sizes that outputs declare"
    if _texts(old.graph.quantization_annotation) != _texts(new.graph.quantization_annotation):
        yield "quantization_annotation"
    training = [canonical(ModelProto(training_info=f.model.training_info), f) for f in (original, converted)]
    if training[0] != training[1]:
        yield "training_info"
    before, after = ({_domain(o.domain): o.version for o in model.opset_import} for model in (old, new))
    inner = {_domain(o.domain): o.version for function in old.functions for o in function.opset_import}
    for name in _changed({**inner, **before}, {**inner, **after}):
        yield f"opset of {name or 'ai.onnx'}: {before.get(name, 'none')} -> {after.get(name, 'none')}"


def _said(value: ValueInfoProto) -> object:
    """What a declaration says besides the type."""
    dims = [(dim.dim_param, dim.dim_value, dim.denotation) for dim in value.type.tensor_type.shape.dim]
    return value.doc_string, value.type.denotation, dims, _texts(value.metadata_props)


def redeclared(old: ModelProto, new: ModelProto) -> str:
    """A function that is new, or called in another way; exact arithmetic looks at its nodes, and at those inlined."""
    before = {(f.domain, f.name, f.overload): _declared(f) for f in old.functions}
    changed = (f.name for f in new.functions if before.get((f.domain, f.name, f.overload)) != _declared(f))
    return next((f"functions: {name}" for name in changed), "")


def _declared(function: FunctionProto) -> list[bytes]:
    copy = FunctionProto()
    copy.CopyFrom(function)
    for name in ("node", "value_info"):
        copy.ClearField(name)
    return _texts([copy])


def _dead(graph: GraphProto) -> list[bytes]:
    """The nodes that no output depends on."""
    makers = {name: node for node in graph.node for name in node.output if name}
    stack, live = [v.name for v in graph.output], set[str]()
    while stack:
        name = stack.pop()
        if name in makers and name not in live:
            live.update(makers[name].output)
            stack += [*makers[name].input, *captured(makers[name])]
    return sorted(_texts(node for node in graph.node if not live.intersection(node.output)))


def _named(one: GraphProto, other: GraphProto) -> Iterator[str]:
    """What two graphs of the same operators name or describe in another way."""
    pairs = list(zip(one.node, other.node, strict=True))
    weights = {t.name for t in one.initializer} ^ {t.name for t in other.initializer}
    for what, names in (
        ("nodes", [a.name or b.name for a, b in pairs if a.name != b.name]),
        ("inner values", [x for a, b in pairs for x, y in zip_longest(a.output, b.output) if x and x != y]),
        ("weights", sorted(weights)),
    ):
        if names:
            yield f"names of {what}: {_few(names)}"
    if any(a.doc_string != b.doc_string or _texts(a.metadata_props) != _texts(b.metadata_props) for a, b in pairs):
        yield "doc strings or metadata_props of nodes"


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _texts(messages: Iterable[Any]) -> list[bytes]:
    return [message.SerializeToString(deterministic=True) for message in messages]


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(_short(name)[1:-1] for name in names[:3]) + more
