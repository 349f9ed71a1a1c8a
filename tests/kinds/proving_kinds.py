"""Conversions that are proved, for the tests of kinds."""

from __future__ import annotations

from typing import Any

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
