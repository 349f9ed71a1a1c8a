"""A model planned and rewritten: quantized layers first as they are asked for, then all scopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import label
from fc2conv.ir.layer_operators import CONVOLUTIONS
from fc2conv.layers.quantized import BESIDE_QDQ
from fc2conv.options import Options, Scope
from fc2conv.planning.planner import Decision, Plan, depends_on_scope
from fc2conv.planning.reporting import layout_nodes, scope_report
from fc2conv.reasons import Code, Reason
from fc2conv.report.types import ScopeReport
from fc2conv.rewrite import functions
from fc2conv.rewrite.forms import named_types, once, taken_apart, written_out
from fc2conv.rewrite.scopes import Rewritten, rewrite_scopes
from fc2conv.rewrite.spread import spread
from fc2conv.rewrite.taken import settled
from fc2conv.targets.chosen import preferences

if TYPE_CHECKING:
    from fc2conv.rewrite.qdq import Layers

Name = tuple[str, str]
"""The path of a layer's scope, and the layer's name."""

_PER_OUTPUT = "Quantize the weight per tensor or per output."
_SYMMETRIC = "Quantize the weight symmetrically (zero point 0)."


def rewrite_model(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    """Plan a copy of the model and carry the plans out; the result is None where no layer is converted."""
    own = functions.apart(file.model)
    if own is file.model:
        return _rewritten(file, options)
    plans, made = _rewritten(replace(file, model=own), options)
    if made is None:
        return plans, None
    unchanged = made.unchanged and functions.together(made.unchanged)
    model = functions.together(replace(file, model=made.model)).model
    return plans, replace(made, original=functions.together(made.original), model=model, unchanged=unchanged)


def _rewritten(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    """Plan a model and the forms of it in which a layer may see more of a map, each made of the one before.

    Take a form where more is converted, or with fewer layout nodes; take one without choices and sequences where the
    model is to slide. The last form, which hides least, says why a layer is kept.
    """
    plans, made = _as_requested(file, options)
    base, last, seen = file, file, plans
    for form in (written_out, functions.opened, taken_apart, settled, named_types, once, spread):
        other = form(last, seen, options)
        if other is None:
            continue
        last, (seen, new) = other, _as_requested(other, options)
        more, less = _converted(seen) - _converted(plans), _converted(plans) - _converted(seen)
        sees = form is not settled or _sighted(seen) - _sighted(plans)
        cheaper = not less and sees and sum(p.dearer for p in seen) < sum(p.dearer for p in plans)
        plainer = not less and form in (taken_apart, settled) and options.sliding is not None
        if new is not None and (more or cheaper or plainer):
            plans, made, base = seen, new, other
    if seen is not plans:
        known = _reasons(seen)
        plans = _explained(plans, lambda name, _: known.get(name))
    if made is None or base is file:
        return plans, made
    if made.unchanged is not None:
        return plans, replace(made, unchanged=file)
    return plans, _made_of(file, made)


def _explained(plans: Sequence[Plan], other: Callable[[Name, Reason], Reason | None]) -> list[Plan]:
    """Replace the reasons of layers that are kept by others, where there are any."""
    out = []
    for plan in plans:
        decisions = (
            each if each.reason is None else replace(each, reason=other(_name(plan, each), each.reason) or each.reason)
            for each in plan.decisions
        )
        out.append(replace(plan, decisions=tuple(decisions)))
    return out


def _as_requested(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    """Plan and rewrite what is asked for first.

    Quantize weights per output that are quantized along their inputs, and write quantized layers as QDQ. A layer that
    is not converted all the same stays as it is.
    """
    plans, made = _with_qdq(file, options)
    if not options.requantize:
        return plans, made
    from fc2conv.rewrite.requantize import requantized

    kept: dict[Name, Reason] = {}

    def without_requantize(name: Name, reason: Reason) -> Reason | None:
        """Return another reason than one whose remedy is --requantize, which was asked for."""
        quantized = reason.code is Code.QUANTIZED_AXIS
        return kept.get(name) or replace(reason, remedy=_PER_OUTPUT) if quantized else None

    layers = _named(plans, lambda each: each.reason is not None and each.reason.code is Code.QUANTIZED_AXIS)
    while layers:
        base, changes = requantized(file, layers, freeze=options.freeze_initializers)
        if not changes:
            break
        others, new = _with_qdq(base, options)
        converted = _named(others, lambda each: each.converts)
        if new is not None and changes.keys() <= converted:
            return _explained(others, without_requantize), replace(new, requantized=changes, unchanged=file)
        kept |= {name: why for name, why in _reasons(others).items() if name in changes}
        layers = frozenset(changes) & converted
    return _explained(plans, without_requantize), made


def _with_qdq(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    if not any(each.value for each in preferences(options).qdq):
        return rewrite_scopes(file, options)
    from fc2conv.rewrite import qdq

    kept: dict[Name, Reason | None] = {}
    while True:
        base, layers = qdq.as_qdq(file, frozenset(kept), freeze=options.freeze_initializers)
        plans, made = rewrite_scopes(base, options)
        why = _reasons(plans)
        new = layers - _named(plans, lambda each: each.converts)
        if not new:
            break
        kept |= {name: why.get(name) for name in new}

    def without_qdq(name: Name, reason: Reason) -> Reason | None:
        """Return another reason than one whose remedy is --qdq, which was asked for."""
        if "--qdq" not in (reason.remedy or reason.code.remedy):
            return None
        other = _SYMMETRIC if reason.code is Code.ZERO_POINTS_DIFFER else ""
        remedy = reason.remedy if reason.remedy in BESIDE_QDQ else other
        return kept.get(name) or replace(reason, remedy=remedy)

    return _explained(plans, without_qdq), made if made is None or base is file else _made_of(file, made)


def _made_of(file: ModelFile, made: Rewritten) -> Rewritten:
    """Return a result with the model itself as its original, and functions inlined as in the result."""
    return replace(made, original=replace(file, model=functions.inlined_like(file.model, made.model)))


def _reasons(plans: Sequence[Plan]) -> dict[Name, Reason]:
    """Return the reason why each kept layer is kept, by scope and name."""
    decisions = ((plan, each) for plan in plans for each in plan.decisions)
    return {_name(plan, each): each.reason for plan, each in decisions if each.reason is not None}


def _converted(plans: Sequence[Plan]) -> set[str]:
    return {name for _, name in _named(plans, lambda each: each.converts)}


def _sighted(plans: Sequence[Plan]) -> Layers:
    return _named(plans, lambda each: not functions.blind(each))


def _named(plans: Sequence[Plan], which: Callable[[Decision], bool]) -> Layers:
    """Return the layers for which a condition holds, by scope and name."""
    return frozenset(_name(plan, each) for plan in plans for each in plan.decisions if which(each))


def _name(plan: Plan, decision: Decision) -> Name:
    return plan.graph.path, label(plan.graph.nodes[decision.index])


def other_scope(file: ModelFile, plans: Sequence[Plan], made: Rewritten | None, options: Options) -> ScopeReport:
    """Report what the other scope would give; plan it only where it may decide otherwise."""
    scope: Scope = "spatial" if options.scope == "all" else "all"
    if any(depends_on_scope(plan, options.scope) for plan in plans):
        plans, made = rewrite_model(file, replace(options, scope=scope))
    return scope_report(scope, plans, layout_nodes(file.model), layout_nodes(made.model if made else file.model))


def named_layers(plans: Sequence[Plan]) -> tuple[set[str], set[str]]:
    """Return the names of all layers, and of the convolutions, which may be layers that were converted before."""
    layers = {label(plan.graph.nodes[each.index]) for plan in plans for each in plan.decisions}
    return layers, {label(node) for plan in plans for node in plan.graph.nodes if node.op_type in CONVOLUTIONS}
