"""Layouts over the whole axes of a map."""

from __future__ import annotations

import numpy as np
import pytest

from fc2conv.fcn.forms import Form, regrouped, widened, without

MAP = ((0,), (1,), (2,), (3,))


@pytest.mark.parametrize(
    ("layout", "sizes", "target", "wanted"),
    [
        (MAP, (7, 5, 1, 1), (7, 5), ((0,), (1, 2, 3))),
        (MAP, (1, 5, 1, 1), (5,), ((0, 1, 2, 3),)),
        (MAP, (1, 5, 1, 1), (1, 5), ((0,), (1, 2, 3))),
        (MAP, (7, 5, 4, 3), (7, 60), ((0,), (1, 2, 3))),
        (MAP, (7, 5, 4, 3), (7, 5, 12), ((0,), (1,), (2, 3))),
        (((0,), (1, 2, 3)), (7, 5, 1, 1), (7, 1, 1, 5), ((0,), (), (), (1, 2, 3))),
        (((0,), (2,), (3,), (1,)), (7, 5, 4, 3), (7, 12, 5), ((0,), (2, 3), (1,))),
        (MAP, (7, 6, 4, 4), (7, 2, 3, 4, 4), None),
        (MAP, (7, 6, 4, 4), (42, 16), ((0, 1), (2, 3))),
        (MAP, (2, 5, 3, 3), (3, 30), None),
    ],
)
def test_reshape(
    layout: tuple[tuple[int, ...], ...],
    sizes: tuple[int, ...],
    target: tuple[int, ...],
    wanted: tuple[tuple[int, ...], ...] | None,
) -> None:
    assert regrouped(layout, sizes, target) == wanted


def test_squeeze_and_unsqueeze_keep_every_axis() -> None:
    assert without(MAP, [2, 3]) == ((0,), (1, 2, 3))
    assert without(MAP, [0]) == ((0, 1), (2,), (3,))
    assert without(((0,),), [0]) is None
    assert widened(((0,), (1, 2, 3)), [1, 3]) == ((0,), (), (1, 2, 3), ())


def test_what_is_the_map_itself() -> None:
    free = frozenset((2, 3))
    assert Form("x", MAP, (7, 5, 4, 4), free).is_map
    assert Form("x", ((0,), (1, 2, 3), (), ()), (7, 5, 1, 1), free).is_map
    assert not Form("x", ((0,), (1, 2, 3), (), ()), (7, 5, 4, 1), free).is_map
    assert not Form("x", ((0,), (2,), (3,), (1,)), (7, 5, 4, 4), free).is_map


def test_values_and_maps_are_the_same_numbers() -> None:
    from fc2conv.verification.heads import as_map, as_value

    cells = np.random.default_rng(1).standard_normal((2, 5, 4, 3))
    for layout in (MAP, ((0,), (2,), (3,), (1,)), ((0,), (1, 2, 3)), ((3,), (0,), (1, 2)), ((0, 2), (3, 1))):
        value = as_value(cells, layout)
        assert np.array_equal(as_map(value, layout, cells.shape), cells)
    assert np.array_equal(as_value(cells, ((0,), (2,), (3,), (1,))), cells.transpose(0, 2, 3, 1))
