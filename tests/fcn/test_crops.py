"""Maps without a head whose original reshapes the image to numbers: on crops, or in front of the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from proving import made, node, nothing, shown
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError

HEADLESS = {
    "space to depth": """g (float[N,2,8,8] x) => (float[N,4,A,B] y)
        <float[4,8,3,3] k, int64[6] apart = {0, 2, 4, 2, 4, 2}, int64[4] deep = {0, 8, 4, 4}>
        { s = Reshape (x, apart)  t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (s)  d = Reshape (t, deep)
          c = Conv (d, k)  y = Relu (c) }""",
    "a sound as a picture": """g (float[N,2,8] x) => (float[N,2,A] y) <int64[4] to = {0, 2, 1, 8}, int64[1] two = {2}>
        { d = Reshape (x, to)  l = LRN <size = 3> (d)  r = Relu (l)  y = Squeeze (r, two) }""",
    "a norm of the whole image": """g (float[N,8,2] x) => (float[N,4,B] y)
        <float[4,2,3] k, int64[3] to = {-1, 2, 8}, float[2] a, float[2] b>
        { t = Transpose <perm = [0, 2, 1]> (x)  n = InstanceNormalization (t, a, b)  r = Relu (n)
          d = Reshape (r, to)  y = Conv <pads = [1, 1]> (d, k) }""",
}


@pytest.mark.parametrize("text", HEADLESS.values(), ids=HEADLESS)
def test_what_is_reshaped_to_numbers_is_compared_on_crops_or_in_front_of_them(text: str) -> None:
    def unlike(model: ModelProto) -> None:
        """Behind the cells of the training size another function."""
        relu = node(model, "Relu")
        rank = len(next(v for v in model.graph.output if v.name == "y").type.tensor_type.shape.dim)
        bounds = {"low": [rank // 2], "high": [9], "far": [99], "zero": [0], "axis": [rank - 1]}
        model.graph.initializer.extend(numpy_helper.from_array(np.array(n), f"p_{at}") for at, n in bounds.items())
        cut = [
            onnx.helper.make_node("Slice", [relu.input[0], f"p_{start}", f"p_{end}", "p_axis"], [f"p_{start}_cells"])
            for start, end in (("zero", "high"), ("high", "far"))
        ]
        first = onnx.helper.make_node("Relu", ["p_zero_cells"], ["p_first"])
        joined = onnx.helper.make_node("Concat", ["p_first", "p_high_cells"], [relu.output[0]], axis=rank - 1)
        place = list(model.graph.node).index(relu)
        nodes = [*model.graph.node[:place], *cut, first, joined, *model.graph.node[place + 1 :]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    original = parse(text)
    slid = made(original)
    assert [check.verdict for check in shown(original, slid, nothing).checks] == ["proved", "proved"]
    found = shown(original, slid, unlike).checks
    assert [check.verdict.accepted for check in found] == [True, False]


def test_an_lrn_of_a_volume_does_not_slide() -> None:
    text = "g (float[N,2,4,4,4] x) => (y) <float[2,2,1,1,1] k> { c = Conv (x, k)  y = LRN <size = 3> (c) }"
    with pytest.raises(InputError, match=r"FC501 at .* two spatial dimensions"):
        fc2conv.convert(parse(text), options=Options(sliding=SlidingOptions()))
