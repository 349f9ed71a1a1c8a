"""The parts of a model that a target does not take, read from the written model and from the profile alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fc2conv.io.choices import of_open_inputs
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import scopes
from fc2conv.ir.graph import label, op
from fc2conv.ir.layer_operators import CONVOLUTIONS
from fc2conv.ir.propagation import NOTHING, Propagated, propagate
from fc2conv.ir.shapes import inferred
from fc2conv.options import Options
from fc2conv.reasons import Code
from fc2conv.report.parts import Finding, TargetReport, is_layer
from fc2conv.report.types import SiteReport
from fc2conv.targets.legality import OPEN, lacking, reasons
from fc2conv.targets.profile import Profile
from fc2conv.targets.reading import geometry

_FAMILY = "FC6"
_COMPUTED = "Export the model without nodes whose values say how many results there are, such as NonZero."


def target_report(
    file: ModelFile, original: ModelFile, profile: Profile, options: Options, layers: Sequence[SiteReport]
) -> TargetReport:
    """Report what the target of a conversion does not take of the model that was made.

    For a layer that was kept for another reason than the target, give the remedy of that reason. No --static fixes a
    size that is open although those of the inputs are numbers.
    """
    kept = {
        (layer.scope, layer.node): layer.reason.remedy
        for layer in layers
        if layer.reason is not None and is_layer(layer.code) and not layer.code.startswith(_FAMILY)
    }
    found = audit(file, original, profile, options)
    for i, each in enumerate(found):
        if each.code != Code.TARGET_STATIC.value:
            found[i] = msgspec.structs.replace(each, remedy=kept.get((each.scope, each.node), each.remedy))
        elif options.static is not None and f" {OPEN}," in each.detail:
            found[i] = msgspec.structs.replace(each, remedy=_COMPUTED)
    return TargetReport(name=profile.name, title=profile.title, findings=found)


def audit(file: ModelFile, original: ModelFile, profile: Profile, options: Options) -> list[Finding]:
    """List everything in a model that the target does not take, equal findings together.

    All but the convolutions of the original count as layers: what stayed a layer, what a layer became, and each product
    of two computed values.
    """
    there = {
        (graph.path, name)
        for graph, _ in scopes(original, freeze=options.freeze_initializers)
        for node in graph.nodes
        if op(node) in CONVOLUTIONS
        for name in (node.name or node.output[0], node.output[0])
    }
    shapes = inferred(file.model, of_open_inputs(options.input_shapes, declared_shapes(file.model)))
    found: dict[tuple[str, str, bool], Finding] = {}
    known: dict[str, Propagated] = {}
    for graph, constants in scopes(file, freeze=options.freeze_initializers):
        outer = NOTHING if graph.outer is None else known[graph.outer.path]
        here = known[graph.path] = propagate(graph, constants, shapes.get(graph.path, {}), outer)
        for i, node in enumerate(graph.nodes):
            seen = geometry(graph, constants, i, here.shapes)
            ours = seen is not None and not (
                seen.kind == "conv" and {(graph.path, node.name), (graph.path, node.output[0])} & there
            )
            for why in reasons(seen, profile) if seen is not None else lacking(label(node), op(node), profile):
                key = why.code.value, why.detail, ours
                if key in found:
                    found[key] = found[key].again(label(node))
                    continue
                found[key] = Finding(
                    code=why.code.value,
                    meaning=why.code.meaning,
                    remedy=why.remedy or why.code.remedy,
                    node=why.node,
                    detail=why.detail,
                    op_type=op(node),
                    scope=graph.path,
                    layer=ours,
                    names=[why.node] if ours else [],
                )
    return list(found.values())
