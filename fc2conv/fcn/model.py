"""A converted model made fully convolutional: the pass, the ends of the network, and the graph that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto

# The handlers register themselves.
import fc2conv.fcn.beside
import fc2conv.fcn.cellwise
import fc2conv.fcn.channelwise
import fc2conv.fcn.cutting
import fc2conv.fcn.pooling
import fc2conv.fcn.resizing
import fc2conv.fcn.spatial
import fc2conv.fcn.spreading
import fc2conv.fcn.unfolding  # noqa: F401
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.fcn import inputs, obstacles
from fc2conv.fcn import outputs as ends
from fc2conv.fcn.describe import Describer, Held, placed_beside, pool_reports
from fc2conv.fcn.dilation import dilate, spread
from fc2conv.fcn.forms import CHANNELS, SPACE, Form, Image, Parts
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.outputs import assemble
from fc2conv.fcn.parts import join_outputs
from fc2conv.fcn.pooling import last_of, spread_pools
from fc2conv.fcn.slider import Slider
from fc2conv.fcn.stage import written_recipe
from fc2conv.fcn.training import Training, at_training_size
from fc2conv.io.payload import Payload
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph
from fc2conv.options import Options, SlidingOptions
from fc2conv.planning.reporting import reason_report
from fc2conv.reasons import Code, Reason
from fc2conv.report.sliding import SlidingReport
from fc2conv.rewrite.pool import TO_THE_END
from fc2conv.rewrite.tensors import Tensors
from fc2conv.targets.chosen import conv_rank, profile_of
from fc2conv.verification.spec import Claims, Placement

_SIZES = (224, 256, 64, 512)
"""Sizes of images at which a network of unknown training size is tried."""


@dataclass(frozen=True)
class Slid:
    """The sliding model as a skeleton with its payloads, what the report says of it, and what is claimed of it.

    With --output-stride, --padding or --upsample the claims are the `placements` of its cells and those of `plain`, the
    network without these options.
    """

    model: ModelProto
    payloads: Mapping[str, Payload]
    report: SlidingReport
    claims: Claims
    placements: tuple[Placement, ...] = ()
    plain: Slid | None = None


def slide(
    file: ModelFile,
    original: ModelProto,
    options: Options,
    kept: Mapping[str, Reason] | None = None,
    held: Mapping[str, Held] | None = None,
) -> tuple[SlidingReport, Slid | None]:
    """Free a converted model from the size of its images; the second result is None where the report lists obstacles.

    `original` is what it was converted from, by whose values the claims name things; `kept` are the reasons for the
    layers of the main graph that were not converted, by their results, and `held` the original's values of which the
    file has a spatial form alone, by its name. The skeleton of `file` is not changed. Raise UsageError for axes that
    the model does not have, and InputError for one that no image enters.
    """
    assert options.sliding is not None
    model = ModelProto()
    model.CopyFrom(file.model)
    graph = Graph.of(model, freeze=options.freeze_initializers)
    constants = Constants(graph, file)
    given = [value for value in model.graph.input if value.name not in graph.initializers]
    ranks = {value.name: inputs.rank_of(constants, value) for value in given}
    training = at_training_size(constants, given, options.input_shapes)
    found = inputs.layouts(graph, constants, ranks, training.shapes)
    pictures = "LRN" in graph.kinds  # of which runtimes take no other map
    if pictures or conv_rank(options, profile_of(options)) == "2d":
        found = {name: inputs.lifted(layout) for name, layout in found.items()}
    images = inputs.chosen(found, options.sliding.input_axes)
    if not any(image.free for image in images.values()):
        first = None if found else _blocker(replace(file, model=original), options)
        of_tokens = any(reason.code is Code.NO_FEATURE_MAP for reason in (kept or {}).values())
        raise obstacles.no_image(first, of_tokens)
    task = _Task(file, graph, constants, images, options.sliding, kept or {})
    if file.model is original and _already(task, given, training):
        return SlidingReport(already=True), None
    slider, payloads = _passed(task, training)
    sliding = options.sliding
    for each in obstacles.of_strides(slider):  # of one image, --output-stride brings them to one stride
        slider.obstacles += [each] if sliding.output_stride is None or each.remedy else []
    moved = sliding.output_stride is not None or sliding.padding != "keep"
    cams = ends.activation_maps(slider) if sliding.cam and moved and not slider.obstacles else None
    if sliding.output_stride is not None and not slider.obstacles:
        dilate(slider, sliding.output_stride)
        cams = None if cams is None else [replace(cam, form=spread(cam.form, slider.apart)) for cam in cams]
        slider.obstacles += [] if slider.obstacles else obstacles.of_strides(slider)
    made = ends.finish(slider, sliding, cams)
    if slider.obstacles:
        in_the_way = map(reason_report, obstacles.named(slider, original, held or {}))
        return SlidingReport(obstacles=[*in_the_way], pools=pool_reports(slider)), None
    if not any(end.kind == "map" for end in made):
        raise InputError("no output of the model is computed from what slides", obstacles.NO_NETWORK)
    values = [*(name for node in original.graph.node for name in node.output), *ranks]
    own = {name: (name, None) for name in values}
    report, claims = Describer(slider, made, {**(held or {}), **own}).describe()
    assemble(model, slider, made, report.outputs, written_recipe(options))
    as_it_is = replace(sliding, output_stride=None, padding="keep", upsample=False)
    plain = None if as_it_is == sliding else slide(file, original, replace(options, sliding=as_it_is), kept, held)[1]
    if plain is None:
        return report, Slid(model, payloads, report, claims)
    report, placements = placed_beside(plain.report, report, made, sliding, claims.axes)
    return report, Slid(model, payloads, report, claims, placements, plain)


def _blocker(file: ModelFile, options: Options) -> NodeProto | None:
    """Return the original's node after which the axes of its images are not followed; None where no image enters."""
    constants = Constants(Graph.of(file.model, freeze=options.freeze_initializers), file)
    given = [value for value in file.model.graph.input if value.name not in constants.graph.initializers]
    ranks = {value.name: inputs.rank_of(constants, value) for value in given}
    shapes = at_training_size(constants, given, options.input_shapes).shapes
    return inputs.blocker(constants.graph, constants, ranks, shapes)


