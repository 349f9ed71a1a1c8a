"""The nodes of a layer as a convolution, one function for each arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import label, new_node
from fc2conv.layers import FCLayer, Floating, Integer, QLinear
from fc2conv.layers.quantized import uniform
from fc2conv.layout.axes import Layout
from fc2conv.rewrite.tensors import Tensors

_ADD_IN_RUNTIME = 7
"""The least opset whose Add onnxruntime runs; older models have Sum."""


@dataclass(frozen=True)
class Place:
    """The place of a convolution: what it reads and makes, and its kernel by name and shape.

    With `unsigned` the kernel's integers are 128 more than the weight's, and so is their zero point.
    """

    read: str
    made: str
    kernel: str
    shape: tuple[int, ...]
    groups: int = 1
    unsigned: bool = False


def plus(opset: int) -> str:
    """Return the operator that adds values of one shape."""
    return "Add" if opset >= _ADD_IN_RUNTIME else "Sum"


def convolution(layer: FCLayer, place: Place, tensors: Tensors) -> list[NodeProto]:
    """Write the nodes that compute the layer from its input's spatial form (without what Gemm adds beyond a bias)."""
    if isinstance(layer.arithmetic, QLinear):
        return [_qlinear(layer, layer.arithmetic, place, tensors)]
    if isinstance(layer.arithmetic, Integer):
        return _integer(layer, layer.arithmetic, place, tensors)
    return _floating(layer, layer.arithmetic, place, tensors)


def _conv(op_type: str, inputs: Sequence[str], made: str, name: str, place: Place) -> NodeProto:
    """Make a convolution with the operator's default strides, pads and dilations, and with the groups of `place`."""
    groups = place.groups if place.groups != 1 else None
    return new_node(op_type, inputs, [made], name, kernel_shape=list(place.shape[2:]), group=groups)


def _floating(layer: FCLayer, arithmetic: Floating, place: Place, tensors: Tensors) -> list[NodeProto]:
    inputs = [place.read, place.kernel, *([tensors.bias(layer)] if layer.bias else [])]
    if arithmetic.activation is None:
        return [_conv("Conv", inputs, place.made, label(layer.node), place)]
    before = tensors.unique(f"{layer.output}_linear")
    name = tensors.unique(f"{label(layer.node)}_{arithmetic.activation.op_type.lower()}")
    activation = arithmetic.activation
    return [
        _conv("Conv", inputs, before, label(layer.node), place),
        new_node(activation.op_type, [before], [place.made], name, **activation.attributes),
    ]


def _qlinear(layer: FCLayer, arithmetic: QLinear, place: Place, tensors: Tensors) -> NodeProto:
    count = place.shape[0]
    inputs = [
        place.read, arithmetic.x_scale, arithmetic.x_zero_point,
        place.kernel, tensors.flat(arithmetic.w_scale, count), tensors.flat(arithmetic.w_zero_point, count),
        arithmetic.y_scale, arithmetic.y_zero_point,
    ]  # fmt: skip
    if layer.bias:
        inputs.append(tensors.bias(layer))
    return _conv("QLinearConv", inputs, place.made, label(layer.node), place)


def _integer(layer: FCLayer, arithmetic: Integer, place: Place, tensors: Tensors) -> list[NodeProto]:
    """Write a ConvInteger, after a DynamicQuantizeLinear and before Cast, Mul (and Add) where the layer had them."""
    name = label(layer.node)
    out: list[NodeProto] = []
    read, x_zero_point, x_scale = place.read, arithmetic.x_zero_point, arithmetic.x_scale
    if arithmetic.quantizes:
        made = [tensors.unique(f"{layer.x}_{part}") for part in ("quantized", "scale", "zero_point")]
        out.append(new_node("DynamicQuantizeLinear", [read], made, tensors.unique(f"{name}_quantize")))
        read, x_scale, x_zero_point = made
    scaled = bool(arithmetic.w_scale)
    summed = tensors.unique(f"{layer.output}_integer") if scaled else place.made
    value = uniform(tensors.constants, arithmetic.w_zero_point) if arithmetic.w_zero_point else None
    if arithmetic.w_zero_point and value is None:
        out += _split(layer, [read, x_zero_point], arithmetic.w_zero_point, replace(place, made=summed), tensors)
    else:
        if place.unsigned:
            value = np.array((0 if value is None else int(value)) + 128, np.uint8)
        zero_name = f"{arithmetic.w_zero_point or layer.weight + '_zero_point'}_scalar"
        zero_point = "" if value is None else tensors.value(np.asarray(value), zero_name)
        out.append(_conv("ConvInteger", _given(read, place.kernel, x_zero_point, zero_point), summed, name, place))
    return out + _scaled(layer, arithmetic.w_scale, x_scale, summed, place, tensors) if scaled else out


