"""Models that are no models: an operand that does not fit is a word of the report, and never a fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from cases import model, verify
from onnx import AttributeProto, ModelProto, NodeProto, helper
from small import WEIGHTS
from textmodel import parse

import fc2conv

ONNX = tuple(int(part) for part in onnx.__version__.split(".")[:2])


def other_operand(op_type: str, place: int, name: str) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        node = next(node for node in m.graph.node if node.op_type == op_type)
        node.input[place:] = [name]

    return change


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    kept = [a for a in node.attribute if a.name != name]
    kind = AttributeProto.INTS if isinstance(value, list) else None
    node.ClearField("attribute")
    node.attribute.extend([*kept, helper.make_attribute(name, value, attr_type=kind)])


def attribute(op_type: str, name: str, value: Any) -> Callable[[ModelProto], None]:
    return lambda m: set_attribute(next(node for node in m.graph.node if node.op_type == op_type), name, value)


MADE = """g (float[N,2,4,4] image) => (float[N,3] y) {
    k = DequantizeLinear <axis = 0> (Kq, scales, zeros) p = Pad(image, pads, nothing) x = Conv(p, k)
    f = Flatten(x) e = ConstantOfShape(shape) w = Add(W0, e) [fc] y = MatMul(f, w)
}"""
PARTS = {
    "Kq": np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1), "scales": np.float32([0.1, 0.2]),
    "zeros": np.uint8([1, 2]), "pads": np.int64([0] * 8), "nothing": np.float32(0), "shape": np.int64([32, 3]),
    "W0": WEIGHTS["W0"], "K": WEIGHTS["K"],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        attribute("DequantizeLinear", "axis", 2),
        attribute("DequantizeLinear", "axis", 9),
        attribute("Flatten", "axis", -7),
        other_operand("Pad", 2, "Kq"),
        other_operand("Pad", 2, "scales"),
        other_operand("Pad", 1, "shape"),
        other_operand("ConstantOfShape", 0, "zeros"),
        other_operand("ConstantOfShape", 0, "scales"),
        other_operand("Conv", 1, "scales"),
        other_operand("MatMul", 1, "scales"),
        other_operand("MatMul", 1, "nothing"),
        attribute("Conv", "kernel_shape", [2, 2]),
        attribute("Conv", "group", 3),
        pytest.param(
            attribute("Conv", "strides", [0, 0]),
            marks=pytest.mark.skipif(ONNX < (1, 23), reason="the inference of onnx divides by such a stride"),
        ),
        attribute("Conv", "pads", [1]),
    ],
)
def test_what_does_not_fit_is_no_fault_of_ours(change: Callable[[ModelProto], None]) -> None:
    good, bad = model(MADE, PARTS), model(MADE, PARTS)
    change(bad)
    converted = fc2conv.convert(good, options=fc2conv.Options(verify=False)).model
    for one, other in ((good, bad), (bad, good), (bad, converted)):
        assert verify(one, other, False).verdict in ("differs", "inconclusive")


@pytest.mark.parametrize(("name", "value"), [("kernel_shape", [3, 3]), ("group", 5), ("dilations", [2]), ("pads", [])])
def test_attributes_of_a_convolution_that_do_not_fit_its_kernel(name: str, value: Any) -> None:
    original = model(MADE, PARTS)
    converted = fc2conv.convert(original, options=fc2conv.Options(verify=False)).model
    set_attribute(next(node for node in converted.graph.node if node.name == "fc"), name, value)
    assert verify(original, converted, False).verdict != "proved" or not value


def test_a_constant_divisor_that_is_0_leaves_the_numbers_to_decide() -> None:
    head = "g (float[N,4] x) => (float[N,4] y) <float z = {0}>"
    divided = parse(f"{head} {{ q = Div (x, z)  y = Mul (q, z) }}")
    assert fc2conv.verify(divided, parse(f"{head} {{ y = Identity (x) }}")).verdict == "differs"
