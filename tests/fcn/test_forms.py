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
        (MAP, (7, 6, 4, 4), (7, 2, 3, 4, 4), ((0,), (1,), (1,), (2,), (3,))),
        (MAP, (7, 5, 6, 4), (7, 5, 3, 2, 2, 2), ((0,), (1,), (2,), (2,), (3,), (3,))),
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
    found = regrouped(Form("x", layout, sizes, frozenset()).pieces, target)
    assert (found and tuple(tuple(axis for axis, _ in dim) for dim in found)) == wanted
    assert found is None or tuple(int(np.prod([size for _, size in dim])) for dim in found) == target


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


@pytest.mark.parametrize(
    "layout", [MAP, ((0,), (2,), (3,), (1,)), ((0,), (1, 2, 3)), ((3,), (0,), (1, 2)), ((0, 2), (3, 1))]
)
def test_values_and_maps_are_the_same_numbers(layout: tuple[tuple[int, ...], ...]) -> None:
    from onnx import parser
    from onnx.reference import ReferenceEvaluator

    from fc2conv.io.reader import model_file_from_proto
    from fc2conv.verification.drafts import Draft

    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[2,5,4,3] x) => (float[2,5,4,3] y) { y = Relu (x) }'
    file = model_file_from_proto(parser.parse_model(text))
    cells = np.random.default_rng(1).standard_normal((2, 5, 4, 3)).astype(np.float32)
    draft = Draft(file, file, {})
    value = draft.as_value("x", layout, cells.shape)
    draft.give("value", value)
    draft.give("cells", draft.as_map(value, layout, cells.shape))
    found, back = ReferenceEvaluator(draft.finished().model).run(None, {"x": cells})
    axes = [axis for dim in layout for axis in dim]
    assert np.array_equal(found.reshape(-1), cells.transpose(axes).reshape(-1))
    assert list(found.shape) == [int(np.prod([cells.shape[axis] for axis in dim])) for dim in layout]
    assert np.array_equal(back, cells)
