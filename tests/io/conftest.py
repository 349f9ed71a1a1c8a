"""A small model and the file that it is in, for the tests of what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto
from onnxfile_models import initializer, save


@pytest.fixture
def model() -> ModelProto:
    return initializer()


@pytest.fixture
def source(model: ModelProto, tmp_path: Path) -> Path:
    return save(model, tmp_path / "in.onnx")
