"""What the tests of the fully convolutional mode share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def fixture() -> Callable[[str], ModelProto]:
    """A committed fixture by name."""
    return lambda name: onnx.load(FIXTURES / f"{name}.onnx")
