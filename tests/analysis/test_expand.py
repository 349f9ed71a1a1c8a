"""What is repeated to the shape of another value runs on the map, as the norm of features that exporters write."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options

SHAPED = "s = Shape (p)  e = Expand (c, s)"
MODELS = {
    "features of a pooled map": f"""p = GlobalAveragePool (x)  f = Flatten (p)
        n = ReduceL2 <axes = [1], keepdims = 1> (f)  c = Max (n, least)  {SHAPED.replace("(p)", "(f)")}
        d = Div (f, e)  [fc] y = MatMul (d, w)""",
    "a number for each": """p = GlobalAveragePool (x)  f = Flatten (p)
        n = ReduceL2 <axes = [1], keepdims = 1> (f)  c = Max (n, least)  e = Expand (c, sizes)
        d = Div (f, e)  [fc] y = MatMul (d, w)""",
}
TOKENS = """graph (float[N,8,H,W] x) => (float[N,M,5] y)
    <float[8,5] w, float least = {0.001}, int64[3] line = {0, 8, -1}>
    { r = Reshape (x, line)  t = Transpose <perm = [0, 2, 1]> (r)
      n = ReduceL2 <axes = [2], keepdims = 1> (t)  c = Max (n, least)  s = Shape (t)  e = Expand (c, s)
      d = Div (t, e)  [fc] y = MatMul (d, w) }"""


def converted(model: ModelProto, sizes: dict[str, int], scope: str, norms: str = "auto") -> ModelProto:
    """The converted model, which computes the same and is proved."""
    done = fc2conv.convert(model, None, Options(scope=scope, norms=norms))  # type: ignore[arg-type]
    inputs = feeds(model, sizes)
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-4
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    return done.model


@pytest.mark.parametrize("name", MODELS)
def test_a_norm_that_is_repeated_along_the_features(name: str) -> None:
    first = "2" if name == "a number for each" else "N"
    names = "float[8,5] w, float least = {0.001}, int64[2] sizes = {2, 8}"
    text = f"graph (float[{first},8,3,4] x) => (float[{first},5] y) <{names}> {{ {MODELS[name]} }}"
    model = converted(parse(text), {"N": 3}, "all")
    assert [node.op_type for node in model.graph.node if node.op_type in ("Flatten", "Reshape")] == ["Flatten"]
    assert model.graph.node[-1].op_type == "Flatten"


def test_sizes_that_are_open_are_those_of_the_map() -> None:
    model = converted(parse(TOKENS), {"N": 2, "H": 3, "W": 5}, "spatial")
    made = [node.op_type for node in model.graph.node]
    assert made.count("Transpose") == 1
    assert made.index("Expand") < made.index("Conv") < made.index("Transpose")


def test_a_row_that_is_repeated_and_meets_itself_is_as_long_as_it_says() -> None:
    text = """graph (float[2,6,3,2] x) => (float[2,3] y) <float[36,1] w, int64[2] sizes = {1, 3}>
    { f = Flatten (x)  [fc] r = MatMul (f, w)  e = Expand (r, sizes)  y = Mul (e, r) }"""
    model = converted(parse(text), {}, "spatial")
    assert [node.op_type for node in model.graph.node][:2] == ["Conv", "Flatten"]


def test_an_open_size_that_meets_itself_may_be_repeated() -> None:
    text = """graph (float[N,6,1,4] x) => (float[A,B,C,D] y)
        <float[6,4] m, float[6,6,1,1] k, float[6,8] w, int64[4] sizes = {1, 1, 3, 1}>
    { u = com.microsoft.FusedMatMul <transB = 1> (x, m)  c = Conv (u, k)  [fc] r = MatMul (c, w)
      e = Expand (r, sizes)  y = Add (e, r) }"""
    converted(parse(text, opset=9, domains={"com.microsoft": 1}), {"N": 2}, "all")


EMBEDDED = """graph (float[N,3,16,16] x) => (float[N,5] y)
    <float[8,3,4,4] k, float[1,1,8] token, float[8] g, float[8] b, float[8,8] v, float[5,8] w>
    { s = Shape <start = 0, end = 1> (x)  sizes = Concat <axis = 0> (s, ones)  e = Expand (token, sizes)
      c = Conv <strides = [4, 4]> (x, k)  f = Reshape (c, flat)  t = Transpose <perm = [0, 2, 1]> (f)
      j = Concat <axis = 1> (e, t)  n = LayerNormalization (j, g, b)  [first] m = MatMul (n, v)  r = Add (m, j)
      SEEN [fc] y = Gemm <transB = 1> (z, w) }"""
SEEN = {
    "the class token": "z = Gather <axis = 1> (r, zero)",
    "the mean of the others": "o = Slice (r, one, most, one)  z = ReduceMean <keepdims = 0> (o, one)",
}


@pytest.mark.parametrize("seen", SEEN)
def test_a_class_token_that_is_repeated(seen: str) -> None:
    """Between the patches and the last layer there is no layout node."""
    constants = "int64[2] ones = {1, 1}, int64[3] flat = {0, 8, 16}, int64 zero = {0}, int64[1] one = {1}, "
    text = EMBEDDED.replace("SEEN", SEEN[seen]).replace("<float[8,3", f"<{constants}int64[1] most = {{99}}, float[8,3")
    original = parse(text, opset=18)
    layers = [site.reason and site.reason.remedy for site in fc2conv.plan(original).sites]
    assert all(remedy is None or remedy.endswith("--norms map spares those of norms.") for remedy in layers)
    model = converted(original, {"N": 3}, "spatial", "map")
    made = [node.op_type for node in model.graph.node if node.op_type in ("Flatten", "Reshape", "Transpose")]
    assert made == ["Reshape", "Flatten"]


def test_a_norm_of_a_pooled_map_is_spared_by_reductions() -> None:
    original = parse(
        """graph (float[N,8,3,4] x) => (float[N,5] y) <float[8] g, float[8] b, float[8,5] w>
        { p = GlobalAveragePool (x)  f = Flatten (p)  n = LayerNormalization (f, g, b)  [fc] y = MatMul (n, w) }""",
        opset=17,
    )
    (layer,) = fc2conv.plan(original).sites
    assert layer.reason is not None
    assert layer.reason.remedy == (
        "Allow them with --max-added-transposes 2, or use --scope all; --norms map spares those of norms."
    )
    model = converted(original, {"N": 3}, "spatial", "map")
    assert [node.op_type for node in model.graph.node][-2:] == ["Conv", "Flatten"]
