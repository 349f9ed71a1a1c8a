"""Nodes that work along one named dimension."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from inferring import Seen, look
from textmodel import parse

import fc2conv
from fc2conv.analysis.facts import AsIs, Elide, FormOf, NewInts, Remap
from fc2conv.layout.view import Provenance

MAP = "x.0 | x.1 | x.2 | x.3"


def along(
    before: str, node: str, *, shape: str = "N,4,3,2", rank: int = 2, opset: int = 13, declared: str = ""
) -> Seen:
    """A map x, nodes that make `a` of it, and one that makes `y` of `a`."""
    out = ",".join("?" * rank)
    return look(
        f"graph (float[{shape}] x) => (float[{out}] y) <{declared or 'float[1] unused'}> {{ {before} y = {node} }}",
        opset=opset,
    )


FLAT = "a = Flatten (x)"
LAST = "a = Transpose <perm = [0, 2, 3, 1]> (x)"


# ------------------------------------------------------------------ Softmax


@pytest.mark.parametrize(
    ("opset", "shape", "axis", "at"),
    [
        (13, "N,4,3,2", 1, 1),
        (13, "N,4,3,2", -1, 3),
        (13, "N,4,3,2", -3, 1),
        (11, "N,4,3,2", -1, 3),
        (11, "N,4,1,1", 1, 1),
        (11, "N,4,3,1", -2, 2),
    ],
)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_on_the_map_keeps_its_axis(op: str, opset: int, shape: str, axis: int, at: int) -> None:
    seen = along("", f"{op} <axis = {axis}> (x)", shape=shape, rank=4, opset=opset)
    assert seen.recipe("y") == Remap((FormOf("x"),), {"axis": at})
    assert seen.dims("y") == seen.spatial_form("y") == seen.dims("x")


@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (11, 0), (11, -3)])
def test_old_softmax_over_several_dimensions_needs_the_original(opset: int, axis: int) -> None:
    seen = along("", f"Softmax <axis = {axis}> (x)", rank=4, opset=opset)
    assert (seen.recipe("y"), seen.spatial_form("y"), seen.dims("y")) == (None, None, MAP)
    assert seen.provenance("y") == (Provenance.OPAQUE, "y")


@pytest.mark.parametrize(("opset", "default"), [(11, "x.0 | x.1"), (13, "x.0 | x.1")])
def test_softmax_without_axis_over_features(opset: int, default: str) -> None:
    seen = along(FLAT, "Softmax (a)", shape="N,4,1,1", opset=opset)
    assert seen.dims("y") == default
    assert seen.runs_with("y") == {
        "axis": 1
    }  # 1 and -1 are the same dimension of [N, C], the channels of the spatial form


def test_softmax_without_axis_means_the_last_dimension_or_all_but_the_first() -> None:
    assert along("", "Softmax (x)", rank=4, opset=13).runs_with("y") == {"axis": 3}
    assert along("", "Softmax (x)", rank=4, opset=11).recipe("y") is None


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_over_the_last_of_channels_last(opset: int) -> None:
    seen = along(LAST, "Softmax <axis = -1> (a)", rank=4, opset=opset)
    if opset == 13:
        assert (seen.runs_with("y"), seen.spatial_form("y")) == ({"axis": 1}, MAP)
    else:
        # On the spatial form the old Softmax would flatten from the channels on.
        assert (seen.recipe("y"), seen.spatial_form("y")) == (None, None)


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_over_a_flattened_map_needs_the_original(opset: int) -> None:
    seen = along(FLAT, "Softmax <axis = 1> (a)", opset=opset)
    assert (seen.dims("y"), seen.spatial_form("y"), seen.recipe("y")) == ("x.0 | x.1 x.2 x.3", None, None)
    assert seen.provenance("y") == (Provenance.OPAQUE, "y")


def test_softmax_over_a_dimension_of_size_one_needs_the_original() -> None:
    assert along("", "Softmax <axis = 2> (x)", shape="N,4,1,1", rank=4).recipe("y") is None


# ------------------------------------------------------------------ Slice


SLICE = "int64[1] b = {1}, int64[1] e = {3}"


def test_slice_of_channels_last_on_the_spatial_form() -> None:
    seen = along(LAST, "Slice (a, b, e, d)", rank=4, declared=SLICE + ", int64[1] d = {-1}")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 | x.3 | y.3", "x.0 | y.3 | x.2 | x.3")
    assert seen.recipe("y") == Remap((FormOf("a"), AsIs("b"), AsIs("e"), NewInts((1,))))


def test_slice_with_steps_keeps_them() -> None:
    seen = along("", "Slice (x, b, e, d, t)", rank=4, declared=SLICE + ", int64[1] d = {1}, int64[1] t = {2}")
    assert seen.recipe("y") == Remap((FormOf("x"), AsIs("b"), AsIs("e"), NewInts((1,)), AsIs("t")))


def test_slice_without_axes_cuts_the_first_dimensions() -> None:
    seen = along("", "Slice (x, b, e)", rank=4, declared="int64[2] b = {0, 1}, int64[2] e = {9, 3}")
    assert seen.dims("y") == "y.0 | y.1 | x.2 | x.3"
    assert seen.recipe("y") == Remap((FormOf("x"), AsIs("b"), AsIs("e"), NewInts((0, 1))))


def test_slice_before_opset_10_has_attributes() -> None:
    seen = along(LAST, "Slice <axes = [3], starts = [1], ends = [3]> (a)", rank=4, opset=9)
    assert seen.recipe("y") == Remap((FormOf("a"),), {"axes": [1]})


def test_slice_of_a_flattened_map_needs_the_original() -> None:
    seen = along(FLAT, "Slice (a, b, e, d)", declared=SLICE + ", int64[1] d = {1}")
    assert (seen.dims("y"), seen.spatial_form("y"), seen.recipe("y")) == ("x.0 | y.1", None, None)


# ------------------------------------------------------------------ Gather, Pad, Expand, norms, products


def test_gather_of_one_index_removes_the_dimension() -> None:
    seen = along("", "Gather <axis = 2> (x, i)", rank=3, declared="int64 i = {0}")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | x.3", "x.0 | x.1 | 1 | x.3")
    assert seen.recipe("y") == Remap((FormOf("x"), NewInts((0,))), {"axis": 2})
    assert seen.provenance("y") == (Provenance.MAP, "")


def test_gather_of_several_makes_an_axis() -> None:
    seen = along("", "Gather <axis = -1> (x, i)", rank=4, declared="int64[3] i = {0, 1, 0}")
    assert seen.dims("y") == "x.0 | x.1 | x.2 | y.3"


def test_gather_of_all_in_their_order_is_a_reshape() -> None:
    seen = along("", "Gather <axis = 1> (x, i)", rank=4, declared="int64[1,4] i = {0, 1, 2, 3}")
    assert (seen.dims("y"), seen.recipe("y")) == ("x.0 | 1 | x.1 | x.2 | x.3", Elide("x"))


@pytest.mark.parametrize(("offsets", "dims"), [("0, 1, 2, 3", "x.0 | x.1"), ("0, 1, 3, 2", "y.0 | y.1")])
def test_gather_of_all_items_in_their_order_is_a_reshape(offsets: str, dims: str) -> None:
    seen = along(
        """s = Shape (x)  n = Gather (s, i)  r = Range (i, n, one)  m = Mul (r, four)  u = Unsqueeze (m, ax)
        o = Add (u, k)  f = Reshape (x, flat)""",
        "Gather (f, o)",
        shape="N,4,1,1",
        declared=f"""int64 i = {{0}}, int64 one = {{1}}, int64 four = {{4}}, int64[1] ax = {{1}},
        int64[4] k = {{{offsets}}}, int64[1] flat = {{-1}}""",
    )
    assert seen.dims("y") == dims


@pytest.mark.parametrize(
    ("node", "declared", "dims"),
    [
        ("Pad (x, p)", "int64[8] p = {0, 0, 1, 0, 0, 0, 1, 0}", "y.0 | x.1 | y.2 | x.3"),
        ("Tile (x, p)", "int64[4] p = {1, 1, 2, 1}", "y.0 | x.1 | y.2 | x.3"),
    ],
)
def test_a_map_that_is_resized_is_a_map(node: str, declared: str, dims: str) -> None:
    seen = along("", node, rank=4, declared=declared)
    assert seen.dims("y") == seen.spatial_form("y") == dims
    assert seen.provenance("y")[0] is Provenance.MAP


def test_a_flattened_map_that_is_padded_is_opaque() -> None:
    seen = along(FLAT, "Pad (a, p)", declared="int64[4] p = {0, 1, 0, 1}")
    assert (seen.spatial_form("y"), seen.provenance("y")) == (None, (Provenance.OPAQUE, "y"))


@pytest.mark.parametrize("axis", [-1, 3])
def test_layer_normalization_of_channels_moves_them_to_the_end_and_back(axis: int) -> None:
    seen = along(LAST, f"LayerNormalization <axis = {axis}> (a, g)", rank=4, opset=17, declared="float[4] g")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 | x.3 | x.1", MAP)
    assert seen.provenance("y") == (Provenance.OPAQUE, "y")
    dims = seen.view("y").dims
    spatial_form = seen.view("y").spatial_form
    assert spatial_form is not None
    assert seen.recipe("y") == Remap((FormOf("a", (spatial_form, dims)), AsIs("g")), {"axis": -1}, (dims, spatial_form))


@pytest.mark.parametrize(
    ("axis", "declared"),
    [
        (2, "float[2,4] g"),  # of more than the channels, and not of all cells
        (3, "float[4] g"),  # of one cell the original costs no more
    ],
)
def test_other_norms_need_the_original(axis: int, declared: str) -> None:
    shape = "N,4,1,1" if axis == 3 else "N,4,3,2"
    seen = along(LAST, f"LayerNormalization <axis = {axis}> (a, g)", shape=shape, rank=4, opset=17, declared=declared)
    assert (seen.spatial_form("y"), seen.recipe("y")) == (None, None)


def test_a_product_of_activations_takes_its_rows_from_the_left() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?,?] y)
        { t = Transpose <perm = [0, 1, 3, 2]> (x)
          [mix] y = MatMul (x, t) }"""
    )
    assert seen.dims("y") == "x.0 | x.1 | x.2 | y/x.2"
    assert seen.provenance("y") == (Provenance.OPAQUE, "mix")


