"""The element types of the values of a graph, inferred where they are asked for."""

from __future__ import annotations

from onnx import TensorProto, shape_inference

from fc2conv.fcn.slider import Slider
from fc2conv.io.forms import checkable


def kind_of(slider: Slider, name: str) -> int:
    """The element type of a value; float where it is not known."""
    if not slider.kinds:
        model = checkable(slider.constants.file.model)
        del model.graph.value_info[:]
        graph = shape_inference.infer_shapes(model).graph
        values = (*graph.value_info, *graph.output, *graph.input)
        slider.kinds.update({value.name: value.type.tensor_type.elem_type for value in values})
    return slider.kinds.get(name) or TensorProto.FLOAT
