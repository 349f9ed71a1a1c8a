"""Constants that are computed: as runtimes compute them, or not at all."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from exact_models import agree, compared
from execute import Array, difference, run
from onnx import NodeProto, helper
from textmodel import parse

from fc2conv.verification.reference import UnmodelledError, evaluate

RANDOM = np.random.default_rng(0)
CUBE = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
MAP = RANDOM.standard_normal((1, 2, 5, 5)).astype(np.float32)
BELOW = [np.float32([1, 2]), np.float32([3, 4]), np.float32([0.1, 0.2]), np.float32([1, 2])]
WORDS = np.array([3, 1, 3, 2, 3, 1, 1])
WIDE = np.array([[2**31 - 1, 2, 3], [1, 1, 1]], np.int32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def node(name: str, operands: int, results: int = 1, **given: object) -> NodeProto:
    return helper.make_node(name, [f"i{n}" for n in range(operands)], [f"o{n}" for n in range(results)], **given)


def by_onnxruntime(made: NodeProto, opset: int, feeds: list[Array]) -> list[Array]:
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in feeds]
    given = [helper.make_tensor_value_info(name, *each) for name, *each in
             zip(made.input, kinds, (each.shape for each in feeds), strict=True)]  # fmt: skip
    results = [onnx.ValueInfoProto(name=name) for name in made.output]
    graph = helper.make_graph([made], "g", given, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return run(model, dict(zip(made.input, feeds, strict=True)))


OTHERWISE = {
    "a Softmax from an axis on": (11, node("Softmax", 1), [CUBE]),
    "a LogSoftmax from an axis on": (12, node("LogSoftmax", 1, axis=1), [CUBE]),
    "a Hardmax from an axis on": (9, node("Hardmax", 1), [CUBE]),
    "a Slice that begins before the first": (17, node("Slice", 5), [WORDS, ints(-10), ints(-20), ints(0), ints(-1)]),
    "the place of one number": (17, node("NonZero", 1), [np.array(5)]),
    "a pool with more pads before": (
        12, node("MaxPool", 1, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"), [MAP]),
    "corners that stay": (
        13, node("Resize", 3, mode="linear", coordinate_transformation_mode="align_corners"),
        [MAP, np.float32([]), np.float32([1, 1, 1.5, 1.5])]),
    "a norm of sizes": (13, node("LpNormalization", 1, p=1), [CUBE]),
    "a norm of neighbours": (13, node("LRN", 1, size=3, alpha=0.1, beta=0.5), [np.concatenate([MAP, MAP + 1], 1)]),
    "an older BatchNormalization": (9, node("BatchNormalization", 5), [MAP, *BELOW]),
    "the mask of an older Dropout": (11, node("Dropout", 1, 2), [CUBE]),
    "a range of zeros": (17, node("DynamicQuantizeLinear", 1, 3), [np.zeros(2, np.float32)]),
    "a sum past the last integer": (17, node("ReduceSum", 1), [WIDE]),
    "a product past the last integer": (17, node("ReduceProd", 1), [WIDE]),
    "a sum of squares past the integers of float64": (17, node("ReduceSumSquare", 1), [WIDE.astype(np.int64)]),
    "a power past the last integer": (17, node("Pow", 2), [np.int32([10, 3]), np.int32([10, 3])]),
    "a mean of nothing": (17, node("ReduceMean", 1, axes=[1]), [np.zeros((2, 0), np.float32)]),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_the_reference_computes_otherwise_is_computed_as_runtimes_do(name: str) -> None:
    opset, made, feeds = OTHERWISE[name]
    for one, other in zip(by_onnxruntime(made, opset, feeds), evaluate(made, opset, feeds), strict=True):
        np.testing.assert_array_equal(one, other)


UNSURE = {
    "places without an order": (17, node("TopK", 2, 2, sorted=0), [WORDS, ints(2)]),
    "a Unique without an order": (17, node("Unique", 1, axis=1, sorted=0), [np.array([[2, 1], [2, 1], [0, 3]])]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSURE)
def test_what_each_runtime_computes_otherwise_is_not_computed(name: str) -> None:
    opset, made, feeds = UNSURE[name]
    by_onnxruntime(made, opset, feeds)
    with pytest.raises(UnmodelledError, match="each runtime computes something else"):
        evaluate(made, opset, feeds)


AS_RUNTIMES = {
    "a Softmax over the last axis": (11, node("Softmax", 1, axis=-1), [CUBE]),
    "a Softmax of a matrix": (11, node("Softmax", 1), [CUBE[0]]),
    "a Softmax of today": (13, node("Softmax", 1, axis=1), [CUBE]),
    "a Slice backwards": (17, node("Slice", 5), [WORDS, ints(-1), ints(-20), ints(0), ints(-1)]),
    "places in their order": (17, node("TopK", 2, 2), [WORDS, ints(3)]),
    "places of numbers": (17, node("NonZero", 1), [WORDS % 2]),
    "a BatchNormalization of today": (15, node("BatchNormalization", 5), [MAP, *BELOW]),
    "a Dropout without a mask": (11, node("Dropout", 1), [CUBE]),
    "a mask of today": (13, node("Dropout", 1, 2), [CUBE]),
    "a range": (17, node("DynamicQuantizeLinear", 1, 3), [CUBE]),
    "a sum of integers": (17, node("ReduceSum", 1), [WORDS]),
    "a product of sizes": (17, node("ReduceProd", 1), [WORDS]),
    "a power of integers": (17, node("Pow", 2), [WORDS, WORDS]),
}  # fmt: skip


@pytest.mark.parametrize("name", AS_RUNTIMES)
def test_what_runtimes_compute_in_the_same_way_is_computed(name: str) -> None:
    opset, made, feeds = AS_RUNTIMES[name]
    assert difference(by_onnxruntime(made, opset, feeds), evaluate(made, opset, feeds)) < 1e-5


def test_a_fold_of_another_softmax_is_not_proved() -> None:
    text = "graph (float[N,2,2] x) => (float[N,2,2] y) <float[1,2,2] c> {{ {} }}"
    whole, last = (parse(text.format(each), opset=11) for each in
                   ("s = Hardmax(c) y = Mul(x, s)", "s = Hardmax<axis = 2>(c) y = Mul(x, s)"))  # fmt: skip
    assert not agree(whole, last, 2)
    assert compared(whole, whole).proved
    assert not compared(whole, last).same


def test_a_size_of_the_places_of_one_number_is_not_proved() -> None:
    text = "graph (int64[N,2] x) => (int64[N,2] y) <int64 c = {{5}}> {{ {} }}"
    counted, none = (parse(text.format(each), opset=17) for each in
                     ("n = NonZero(c) z = Size(n) y = Add(x, z)", "y = Identity(x)"))  # fmt: skip
    assert not agree(counted, none, 2)
    assert not compared(counted, none).same


@pytest.mark.parametrize(("begin", "same"), [(0, True), (1, False)])
def test_a_slice_that_begins_before_the_first_begins_there(begin: int, same: bool) -> None:
    text = (
        "graph (float[N,4] x) => (float[N,1] y) "
        "<int64[1] s = {{{}}}, int64[1] e = {{{}}}, int64[1] a = {{1}}, int64[1] p = {{{}}}> "
        "{{ y = Slice(x, s, e, a, p) }}"
    )
    one, other = (parse(text.format(*each), opset=17) for each in ((-10, -20, -1), (begin, begin + 1, 1)))
    assert agree(one, other, 2) is same
    assert compared(one, other).proved is same
