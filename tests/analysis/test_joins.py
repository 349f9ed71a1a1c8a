"""Layouts through Concat and Split."""

from __future__ import annotations

import pytest
from inferring import look
from test_axiswise import along

from fc2conv.layout.view import Provenance


def test_concat_of_maps_on_the_channels() -> None:
    seen = look("graph (float[N,4,3,2] x, float[N,5,3,2] z) => (float[N,9,3,2] y) { y = Concat <axis = 1> (x, z) }")
    assert seen.dims("y") == seen.spatial_form("y") == "x.0 | y.joined | x.2 | x.3"
    assert seen.runs_with("y") == {"axis": 1}
    assert str(seen.view("y").dims[1][0].size) == "9"


def test_concat_of_channels_last_on_the_last_dimension() -> None:
    seen = look(
        """graph (float[N,4,3,2] x, float[N,5,3,2] z) => (float[?,?,?,?] y)
        { a = Transpose <perm = [0, 2, 3, 1]> (x)
          b = Transpose <perm = [0, 2, 3, 1]> (z)
          y = Concat <axis = -1> (a, b) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 | x.3 | y.joined", "x.0 | y.joined | x.2 | x.3")
    assert seen.runs_with("y") == {"axis": 1}


def test_concat_of_flattened_maps_joins_the_channels() -> None:
    seen = look(
        """graph (float[N,4,3,2] x, float[N,5,3,2] z) => (float[?,?] y)
        { a = Flatten (x)
          b = Flatten (z)
          y = Concat <axis = 1> (a, b) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | y.joined x.2 x.3", "x.0 | y.joined | x.2 | x.3")
    assert seen.runs_with("y") == {"axis": 1}


@pytest.mark.parametrize(
    ("other", "before"),
    [
        ("N,5,2,3", "a = Flatten (x)\n b = Flatten (z)"),  # other spatial sizes
        ("N,4,3,2", "a = Flatten (x)\n t = Transpose <perm = [0, 2, 3, 1]> (z)\n b = Flatten (t)"),  # another order
        (
            "N,4,3,2",  # both with the channels last: they are not joined in one piece
            "s = Transpose <perm = [0, 2, 3, 1]> (x)\n a = Flatten (s)\n"
            "t = Transpose <perm = [0, 2, 3, 1]> (z)\n b = Flatten (t)",
        ),
    ],
)
def test_concat_that_the_spatial_forms_cannot_do_makes_a_new_axis(other: str, before: str) -> None:
    seen = look(
        f"""graph (float[N,4,3,2] x, float[{other}] z) => (float[?,?] y)
        {{ {before}
           y = Concat <axis = 1> (a, b) }}"""
    )
    assert (seen.dims("y"), seen.spatial_form("y"), seen.recipe("y")) == ("x.0 | y.joined", None, None)


def test_concat_asks_for_nothing_within_what_it_joins() -> None:
    """A pooled map is flattened with as many channels, and with other cells, whose number nobody knows."""
    seen = look(
        """graph (float[N,2,L] x) => (float[?,?] y) <float[2] s>
        { r = BatchNormalization (x, s, s, s, s)  p = MaxPool <kernel_shape = [2], strides = [2]> (r)
          a = Flatten (r)  b = Flatten (p)  y = Concat <axis = 1> (a, b) }"""
    )
    assert seen.dims("y") == "x.0 | y.joined"


def test_concat_of_a_value_with_itself() -> None:
    seen = along("", "Concat <axis = 1> (x, x)", rank=4)
    assert seen.spatial_form("y") == "x.0 | y.joined | x.2 | x.3"


def test_a_class_token_beside_tokens_is_one_cell_more() -> None:
    seen = look(
        """graph (float[1,4,3,2] x) => (float[1,7,4] y) <int64[3] s = {0, 4, 6}, float[1,1,4] token>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          [join] y = Concat <axis = 1> (token, t) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("1 | y.joined | x.1", "1 | x.1 | 1 | y.joined")
    assert seen.runs_with("join") == {"axis": 3}
    assert seen.provenance("y") == (Provenance.OPAQUE, "join")


def test_concat_of_a_map_with_features_of_no_map_is_opaque() -> None:
    seen = look(
        """graph (float[N,4,1,1] x, float[N,5] z) => (float[N,9] y)
        { a = Flatten (x)
          [join] y = Concat <axis = 1> (a, z) }"""
    )
    assert seen.provenance("y") == (Provenance.OPAQUE, "join")
    assert (seen.spatial_form("z"), seen.runs_with("join")) == ("z.0 | z.1 | 1 | 1", {"axis": 1})


# ------------------------------------------------------------------ Split


@pytest.mark.parametrize(
    ("opset", "node", "declared"),
    [
        (11, "Split <axis = 1, split = [1, 3]> (x)", "float[1] unused"),
        (13, "Split <axis = 1> (x, s)", "int64[2] s = {1, 3}"),
        (13, "Split <axis = -3> (x, s)", "int64[2] s = {1, 3}"),
    ],
)
def test_split_of_the_channels(opset: int, node: str, declared: str) -> None:
    seen = look(
        f"graph (float[N,4,3,2] x) => (float[?,?,?,?] y, float[?,?,?,?] z) <{declared}> {{ y, z = {node} }}",
        opset=opset,
    )
    assert seen.runs_with("y") == {"axis": 1}
    # One channel is no axis: a dimension of size 1 is ().
    assert seen.dims("y") == seen.spatial_form("y") == "x.0 | 1 | x.2 | x.3"
    assert seen.dims("z") == seen.spatial_form("z") == "x.0 | z.1 | x.2 | x.3"


def test_split_into_equal_parts_and_a_rest() -> None:
    seen = look(
        """graph (float[N,5,3,2] x) => (float[?,?,?,?] y, float[?,?,?,?] z)
        { y, z = Split <axis = 1, num_outputs = 2> (x) }""",
        opset=18,
    )
    assert [str(seen.view(name).dims[1][0].size) for name in "yz"] == ["3", "2"]


def test_split_of_a_flattened_map_needs_the_original() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y, float[?,?] z)
        { a = Flatten (x)
          [cut] y, z = Split <axis = 1> (a) }"""
    )
    assert (seen.dims("y"), seen.dims("z")) == ("x.0 | y.1", "x.0 | z.1")
    assert (seen.spatial_form("y"), seen.recipe("cut")) == (None, None)
    assert seen.provenance("z") == (Provenance.OPAQUE, "cut")


def test_split_of_tokens_runs_on_the_channels() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?] y, float[?,?,?] z) <int64[3] s = {0, 4, -1}>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          y, z = Split <axis = 2> (t) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 x.3 | y.2", "x.0 | y.2 | x.2 | x.3")
    assert seen.runs_with("y") == {"axis": 1}
