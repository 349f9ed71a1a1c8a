"""The example that the project began with, by hand: three inputs, two outputs, a ReLU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from execute import run
from onnx import ModelProto, numpy_helper

import fc2conv

WEIGHT = [[0, 1, 1], [2, 3, 5]]
BIAS = [8, 13]
LAYER = """<ir_version: 8, opset_import: ["" : 13]>
seed (float[1,3,1,1] x) => (float[1,2] y)
<float[2,3] weight = {0, 1, 1, 2, 3, 5}, float[2] bias = {8, 13}>
{
  flat = Flatten (x)
  [fc] sum = Gemm <transB = 1> (flat, weight, bias)
  y = Relu (sum)
}"""
BY_HAND = [
    ((1, 2, 3), (13, 36)),  # 0*1 + 1*2 + 1*3 + 8 = 13; 2*1 + 3*2 + 5*3 + 13 = 36
    ((0, 0, 0), (8, 13)),  # the biases alone
    ((1, -10, -1), (0, 0)),  # -10 - 1 + 8 = -3 and 2 - 30 - 5 + 13 = -20: the ReLU cuts both
    ((-4, 2, -3), (7, 0)),  # 2 - 3 + 8 = 7; -8 + 6 - 15 + 13 = -4
]


def convolve(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The 1x1 convolution over [1, 3, 1, 1] written out, with its ReLU, as [1, 2, 1, 1]."""
    kernel = np.array(WEIGHT, np.float32).reshape(2, 3, 1, 1)
    out = np.zeros((1, 2, 1, 1), np.float32)
    for m in range(2):
        out[0, m, 0, 0] = sum(kernel[m, c, 0, 0] * x[0, c, 0, 0] for c in range(3)) + BIAS[m]
    return np.maximum(out, 0)


@pytest.fixture(scope="module")
def layer() -> ModelProto:
    return onnx.parser.parse_model(LAYER)


@pytest.fixture(scope="module")
def convolution(layer: ModelProto) -> ModelProto:
    return fc2conv.convert(layer).model


@pytest.mark.parametrize(("inputs", "outputs"), BY_HAND)
def test_layer_and_convolution_by_hand_agree(
    layer: ModelProto, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    x = np.array(inputs, np.float32).reshape(1, 3, 1, 1)
    assert run(layer, {"x": x})[0].tolist() == [list(outputs)]
    assert convolve(x).reshape(1, 2).tolist() == [list(outputs)]


@pytest.mark.parametrize(("inputs", "outputs"), BY_HAND)
def test_converted_model_gives_the_same(
    convolution: ModelProto, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    x = np.array(inputs, np.float32).reshape(1, 3, 1, 1)
    assert run(convolution, {"x": x})[0].tolist() == [list(outputs)]


def test_the_convolution_is_what_it_should_be(convolution: ModelProto) -> None:
    conv = next(node for node in convolution.graph.node if node.op_type == "Conv")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in convolution.graph.initializer}
    assert conv.name == "fc"
    assert conv.input[0] == "x"
    assert tensors[conv.input[1]].tolist() == [[[[0]], [[1]], [[1]]], [[[2]], [[3]], [[5]]]]
    assert tensors[conv.input[2]].tolist() == BIAS
    assert "Gemm" not in {node.op_type for node in convolution.graph.node}


def test_the_report_says_so(layer: ModelProto) -> None:
    (found,) = fc2conv.plan(layer, fc2conv.Options()).sites
    assert (found.node, found.decision, found.kernel_shape) == ("fc", "convert", [1, 1])
    assert (found.weight, found.weight_before, found.weight_after) == ("weight", [2, 3], [2, 3, 1, 1])
