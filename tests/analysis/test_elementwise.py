"""Elementwise nodes: on spatial forms if all operands can be laid out alike."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from inferring import Seen, drawn, look
from textmodel import parse

import fc2conv
from fc2conv.analysis.elementwise import UNARY
from fc2conv.analysis.facts import AsIs, Expand, FormOf, Relaid, Remap
from fc2conv.layout.view import Provenance
from fc2conv.options import Options

MAP = "x.0 | x.1 | x.2 | x.3"
FLAT = "f = Flatten (x)"
LAST = "f = Transpose <perm = [0, 2, 3, 1]> (x)"


def after(before: str, node: str, declared: str, *, rank: int = 2, opset: int = 13, shape: str = "N,4,3,2") -> Seen:
    """A map x, a node that makes `f` of it, and one that makes `y` of `f`."""
    out = ",".join("?" * rank)
    return look(
        f"graph (float[{shape}] x) => (float[{out}] y) <{declared or 'float[1] unused'}> {{ {before} y = {node} }}",
        opset=opset,
    )


def relaid(seen: Seen, node: str = "y") -> tuple[str | None, str | None]:
    """The source and the target of the constant that the node moves."""
    recipe = seen.recipe(node)
    assert isinstance(recipe, Remap)
    (found,) = [each for each in recipe.operands if isinstance(each, Relaid)]
    return drawn(found.source), drawn(found.target)


@pytest.mark.parametrize("op", ["Relu", "Tanh", "Identity", "Cast <to = 1>", "Erf", "Softplus"])
def test_unary_runs_on_the_spatial_form(op: str) -> None:
    seen = after(FLAT, f"{op} (f)", "")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 x.2 x.3", MAP)
    assert seen.recipe("y") == Remap((FormOf("f"),))


def test_no_operator_is_listed_twice() -> None:
    assert len(set(UNARY)) == len(UNARY)


def test_unary_without_a_spatial_form_hands_the_layout_on() -> None:
    seen = look("graph (float[N,4] x) => (float[?,?] y) { y = Relu (x) }")
    assert (seen.dims("y"), seen.spatial_form("y"), seen.recipe("y")) == ("x.0 | x.1", None, None)


def test_clip_keeps_its_bounds() -> None:
    seen = after(FLAT, "Clip (f, lo, hi)", "float lo = {0.0}, float hi = {6.0}")
    assert seen.recipe("y") == Remap((FormOf("f"), AsIs("lo"), AsIs("hi")))


def test_bounds_that_are_no_scalars_lose_the_layout() -> None:
    seen = after(FLAT, "Clip (f, lo)", "float[24] lo")
    assert (seen.spatial_form("y"), seen.recipe("y")) == (None, None)


def test_a_norm_whose_parameters_contradict_each_other_needs_the_original() -> None:
    seen = after(FLAT, "BatchNormalization (f, s, o, o, o)", "float[5] s, float[24] o")
    assert (seen.spatial_form("y"), seen.recipe("y")) == (None, None)


def test_no_value_is_laid_out_like_a_scalar() -> None:
    """The computed scale of quantized numbers has a spatial form without dimensions: no layout for a map of one."""
    seen = look(
        """graph (float[N,5] x) => (float[N,3] y) <int8[7,1] w, float[1,3] v>
        { q, scale, zero = DynamicQuantizeLinear (x)
          [misfit] i = MatMulInteger (q, w)
          c = Cast <to = 1> (i)
          m = Mul (c, scale)
          [fc] y = MatMul (m, v) }""",
        options=Options(scope="all"),
    )
    assert seen.decided == {"misfit": "FC205@misfit", "fc": "1x1"}


@pytest.mark.parametrize(("mode", "on_spatial_forms"), [("false", True), ("true", False)])
def test_dropout_in_training_needs_the_original(mode: str, on_spatial_forms: bool) -> None:
    seen = look(
        f"""graph (float[N,4,3,2] x) => (float[?,?] y) <float r = {{0.5}}, bool t = {{{int(mode == "true")}}}>
        {{ f = Flatten (x)
           [drop] y = Dropout (f, r, t) }}"""
    )
    assert (seen.recipe("drop") is not None) == on_spatial_forms
    assert seen.provenance("y") == ((Provenance.MAP, "") if on_spatial_forms else (Provenance.OPAQUE, "drop"))


# ------------------------------------------------------------------ constants


@pytest.mark.parametrize(
    ("before", "rank", "constant", "source", "target"),
    [
        ("f = Identity (x)", 4, "4,1,1", "x.1 | 1 | 1", "1 | x.1 | 1 | 1"),
        ("f = Identity (x)", 4, "3,1", "x.2 | 1", "1 | 1 | x.2 | 1"),
        ("f = Identity (x)", 4, "1,4,3,2", "1 | x.1 | x.2 | x.3", "1 | x.1 | x.2 | x.3"),
        (FLAT, 2, "24", "x.1 x.2 x.3", "1 | x.1 | x.2 | x.3"),
        (FLAT, 2, "1,24", "1 | x.1 x.2 x.3", "1 | x.1 | x.2 | x.3"),
        (LAST, 4, "4", "x.1", "1 | x.1 | 1 | 1"),
        (LAST, 4, "3,2,4", "x.2 | x.3 | x.1", "1 | x.1 | x.2 | x.3"),
        (LAST, 4, "3,1,1", "x.2 | 1 | 1", "1 | 1 | x.2 | 1"),
    ],
)
@pytest.mark.parametrize("op", ["Add", "PRelu", "Where"])
def test_constants_move_with_the_axes(op: str, before: str, rank: int, constant: str, source: str, target: str) -> None:
    node = {"Where": "Where (p, f, c)"}.get(op, f"{op} (f, c)")
    before = before + ("\n p = Greater (f, z)" if op == "Where" else "")
    seen = after(before, node, f"float[{constant}] c, float z = {{0.0}}", rank=rank)
    assert relaid(seen) == (source, target)
    assert seen.spatial_form("y") == MAP


@pytest.mark.parametrize("constant", ["", "1", "1,1"])
def test_a_constant_of_one_element_stays_as_it_is(constant: str) -> None:
    kind = f"float[{constant}] c" if constant else "float c = {2.0}"
    assert after(FLAT, "Mul (c, f)", kind).recipe("y") == Remap((AsIs("c"), FormOf("f")))


def test_prelu_slope_of_a_flattened_map_that_is_shared_by_pixels_is_not_possible() -> None:
    """A slope over half of the flattened features has no form that broadcasts to the spatial form."""
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?] y) <int64[3] s = {0, 2, 12}, float[2,1] slope>
        { f = Reshape (x, s)
          [act] y = PRelu (f, slope) }"""
    )
    assert (seen.recipe("act"), seen.spatial_form("y")) == (None, None)
    assert seen.provenance("y") == (Provenance.OPAQUE, "act")
    assert seen.dims("y") == "x.0 | x.1/2%2 | x.1/1%2 x.2 x.3"


