"""Conversions that are proved, for the tests of kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import execute
import numpy as np
from onnx import ModelProto

import fc2conv
from fc2conv.options import Options
from fc2conv.report.types import Report


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def proved(original: ModelProto, **options: Any) -> tuple[ModelProto, Report]:
    """The conversion, which exact arithmetic proves wherever a layer was converted and all shapes are known."""
    found = fc2conv.convert(original, options=Options(**options))
    if found.report.verification is not None:
        exact = next(check for check in found.report.verification.checks if check.name == "exact")
        assert exact.verdict == "proved" or "is not known" in exact.detail
    return found.model, found.report


def proved_as_defined(
    original: ModelProto, defined: Callable[[ModelProto], ModelProto], **options: Any
) -> tuple[ModelProto, Report]:
    """The proved conversion of a model of one layer; with definitions of their operators both compute the same."""
    found = fc2conv.convert(original, options=Options(**options))
    assert [layer.decision for layer in found.report.sites] == ["convert"]
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"
    inputs = execute.feeds(original, {"N": 3})
    one, other = (execute.run(defined(each), inputs) for each in (original, found.model))
    assert execute.difference(one, other) < 1e-5
    return found.model, found.report
