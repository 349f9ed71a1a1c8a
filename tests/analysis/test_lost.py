"""A layer behind a value of unknown rank, and behind a Reshape that has one again, reads a map that was lost."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

import fc2conv


def test_the_reason_names_the_node_that_lost_the_map() -> None:
    model = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["": 17]>
lost (float[N,2,4,4] image, int64[K] to) => (float y) {
  m = MaxPool <kernel_shape = [1, 1]> (image)
  [loses] r = Reshape (m, to)
  e = Relu (r)
  c = Constant <value = int64[2] {-1, 8}> ()
  f = Reshape (e, c)
  [fc] y = MatMul (f, w)
}""")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    weight = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    (layer,) = fc2conv.plan(model).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC102", "loses")
