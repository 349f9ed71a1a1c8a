"""Seeds: whose result is a feature map."""

from __future__ import annotations

import pytest
from inferring import look

from fc2conv.layout.view import Provenance


@pytest.mark.parametrize(
    ("node", "declared"),
    [
        ("Conv (x, w)", "float[5,4,2,2] w"),
        ("ConvTranspose (x, w)", "float[4,5,2,2] w"),
        ("MaxPool <kernel_shape = [2, 2]> (x)", ""),
        ("GlobalAveragePool (x)", ""),
        ("SpaceToDepth <blocksize = 2> (x)", ""),
    ],
)
def test_a_map_is_its_own_spatial_form_over_axes_of_its_own(node: str, declared: str) -> None:
    seen = look(f"graph (float[N,4,6,6] x) => (float[?,?,?,?] y) <{declared or 'float[1] unused'}> {{ y = {node} }}")
    view = seen.view("y")
    assert view.free
    assert view.provenance is Provenance.MAP
    assert view.dims[0] == seen.view("x").dims[0]  # the batch is that of the operand
    assert all(axis.root.startswith("y.") for dim in view.dims[1:] for axis in dim)


NORMS = [("LRN <size = 3> (f)", ""), ("InstanceNormalization (f, a, b)", "float[4] a, float[4] b")]


@pytest.mark.parametrize(("node", "declared"), NORMS)
def test_a_normalized_map_is_the_map_that_it_was(node: str, declared: str) -> None:
    seen = look(
        f"""graph (float[N,4,6,6] x) => (float[?,?,?,?] y) <{declared or "float[1] unused"}>
        {{ f = Relu (x)
           y = {node} }}"""
    )
    assert seen.dims("y") == seen.spatial_form("y") == "x.0 | x.1 | x.2 | x.3"


def test_what_is_only_dressed_as_a_map_keeps_its_axes_and_is_a_map_again() -> None:
    """A group norm by way of a Reshape to [N, groups, -1]: in between there is no spatial form."""
    seen = look(
        """graph (float[N,4,6,6] x) => (float[?,?,?,?] y)
        <int64[3] s = {0, 2, -1}, int64[4] t = {0, 4, 6, 6}, float[2] a, float[2] b>
        { f = Reshape (x, s)
          g = InstanceNormalization (f, a, b)
          y = Reshape (g, t) }"""
    )
    assert (seen.dims("g"), seen.spatial_form("g")) == ("x.0 | x.1/2%2 | x.1/1%2 x.2 x.3", None)
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | x.2 | x.3", "x.0 | x.1 | x.2 | x.3")


def test_a_second_result_is_no_map() -> None:
    seen = look(
        """graph (float[N,4,6,6] x) => (float[?,?,?,?] y, int64[?,?,?,?] i)
        { [pool] y, i = MaxPool <kernel_shape = [2, 2]> (x) }"""
    )
    assert seen.view("y").free
    assert (seen.spatial_form("i"), seen.provenance("i")) == (None, (Provenance.LOST, "pool"))


def test_regions_are_items_of_their_own() -> None:
    seen = look(
        """graph (float[N,4,6,6] x, float[R,4] rois, int64[R] i) => (float[?,?,?,?] y)
        { y = RoiAlign <output_height = 2, output_width = 2> (x, rois, i) }""",
        opset=16,
    )
    assert seen.view("y").dims[0] != seen.view("x").dims[0]
    assert seen.view("y").free


def test_a_map_of_unknown_rank_is_unknown() -> None:
    seen = look(
        """graph (float[N,4,6,6] x, int64[K] s) => (float[?,?,?,?] y) <float[5,4,2,2] w>
        { r = Reshape (x, s)
          [conv] y = Conv (r, w) }"""
    )
    assert seen.view("y").provenance is not Provenance.NONE


@pytest.mark.parametrize(
    ("shape", "provenance", "has_spatial_form"),
    [
        ("N,4,6,6", Provenance.MAP, True),
        ("N,4,6,6,6", Provenance.MAP, True),
        ("N,4,6", Provenance.MAP, False),  # a 1-D map, or tokens: a Flatten on the way decides
        ("N,4", Provenance.NONE, False),
    ],
)
def test_graph_inputs(shape: str, provenance: Provenance, has_spatial_form: bool) -> None:
    out = ",".join("?" * len(shape.split(",")))
    seen = look(f"graph (float[{shape}] x) => (float[{out}] y) {{ y = Relu (x) }}")
    assert seen.view("x").provenance is provenance
    assert (seen.spatial_form("x") is not None) == has_spatial_form
