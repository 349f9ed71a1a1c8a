"""Layers behind operators that ONNX does not know: their shapes and layouts go on, and FC105 names where they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, TensorProto, helper, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv.errors import InconclusiveError, UsageError

DOMAINS = {"com.microsoft": 1, "ai.onnx.ml": 3, "my": 1}
ALL = fc2conv.Options(scope="all")


def small(shape: tuple[int, ...], dtype: type[np.generic] = np.int8) -> npt.NDArray[np.generic]:
    """Integers of which no processor's sums of pairs overflow."""
    low = 0 if dtype is np.uint8 else -20
    return np.random.default_rng(shape).integers(low, 20, shape).astype(dtype)


def model(text: str, **arrays: npt.ArrayLike) -> ModelProto:
    made = parse(text, opset=17, domains=DOMAINS)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
    return made


def kernels(original: ModelProto, options: fc2conv.Options | None = None) -> dict[str, list[int] | None]:
    """The kernels of a conversion that is proved by the certificate, and gives what the original gives."""
    conversion = fc2conv.convert(original, options=options)
    report = conversion.report
    assert report.verification is not None
    assert {check.name: check.verdict for check in report.verification.checks}["exact"] == "proved"
    for batch in (1, 3):
        inputs = feeds(original, {"N": batch})
        assert difference(run(original, inputs), run(conversion.model, inputs)) < 1e-5
    return {layer.node: layer.kernel_shape for layer in report.sites}


SCALES = {"s": np.float32(0.5), "z": np.uint8(3), "t": np.float32(0.25), "i": np.int8(0), "u": np.float32(4.0)}


@pytest.mark.parametrize("fixed", [True, False])
def test_quantized_where_runs_on_the_map(fixed: bool) -> None:
    other = "" if fixed else ", uint8[N,6] o"
    text = f"""graph (uint8[N,3,2,2] x, bool[N,1] p{other}) => (uint8[N,4] y)
    {{ f = Flatten (x)
       [fc1] a = com.microsoft.QGemm <transB = 1> (f, s, z, w, t, i, , u, z)
       b = com.microsoft.QLinearWhere (p, a, u, z, o, s, z, t, z)
       [fc2] y = com.microsoft.QGemm <transB = 1> (b, t, z, v, t, i, , u, z) }}"""
    arrays = {"w": small((6, 12)), "v": small((4, 6)), **({"o": small((6,), np.uint8)} if fixed else {})}
    assert kernels(model(text, **arrays, **SCALES), ALL) == {"fc1": [2, 2], "fc2": [1, 1]}


def test_maps_of_channels_last() -> None:
    text = """graph (uint8[N,9,8,3] x) => (uint8[N,5] y)
    { c = com.microsoft.QLinearConv <channels_last = 1, kernel_shape = [3, 3]> (x, s, z, k, t, i, u, z)
      p = com.microsoft.NhwcMaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
      q = com.microsoft.QLinearAveragePool <channels_last = 1, kernel_shape = [2, 1]> (p, u, z, s, z)
      f = Flatten (q)
      [fc] y = com.microsoft.QGemm <transB = 1> (f, s, z, w, t, i, , u, z) }"""
    assert kernels(model(text, k=small((4, 3, 3, 3)), w=small((5, 24)), **SCALES)) == {"fc": [2, 3]}


