"""What must be the same in both models, or hold for the converted one, without a number being computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

from fc2conv.io.forms import checkable
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import open_type
from fc2conv.io.tensors import payload_key
from fc2conv.report.verification import Check, Verdict
from fc2conv.sandbox import note
from fc2conv.verification.cuts import beyond_all_runs
from fc2conv.verification.exact.blobs import same_bytes
from fc2conv.verification.feeds import type_name
from fc2conv.verification.nodes import canonical, captured, graphs, label, subgraphs
from fc2conv.verification.notes import changed_operators, live

_MODEL_FIELDS = ("ir_version", "opset_import", "metadata_props", "doc_string", "producer_name", "producer_version",
                 "domain", "model_version")  # fmt: skip
_SHOWN = 8
"""Inputs or outputs of a signature that are shown."""


class Tensors:
    """Which large tensors of the converted model hold the same as the original's at the same place; each read once."""

    def __init__(self, original: ModelFile, converted: ModelFile) -> None:
        self._files = original, converted
        self._known = dict(_tensors(original.model))
        self._told: dict[tuple[str, str], bool] = {}

    def identical(self, place: tuple[str, str], tensor: TensorProto) -> bool:
        """Whether the original has a tensor in this scope, of this name, with the same type, shape and bytes."""
        if place not in self._told:
            known = self._known.get(place)
            self._told[place] = known is not None and self._equal(known, tensor)
        return self._told[place]

    def _equal(self, one: TensorProto, other: TensorProto) -> bool:
        if one.data_type != other.data_type or list(one.dims) != list(other.dims):
            return False
        if one.data_type == TensorProto.STRING:
            return list(one.string_data) == list(other.string_data)
        keys = payload_key(one), payload_key(other)
        if keys[0] is None or keys[1] is None:
            arrays = [file.array(tensor) for file, tensor in zip(self._files, (one, other), strict=True)]
            return arrays[0].tobytes() == arrays[1].tobytes()
        first, second = self._files[0].payloads[keys[0]], self._files[1].payloads[keys[1]]
        return same_bytes(first, second)


def _tensors(model: ModelProto) -> Iterator[tuple[tuple[str, str], TensorProto]]:
    for path, graph in graphs(model):
        for tensor in graph.initializer if isinstance(graph, GraphProto) else ():
            yield (path, tensor.name), tensor
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value" and node.output:
                    yield (path, node.output[0]), attribute.t


def check_valid(original: ModelFile, converted: ModelFile) -> Check:
    """onnx.checker passes the converted model, if it passes the original."""
    if _invalid(original.model):
        return Check(name="checker", verdict=Verdict.SKIPPED, detail="onnx.checker does not pass the original either")
    reason = _invalid(converted.model)
    return Check(name="checker", verdict=Verdict.DIFFERS if reason else Verdict.AGREES, detail=reason)


def _invalid(model: ModelProto) -> str:
    note("onnx.checker")
    try:
        onnx.checker.check_model(checkable(model))
    except onnx.checker.ValidationError as error:
        return str(error).strip().splitlines()[0]
    return ""


def check_signature(original: ModelFile, converted: ModelFile, exact: bool = True) -> Check:
    """The same inputs and outputs: names, order, types and shapes, and with `exact` every byte of them.

    An open size is one, whatever it is written as. An input that an initializer gives a
    default to may be gone, as freezing it makes it a constant; the detail says so.
    """
    sides = {what: [_listed(file.model, what) for file in (original, converted)] for what in ("inputs", "outputs")}
    meant = [_meant(sides["inputs"][i], sides["outputs"][i]) for i in (0, 1)]
    for i, (what, (old, new)) in enumerate(sides.items()):
        if meant[0][i] != meant[1][i] or (exact and _bytes(old) != _bytes(new)):
            shown = f"{_signature(old)} in the first model, {_signature(new)} in the second"
            return Check(name="signature", verdict=Verdict.DIFFERS, detail=f"the {what} are not the same: {shown}")
    if original.model.ir_version < 4:
        return Check(name="signature", verdict=Verdict.AGREES, detail="the same inputs and outputs")
    before, after = (_defaults(file.model, exact) for file in (original, converted))
    if any(before.get(name) != value for name, value in after.items()):
        return Check(name="signature", verdict=Verdict.DIFFERS, detail="the inputs with a default are not the same")
    frozen = ", ".join(name for name in before if name not in after)
    return Check(
        name="signature",
        verdict=Verdict.AGREES,
        detail="the same inputs and outputs" + (f"; frozen: {frozen}" if frozen else ""),
    )


