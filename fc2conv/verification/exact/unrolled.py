"""Loops, Scans and SequenceMaps whose steps are known, as their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, NodeProto

from fc2conv.verification.exact import sequences
from fc2conv.verification.exact.shapes import SCANS_ONE, carried
from fc2conv.verification.exact.terms import ABSENT, Term, digest, number
from fc2conv.verification.nodes import integer, label

if TYPE_CHECKING:
    from fc2conv.verification.exact.walk import Scope

_UNROLLED = 2048
"""Nodes of the steps that are walked one after the other."""
_PARTS = 16
"""The limit is larger by this factor for a second model if the first is walked: a layer may become a sum."""


def steps(scope: Scope, node: NodeProto, operands: Sequence[Term]) -> list[Term] | None:
    """Return the results of a node whose steps are known and few; None for any other node."""
    body = next((a.g for a in node.attribute if a.name == "body"), GraphProto())
    found = STEPS[node.op_type](scope, node, body, operands)
    if found is None or len(found) != len(node.output) or ABSENT in found:
        return None
    name_bodies(scope, node, operands)
    return found


def name_bodies(scope: Scope, node: NodeProto, operands: Sequence[Term]) -> None:
    """Name a node that is walked without its bodies, by these as functions of what they read, and by its operands.

    Nodes of one name are the same at other sizes as well, where there are more steps, or another branch is taken.
    """
    walk = scope.walk
    made = [*operands, *replace(scope, once=False, runs=False).bodies(node, operands)]
    kind = node.op_type, len(operands)
    equal = (name for name, (of, others) in walk.table.bodies.items() if of == kind and walk.same_terms(others, made))
    name = next(equal, digest("bodies", len(walk.table.bodies)))
    walk.table.bodies.setdefault(name, (kind, made))
    walk.bodies[scope.place, node.output[0]] = name


def begins(node: NodeProto, operands: Sequence[Term]) -> bool:
    """Return whether a Loop takes its first step."""
    return node.op_type == "Loop" and all(each is ABSENT or bool(_one(each)) for each in operands[:2])


def _loop(scope: Scope, node: NodeProto, body: GraphProto, operands: Sequence[Term]) -> list[Term] | None:
    """Walk the steps of a Loop whose number of steps and conditions are known; return None where they are not."""
    states, known = operands[2:], [each for each in operands[:2] if each is not ABSENT]
    rows: list[list[Term]] = []
    if len(operands) < 2 or len(body.output) <= len(states) or any(_one(each) is None for each in known):
        return None
    count, go = operands[:2]
    walked, wanted, first = scope.walk.table.walked, _one(count) if count is not ABSENT else None, scope.walk.side == 1
    most = _UNROLLED if first or wanted not in walked else _UNROLLED * _PARTS * walked[wanted]
    while count is ABSENT or len(rows) < (_one(count) or 0):
        many = len(rows) * (1 + len(body.node)) > most
        if many or (go is not ABSENT and _one(go) is None):
            walked |= {wanted: False} if many and first else {}
            return None
        if go is not ABSENT and not _one(go):
            if operands[1] is ABSENT:
                return None  # whether it goes on is read in two ways
            break
        step, goes = (number(np.array(each), label(node)) for each in (np.int64(len(rows)), np.True_))
        go, *made = scope.step(node, body, len(rows), [scope.add(step), scope.add(goes), *states])
        rows.append(made[len(states) :])
        states = made[: len(states)]
    walked |= {wanted: True} if first else {}
    return [*states, *(_stacked(scope, node, each) for each in zip(*rows, strict=True))]


def _scan(scope: Scope, node: NodeProto, body: GraphProto, operands: Sequence[Term]) -> list[Term] | None:
    """Walk the steps of a Scan over known numbers, for example sizes, along their first axis; else return None."""
    count = integer(node, "num_scan_inputs", 0)
    arrays = [each.value for each in operands if each.value is not None]
    given = {a.name: list(a.ints) for a in node.attribute}
    plain = not any(given.get("scan_input_axes", []) + given.get("scan_output_axes", []))
    if scope.opsets.get("", 0) < SCANS_ONE or not plain or not 0 < count <= len(arrays) == len(operands):
        return None
    lengths = {len(array) if array.ndim else 0 for array in arrays[-count:]}
    states = operands[:-count]
    if len(lengths) > 1 or not 0 < max(lengths) * (1 + len(body.node)) <= _UNROLLED:
        return None
    rows: list[list[Term]] = []
    backwards = given.get("scan_input_directions", [0] * count)
    for i in range(max(lengths)):
        places = [-1 - i if back else i for back in backwards]
        picked = (array[place] for array, place in zip(arrays[-count:], places, strict=True))
        items = [scope.add(number(np.asarray(each), label(node))) for each in picked]
        made = scope.step(node, body, i, [*states, *items])
        rows.append(made[len(states) :])
        states = made[: len(states)]
    results = [*zip(*rows, strict=True)]
    turned = given.get("scan_output_directions", [0] * len(results))
    stacks = (each[::-1] if back else each for each, back in zip(results, turned, strict=True))
    return [*states, *(_stacked(scope, node, each) for each in stacks)]


def _map(scope: Scope, node: NodeProto, body: GraphProto, operands: Sequence[Term]) -> list[Term] | None:
    """Return the results of a SequenceMap over known items as sequences of its body's results; None for others."""
    count = sequences.count(operands[0])
    known = [each.shape is not None or sequences.count(each) == count for each in operands]
    fits = len(body.output) == len(node.output) and all(known)
    if count is None or not fits or not 0 < count * (1 + len(body.node)) <= _UNROLLED:
        return None
    rows = []
    for i in range(count):
        at = scope.add(number(np.array(i), label(node)))
        items = [each if each.shape is not None else scope.result(node, "SequenceAt", [each, at]) for each in operands]
        rows.append(scope.step(node, body, i, items))
    return [scope.result(node, "SequenceConstruct", results) for results in zip(*rows, strict=True)]


STEPS = {"Loop": _loop, "Scan": _scan, "SequenceMap": _map}
"""The function that walks the steps of a node, by its operator."""


def same(node: NodeProto, body: GraphProto, opsets: Mapping[str, int]) -> set[int]:
    """Return the places of the values that a node carries from step to step as they are."""
    found, places = set[int](), carried(node)
    if node.op_type == "Scan" and opsets.get("", 0) < SCANS_ONE:
        return found
    for i, result in zip(places, body.output[places.start // 2 :], strict=False):
        if i < len(body.input) and passed(body, result.name) == body.input[i].name:
            found.add(i)
    return found


def passed(body: GraphProto, name: str) -> str:
    """Return the value that a value of a body is a copy of, past all Identity nodes."""
    copies = {each.output[0]: each.input[0] for each in body.node if each.op_type == "Identity"}
    while name in copies:
        name = copies[name]
    return name


def _stacked(scope: Scope, node: NodeProto, rows: Sequence[Term]) -> Term:
    """Stack the results of all steps along a new axis; return ABSENT where a shape is not known."""
    if any(row.shape is None for row in rows):
        return ABSENT
    lines = [scope.reshaped(each, (1, *(each.shape or ())), each.label) for each in rows]
    return scope.result(node, "Concat", lines, axis=0)


def _one(term: Term) -> int | None:
    """Return the integer or truth value of a constant of one element; None for any other term."""
    return None if term.value is None or term.value.size != 1 or not term.integer else int(term.value.reshape(-1)[0])
