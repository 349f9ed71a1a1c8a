"""Small originals, each with a conversion made by hand; faults are planted into the conversion's nodes and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, parser

from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Verification
from fc2conv.verification.pair import verify_pair

PARTED = ("differs", "inconclusive")
"""What exact arithmetic says of two models that are not the same, for certain or as far as is known."""

Weights = dict[str, NDArray[Any]]
Fill = Callable[[tuple[int, ...], int], NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """Texts of both graphs in ONNX syntax, the original's weights by shape, and how the new ones come from them."""

    name: str
    original: str
    converted: str
    shapes: dict[str, tuple[int, ...]]
    convert: Callable[[Weights], Weights]


def random(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tiny(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return (random(shape, seed) * np.float32(1e-30)).astype(np.float32)


def nearly_equal(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """All about 1: the order of the elements shows in the last bits only."""
    steps = np.random.default_rng(seed).integers(0, 1 << 10, shape)
    return (1 + steps * 2.0**-23).astype(np.float32)


def model(text: str, weights: Weights, opset: int = 17, ir: int = 8) -> ModelProto:
    """A model of a graph in ONNX text syntax; only the weights that it reads become initializers."""
    header = f'<ir_version: {ir}, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
    made = parser.parse_model(header + text)
    read = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in weights.items() if name in read)
    return made


def originals(case: Case, fill: Fill = random) -> Weights:
    """The original's weights."""
    made = {name: fill(shape, i) for i, (name, shape) in enumerate(case.shapes.items())}
    return {name: np.abs(array) if name == "variance" else array for name, array in made.items()}


def verify(one: ModelProto, other: ModelProto, ours: bool, options: VerifyOptions | None = None) -> Verification:
    files = model_file_from_proto(one), model_file_from_proto(other)
    return verify_pair(*files, ours, options or VerifyOptions())


def verdicts(result: Verification) -> dict[str, str]:
    return {check.name: check.verdict for check in result.checks}


def pair(case: Case, fill: Fill = random) -> tuple[ModelProto, ModelProto]:
    """The original and its right conversion."""
    weights = originals(case, fill)
    return model(case.original, weights), model(case.converted, weights | case.convert(weights))


def edit(proto: ModelProto, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Changes one initializer in place."""
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    array = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))


def node(proto: ModelProto, output: str) -> onnx.NodeProto:
    return next(n for n in proto.graph.node if output in n.output)


FLATTEN = Case(
    "flatten_gemm",
    """g (float[N,3,5,4] x) => (float[N,6] y) {
        f = Relu(x)
        flat = Flatten(f)
        [fc] y = Gemm<transB=1>(flat, W, b)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6] y)
    <int64[2] to = {-1, 6}> {
        f = Relu(x)
        [fc] y_conv = Conv(f, W_conv, b)
        y = Reshape(y_conv, to)
    }""",
    {"W": (6, 60), "b": (6,)},
    lambda w: {"W_conv": w["W"].reshape(6, 3, 5, 4)},
)

NHWC = Case(
    "nhwc_matmul_add",
    """g (float[N,3,5,4] x) => (float[N,6] y)
    <int64[2] flat_to = {-1, 60}> {
        f = Relu(x)
        t = Transpose<perm=[0,2,3,1]>(f)
        flat = Reshape(t, flat_to)
        [fc] d = MatMul(flat, W)
        y = Add(d, b)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6] y)
    <int64[2] to = {-1, 6}> {
        f = Relu(x)
        [fc] d_conv = Conv(f, W_conv, b)
        y = Reshape(d_conv, to)
    }""",
    {"W": (60, 6), "b": (6,)},
    lambda w: {"W_conv": np.ascontiguousarray(w["W"].reshape(5, 4, 3, 6).transpose(3, 2, 0, 1))},
)

GAP = Case(
    "gap_gemm",
    """g (float[N,3,5,4] x) => (float[N,6] y) {
        p = GlobalAveragePool(x)
        flat = Flatten(p)
        [fc] d = Gemm(flat, W, b)
        y = Softmax(d)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6] y)
    <int64[2] to = {-1, 6}> {
        p = GlobalAveragePool(x)
        [fc] d_conv = Conv(p, W_conv, b)
        y4 = Softmax<axis=1>(d_conv)
        y = Reshape(y4, to)
    }""",
    {"W": (3, 6), "b": (6,)},
    lambda w: {"W_conv": np.ascontiguousarray(w["W"].T).reshape(6, 3, 1, 1)},
)

STACK = Case(
    "two_layers",
    """g (float[N,3,4,4] x) => (float[N,2] y) {
        f = Conv(x, K)
        flat = Flatten(f)
        [fc6] a = Gemm<transB=1, alpha=0.5, beta=2.0>(flat, W6, b6)
        r = Relu(a)
        n = BatchNormalization(r, s, s2, m, variance)
        [fc7] y = Gemm<transB=1>(n, W7, b7)
    }""",
    """g (float[N,3,4,4] x) => (float[N,2] y)
    <int64[2] to = {-1, 2}> {
        f = Conv(x, K)
        [fc6] a_conv = Conv(f, W6_conv, b6_conv)
        r_conv = Relu(a_conv)
        n_conv = BatchNormalization(r_conv, s, s2, m, variance)
        [fc7] y_conv = Conv(n_conv, W7_conv, b7)
        y = Reshape(y_conv, to)
    }""",
    {
        "K": (4, 3, 2, 2),
        "W6": (5, 36),
        "b6": (5,),
        "s": (5,),
        "s2": (5,),
        "m": (5,),
        "variance": (5,),
        "W7": (2, 5),
        "b7": (2,),
    },
    lambda w: {
        "W6_conv": (w["W6"].astype(np.float64) * 0.5).astype(np.float32).reshape(5, 4, 3, 3),
        "b6_conv": w["b6"] * np.float32(2),
        "W7_conv": w["W7"].reshape(2, 5, 1, 1),
    },
)

CONCAT = Case(
    "concat_of_two_maps",
    """g (float[N,3,4,4] x, float[N,3,4,4] z) => (float[N,5] y) {
        a = Flatten(x)
        b = Flatten(z)
        c = Concat<axis=1>(a, b)
        [fc] y = Gemm<transB=1>(c, W, bias)
    }""",
    """g (float[N,3,4,4] x, float[N,3,4,4] z) => (float[N,5] y)
    <int64[2] to = {-1, 5}> {
        c4 = Concat<axis=1>(x, z)
        [fc] y_conv = Conv(c4, W_conv, bias)
        y = Reshape(y_conv, to)
    }""",
    {"W": (5, 96), "bias": (5,)},
    lambda w: {"W_conv": w["W"].reshape(5, 6, 4, 4)},
)

LEFT = Case(
    "weight_on_the_left",
    """g (float[N,3,5,4] x) => (float[N,6,20] y)
    <int64[3] rows = {0, 3, 20}> {
        t = Reshape(x, rows)
        [fc] y = MatMul(W, t)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6,20] y)
    <int64[3] to = {0, 6, 20}> {
        [fc] y_conv = Conv(x, W_conv)
        y = Reshape(y_conv, to)
    }""",
    {"W": (6, 3)},
    lambda w: {"W_conv": w["W"].reshape(6, 3, 1, 1)},
)

TOKENS = Case(
    "tokens",
    """g (float[N,3,5,4] x) => (float[N,20,6] y)
    <int64[3] rows = {0, 3, 20}> {
        t = Reshape(x, rows)
        u = Transpose<perm=[0,2,1]>(t)
        [fc] d = MatMul(u, W)
        y = Add(b, d)
    }""",
    """g (float[N,3,5,4] x) => (float[N,20,6] y)
    <int64[3] to = {0, 6, 20}> {
        [fc] d_conv = Conv(x, W_conv, b)
        back = Reshape(d_conv, to)
        y = Transpose<perm=[0,2,1]>(back)
    }""",
    {"W": (3, 6), "b": (6,)},
    lambda w: {"W_conv": np.ascontiguousarray(w["W"].T).reshape(6, 3, 1, 1)},
)

TWO_HEADS = Case(
    "two_heads",
    """g (float[N,3,5,4] x) => (float[N,6] y, float[N,6] z) {
        flat = Flatten(x)
        [fc1] y = Gemm<transB=1>(flat, V, a)
        [fc2] z = Gemm<transB=1>(flat, W, b)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6] y, float[N,6] z)
    <int64[2] to = {-1, 6}> {
        [fc1] y_conv = Conv(x, V_conv, a)
        [fc2] z_conv = Conv(x, W_conv, b)
        y = Reshape(y_conv, to)
        z = Reshape(z_conv, to)
    }""",
    {"V": (6, 60), "a": (6,), "W": (6, 60), "b": (6,)},
    lambda w: {"V_conv": w["V"].reshape(6, 3, 5, 4), "W_conv": w["W"].reshape(6, 3, 5, 4)},
)

SCALED = Case(
    "constants_folded",
    """g (float[N,3,5,4] x) => (float[N,6] y) {
        flat = Flatten(x)
        [fc] d = MatMul(flat, W)
        e = Add(d, b)
        f = Mul(e, scale)
        y = Add(f, c)
    }""",
    """g (float[N,3,5,4] x) => (float[N,6] y)
    <int64[2] to = {-1, 6}> {
        [fc] d_conv = Conv(x, W_conv, b_conv)
        y = Reshape(d_conv, to)
    }""",
    {"W": (60, 6), "b": (6,), "scale": (6,), "c": (1, 6)},
    lambda w: {
        "W_conv": (w["W"].astype(np.float64) * w["scale"]).astype(np.float32).T.reshape(6, 3, 5, 4),
        "b_conv": (w["b"].astype(np.float64) * w["scale"] + w["c"][0]).astype(np.float32),
    },
)

GATE = Case(
    "squeeze_excite",
    """g (float[N,4,5,4] x) => (float[N,4,5,4] y)
    <int64[4] up = {-1, 4, 1, 1}> {
        p = ReduceMean<axes=[2,3], keepdims=0>(x)
        [fc1] a = Gemm<transB=1>(p, V, va)
        r = Relu(a)
        [fc2] b = Gemm<transB=1>(r, W, wb)
        s = Sigmoid(b)
        gate = Reshape(s, up)
        g = Mul(x, gate)
        [conv] y = Conv(g, K)
    }""",
    """g (float[N,4,5,4] x) => (float[N,4,5,4] y) {
        q = ReduceMean<axes=[2,3], keepdims=1>(x)
        [fc1] a_conv = Conv(q, V_conv, va)
        r_conv = Relu(a_conv)
        [fc2] b_conv = Conv(r_conv, W_conv, wb)
        s_conv = Sigmoid(b_conv)
        g = Mul(x, s_conv)
        [conv] y = Conv(g, K)
    }""",
    {"V": (2, 4), "va": (2,), "W": (4, 2), "wb": (4,), "K": (4, 4, 1, 1)},
    lambda w: {"V_conv": w["V"].reshape(2, 4, 1, 1), "W_conv": w["W"].reshape(4, 2, 1, 1)},
)

CASES = (FLATTEN, NHWC, GAP, STACK, CONCAT, LEFT, TOKENS, TWO_HEADS, GATE)
