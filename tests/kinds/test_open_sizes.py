"""A size that a file declares as 0 or -1 is open: inferred, planned, run and proved as one, and written as it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from textmodel import parse

import fc2conv
from fc2conv.io.forms import checkable, runnable
from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir.graph import walk
from fc2conv.ir.shapes import inferred

TEXT_LINES = """c = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)
    d = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (c, l)
    t = Transpose <perm = [0, 3, 1, 2]> (d)
    f = Reshape (t, s)
    [fc] {result} = MatMul (f, w)"""
WEIGHTS = "<float[4,3,3,3] k, float[6,4,3,3] l, int64[3] s = {0, 0, -1}, float[24,5] w>"
MODELS = {
    "strided": f"graph (float[N,3,16,W] x) => (float[N,V,5] y) {WEIGHTS} {{ {TEXT_LINES.format(result='y')} }}",
    "branch": f"""graph (float[N,3,16,W] x, bool p) => (float[N,V,5] y) {WEIGHTS}
        {{ y = If (p) <then_branch = a () => (float[N,V,5] z) {{ {TEXT_LINES.format(result="z")} }},
                       else_branch = b () => (float[N,V,5] e) {{ {TEXT_LINES.format(result="q")}  e = Neg (q) }}> }}""",
    "loop": f"""graph (float[N,3,16,W] x) => (float[N,V,5] y)
        {WEIGHTS[:-1]}, int64 n = {{2}}, bool on = {{1}}, float[1] o>
        {{ u = Identity (x)
           v, y3 = Loop (n, on, u) <body = a (int64 i, bool g, float[N,3,16,W] r) =>
             (bool h, float[N,3,16,W] r2, float[N,V,5] z)
             {{ h = Identity (g)  r2 = Mul (r, o)  {TEXT_LINES.format(result="z").replace("(x, k)", "(r, k)")} }}>
           y = ReduceSum <keepdims = 0> (y3, first) }}""",
    "function": f"""graph (float[N,3,16,W] x) => (float[N,V,5] y) {WEIGHTS} {{ y = own.F (x, k, l, s, w) }}
        <domain: "own", opset_import: ["": 13]> F (x, k, l, s, w) => (y) {{ {TEXT_LINES.format(result="y")} }}""",
}


def made(name: str) -> ModelProto:
    model = parse(MODELS[name], domains={"own": 1} if name == "function" else {})
    if name == "loop":
        model.graph.initializer.append(helper.make_tensor("first", TensorProto.INT64, [1], [0]))
    return model


def declared(model: ModelProto) -> Iterator[ValueInfoProto]:
    for _, graph in walk(model.graph):
        yield from (*graph.input, *graph.output, *graph.value_info)
    for function in model.functions:
        yield from function.value_info


def written(model: ModelProto, size: int) -> ModelProto:
    """The model with that number for every symbol."""
    out = ModelProto()
    out.CopyFrom(model)
    info = helper.make_tensor_value_info("d", TensorProto.FLOAT, ["N", 6, 4, "W"])
    for holder in (out.graph, *out.functions):
        holder.value_info.add().CopyFrom(info)
    for value in declared(out):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = size
    return out


def opened(model: ModelProto) -> ModelProto:
    """The model as onnxruntime takes it for any size; it reads 0 as no element at all."""
    return runnable(model_file_from_proto(model))[0]


@pytest.mark.parametrize("size", [-1, 0])
@pytest.mark.parametrize("name", MODELS)
def test_an_open_size_is_converted_as_one(name: str, size: int) -> None:
    original = written(made(name), size)
    conversion = fc2conv.convert(original)
    assert {layer.decision for layer in conversion.report.sites} == {"convert"}
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"
    for field in ("input", "output"):
        assert list(getattr(conversion.model.graph, field)) == list(getattr(original.graph, field))
    for batch, width in ((1, 20), (3, 37)):
        inputs = feeds(made(name), {"N": batch, "W": width})
        assert difference(run(made(name), inputs), run(opened(conversion.model), inputs)) < 1e-5


def test_every_copy_for_a_library_has_them_open() -> None:
    model = written(made("loop"), -1)
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [-1, 3, 0])
    model.graph.value_info.append(helper.make_value_info("list", helper.make_sequence_type_proto(kind)))
    model.graph.initializer.append(TensorProto(name="nothing", data_type=TensorProto.FLOAT, dims=[0, 3]))
    before = model.SerializeToString()
    for copy in (checkable(model), runnable(model_file_from_proto(model))[0]):
        sizes = [d for value in declared(copy) for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]
        assert all(dim.dim_value > 0 for dim in sizes)
        listed = next(value for value in copy.graph.value_info if value.name == "list").type.sequence_type.elem_type
        assert [dim.HasField("dim_value") for dim in listed.tensor_type.shape.dim] == [False, True, False]
        assert next(t for t in copy.graph.initializer if t.name == "nothing").dims == [0, 3]
    assert model.SerializeToString() == before


@pytest.mark.parametrize("size", [-1, 0])
def test_inference_never_counts_with_one(size: int) -> None:
    shapes = inferred(written(made("strided"), size), {})[""]
    assert [known.known for known in shapes["d"]] == [False, True, True, False]
    overwritten = inferred(made("strided"), {"x": (size, 3, 16, 32)})[""]["d"]
    assert [str(known) for known in overwritten[1:]] == ["6", "4", "8"]
    assert not overwritten[0].known


def test_one_open_size_is_the_same_signature_as_another() -> None:
    one, other = (written(made("strided"), size) for size in (-1, 0))
    assert fc2conv.verify(one, other).verdict == "proved"


def test_a_size_that_the_caller_leaves_open_is_run_as_one() -> None:
    twice = fc2conv.VerifyOptions(check_n=2)
    options = fc2conv.Options(input_shapes={"x": (0, 3, 16, 0)}, verification=twice)
    report = fc2conv.convert(made("strided"), options=options).report
    assert report.verification is not None
    detail = next(check.detail for check in report.verification.checks if check.name == "numeric")
    assert "batch [1, 3]" in detail


def test_a_map_of_an_open_batch_stays_one() -> None:
    text = """graph (float[N,3,16,16] x) => (float[N,5] y) <float[4,3,3,3] k, float[784,5] w>
    { c = Conv (x, k)  f = Flatten (c)  y = MatMul (f, w) }"""
    model = written(parse(text), -1)
    sliding = fc2conv.convert(model, options=fc2conv.Options(sliding=fc2conv.SlidingOptions())).model
    made = np.ones((2, 3, 20, 18), np.float32)
    (result,) = run(sliding, {"x": made})
    assert result.shape == (2, 5, 5, 3)
    assert sliding.graph.output[0].type.tensor_type.shape.dim[0].dim_value >= 0


POSITIONS = {
    "map": (
        "float[4,3,1,1] k, float[1,4,6,5] p, float[120,7] w",
        "a = Add (m, p)  f = Flatten (a)  [fc] y = Gemm (f, w)",
    ),
    "before": (
        "float[4,3,1,1] k, float[1,4,6,5] p, float[120,7] w",
        "a = Mul (p, m)  f = Flatten (a)  [fc] y = Gemm (f, w)",
    ),
    "sum with the map": (
        "float[4,3,1,1] k, float[1,4,6,5] p, float[120,7] w",
        "a = Add (m, p)  r = Relu (a)  s = Add (r, m)  f = Flatten (s)  [fc] y = Gemm (f, w)",
    ),
    "tokens": (
        "float[4,3,1,1] k, float[1,30,4] p, float[4,7] w, float[7,7] v, int64[3] s = {0, 4, -1}",
        """r = Reshape (m, s)  t = Transpose <perm = [0, 2, 1]> (r)  a = Add (t, p)
           [fc] h = MatMul (a, w)  [fc2] g = MatMul (h, v)  y = ReduceMax <axes = [1], keepdims = 0> (g)""",
    ),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_a_constant_of_more_cells_than_one_fixes_an_open_size(name: str) -> None:
    """Whether the map has as many cells, or one that is repeated: the result has those of the constant."""
    weights, nodes = POSITIONS[name]
    model = parse(f"graph (float[N,3,H,W] x) => (float[N,7] y) <{weights}> {{ m = Conv (x, k)  {nodes} }}")
    conversion = fc2conv.convert(model)
    kernel = [1, 1] if name == "tokens" else [6, 5]
    assert [each.kernel_shape for each in conversion.report.sites] == [kernel] * (1 + (name == "tokens"))
    for sizes in ({"N": 2, "H": 6, "W": 5}, {"N": 2, "H": 1, "W": 1}):
        inputs = feeds(model, sizes)
        assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4


def test_one_name_for_all_sizes_means_nothing() -> None:
    """Exporters write `?` for every size. The weights say that they are not the same, and onnxruntime asks nothing."""
    model = parse("""graph (float[Q,Q,Q,Q] x) => (float[Q,5] y) <float[4,3,1,1] k, float[64,5] w>
    { m = Conv (x, k)  f = Flatten (m)  [fc] y = Gemm (f, w) }""")
    conversion = fc2conv.convert(model, scope="all")
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"
    inputs = {"x": np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)}
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-5


@pytest.mark.parametrize("order", ["h, q", "q, h"])
def test_an_open_size_that_a_known_one_meets_is_one_or_that(order: str) -> None:
    """L is 1 or 6: as 1 x L it does not meet 6 tokens that are 2 x 3 on their spatial form."""
    text = f"""graph (float[N,L,8] x, float[N,5] z) => (float[N,6,8] y)
    <float[8,8] w, float[5,48] v, int64[3] s = {{-1, 6, 8}}>
    {{ [fc1] h = MatMul (x, w)  [fc2] g = MatMul (z, v)  r = Reshape (g, s)  [fc3] q = MatMul (r, w)
       a = Add ({order})  [fc4] y = MatMul (a, w) }}"""
    model = parse(text)
    conversion = fc2conv.convert(model, scope="all")
    assert len(conversion.report.converted) == 4
    for length in (1, 6):
        inputs = feeds(model, {"N": 2, "L": length})
        assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-5


def test_a_size_that_a_kernel_only_bounds_is_what_a_later_weight_needs() -> None:
    """Frames of 142 bins, of which the kernels need 37 or more: [T, F] -> [10, T - 2, F - 36] -> [T - 2, 1060]."""
    model = parse("""graph (float[T,F] x) => (float[S,5] y) <float[4,1,3,3] p, float[10,4,1,35] k, float[1060,5] w,
    int64[2] s = {-1, 1060}, int64[2] front = {0, 1}, int64[1] zero = {0}>
    { i = Unsqueeze (x, front)  b = Conv (i, p)  c = Conv (b, k)  m = Squeeze (c, zero)
      t = Transpose <perm = [1, 0, 2]> (m)  r = Reshape (t, s)  [fc] y = MatMul (r, w) }""")
    conversion = fc2conv.convert(model, scope="all")
    assert conversion.report.verification is not None
    assert (len(conversion.report.converted), conversion.report.verification.verdict) == (1, "proved")
    inputs = feeds(model, {"T": 4, "F": 142})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-5
