"""The graph of a sliding model: what the pass has made instead of the old nodes, and what the file says of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, shape_inference

from fc2conv.fcn import inputs, recipe
from fc2conv.fcn.forms import BATCH
from fc2conv.fcn.outputs import FLOATS, End
from fc2conv.fcn.placed import KEY
from fc2conv.fcn.slider import Slider
from fc2conv.io.forms import checkable
from fc2conv.io.sizes import declared_size
from fc2conv.report.sliding import SlidingOutput
from fc2conv.rewrite.swap import alive, put


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
    for field in ("output", "value_info"):
        graph.ClearField(field)
    graph.output.extend(outputs)
    # A key that is no UTF-8 comes as bytes.
    others = [e for e in model.metadata_props if not str(e.key).startswith(KEY) and e.key != recipe.KEY]
    model.ClearField("metadata_props")
    model.metadata_props.extend(others)
    for output in described:
        model.metadata_props.add(key=f"{KEY}{output.output}", value=_metadata(output))
    model.metadata_props.add(key=recipe.KEY, value=how)
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
            shape.dim[dim].dim_param = inputs.symbol(value, dim, axis, slider.forms[value.name].rank, taken)


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