def without_sign(layer: FCLayer, constants: Constants, cells: Layout) -> bool:
    """Return whether a layer's int8 kernel is written without a sign: onnxruntime multiplies it faster over many cells.

    There the kernel is the left factor of a product: with a sign it takes about 4 times as long over 49 to 196 cells
    (onnxruntime 1.32, AVX2). For one cell, or where x has a sign, the kernel with a sign is the better one. The sums
    are the same.
    """
    arithmetic, stored = layer.arithmetic, constants.stored(layer.weight)
    if not isinstance(arithmetic, Integer) or stored is None or stored.replay or stored.filled or not any(cells):
        return False
    zeros = arithmetic.w_zero_point
    if stored.data_type != TensorProto.INT8 or (zeros and uniform(constants, zeros) is None):
        return False
    maker = constants.graph.made_by(arithmetic.x_zero_point)
    known = constants.stored(arithmetic.x_zero_point) if arithmetic.x_zero_point else None
    dynamic = arithmetic.quantizes or (maker is not None and maker.op_type == "DynamicQuantizeLinear")
    return dynamic or (known is not None and known.type == TensorProto.UINT8)


def _given(*inputs: str) -> list[str]:
    """Return operands without the absent ones at the end."""
    last = max(i for i, name in enumerate(inputs) if name)
    return list(inputs[: last + 1])


def _split(layer: FCLayer, read: Sequence[str], zeros: str, place: Place, tensors: Tensors) -> list[NodeProto]:
    """Subtract a zero point z[m] for each output, which ConvInteger does not take.

    sum_k x[k] (w[m, k] - z[m]) = sum_k x[k] w[m, k] - z[m] sum_k x[k]: both sums are integer convolutions, the second
    with a kernel of ones. The zero point of x is within x.
    """
    x, x_zero_point = read
    name, values = label(layer.node), tensors.constants.array(zeros)
    stored = tensors.constants.stored(layer.weight)
    assert values is not None
    assert stored is not None
    ones = np.ones((1, *place.shape[1:]), helper.tensor_dtype_to_np_dtype(stored.type))
    shape = (1, place.shape[0], *(1 for _ in place.shape[2:]))
    factor = tensors.value(values.astype(np.int32).reshape(shape), f"{zeros}_each")
    products, sums = tensors.unique(f"{layer.output}_products"), tensors.unique(f"sums_of_{x}")
    shift = tensors.unique(f"sums_of_{x}_shift")
    kernel = tensors.value(ones, f"{layer.weight}_ones")
    return [
        _conv("ConvInteger", _given(x, place.kernel, x_zero_point), products, name, place),
        _conv("ConvInteger", _given(x, kernel, x_zero_point), sums, tensors.unique(f"sums_of_{x}"), place),
        new_node("Mul", [sums, factor], [shift], tensors.unique(f"sums_of_{x}_shift")),
        new_node("Sub", [products, shift], [place.made], tensors.unique(f"{name}_shifted")),
    ]


def _scaled(layer: FCLayer, w_scale: str, x_scale: str, summed: str, place: Place, tensors: Tensors) -> list[NodeProto]:
    """Write float(sum) * (x_scale * w_scale) + bias, in the order in which onnxruntime's fused operators compute it."""
    name = label(layer.node)
    shape = (1, place.shape[0], *(1 for _ in place.shape[2:]))
    floats, scale = tensors.unique(f"{layer.output}_float"), tensors.unique(f"{layer.output}_scale")
    product = tensors.unique(f"{layer.output}_scaled") if layer.bias else place.made
    out = [
        new_node("Cast", [summed], [floats], tensors.unique(f"{name}_cast"), to=TensorProto.FLOAT),
        new_node("Mul", [x_scale, tensors.spread(w_scale, shape)], [scale], tensors.unique(f"{name}_scales")),
        new_node("Mul", [floats, scale], [product], tensors.unique(f"{name}_scale")),
    ]
    if layer.bias:
        bias = tensors.spread(layer.bias, shape)
        out.append(new_node("Add", [product, bias], [place.made], tensors.unique(f"{name}_add")))
    return out
