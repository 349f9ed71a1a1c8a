"""The ends of a sliding network: outputs as maps, answers and class activation maps beside them; its graph and file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

import msgspec
import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, shape_inference

from fc2conv.dataclass import dataclass
from fc2conv.errors import UsageError
from fc2conv.fcn.activations import activation_map
from fc2conv.fcn.forms import BATCH, CHANNELS, Form
from fc2conv.fcn.inputs import letters, symbol
from fc2conv.fcn.lattice import upsample
from fc2conv.fcn.padding import cut_rim, pad_heads
from fc2conv.fcn.placed import KEY
from fc2conv.fcn.slider import RESIZE, Slider, Stuck
from fc2conv.fcn.stage import RECIPE
from fc2conv.io.forms import checkable
from fc2conv.io.sizes import declared_size
from fc2conv.options import SlidingOptions
from fc2conv.reasons import Reason
from fc2conv.report.sliding import SlidingOutput
from fc2conv.rewrite.swap import alive, put, renamed
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
        with slider.noting():
            shifts = pad_heads(slider)
    if options.upsample and slider.graph.opset < RESIZE:
        what = f"--upsample needs Resize of opset {RESIZE}, and the model has opset {slider.graph.opset}"
        raise UsageError(what, "convert the model with onnx.version_converter, or leave out --upsample")
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
    with slider.noting():
        return cut_rim(slider, output, full)
    return full, {}


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
        slider.forms[new] = copy = slider.derived(form, new)
        return copy
    if any(new in node.output for node in slider.nodes):  # the same channels in another order
        _rename(slider, new, slider.tensors.unique(f"{new}_unordered"))
    _rename(slider, old, new)
    return replace(form, name=new)


def _rename(slider: Slider, old: str, new: str) -> None:
    """Give a value of the new graph a name that no other has."""
    renamed(slider.nodes, {old: new})

    def change(name: str) -> str:
        return new if name == old else name

    for steps in slider.steps.values():
        steps[:] = [replace(step, made=change(step.made), read=tuple(map(change, step.read))) for step in steps]
    slider.apart = {axis: {change(name): by for name, by in known.items()} for axis, known in slider.apart.items()}
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
    source = ""
    with slider.noting():
        source = upsample(slider, output, form, shifts)
    return End(output, output, "map", form, _shape(output, form), upsampled=source, shifts=shifts)


def activation_maps(slider: Slider) -> list[End]:
    """Make the class activation maps of the outputs that have one; where no output has one, add why to the obstacles.

    Where other modes change the pooling that the maps are read from, make them before.
    """
    kinds = {value.name: value.type.tensor_type.elem_type for value in slider.graph.proto.output}
    names = [name for name in dict.fromkeys(slider.graph.outputs) if name in slider.forms and kinds[name] in _SCORED]
    made, reasons = list[End](), list[Reason]()
    for of in names:
        try:
            form, claim = activation_map(slider, of, slider.forms[of].name, f"{of}_cam")
            made.append(End(form.name, of, "cam", form, _shape(form.name, form), cam=claim))
        except Stuck as stuck:
            reasons.append(stuck.reason)
    slider.obstacles += [] if made else reasons
    return made


# ------------------------------------------------------------------ the new graph


def assemble(
    model: ModelProto, slider: Slider, made: Sequence[End], described: Sequence[SlidingOutput], how: str
) -> None:
    """Replace the graph: new nodes, maps as outputs, symbols for what grows; note geometry and `how` as metadata."""
    graph = model.graph
    had_info = bool(graph.value_info)
    _open_inputs(graph, slider)
    declared = {value.name: value for value in graph.output}
    names = {end.output for end in made}
    batch = _batch(graph, slider)
    outputs = [
        *(_output(end, declared[end.of], batch, _float_type(graph)) for end in made),
        *(v for v in graph.output if v.name not in names),
    ]
    wanted = {value.name for value in outputs}
    nodes, read = alive([*slider.tensors.drained(), *slider.nodes], wanted)
    old, new = slider.tensors.initializers(slider.graph.read, read)
    put(slider.graph, nodes, old, new)
    graph.ClearField("output")
    graph.ClearField("value_info")
    graph.output.extend(outputs)
    # A key that is no UTF-8 comes as bytes.
    others = [e for e in model.metadata_props if not str(e.key).startswith(KEY) and e.key != RECIPE]
    model.ClearField("metadata_props")
    model.metadata_props.extend(others)
    for output in described:
        model.metadata_props.add(key=f"{KEY}{output.output}", value=_metadata(output))
    model.metadata_props.add(key=RECIPE, value=how)
    if had_info:
        _regenerate(model)


def _open_inputs(graph: GraphProto, slider: Slider) -> None:
    """Give each size that slides a symbol, with the input's name if its letter is taken or inputs are several."""
    taken = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim}
    taken |= set("NCLDHW") if len(slider.images) > 1 else set()
    for value in graph.input:
        image, shape = slider.images.get(value.name), value.type.tensor_type.shape
        if image is None:
            continue
        while len(shape.dim) < len(image.shape):  # it was declared without a shape
            axes = image.layout[len(shape.dim)]
            shape.dim.add(**({} if axes == (BATCH,) else {"dim_value": image.shape[len(shape.dim)]}))
        for axis, dim in image.dims.items():
            shape.dim[dim].dim_param = symbol(value, dim, axis, slider.forms[value.name].rank, taken)


def _batch(graph: GraphProto, slider: Slider) -> int | str:
    """Return the batch of the first input that slides: a size, a symbol, or 1 where no dimension is the batch."""
    value = next(value for value in graph.input if value.name in slider.images)
    if slider.images[value.name].layout[0] != (BATCH,):
        return 1  # one image without a dimension for it
    dim = value.type.tensor_type.shape.dim[0]
    return declared_size(dim) or str(dim.dim_param) or "N"


def _output(end: End, declared: ValueInfoProto, batch: int | str, scores: int) -> ValueInfoProto:
    """Declare an output as a map: [N, M, *S] with symbols for what grows."""
    kind = declared.type.tensor_type.elem_type
    if end.kind == "cam" and kind not in FLOATS:
        kind = scores  # the output is the best class
    if not kind:
        return ValueInfoProto(name=end.output)  # it was declared without a type
    shape = [batch if axis == BATCH else size for axis, size in enumerate(end.shape)]
    return helper.make_tensor_value_info(end.output, kind, shape)


def _float_type(graph: GraphProto) -> int:
    """Return the floating-point type of the weights that a network computes with (default: FLOAT)."""
    kinds = (tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1)
    return next((kind for kind in kinds if kind in FLOATS), TensorProto.FLOAT)


def _regenerate(model: ModelProto) -> None:
    try:
        found = shape_inference.infer_shapes(checkable(model))
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
        return  # a model without value_info is as good
    model.graph.value_info.extend(found.graph.value_info)


def _metadata(output: SlidingOutput) -> str:
    """Write the kind and the axes of an output for `metadata_props`, as one line of JSON with sorted keys."""
    axes = [msgspec.structs.asdict(axis) for axis in output.axes]
    for axis in axes:
        del axis["every"]  # 1 in a file, and for a report alone
    fields = {"axes": axes, "kind": output.kind, "of": output.of, "upsampled": output.upsampled}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