def test_rows_of_blocks_of_four_bits_are_floats() -> None:
    """The element type is that of the scales, which layout nodes take."""
    text = """graph (int64[N,L] x) => (float[N,L,5] y) <float[32,5] w>
    { e = com.microsoft.GatherBlockQuantized <block_size = 16, gather_axis = 0, quantize_axis = 1> (t, x, s)
      [fc] y = MatMul (e, w) }"""
    made = parse(text, opset=21, domains=DOMAINS, ir_version=10)
    numbers = np.random.default_rng(1).integers(-8, 8, 10 * 32)
    scales = np.random.default_rng(2).random((10, 2)).astype(np.float32)
    made.graph.initializer.append(helper.make_tensor("t", TensorProto.INT4, [10, 32], numbers))
    made.graph.initializer.append(numpy_helper.from_array(scales, "s"))
    found = fc2conv.convert(made, scope="all")
    assert [layer.kernel_shape for layer in found.report.sites] == [[1, 1]]
    assert difference(*(run(each, {"x": np.array([[3, 0, 9, 1]])}) for each in (made, found.model))) < 1e-6


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_what_onnxruntime_optimized(tmp_path: Path, level: str) -> None:
    """At the highest level it keeps maps in blocks of channels."""
    text = """graph (float[N,3,8,8] x) => (float[N,5] y)
    <float[16,3,3,3] k, float[16] b, float[8,16,3,3] l, float[8] c, float[128,6] w, float[6] d, float[6,5] v,
     float[5] e>
    { a = Conv <pads = [1, 1, 1, 1]> (x, k, b)
      r = Relu (a)
      h = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r, l, c)
      f = Flatten (h)
      [fc1] g = Gemm (f, w, d)
      j = Relu (g)
      [fc2] y = Gemm (j, v, e) }"""
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(parse(text).SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert list(kernels(onnx.load(options.optimized_model_filepath)).values()) == [[4, 4], [1, 1]]


@pytest.mark.parametrize(
    "node",
    [
        "Scaler <offset = [0.5, 0.25, 0.125, 1.0], scale = [2.0, 1.5, 0.5, 3.0]>",
        'Normalizer <norm = "L2">',
        "Imputer <imputed_value_floats = [1.0], replaced_value_float = 0.0>",
        "Binarizer <threshold = 0.25>",
    ],
)
def test_layers_behind_a_pipeline(node: str) -> None:
    text = f"""graph (float[N,4] x) => (float[N,3] y) <float[4,6] w, float[6,3] v>
    {{ a = ai.onnx.ml.{node} (x)
       [fc1] b = MatMul (a, w)
       c = Relu (b)
       [fc2] y = MatMul (c, v) }}"""
    assert kernels(model(text), ALL) == {"fc1": [1, 1], "fc2": [1, 1]}


def test_the_sum_beside_a_norm() -> None:
    text = """graph (float[N,4,8] x, float[N,4,8] r) => (float[N,4,5] y) <float[8] g, float[8,8] w, float[8,5] v>
    { a, , , q = com.microsoft.SkipSimplifiedLayerNormalization (x, r, g)
      [fc1] b = MatMul (a, w)
      c, , , d = com.microsoft.SkipSimplifiedLayerNormalization (b, q, g)
      e = Add (c, d)
      [fc2] y = MatMul (e, v) }"""
    assert list(kernels(model(text), ALL)) == ["fc1", "fc2"]


# ------------------------------------------------------------------ FC105

MYSTERY = """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w>
{ c = Relu (x)
  [odd] f = my.Mystery (c)
  g = Relu (f)
  [fc] y = MatMul (g, w) }"""


def test_a_lost_shape_is_named_and_can_be_given() -> None:
    (layer,) = fc2conv.plan(model(MYSTERY), ALL).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node, layer.reason.detail) == (
        "FC105",
        "odd",
        "nothing tells the shape of f",
    )
    given = fc2conv.Options(scope="all", input_shapes={"f": (0, 24)})
    (layer,) = fc2conv.plan(model(MYSTERY), given).sites
    assert (layer.decision, layer.kernel_shape) == ("convert", [1, 1])


def test_sizes_of_which_nothing_is_known_give_no_shape() -> None:
    """What they are used for is named: the shape of the sizes themselves would not help."""
    text = """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w>
    { c = Relu (x)  n = my.Mystery (c)  i = Cast <to = 7> (n)  [at] r = Reshape (c, i)  [fc] y = MatMul (r, w) }"""
    (layer,) = fc2conv.plan(model(text), ALL).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC105", "at")
    assert "--overwrite-input-shape r:0,24, where 0 is any size." in layer.reason.remedy
    (layer,) = fc2conv.plan(model(text), fc2conv.Options(scope="all", input_shapes={"r": (0, 24)})).sites
    assert layer.decision == "convert"


