"""Networks with anything in front of the first convolution are the original on every crop."""

from __future__ import annotations

import pytest
from sliding_fronts import FRONTS, behind
from sliding_judge import CLOSE, at_crops, at_training_size, geometry, slid


@pytest.mark.parametrize("name", FRONTS)
def test_every_cell_is_the_original_on_its_crop(name: str) -> None:
    original = behind(name)
    sliding = slid(original)
    axes = geometry(sliding, "y")["axes"]
    assert [axis["stride"] for axis in axes] == [FRONTS[name].stride] * 2
    assert at_training_size(original, sliding, 1) < CLOSE
    assert at_crops(original, sliding, [axis["size"] + 2 * axis["period"] for axis in axes]) < CLOSE