def test_a_wider_constant_makes_new_axes() -> None:
    seen = look("graph (float[N,4,1,1] x) => (float[?,?,?,?] y) <float[3,2] c> { y = Add (x, c) }")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | y.2 | y.3", None)


def test_a_constant_of_higher_rank_raises_the_rank() -> None:
    seen = after(FLAT, "Add (f, c)", "float[1,1,24] c", rank=3)
    assert seen.dims("y") == "1 | x.0 | x.1 x.2 x.3"


def test_a_constant_along_an_unknown_axis_needs_the_original() -> None:
    seen = look("graph (float[N,4,H,2] x) => (float[?,?,?,?] y) <float[7,1] c> { [add] y = Add (x, c) }")
    assert seen.recipe("add") is None


# ------------------------------------------------------------------ several activations


def test_two_branches_of_one_map() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y)
        { a = Flatten (x)
          r = Relu (x)
          b = Flatten (r)
          y = Mul (a, b) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 x.2 x.3", MAP)
    assert seen.recipe("y") == Remap((FormOf("a"), FormOf("b")))


def test_squeeze_and_excitation_broadcasts_on_spatial_forms() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?,?] y) <int64[4] s = {0, 4, 1, 1}, float[4,4] w>
        { g = GlobalAveragePool (x)
          f = Flatten (g)
          m = Gemm (f, w)
          u = Reshape (m, s)
          y = Mul (x, u) }"""
    )
    assert seen.dims("y") == seen.spatial_form("y") == MAP
    assert seen.recipe("y") == Remap((FormOf("x"), FormOf("u")))


def test_maps_in_two_orders_agree_in_the_first_ones_axes() -> None:
    seen = look(
        """graph (float[N,4,3,2] x, float[N,3,2,4] z) => (float[?,?,?,?] y)
        { b = Transpose <perm = [0, 3, 1, 2]> (z)
          y = Add (x, b) }"""
    )
    assert seen.dims("y") == seen.spatial_form("y") == MAP
    recipe = seen.recipe("y")
    assert isinstance(recipe, Remap)
    # The spatial form of z is z itself, in its own order: it is moved to that of x.
    left, right = recipe.operands
    assert left == FormOf("x")
    assert isinstance(right, FormOf)
    assert right.move is not None
    assert [drawn(layout) for layout in right.move] == ["x.0 | x.2 | x.3 | x.1", MAP]


def test_views_that_disagree_are_lost() -> None:
    seen = look(
        """graph (float[N,6,2,3] x) => (float[?,?] y) <int64[2] s = {-1, 6}, int64[2] t = {-1, 4}>
        { a = Flatten (x)
          r = Reshape (a, s)
          q = Transpose <perm = [1, 0]> (r)
          u = Transpose <perm = [1, 0]> (q)
          v = Reshape (u, t)
          [sum] y = Add (r, v) }"""
    )
    assert seen.dims("y") is None or seen.provenance("y") == (Provenance.LOST, "sum")


@pytest.mark.parametrize(("attributes", "constant"), [("<broadcast = 1, axis = 1>", "4"), ("<broadcast = 1>", "2")])
def test_broadcast_on_demand_before_opset_7_needs_the_original(attributes: str, constant: str) -> None:
    seen = look(
        f"graph (float[N,4,3,2] x) => (float[?,?,?,?] y) <float[{constant}] c> {{ [add] y = Add {attributes} (x, c) }}",
        opset=6,
    )
    assert (seen.recipe("add"), seen.dims("y")) == (None, MAP)


def test_equal_shapes_need_no_broadcast_before_opset_7() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?,?] y)
        { r = Relu (x)
          y = Add (x, r) }""",
        opset=6,
    )
    assert seen.recipe("y") == Remap((FormOf("x"), FormOf("r")))


