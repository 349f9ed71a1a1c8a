"""What Resize makes of a part of a map is that part of what it makes of the map, apart from the rim that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from exact_models import compared, text
from execute import run
from onnx import ModelProto


@dataclass(frozen=True)
class _Way:
    """A Resize of 20 cells by a factor, and which cells of a part, which begins at a cell and has 10, read no rim."""

    attributes: str
    factor: str
    inner: slice
    begin: int = 5


WAYS = {
    "linear, smaller": _Way('mode = "linear"', "0.4", slice(0, 4)),
    "linear, larger": _Way('mode = "linear"', "2.0", slice(1, 19)),
    "linear, a scale that is no float": _Way('mode = "linear"', "0.6", slice(0, 6)),
    "linear from the rim on": _Way('mode = "linear", coordinate_transformation_mode = "asymmetric"', "1.6", slice(14)),
    "cubic": _Way('mode = "cubic"', "0.4", slice(1, 3)),
    "cubic without its rim": _Way('mode = "cubic", exclude_outside = 1', "2.0", slice(4, 16)),
    "a filter": _Way('mode = "linear", antialias = 1', "0.4", slice(1, 3)),
    "nearest, smaller": _Way('mode = "nearest"', "0.4", slice(0, 4)),
    "nearest, where no rounding decides": _Way('mode = "nearest"', "0.2", slice(0, 2)),
    "nearest, to the floor": _Way(
        'mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"', "1.5", slice(15), 4
    ),
}


def _both(way: _Way, moved: int = 0) -> tuple[ModelProto, ModelProto]:
    """The inner cells of a part, and of the whole map `moved` cells beside them."""
    first, count = way.inner.start or 0, way.inner.stop - (way.inner.start or 0)
    start = round(way.begin * float(way.factor)) + first + moved
    head = f"""graph (float[1,2,20,3] x) => (float[1,2,{count},3] y)
        <float[4] s = {{1.0, 1.0, {way.factor}, 1.0}}, int64[1] a = {{2}},
        int64[1] b = {{{way.begin}}}, int64[1] e = {{{way.begin + 10}}},
        int64[1] i = {{{first}}}, int64[1] j = {{{first + count}}},
        int64[1] k = {{{start}}}, int64[1] l = {{{start + count}}}>"""
    part = f"{head} {{ c = Slice (x, b, e, a)  u = Resize <{way.attributes}> (c, , s)  y = Slice (u, i, j, a) }}"
    whole = f"{head} {{ u = Resize <{way.attributes}> (x, , s)  y = Slice (u, k, l, a) }}"
    return text(part, 18), text(whole, 18)


@pytest.mark.parametrize("name", WAYS)
def test_a_part_of_a_map_has_the_same_cells(name: str) -> None:
    one, other = _both(WAYS[name])
    given = {"x": np.random.default_rng(0).standard_normal((1, 2, 20, 3)).astype(np.float32)}
    assert np.allclose(*run(one, given), *run(other, given), atol=1e-5)
    assert compared(one, other).check.verdict == "proved"


@pytest.mark.parametrize("name", WAYS)
def test_cells_beside_them_are_others(name: str) -> None:
    assert compared(*_both(WAYS[name], moved=1)).check.verdict != "proved"


@pytest.mark.parametrize("name", ["linear, larger", "a filter", "cubic without its rim"])
def test_the_rim_of_a_part_is_another(name: str) -> None:
    way = WAYS[name]
    assert compared(*_both(_Way(way.attributes, way.factor, slice(way.inner.stop)))).check.verdict != "proved"
