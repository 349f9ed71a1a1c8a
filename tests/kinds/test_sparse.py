"""Sparse tensors: layers with such weights are converted, and the proof knows them for the dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, helper, numpy_helper
from textmodel import parse

import fc2conv

TEXT = """graph (float[N,3,4,4] x) => (float[N,5] y) <float[4,3,1,1] k, float[64,5] w, float[5] b>
{ m = Conv (x, k)  f = Flatten (m)  [fc] y = Gemm (f, w, b) }"""


def sparse(names: str, *, indices: str = "flat", constant: bool = False) -> tuple[ModelProto, ModelProto]:
    """A model, and the same with some of its weights as sparse tensors."""
    model = parse(TEXT, opset=13)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        array[np.abs(array) < np.median(np.abs(array))] = 0
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    other = ModelProto.FromString(model.SerializeToString())
    for tensor in [each for each in other.graph.initializer if each.name in names.split()]:
        array = numpy_helper.to_array(tensor)
        at = np.flatnonzero(array)
        places = at if indices == "flat" else np.stack(np.unravel_index(at, array.shape), 1)
        values = numpy_helper.from_array(array.reshape(-1)[at], "" if constant else tensor.name)
        made = helper.make_sparse_tensor(values, numpy_helper.from_array(places.astype(np.int64)), array.shape)
        other.graph.initializer.remove(tensor)
        if constant:
            other.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], sparse_value=made))
        else:
            other.graph.sparse_initializer.append(made)
    return model, other


@pytest.mark.parametrize(
    ("names", "indices", "constant"),
    [("w", "flat", False), ("b", "places", False), ("k", "flat", False), ("w b k", "places", True)],
)
def test_a_layer_with_sparse_tensors_is_converted(names: str, indices: str, constant: bool) -> None:
    plain, model = sparse(names, indices=indices, constant=constant)
    conversion = fc2conv.convert(model)
    assert [each.kernel_shape for each in conversion.report.converted] == [[4, 4]]
    inputs = feeds(plain, {"N": 2})
    assert difference(run(plain, inputs), run(conversion.model, inputs)) < 1e-5
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"


def test_a_sparse_tensor_is_the_dense_one() -> None:
    plain, model = sparse("w k")
    assert fc2conv.verify(plain, model).verdict == "proved"
    values = model.graph.sparse_initializer[0].values
    array = numpy_helper.to_array(values).copy()
    array[0] += 1
    values.CopyFrom(numpy_helper.from_array(array, values.name))
    assert fc2conv.verify(plain, model).verdict == "differs"


def test_what_converts_nothing_stays_sparse() -> None:
    _, model = sparse("k")
    conversion = fc2conv.convert(model, exclude=("fc",))
    assert conversion.model.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_indices_that_fit_no_shape_are_no_weight() -> None:
    _, model = sparse("w")
    wrong = model.graph.sparse_initializer[0].indices
    wrong.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(wrong) + 300))
    (layer,) = fc2conv.plan(model).sites
    assert layer.decision == "keep"
