"""A layer over flattened maps side by side as the sum of convolutions: proved, and every fault in it refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case, edit, model, nearly_equal, node, originals, pair, tiny, verdicts, verify
from onnx import helper
from sums import CASES, PYRAMID, TWO_LAYOUTS

import fc2conv

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
@pytest.mark.parametrize("fill", [None, tiny, nearly_equal], ids=["random", "tiny", "nearly_equal"])
def test_a_right_sum_is_proved(case: Case, fill: Any) -> None:
    models = pair(case) if fill is None else pair(case, fill)
    result = verify(*models, True)
    found = verdicts(result)
    assert (found["exact"], result.verdict) == ("proved", "proved"), result.checks


@pytest.mark.parametrize("case", [PYRAMID, TWO_LAYOUTS], ids=lambda case: case.name)
def test_what_is_converted_as_a_sum_is_proved(case: Case) -> None:
    original = model(case.original, originals(case))
    conversion = fc2conv.convert(original)
    assert conversion.model is not None
    assert sum(n.op_type == "Add" and "Conv" in _makers(conversion.model, n) for n in conversion.model.graph.node)
    for found in (conversion.report.verification, fc2conv.verify(original, conversion.model)):
        assert found is not None
        assert verdicts(found)["exact"] == "proved", found.checks


def _makers(proto: Any, add: Any) -> set[str]:
    return {n.op_type for n in proto.graph.node if set(n.output) & set(add.input)}


def test_one_weight_of_a_part() -> None:
    original, converted = pair(PYRAMID)
    edit(converted, "W_2", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 14, np.float32(7), a))
    exact = next(c for c in verify(original, converted, True).checks if c.name == "exact")
    assert (exact.verdict, exact.detail) == ("differs", "y (made by fc) is another function, first at [0, 1]")


def test_something_else_in_the_sum_is_a_fault() -> None:
    original, converted = pair(PYRAMID)
    at = node(converted, "y_part_2")
    at.output[0] = "planted"
    place = list(converted.graph.node).index(at)
    converted.graph.node.insert(place + 1, helper.make_node("Relu", ["planted"], ["y_part_2"], "activation"))
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] == "inconclusive", result.checks
    assert result.verdict == "differs", result.checks
