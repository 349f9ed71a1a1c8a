"""Model-local functions that hold fully connected layers."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto, ModelProto, inliner

from fc2conv.errors import InputError
from fc2conv.ir.graph import ONNX_DOMAINS, op, opset_versions
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.validate import check_model
from fc2conv.sandbox import note

_Id = tuple[str, str]


def inlined(model: ModelProto) -> ModelProto | None:
    """The model with every call of a function that holds a layer replaced by its nodes; None if no function does."""
    holding = _holding({_id(function): function for function in model.functions})
    if not holding:
        return None
    return _inlined(model, sorted(holding))


def _inlined(model: ModelProto, chosen: list[_Id]) -> ModelProto:
    note("onnx.inliner")
    try:
        out = inliner.inline_selected_functions(model, chosen, exclude=False)
    except RuntimeError as error:
        what = f"the functions {', '.join(name for _, name in chosen)} cannot be inlined ({error})"
        raise InputError(what, "give them the operator sets of the model, or inline them first") from error
    _import(out, (function for function in model.functions if _id(function) in chosen))
    check_model(out)
    return out


def _import(model: ModelProto, functions: Iterable[FunctionProto]) -> None:
    """Adds the operator sets that only the functions import, which onnx's inliner leaves out."""
    known = set(opset_versions(model))
    known |= set(ONNX_DOMAINS) if known & set(ONNX_DOMAINS) else set()
    for entry in (entry for function in functions for entry in function.opset_import):
        if entry.domain not in known:
            model.opset_import.add().CopyFrom(entry)
            known.add(entry.domain)


def inlined_like(model: ModelProto, other: ModelProto) -> ModelProto:
    """The model with those functions inlined that the other model lacks, so that the two can be compared."""
    gone = sorted({_id(f) for f in model.functions} - {_id(f) for f in other.functions})
    return _inlined(model, gone) if gone else model


def _id(function: FunctionProto) -> _Id:
    return function.domain, function.name


def _holding(functions: dict[_Id, FunctionProto]) -> set[_Id]:
    """The functions that hold a layer, themselves or in a function that they call."""
    holding = {key for key, function in functions.items() if any(op(node) in LAYER_OPERATORS for node in function.node)}
    while True:
        more = {
            key
            for key, function in functions.items()
            if key not in holding and any((node.domain, node.op_type) in holding for node in function.node)
        }
        if not more:
            return holding
        holding |= more
