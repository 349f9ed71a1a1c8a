"""The layer itself: what it contracts, what its result is, and why it is none."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from inferring import Seen, look
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.analysis.facts import AsIs, FormOf, Relaid
from fc2conv.layout.view import Provenance

EVERY = Options(scope="all")


def layer(before: str, node: str, weights: str, out: str = "?,?", shape: str = "N,4,3,2", opset: int = 13) -> Seen:
    return look(f"graph (float[{shape}] x) => (float[{out}] y) <{weights}> {{ {before} [fc] y = {node} }}", opset=opset)


FLAT = "f = Flatten (x)"


def test_fc6() -> None:
    seen = layer(FLAT, "Gemm <transB = 1> (f, w)", "float[5,24] w")
    assert seen.decided == {"fc": "3x2"}
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | y.m", "x.0 | y.m | 1 | 1")
    assert seen.provenance("y") == (Provenance.MAP, "")


def test_tokens() -> None:
    before = "r = Reshape (x, s) f = Transpose <perm = [0, 2, 1]> (r)"
    seen = layer(before, "MatMul (f, w)", "float[4,5] w, int64[3] s = {0, 4, 6}", "?,?,?")
    assert seen.decided == {"fc": "1x1"}
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 x.3 | y.m", "x.0 | y.m | x.2 | x.3")


def test_the_last_axis_of_a_map_is_a_frame_of_its_own() -> None:
    seen = layer("", "MatMul (x, w)", "float[2,5] w", "?,?,?,?")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | x.2 | y.m", "x.0 | y.m | x.1 | x.2")
    facts = seen.plan.facts.nodes[seen.node("fc")].layer
    assert facts is not None
    assert facts.contraction is not None
    assert not seen.plan.facts.requests  # a layer that has a spatial form asks for no other


def test_a_constant_on_the_left_contracts_the_rows() -> None:
    seen = layer("r = Reshape (x, s)", "MatMul (w, r)", "float[5,4] w, int64[3] s = {0, 4, 6}", "?,?,?")
    assert seen.decided == {"fc": "1x1"}
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | y.m | x.2 x.3", "x.0 | y.m | x.2 | x.3")


def test_a_vector_has_no_dimension_of_outputs() -> None:
    seen = layer(FLAT, "MatMul (f, w)", "float[24] w", "?")
    assert (seen.decided, seen.dims("y"), seen.spatial_form("y")) == ({"fc": "3x2"}, "x.0", "x.0 | 1 | 1 | 1")


def test_a_gemm_whose_weight_is_the_first_operand() -> None:
    seen = layer(FLAT, "Gemm <transB = 1> (w, f)", "float[5,24] w")
    assert (seen.decided, seen.dims("y")) == ({"fc": "3x2"}, "y.m | x.0")
    assert seen.spatial_form("y") == "x.0 | y.m | 1 | 1"


def test_a_weight_of_rank_three_raises_the_rank() -> None:
    seen = layer(FLAT, "MatMul (f, w)", "float[1,24,5] w", "?,?,?")
    assert seen.dims("y") == "1 | x.0 | y.m"


# ------------------------------------------------------------------ reasons


@pytest.mark.parametrize(
    ("before", "node", "weights", "shape", "reason"),
    [
        (FLAT, "Gemm (f, w)", "float[23,5] w", "N,4,3,2", "FC205@fc"),
        ("f = Flatten (x) t = Transpose <perm = [1, 0]> (f)", "MatMul (t, w)", "float[6,5] w", "6,4,3,2", "FC103@fc"),
        ("f = Reshape (x, s)", "MatMul (f, w)", "float[48,5] w, int64[2] s = {-1, 48}", "6,4,3,2", "FC103@fc"),
        (FLAT, "Gemm (f, w)", "float[24,5] w", "N,4,H,W", "FC104@fc"),
        ("f, i = TopK (g, k)", "Gemm (f, w)", "float[24,5] w, int64[1] k = {24}", "N,4,3,2", "FC102@f"),
        ("", "MatMul (x, w)", "float[4,5] w", "N,4", "FC101@fc"),
        ("", "MatMul (x, w)", "float[4,5] w", "N,6,4", "FC101@fc"),  # tokens, as far as anybody knows
    ],
)
def test_reasons(before: str, node: str, weights: str, shape: str, reason: str) -> None:
    if "TopK" in before:
        before = "g = Flatten (x) " + before
    rank = len(shape.split(",")) if node.startswith("MatMul (x") else 2
    seen = layer(before, node, weights, ",".join("?" * rank), shape)
    assert seen.decided == {"fc": reason}
    assert seen.spatial_form("y") is None


def test_a_sequence_that_is_flattened_is_one_cell() -> None:
    assert layer(FLAT, "Gemm (f, w)", "float[24,5] w", shape="N,6,4").decided == {"fc": "1x1"}


def test_a_layer_that_is_kept_hides_the_spatial_form() -> None:
    seen = layer(FLAT, "Gemm (f, w)", "float[24,5] w", shape="N,4,H,W")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | y.m", None)
    assert seen.provenance("y") == (Provenance.OPAQUE, "fc")


def test_the_weight_knows_the_size_of_a_lone_axis() -> None:
    seen = layer("t = Transpose <perm = [0, 2, 3, 1]> (x)", "MatMul (t, w)", "float[4,5] w", "?,?,?,?", "N,C,H,W")
    assert seen.decided == {"fc": "1x1"}


def test_as_many_features_as_the_batch_has_items_are_features() -> None:
    head = "graph (float[5,3] a, float[1,5] x) => (float[5,3] b, float[1,7] y) <float[5,7] w>"
    assert look(f"{head} {{ b = Relu (a) [fc] y = MatMul (x, w) }}", options=EVERY).decided == {"fc": "1x1"}


# ------------------------------------------------------------------ what Gemm adds


@pytest.mark.parametrize("shape", ["5", "1,5", "1", "1,1"])
def test_what_is_per_output_is_the_bias(shape: str) -> None:
    seen = layer(FLAT, "Gemm <transB = 1> (f, w, c)", f"float[5,24] w, float[{shape}] c")
    facts = seen.plan.facts.nodes[seen.node("fc")].layer
    assert facts is not None
    assert (facts.layer.bias, facts.layer.addend, facts.addend) == ("c", None, None)


@pytest.mark.parametrize("shape", ["3,1", "3,5"])
def test_what_differs_from_item_to_item_is_added(shape: str) -> None:
    seen = layer(FLAT, "Gemm <transB = 1> (f, w, c)", f"float[5,24] w, float[{shape}] c", shape="3,4,3,2")
    facts = seen.plan.facts.nodes[seen.node("fc")].layer
    assert facts is not None
    assert facts.layer.bias is None
    assert isinstance(facts.addend, Relaid)
    assert seen.decided == {"fc": "3x2"}


@pytest.mark.parametrize(("shape", "kind"), [("1", AsIs), ("N,5", None)])
def test_an_activation_is_added(shape: str, kind: type | None) -> None:
    seen = look(
        f"""graph (float[N,4,3,2] x, float[{shape}] c) => (float[N,5] y) <float[5,24] w>
        {{ f = Flatten (x)
           [fc] y = Gemm <transB = 1> (f, w, c) }}"""
    )
    facts = seen.plan.facts.nodes[seen.node("fc")].layer
    assert facts is not None
    assert isinstance(facts.addend, kind or FormOf)
    assert seen.decided == {"fc": "3x2"}


@pytest.mark.parametrize(("beta", "decision"), [("0.5", "3x2"), ("0.1", "FC208@fc")])
def test_a_factor_of_an_addend_is_one_that_its_type_has(beta: str, decision: str) -> None:
    text = f"""graph (float16[N,4,3,2] x, float16[N,5] c) => (float16[N,5] y) <float16[5,24] w>
    {{ f = Flatten (x)  r = Relu (c)  [fc] y = Gemm <transB = 1, beta = {beta}> (f, w, r) }}"""
    model = parse(text)
    done = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-2
    assert look(text).decided == {"fc": decision}


def test_a_beta_of_zero_adds_nothing() -> None:
    seen = layer(FLAT, "Gemm <transB = 1, beta = 0.0> (f, w, c)", "float[5,24] w, float[3,5] c", shape="3,4,3,2")
    facts = seen.plan.facts.nodes[seen.node("fc")].layer
    assert facts is not None
    assert (facts.layer.bias, facts.addend) == (None, None)


# ------------------------------------------------------------------ spatial forms on demand


def test_a_layer_behind_a_norm_asks_for_a_spatial_form_where_the_axes_were_born() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?,?] y) <float[4] g, float[4,5] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          n = LayerNormalization <axis = -1> (t, g)
          r = Relu (n)
          [fc] y = MatMul (r, w) }""",
        opset=17,
    )
    assert seen.plan.facts.requests.keys() <= {"n"}
    assert (seen.dims("n"), seen.spatial_form("n")) == ("x.0 | x.2 | x.3 | x.1", "x.0 | x.1 | x.2 | x.3")
    assert seen.spatial_form("r") == seen.spatial_form("n")


def test_two_layers_may_cut_an_axis_in_ways_that_do_not_nest() -> None:
    seen = look(
        """graph (float[N,5,36] x) => (float[?,?,?,?] y, float[?,?,?,?] z)
        <float[36] g, int64[4] s = {0, 0, 4, 9}, int64[4] t = {0, 0, 6, 6}, float[9,3] w, float[6,3] v>
        { n = LayerNormalization <axis = -1> (x, g)
          a = Reshape (n, s)
          [one] y = MatMul (a, w)
          b = Reshape (n, t)
          [two] z = MatMul (b, v) }""",
        opset=17,
        options=EVERY,
    )
    assert set(seen.decided) == {"one", "two"}


@pytest.mark.parametrize("equation", ["nchw,hwcm->nm", "nchw,hwcm->mn"])
def test_an_einsum_of_other_dimensions_than_its_input_has(equation: str) -> None:
    seen = layer(FLAT, f'Einsum <equation = "{equation}"> (f, w)', "float[3,2,4,5] w")
    assert seen.decided == {"fc": "FC205@fc"}
