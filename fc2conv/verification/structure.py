"""Checks that compute no numbers: what must be the same in both models, or hold for the converted one.

Where two models say the same in another way, and nothing that they compute depends on it, the report of a comparison
has a note. A conversion must leave the description of a model as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import zip_longest
from typing import Any

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, TypeProto, ValueInfoProto

from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.forms import checkable
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import open_type
from fc2conv.report.verification import Check, Verdict
from fc2conv.sandbox import note
from fc2conv.verification.feeds import inputs, type_name
from fc2conv.verification.nodes import all_nodes, canonical, innermost, needed

_SHOWN = 8
"""Inputs or outputs of a signature that are shown."""


_OF_ONNXRUNTIME = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 1 << 30}
"""Operators that onnxruntime's optimizer writes in ONNX's domain, with the opset from which they are ONNX's own."""
_ELSEWHERE = "fc2conv.unknown"


def _check(name: str, fault: str, right: str = "") -> Check:
    return Check(name=name, verdict=Verdict.DIFFERS if fault else Verdict.AGREES, detail=fault or right)


def check_valid(original: ModelFile, converted: ModelFile, ours: bool) -> Check:
    """Check that onnx.checker passes the converted model, if it passes the original.

    A model of others that it does not pass may compute the same: the check is then inconclusive.
    """
    if _invalid(original.model):
        return Check(name="checker", verdict=Verdict.SKIPPED, detail="onnx.checker does not pass the original either")
    fault = _invalid(converted.model)
    if fault and not ours:
        return Check(name="checker", verdict=Verdict.INCONCLUSIVE, detail=f"the second model is not valid: {fault}")
    return _check("checker", fault)


def _invalid(model: ModelProto) -> str:
    """Return the first line that onnx.checker says of a model; "" where it passes the model.

    It does not know that "ai.onnx" is the domain "" of a node as well, nor operators that onnxruntime has there.
    """
    note("onnx.checker")
    copy = checkable(model)
    opset = max((each.version for each in copy.opset_import if each.domain in ONNX_DOMAINS), default=0)
    for node in all_nodes(copy):
        if node.domain in ONNX_DOMAINS:
            node.domain = _ELSEWHERE if opset < _OF_ONNXRUNTIME.get(node.op_type, 0) else ""
    copy.opset_import.add(domain=_ELSEWHERE, version=1)
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        return str(error).strip().splitlines()[0]
    return ""


# ------------------------------------------------------------------ signature


def check_signature(original: ModelFile, converted: ModelFile, ours: bool) -> Check:
    """Check that inputs and outputs are the same: names, order, types and shapes.

    The sizes that a model of others declares for its outputs are not compared. An open size is open, however it is
    written. An input that has an initializer as its default may be gone, as freezing it makes it a constant; the
    detail says so.
    """
    files = original, converted
    old, new = ((_listed(inputs(f.model)), _listed(f.model.graph.output)) for f in files)
    before, after = (_meant(side[0], side[1] if ours else _unsized(side[1])) for side in (old, new))
    for i, what in enumerate(("inputs", "outputs")):
        if before[i] != after[i]:
            shown = f"{_signature(old[i])} in the first model, {_signature(new[i])} in the second"
            return _check("signature", f"the {what} are not the same: {shown}")
    given, left = (_defaults(file.model) if original.model.ir_version >= 4 else {} for file in files)
    if any(given.get(name) != value for name, value in left.items()):
        return _check("signature", "the inputs with a default are not the same")
    frozen = ", ".join(name for name in given if name not in left)
    return _check("signature", "", "the same inputs and outputs" + (f"; frozen: {frozen}" if frozen else ""))


def comparable(original: ModelFile, converted: ModelFile) -> bool:
    """Return whether one feed suits both models by name, type and rank, and the second has all outputs of the first."""
    old, new = (
        sorted((v.name, v.type.tensor_type.elem_type, len(v.type.tensor_type.shape.dim)) for v in inputs(file.model))
        for file in (original, converted)
    )
    given = [{v.name for v in file.model.graph.output} for file in (original, converted)]
    return old == new and given[0] <= given[1]


