"""The network that sees colours, and a picture with two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coloured import written
from PIL import Image


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The fully convolutional network, in a file."""
    return written(tmp_path)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """110x140 pixels of grey noise, red at 60-90 x 20-50 (x, y) and blue at 30-50 x 70-90."""
    pixels = np.random.default_rng(1).integers(100, 140, (110, 140, 3)).astype(np.uint8)
    pixels[20:50, 60:90] = (230, 10, 10)
    pixels[70:90, 30:50] = (10, 10, 230)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path
