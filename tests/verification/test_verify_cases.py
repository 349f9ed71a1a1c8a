"""Right conversions are proved, and the numbers agree; planted faults are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from cases import (
    CASES,
    CONCAT,
    FLATTEN,
    GAP,
    GATE,
    LEFT,
    NHWC,
    PARTED,
    SCALED,
    STACK,
    TOKENS,
    TWO_HEADS,
    Case,
    edit,
    nearly_equal,
    node,
    pair,
    random,
    tiny,
    verdicts,
    verify,
)
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

Fault = Callable[[ModelProto], None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_right_conversion_passes(case: Case) -> None:
    result = verify(*pair(case), True)
    assert verdicts(result).pop("exact") == "proved", result.checks
    assert {check.verdict for check in result.checks if check.name != "exact"} == {"agrees"}, result.checks
    assert result.verdict == "proved"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("fill", [tiny, nearly_equal], ids=lambda fill: fill.__name__)
def test_a_right_conversion_of_weak_weights_is_proved(case: Case, fill: Any) -> None:
    result = verify(*pair(case, fill), True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert result.verdict == "proved"


def weight(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Fault:
    return lambda proto: edit(proto, name, change)


def one_ulp(array: NDArray[Any]) -> NDArray[Any]:
    array.flat[array.size // 2] = np.nextafter(array.flat[array.size // 2], np.float32(np.inf))
    return array


def attribute(output: str, **values: object) -> Fault:
    def plant(proto: ModelProto) -> None:
        target = node(proto, output)
        kept = [a for a in target.attribute if a.name not in values]
        target.ClearField("attribute")
        target.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in values.items())])

    return plant


def inputs(output: str, *names: str) -> Fault:
    def plant(proto: ModelProto) -> None:
        target = node(proto, output)
        target.ClearField("input")
        target.input.extend(names)

    return plant


def reshape_to(output: str, *target: int) -> Fault:
    def plant(proto: ModelProto) -> None:
        proto.graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), "planted"))
        node(proto, output).input[1] = "planted"

    return plant


def renamed_outputs(proto: ModelProto) -> None:
    one, other = node(proto, "y"), node(proto, "z")
    one.output[0], other.output[0] = "z", "y"


def without_node(output: str) -> Fault:
    def plant(proto: ModelProto) -> None:
        gone = node(proto, output)
        for other in proto.graph.node:
            other.input[:] = [gone.input[0] if name == output else name for name in other.input]
        proto.graph.node.remove(gone)

    return plant


def transposed_input(proto: ModelProto) -> None:
    """The batch and the channels change places before the layer; only batch == channels hides its shape."""
    target = node(proto, "y_conv")
    source = target.input[0]
    target.input[0] = "planted"
    place = list(proto.graph.node).index(target)
    proto.graph.node.insert(place, helper.make_node("Transpose", [source], ["planted"], perm=[0, 1, 3, 2]))


def hwc(array: NDArray[Any]) -> NDArray[Any]:
    m, c, h, w = array.shape
    return array.reshape(m, h, w, c).transpose(0, 3, 1, 2)


def swapped_hw(array: NDArray[Any]) -> NDArray[Any]:
    m, c, h, w = array.shape
    return array.reshape(m, c, w, h).transpose(0, 1, 3, 2)


def shifted(array: NDArray[Any]) -> NDArray[Any]:
    return np.roll(array.reshape(len(array), -1), 1, axis=1).reshape(array.shape)


def another_bias(output: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Fault:
    """The bias is changed in a new initializer, as the old one must stay."""

    def plant(proto: ModelProto) -> None:
        conv = node(proto, output)
        old = next(t for t in proto.graph.initializer if t.name == conv.input[2])
        proto.graph.initializer.append(numpy_helper.from_array(change(numpy_helper.to_array(old)), "planted"))
        conv.input[2] = "planted"

    return plant


def reshaped_boundary(proto: ModelProto) -> None:
    """A Reshape does the work of a Transpose."""
    last = node(proto, "y")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0, 20, 6], np.int64), "planted"))
    last.CopyFrom(helper.make_node("Reshape", [last.input[0], "planted"], ["y"]))


def swapped_kernels(proto: ModelProto) -> None:
    one, other = node(proto, "y_conv"), node(proto, "z_conv")
    one.input[1], other.input[1] = "W_conv", "V_conv"


FAULTS: list[tuple[str, Case, Fault]] = [
    ("hwc for chw", FLATTEN, weight("W_conv", hwc)),
    ("hw swapped", FLATTEN, weight("W_conv", swapped_hw)),
    ("columns shifted", FLATTEN, weight("W_conv", shifted)),
    ("kernel flipped", FLATTEN, weight("W_conv", lambda a: a[:, :, ::-1, ::-1])),
    ("outputs reversed", FLATTEN, weight("W_conv", lambda a: a[::-1])),
    ("one ulp", FLATTEN, weight("W_conv", one_ulp)),
    ("bias dropped", FLATTEN, inputs("y_conv", "f", "W_conv")),
    ("another bias", FLATTEN, another_bias("y_conv", lambda b: b * np.float32(2))),
    ("padded", FLATTEN, attribute("y_conv", pads=[1, 1, 1, 1])),
    ("padded on one side", FLATTEN, attribute("y_conv", pads=[0, 1, 0, 0], strides=[1, 2])),
    ("relu skipped", FLATTEN, inputs("y_conv", "x", "W_conv", "b")),
    ("relu removed", FLATTEN, without_node("f")),
    ("batch merged", FLATTEN, reshape_to("y", 1, -1)),
    ("outputs and batch mixed", FLATTEN, reshape_to("y", 6, -1)),
    ("chw for hwc", NHWC, weight("W_conv", lambda a: a.transpose(0, 2, 3, 1).reshape(a.shape))),
    ("bias rolled", NHWC, another_bias("d_conv", lambda b: np.roll(b, 1))),
    ("softmax over one", GAP, attribute("y4", axis=-1)),
    ("weight not transposed", GAP, weight("W_conv", lambda a: a.reshape(3, 6).T.reshape(a.shape))),
    ("pool of another kind", GAP, lambda p: setattr(node(p, "p"), "op_type", "GlobalMaxPool")),
    ("alpha ignored", STACK, weight("W6_conv", lambda a: a * np.float32(2))),
    ("beta ignored", STACK, weight("b6_conv", lambda a: a / np.float32(2))),
    ("relu between layers removed", STACK, without_node("r_conv")),
    ("parts of a norm swapped", STACK, inputs("n_conv", "r_conv", "s2", "s", "m", "variance")),
    ("second kernel shifted", STACK, weight("W7_conv", shifted)),
    ("maps swapped", CONCAT, inputs("c4", "z", "x")),
    (
        "channels of the weight interleaved",
        CONCAT,
        weight("W_conv", lambda a: a.reshape(5, 2, 3, 4, 4).swapaxes(1, 2).reshape(a.shape)),
    ),
    ("stride", LEFT, attribute("y_conv", strides=[1, 2])),
    ("map turned", LEFT, transposed_input),
    ("boundary not transposed", TOKENS, reshaped_boundary),
    ("outputs swapped", TWO_HEADS, renamed_outputs),
    ("kernels swapped", TWO_HEADS, swapped_kernels),
    ("gate bypassed", GATE, inputs("g", "x", "x")),
    ("sigmoid removed", GATE, without_node("s_conv")),
]


FUNCTIONS = {
    "relu removed", "pool of another kind", "relu between layers removed", "gate bypassed", "sigmoid removed"
}  # fmt: skip
"""Faults that take a function away, or put another in its place."""
SHAPES = {"stride"}
"""Faults whose results do not have the shape that a later node asks for."""


@pytest.mark.parametrize(("name", "case", "fault"), FAULTS, ids=[f[0] for f in FAULTS])
@pytest.mark.parametrize("fill", [random, tiny, nearly_equal], ids=lambda fill: fill.__name__)
def test_a_planted_fault_is_refused(name: str, case: Case, fault: Fault, fill: Any) -> None:
    original, converted = pair(case, fill)
    fault(converted)
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] in (["inconclusive"] if name in FUNCTIONS | SHAPES else PARTED), result.checks
    assert result.verdict in ("differs", "inconclusive"), result.checks


@pytest.mark.parametrize(("case", "fault"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_planted_fault_is_refused_where_layers_are_recognised(case: Case, fault: Fault) -> None:
    original, converted = pair(case)
    fault(converted)
    assert verify(original, converted, False).verdict == "differs"


def test_the_message_names_the_first_value_that_differs() -> None:
    original, converted = pair(FLATTEN)
    edit(converted, "W_conv", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 201, np.float32(7), a))
    exact = next(c for c in verify(original, converted, True).checks if c.name == "exact")
    assert exact.detail == "y (made by fc) is another function, first at [0, 3]"


def test_a_function_that_one_model_lacks_is_named() -> None:
    original, converted = pair(FLATTEN)
    without_node("f")(converted)
    exact = next(c for c in verify(original, converted, True).checks if c.name == "exact")
    assert exact.detail.endswith("; functions of the one alone: Relu; of the other alone: none"), exact


def test_a_weight_that_was_scaled_and_rounded_leaves_it_open() -> None:
    result = verify(*pair(SCALED), False)
    assert verdicts(result) | {"exact": "inconclusive", "numeric": "agrees"} == verdicts(result), result.checks
    assert result.parting is not None
    assert (result.verdict, result.parting.cause) == ("inconclusive", "rounding")


def test_a_model_agrees_with_itself() -> None:
    for case in CASES:
        original, _ = pair(case)
        result = verify(original, onnx.ModelProto.FromString(original.SerializeToString()), True)
        assert result.verdict == "proved"
        assert verdicts(result)["exact"] == "proved", result.checks