@dataclass(frozen=True)
class _Task:
    """What a pass reads, whatever the training size."""

    file: ModelFile
    graph: Graph
    constants: Constants
    images: Mapping[str, Image]
    options: SlidingOptions
    kept: Mapping[str, Reason]


def _already(task: _Task, given: Sequence[ValueInfoProto], training: Training) -> bool:
    """Return whether the network takes images of any size as it is, and no more is asked of it.

    Its training size is not known then, so that a pass is made for sizes that images often have: it must find nothing
    to do.
    """
    opened = [value for value in given if value.name in task.images and task.images[value.name].free]
    asked = replace(task.options, input_axes={}, verify_crops=False) != SlidingOptions()
    if asked or any(value.name in training.shapes for value in opened):
        return False
    for size in _SIZES:
        guess = {value.name: inputs.of_size(task.constants, value, size) for value in opened}
        slider, _ = _passed(task, at_training_size(task.constants, given, guess))
        maps = [slider.forms[name] for name in task.graph.outputs if name in slider.forms]
        idle = not slider.obstacles and all(pool.action != "slide" for pool in slider.pools)
        if idle and not obstacles.of_strides(slider) and any(form.free for form in maps):
            return True
    return False


def _passed(task: _Task, training: Training) -> tuple[Slider, dict[str, Payload]]:
    """Run the pass over the graph; where something is in its way, or computed of the whole image, run it over windows.

    That pass is taken where nothing is in its way, and no output has the windows of a map instead of its cells.
    """
    found = _settled(task, training)
    slider, _ = found
    if not slider.obstacles and not slider.flattened:
        return found
    other = _settled(task, training, slider.inner - slider.flattened, unfolding=True)
    ends = [form for name in task.graph.outputs if (form := other[0].forms.get(name)) is not None]
    windows = any(form.parts is not None and form.rank > SPACE and len(form.layout) == form.rank for form in ends)
    return found if other[0].obstacles or windows else other