def test_a_lost_shape_in_a_body() -> None:
    text = """graph (float[N,24] x, bool p) => (float[N,5] y) <float[24,5] w>
    { y = If (p) <then_branch = a () => (float[N,5] s) { [odd] f = my.Mystery (x)  [fc] s = MatMul (f, w) },
                  else_branch = b () => (float[N,5] e) { e = MatMul (x, w) }> }"""
    kept, _ = fc2conv.plan(model(text), ALL).sites
    assert kept.reason is not None
    assert (kept.reason.code, kept.reason.node) == ("FC105", "odd")
    assert "--overwrite-input-shape f:0,24, where 0 is any size." in kept.reason.remedy
    given = fc2conv.Options(scope="all", input_shapes={"f": (0, 24)})
    assert {layer.decision for layer in fc2conv.plan(model(text), given).sites} == {"convert"}


def test_a_shape_that_is_lost_in_a_sequence_is_given_of_the_tensor_taken_from_it() -> None:
    text = """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w>
    { c = Relu (x)  e = SequenceEmpty ()  s = SequenceInsert (e, c)  n = Size (x)  zero = Sub (n, n)
      [at] a = SequenceAt (s, zero)  f = Flatten (a)  [fc] y = MatMul (f, w) }"""
    (layer,) = fc2conv.plan(model(text), ALL).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node, layer.reason.detail[-1]) == ("FC105", "at", "a")
    made = fc2conv.convert(model(text), options=fc2conv.Options(scope="all", input_shapes={"a": (0, 4, 3, 2)}))
    assert [(layer.decision, layer.kernel_shape) for layer in made.report.sites] == [("convert", [1, 1])]


def test_a_shape_that_is_known_is_not_given() -> None:
    options = fc2conv.Options(input_shapes={"c": (1, 4, 3, 2)})
    with pytest.raises(UsageError, match="'c', which is no input and has a shape already"):
        fc2conv.plan(model(MYSTERY), options)


def test_an_input_without_a_shape_is_run_with_the_one_that_is_given() -> None:
    original = model("graph (float[N,24] x) => (float[N,5] y) <float[24,5] w> { [fc] y = MatMul (x, w) }")
    original.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    (layer,) = fc2conv.plan(original, ALL).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC105", "x")
    report = fc2conv.convert(original, options=fc2conv.Options(scope="all", input_shapes={"x": (0, 24)})).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    assert report.sites[0].decision == "convert"


# ------------------------------------------------------------------ what a model says of custom operators

HEAD = """graph (float[2,4,3,2] x) => (float[2,5] y) <float[24,6] v, float[6,5] w, int64[2] to = {2, 6}>
{ c = Flatten (x)
  [fc1] d = MatMul (c, v)
  f = my.Mystery (d)
  g = Reshape (f, to)
  [fc2] y = MatMul (g, w) }"""


def says(model: ModelProto, name: str, shape: list[int | str]) -> ModelProto:
    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return model


def test_a_shape_that_only_the_model_knows_is_taken_by_plan_and_proof(tmp_path: Path) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "o.onnx"
    onnx.save(says(model(HEAD), "f", [2, 6]), path)
    report = fc2conv.convert(path, out, options=ALL).report
    assert [layer.decision for layer in report.sites] == ["convert", "convert"]
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    wrong = onnx.load(out)
    kernel = next(tensor for tensor in wrong.graph.initializer if tensor.name == "w")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1.5), "w"))
    onnx.save(wrong, out)
    assert fc2conv.verify(path, out).verdict == "differs"


