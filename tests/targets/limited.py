"""Two layers, and their conversion within the limits of a target, which computes the same and is proved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
from execute import difference, feeds, run
from onnx import ModelProto

import fc2conv
from fc2conv import Options
from fc2conv.report.types import Report

MAP = """graph (float[N,6,5,7] x) => (float[N,9] y) <float[9,210] w, float[9] b>
{ f = Flatten (x)  [fc] y = Gemm <transB = 1> (f, w, b) }"""
CELLS = """graph (float[N,6,3,4] x) => (float[N,12,9] y) <int64[3] s = {0, 6, 12}, float[6,9] w, float[9] b>
{ r = Reshape (x, s)  t = Transpose <perm = [0, 2, 1]> (r)  [fc] m = MatMul (t, w)  y = Add (m, b) }"""


def converted(original: ModelProto, options: Options) -> tuple[ModelProto, Report]:
    """The converted model, which gives the same numbers, and the report, in which all is proved."""
    done = fc2conv.convert(original, None, replace(options, scope="all"))
    assert done.model is not None
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(done.model, inputs)) < 2e-5
    verification = done.report.verification
    if done.report.outcome == "unchanged":
        return done.model, done.report
    assert verification is not None
    assert {check.name: check.verdict for check in verification.checks}["exact"] == "proved"
    return done.model, done.report


def written(folder: Path, facts: str) -> str:
    """A profile with facts of convolutions, without their source, as a file."""
    path = folder / "mine.toml"
    source = '[sources.doc]\ntitle = "Manual"\ndate = "2026-11-29"\n'
    path.write_text(
        f'title = "x"\n{source}[conv]\n{facts.replace("}", ", source = " + chr(34) + "doc" + chr(34) + "}")}'
    )
    return str(path)


def kernels(model: ModelProto) -> list[tuple[int, ...]]:
    """The shapes of the kernels of all convolutions."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in inferred.graph.value_info:
        shapes.setdefault(value.name, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim))
    places = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
    return [shapes[node.input[places[node.op_type]]] for node in model.graph.node if node.op_type in places]
