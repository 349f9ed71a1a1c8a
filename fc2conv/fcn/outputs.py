"""The ends of a sliding network: its outputs as maps, pooled answers and class activation maps beside them, Resize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

from onnx import TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.activations import Activation, activation_map
from fc2conv.fcn.forms import CHANNELS, Form
from fc2conv.fcn.inputs import letters
from fc2conv.fcn.padding import cut_rim, pad_heads
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.fcn.upsampling import check_opset, upsample
from fc2conv.options import SlidingOptions
from fc2conv.reasons import Reason
from fc2conv.verification.spec import CamClaim

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_SCORED = (*FLOATS, TensorProto.INT64, TensorProto.INT32)


@dataclass(frozen=True)
class End:
    """One output of the sliding model: the original output, what it shows of it, and the map that it is made from.

    `form` is that map's, under its name in the new graph; `shape` is the output's, with symbols for what grows.
    `shifts` are the cells that --padding cuts off before the first one, along each axis; negative for added ones.
    """

    output: str
    of: str
    kind: Literal["map", "mean", "max", "cam"]
    form: Form
    shape: tuple[int | str, ...]
    upsampled: str = ""
    cam: CamClaim | None = None
    shifts: Mapping[int, int] = field(default_factory=dict)


def finish(slider: Slider, options: SlidingOptions, cams: Sequence[End] | None = None) -> list[End]:
    """Make the outputs; add what they lack to the obstacles. Raise UsageError for --upsample below opset 11.

    `cams` are the class activation maps where they were made already.
    """
    shifts: dict[int, int] = {}
    if options.padding == "same" and not slider.obstacles:
        try:
            shifts = pad_heads(slider)
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
        floats = kinds[name] in FLOATS
        upsampled = options.upsample and floats and bool(slider.forms[name].free)
        map_name = slider.tensors.unique(f"{name}_map") if upsampled else name
        form, cut = slider.forms[name], dict[int, int]()
        if options.padding == "valid":
            form, cut = _inner(slider, name, form, kept)
        form = _renamed(slider, form, map_name, kept)
        kept |= {name, map_name}
        moved = {axis: shifts.get(axis, 0) if form.sizes[axis] == 1 else 0 for axis in form.free} | cut
        if upsampled:
            ends.append(_upsampled(slider, name, form, moved))
        else:
            ends.append(End(name, name, "map", form, _shape(name, form), shifts=moved))
        if options.reduce != "none" and floats:
            ends.append(_pooled(slider, name, ends[-1].form, options.reduce))
    if options.cam and not slider.obstacles:
        cams = activation_maps(slider) if cams is None else cams
        ends += [_inner_cam(slider, cam, kept) for cam in cams] if options.padding == "valid" else cams
    return ends


def _inner(slider: Slider, output: str, form: Form, kept: set[str]) -> tuple[Form, dict[int, int]]:
    """Cut off the cells of a map that read padding; return it, and by axis how many are cut off in front."""
    full = _renamed(slider, form, slider.tensors.unique(f"{output}_full"), kept)
    try:
        name, cut = cut_rim(slider, output, full)
    except Stuck as stuck:
        slider.obstacles.append(stuck.reason)
        return full, {}
    return replace(full, name=name), cut


def _inner_cam(slider: Slider, cam: End, kept: set[str]) -> End:
    form, cut = _inner(slider, cam.output, cam.form, kept)
    form = _renamed(slider, form, cam.output, kept)
    return replace(cam, form=form, shifts=cut)


def _renamed(slider: Slider, form: Form, new: str, kept: set[str]) -> Form:
    """Give a map another name everywhere; copy one whose name is kept, of an input or another output."""
    old = form.name
    if old == new:
        return form
    if old in kept:
        slider.add("Identity", [old], f"{new}_same", made=new)
        slider.trace(new, [form])
        slider.forms[new] = replace(form, name=new)
        return slider.forms[new]
    if any(new in node.output for node in slider.nodes):  # the same channels in another order
        _rename(slider, new, slider.tensors.unique(f"{new}_unordered"))
    _rename(slider, old, new)
    return replace(form, name=new)


def _rename(slider: Slider, old: str, new: str) -> None:
    """Give a value of the new graph a name that no other has."""
    for node in slider.nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new

    def change(name: str) -> str:
        return new if name == old else name

    for steps in slider.steps.values():
        steps[:] = [replace(step, made=change(step.made), read=tuple(map(change, step.read))) for step in steps]
    slider.whole = set(map(change, slider.whole))
    slider.pools[:] = [replace(pool, read=change(pool.read), made=change(pool.made)) for pool in slider.pools]
    slider.forms.update({key: replace(each, name=change(each.name)) for key, each in slider.forms.items()})


def _shape(output: str, form: Form) -> tuple[int | str, ...]:
    names = letters(form.rank)
    return tuple(f"{output}_{names[axis]}" if axis in form.free else size for axis, size in enumerate(form.sizes))


def _pooled(slider: Slider, output: str, form: Form, kind: Literal["mean", "max"]) -> End:
    """Pool a map to one answer for the whole image: [N, M]."""
    operator = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}[kind]
    whole = slider.add(operator, [form.name], f"{output}_{kind}_cell")
    made = slider.tensors.unique(f"{output}_{kind}")
    slider.add("Flatten", [whole], f"{output}_{kind}_flat", made=made, axis=1)
    return End(made, output, kind, form, form.sizes[: CHANNELS + 1])


def _upsampled(slider: Slider, output: str, form: Form, shifts: Mapping[int, int]) -> End:
    try:
        source = upsample(slider, output, form, shifts)
    except Stuck as stuck:
        slider.obstacles.append(stuck.reason)
        source = ""
    return End(output, output, "map", form, _shape(output, form), upsampled=source, shifts=shifts)


def activation_maps(slider: Slider) -> list[End]:
    """Make the class activation maps of the outputs that have one; where no output has one, add why to the obstacles.

    Where other modes change the pooling that the maps are read from, make them before.
    """
    kinds = {value.name: value.type.tensor_type.elem_type for value in slider.graph.proto.output}
    names = [name for name in dict.fromkeys(slider.graph.outputs) if name in slider.forms and kinds[name] in _SCORED]
    found = [(of, activation_map(slider, of, slider.forms[of].name, f"{of}_cam")) for of in names]
    made = [(of, each) for of, each in found if isinstance(each, Activation)]
    slider.obstacles += [each for _, each in found if isinstance(each, Reason) and not made]
    return [
        End(each.form.name, of, "cam", each.form, _shape(each.form.name, each.form), cam=each.claim)
        for of, each in made
    ]
