"""Model-local functions that hold fully connected layers."""

from __future__ import annotations

from onnx import FunctionProto, ModelProto, inliner

from fc2conv.contained import note
from fc2conv.errors import InputError
from fc2conv.graph import op
from fc2conv.sites import KINDS

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
        return inliner.inline_selected_functions(model, chosen, exclude=False)
    except RuntimeError as error:
        what = f"the functions {', '.join(name for _, name in chosen)} cannot be inlined ({error})"
        raise InputError(what, "give them the operator sets of the model, or inline them first") from error


def inlined_like(model: ModelProto, other: ModelProto) -> ModelProto:
    """The model with those functions inlined that the other model lacks, so that the two can be compared."""
    gone = sorted({_id(f) for f in model.functions} - {_id(f) for f in other.functions})
    return _inlined(model, gone) if gone else model


def _id(function: FunctionProto) -> _Id:
    return function.domain, function.name


def _holding(functions: dict[_Id, FunctionProto]) -> set[_Id]:
    """The functions that hold a layer, themselves or in a function that they call."""
    holding = {key for key, function in functions.items() if any(op(node) in KINDS for node in function.node)}
    while True:
        more = {
            key
            for key, function in functions.items()
            if key not in holding and any((node.domain, node.op_type) in holding for node in function.node)
        }
        if not more:
            return holding
        holding |= more