def test_a_custom_operator_in_the_domain_of_onnx_has_the_shape_that_is_stated() -> None:
    original = says(model(HEAD.replace("my.Mystery", "Mystery")), "f", [2, 6])
    made = fc2conv.convert(original, options=ALL)
    assert [layer.decision for layer in made.report.sites] == ["convert", "convert"]
    assert made.report.verification is not None
    assert made.report.verification.verdict == "proved"


def test_a_shape_that_is_given_is_written_so_that_the_result_is_proved_again(tmp_path: Path) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "o.onnx"
    onnx.save(model(MYSTERY), path)
    given = fc2conv.Options(scope="all", input_shapes={"f": (0, 24)})
    report = fc2conv.convert(path, out, options=given).report
    assert report.verification is not None
    assert (report.sites[0].decision, report.verification.verdict) == ("convert", "proved")
    assert fc2conv.verify(path, out).verdict == "proved"


def test_without_a_shape_the_message_names_the_value_and_the_option() -> None:
    with pytest.raises(InconclusiveError, match=r"the shape of f, which .*, is not known") as raised:
        fc2conv.convert(model(HEAD), options=ALL)
    assert "--overwrite-input-shape VALUE:SIZES" in (raised.value.remedy or "")


def test_a_shape_of_a_single_run_is_not_believed_of_an_open_input() -> None:
    opened = says(model(MYSTERY), "f", [1, 24])
    (layer,) = fc2conv.plan(opened, ALL).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC105"
    (layer,) = fc2conv.plan(says(model(MYSTERY), "f", ["N", 24]), ALL).sites
    assert layer.decision == "convert"


def test_the_domain_of_a_custom_operator_need_not_be_imported() -> None:
    original = says(model(HEAD), "f", [2, 6])
    kept = [entry for entry in original.opset_import if entry.domain != "my"]
    del original.opset_import[:]
    original.opset_import.extend(kept)
    made = fc2conv.convert(original, options=ALL).model
    assert {entry.domain: entry.version for entry in made.opset_import}["my"] == 1


@pytest.mark.parametrize("versions", [(17, 11), (11, 17)])
def test_of_two_versions_of_a_domain_the_last_counts_as_in_onnxruntime(versions: tuple[int, int]) -> None:
    text = """graph (float[1,4,3,2] x) => (float[1,5] y) <float[24,5] w>
    { s = Softmax (x)  f = Flatten (s)  [fc] y = MatMul (f, w) }"""
    original = model(text)
    del original.opset_import[:]
    original.opset_import.extend(helper.make_opsetid("", version) for version in versions)
    fed = feeds(original, {})
    made = fc2conv.convert(original).model
    assert difference(run(original, fed), run(made, fed)) < 1e-5
    assert [entry.version for entry in made.opset_import if not entry.domain] == [versions[1]]


@pytest.mark.parametrize("behind", ["Reshape (x, t)", "Flatten (x)"])
@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_a_layer_of_a_known_shape_behind_such_an_input(behind: str, scope: str) -> None:
    """Nothing is proved without the shape: the layer is kept, and not refused by the proof."""
    original = model(f"""graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w, int64[2] t = {{-1, 24}}>
    {{ f = {behind}  [fc] y = MatMul (f, w) }}""")
    original.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    (layer,) = fc2conv.convert(original, scope=scope).report.sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC105", "x")
    found = fc2conv.convert(original, options=fc2conv.Options(input_shapes={"x": (0, 4, 3, 2)})).report
    assert found.verification is not None
    assert (found.verification.verdict, found.sites[0].kernel_shape) == ("proved", [3, 2])


def test_an_input_that_is_no_tensor() -> None:
    original = model("""graph (float[N,24] s) => (float[N,5] y) <float[24,5] w, int64 i = {0}>
    { x = SequenceAt (s, i)  [fc] y = MatMul (x, w) }""")
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 24])
    original.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(tensor))
    (layer,) = fc2conv.convert(original, scope="all").report.sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC105", "s")
    assert layer.reason.remedy.startswith("Cut the model")