def comparable(original: ModelFile, converted: ModelFile) -> bool:
    """Whether one feed suits both models by name, type and rank, and the second gives what the first gives."""
    old, new = ([_fed(v) for v in _listed(file.model, "inputs")] for file in (original, converted))
    given = [{v.name for v in file.model.graph.output} for file in (original, converted)]
    return sorted(old) == sorted(new) and given[0] <= given[1]


def _fed(info: ValueInfoProto) -> tuple[str, int, int]:
    return info.name, info.type.tensor_type.elem_type, len(info.type.tensor_type.shape.dim)


def _meant(*sides: Sequence[ValueInfoProto]) -> list[list[bytes]]:
    """Inputs and outputs without doc strings, and with their symbols by the order in which they come."""
    symbols: dict[str, str] = {}
    out: list[list[bytes]] = []
    for side in sides:
        plain = [ValueInfoProto(name=info.name, type=info.type) for info in side]
        for info in plain:
            kind = innermost(info.type)
            kind.ClearField("denotation")
            for dim in kind.tensor_type.shape.dim if kind.HasField("tensor_type") else ():
                dim.ClearField("denotation")
                if dim.dim_param:
                    dim.dim_param = symbols.setdefault(dim.dim_param, str(len(symbols)))
        out.append([info.SerializeToString(deterministic=True) for info in plain])
    return out


def innermost(kind: TypeProto) -> TypeProto:
    """The type itself, or that of what a sequence or an optional holds."""
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    return kind


def _signature(infos: Sequence[ValueInfoProto]) -> str:
    """Inputs or outputs in words, the first of many."""
    more = f" and {len(infos) - _SHOWN} more" if len(infos) > _SHOWN else ""
    return ", ".join(f"{info.name} {_type(info.type)}" for info in infos[:_SHOWN]) + more if infos else "none"


def _type(kind: TypeProto) -> str:
    inner = innermost(kind)
    if not inner.HasField("tensor_type") or not inner.tensor_type.HasField("shape"):
        return type_name(kind)
    dims = (
        dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in inner.tensor_type.shape.dim
    )
    return f"{type_name(kind)}[{','.join(map(str, dims))}]"


def _listed(model: ModelProto, what: str) -> list[onnx.ValueInfoProto]:
    """The inputs or outputs as libraries see them: an open size is one however it is written."""
    weights = {t.name for t in model.graph.initializer}
    values = model.graph.output if what == "outputs" else [v for v in model.graph.input if v.name not in weights]
    listed = []
    for value in values:
        seen = onnx.ValueInfoProto()
        seen.CopyFrom(value)
        open_type(seen.type)
        listed.append(seen)
    return listed


def _defaults(model: ModelProto, exact: bool) -> dict[str, bytes]:
    """The inputs that an initializer gives a default to; in an old model none can be replaced."""
    weights = {t.name for t in model.graph.initializer} if model.ir_version >= 4 else set()
    infos = [v for v in model.graph.input if v.name in weights]
    return {v.name: v.SerializeToString(deterministic=True) if exact else _meant([v])[0][0] for v in infos}


def check_structure(original: ModelFile, converted: ModelFile, tensors: Tensors) -> Check:
    """No dangling value; what describes the model is untouched; initializers that stayed hold what they held.

    That is what a conversion must leave; of two models of others `check_graphs` asks less.
    """
    detail = (
        ("" if _dangling(original.model) else _dangling(converted.model))
        or _described(original, converted)
        or changed_weight(original.model, converted.model, tensors)
    )
    return _checked(detail)


def check_graphs(original: ModelFile, converted: ModelFile) -> Check:
    """No dangling value, which is all that two models of others must have in common."""
    return _checked("" if _dangling(original.model) else _dangling(converted.model))


