"""The numeric check: what is run, what is compared, and what proves nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from cases import FLATTEN, GATE, STACK, edit, model, pair, random, verify
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fc2conv.errors import UsageError
from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Check, Verification
from fc2conv.verification import feeds
from fc2conv.verification.compare import Value
from fc2conv.verification.feeds import Fill, fills
from fc2conv.verification.numeric import judged
from fc2conv.verification.trials import run_models

SIMPLE = "g (float[N,3] x) => (float[N,3] y) { y = "


def numeric(one: str, other: str, options: VerifyOptions | None = None, **weights: NDArray[Any]) -> Check:
    files = (model_file_from_proto(model(text, weights)) for text in (one, other))
    return judged(run_models(*files, options or VerifyOptions())).check


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("Relu(x) }", "Relu(x) }", "agrees"),
        ("Relu(x) }", "LeakyRelu(x) }", "differs"),
        ("Sub(x, x) }", "Sub(x, x) }", "inconclusive"),
        ("Sub(x, x) }", "Identity(x) }", "differs"),
        ("Log(x) }", "Log(x) }", "agrees"),
        ("Log(x) }", "Abs(x) }", "differs"),
        ("com.microsoft.Odd(x) }", "com.microsoft.Odd(x) }", "inconclusive"),
        ("Relu(x) }", "com.microsoft.Odd(x) }", "differs"),
        ("RandomNormalLike(x) }", "RandomNormalLike(x) }", "agrees"),
        ("Mul(x, t) }", "Mul(x, t) }", "inconclusive"),
        ("Mul(x, t) }", "Mul(x, x) }", "differs"),
    ],
)
def test_verdicts(one: str, other: str, verdict: str) -> None:
    assert numeric(SIMPLE + one, SIMPLE + other, t=np.float32([1e-12])).verdict == verdict


def test_the_reason_is_onnxruntimes_first_line() -> None:
    check = numeric(SIMPLE + "Relu(x) }", SIMPLE + "com.microsoft.Odd(x) }")
    assert "Odd" in check.detail
    assert "\n" not in check.detail


def test_an_open_batch_is_run_with_1_and_3_and_a_fixed_one_as_it_is() -> None:
    assert "batch [1, 3]" in numeric(SIMPLE + "Relu(x) }", SIMPLE + "Relu(x) }").detail
    fixed = SIMPLE.replace("N", "2") + "Relu(x) }"
    assert "batch [1]" in numeric(fixed, fixed).detail
    given = VerifyOptions(input_shapes={"x": (5, 3)}, check_n=3)
    assert "3 runs" in numeric(SIMPLE + "Relu(x) }", SIMPLE + "Relu(x) }", given).detail


@pytest.mark.parametrize("shapes", [{"z": (1, 3)}, {"x": (1, 3, 1)}])
def test_shapes_that_fit_no_input_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    proto = model(SIMPLE + "Relu(x) }", {})
    with pytest.raises(UsageError):
        verify(proto, proto, True, VerifyOptions(input_shapes=shapes))


def test_a_size_is_found_on_which_the_original_runs() -> None:
    text = "g (float[N,1,H,W] x) => (float[N,2] y) { f = Flatten(x) y = MatMul(f, W0) }"
    check = numeric(text, text, W0=random((28 * 28, 2), 0))
    assert check.verdict == "agrees", check


def test_an_original_that_runs_on_no_size_is_inconclusive() -> None:
    text = "g (float[N,1,H,W] x) => (float[N,2] y, float[N,2] z) { f = Flatten(x) y = MatMul(f, W0) z = MatMul(f, W1) }"
    check = numeric(text, text, W0=random((17 * 19, 2), 0), W1=random((18 * 19, 2), 0))
    assert check.verdict == "inconclusive"


def test_a_size_that_a_weight_fixes_is_found_and_may_be_given() -> None:
    text = "g (float[N,1,H,W] x) => (float[N,2] y) { f = Flatten(x) y = MatMul(f, W0) }"
    assert numeric(text, text, W0=random((17 * 19, 2), 0)).verdict == "agrees"
    given = VerifyOptions(input_shapes={"x": (1, 1, 17, 19)})
    assert numeric(text, text, given, W0=random((17 * 19, 2), 0)).verdict == "agrees"


def test_integers_and_booleans_stay_small() -> None:
    text = "g (int32[N,4] i, bool[N,4] b, uint8[N,4] u) => (int32[N,4] y) { y = Where(b, i, i) }"
    proto = model(text, {})
    made = feeds.feeds(proto, feeds.shapes(proto, feeds.Setting(50, 1, 1), {}), Fill(), 0, 0)
    assert {name: set(array.ravel().tolist()) for name, array in made.items()} == {
        "i": {0, 1}, "b": {False, True}, "u": {0, 1}}  # fmt: skip
    assert {name: array.dtype.name for name, array in made.items()} == {"i": "int32", "b": "bool", "u": "uint8"}


def test_inputs_depend_on_seed_name_and_index_alone() -> None:
    proto = model("g (float[N,4] x, float[N,4] z) => (float[N,4] y) { y = Add(x, z) }", {})
    shapes = feeds.shapes(proto, feeds.Setting(2, 1, 1), {})
    one = feeds.feeds(proto, shapes, Fill(), 0, 0)
    assert np.array_equal(one["x"], feeds.feeds(proto, shapes, Fill(), 0, 0)["x"])
    assert not np.array_equal(one["x"], one["z"])
    assert not np.array_equal(one["x"], feeds.feeds(proto, shapes, Fill(), 1, 0)["x"])
    assert not np.array_equal(one["x"], feeds.feeds(proto, shapes, Fill(), 0, 1)["x"])


def test_the_batch_has_one_size_for_all_inputs() -> None:
    proto = model("g (float[N,4] x, float[4,N] z) => (float[N,N] y) { y = MatMul(x, z) }", {})
    assert feeds.shapes(proto, feeds.Setting(3, 7, 9), {}) == {"x": (3, 4), "z": (4, 3)}


def result(*runs: tuple[Any, Any], **options: float) -> tuple[str, str]:
    pairing = Value("y")
    for reference, found in runs:
        pairing.add(reference, found)
    difference, why = pairing.result(VerifyOptions(**options))
    return difference.verdict, why


def test_nan_and_infinity_must_stand_in_the_same_places() -> None:
    one = np.float32([1, np.nan, np.inf, 2])
    assert result((one, one))[0] == "agrees"
    assert result((one, np.float32([1, np.nan, -np.inf, 2])))[0] == "differs"
    assert result((one, np.float32([np.nan, 1, np.inf, 2])))[0] == "differs"
    assert result((np.float32([np.nan, np.inf]),) * 2)[0] == "inconclusive"


def test_the_bound_is_relative_to_the_largest_magnitude() -> None:
    one = np.float32([1000, 1])
    assert result((one, one + np.float32([0, 0.01])))[0] == "agrees"
    assert result((one, one + np.float32([0, 1])))[0] == "differs"
    assert result((one, one + np.float32([0, 1])), rtol=0.01)[0] == "agrees"


def test_integers_are_exact() -> None:
    assert result((np.int64([1, 5]), np.int64([1, 5])))[0] == "agrees"
    assert result((np.int64([1, 5]), np.int64([1, 6])), rtol=1.0, atol=1.0)[0] == "differs"
    assert result((np.int64([2**60, -(2**63)]), np.int64([2**60 + 1, -(2**63)])))[0] == "differs"


def test_other_kinds_of_results() -> None:
    array = np.float32([1, 2])
    assert result(([array, array], [array, array]))[0] == "agrees"
    assert result(([array, array], [array]))[0] == "differs"
    assert result(([array], [array + 1]))[0] == "differs"
    assert result(({1: 0.5, 2: 0.25}, {1: 0.5, 2: 0.25}))[0] == "agrees"
    assert result(({1: 0.5}, {2: 0.5}))[0] == "differs"
    assert result((np.zeros((0, 3)),) * 2)[0] == "inconclusive"
    assert result((array, array[None]))[0] == "differs"
    assert result((array, array.astype(np.float64)))[0] == "differs"


def test_text_is_compared_word_by_word() -> None:
    one = np.array([["a", "b"], ["b", "a"]], dtype=object)
    other = np.array([["a", "b"], ["b", "c"]], dtype=object)
    assert result((one, one.copy())) == ("agrees", "")
    assert result((one, other)) == ("differs", "y holds other text: at [1, 1] it is 'c', where it was 'a'")
    assert result((one[0, :1], one[0, :1]))[0] == "agrees"
    assert result((one[0, :1], one[0, :1]), (one, other))[0] == "differs"
    assert result((one[:, :0],) * 2)[0] == "inconclusive"
    assert result((np.array(["a", "a"]),) * 2) == ("inconclusive", "y is a throughout")


def numbers_alone(proto: onnx.ModelProto, other: onnx.ModelProto) -> Verification:
    """The verdict where no layer is known by name."""
    for node in (*proto.graph.node, *other.graph.node):
        node.name = ""
    return verify(proto, other, False)


def test_a_difference_that_a_softmax_hides_shows_before_it() -> None:
    before = "g (float[N,6] x) => (float[N,6] z) { y = Add(x, c) z = Softmax(y) }"
    check = numeric(before, before.replace("c)", "d)"), c=np.zeros(6, np.float32), d=np.full(6, 2, np.float32))
    assert check.verdict == "differs"
    assert check.detail.startswith("y (made by Add -> y) differs by 2")
    assert "at [" in check.detail


def test_without_names_of_nodes() -> None:
    original, converted = pair(FLATTEN)
    assert numbers_alone(original, converted).verdict == "proved"
    original, converted = pair(FLATTEN)
    edit(converted, "W_conv", lambda a: a[:, :, ::-1])
    assert numbers_alone(original, converted).verdict == "differs"


def test_a_sequence_as_a_result() -> None:
    proto = model("g (float[N,4] x) => (float[N,4] y) { y = Identity(x) }", {})
    proto.graph.node[0].CopyFrom(helper.make_node("SplitToSequence", ["x"], ["y"], axis=1))
    proto.graph.output[0].CopyFrom(
        helper.make_value_info("y", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)))
    )
    result = verify(proto, proto, True)
    assert result.verdict == "proved"
    assert "; y is sequence(tensor(float))" in result.checks[-1].detail


def test_text_is_fed_and_compared() -> None:
    proto, other = (model("g (float[N,4] x) => (float[N,4] y) { y = Identity(x) }", {}) for _ in range(2))
    for each in (proto, other):
        each.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
        each.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    assert verify(proto, other, True).checks[-1].verdict == "agrees"
    other.graph.initializer.append(helper.make_tensor("i", TensorProto.INT64, [4], [1, 0, 2, 3]))
    other.graph.node[0].CopyFrom(helper.make_node("Gather", ["x", "i"], ["y"], axis=1))
    check = verify(proto, other, True).checks[-1]
    assert check.verdict == "differs"
    assert check.detail.startswith("y (made by Identity -> y) holds other text: at [0, "), check.detail


def test_an_input_that_is_no_tensor_is_named() -> None:
    proto = model("g (float[N,4] x) => (float[N,4] y) { y = Identity(x) }", {})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))
    proto.graph.input[0].CopyFrom(helper.make_value_info("x", kind))
    proto.graph.output[0].CopyFrom(helper.make_value_info("y", kind))
    checks = {c.name: c for c in verify(proto, proto, True).checks}
    assert checks["numeric"].verdict == "inconclusive"
    assert checks["numeric"].detail == "the input x is sequence(tensor(float)), for which no values are made"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (helper.make_tensor_type_proto(TensorProto.INT64, None), "tensor(int64)"),
        (helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None)), "optional(tensor(float))"),
        (
            helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, None)),
            "map(string,tensor(float))",
        ),
        (helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, None), "sparse_tensor(float)"),
        (onnx.TypeProto(), "of no type"),
    ],
)
def test_types_have_names(kind: onnx.TypeProto, name: str) -> None:
    assert feeds.type_name(kind) == name


def test_an_absent_optional_is_named_and_proves_nothing() -> None:
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [None, 4]))
    proto = model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }", {}, opset=18)
    proto.graph.node.append(helper.make_node("Optional", [], ["z"], type=optional.optional_type.elem_type))
    proto.graph.output.append(helper.make_value_info("z", optional))
    detail = verify(proto, proto, True).checks[-1].detail
    assert "z is optional(tensor(float))" in detail
    assert "z holds no finite number and no text" in detail


def test_weak_inputs_are_replaced_and_the_report_says_so() -> None:
    text = "g (float[N,4] x) => (float[N,4] y) { c = Sub(x, big) y = Relu(c) }"
    check = numeric(text, text, big=np.float32([20]))
    assert check.verdict == "agrees"
    assert "inputs [0, 255]" in check.detail
    given = numeric(text, text, VerifyOptions(val_range=(30, 40)), big=np.float32([20]))
    assert "inputs [30, 40], as given" in given.detail
    never = text.replace("y = Relu(c)", "z = Mul(c, zero) y = Exp(z)")
    dead = numeric(never, never, big=np.float32([20]), zero=np.float32([0]))
    assert (dead.verdict, dead.detail) == ("inconclusive", "y is 1 throughout")


def test_inputs_that_are_quantized_or_that_index_a_table_stay_in_its_range() -> None:
    text = """g (float[N,4] x, int64[N,3] i) => (float[N,4] y, float[N,3,2] z) {
        q = QuantizeLinear(x, s, p) y = DequantizeLinear(q, s, p) z = Gather(table, i)
    }"""
    weights = {"s": np.float32(0.5), "p": np.uint8(128), "table": random((50, 2), 0)}
    file = model_file_from_proto(model(text, weights))
    fill = next(fills(file, None))
    assert fill.ranges == {"x": (-64.0, 63.5), "i": (0.0, 49.0)}
    made = feeds.feeds(file.model, {"x": (500, 4), "i": (500, 3)}, fill, 0, 0)
    assert made["i"].max() == 49
    assert -64 <= made["x"].min() < -60


def test_other_sizes_are_run_where_they_are_open() -> None:
    text = "g (float[1,3,H,W] x) => (float[1,3,H,W] y) { y = Relu(x) }"
    assert "3 runs" in numeric(text, text).detail
    fixed = text.replace("H,W", "5,5")
    assert "2 runs" in numeric(fixed, fixed).detail


def test_a_value_is_shown_with_its_node() -> None:
    original, converted = pair(GATE)
    next(node for node in converted.graph.node if node.op_type == "Sigmoid").op_type = "HardSigmoid"
    detail = verify(original, converted, True).checks[-1].detail
    assert detail.startswith("g (made by Mul -> g) differs by "), detail


def test_a_mismatch_names_the_first_value_that_parts() -> None:
    original, converted = pair(STACK)
    edit(converted, "b6_conv", lambda b: b + np.float32([0, 0, 9, 0, 0]))
    files = [model_file_from_proto(proto) for proto in (original, converted)]
    check = judged(run_models(*files, VerifyOptions())).check
    assert check.verdict == "differs"
    assert check.detail.startswith("y (made by fc7) differs by ")
    assert " it is " in check.detail


@pytest.mark.parametrize("kind", ["bfloat16", "float8e4m3fn", "int4", "uint4"])
def test_numbers_that_onnxruntime_cannot_be_given_prove_nothing(kind: str) -> None:
    text = f"g ({kind}[N,4] x) => (float[N,4] y) {{ y = Cast <to = 1> (x) }}"
    assert numeric(text, text).verdict == "inconclusive"


def test_a_map_of_nothing_proves_nothing() -> None:
    """A product takes a map without rows, and a convolution is refused."""
    cut = "<int64[1] s = {0}, int64[1] a = {2}> { c = Slice (x, s, s, a)\n"
    one = f"g (float[1,2,3,4] x) => (float[1,2,0,4] y) {cut} y = Relu (c) }}"
    other = f"g (float[1,2,3,4] x) => (float[1,2,0,4] y) {cut} y = MaxPool <kernel_shape = [1, 1]> (c) }}"
    assert numeric(one, other).verdict == "inconclusive"


def test_a_sequence_of_an_unknown_type_has_a_name() -> None:
    value = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    assert feeds.type_name(value) == "sequence(tensor(float))"
    value.sequence_type.elem_type.tensor_type.elem_type = -1
    assert feeds.type_name(value) == "sequence(tensor(element type -1))"
