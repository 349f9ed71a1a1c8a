"""Constants: what is one, where it is stored, and that what is computed is what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from execute import run
from onnx import ModelProto, TensorProto, helper, numpy_helper
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, opset_versions

Array = npt.NDArray[np.generic]


def constants_of(model: ModelProto, *, freeze: bool = False) -> Constants:
    """The constants of the main graph."""
    file = model_file_from_proto(model)
    graph = Graph(file.model.graph, opset_versions(model), ir_version=model.ir_version, freeze=freeze)
    return Constants(graph, file)


def made(
    nodes: str, declared: str = "float[2,3,4] w", *, opset: int = 13, domains: Mapping[str, int] | None = None
) -> tuple[Constants, Array]:
    """The constants of a model that computes y of constants alone, and what onnxruntime makes of y."""
    model = parse(f"graph () => (float y) <{declared}> {{ {nodes} }}", opset=opset, domains=domains or {})
    output = model.graph.output[0]
    output.type.Clear()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0]
    output.type.tensor_type.elem_type = inferred.type.tensor_type.elem_type
    (expected,) = run(model, {})
    return constants_of(model), expected


# ------------------------------------------------------------------ chains of layout


LAYOUT = {
    "identity": ("y = Identity (w)", 13),
    "transpose": ("y = Transpose <perm = [2, 0, 1]> (w)", 13),
    "transpose_reverses": ("y = Transpose (w)", 13),
    "reshape": ("y = Reshape (w, s)", 13),
    "reshape_copies_and_infers": ("y = Reshape (w, c)", 13),
    "flatten": ("y = Flatten (w)", 13),
    "flatten_2": ("y = Flatten <axis = 2> (w)", 13),
    "flatten_0": ("y = Flatten <axis = 0> (w)", 13),
    "flatten_3": ("y = Flatten <axis = 3> (w)", 13),
    "unsqueeze": ("y = Unsqueeze (w, a)", 13),
    "unsqueeze_by_attribute": ("y = Unsqueeze <axes = [1, -1]> (w)", 11),
    "squeeze": ("u = Unsqueeze (w, a) y = Squeeze (u, a)", 13),
    "squeeze_all": ("u = Unsqueeze (w, a) y = Squeeze (u)", 13),
    "squeeze_by_attribute": ("u = Unsqueeze <axes = [1, -1]> (w) y = Squeeze <axes = [1]> (u)", 11),
    "reshape_by_attribute_is_gone": ("t = Transpose <perm = [1, 0, 2]> (w) y = Reshape (t, s)", 5),
    "split_axes": ("r = Reshape (w, six) t = Transpose <perm = [1, 0, 2]> (r) y = Reshape (t, four)", 13),
    "back_and_forth": ("t = Transpose (w) f = Flatten (t) u = Transpose (f) y = Reshape (u, s)", 13),
}
SIZES = """float[2,3,4] w, int64[2] s = {6, 4}, int64[2] c = {0, -1}, int64[2] a = {1, -1}, int64[3] six = {6, 2, 2},
 int64[2] four = {4, 6}"""


@pytest.mark.parametrize("name", LAYOUT)
def test_layout_chains(name: str) -> None:
    nodes, opset = LAYOUT[name]
    constants, expected = made(nodes, SIZES, opset=opset)
    stored = constants.stored("y")
    assert stored is not None
    # The weight itself is not touched: it is seen through a layout.
    assert isinstance(stored.values, TensorProto)
    assert stored.values.name == "w"
    assert constants.shape("y") == expected.shape
    np.testing.assert_array_equal(constants.array("y"), expected)


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_flatten_counts_from_the_end(axis: int) -> None:
    constants, expected = made(f"y = Flatten <axis = {axis}> (w)")
    assert constants.shape("y") == expected.shape


@pytest.mark.parametrize("seed", range(20))
def test_random_layout_chains(seed: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((4, 6, 3)).astype(np.float32)
    nodes, tensors, array, name = [], [numpy_helper.from_array(weight, "w")], weight, "w"
    for i in range(int(random.integers(1, 5))):
        result = f"v{i}"
        if random.integers(2):
            perm = [int(axis) for axis in random.permutation(array.ndim)]
            nodes.append(helper.make_node("Transpose", [name], [result], perm=perm))
            array = array.transpose(perm)
        else:
            shape = np.array(((2, 36), (72,), (12, 6), (3, 8, 3), (2, 2, 18))[int(random.integers(5))])
            tensors.append(numpy_helper.from_array(shape, f"s{i}"))
            nodes.append(helper.make_node("Reshape", [name, f"s{i}"], [result]))
            array = array.reshape(shape)
        name = result
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
    constants = constants_of(helper.make_model(helper.make_graph(nodes, "g", [], [output], tensors)))
    np.testing.assert_array_equal(constants.array(name), array)


# ------------------------------------------------------------------ what is computed


FOLDED = {
    "cast": "y = Cast <to = 10> (w)",
    "arithmetic": "a = Mul (w, k) b = Add (a, w) c = Sub (b, k) y = Div (c, k)",
    "functions": "a = Abs (w) b = Sqrt (a) c = Exp (b) d = Neg (c) y = Reciprocal (d)",
    "log_of_pow": "a = Pow (w, two) y = Log (a)",
    "concat": "y = Concat <axis = 1> (w, w)",
    "slice": "y = Slice (w, one, end, one)",
    "gather": "y = Gather <axis = 2> (w, index)",
    "expand": "e = Constant <value = int64[4] {2, 2, 3, 4}> () y = Expand (w, e)",
    "tile": "e = Constant <value = int64[3] {1, 2, 1}> () y = Tile (w, e)",
    "norms": "a = ReduceL2 <axes = [2]> (w) b = ReduceMean <axes = [1]> (w) y = Add (a, b)",
    "sum": "y = ReduceSum (w, index)",
    "split": "a, y = Split <axis = 2> (w)",
    "choice": "p = Greater (w, k) e = Equal (w, w) y = Where (e, w, k)",
    "bounds": "a = Max (w, k) b = Min (a, two) c = Clip (b, zero, two) d = Floor (c) y = Ceil (d)",
    "weight_norm": "n = ReduceL2 <axes = [1, 2]> (w) q = Div (w, n) y = Mul (q, k)",
    "weight_norm_by_squares": "n = ReduceSumSquare <axes = [1, 2]> (w) r = Sqrt (n) y = Div (w, r)",
    "normalized": "n = LpNormalization <axis = 1> (w) l = ReduceMin (n) d = Sub (n, l) s = ReduceL1 (d) y = Div (d, s)",
    "places": "a = ArgMax <axis = 2> (w) b = ArgMin <axis = 1, keepdims = 0> (a) y = NonZero (b)",
    "shape": "y = Shape (w)",
    "crop": "p = Constant <value = int64[6] {-1, 0, 1, 0, -1, 0}> () y = Pad (w, p, k)",
    "largest": "y, i = TopK <axis = 1> (w, one)",
    "put in": """i = Constant <value = int64[1, 1] {1}> () u = Constant <value = float[1, 3, 4] {1.0, 2.0, 3.0, 4.0,
        5.0, 6.0, 7.0, 8.0, 9.0, 8.0, 7.0, 6.0}> () a = ScatterND (w, i, u) y = Relu (a)""",
    "apart": "y = DepthToSpace <blocksize = 2> (v)",
    "shares": "a = Softmax <axis = 1> (w) b = LogSoftmax <axis = 0> (w) y = Sub (a, b)",
    "means": "a = Mean (w, k) b = Sum (a, w) c = Erf (b) y = ReduceProd <axes = [0]> (c)",
    "backwards": "y = Slice (w, below, lower, one, minus)",
    "integers backwards": "c = Cast <to = 7> (w) y = Slice (c, below, lower, one, minus)",
    "squares of integers": "c = Cast <to = 6> (w) y = ReduceSumSquare <axes = [1]> (c)",
    "one hot": "v = Constant <value = float[2] {0.5, 2.0}> () o = OneHot (index, end, v) y = Cast <to = 1> (o)",
    "range": "a = Constant <value = int64 {1}> () b = Constant <value = int64 {7}> () y = Range (a, b, a)",
}
OPERANDS = """float[2,3,4] w, float[1,4,2,3] v, float k = {0.5}, float two = {2.0}, float zero = {0.0},
 int64[1] one = {1}, int64[1] end = {3}, int64[2] index = {2, 0}, int64[1] below = {-9}, int64[1] lower = {-99},
 int64[1] minus = {-1}, int64[1] one_of_none = {0}"""


@pytest.mark.parametrize("name", FOLDED)
def test_folded_operators(name: str) -> None:
    constants, expected = made(FOLDED[name], OPERANDS)
    found = constants.array("y")
    assert found is not None
    assert (found.dtype, found.shape, constants.shape("y")) == (expected.dtype, expected.shape, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("step", ["Identity ({})", "Neg ({})", "Cast <to = 1> ({})", "Add ({0}, {0})"])
def test_a_chain_may_be_longer_than_the_stack(step: str) -> None:
    """Each Add doubles how many ways lead to the weight."""
    steps = 100 if "Add" in step else 1200
    nodes = "  ".join(f"v{i + 1} = {step.format(f'v{i}')}" for i in range(steps))
    constants, expected = made(f"v0 = Identity (w)  {nodes}  y = Identity (v{steps})", OPERANDS)
    assert constants.exact("y")
    np.testing.assert_array_equal(constants.array("y"), expected)


DEQUANTIZED = {
    "one_scale": "y = DequantizeLinear (q, k)",
    "per_channel": """z = Constant <value = int8[3] {1, 2, 3}> ()
        s = Constant <value = float[3] {0.5, 0.25, 0.1}> () y = DequantizeLinear <axis = 1> (q, s, z)""",
}


@pytest.mark.parametrize(
    "opset",
    [
        13,
        19,
    ],
)
@pytest.mark.parametrize("name", DEQUANTIZED)
def test_dequantized_values(name: str, opset: int) -> None:
    declared = f"{OPERANDS}, int8[2,3,4] q = {{{', '.join(str(i - 9) for i in range(24))}}}"
    constants, expected = made(DEQUANTIZED[name], declared, opset=opset)
    np.testing.assert_allclose(constants.array("y"), expected, rtol=1e-6)  # type: ignore[arg-type]


def test_a_domain_of_others_among_the_imports_does_no_harm() -> None:
    constants, expected = made("y = Mul (w, k)", OPERANDS, domains={"com.microsoft": 1, "my": 3})
    np.testing.assert_array_equal(constants.array("y"), expected)


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ("y = Softmax (w)", 12),
        ("y = Hardmax (w)", 12),
        ("a = ReduceMean <axes = [0, 2], keepdims = 0> (w) b = Abs (a) y = BatchNormalization (w, a, a, a, b)", 11),
        ("y = LpNormalization <p = 1> (w)", 13),
        ("m = ReduceMax <keepdims = 0> (w) y = NonZero (m)", 13),
    ],
)
def test_what_the_reference_computes_otherwise_has_the_values_of_the_runtime(nodes: str, opset: int) -> None:
    constants, expected = made(nodes, OPERANDS, opset=opset)
    np.testing.assert_allclose(constants.array("y"), expected, rtol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ("y = Softplus (w)", 20),
        ("n = Constant <value = int64[0] {}> () y = Squeeze (w, n)", 13),
        ("y = CumSum (w, one)", 13),
        ("y = RandomUniformLike (w)", 13),
    ],
)
def test_what_is_not_computed_has_no_values(nodes: str, opset: int) -> None:
    constants, _ = made(nodes, OPERANDS, opset=opset)
    assert constants.stored("y") is None
    assert constants.shape("y") is None


def test_random_values_are_no_constants() -> None:
    constants, _ = made("y = RandomNormal <shape = [2, 3]> ()")
    assert not constants.is_constant("y")


# ------------------------------------------------------------------ Constant and ConstantOfShape


@pytest.mark.parametrize(
    ("attribute", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.array([[1, 2]], np.int8))}, np.array([[1, 2]], np.int8)),
        ({"value_float": 1.5}, np.array(1.5, np.float32)),
        ({"value_floats": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
    ],
)
def test_constant_nodes(attribute: dict[str, object], wanted: Array) -> None:
    node = helper.make_node("Constant", [], ["y"], **attribute)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = constants_of(helper.make_model(helper.make_graph([node], "g", [], [output])))
    found = constants.array("y")
    assert found is not None
    assert (found.dtype, found.shape, found.tolist()) == (wanted.dtype, wanted.shape, wanted.tolist())


def test_constant_of_text_has_no_values() -> None:
    node = helper.make_node("Constant", [], ["y"], value_string="text")
    constants = constants_of(helper.make_model(helper.make_graph([node], "g", [], [])))
    assert constants.is_constant("y")
    assert constants.array("y") is None


@pytest.mark.parametrize(
    ("value", "wanted"), [("<value = float[1] {0.5}>", 0.5), ("", 0.0), ("<value = int64[1] {7}>", 7)]
)
def test_a_fill_is_one_value(value: str, wanted: float) -> None:
    constants, expected = made(f"y = ConstantOfShape {value} (s)", "int64[2] s = {3, 5}")
    stored = constants.stored("y")
    assert stored is not None
    assert (stored.filled, stored.shape, np.asarray(stored.values).size) == (True, (3, 5), 1)
    np.testing.assert_array_equal(constants.array("y"), expected)
    assert constants.array("y").flat[7] == wanted  # type: ignore[union-attr]


def test_a_fill_of_400_mb_takes_no_memory() -> None:
    model = parse(
        "graph () => (float[?,?] y) <int64[2] s = {10000, 10000}> { f = ConstantOfShape (s) y = Transpose (f) }"
    )
    found = constants_of(model).array("y")
    assert found is not None
    assert (found.shape, found.strides) == ((10000, 10000), (0, 0))


def test_small_integers() -> None:
    constants, _ = made(
        "y = Concat <axis = 0> (s, s)", "int64[2] s = {3, 5}, int64 n = {-1}, float[2] f, int64[1,2] m = {1, 2}"
    )
    assert constants.ints("y") == (3, 5, 3, 5)
    assert constants.ints("n") == (-1,)
    assert (constants.ints("f"), constants.ints("m"), constants.ints("nothing")) == (None, None, None)