# ------------------------------------------------------------------ BatchNormalization


NORM = "float[{0}] s, float[{0}] b, float[{0}] m, float[{0}] var"


def test_batch_normalization_of_channels_runs_as_it_is() -> None:
    seen = after("f = Flatten (x)", "BatchNormalization (f, s, b, m, var)", NORM.format(4), shape="N,4,1,1")
    assert seen.recipe("y") == Remap((FormOf("f"), AsIs("s"), AsIs("b"), AsIs("m"), AsIs("var")))


def test_batch_normalization_of_a_flattened_map_becomes_mul_and_add() -> None:
    seen = after(FLAT, "BatchNormalization (f, s, b, m, var)", NORM.format(24))
    recipe = seen.recipe("y")
    assert isinstance(recipe, Expand)
    assert [step.op_type for step in recipe.steps] == ["Mul", "Add"]
    for step in recipe.steps:
        (factor,) = [each for each in step.operands if isinstance(each, Relaid)]
        assert drawn(factor.target) == "1 | x.1 | x.2 | x.3"


@pytest.mark.parametrize(
    ("opset", "node"),
    [
        (15, "y, nm, nv = BatchNormalization <training_mode = 1> (f, s, b, m, var)"),
        (9, "y, nm, nv, sm, sv = BatchNormalization (f, s, b, m, var)"),
    ],
)
def test_batch_normalization_in_training_needs_the_original(opset: int, node: str) -> None:
    seen = look(
        f"""graph (float[N,4,3,2] x) => (float[?,?] y) <{NORM.format(24)}>
        {{ f = Flatten (x)
           [norm] {node} }}""",
        opset=opset,
    )
    assert seen.recipe("norm") is None
    assert seen.provenance("y") == (Provenance.OPAQUE, "norm")


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("h = MatMul (f, w)  y = BatchNormalization <spatial = 0> (h, s, b, m, var)", ["Conv", "Flatten"]),
        ("h = BatchNormalization <spatial = 0> (f, p, o, a, pvar)  y = MatMul (h, w)", ["Flatten", "MatMul"]),
        (
            "c = Concat <axis = 1> (f, v)  h = BatchNormalization <spatial = 0> (c, P, O, A, Pvar)  y = MatMul (h, u)",
            ["Flatten", "Concat", "MatMul"],
        ),
    ],
    ids=["after", "before", "concat"],
)
def test_a_norm_with_parameters_for_each_element_needs_the_original(before: str, expected: list[str]) -> None:
    """Old exporters write it behind the last layer of a network."""
    few, many, more = NORM.format(7), "float[24] p, float[24] o, float[24] a, float[24] pvar", "float[30] {}"
    rest = ", ".join(more.format(name) for name in ("P", "O", "A", "Pvar"))
    text = f"""graph (float[N,2,3,4] x, float[N,6] v) => (float[N,7] y)
    <float[24,7] w, float[30,7] u, {few}, {many}, {rest}> {{ f = Flatten (x)  {before} }}"""
    model = parse(text, opset=8)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    kinds = [node.op_type for node in done.model.graph.node if node.op_type != "BatchNormalization"]
    assert kinds == expected


@pytest.mark.parametrize(
    ("nodes", "last"),
    [
        ("u = Unsqueeze (t, three)  m = Mul (u, n)  f = Reshape (m, flat)  y = MatMul (f, w)", "N,7"),
        ("p = MatMul (t, v)  m = Mul (p, n)  r = Relu (m)  z = Squeeze (r, zero)  y = MatMul (z, u)", "N,3,4,7"),
    ],
    ids=["narrow", "wide"],
)
def test_a_computed_number_of_more_dimensions_than_the_map_needs_the_original(nodes: str, last: str) -> None:
    model = parse(f"""graph (float[N,2,3,4] x, float[1] s) => (float[{last}] y)
    <float[24,7] w, float[2,6] v, float[6,7] u, int64[5] ones = {{1, 1, 1, 1, 1}}, int64[1] three = {{3}},
     int64[1] zero = {{0}}, int64[2] flat = {{-1, 24}}>
    {{ t = Transpose <perm = [0, 2, 3, 1]> (x)  n = Reshape (s, ones)  {nodes} }}""")
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-5
    assert done.report.layout_nodes.after == done.report.layout_nodes.before
