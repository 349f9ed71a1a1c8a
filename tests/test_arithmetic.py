"""Arithmetic on sizes: every rule of the table against onnxruntime, with numbers in the place of the symbols."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from computed_sizes import substituted
from execute import run
from onnx import TensorProto, helper

from fc2conv.ir.arithmetic import TABLE, Call, Numbers, evaluate
from fc2conv.ir.arithmetic.amount import Cell, at_least, of_size, to_size, total
from fc2conv.ir.arithmetic.numbers import filled
from fc2conv.layout.axes import Size

INT64, INT32, UINT64, FLOAT, BOOL = map(np.dtype, (np.int64, np.int32, np.uint64, np.float32, np.bool_))
VALUES = [{"N": 3, "H": 8, "W": 5}, {"N": 1, "H": 12, "W": 13}]


def size(text: str) -> Cell:
    """`8*N*H + 1` as a number that depends on N and H."""
    out: Cell = 0
    for part in text.split(" + "):
        factors = part.split("*")
        numbers = [Fraction(each) for each in factors if not each.isalpha()]
        out = out + total([(tuple(sorted(filter(str.isalpha, factors))), int(np.prod([1, *numbers])))])
    return out


def symbolic(cells: Any, dtype: np.dtype[Any] = INT64) -> Numbers:
    """A tensor of such texts, and of plain numbers."""
    array = np.array(cells, object)
    found = [size(each) if isinstance(each, str) else each for each in array.flat]
    return Numbers(filled(found).reshape(array.shape), dtype)


def check(
    op: str, operands: list[Numbers | None], opset: int = 18, outputs: int = 1, known: bool = True, **attributes: Any
) -> list[str]:
    """Evaluates a node on symbols and compares with onnxruntime; returns the cells of the first result."""
    names = ["" if each is None else f"x{i}" for i, each in enumerate(operands)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    found = evaluate(Call(node, opset, tuple(operands)))
    assert found is not None
    given = [(name, each) for name, each in zip(names, operands, strict=True) if each is not None]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(each.dtype), each.cells.shape)
        for n, each in given
    ]
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in found]
    declared = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(results, kinds, strict=True)]
    graph = helper.make_graph([node], "g", inputs, declared)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for values in VALUES:
        feed = {}
        for name, each in given:
            numbers = [substituted(cell, values) for cell in each.cells.flat]
            exact = [float(n) if each.dtype.kind == "f" else int(n) for n in numbers if n is not None]
            feed[name] = np.array(exact, object).reshape(each.cells.shape).astype(each.dtype)
        for mine, true in zip(found, run(model, feed), strict=True):
            assert mine.cells.shape == true.shape
            for cell, number in zip(mine.cells.flat, true.flat, strict=True):
                said = substituted(cell, values)
                assert said is not None or not known
                assert said is None or said == number, (str(cell), values)
    return [str(cell) for cell in found[0].cells.flat]


S = symbolic(["N", 8, "H", "W"])
"""The shape of a map."""


def flags(*values: bool) -> Numbers:
    return symbolic(list(values), BOOL)


MOVED = {
    "Gather": ("Gather", [S, symbolic([-1, 0])], {"axis": 0}, ["W", "N"]),
    "Gather of a scalar": ("Gather", [S, symbolic(2)], {"axis": 0}, ["H"]),
    "Gather of rows": ("Gather", [symbolic([["N", "H"], [1, "W"]]), symbolic([[1], [0]])], {"axis": 1}, None),
    "GatherElements": (
        "GatherElements",
        [symbolic([["N", "H"], [1, "W"]]), symbolic([[1, 0], [-1, 1]])],
        {"axis": 1},
        None,
    ),
    "GatherND": ("GatherND", [symbolic([["N", "H"], [1, "W"]]), symbolic([[1, 1], [0, 1]])], {}, ["W", "H"]),
    "GatherND of a batch": (
        "GatherND",
        [symbolic([["N", "H"], [1, "W"]]), symbolic([[1], [0]])],
        {"batch_dims": 1},
        ["H", "1"],
    ),
    "Slice": ("Slice", [S, symbolic([1]), symbolic([-1])], {}, ["8", "H"]),
    "Slice backwards": (
        "Slice",
        [S, symbolic([-1]), symbolic([-(2**63) + 1]), symbolic([0]), symbolic([-1])],
        {},
        ["W", "H", "8", "N"],
    ),
    "Slice in steps": (
        "Slice",
        [S, symbolic([0]), symbolic([2**63 - 1]), symbolic([0]), symbolic([2])],
        {},
        ["N", "H"],
    ),
    "Split": ("Split", [S, symbolic([1, 3])], {"axis": 0}, ["N"]),
    "Split in equal parts": ("Split", [S], {"axis": 0, "num_outputs": 2}, ["N", "8"]),
    "Concat": ("Concat", [S, symbolic([-1])], {"axis": 0}, ["N", "8", "H", "W", "-1"]),
    "Reshape": ("Reshape", [S, symbolic([-1, 2])], {}, ["N", "8", "H", "W"]),
    "Reshape with a copied size": ("Reshape", [symbolic([["N", "H"]]), symbolic([0, 2, 1])], {}, None),
    "Flatten": ("Flatten", [symbolic([[["N"], ["H"]]])], {"axis": 1}, None),
    "Transpose": (
        "Transpose",
        [symbolic([["N", "H", 3], [1, "W", 4]])],
        {"perm": [1, 0]},
        ["N", "1", "H", "W", "3", "4"],
    ),
    "Squeeze": ("Squeeze", [symbolic([["N"], ["H"]]), symbolic([1])], {}, ["N", "H"]),
    "Squeeze of all": ("Squeeze", [symbolic([["N"]])], {}, ["N"]),
    "Unsqueeze": ("Unsqueeze", [S, symbolic([0, 2])], {}, ["N", "8", "H", "W"]),
    "Expand": ("Expand", [symbolic([["N"], ["H"]]), symbolic([2, 1, 3])], {}, None),
    "Tile": ("Tile", [symbolic(["N", "H"]), symbolic([2])], {}, ["N", "H", "N", "H"]),
    "Compress": ("Compress", [S, flags(True, False, True)], {"axis": 0}, ["N", "H"]),
    "ScatterND": ("ScatterND", [S, symbolic([[1], [3]]), symbolic(["2*H", 7])], {}, ["N", "2*H", "H", "7"]),
    "ScatterElements": (
        "ScatterElements",
        [S, symbolic([1, -1]), symbolic(["2*H", 7])],
        {"axis": 0},
        ["N", "2*H", "H", "7"],
    ),
    "Pad": ("Pad", [S, symbolic([1, 2]), symbolic(-1)], {}, ["-1", "N", "8", "H", "W", "-1", "-1"]),
    "Pad by reflection": ("Pad", [S, symbolic([1, 2])], {"mode": "reflect"}, ["8", "N", "8", "H", "W", "H", "8"]),
    "Pad at an edge": ("Pad", [S, symbolic([1, 0])], {"mode": "edge"}, ["N", "N", "8", "H", "W"]),
    "OneHot": ("OneHot", [symbolic([1, -1, 5]), symbolic(3), symbolic([1, "H"])], {}, None),
    "Identity": ("Identity", [S], {}, ["N", "8", "H", "W"]),
    "Where": ("Where", [flags(True, False, False, True), S, symbolic([-1])], {}, ["N", "-1", "-1", "W"]),
    "Where of the same": ("Where", [flags(True, False, False, True), S, S], {}, ["N", "8", "H", "W"]),
}


@pytest.mark.parametrize(("op", "operands", "attributes", "wanted"), MOVED.values(), ids=MOVED)
def test_numbers_are_moved(op: str, operands: list[Any], attributes: dict[str, Any], wanted: list[str] | None) -> None:
    outputs = 2 if op == "Split" else 1
    found = check(op, operands, outputs=outputs, **attributes)
    assert wanted is None or found == wanted


COMPUTED = {
    "Add": ("Add", ["N", 3, "H + 1"], ["N", 4, -1], ["2*N", "7", "H"]),
    "Sub": ("Sub", ["2*N", 3, "H + 1"], ["N", 5, "H"], ["N", "-2", "1"]),
    "Mul": ("Mul", ["2*N", 3, "H + 1"], ["N*W", 5, 2], ["2*N*N*W", "15", "2*H + 2"]),
    "Div that cancels": ("Div", ["N*8*H*W", "2*H + 2", "6*N"], ["N*8", "H + 1", 2], ["H*W", "2", "3*N"]),
    "Div that truncates": ("Div", [-7, 7, 7, "4*N + 3"], [2, -2, 2, 4], ["-3", "-3", "3", "N"]),
    "Div of no form": ("Div", ["H", "H + W", "N"], [3, 2, "W"], ["?((H)//(3))", "?((H + W)//(2))", "?((N)//(W))"]),
    "Div below 0": ("Div", ["H + -20"], [3], ["?~(truncated(H + -20, 3))"]),
    "Mod": ("Mod", [-7, 7, "4*N + 3", "N*H"], [3, 3, 4, "H"], ["2", "1", "3", "0"]),
    "Mod of no form": ("Mod", ["H", "H + -20"], [3, 3], ["?((H)%(3))", "?((H + -20)%(3))"]),
    "Pow": ("Pow", ["H", 2, 3], [2, 5, 0], ["H*H", "32", "1"]),
    "Max": ("Max", ["H", "H + 2", 3, "H"], [0, "H", 5, "W"], ["H", "H + 2", "5", "?(max(H, W))"]),
    "Min": ("Min", ["H", "H + 2", 3, "H"], [0, "H", 5, "W"], ["0", "H", "3", "?(min(H, W))"]),
}


@pytest.mark.parametrize("dtype", [INT64, INT32], ids=str)
@pytest.mark.parametrize(("op", "left", "right", "wanted"), COMPUTED.values(), ids=COMPUTED)
def test_integers_are_computed(op: str, left: list[Any], right: list[Any], wanted: list[str], dtype: Any) -> None:
    assert check(op, [symbolic(left, dtype), symbolic(right, dtype)]) == wanted


COMPARED = {
    "Equal": (["N", "N", "N", 3, "H + 1"], [-1, "N", 3, 3, "H"], ["False", "True", None, "True", "False"]),
    "Less": (["N", "N", "N", 3, "H"], [0, "N", 3, 4, "H + 1"], ["False", "False", None, "True", "True"]),
    "LessOrEqual": (["N", "N", "N", 3, 0], [-1, "N", 3, 3, "H"], ["False", "True", None, "True", "True"]),
    "Greater": (["N", "N", "N", 3, "H + 1"], [-1, "N", 3, 3, "H"], ["True", "False", None, "False", "True"]),
    "GreaterOrEqual": (["N", "N", "N", 3, "H"], [0, "N", 3, 4, "H + 1"], ["True", "True", None, "False", "False"]),
}


@pytest.mark.parametrize("op", COMPARED)
def test_sizes_are_compared_where_all_sizes_agree(op: str) -> None:
    left, right, wanted = COMPARED[op]
    for found, said in zip(check(op, [symbolic(left), symbolic(right)], known=False), wanted, strict=True):
        assert found == said or (said is None and found.startswith("?~"))


@pytest.mark.parametrize(
    ("op", "operands", "wanted"),
    [
        ("And", [flags(True, True, False), flags(True, False, False)], ["True", "False", "False"]),
        ("Or", [flags(True, True, False), flags(True, False, False)], ["True", "True", "False"]),
        ("Xor", [flags(True, True, False), flags(True, False, False)], ["False", "True", "False"]),
        ("Not", [flags(True, False)], ["False", "True"]),
        ("Neg", [symbolic(["H", 3])], ["-1*H", "-3"]),
        ("Abs", [symbolic(["H", -3, "-2*H"])], ["H", "3", "2*H"]),
        ("Sign", [symbolic(["H + 1", -3, 0, "-2*H + -1"])], ["1", "-1", "0", "-1"]),
        ("Sum", [symbolic(["N", 8], FLOAT)] * 3, ["3*N", "24"]),
        ("Clip", [S, symbolic(0), None], ["N", "8", "H", "W"]),
        ("Clip", [symbolic([9, 1, 5]), symbolic(2), symbolic(7)], ["7", "2", "5"]),
        ("Range", [symbolic(9), symbolic(0), symbolic(-4)], ["9", "5", "1"]),
        ("Range", [symbolic(0), symbolic(0), symbolic(1)], []),
        ("ReduceProd", [S], ["8*H*N*W"]),
        ("ReduceProd", [symbolic([["N", "H"], [2, 3]]), symbolic([1])], ["H*N", "6"]),
        ("ReduceSum", [symbolic([["N", "H"], [2, 3]]), symbolic([0])], ["N + 2", "H + 3"]),
        ("ReduceMax", [symbolic([["N", 0], [2, 3]]), symbolic([-1])], ["N", "3"]),
        ("ReduceMin", [symbolic([["N", 0], [2, 3]]), symbolic([-1])], ["0", "2"]),
        ("CumSum", [S, symbolic(0)], ["N", "N + 8", "H + N + 8", "H + N + W + 8"]),
        ("ReduceMean", [symbolic([["2*N", "4*N"], [7, 2]]), symbolic([1])], ["3*N", "4"]),
        ("ReduceMean", [symbolic([["2*N", "H"], [7, 2]], FLOAT), symbolic([0])], ["N + 7/2", "1/2*H + 1"]),
        ("Relu", [symbolic(["H", -3, "-2*H"], FLOAT)], ["H", "0", "0"]),
        ("Reciprocal", [symbolic([4, -2], FLOAT)], ["1/4", "-1/2"]),
        ("Mean", [symbolic(["2*N", 8], FLOAT), symbolic(["2*H", 1], FLOAT)], ["H + N", "9/2"]),
        ("BitShift", [symbolic(["8*N", 7], UINT64), symbolic([2, 1], UINT64)], ["2*N", "3"]),
        ("Cast", [symbolic([3, 0], INT32)], None),
    ],
)
def test_other_operators(op: str, operands: list[Any], wanted: list[str] | None) -> None:
    attributes = {"Cast": {"to": 7}, "BitShift": {"direction": "RIGHT"}}.get(op, {})
    found = check(op, operands, **attributes)
    assert wanted is None or found == wanted


@pytest.mark.parametrize("kind", [TensorProto.UNDEFINED, TensorProto.STRING, 999])
def test_a_cast_to_what_holds_no_numbers_is_not_followed(kind: int) -> None:
    assert evaluate(Call(helper.make_node("Cast", ["x"], ["y"], to=kind), 18, (symbolic([3]),))) is None


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT16])
def test_a_size_wraps_around_in_a_narrow_type(kind: int) -> None:
    assert check("Cast", [symbolic(["N", 70000])], known=False, to=kind)[0].startswith("?~")


@pytest.mark.parametrize("value", [None, 7.0, 0.5])
def test_the_old_pad_has_its_value_as_an_attribute(value: float | None) -> None:
    given = {} if value is None else {"value": value}
    found = check("Pad", [symbolic(["N", "H"], FLOAT)], opset=10, pads=[0, 1], **given)
    assert found == ["N", "H", {None: "0", 7.0: "7", 0.5: "1/2"}[value]]


def test_a_shift_to_the_left_multiplies() -> None:
    assert check("BitShift", [symbolic(["N"], UINT64), symbolic([3], UINT64)], direction="LEFT") == ["8*N"]


def test_sums_run_backwards_and_without_the_element_itself() -> None:
    assert check("CumSum", [S, symbolic(0)], reverse=1, exclusive=1)[-1] == "0"


@pytest.mark.parametrize(
    ("op", "cells", "wanted"),
    [
        ("Floor", ["H", Fraction(7, 2), Fraction(-7, 2)], ["H", "3", "-4"]),
        ("Ceil", ["H", Fraction(7, 2), Fraction(-7, 2)], ["H", "4", "-3"]),
        ("Round", ["H", Fraction(5, 2), Fraction(7, 2)], ["H", "2", "4"]),
        ("Sqrt", [64, Fraction(9, 4)], ["8", "3/2"]),
        ("Neg", ["H", Fraction(5, 2)], ["-1*H", "-5/2"]),
    ],
)
def test_floating_point_numbers(op: str, cells: list[Any], wanted: list[str]) -> None:
    assert check(op, [symbolic(cells, FLOAT)]) == wanted


def chain(*steps: tuple[str, dict[str, Any], list[Any]], start: list[Any]) -> list[str]:
    """What a chain of nodes makes of numbers, each with further operands."""
    value = symbolic(start)
    for i, (op, attributes, more) in enumerate(steps):
        node = helper.make_node(op, [f"v{i}", *(f"m{i}.{j}" for j in range(len(more)))], [f"y{i}"], **attributes)
        others = [symbolic(each, value.dtype) for each in more]
        found = evaluate(Call(node, 18, (value, *others)))
        assert found is not None
        (value,) = found
    return [str(cell) for cell in value.cells.flat]


FLOATS = ("Cast", {"to": 1}, [])
BACK = ("Cast", {"to": 7}, [])


def test_a_quotient_spelled_in_floating_point_is_the_integer_one() -> None:
    wanted = ["2*N", "?((H)//(3))", "3"]
    assert chain(FLOATS, ("Div", {}, [[4, 3, 2]]), ("Floor", {}, []), BACK, start=["8*N", "H", 7]) == wanted
    assert chain(FLOATS, ("Div", {}, [[4, 3, 2]]), BACK, start=["8*N", "H", 7]) == wanted
    assert chain(("Div", {}, [[4, 3, 2]]), start=["8*N", "H", 7]) == wanted


def test_a_quotient_that_is_rounded_up_is_the_integer_one() -> None:
    wanted = ["?((H + 15)//(16))"]
    assert chain(FLOATS, ("Div", {}, [[16]]), ("Ceil", {}, []), BACK, start=["H"]) == wanted
    assert chain(("Add", {}, [[15]]), ("Div", {}, [[16]]), start=["H"]) == wanted


def test_a_scale_that_is_rounded_is_not_followed() -> None:
    (found,) = chain(FLOATS, ("Mul", {}, [[Fraction(np.float32(1 / 3).item())]]), ("Floor", {}, []), BACK, start=["H"])
    assert found.startswith("?~")
    assert chain(FLOATS, ("Mul", {}, [[2]]), ("Floor", {}, []), BACK, start=["H"]) == ["2*H"]


def test_every_rule_is_tested() -> None:
    named = {each[0] for each in (*MOVED.values(), *COMPUTED.values())} | set(COMPARED)
    source = set(re.findall(r'"(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert set(TABLE) <= named | source | {"Shape", "Size", "ConstantOfShape", "CastLike", "Scatter"}


# ------------------------------------------------------------------ numbers


def test_symbols_of_unknown_sign_are_not_compared() -> None:
    (found,) = chain(("Sub", {}, [[9]]), ("Div", {}, [[2]]), start=["H"])
    assert found == "?~(truncated(H + -9, 2))"
    assert at_least(size("H"), 0) is True
    assert at_least(size("H") - 9, 0) is None


@pytest.mark.parametrize("text", ["N", "8*H*N", "3"])
def test_sizes_go_there_and_back(text: str) -> None:
    assert str(to_size(size(text))) == text
    assert of_size(to_size(size(text))) == size(text)


def test_a_sum_is_one_symbol_as_a_size() -> None:
    assert to_size(size("H + 1")) == Size(1, ("?(H + 1)",))
    assert to_size(size("H") - 1) == Size(1, ("?~(H + -1)",))


def test_a_chain_that_squares_its_number_stays_small() -> None:
    """Each Mul doubles the degree: a file of a kilobyte would ask for more memory than there is."""
    value = symbolic(["H", 3])
    for i in range(200):
        found = evaluate(Call(helper.make_node("Mul", ["a", "a"], [f"y{i}"]), 18, (value, value)))
        assert found is not None
        (value,) = found
    assert all(len(str(cell)) < 300 for cell in value.cells.flat)
