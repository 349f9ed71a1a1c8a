"""What must be the same in both models, or hold for the converted one, without a number being computed."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import ModelProto, TypeProto, ValueInfoProto

from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.forms import checkable
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import open_type
from fc2conv.report.verification import Check, Verdict
from fc2conv.sandbox import note
from fc2conv.verification.feeds import inputs, type_name
from fc2conv.verification.nodes import graphs, innermost
from fc2conv.verification.notes import described, redeclared

_SHOWN = 8
"""Inputs or outputs of a signature that are shown."""


_OF_ONNXRUNTIME = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 1 << 30}
"""Operators that onnxruntime's optimizer writes in ONNX's domain, with the opset from which they are ONNX's own."""
_ELSEWHERE = "fc2conv.unknown"


def _check(name: str, fault: str, right: str = "") -> Check:
    return Check(name=name, verdict=Verdict.DIFFERS if fault else Verdict.AGREES, detail=fault or right)


def check_valid(original: ModelFile, converted: ModelFile) -> Check:
    """onnx.checker passes the converted model, if it passes the original."""
    if _invalid(original.model):
        return Check(name="checker", verdict=Verdict.SKIPPED, detail="onnx.checker does not pass the original either")
    return _check("checker", _invalid(converted.model))


def _invalid(model: ModelProto) -> str:
    """What onnx.checker says of a model.

    It does not know that "ai.onnx" is the domain "" of a node as well, nor operators that onnxruntime has there.
    """
    note("onnx.checker")
    copy = checkable(model)
    for node in (node for graph in graphs(copy) for node in graph.node if node.domain == "ai.onnx"):
        node.domain = ""
    opset = max((each.version for each in copy.opset_import if each.domain in ONNX_DOMAINS), default=0)
    for node in (node for graph in graphs(copy) for node in graph.node if node.op_type in _OF_ONNXRUNTIME):
        if node.domain == "" and opset < _OF_ONNXRUNTIME[node.op_type]:
            node.domain = _ELSEWHERE
    copy.opset_import.add(domain=_ELSEWHERE, version=1)
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        return str(error).strip().splitlines()[0]
    return ""


# ------------------------------------------------------------------ signature


def check_signature(original: ModelFile, converted: ModelFile, ours: bool) -> Check:
    """The same inputs and outputs: names, order, types and shapes.

    What a model of others declares of the sizes of its outputs is no result. An open size is one, whatever it is
    written as. An input that an initializer gives a default to may be gone, as freezing it makes it a constant; the
    detail says so.
    """
    files = original, converted
    sides = {
        "inputs": [_listed(inputs(f.model)) for f in files],
        "outputs": [_listed(f.model.graph.output) for f in files],
    }
    meant = [_meant(sides["inputs"][i], _as_declared(sides["outputs"][i], ours)) for i in (0, 1)]
    for i, (what, (old, new)) in enumerate(sides.items()):
        if meant[0][i] != meant[1][i]:
            shown = f"{_signature(old)} in the first model, {_signature(new)} in the second"
            return _check("signature", f"the {what} are not the same: {shown}")
    before, after = (_defaults(file.model) if original.model.ir_version >= 4 else {} for file in files)
    if any(before.get(name) != value for name, value in after.items()):
        return _check("signature", "the inputs with a default are not the same")
    frozen = ", ".join(name for name in before if name not in after)
    return _check("signature", "", "the same inputs and outputs" + (f"; frozen: {frozen}" if frozen else ""))


def comparable(original: ModelFile, converted: ModelFile) -> bool:
    """Whether one feed suits both models by name, type and rank, and the second gives what the first gives."""
    old, new = (
        sorted((v.name, v.type.tensor_type.elem_type, len(v.type.tensor_type.shape.dim)) for v in inputs(file.model))
        for file in (original, converted)
    )
    given = [{v.name for v in file.model.graph.output} for file in (original, converted)]
    return old == new and given[0] <= given[1]


def _as_declared(outputs: Sequence[ValueInfoProto], sized: bool) -> Sequence[ValueInfoProto]:
    """Outputs with their sizes, or without."""
    copies = [ValueInfoProto.FromString(info.SerializeToString()) for info in outputs]
    for kind in (innermost(info.type) for info in copies if not sized):
        if kind.HasField("tensor_type"):
            kind.tensor_type.ClearField("shape")
    return copies


def _meant(*sides: Sequence[ValueInfoProto]) -> list[list[bytes]]:
    """Inputs and outputs without doc strings, and with their symbols by the order in which they come."""
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
    """Inputs or outputs in words, the first of many."""
    more = f" and {len(infos) - _SHOWN} more" if len(infos) > _SHOWN else ""
    return ", ".join(f"{info.name} {_type(info.type)}" for info in infos[:_SHOWN]) + more if infos else "none"


def _type(kind: TypeProto) -> str:
    inner = innermost(kind).tensor_type
    if not inner.HasField("shape"):
        return type_name(kind)
    dims = (dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in inner.shape.dim)
    return f"{type_name(kind)}[{','.join(map(str, dims))}]"


def _listed(values: Sequence[ValueInfoProto]) -> list[ValueInfoProto]:
    """The inputs or outputs as libraries see them: an open size is one however it is written."""
    listed = [ValueInfoProto.FromString(value.SerializeToString()) for value in values]
    for value in listed:
        open_type(value.type)
    return listed


def _defaults(model: ModelProto) -> dict[str, bytes]:
    """The inputs that an initializer gives a default to; in an old model none can be replaced."""
    weights = {t.name for t in model.graph.initializer} if model.ir_version >= 4 else set()
    infos = [v for v in model.graph.input if v.name in weights]
    return {v.name: _meant([v])[0][0] for v in infos}


# ------------------------------------------------------------------ structure


def check_structure(original: ModelFile, converted: ModelFile, ours: bool) -> Check:
    """With `ours`, what describes the model is untouched, as a conversion must leave it."""
    changed = next(described(original, converted), "") or redeclared(original.model, converted.model) if ours else ""
    return _check("structure", f"the description of the model is not what it was: {changed}" if changed else "")
