"""Forms of layers and weights that files in the wild have; each is converted by hand and must be proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from byhand import HEAD, KERNEL, TAIL, B, W, gemm, proved
from cases import model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import TensorProto


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("[fc] y = Gemm<transB=1>(flat, W, b)", {"W": W, "b": B}),
        ("[fc] y = Gemm<transB=0>(flat, W, b)", {"W": np.ascontiguousarray(W.T), "b": B}),
        ("t = Transpose<perm=[1,0]>(flat) [fc] y = Gemm<transA=1, transB=1>(t, W, b)", {"W": W, "b": B}),
        ("[fc] y = Gemm<transB=1>(flat, W, b)", {"W": W, "b": B[None, :]}),
        ("i = Identity(V) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W, "b": B}),
        ("i = Transpose(V) [fc] y = Gemm(flat, i, b)", {"V": W, "b": B}),
        ("i = Mul(V, two) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W / 2, "two": np.float32([2]), "b": B}),
        ("[fc] y = Gemm<transB=1, alpha=2.0, beta=0.5>(flat, V, c)", {"V": W / 2, "c": B * 2}),
        ("d = Dropout(flat) [fc] y = Gemm<transB=1>(d, W, b)", {"W": W, "b": B}),
        ("i = Reshape(V, s) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W.ravel(), "s": np.array([6, -1]), "b": B}),
    ],
)
def test_forms_of_gemm(text: str, weights: dict[str, NDArray[Any]]) -> None:
    proved(gemm(text, **weights), model(HEAD + TAIL, KERNEL))


def test_the_weight_on_the_left_of_a_gemm() -> None:
    original = model(
        "g (float[N,3,2,2] x) => (float[6,N] y) { flat = Flatten(x) [fc] y = Gemm<transB=1>(W, flat, c) }",
        {"W": W, "c": B[:, None]},
    )
    converted = model(
        "g (float[N,3,2,2] x) => (float[6,N] y) <int64[2] to = {-1, 6}> {"
        "[fc] y_conv = Conv(x, K, b) r = Reshape(y_conv, to) y = Transpose(r) }",
        KERNEL,
    )
    proved(original, converted)


def test_a_bias_that_is_no_constant_or_not_per_output_is_an_add() -> None:
    text = "g (float[N,3,2,2] x, float[N,6] c) => (float[N,6] y) "
    original = model(text + "{ flat = Flatten(x) [fc] y = Gemm<transB=1, beta=0.5>(flat, W, c) }", {"W": W})
    converted = model(
        text + "<int64[2] to = {-1, 6}, float[1] half = {0.5}> "
        "{ [fc] y_conv = Conv(x, K) r = Reshape(y_conv, to) h = Mul(c, half) y = Add(r, h) }",
        KERNEL,
    )
    proved(original, converted)
    node = next(n for n in converted.graph.node if n.op_type == "Add")
    node.input[1] = "c"
    assert verdicts(verify(original, converted, True))["exact"] == "differs"


def test_a_weight_that_is_constant_of_shape() -> None:
    original = gemm("V = ConstantOfShape<value: tensor = float[1] {0.25}>(s) [fc] y = Gemm(flat, V, b)",
                    s=np.array([12, 6]), b=B)  # fmt: skip
    filled = "K = ConstantOfShape<value: tensor = float[1] {0.25}>(s) "
    shape = {"s4": np.array([6, 3, 2, 2]), "b": B}
    proved(original, model(HEAD + filled.replace("(s)", "(s4)") + TAIL, shape))
    same_name = filled.replace("(s)", "(s4)").replace("K =", "V =") + TAIL.replace("(x, K", "(x, V")
    proved(original, model(HEAD + same_name, shape))
    wrong = model(HEAD + filled.replace("(s)", "(s4)").replace("0.25", "0.5") + TAIL, shape)
    assert verdicts(verify(original, wrong, True))["exact"] == "differs"


def test_a_quantized_weight_that_is_dequantized() -> None:
    values = np.random.default_rng(0).integers(-127, 127, (6, 12)).astype(np.int8)
    scale, zero = np.abs(random((6,), 3)), np.zeros(6, np.int8)
    params = {"scale": scale, "zero": zero, "b": B}
    original = gemm("V = DequantizeLinear<axis=0>(Q, scale, zero) [fc] y = Gemm<transB=1>(flat, V, b)",
                    Q=values, **params)  # fmt: skip
    right = HEAD + "K = DequantizeLinear<axis=0>(Q4, scale, zero) " + TAIL
    kernel = values.reshape(6, 3, 2, 2)
    proved(original, model(right, {"Q4": kernel} | params))
    wrong = model(right, {"Q4": np.ascontiguousarray(kernel[..., ::-1])} | params)
    assert verdicts(verify(original, wrong, True))["exact"] == "differs"


def test_float16() -> None:
    half = {name: array.astype(np.float16) for name, array in (KERNEL | {"W": W}).items()}
    original = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", **half)
    converted = model(HEAD + TAIL, half)
    for proto in (original, converted):
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    proved(original, converted)


def test_a_weight_in_blocks_of_four_bits() -> None:
    values = np.random.default_rng(0).integers(-8, 7, (12, 6)).astype(np.int8)
    scale = np.abs(random((3, 6), 3))
    text = "g (float[N,3,2,2] x) => (float[N,6] y) { flat = Flatten(x) " \
           "V = DequantizeLinear<axis=0, block_size=4>(Q, scale) [fc] y = MatMul(flat, V) }"  # fmt: skip
    original = model(text, {"scale": scale, "Q": values}, opset=21, ir=10)
    weight = values.astype(np.float32) * np.repeat(scale, 4, axis=0)
    kernel = np.ascontiguousarray(weight.T).reshape(6, 3, 2, 2)
    proved(original, model(HEAD + TAIL.replace(", b)", ")"), {"K": kernel}, opset=21, ir=10))


def test_a_kernel_under_the_name_of_its_weight() -> None:
    original = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", W=W, b=B)
    right = HEAD + TAIL.replace("(x, K", "(x, W")
    proved(original, model(right, {"W": KERNEL["K"], "b": B}))
    wrong = np.ascontiguousarray(KERNEL["K"].transpose(0, 1, 3, 2))
    assert verdicts(verify(original, model(right, {"W": wrong, "b": B}), True))["exact"] == "differs"


def test_a_weight_of_a_higher_rank_raises_that_of_the_result() -> None:
    weight = random((1, 1, 12, 5), 0)
    original = model(
        "g (float[N,3,2,2] x) => (float[1,1,N,5] y) { f = Flatten(x) [fc] y = MatMul(f, W) }", {"W": weight}
    )
    text = """g (float[N,3,2,2] x) => (float[1,1,N,5] y) <int64[4] to = {1, 1, -1, 5}> {
        [fc] y_conv = Conv(x, K)
        y = Reshape(y_conv, to)
    }"""
    kernel = np.ascontiguousarray(weight[0, 0].T).reshape(5, 3, 2, 2)
    proved(original, model(text, {"K": kernel}))
    result = verify(original, model(text, {"K": kernel[:, ::-1]}), True)
    assert verdicts(result)["exact"] == "differs", result.checks