def check_unseen(original: ModelFile, converted: ModelFile, tensors: Tensors, before: Check) -> Check:
    """What no number shows of models that are not proved: an operator of another opset, a cut, a changed weight.

    It leaves the verdict open.
    """
    changed = changed_operators(original.model, converted.model)
    detail = (
        (f"the two opsets define in another way: {', '.join(op for _, op in changed)}" if changed else "")
        or beyond_all_runs(original, converted)
        or changed_weight(original.model, converted.model, tensors, dead=False)
    )
    return Check(name="structure", verdict=Verdict.INCONCLUSIVE, detail=detail) if detail else before


def _checked(fault: str) -> Check:
    return Check(name="structure", verdict=Verdict.DIFFERS if fault else Verdict.AGREES, detail=fault)


def _dangling(model: ModelProto) -> str:
    inner = (dangling(_as_graph(function)) for function in model.functions)
    return dangling(model.graph) or next(filter(None, inner), "")


def _as_graph(function: FunctionProto) -> GraphProto:
    graph = GraphProto(node=function.node)
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in function.input)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
    return graph


def dangling(graph: GraphProto, outer: frozenset[str] = frozenset()) -> str:
    """The first value that is read and not there, or that is made twice, in words; "" if there is none."""
    made = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    made |= {t.values.name for t in graph.sparse_initializer}
    visible = made | outer
    for node in graph.node:
        missing = next((name for name in node.input if name and name not in visible), None)
        if missing is not None:
            return f"{label(node)} reads {missing}, which nothing made before"
        for inner in subgraphs(node):
            if found := dangling(inner, frozenset(visible)):
                return found
        for name in node.output:
            if name and name in made:
                return f"{name} is made twice, again by {label(node)}"
            made.add(name)
            visible.add(name)
    missing = next((v.name for v in graph.output if v.name not in visible), None)
    return "" if missing is None else f"nothing makes the output {missing}"


def _described(original: ModelFile, converted: ModelFile) -> str:
    old, new = original.model, converted.model
    for name in _MODEL_FIELDS:
        if _bytes(getattr(old, name)) != _bytes(getattr(new, name)):
            return f"the model's {name} is not what it was"
    training = [canonical(ModelProto(training_info=f.model.training_info), f) for f in (original, converted)]
    if training[0] != training[1]:
        return "the model's training_info is not what it was"
    if changed := _changed_function(old, new):
        return changed
    for name in ("name", "doc_string", "metadata_props", "quantization_annotation"):
        if _bytes(getattr(old.graph, name)) != _bytes(getattr(new.graph, name)):
            return f"the graph's {name} is not what it was"
    return ""


def _changed_function(old: ModelProto, new: ModelProto) -> str:
    """A function that is gone, new, or called in another way; exact arithmetic looks at its nodes."""
    for one, other in zip_longest(old.functions, new.functions):
        if one is None or other is None or _declared(one) != _declared(other):
            return f"the model's functions are not what they were: {(one or other).name}"
    return ""


def _declared(function: FunctionProto) -> object:
    copy = FunctionProto()
    copy.CopyFrom(function)
    for name in ("node", "value_info"):
        copy.ClearField(name)
    return _bytes(copy)


def _bytes(value: Any) -> object:
    if isinstance(value, str | int):
        return value
    if isinstance(value, Sequence):
        return [_bytes(item) for item in value]
    return value.SerializeToString(deterministic=True)


def changed_weight(original: ModelProto, converted: ModelProto, tensors: Tensors, dead: bool = True) -> str:
    """An initializer that an untouched node reads, or a caller, and that is not what it was.

    Without `dead` the nodes that no output depends on do not count.

    One that only new or changed nodes read may have new dimensions; exact arithmetic looks at what it holds.
    """
    old = {t.name for t in original.graph.initializer}
    nodes = {node.SerializeToString(deterministic=True) for node in original.graph.node}
    there = converted.graph.node if dead else live(converted.graph)
    untouched = [node for node in there if node.SerializeToString(deterministic=True) in nodes]
    read = {name for node in untouched for name in (*node.input, *captured(node))}
    read |= {v.name for v in converted.graph.output}
    if converted.ir_version >= 4:  # before that every initializer is listed as an input, and none can be overridden
        read |= {v.name for v in converted.graph.input}
    for tensor in converted.graph.initializer:
        if tensor.name in old & read and not tensors.identical(("", tensor.name), tensor):
            return f"the initializer {tensor.name} is not what it was"
    return ""
