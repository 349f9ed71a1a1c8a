"""How large a folded constant would be, against what numpy and onnx make of the same operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from fc2conv.ir.folding import folded, made_elements

SMALL = [
    ("Expand", [np.ones((3, 1)), np.array([2, 1, 4])], {}),
    ("Expand", [np.ones((3, 4)), np.array([1])], {}),
    ("Tile", [np.ones((3, 2)), np.array([2, 5])], {}),
    ("Tile", [np.ones((3, 2)), np.array([0, 5])], {}),
    ("Range", [np.array(0), np.array(10), np.array(3)], {}),
    ("Range", [np.array(10.0), np.array(0.0), np.array(-2.5)], {}),
    ("Gather", [np.ones((4, 5)), np.array([[0, 1], [2, 3], [0, 0]])], {"axis": 0}),
    ("Gather", [np.ones((4, 5)), np.array([4])], {"axis": -1}),
    ("GatherND", [np.ones((5, 7, 3)), np.zeros((20, 1), np.int64)], {}),
    ("GatherND", [np.ones((5, 7)), np.zeros((2, 4, 2), np.int64)], {}),
    ("Mul", [np.ones((7, 1)), np.ones((1, 9))], {}),
    ("NonZero", [np.ones((2, 3))], {}),
    ("Pad", [np.ones((2, 3)), np.array([1, 0, 4, 2])], {}),
    ("OneHot", [np.zeros((2, 3), np.int64), np.array(7), np.zeros(2)], {}),
    ("ScatterND", [np.ones((4, 5)), np.array([[1]]), np.ones((1, 5))], {}),
    ("Concat", [np.ones((2, 3)), np.ones((4, 3))], {"axis": 0}),
    ("Sqrt", [np.ones((2, 3))], {}),
    ("Resize", [np.ones((1, 2, 5, 7)), np.array([]), np.array([1, 1, 2.5, 0.5], np.float32)], {"mode": "linear"}),
    ("Resize", [np.ones((1, 2, 5, 7)), np.array([]), np.array([]), np.array([1, 2, 15, 3])], {"mode": "linear"}),
    ("ReduceSum", [np.ones((2, 3))], {}),
]


@pytest.mark.parametrize(
    ("op", "operands", "attributes"), SMALL, ids=[f"{i}-{each[0]}" for i, each in enumerate(SMALL)]
)
def test_no_result_is_larger_than_the_limit(op: str, operands: list[Any], attributes: dict[str, int]) -> None:
    names = [f"x{i}" for i in range(len(operands))]
    node = helper.make_node(op, names, ["y"], **attributes)
    values = [helper.make_empty_tensor_value_info(name) for name in [*names, "y"]]
    graph = helper.make_graph([node], "g", values[:-1], values[-1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (made,) = ReferenceEvaluator(model).run(None, dict(zip(names, operands, strict=True)))
    assert made.size <= made_elements(node, operands)
    if op in ("Expand", "Tile", "Gather", "GatherND", "Mul", "Concat"):
        assert made.size == made_elements(node, operands)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("Expand", [np.ones(1), np.array([1 << 40])]),
        ("Tile", [np.ones((4, 4)), np.array([1 << 31, 1 << 31])]),
        ("Range", [np.array(0), np.array(1 << 62), np.array(1)]),
        ("Range", [np.array(0.0), np.array(1e300), np.array(1e-300)]),
        ("Add", [np.broadcast_to(1.0, (1 << 30, 1)), np.broadcast_to(1.0, (1, 1 << 30))]),
    ],
)
def test_terabytes_are_sized_in_no_time(op: str, operands: list[Any]) -> None:
    assert made_elements(helper.make_node(op, [], []), operands) >= 1 << 36


def test_a_range_in_steps_of_nothing_makes_nothing() -> None:
    assert made_elements(helper.make_node("Range", [], []), [np.array(0), np.array(5), np.array(0)]) == 0


@pytest.mark.parametrize(
    ("op", "names", "declared"),
    [
        ("Range", ["one", "big", "one"], {"one": np.array(1), "big": np.array(1 << 40)}),
        ("Concat", ["w"] * 5, {"w": np.broadcast_to(np.float32(1), (1 << 13, 1 << 13))}),
    ],
)
def test_an_operand_that_is_read_twice_counts_twice(op: str, names: list[str], declared: dict[str, Any]) -> None:
    attributes = {"axis": 0} if op == "Concat" else {}
    assert folded(helper.make_node(op, names, ["y"], **attributes), declared, 17, {"": 17}) == {}
