"""Files of IR version 3 list their initializers among the inputs, and so do the new ones of every option."""

from __future__ import annotations

import onnx
import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.ir.graph import walk
from fc2conv.ir.shapes import as_input

FLOAT = """graph (float[N,6,3,2] x) => (float[N,9] y) <float[36,9] w, float[9] b>
{ f = Flatten (x)  [fc] m = MatMul (f, w)  y = Add (m, b) }"""
JOINED = """graph (float[N,6,3,2] x, float[N,5] v) => (float[N,9] y) <float[41,9] w, float[41] slope>
{ f = Flatten (x)  c = Concat <axis = 1> (f, v)  p = PRelu (c, slope)  [fc] y = MatMul (p, w) }"""
ROWS = """graph (float[N,6,3,2] x) => (float[N,9] y) <int8[36,9] q, float[36] svar>
{ f = Flatten (x)  w = DequantizeLinear <axis = 0> (q, svar)  [fc] y = MatMul (f, w) }"""
SCALES = "float sx = {0.02}, float sw = {0.03}, float sy = {0.1}, uint8 zx = {4}, int8 zw = {2}, uint8 zy = {99}"
QUANTIZED = f"""graph (uint8[N,6,3,2] x) => (uint8[N,9] y) <int8[36,9] w, {SCALES}>
{{ f = Flatten (x)  [fc] y = QLinearMatMul (f, sx, zx, w, sw, zw, sy, zy) }}"""
BODY = f"""graph (uint8[N,6,3,2] x, bool c) => (uint8[N,9] y) <int8[36,9] w, {SCALES}>
{{ y = If (c) <
     then_branch = g () => (uint8[N,9] a)
     {{ f = Flatten (x)  [fc] a = QLinearMatMul (f, sx, zx, w, sw, zw, sy, zy) }},
     else_branch = h () => (uint8[N,9] z)
     {{ t = Flatten (x)  [other] z = QLinearMatMul (t, sx, zx, w, sw, zw, sy, zx) }}> }}"""


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (FLOAT, Options(max_kernel=2, channel_multiple=8)),
        (FLOAT, Options(static=2, outputs="4d")),
        (FLOAT, Options(target="tidl", static=2)),
        (JOINED, Options(scope="all")),
        (ROWS, Options(requantize=True)),
        (QUANTIZED, Options(qdq=True)),
        (BODY, Options(qdq=True, scope="all")),
    ],
)
def test_every_initializer_is_an_input(text: str, options: Options) -> None:
    model = listed(parse(text, scale=30 if "int8" in text else 0.25))
    done = fc2conv.convert(model, None, options)
    assert done.model is not None
    assert {layer.decision for layer in done.report.sites} == {"convert"}
    onnx.checker.check_model(done.model, full_check=True)
    inputs = {value.name for value in done.model.graph.input}
    assert {tensor.name for tensor in done.model.graph.initializer} <= inputs
    made = {node.op_type for _, graph in walk(done.model.graph) for node in graph.node}
    assert not options.qdq or not any(name.startswith("QLinear") for name in made)
    given = feeds(model, {"N": 2})
    before, after = run(model, given), run(done.model, given)
    assert done.report.verification is not None
    assert done.report.verification.verdict == ("agrees" if options.requantize else "proved")
    whole, scale = before[0].dtype.kind in "iu", float(abs(before[0]).max())
    most = 1.01 if whole else 0.05 * scale if options.requantize else 1e-4
    assert difference(before, [each.reshape(was.shape) for each, was in zip(after, before, strict=True)]) < most


def listed(model: ModelProto) -> ModelProto:
    """The model as a file of IR version 3."""
    model.ir_version = 3
    model.graph.input.extend(map(as_input, model.graph.initializer))
    return model
