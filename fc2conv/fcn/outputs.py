"""The ends of a sliding network: its outputs as maps, pooled answers and class activation maps beside them, Resize."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from onnx import NodeProto, TensorProto

from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Form
from fc2conv.fcn.inputs import letters
from fc2conv.fcn.lattice import Lattice
from fc2conv.fcn.padding import cut_rim, pad_heads
from fc2conv.fcn.slider import Pool, Slider, Stuck
from fc2conv.fcn.upsampling import check_opset, upsample
from fc2conv.ir.graph import int_attribute, op
from fc2conv.options import SlidingOptions
from fc2conv.reasons import Code, Reason

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_PASSED = ("Dropout", "Identity")


@dataclass(frozen=True)
class End:
    """One output of the sliding model: of which original output, what it shows, and the map behind it.

    `form` is that map's, under its name in the new graph; `shape` is the output's, with symbols for what grows.
    `shifts` are the cells that --padding adds in front of the first one, along each axis; negative, and 0 without.
    """

    output: str
    of: str
    kind: Literal["map", "mean", "max", "cam"]
    form: Form
    shape: tuple[int | str, ...]
    upsampled: str = ""
    scores: str = ""
    kernel: tuple[int, ...] = ()
    shifts: Mapping[int, int] = field(default_factory=dict)


def finish(slider: Slider, options: SlidingOptions, lattice: Lattice) -> list[End]:
    """Makes the outputs; what they lack is added to the obstacles. Raises UsageError for --upsample below opset 11."""
    shifts: dict[int, int] = {}
    if options.padding == "same" and not slider.obstacles:
        try:
            shifts = pad_heads(slider, lattice)
        except Stuck as stuck:
            slider.obstacles.append(stuck.reason)
    if options.upsample:
        check_opset(slider.graph.opset)
    kinds = {value.name: value.type.tensor_type.elem_type for value in slider.graph.proto.output}
    ends: list[End] = []
    kept = set(slider.graph.inputs)
    for name in dict.fromkeys(slider.graph.outputs):
        if name not in slider.forms:
            continue
        floats = kinds[name] in _FLOATS
        upsampled = options.upsample and floats and bool(slider.forms[name].free)
        map_name = slider.tensors.unique(f"{name}_map") if upsampled else name
        form, cut = slider.forms[name], dict[int, int]()
        if options.padding == "valid":
            form, cut = _inner(slider, name, form, lattice, kept)
        form = _renamed(slider, form, map_name, kept)
        kept |= {name, map_name}
        moved = {axis: shifts.get(axis, 0) if form.sizes[axis] == 1 else 0 for axis in form.free} | cut
        if upsampled:
            ends.append(_upsampled(slider, name, form, moved, lattice))
        else:
            ends.append(End(name, name, "map", form, _shape(name, form), shifts=moved))
        if options.reduce != "none" and floats:
            ends.append(_pooled(slider, name, ends[-1].form, options.reduce))
    if options.cam and not slider.obstacles:
        cams = list(_cams(slider))
        if not cams:
            slider.obstacles.append(Reason(Code.NO_CLASS_ACTIVATION, ", ".join(end.output for end in ends)))
        ends += [_inner_cam(slider, cam, lattice, kept) for cam in cams] if options.padding == "valid" else cams
    return ends


def _inner(slider: Slider, output: str, form: Form, lattice: Lattice, kept: set[str]) -> tuple[Form, dict[int, int]]:
    """A map without the cells that read padding, and how many are left out in front of the first one."""
    full = _renamed(slider, form, slider.tensors.unique(f"{output}_full"), kept)
    try:
        name, cut = cut_rim(slider, output, full, lattice)
    except Stuck as stuck:
        slider.obstacles.append(stuck.reason)
        return full, {}
    return replace(full, name=name), cut


def _inner_cam(slider: Slider, cam: End, lattice: Lattice, kept: set[str]) -> End:
    form, cut = _inner(slider, cam.output, cam.form, lattice, kept)
    form = _renamed(slider, form, cam.output, kept)
    return replace(cam, form=form, shifts=cut)


def _renamed(slider: Slider, form: Form, new: str, kept: set[str]) -> Form:
    """Gives a map another name everywhere; one whose name is kept, of an input or another output, is copied."""
    old = form.name
    if old == new:
        return form
    if old in kept:
        same = slider.tensors.unique(f"{new}_same")
        slider.nodes.append(NodeProto(op_type="Identity", name=same, input=[old], output=[new]))
        slider.trace(new, [form])
        slider.forms[new] = replace(form, name=new)
        return slider.forms[new]
    for node in slider.nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new

    def change(name: str) -> str:
        return new if name == old else name

    for steps in slider.steps.values():
        steps[:] = [replace(step, made=change(step.made), read=tuple(map(change, step.read))) for step in steps]
    slider.pools[:] = [replace(pool, read=change(pool.read), made=change(pool.made)) for pool in slider.pools]
    slider.forms.update({key: replace(each, name=change(each.name)) for key, each in slider.forms.items()})
    return replace(form, name=new)


def _shape(output: str, form: Form) -> tuple[int | str, ...]:
    names = letters(form.rank)
    return tuple(f"{output}_{names[axis]}" if axis in form.free else size for axis, size in enumerate(form.sizes))


def _pooled(slider: Slider, output: str, form: Form, kind: Literal["mean", "max"]) -> End:
    """One answer for the whole image: [N, M]."""
    operator = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}[kind]
    whole = slider.add(operator, [form.name], f"{output}_{kind}_cell")
    made = slider.tensors.unique(f"{output}_{kind}")
    slider.add("Flatten", [whole], f"{output}_{kind}_flat", axis=1)
    slider.nodes[-1].output[0] = made
    return End(made, output, kind, form, form.sizes[: CHANNELS + 1])


def _upsampled(slider: Slider, output: str, form: Form, shifts: Mapping[int, int], lattice: Lattice) -> End:
    """The map at the size of its input."""
    try:
        source = upsample(slider, output, form, shifts, lattice)
    except Stuck as stuck:
        slider.obstacles.append(stuck.reason)
        source = ""
    return End(output, output, "map", form, _shape(output, form), upsampled=source, shifts=shifts)


# ------------------------------------------------------------------ class activation maps


def _cams(slider: Slider) -> Iterator[End]:
    """One end for each head of mean pooling and one 1x1 convolution: that convolution, of the map before the pooling.

    The mean and the 1x1 convolution are both linear, and the mean of a bias is the bias, so that they may swap.
    """
    for pool in list(slider.pools):
        layer = _only_layer(slider, pool) if pool.action != "within" and _is_mean(pool) else None
        output = _output_behind(slider, layer.output[0]) if layer is not None else None
        if layer is None or output is None:
            continue
        made = slider.tensors.unique(f"{output}_cam")
        node = NodeProto()
        node.CopyFrom(layer)
        node.name = slider.tensors.unique(f"{layer.name or output}_cam")
        node.input[0], node.output[0] = pool.read, made
        slider.nodes.append(node)
        before = next(form for form in slider.forms.values() if form.name == pool.read)
        scores = next(form for form in slider.forms.values() if form.name == layer.output[0])
        sizes = (before.sizes[BATCH], scores.sizes[CHANNELS], *before.sizes[SPACE:])
        form = Form(made, before.layout, sizes, before.free)
        slider.trace(made, [before])
        yield End(made, output, "cam", form, _shape(made, form), scores=layer.output[0], kernel=pool.kernel)


def _is_mean(pool: Pool) -> bool:
    return op(pool.node) in ("GlobalAveragePool", "AveragePool", "ReduceMean")


def _only_layer(slider: Slider, pool: Pool) -> NodeProto | None:
    """The one reader of the pooled map, if that is a convolution of one cell, in one group, without padding."""
    name = pool.made
    while True:
        readers = [node for node in slider.nodes if name in node.input]
        if len(readers) != 1:
            return None
        if readers[0].op_type in _PASSED:
            name = readers[0].output[0]
            continue
        node = readers[0]
        plain = op(node) == "Conv" and int_attribute(node, "group", 1) == 1 and node.input[0] == name
        kernel = slider.constants.shape(node.input[1]) if plain else None
        return node if kernel is not None and all(size == 1 for size in kernel[SPACE:]) else None


def _output_behind(slider: Slider, name: str) -> str | None:
    """The first output that a value leads to."""
    outputs = {slider.forms[each].name: each for each in slider.graph.outputs if each in slider.forms}
    todo, seen = [name], set()
    while todo:
        each = todo.pop(0)
        if each in outputs:
            return outputs[each]
        if each not in seen:
            seen.add(each)
            todo += [made for node in slider.nodes if each in node.input for made in node.output]
    return None
