"""Constants that nodes compute of others, with rounding: in both models, and folded in the one alone."""

from __future__ import annotations

import execute
import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser

import fc2conv

HEAD = """<ir_version: 8, opset_import: ["": 17]>
g (float[N,3,4,4] image) => (float[N,16,%d] y) <int64[3] rows = {0, 8, 16}>"""
MAKERS = {
    "a product": "{0} = Mul ({0}_1, {0}_2)",
    "a sum": "{0} = Add ({0}_1, {0}_2)",
    "a narrower type": "{0} = Cast <to = 1> ({0}_1)",
    "a function": "{0} = Sqrt ({0}_1)",
    "a product of a product": "{0}_3 = Mul ({0}_1, {0}_2) {0} = Div ({0}_3, {0}_2)",
}
SHAPES = {"k": (8, 3, 1, 1), "w": (8, 0), "b": (0,), "v": (0, 0), "c": (0,)}


def computed(maker: str, width: int) -> ModelProto:
    """A network all of whose weights and biases are made of other constants: of the Conv, which stays, as well."""
    random = np.random.default_rng(1)
    made = " ".join(MAKERS[maker].format(name) for name in SHAPES)
    model = parser.parse_model(
        f"""{HEAD % width} {{ {made} m = Conv (image, k) r = Reshape (m, rows) t = Transpose <perm = [0, 2, 1]> (r)
        u = MatMul (t, w) a = Add (b, u) e = Relu (a) o = MatMul (e, v) y = Add (o, c) }}"""
    )
    kind = np.float64 if "Cast" in MAKERS[maker] else np.float32
    for name, shape in SHAPES.items():
        for part in ("1", "2") if "_2" in MAKERS[maker] else ("1",):
            values = random.uniform(0.1, 1, [size or width for size in shape]).astype(kind)
            model.graph.initializer.append(numpy_helper.from_array(values, f"{name}_{part}"))
    return model


@pytest.mark.parametrize("width", [5, 70], ids=["few numbers", "more than are evaluated at once"])
@pytest.mark.parametrize("maker", MAKERS)
def test_constants_that_both_compute_are_rounded_in_both(maker: str, width: int) -> None:
    original = computed(maker, width)
    conversion = fc2conv.convert(original)
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"
    assert len(conversion.report.converted) == 2


@pytest.mark.parametrize("width", [5, 70])
def test_one_unit_in_the_last_place_of_a_folded_constant_is_another_function(width: int) -> None:
    original = computed("a product", width)
    other = fc2conv.convert(original).model
    stored = {tensor.name for tensor in original.graph.initializer}
    bias = next(each for each in other.graph.initializer if each.name not in stored and np.prod(each.dims) == width)
    values = numpy_helper.to_array(bias).copy()
    values.flat[0] = np.nextafter(values.flat[0], np.float32(2))
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    assert not fc2conv.verify(original, other).verdict.accepted


def _behind_a_norm(body: str, factor: float) -> ModelProto:
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,4,1] x) => (float[N,3] y) {{ {body} y = Gemm <alpha = {-1.5 / factor}> (m, w) }}"""
    )
    random = np.random.default_rng(3)
    for name in ("scale", "bias", "mean", "variance"):
        model.graph.initializer.append(numpy_helper.from_array(random.random(4, np.float32) + 1, name))
    weight = random.standard_normal((4, 3), np.float32) * np.float32(factor)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def test_a_norm_that_both_have_is_exact_beside_a_factor_that_one_has_rounded() -> None:
    """The second model's norm has the name of what the first makes of its own by moves."""
    norm = "({}, scale, bias, mean, variance)"
    first = _behind_a_norm(f"n = BatchNormalization {norm.format('x')} m = Flatten (n)", 1.0)
    second = _behind_a_norm(f"f = Flatten (x) m = BatchNormalization {norm.format('f')}", -1.5)
    assert fc2conv.verify(first, second).verdict == "proved"


