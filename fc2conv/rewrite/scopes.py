"""All scopes of a model, planned from the outside in and rewritten from the inside out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING

from onnx import GraphProto, ModelProto

from fc2conv.analysis import Inference
from fc2conv.analysis.facts import Remap
from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.payload import Payload
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label
from fc2conv.ir.propagation import NOTHING, Propagated, propagate
from fc2conv.ir.shapes import inferred
from fc2conv.ir.subgraph_shapes import Shapes
from fc2conv.layout.view import View
from fc2conv.options import Options
from fc2conv.planning.costs import Costs, costs_of
from fc2conv.planning.planner import Decision, Plan, make_plan
from fc2conv.reasons import Code, Reason
from fc2conv.rewrite import functions
from fc2conv.rewrite.pool import State
from fc2conv.rewrite.rewriter import Rewriter
from fc2conv.rewrite.swap import alive, put, swap
from fc2conv.rewrite.tensors import Tensors
from fc2conv.targets.chosen import conv_rank, preferences, profile_of

if TYPE_CHECKING:
    from fc2conv.planning.fitting import Fits
    from fc2conv.rewrite.requantize import Changes


@dataclass(frozen=True)
class Rewritten:
    """A rewritten skeleton and its payloads.

    `original` is what it was made from: the model, with the functions inlined that hold layers. `fits` are those of
    layers that were cut to a target's limits, and `forms` the values of the main graph that have a spatial form, by its
    name. `requantized` says of layers how far their weights moved when they were quantized per output; `unchanged` is
    the model as it was before.
    """

    original: ModelFile
    model: ModelProto
    payloads: Mapping[str, Payload]
    fits: Fits = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)
    requantized: Changes = field(default_factory=dict)
    unchanged: ModelFile | None = None


_ONE_OPSET = "Export the model and its functions with one operator set."
Refused = Mapping[tuple[str, int], Reason]
"""Reasons that are known before a model is planned, by the scope and the position of the layer."""


def fit_model(file: ModelFile, options: Options) -> tuple[list[Plan], Fits]:
    """Plan all scopes, an outer one before those within it, and find the fits of the layers that they convert.

    Refuse a layer that the target does not take, and plan the rest without it.
    """
    profile, costs = profile_of(options), costs_of(preferences(options))
    options = replace(options, conv_rank=conv_rank(options, profile))
    graph = Graph.of(file.model, freeze=options.freeze_initializers)
    shapes = inferred(file.model, options.input_shapes, graph)
    constants = Constants(graph, file, expand=options.expand_block_quantized)
    planned = partial(_plans, _inference(constants, shapes, NOTHING, {}, options, costs), shapes, costs)
    refused: dict[tuple[str, int], Reason] = {}
    while True:
        plans = _best_plans(planned, options, refused)
        if profile is None:
            return plans, {}
        from fc2conv.planning.fitting import fitted

        fits, left = fitted(plans, profile, cells=options.sliding is None)
        if not left:
            return plans, fits
        refused |= left


def _inference(
    constants: Constants,
    shapes: Mapping[str, Shapes],
    around: Propagated,
    outer: Mapping[str, View],
    options: Options,
    costs: Costs,
) -> Inference:
    """Return the inference of a scope, which serves all of its plans; `shapes` are those of all scopes."""
    known = propagate(constants.graph, constants, shapes.get(constants.graph.path, {}), around)
    constants.cut(known.numbers)
    rank = {"1d": 1, "2d": 2}.get(options.conv_rank)
    return Inference(constants, known, conv_rank=rank, norms=costs.norms, outer=outer)


def _best_plans(planned: Callable[..., Iterator[Plan]], options: Options, given: Refused) -> list[Plan]:
    """Return the plans of all scopes, without the layers that are refused.

    Keep a layer after an opaque node (FC301) only where the whole model would have more layout nodes with it: take the
    plan that converts all of these layers where it has no more than the model, or than the plan without them. Make the
    tokens of a map of two open sizes, which cannot be written as that map, a dimension of their own where this helps.
    """
    plans = list(planned(options, given))
    if opened := _opened_sizes(plans):
        rows = list(planned(options, given, tokens=True))
        if (_converting(rows), -_opened_sizes(rows)) > (_converting(plans), -opened):
            plans, planned = rows, partial(planned, tokens=True)
    if options.scope == "all" or options.max_added_transposes is not None:
        return plans
    reasons = {(plan.graph.path, each.index): each.reason for plan in plans for each in plan.decisions}
    refused = {key: why for key, why in reasons.items() if why is not None and why.code is not Code.ADDS_LAYOUT}
    if len(refused) == sum(why is not None for why in reasons.values()):
        return plans
    wide = list(planned(replace(options, scope="all"), refused))
    fits = sum(plan.dearer for plan in wide) <= max(0, sum(plan.dearer for plan in plans))
    return wide if fits and _converting(wide) == len(reasons) - len(refused) else plans


def _opened_sizes(plans: Sequence[Plan]) -> int:
    """Count the layers that are kept for a size that is not known."""
    reasons = (each.reason for plan in plans for each in plan.decisions)
    return sum(reason is not None and reason.code is Code.UNKNOWN_SIZE for reason in reasons)


def _plans(
    inference: Inference,
    shapes: Mapping[str, Shapes],
    costs: Costs,
    options: Options,
    refused: Refused,
    outer: Mapping[str, View] | None = None,
    *,
    tokens: bool = False,
) -> Iterator[Plan]:
    """Yield the plan of a scope, and those of the scopes within; `outer` are the views of values around it."""
    constants, graph = inference.constants, inference.graph
    here = {index: reason for (path, index), reason in refused.items() if path == graph.path}
    plan = make_plan(inference, options, here, costs, tokens=tokens)
    yield plan
    for i, name, proto in graph.bodies:
        within = graph.within(graph.nodes[i], name, proto)
        inner = Constants(within, constants.file, constants, expand=constants.expand)
        visible = {**(outer or {}), **plan.facts.views}
        body = _inference(inner, shapes, inference.known, visible, options, costs)
        yield from _plans(body, shapes, costs, options, refused, visible, tokens=tokens)


def rewrite_scopes(file: ModelFile, options: Options) -> tuple[list[Plan], Rewritten | None]:
    """Plan a copy of the model and carry the plans out; the result is None where no layer is converted.

    A function has no shapes of its own, and its weights may be operands of the call. A function that holds layers is
    specialised for every call, by inlining it, if that converts any. The model is valid, see `ir/schema.py`.
    """
    model = deepcopy(file.model)
    plans, fits = fit_model(replace(file, model=model), options)
    inside = _left(file, options)
    inlined = functions.inlined(file.model)
    if inlined is not None:
        special = deepcopy(inlined)
        others, their_fits = fit_model(replace(file, model=special), options)
        if _converting(others) > _converting(plans):
            file, model, plans, fits = replace(file, model=inlined), special, others, their_fits
        elif not any(map(_changes, (*plans, *others))):
            plans = others
        else:
            inside += _inside(others, plans)
    profile = profile_of(options)
    lacks = profile.lacks if profile is not None else ()
    if not any(map(_changes, plans)):
        changed = _without(replace(file, model=model), lacks, options)
        return [*plans, *inside], Rewritten(file, model, file.payloads) if changed else None
    payloads = dict(file.payloads)
    # The names of all scopes, before any changes: a new name must not be shadowed in an inner one.
    taken = {name for plan in plans for name in plan.graph.names}
    swapped = list[str]()
    forms: dict[str, str] = {}
    for plan in reversed(plans):
        if _changes(plan):
            own = {index: fit for (path, index), fit in fits.items() if path == plan.graph.path}
            tensors = Tensors(plan.constants, taken, payloads, partial(_retired, plan))
            rewriter = Rewriter(plan, tensors, own, unsigned=profile is None or profile.convolves("uint8"))
            _swap(plan.graph, rewriter)
            forms = forms if plan.graph.path else rewriter.forms
            swapped.append(plan.graph.path)
        elif any(not plan.graph.path or path.startswith(f"{plan.graph.path}/") for path in swapped):
            swap(plan.graph, plan.graph.nodes)
    _without(replace(file, model=model), lacks, options)
    return [*plans, *inside], Rewritten(file, model, payloads, fits, forms)


def _inside(others: Sequence[Plan], plans: Sequence[Plan]) -> list[Plan]:
    """Return the decisions on layers within functions that are not inlined; `others` are plans with all inlined."""
    known = {label(plan.graph.nodes[each.index]) for plan in plans for each in plan.decisions}
    out = []
    for plan in others:
        new = [each for each in plan.decisions if label(plan.graph.nodes[each.index]) not in known]
        out.append(replace(plan, decisions=tuple(new), heads=(), on_spatial_forms=frozenset()))
    return out


def _left(file: ModelFile, options: Options) -> list[Plan]:
    """Return the decisions on layers within functions of other operator sets, which are not inlined."""
    out, own = [], functions.versions(file.model)
    for function, entry in functions.left(file.model):
        graph = GraphProto(name=function.name, node=function.node)
        body = ModelProto(ir_version=file.model.ir_version, graph=graph, opset_import=function.opset_import)
        opset = f"opset {entry.version}" + ("" if entry.domain in ONNX_DOMAINS else f" of {entry.domain}")
        what = f"in the function {function.name} of {opset}, and the model has {own[entry.domain]}"
        for plan in fit_model(replace(file, model=body), options)[0]:
            nodes = {each.index: label(plan.graph.nodes[each.index]) for each in plan.decisions}
            new = (Decision(i, Reason(Code.OPSET_TOO_OLD, node, what, _ONE_OPSET)) for i, node in nodes.items())
            out.append(replace(plan, decisions=tuple(new), heads=(), on_spatial_forms=frozenset()))
    return out


def _without(file: ModelFile, lacks: Collection[str], options: Options) -> bool:
    """Write Reshapes instead of operators that a target lacks; return whether there was one."""
    if not lacks:
        return False
    from fc2conv.rewrite.lacking import without

    return without(file, lacks, options.input_shapes)


def _changes(plan: Plan) -> bool:
    """Return whether a plan converts a layer, or lifts a convolution."""
    recipes = (plan.facts.nodes[i].recipe for i in plan.on_spatial_forms)
    lifts = any(isinstance(recipe, Remap) and recipe.lifts for recipe in recipes)
    return lifts or plan.converted > 0


def _converting(plans: Sequence[Plan]) -> int:
    return sum(plan.converted for plan in plans)


def _retired(plan: Plan, name: str) -> bool:
    """Return whether a constant is read as the weight of converted layers alone, or as the bias of one."""
    if name in plan.graph.leaving:
        return False
    units = [plan.requirements.units[i] for i in plan.graph.uses.get(name, ())]
    found = [plan.facts.nodes[unit].layer if unit in plan.on_spatial_forms else None for unit in units]
    layers = [None if each is None else each.layer for each in found]
    if all(layer is not None and layer.weight == name != layer.bias for layer in layers):
        return True
    return len(layers) == 1 and layers[0] is not None and layers[0].bias == name


def _swap(graph: Graph, rewriter: Rewriter) -> None:
    """Replace the nodes and initializers by the new ones, and remove what nobody reads any more."""
    pool, outside = rewriter.tensors, set(graph.outputs)
    nodes = rewriter.run()
    renewed = pool.names(State.DROP)
    dropped = {id(graph.nodes[graph.producer[name]]) for name in renewed}
    nodes, read = alive([node for node in nodes if id(node) not in dropped], outside | rewriter.unread, graph)
    old, new = pool.initializers(graph.read, read)
    put(graph, nodes, old, new, changed=pool.names(State.REPLACE) | renewed)
