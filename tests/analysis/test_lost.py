"""A layer behind a value of unknown rank: its reason names where a shape or a map was lost."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from textmodel import parse

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


def test_a_shape_that_is_lost_in_the_list_that_a_loop_makes_is_given_of_what_is_joined() -> None:
    text = """graph (float[N,6] x, int64 n) => (float[N,5] y) <float[6,5] w>
    { e = SequenceEmpty ()
      s = Loop (n, , e) <body = b (int64 i, bool c, seq(float[N,6]) v) => (bool d, seq(float[N,6]) r)
          { d = Identity (c)  h = Relu (x)  r = SequenceInsert (v, h) }>
      [join] a = ConcatFromSequence <axis = 0> (s)  [fc] y = MatMul (a, w) }"""
    (layer,) = fc2conv.plan(parse(text, opset=17), fc2conv.Options(scope="all")).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node, layer.reason.detail[-1]) == ("FC105", "join", "a")
    (layer,) = fc2conv.plan(parse(text, opset=17), fc2conv.Options(scope="all", input_shapes={"a": (0, 6)})).sites
    assert layer.decision == "convert"
