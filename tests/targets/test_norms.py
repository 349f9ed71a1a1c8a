"""Norms over the channels as reductions over axis 1: the same numbers, proved, and no layout node inside a block."""

from __future__ import annotations

from collections import Counter

import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.report.types import Report

LAYOUT = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
BLOCK = """graph (float[N,8,6,5] x) => (float[N,8,6,5] y)
<float[8,1,3,3] dw, float[8] g, float[8] b, float[8,16] v, float[16] c, float[16,8] w, float[8] e, float[8] gamma,
 int64[3] tokens = {{0, 8, 30}}, int64[4] cells = {{0, 8, 6, 5}} {more}>
{{
  d = Conv <group = 8, pads = [1, 1, 1, 1]> (x, dw)  {before}
  t = {tokens}
  {norm}
  [up] h = MatMul (n, v)
  k = Add (h, c)
  r = Relu (k)
  [down] o = MatMul (r, w)
  p = Add (o, e)
  s = Mul (p, gamma)  {after}
  u = {map}
  y = Add (x, u)
}}"""
PIXELS = {
    "before": "",
    "tokens": "Transpose <perm = [0, 2, 3, 1]> (d)",
    "after": "",
    "map": "Transpose <perm = [0, 3, 1, 2]> (s)",
}
LINE = {
    "tokens": "Transpose <perm = [0, 2, 1]> (d1)",
    "map": "Reshape (u1, cells)",
    "before": "d1 = Reshape (d, tokens)",
    "after": "u1 = Transpose <perm = [0, 2, 1]> (s)",
}
WRITTEN = """m = ReduceMean <axes = [-1]> (t)  z = Sub (t, m)  q = Pow (z, two)  a = ReduceMean <axes = [-1]> (q)
  i = Add (a, eps)  j = Sqrt (i)  f = Div (z, j)  l = Mul (f, g)  n = Add (l, b)"""
CONTRIBUTED = {"com.microsoft": 1}
NORMS = {
    "plain": ("n = LayerNormalization <axis = -1> (t, g, b)", 17, {}, {"LayerNormalization"}),
    "later": ("n = LayerNormalization <axis = 3, epsilon = 0.001> (t, g, b)", 18, {}, {"LayerNormalization"}),
    "no bias": ("n = LayerNormalization (t, g)", 17, {}, {"LayerNormalization"}),
    "older": ("n = SimplifiedLayerNormalization <axis = -1> (t, g)", 13, {}, {"SimplifiedLayerNormalization"}),
    "written out": (WRITTEN, 13, {}, set()),
    "with a residual": (
        "n = com.microsoft.SkipLayerNormalization (t, t, g, b)",
        13,
        CONTRIBUTED,
        {"SkipLayerNormalization"},
    ),
    "with a sum": (
        "n, , , z = com.microsoft.SkipLayerNormalization (t, t, g, b, e)",
        18,
        CONTRIBUTED,
        {"SkipLayerNormalization"},
    ),
    "simple, with a residual": (
        "n = com.microsoft.SkipSimplifiedLayerNormalization (t, t, g)",
        13,
        CONTRIBUTED,
        {"SkipSimplifiedLayerNormalization"},
    ),
}


def block(name: str) -> ModelProto:
    """A block of a ConvNeXt around one of the norms."""
    norm, opset, domains, _ = NORMS[name]
    more = ", float two = {2}, float eps = {0.00001}" if norm is WRITTEN else ""
    around = LINE if domains else PIXELS
    return parse(BLOCK.format(norm=norm, more=more, **around), opset=opset, domains=domains)


def converted(model: ModelProto, options: Options) -> tuple[ModelProto, Report]:
    """The converted model, which gives the same numbers and is proved."""
    done = fc2conv.convert(model, None, options)
    assert done.model is not None
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 2e-5
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    return done.model, done.report


@pytest.mark.parametrize("name", NORMS)
def test_a_block_has_no_layout_nodes_inside(name: str) -> None:
    model, report = converted(block(name), Options(norms="map"))
    made = Counter(node.op_type for node in model.graph.node)
    assert not LAYOUT & made.keys()
    assert not NORMS[name][3] & made.keys()
    assert {layer.decision for layer in report.sites} == {"convert"}


@pytest.mark.parametrize("name", [name for name in NORMS if NORMS[name][3]])
def test_by_default_norms_stay(name: str) -> None:
    model, _ = converted(block(name), Options())
    assert NORMS[name][3] <= {node.op_type for node in model.graph.node}


