"""Which layers a target takes, and how the convolutions of the others are cut to its limits.

Planning only decides: a layer that is to be converted has a `Fit` for each of its convolutions, or a reason of the
family FC6xx for which it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import TensorProto

from fc2conv.analysis.facts import LayerFacts
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import int_attribute, label, op
from fc2conv.ir.stored import Stored
from fc2conv.layers import Floating, Integer, QLinear
from fc2conv.layers.quantized import uniform
from fc2conv.layers.weights import kernel_of
from fc2conv.layout.axes import Dim, size_of
from fc2conv.layout.contraction import Contraction
from fc2conv.planning.planner import Plan
from fc2conv.reasons import Code, Reason
from fc2conv.targets.fits import Fit, Means, fit
from fc2conv.targets.legality import Geometry, reasons
from fc2conv.targets.profile import Profile
from fc2conv.targets.reading import element_type, layer

Place = tuple[str, int]
"""A layer: the path of its scope, and its position there."""

Fits = Mapping[Place, tuple[Fit, ...]]
"""For each layer that is converted, the fit of each convolution that it becomes (one for each branch)."""

_NOTHING = "Nothing is to be done: the target runs the layer, and takes no convolution in its place."


def fitted(
    plans: Sequence[Plan], profile: Profile, *, cells: bool
) -> tuple[dict[Place, tuple[Fit, ...]], dict[Place, Reason]]:
    """Return the fits of all layers that the plans convert, and the reasons of those that the target wants left.

    `cells` lets the cells of a map become channels; a map of another size would have another number of them.
    """
    fits: dict[Place, tuple[Fit, ...]] = {}
    left: dict[Place, Reason] = {}
    for plan in plans:
        for decision in plan.decisions:
            if decision.converts and decision.facts is not None:
                place = plan.graph.path, decision.index
                found = _decide(plan, decision.facts, profile, cells)
                if isinstance(found, Reason):
                    left[place] = found
                elif not all(each.plain for each in found):
                    fits[place] = found
    return fits, left


def _decide(plan: Plan, facts: LayerFacts, profile: Profile, cells: bool) -> tuple[Fit, ...] | Reason:
    whole = not facts.branches
    found = [
        fit(_convolution(plan, facts, each), profile, _means(plan, facts, each, whole, cells))
        for each in facts.contractions
    ]
    refused = next((each for each in found if isinstance(each, Reason)), None)
    shape = None if facts.reads is None else [size_of(dim) for dim in facts.reads.dims]
    as_it_is = layer(facts.layer, plan.constants, shape)
    form = profile.keeps(as_it_is.op_type, as_it_is.rank)
    if form is not None and not reasons(as_it_is, profile, opened=False):
        detail = f"{profile.name}: {form.note or 'it runs the layer as it is'} ({profile.said(form.source)})"
        return Reason(Code.TARGET_KEEPS, label(facts.layer.node), detail, "" if refused is None else _NOTHING)
    return refused or tuple(each for each in found if isinstance(each, Fit))


def _convolution(plan: Plan, facts: LayerFacts, found: Contraction) -> Geometry:
    """Return the geometry of a layer's convolution, as a target sees it."""
    layer = facts.layer
    operators = {Floating: "Conv", QLinear: "QLinearConv", Integer: "ConvInteger"}
    return Geometry(
        node=label(layer.node),
        op_type=operators[type(layer.arithmetic)],
        kind="conv",
        kernel=tuple(_known(dim) or 1 for dim in found.kernel[1:]),
        inputs=_known(found.kernel[0]),
        outputs=layer.matrices * layer.outputs,
        groups=_known(found.groups) or 1,
        rank=len(found.frame),
        spatial=tuple(map(_known, found.frame[2:])),
        batch=_known(found.frame[0]),
        type=element_type(plan.constants, layer.weight),
    )


def _known(dim: Dim) -> int | None:
    size = size_of(dim)
    return size.coefficient if size.known else None


def _means(plan: Plan, facts: LayerFacts, found: Contraction, whole: bool, cells: bool) -> Means:
    """Decide what may be done to a layer's convolution without a change of what it computes.

    A quantized result is rounded once, which a sum of parts is not. Zeros pad where a stored 0 is the number 0. A
    weight that is quantized along its inputs keeps them apart.
    """
    layer, arithmetic = facts.layer, facts.layer.arithmetic
    stored = plan.constants.stored(layer.weight)
    assert stored is not None
    shifted = isinstance(arithmetic, Integer) and bool(arithmetic.w_zero_point)
    floats = not isinstance(arithmetic, Integer) or bool(arithmetic.w_scale) or _cast_alone(plan, layer.output)
    if isinstance(arithmetic, Integer) and shifted and uniform(plan.constants, arithmetic.w_zero_point) is None:
        return Means(cells=False, sums=False, pads=False, cuts=False, floats=floats)
    form = kernel_of(plan.constants, layer, found) if whole else None
    axes = form.axes if form is not None else ()
    return Means(
        cells=cells and all(axis in (None, 0) for axis in axes),
        sums=not isinstance(arithmetic, QLinear),
        pads=isinstance(arithmetic, Floating) and _zero_is_zero(plan.constants, stored),
        cuts=not any(replay.block for replay in stored.replay) and all(axis in (None, 0, 1) for axis in axes),
        floats=floats,
    )


def _cast_alone(plan: Plan, name: str) -> bool:
    """Return whether a Cast to float32 alone reads a value, so that --qdq has a float to give."""
    reader = plan.graph.only_reader(name)
    cast = None if reader is None else plan.graph.nodes[reader]
    return cast is not None and op(cast) == "Cast" and int_attribute(cast, "to", 0) == TensorProto.FLOAT


def _zero_is_zero(constants: Constants, stored: Stored) -> bool:
    """Return whether a stored 0 is the number 0, whatever nodes make the weight of it."""
    zeros = [
        name for replay in stored.replay if replay.node.op_type != "Cast" for name in replay.node.input[2:] if name
    ]
    arrays = [constants.array(name) for name in zeros]
    return not any(array is None or array.any() for array in arrays)
