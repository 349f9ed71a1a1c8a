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
    assert {site.decision for site in report.sites} == {"convert"}


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


def test_a_norm_of_fewer_bits_stays() -> None:
    text = BLOCK.format(norm=NORMS["plain"][0], more="", **PIXELS).replace("float[", "float16[")
    done = fc2conv.convert(parse(text, opset=17), None, Options(norms="map"))
    assert done.model is not None
    assert "LayerNormalization" in {node.op_type for node in done.model.graph.node}