def _settled(
    task: _Task, training: Training, inner: frozenset[str] = frozenset(), *, unfolding: bool = False
) -> tuple[Slider, dict[str, Payload]]:
    """Run the pass over the graph, again where pooling turns out to be within the backbone, or beside other pooling."""
    beside: frozenset[str] = frozenset()
    while True:
        payloads = dict(task.file.payloads)
        tensors = Tensors(task.constants, set(task.graph.names), payloads, lambda _: False)
        slider = Slider(task.graph, task.constants, tensors, training, inner, beside, task.options, task.kept)
        slider.unfolding = unfolding
        for name, image in task.images.items():
            slider.images[name] = replace(image, shape=training.shapes.get(name, ()))
            _enter(slider, name, slider.images[name])
        slider.run()
        join_outputs(slider)
        more = spread_pools(slider)
        level = frozenset(last_of(slider, slider.whole, obstacles.mixed_stride_values(slider, slider.images)))
        if more <= inner and level <= beside:
            slider.obstacles += slider.windowless
            slider.obstacles += [obstacles.of_spread(slider, node, form) for node, form in slider.spread]
            return slider, payloads
        inner |= more
        beside |= level if more <= inner else frozenset()


def _enter(slider: Slider, name: str, image: Image) -> None:
    """Set the map of an input: the input itself, or with its dimensions in the order of a map."""
    if not image.shape:
        value = next(each for each in slider.graph.proto.input if each.name == name)
        slider.obstacles.append(inputs.unknown(slider.constants, value))
        return
    shape, layout = image.shape, image.layout
    rank = max(axes[0] for axes in layout) + 1
    order = sorted(range(len(shape)), key=lambda dim: layout[dim])
    made = name
    if order != list(range(len(shape))):
        made = slider.add("Transpose", [made], f"{name}_map", perm=order)
    channel_dims = [dim for dim in order if layout[dim] == (CHANNELS,)]
    sizes = [prod(shape[dim] for dim in range(len(shape)) if layout[dim] == (axis,)) for axis in range(rank)]
    if len(channel_dims) > 1:
        made = _flat_channels(slider, made, order.index(channel_dims[0]), len(channel_dims), sizes[CHANNELS])
    missing = tuple(axis for axis in range(rank) if (axis,) not in layout)
    if missing:
        made = slider.add("Unsqueeze", [made], f"{name}_map", axes=missing)
    if made != name:
        for axis in range(SPACE, rank):
            slider.steps.setdefault(axis, []).append(Step(made, (name,)))
    form = Form(made, layout, tuple(sizes), image.free)
    if len(channel_dims) > 1:
        channels = np.arange(sizes[CHANNELS]).reshape([shape[dim] for dim in channel_dims])
        first = next(node for node in slider.graph.nodes if name in node.input)
        parts = Parts(channels, first, "it holds the channels in several dimensions")
        form = replace(form, parts=parts).holding(channels)
    slider.forms[name] = form


def _flat_channels(slider: Slider, name: str, first: int, count: int, channels: int) -> str:
    """Reshape an input so that its several dimensions of channels are one."""
    shape = slider.add("Shape", [name], f"{name}_shape")
    before = [slider.add("Slice", [shape], f"{name}_before", starts=[0], ends=[first])] if first else []
    behind = slider.add("Slice", [shape], f"{name}_behind", starts=[first + count], ends=[TO_THE_END])
    flat = slider.tensors.ints((channels,), "channels")
    sizes = slider.add("Concat", [*before, flat, behind], f"{name}_sizes", axis=0)
    return slider.add("Reshape", [name, sizes], f"{name}_channels")
