"""What is done with each layer: `Convert` or `Keep(reason)`, and which nodes run on spatial forms.

Planning only decides. The inference says what could be done; the plan asks the placement for the cheapest way, and
keeps a layer after a node that needs the original layout where converting it would add layout nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from onnx import TensorProto

from fc2conv.analysis import Facts, Inference
from fc2conv.analysis.context import Wanted, size_remedy
from fc2conv.analysis.facts import LayerFacts
from fc2conv.analysis.norms import of_channels
from fc2conv.dataclass import dataclass
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label
from fc2conv.layers import FCLayer, Floating
from fc2conv.layout.axes import refine
from fc2conv.layout.view import Provenance
from fc2conv.options import Options, Scope
from fc2conv.planning.costs import Costs
from fc2conv.planning.placement import Labelling, Placement, Region
from fc2conv.planning.requirements import Requirements
from fc2conv.reasons import Code, Reason

CONV_TYPES = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
BYTES = frozenset({TensorProto.INT8, TensorProto.UINT8})
CONV_HAS_BFLOAT16 = 22
_NEWER = (
    f"Raise the model to opset {CONV_HAS_BFLOAT16}, from which on Conv takes bfloat16, and use --force, "
    "or convert it to float32 or float16."
)
_EIGHT_BITS = "Quantize the weight to 8 bits."
OTHER_FLOATS = frozenset({TensorProto.DOUBLE, TensorProto.BFLOAT16})


@dataclass(frozen=True)
class Decision:
    """One layer: to be converted, or kept for a reason. `facts` is None for what only looks like a layer."""

    index: int
    reason: Reason | None
    facts: LayerFacts | None = None

    @property
    def converts(self) -> bool:
        """Whether the layer becomes a convolution."""
        return self.reason is None


@dataclass(frozen=True)
class Head:
    """Converted layers (positions in the graph) that were placed together."""

    layers: tuple[int, ...]
    labelling: Labelling


@dataclass(frozen=True)
class Plan:
    """All decisions of one scope, the positions of the nodes that run on spatial forms, and what nodes read there."""

    graph: Graph
    constants: Constants
    facts: Facts
    decisions: tuple[Decision, ...]
    heads: tuple[Head, ...]
    on_spatial_forms: frozenset[int]
    requirements: Requirements

    @property
    def dearer(self) -> int:
        """What the layout nodes weigh more than they do now; less than 0 where the plan removes some."""
        return sum(head.labelling.dearer for head in self.heads)

    @property
    def converted(self) -> int:
        """How many layers the plan converts."""
        return sum(decision.converts for decision in self.decisions)


_KEPT_FORM = "a value that keeps its form"
_WHATEVER_THE_SCOPE = frozenset({Code.EXCLUDED, Code.WEIGHT_TYPE, Code.RUNTIME_TYPE})


def depends_on_scope(plan: Plan, scope: Scope) -> bool:
    """Return whether the other scope may decide otherwise for a layer of this plan."""
    for each in plan.decisions:
        if each.facts is None or (each.reason is not None and each.reason.code in _WHATEVER_THE_SCOPE):
            continue
        if not each.converts or (scope == "all" and not _reads_map(each.facts)):
            return True
    return False


def make_plan(
    inference: Inference, options: Options, refused: Mapping[int, Reason], costs: Costs, *, tokens: bool = False
) -> Plan:
    """Decide for every layer of a scope, by these costs; keep those in `refused`.

    With `tokens`, or for convolutions of rank 3, spatial forms hold the cells of tokens in one dimension.
    """
    tokens = tokens or options.conv_rank == "1d"
    wanted = Wanted(options.scope == "all", tokens, {**_refused(inference, options), **refused})
    while True:
        plan = _planned(inference, wanted, options, costs)
        # The result of a layer that is converted is a map: what reads it with nothing between is converted as well,
        # as it would be if the tool were run on its own output.
        found = [decision.facts for decision in plan.decisions if decision.converts and decision.facts is not None]
        maps = frozenset(
            each.layer.output for each in found if each.reads and each.reads.provenance is Provenance.OPAQUE
        )
        if wanted.everything or maps <= wanted.maps:
            return plan
        wanted = replace(wanted, maps=wanted.maps | maps)


def _planned(inference: Inference, wanted: Wanted, options: Options, costs: Costs) -> Plan:
    facts = inference.run(wanted)
    layers = {i: each.layer for i, each in enumerate(facts.nodes) if each.layer is not None}
    able = [i for i, layer in layers.items() if layer.contraction is not None]
    placement = Placement(inference.graph, facts, costs)
    on_spatial_forms: set[int] = set()
    kept: dict[int, Reason] = {}
    heads: list[Head] = []
    for region in placement.regions(able):
        everything = options.scope == "all" and options.max_added_transposes is None
        direct = frozenset(i for i in region.layers if everything or _forced(layers[i], wanted.maps))
        labelling, reasons = _place(placement, region, layers, direct, options)
        on_spatial_forms |= labelling.spatial_forms
        kept |= reasons
        converted = tuple(i for i in region.layers if i in labelling.spatial_forms)
        if converted:
            heads.append(Head(converted, labelling))
    decisions = []
    for i, found in sorted(inference.found.items()):
        if isinstance(found, Reason):
            decisions.append(Decision(i, found))
        elif i in layers:
            decisions.append(Decision(i, layers[i].obstacle or kept.get(i), layers[i]))
    there = frozenset(on_spatial_forms)
    return Plan(inference.graph, inference.constants, facts, tuple(decisions), tuple(heads), there, placement)


def _forced(layer: LayerFacts, maps: frozenset[str]) -> bool:
    """Return whether a layer is converted whatever it costs: it reads a map, or a round before has converted it."""
    return layer.layer.output in maps or _reads_map(layer)


def _refused(inference: Inference, options: Options) -> dict[int, Reason]:
    """Refuse layers whatever their layout: those that the caller leaves out, and those of a type without Conv."""
    layers = ((i, each) for i, each in inference.found.items() if isinstance(each, FCLayer))
    reasons = ((i, _excluded(each, options) or _type(inference.constants, each, options)) for i, each in layers)
    return {i: reason for i, reason in reasons if reason is not None}


def _excluded(layer: FCLayer, options: Options) -> Reason | None:
    name = label(layer.node)
    if options.include and not any(fnmatchcase(name, pattern) for pattern in options.include):
        return Reason(Code.EXCLUDED, name, "no --include pattern matches")
    pattern = next((pattern for pattern in options.exclude if fnmatchcase(name, pattern)), None)
    return None if pattern is None else Reason(Code.EXCLUDED, name, f"--exclude {pattern}")


def _type(constants: Constants, layer: FCLayer, options: Options) -> Reason | None:
    """Return why no convolution of the layer's kind takes its type, or onnxruntime's CPU provider lacks it."""
    stored = constants.stored(layer.weight)
    assert stored is not None
    taken = CONV_TYPES if isinstance(layer.arithmetic, Floating) else BYTES
    if stored.type == TensorProto.BFLOAT16 and constants.graph.opset < CONV_HAS_BFLOAT16:
        detail = f"bfloat16 in opset {constants.graph.opset}"
        return Reason(Code.WEIGHT_TYPE, label(layer.node), detail, _NEWER)
    if stored.type in taken or (options.force and stored.type in OTHER_FLOATS):
        return None
    remedy = "" if isinstance(layer.arithmetic, Floating) else _EIGHT_BITS
    code = Code.RUNTIME_TYPE if stored.type in OTHER_FLOATS else Code.WEIGHT_TYPE
    known = stored.type in TensorProto.DataType.values()
    name = TensorProto.DataType.Name(stored.type).lower() if known else f"element type {stored.type}"
    return Reason(code, label(layer.node), name, remedy)


def _place(
    placement: Placement, region: Region, layers: Mapping[int, LayerFacts], wanted: frozenset[int], options: Options
) -> tuple[Labelling, dict[int, Reason]]:
    """Return the labelling of a region with the wanted layers and those that cost nothing, and why others are kept."""
    kept = {
        i: _unsized(placement, i, "its input")
        for i in region.layers
        if not placement.reads_spatial_form(i) and placement.reframed[i][1] is None
    }
    open_layers = [i for i in region.layers if i not in kept]
    direct = wanted & set(open_layers)
    behind = frozenset(open_layers) - direct
    everything = placement.label(region, direct | behind, frozenset())
    if everything.feasible and _affordable(everything, options):
        return everything, kept
    chosen = placement.label(region, direct, behind)
    if not chosen.feasible:
        return _one_by_one(placement, region, open_layers, kept)
    left = sorted(behind - chosen.spatial_forms)
    norms = bool(left) and _spared(placement, region, [layers[i] for i in left])
    for i in left:
        with_it = everything if everything.feasible else placement.label(region, direct | {i}, frozenset())
        if with_it.feasible:
            kept[i] = _dear(layers[i], with_it, chosen, options.scope, norms=norms)
        else:
            kept[i] = _unsized(placement, i, _KEPT_FORM)
    return chosen, kept


def _spared(placement: Placement, region: Region, layers: Sequence[LayerFacts]) -> bool:
    """Return whether --norms map would write norms as reductions in a region, or before these layers."""
    hidden_by = {each.reads.blocked_by for each in layers if each.reads is not None}
    nodes = (each for i, each in enumerate(placement.graph.nodes) if i in region.members or label(each) in hidden_by)
    views = placement.facts.views
    return not placement.costs.norms and any(
        of_channels(each, views.get(each.input[0])) for each in nodes if each.input
    )


def _affordable(labelling: Labelling, options: Options) -> bool:
    """Return whether all layers of a region may be converted for what it then costs."""
    if options.max_added_transposes is not None:
        return labelling.layout_after - labelling.layout_before <= options.max_added_transposes
    # In a network that slides no layer may stay, and the layout nodes between its maps go.
    return options.scope == "all" or options.sliding is not None or labelling.dearer <= 0


def _unsized(placement: Placement, index: int, what: str) -> Reason:
    """Return the reason for a layer that needs a Reshape of a value of two open sizes."""
    remedy = size_remedy(placement.graph, placement.facts.views.get)
    detail = f"a Reshape of {what} has two that are not known"
    return Reason(Code.UNKNOWN_SIZE, label(placement.graph.nodes[index]), detail, remedy)


def _dear(facts: LayerFacts, with_it: Labelling, without: Labelling, scope: Scope, *, norms: bool) -> Reason:
    """Return the reason for a layer whose head would have more layout nodes, and what makes them necessary.

    `norms` is whether some of them are around norms that could be reductions.
    """
    blocked_by = facts.reads.blocked_by if facts.reads is not None else ""
    nodes = with_it.layout_after - without.layout_after
    more = f"{nodes} more in its head" if nodes > 0 else "those in its head would be dearer for the target"
    if not blocked_by:
        why = "has a matrix for each item" if facts.layer.groups else "sums over a part of the channels"
        more += f", as it {why}"
    more += _by_rule(facts)
    added = with_it.layout_after - with_it.layout_before
    other = "" if scope == "all" else ", or use --scope all"
    fewer = "; --norms map spares those of norms" if norms else ""
    remedy = f"Allow them with --max-added-transposes {added}{other}{fewer}."
    return Reason(Code.ADDS_LAYOUT, blocked_by or label(facts.layer.node), more, remedy)


def _by_rule(facts: LayerFacts) -> str:
    """Return the rules of a convolution's form that its layout nodes are for; "" where there is no rule."""
    found, reads = facts.contraction, facts.reads
    if found is None or reads is None:
        return ""
    rules = []
    if any(found.frame[2:]) and len(reads.dims) < len(found.frame):
        rules.append(f"tokens are cells of a map of rank {len(found.frame)}")
    if len(found.contracted) > 1 and found.frame != reads.spatial_form:
        rules.append("heads and features are channels, and in no kernel")
    return f" ({'; '.join(rules)})" if rules else ""


def _one_by_one(
    placement: Placement, region: Region, open_layers: Sequence[int], kept: dict[int, Reason]
) -> tuple[Labelling, dict[int, Reason]]:
    """Convert the layers that can be where not all can: an original would need a Reshape that cannot be written."""
    forced: frozenset[int] = frozenset()
    labelling = placement.label(region, forced, forced)
    for i in open_layers:
        attempt = placement.label(region, forced | {i}, frozenset())
        if attempt.feasible:
            forced, labelling = forced | {i}, attempt
        else:
            kept[i] = _unsized(placement, i, _KEPT_FORM)
    return labelling, kept


def _reads_map(layer: LayerFacts) -> bool:
    """Return whether a layer reads a map whose layout nothing between hides: all channels of it, or no channel."""
    reads, found = layer.reads, layer.contraction
    if reads is None or found is None or reads.provenance is not Provenance.MAP or layer.layer.groups:
        return False
    if reads.spatial_form is None or found.contracted == reads.spatial_form[1]:
        return True
    both = refine((found.contracted,), (reads.spatial_form[1],))
    summed, channels = map(set, (both[0][0], both[1][0]) if both is not None else ((), ()))
    return channels <= summed or not channels & summed
