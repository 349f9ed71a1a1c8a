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


def converted(model: ModelProto, sizes: dict[str, int], scope: str) -> ModelProto:
    """The converted model, which computes the same and is proved."""
    done = fc2conv.convert(model, None, Options(scope=scope))  # type: ignore[arg-type]
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
