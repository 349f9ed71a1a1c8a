"""Nodes that only regroup or reorder dimensions."""

from __future__ import annotations

import pytest
from inferring import look

from fc2conv.analysis.facts import Elide
from fc2conv.layout.axes import Size
from fc2conv.layout.view import Provenance

MAP = "x.0 | x.1 | x.2 | x.3"


def reshaped(target: str, shape: str = "N,4,3,2") -> str | None:
    """The layout of a map after Reshape to the target; None where the map's spatial form is not handed on."""
    sizes = target.strip("{}").split(",")
    out = ",".join(["?"] * len(sizes))
    seen = look(
        f"""graph (float[{shape}] x) => (float[{out}] y) <int64[{len(sizes)}] s = {target}>
        {{ y = Reshape (x, s) }}"""
    )
    return seen.dims("y") if seen.spatial_form("y") == seen.spatial_form("x") else None


@pytest.mark.parametrize(
    ("target", "dims"),
    [
        ("{-1, 24}", "x.0 | x.1 x.2 x.3"),
        ("{0, -1}", "x.0 | x.1 x.2 x.3"),
        ("{0, 0, -1}", "x.0 | x.1 | x.2 x.3"),
        ("{-1, 4, 6}", "x.0 | x.1 | x.2 x.3"),
        ("{-1, 2}", "x.0 x.1 x.2 | x.3"),
        ("{0, 2, 2, 6}", "x.0 | x.1/2%2 | x.1/1%2 | x.2 x.3"),
        ("{0, 2, -1}", "x.0 | x.1/2%2 | x.1/1%2 x.2 x.3"),
        ("{-1, 1, 24, 1}", "x.0 | 1 | x.1 x.2 x.3 | 1"),
        ("{-1}", "x.0 x.1 x.2 x.3"),
        ("{-1, 12}", "x.0 x.1/2%2 | x.1/1%2 x.2 x.3"),  # (2N, 12): half of the channels in the batch
    ],
)
def test_reshape(target: str, dims: str) -> None:
    assert reshaped(target) == dims


@pytest.mark.parametrize("target", ["{-1, 8}", "{0, 3, 8}", "{1, 5, -1}"])
def test_reshape_that_no_axis_has(target: str) -> None:
    assert reshaped(target) is None


def test_reshape_of_a_known_batch() -> None:
    assert reshaped("{1, -1}", "1,4,3,2") == "1 | x.1 x.2 x.3"
    assert reshaped("{1, -1}", "2,4,3,2") == "1 | x.0 x.1 x.2 x.3"


def test_reshape_copies_zero_unless_zero_is_allowed() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y) <int64[2] s = {0, 24}>
        { y = Reshape <allowzero = 1> (x, s) }""",
        opset=14,
    )
    assert seen.dims("y") != "x.0 | x.1 x.2 x.3"


def test_reshape_before_opset_5_has_its_target_as_an_attribute() -> None:
    seen = look("graph (float[N,4,3,2] x) => (float[?,?] y) { y = Reshape <shape = [0, -1]> (x) }", opset=4)
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 x.2 x.3", MAP)


def test_reshape_to_a_target_that_nobody_knows() -> None:
    seen = look("graph (float[N,4,3,2] x, int64[2] s) => (float[?,?] y) { [r] y = Reshape (x, s) }")
    assert seen.spatial_form("y") is None
    assert seen.provenance("y") == (Provenance.LOST, "r")


@pytest.mark.parametrize(
    ("axis", "dims"),
    [
        (0, "1 | x.0 x.1 x.2 x.3"),
        (1, "x.0 | x.1 x.2 x.3"),
        (3, "x.0 x.1 x.2 | x.3"),
        (4, "x.0 x.1 x.2 x.3 | 1"),
        (-1, "x.0 x.1 x.2 | x.3"),
        (-3, "x.0 | x.1 x.2 x.3"),
    ],
)
def test_flatten(axis: int, dims: str) -> None:
    seen = look(f"graph (float[N,4,3,2] x) => (float[?,?] y) {{ y = Flatten <axis = {axis}> (x) }}")
    assert (seen.dims("y"), seen.spatial_form("y")) == (dims, MAP)
    assert seen.recipe("y") == Elide("x")


@pytest.mark.parametrize(
    ("attribute", "dims"), [("<perm = [0, 2, 3, 1]>", "x.0 | x.2 | x.3 | x.1"), ("", "x.3 | x.2 | x.1 | x.0")]
)
def test_transpose(attribute: str, dims: str) -> None:
    seen = look(f"graph (float[N,4,3,2] x) => (float[?,?,?,?] y) {{ y = Transpose {attribute} (x) }}")
    assert (seen.dims("y"), seen.spatial_form("y")) == (dims, MAP)


def test_flattened_channels_last() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y)
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          y = Flatten (t) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 x.3 x.1", MAP)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(("axes", "dims"), [([2, 3], "x.0 | x.1"), ([-1], "x.0 | x.1 | 1"), ([-1, -2], "x.0 | x.1")])
def test_squeeze(opset: int, axes: list[int], dims: str) -> None:
    given = opset >= 13
    declared = f"<int64[{len(axes)}] a = {{{str(axes)[1:-1]}}}>" if given else ""
    attribute = "" if given else f"<axes = {axes}>"
    out = ",".join("?" * (1 + dims.count("|")))
    seen = look(
        f"""graph (float[N,4,1,1] x) => (float[{out}] y) {declared}
        {{ y = Squeeze {attribute} (x{", a" if given else ""}) }}""",
        opset=opset,
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == (dims, "x.0 | x.1 | 1 | 1")


def test_squeeze_without_axes() -> None:
    known = look("graph (float[3,4,1,1] x) => (float[?,?] y) { y = Squeeze (x) }")
    assert (known.dims("y"), known.spatial_form("y")) == ("x.0 | x.1", "x.0 | x.1 | 1 | 1")


def test_squeeze_without_axes_takes_the_batch_as_well_where_that_is_one() -> None:
    seen = look(
        """graph (float[N,4,1,1] x) => (float[N,5] y) <float[4,5] w>
        { s = Squeeze (x)
          [fc] y = MatMul (s, w) }"""
    )
    assert seen.provenance("y")[0] is not Provenance.MAP
    assert next(iter(seen.decided.values())).startswith("FC")


def test_what_is_squeezed_has_size_one() -> None:
    seen = look(
        """graph (float[N,4,H,W] x) => (float[?,?,?] y) <int64[1] a = {2}>
        { y = Squeeze (x, a) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | x.3", "x.0 | x.1 | 1 | x.3")


@pytest.mark.parametrize("opset", [11, 13])
def test_unsqueeze(opset: int) -> None:
    declared, operand, attribute = (
        ("<int64[2] a = {-1, 1}>", ", a", "") if opset >= 13 else ("", "", "<axes = [-1, 1]>")
    )
    seen = look(
        f"""graph (float[N,4,3,2] x) => (float[?,?,?,?,?,?] y) {declared}
        {{ y = Unsqueeze {attribute} (x{operand}) }}""",
        opset=opset,
    )
    assert seen.dims("y") == "x.0 | 1 | x.1 | x.2 | x.3 | 1"
    assert seen.spatial_form("y") == MAP


def test_nothing_vanishes_without_a_spatial_form() -> None:
    seen = look(
        """graph (float[N,4] x) => (float[?,?,?] y) <int64[1] a = {1}>
        { y = Unsqueeze (x, a) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y"), seen.recipe("y")) == ("x.0 | 1 | x.1", None, None)
    assert seen.view("y").dims[2][0].size == Size(4)
