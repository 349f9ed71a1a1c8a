"""A matrix for each index of an axis as a convolution in groups: proved, and every fault in it refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case, edit, model, nearly_equal, node, originals, pair, random, tiny, verdicts, verify
from grouped import CASES, CHANNELS, LEFT, LETTERS
from onnx import ModelProto, helper, numpy_helper

import fc2conv

each_case = pytest.mark.parametrize("case", [*CASES, LETTERS], ids=lambda case: case.name)
by_fc2conv = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def exact(models: tuple[ModelProto, ModelProto]) -> Any:
    result = verify(*models, True)
    return next(check for check in result.checks if check.name == "exact")


@each_case
@pytest.mark.parametrize("fill", [random, tiny, nearly_equal])
def test_right_groups_are_proved(case: Case, fill: Any) -> None:
    result = verify(*pair(case, fill), True)
    found = verdicts(result)
    assert (found["exact"], result.verdict) == ("proved", "proved"), result.checks


@by_fc2conv
def test_what_is_converted_in_groups_is_proved(case: Case) -> None:
    original = model(case.original, originals(case))
    conversion = fc2conv.convert(original, options=fc2conv.Options(scope="all"))
    assert conversion.model is not None
    assert [n.op_type for n in conversion.model.graph.node].count("Conv") > 0
    for found in (conversion.report.verification, fc2conv.verify(original, conversion.model)):
        assert found is not None
        assert verdicts(found)["exact"] == "proved", found.checks


def test_one_weight_of_a_group() -> None:
    models = pair(CHANNELS)
    edit(models[1], "W_conv", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 61, np.float32(7), a))
    found = exact(models)
    assert (found.verdict, found.detail) == (
        "differs",
        "y (made by Relu -> y) is another function, first at [0, 2, 0, 0]",
    )


def gathered(proto: ModelProto, index: list[int]) -> None:
    """The channels that the convolution of CHANNELS reads, in another order."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array(index), "index"))
    conv = node(proto, "m_conv")
    proto.graph.node.insert(1, helper.make_node("Gather", [conv.input[0], "index"], ["moved"], axis=1))
    conv.input[0] = "moved"


def test_groups_in_another_order_are_not_those_of_the_layer() -> None:
    models = pair(CHANNELS)
    gathered(models[1], [1, 0, 2, 3])
    found = exact(models)
    assert (found.verdict, found.detail) == (
        "differs",
        "y (made by Relu -> y) is another function, first at [0, 0, 0, 0]",
    )
    edit(models[1], "W_conv", lambda a: a.reshape(4, 5, 6)[[1, 0, 2, 3]].reshape(a.shape))
    assert exact(models).verdict == "differs"


def test_each_group_may_hold_its_row_in_an_order_of_its_own() -> None:
    original, converted = pair(LEFT)
    index = np.arange(36).reshape(6, 6)
    index[1], index[4] = index[1][::-1], np.roll(index[4], 2)
    order = index % 6
    converted.graph.initializer.append(numpy_helper.from_array(index.reshape(-1), "index"))
    conv = node(converted, "y_conv")
    converted.graph.node.insert(1, helper.make_node("Gather", [conv.input[0], "index"], ["moved"], axis=1))
    conv.input[0] = "moved"
    assert verify(original, converted, True).verdict == "differs"
    edit(converted, "W_conv", lambda a: np.take_along_axis(a.reshape(6, 5, 6), order[:, None], -1).reshape(a.shape))
    result = verify(original, converted, True)
    assert result.verdict == verdicts(result)["exact"] == "proved", result.checks


@pytest.mark.parametrize("case", [LEFT, LETTERS], ids=lambda case: case.name)
def test_a_bias_of_another_group(case: Case) -> None:
    models = pair(case)
    edit(models[1], "b_conv", lambda b: np.roll(b, 5))
    assert exact(models).verdict == "differs"


def test_two_matrices_of_an_einsum_swapped() -> None:
    models = pair(LETTERS)
    edit(models[1], "W_conv", lambda a: a.reshape(4, 5, 6)[[0, 2, 1, 3]].reshape(a.shape))
    found = exact(models)
    assert (found.verdict, found.detail) == (
        "differs",
        "y (made by Add -> y) is another function, first at [0, 0, 1, 0]",
    )


def test_many_groups() -> None:
    weights = {"W": random((9, 6, 5), 0)}
    original = model("g (float[N,9,3,6] x) => (float[N,9,3,5] y) { [fc] y = MatMul(x, W) }", weights)
    conversion = fc2conv.convert(original, options=fc2conv.Options(scope="all"))
    assert conversion.report.verification is not None
    assert verdicts(conversion.report.verification)["exact"] == "proved"
    assert conversion.model is not None
    edit(conversion.model, _kernel(conversion.model), lambda a: a * np.float32(1.001))
    assert fc2conv.verify(original, conversion.model).verdict == "differs"


def _kernel(proto: ModelProto) -> str:
    return str(next(n for n in proto.graph.node if n.op_type == "Conv").input[1])


def test_a_matrix_for_each_index_that_the_input_broadcasts_to() -> None:
    weights = {"W": random((4, 6, 5), 0)}
    original = model("g (float[N,1,3,6] x) => (float[N,4,3,5] y) { [fc] y = MatMul(x, W) }", weights)
    converted = model(
        """g (float[N,1,3,6] x) => (float[N,4,3,5] y) <int64[4] to = {0, 4, 3, 6}, int64[4] shape = {1, 4, 1, 1},
        int64[4] to_map = {0, 24, 3, 1}, int64[4] to_heads = {0, 4, 5, 3}> {
            e = Expand(x, shape)
            t = Transpose<perm=[0,1,3,2]>(e)
            m = Reshape(t, to_map)
            [fc] y_conv = Conv<group=4>(m, K)
            h = Reshape(y_conv, to_heads)
            y = Transpose<perm=[0,1,3,2]>(h)
        }""",
        {"K": np.ascontiguousarray(weights["W"].swapaxes(1, 2)).reshape(20, 6, 1, 1)},
    )
    result = verify(original, converted, False)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert result.verdict == "proved"