def test_what_is_not_known_loses_the_layout() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y, int64[?,?] i) <int64[1] k = {24}>
        { a = Flatten (x)
          [sort] y, i = TopK (a, k) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y"), seen.provenance("y")) == (
        "y.0 | y.1",
        None,
        (Provenance.LOST, "sort"),
    )


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("opset", [11, 18])
def test_a_pad_between_layers_runs_on_the_map(mode: str, opset: int) -> None:
    text = f"""graph (float[N,6,3,5] x) => (float[N,4,6,6] y)
    <float[6,6] v, float[6,6] w, int64[8] p = {{0, 0, 1, 0, 0, 1, 0, 0}}, float z = {{0.5}}>
    {{
      t = Transpose <perm = [0, 2, 3, 1]> (x)
      a = MatMul (t, v)
      b = Pad <mode = "{mode}"> (a, p, z)
      y = MatMul (b, w)
    }}"""
    model = parse(text, opset=opset)
    done = fc2conv.convert(model, None)
    assert done.model is not None
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert [node.op_type for node in done.model.graph.node] == ["Conv", "Pad", "Conv", "Transpose"]


def test_a_pad_of_some_axes() -> None:
    text = """graph (float[N,6,3,5] x) => (float[N,3,7,6] y)
    <float[6,6] v, float[6,6] w, int64[2] p = {1, 1}, int64[1] a = {-2}>
    {
      t = Transpose <perm = [0, 2, 3, 1]> (x)
      b = MatMul (t, v)
      c = Pad (b, p, , a)
      y = MatMul (c, w)
    }"""
    model = parse(text, opset=18)
    done = fc2conv.convert(model, None)
    assert done.model is not None
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert [node.op_type for node in done.model.graph.node] == ["Conv", "Pad", "Conv", "Transpose"]


def test_the_lists_of_a_slice_have_one_type() -> None:
    """The new axes of a Slice whose other lists are int32 are int32 as well."""
    text = """graph (float[N,2,3,4] x) => (float[N,6] y)
    <float[24,7] w, int32[2] b = {0, 1}, int32[2] e = {9, 7}>
    { f = Flatten (x)  m = MatMul (f, w)  r = Relu (m)  y = Slice (r, b, e) }"""
    model = parse(text)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert [node.op_type for node in done.model.graph.node] == ["Conv", "Relu", "Slice", "Flatten"]
