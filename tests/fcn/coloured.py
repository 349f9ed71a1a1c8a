"""A network that sees colours, and pictures with a patch of one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fc2conv
from fc2conv import Options, SlidingOptions

RED, BLUE = 1, 2


def colours(channels_last: bool = False) -> onnx.ModelProto:
    """Classes 1 and 2 are the redness and the blueness of an image of 32x32, class 0 is a constant."""
    rng = np.random.default_rng(0)
    kernel = np.full((2, 3, 1, 1), -1, np.float32)
    kernel[0, 0], kernel[1, 2] = 1, 1
    weight = (rng.standard_normal((3, 128)) * 1e-4).astype(np.float32)
    weight[RED, :64] += 1 / 64
    weight[BLUE, 64:] += 1 / 64
    bias = np.array([0.05, 0, 0], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["scores"], name="fc", transB=1),
    ]
    if channels_last:
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
    image = ("image", ["N", 32, 32, 3]) if channels_last else ("x", ["N", 3, 32, 32])
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info(image[0], TensorProto.FLOAT, image[1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(a, n) for n, a in (("k", kernel), ("w", weight), ("b", bias))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def written(folder: Path, channels_last: bool = False, upsample: bool = False) -> Path:
    """The network made fully convolutional, in a file."""
    path = folder / "fcn.onnx"
    path.write_bytes(_sliding(channels_last, upsample))
    return path


@cache
def _sliding(channels_last: bool, upsample: bool) -> bytes:
    options = Options(sliding=SlidingOptions(upsample=upsample), verify=False)
    model = fc2conv.convert(colours(channels_last), options=options).model
    assert model is not None
    return model.SerializeToString()


def saved(path: Path, pixels: np.ndarray, **how: object) -> Path:
    Image.fromarray(pixels).save(path, **how)  # type: ignore[arg-type]
    return path


def patched() -> np.ndarray:
    pixels = np.full((60, 90, 3), 120, np.uint8)
    pixels[5:40, 50:85] = (240, 10, 10)
    return pixels