def _unsized(outputs: Sequence[ValueInfoProto]) -> list[ValueInfoProto]:
    """Return outputs without the sizes that are declared for them."""
    copies = [deepcopy(info) for info in outputs]
    for kind in (innermost(info.type) for info in copies):
        if kind.HasField("tensor_type"):
            kind.tensor_type.ClearField("shape")
    return copies


def _meant(*sides: Sequence[ValueInfoProto]) -> list[list[bytes]]:
    """Return inputs and outputs without doc strings, and with symbols numbered in the order in which they come."""
    symbols: dict[str, str] = {}
    plain = [[ValueInfoProto(name=info.name, type=info.type) for info in side] for side in sides]
    for kind in (innermost(info.type) for side in plain for info in side):
        kind.ClearField("denotation")
        for dim in kind.tensor_type.shape.dim if kind.HasField("tensor_type") else ():
            dim.ClearField("denotation")
            if dim.dim_param:
                dim.dim_param = symbols.setdefault(dim.dim_param, str(len(symbols)))
    return [[info.SerializeToString(deterministic=True) for info in side] for side in plain]


def _signature(infos: Sequence[ValueInfoProto]) -> str:
    """Describe inputs or outputs in words; of many the first ones."""
    more = f" and {len(infos) - _SHOWN} more" if len(infos) > _SHOWN else ""
    return ", ".join(f"{info.name} {_type(info.type)}" for info in infos[:_SHOWN]) + more if infos else "none"


def _type(kind: TypeProto) -> str:
    inner = innermost(kind).tensor_type
    if not inner.HasField("shape"):
        return type_name(kind)
    dims = (dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in inner.shape.dim)
    return f"{type_name(kind)}[{','.join(map(str, dims))}]"


def _listed(values: Sequence[ValueInfoProto]) -> list[ValueInfoProto]:
    """Return the inputs or outputs as libraries see them: an open size is open, however it is written."""
    listed = [deepcopy(value) for value in values]
    for value in listed:
        open_type(value.type)
    return listed


def _defaults(model: ModelProto) -> dict[str, bytes]:
    """Return the inputs that have an initializer as default; before IR version 4 no initializer can be replaced."""
    weights = {t.name for t in model.graph.initializer} if model.ir_version >= 4 else set()
    infos = [v for v in model.graph.input if v.name in weights]
    return {v.name: _meant([v])[0][0] for v in infos}


# ------------------------------------------------------------------ structure


def check_structure(original: ModelFile, converted: ModelFile, ours: bool) -> Check:
    """Check for `ours` that the description of the model is untouched, as a conversion must leave it."""
    changed = next(described(original, converted), "") or redeclared(original.model, converted.model) if ours else ""
    return _check("structure", f"the description of the model is not what it was: {changed}" if changed else "")


# ------------------------------------------------------------------ notes

_FIELDS = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")
_MOST = 60
"""Characters of a text that are shown."""


def noted(original: ModelFile, converted: ModelFile) -> list[str]:
    """List the differences of two models that no result depends on, each in one line."""
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
    """Yield the differences in what two models say of themselves, and not of their nodes and values."""
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
    """Return what a declaration says besides the type."""
    dims = [(dim.dim_param, dim.dim_value, dim.denotation) for dim in value.type.tensor_type.shape.dim]
    return value.doc_string, value.type.denotation, dims, _texts(value.metadata_props)


def redeclared(old: ModelProto, new: ModelProto) -> str:
    """Name a function that is new or called in another way; its nodes, inlined ones too, are for exact arithmetic."""
    before = {(f.domain, f.name, f.overload): _declared(f) for f in old.functions}
    changed = (f.name for f in new.functions if before.get((f.domain, f.name, f.overload)) != _declared(f))
    return next((f"functions: {name}" for name in changed), "")


def _declared(function: FunctionProto) -> list[bytes]:
    copy = deepcopy(function)
    for name in ("node", "value_info"):
        copy.ClearField(name)
    return _texts([copy])


def _dead(graph: GraphProto) -> list[bytes]:
    """Return the nodes that no output depends on."""
    live = needed(graph, (v.name for v in graph.output))
    return sorted(_texts(node for node in graph.node if not live.intersection(node.output)))


def _named(one: GraphProto, other: GraphProto) -> Iterator[str]:
    """Yield what two graphs of the same operators name or describe in another way."""
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