def test_a_target_may_ask_for_it_and_an_option_wins() -> None:
    made, kept = (converted(block("plain"), Options(target="ane", norms=norms))[0] for norms in ("auto", "keep"))
    assert "LayerNormalization" not in {node.op_type for node in made.graph.node}
    assert "LayerNormalization" in {node.op_type for node in kept.graph.node}


def test_a_norm_stays_where_nothing_is_saved() -> None:
    text = """graph (float[N,8,6,5] x) => (float[N,6,5,8] y, float[N,9] o) <float[8] g, float[8] b, float[240,9] w>
    {
      c = Relu (x)
      f = Flatten (c)
      [fc] o = Gemm (f, w)
      t = Transpose <perm = [0, 2, 3, 1]> (c)
      y = LayerNormalization (t, g, b)
    }"""
    model, _ = converted(parse(text, opset=17), Options(norms="map"))
    assert "LayerNormalization" in {node.op_type for node in model.graph.node}


OF_OTHER_TYPES = {
    "plain": 17,
    "later": 22,
    "no bias": 22,
    "simple": 23,
    "older": 22,
    "with a residual": 22,
}


def of_type(name: str, kind: str) -> ModelProto:
    """A block whose numbers all have one type."""
    domains = CONTRIBUTED if "residual" in name else {}
    norm = "n = RMSNormalization <axis = -1> (t, g)" if name == "simple" else NORMS[name][0]
    text = BLOCK.format(norm=norm, more="", **(LINE if domains else PIXELS)).replace("float[", f"{kind}[")
    return parse(text, opset=OF_OTHER_TYPES[name], ir_version=10, domains=domains)


def pairs() -> list[tuple[str, str]]:
    """Each form in each type: Conv takes bfloat16 from opset 22 on, and no runtime says what the oldest form does."""
    every = [(name, kind) for name in OF_OTHER_TYPES for kind in ("float16", "bfloat16", "double")]
    return [each for each in every if each not in {("plain", "bfloat16"), ("older", "bfloat16")}]


@pytest.mark.parametrize(("name", "kind"), pairs())
def test_other_types_are_normalized_as_the_operator_has_it(name: str, kind: str) -> None:
    model = of_type(name, kind)
    done = fc2conv.convert(model, None, Options(norms="map", force=kind != "float16"))
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    made = Counter(node.op_type for node in done.model.graph.node)
    assert not LAYOUT & made.keys()
    assert made["ReduceMean"]
    # Fewer bits are normalized in float32 within.
    assert made["Cast"] == (0 if kind == "double" else 2)
    if kind == "float16":  # onnxruntime has a Conv of no other
        inputs = feeds(model, {"N": 2})
        assert difference(run(model, inputs), run(done.model, inputs)) < 5e-3


def test_a_norm_whose_scale_has_another_type_stays() -> None:
    text = BLOCK.format(norm=NORMS["older"][0], more="", **PIXELS)
    for name in ("[N,8,6,5] x", "[8,1,3,3] dw"):
        text = text.replace(f"float{name}", f"float16{name}")
    model = parse(text.replace("y = Add (x, u)", "y = Relu (u)"), opset=17)
    done, _ = converted(model, Options(norms="map"))
    assert "SimplifiedLayerNormalization" in {node.op_type for node in done.graph.node}


def test_a_norm_between_convolutions_has_no_layout_nodes_either() -> None:
    text = """graph (float[N,8,6,5] x) => (float[N,9] y)
    <float[8] g, float[8] b, float[4,8,3,3] k, float[8,8,1,1] j, float[48,9] w>
    {
      c = Conv (x, j)
      t = Transpose <perm = [0, 2, 3, 1]> (c)
      n = LayerNormalization (t, g, b)
      u = Transpose <perm = [0, 3, 1, 2]> (n)
      d = Conv (u, k)
      f = Flatten (d)
      [fc] y = Gemm (f, w)
    }"""
    model, report = converted(parse(text, opset=17), Options(norms="map"))
    assert [node.op_type for node in model.graph.node if node.op_type in LAYOUT] == ["Flatten"]
    assert (report.layout_nodes.before, report.layout_nodes.after) == (3, 1)


def test_the_norm_of_a_pooled_map_is_on_the_map() -> None:
    text = """graph (float[N,8,6,5] x) => (float[N,9] y) <float[8] g, float[8] b, float[8,9] w>
    { p = GlobalAveragePool (x)  f = Flatten (p)  n = LayerNormalization (f, g, b)  [fc] y = Gemm (n, w) }"""
    model, _ = converted(parse(text, opset=17), Options(norms="map"))
    assert [node.op_type for node in model.graph.node if node.op_type in LAYOUT] == ["Flatten"]