def test_a_norm_that_one_has_folded_behind_a_value_that_both_have() -> None:
    """The product is the first model's own in one output of the second, and another operator in front of the norm."""
    random = np.random.default_rng(5)
    constants = {
        "k": random.standard_normal((1, 1), np.float32), "w": random.standard_normal((5, 2), np.float32),
        "to": np.int64([0, 1, 5]), "one": np.int64([-5]),
        **{name: random.random(1, np.float32) + 1 for name in ("scale", "bias", "mean", "variance")},
    }  # fmt: skip
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]> g (float[N,5,1,1] x) => (float[?,?,?,?,?] y, float[?,?,?] z)
        { p = MatMul (k, x)  u = Unsqueeze (p, one)  y = BatchNormalization (u, scale, bias, mean, variance)
          r = Reshape (u, to)  z = MatMul (r, w) }"""
    )
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    done = fc2conv.convert(model, None, fc2conv.Options(scope="all"))
    made = [node.op_type for node in done.model.graph.node]
    assert (made.count("Conv"), "BatchNormalization" in made) == (2, False)
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"


def test_a_folded_constant_in_front_of_a_size_that_values_decide() -> None:
    """What is computed with a folded constant is the same value, so that numbers decide on what cannot be followed."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,7] x) => (float[1,?,8] y)
        <int64[1] one = {1}, int64[1] eight = {8}> {
          h = Conv (x, k) t = Transpose <perm = [0, 2, 1]> (h) p = MatMul (positions, v) s = Add (p, c) w = Relu (s)
          m = MatMul (t, w) a = Abs (m) r = ReduceSum <keepdims = 0> (a) n = Cast <to = 7> (r)
          u = Unsqueeze (n, one_less) to = Concat <axis = 0> (one, u, eight) q = ReduceMean <axes = [1]> (m)
          e = Expand (q, to) y = MatMul (e, z) }"""
    )
    random, shapes = (
        np.random.default_rng(11),
        {"k": (8, 3, 1), "positions": (8, 8), "v": (8, 8), "c": (8,), "z": (8, 8)},
    )
    for name, shape in shapes.items():
        values = random.standard_normal(shape, np.float32) / 4
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.initializer.append(numpy_helper.from_array(np.int64([0]), "one_less"))
    done = fc2conv.convert(model, None, fc2conv.Options(scope="all"))
    image = {"x": random.standard_normal((1, 3, 7), np.float32)}
    one, other = (execute.run(each, image) for each in (model, done.model))
    assert execute.difference(one, other) < 1e-5
    assert len(done.report.converted) == 2
    assert done.report.verification is not None
    assert done.report.verification.verdict == "agrees"
    weight = next(each for each in done.model.graph.initializer if list(each.dims) == [8, 8, 1] and each.name != "z")
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    assert not fc2conv.verify(model, done.model).verdict.accepted


RESIZES = {
    "nearest": 'mode = "nearest"',
    "linear": 'mode = "linear"',
    "cubic": 'mode = "cubic", cubic_coeff_a = -0.75',
    "corners": 'mode = "linear", coordinate_transformation_mode = "align_corners"',
    "antialiased": 'mode = "cubic", antialias = 1, coordinate_transformation_mode = "half_pixel"',
}


@pytest.mark.parametrize("way", RESIZES)
def test_a_resized_table_of_positions_is_as_the_runtime_makes_it(way: str) -> None:
    """As in DINOv2, DPT and SAM: the table is made for images of another size."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]> g (float[N,3,5,4] x) => (float[N,20,6] y)
        <int64[4] sizes = {{1, 8, 5, 4}}, int64[3] rows = {{1, 8, 20}}, int64[3] flat = {{0, 8, 20}}> {{
          m = Conv (x, k) r = Reshape (m, flat) t = Transpose <perm = [0, 2, 1]> (r)
          p = Resize <{RESIZES[way]}> (table, , , sizes) q = Reshape (p, rows)
          s = Transpose <perm = [0, 2, 1]> (q) a = Add (t, s) y = MatMul (a, w) }}"""
    )
    random = np.random.default_rng(13)
    for name, shape in {"k": (8, 3, 1, 1), "table": (1, 8, 3, 7), "w": (8, 6)}.items():
        model.graph.initializer.append(numpy_helper.from_array(random.standard_normal(shape, np.float32), name))
    done = fc2conv.convert(model)
    image = {"x": random.standard_normal((2, 3, 5, 4), np.float32)}
    one, other = (execute.run(each, image) for each in (model, done.model))
    assert execute.difference(one, other) < 1e-5
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert sorted(node.op_type for node in done.model.graph.node) == ["Add", "Conv", "Conv", "Reshape", "Transpose"]
    table = next(each for each in done.model.graph.initializer if list(each.dims) == [1, 8, 5, 4])
    values = numpy_helper.to_array(table).copy()
    values.flat[7] = np.nextafter(values.flat[7], np.float32(9))
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    assert not fc2conv.verify(model, done.model).verdict.accepted


def test_the_integers_of_a_large_constant_are_those_of_its_parts() -> None:
    """Whether a constant is computed at once does not depend on how many elements it has."""
    head = """<ir_version: 8, opset_import: ["": 17]> g (float[N,96] x) => (float[N,70] y)
    <float scale = {0.25}, int8 zero = {3}>"""
    quantized = "q{0} = QuantizeLinear (w{0}, scale, zero) d{0} = DequantizeLinear (q{0}, scale, zero)"
    whole = parser.parse_model(f"{head} {{ {quantized.format('')} y = MatMul (x, d) }}")
    parts = parser.parse_model(f"""{head} {{ {quantized.format(1)} {quantized.format(2)}
        a, b = Split <axis = 1> (x) m = MatMul (a, d1) n = MatMul (b, d2) y = Add (m, n) }}""")
    values = np.random.default_rng(2).normal(size=(96, 70)).astype(np.float32)
    for model, weights in ((whole, {"w": values}), (parts, {"w1": values[:48], "w2": values[48:]})):
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    assert fc2conv.verify(whole, parts).verdict == "proved"
    other = next(tensor for tensor in parts.graph.initializer if tensor.name == "w2")
    other.CopyFrom(numpy_helper.from_array(values[48:] + np.float32(0.25), "w2"))
    assert not fc2conv.verify(whole, parts).verdict.accepted


def test_a_constant_that_is_turned_by_an_order_that_fits_no_axes_is_no_fault() -> None:
    """What no runtime accepts is the same on both sides."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => (float[N,2] y) <float[2] b = {1.0, 2.0}>
    { c = Transpose <perm = [%s]> (b) y = Add (x, c) }"""
    long, twice = (parser.parse_model(text % perm) for perm in ("3, 2, 0, 1", "0, 0"))
    assert fc2conv.verify(long, long, only="exact").verdict == "proved"
    assert not fc2conv.verify(twice, parser.parse_model(text % "0"), only="exact").verdict.accepted


READ_TWICE = {
    "a product": "w = Mul (a, b)",
    "a function": "w = Exp (a)",
    "a product of matrices": "w = MatMul (c, d)",
    "an equation": 'w = Einsum <equation = "ij,jk->ik"> (c, d)',
}


@pytest.mark.parametrize("result", ["s = ReduceSum <keepdims = 0> (w, first) y = Add (h, s)", "y = Add (h, h)"])
@pytest.mark.parametrize("maker", READ_TWICE)
def test_a_computed_weight_that_others_read_is_rounded_in_both(maker: str, result: str) -> None:
    """The kernel has what the node computes, which stays; one unit in the last place is another function."""
    outputs = "float[N,5] y, float[24,5] w" if "s =" not in result else "float[N,5] y"
    original = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[N,4,3,2] x) => ({outputs}) <int64[1] first = {{0}}>
        {{ f = Flatten (x) {READ_TWICE[maker]} [fc] h = MatMul (f, w) {result} }}"""
    )
    shapes = {"a": (24, 5), "b": (24, 5), "c": (24, 3), "d": (3, 5)}
    for name in [each for each in shapes if each in original.graph.node[1].input]:
        values = np.random.default_rng(shapes[name]).standard_normal(shapes[name]).astype(np.float32)
        original.graph.initializer.append(numpy_helper.from_array(values, name))
    conversion = fc2conv.convert(original)
    assert [layer.kernel_shape for layer in conversion.report.converted] == [[3, 2]]
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "proved"
    other = conversion.model
    assert other is not None
    kernel = next(each for each in other.graph.initializer if list(each.dims) == [5, 4, 3, 2])
    values = numpy_helper.to_array(kernel).copy()
    values.flat[7] = np.nextafter(values.flat[7], np.float32(9))
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    assert not fc2conv.verify(original, other).verdict.accepted
