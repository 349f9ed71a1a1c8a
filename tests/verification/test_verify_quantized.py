"""Quantized and fused layers: right conversions are proved, and every planted fault is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from cases import PARTED, model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

M, K = 6, 12
RNG = np.random.default_rng(0)
Q = RNG.integers(-100, 100, (M, K)).astype(np.int8)
HEAD = "g (uint8[N,3,2,2] x) => (uint8[N,6] y) "
FLOATS = "g (float[N,3,2,2] x) => (float[N,6] y) "
TO = "<int64[2] to = {-1, 6}> "
SCALARS = {"xs": np.float32(0.02), "xz": np.uint8(120), "ys": np.float32(0.5), "yz": np.uint8(100)}
CHANNELS = {"ws": np.abs(random((M,), 3)) / 100, "wz": np.zeros(M, np.int8)}
BIAS = {"b": RNG.integers(-1000, 1000, M).astype(np.int32)}
SPREAD = {"ws4": CHANNELS["ws"].reshape(1, M, 1, 1), "b4": random((1, M, 1, 1), 5)}
FLAT = "flat = Flatten(x) "
BACK = " y = Reshape(y_conv, to) }"


@dataclass(frozen=True)
class Form:
    """One quantized layer, and its conversion; `faults` are (constant, what becomes of it)."""

    name: str
    original: str
    converted: str
    weights: dict[str, NDArray[Any]]
    kernel: NDArray[Any]
    changed: tuple[str, ...]


def one(array: NDArray[Any]) -> NDArray[Any]:
    """One element is another one."""
    out = np.array(array)
    out.reshape(-1)[-1] += 1 if out.dtype.kind in "iu" else np.spacing(out.reshape(-1)[-1])
    return out


KERNEL = Q.reshape(M, 3, 2, 2)
Q_CONV = "[fc] y_conv = QLinearConv(x, xs, xz, Kq, ws, wz, ys, yz"
INTEGER = "[fc] s = ConvInteger(xq, Kq, xqz, wz1) f = Cast<to=1>(s) m = Mul(xqs, ws4) "
SCALED = "p = Mul(f, m) y_conv = Add(p, b4)"
FORMS = (
    Form(
        "qlinear_matmul",
        HEAD + "{" + FLAT + "[fc] y = QLinearMatMul(flat, xs, xz, Wq, ws, wz, ys, yz) }",
        HEAD + TO + "{" + Q_CONV + ")" + BACK,
        {"Wq": np.ascontiguousarray(Q.T), **SCALARS, **CHANNELS},
        KERNEL,
        ("Kq", "ws", "wz", "xs", "xz", "ys", "yz"),
    ),
    Form(
        "qgemm",
        HEAD + "{" + FLAT + "[fc] y = com.microsoft.QGemm<transB=1>(flat, xs, xz, Wq, ws, wz, b, ys, yz) }",
        HEAD + TO + "{" + Q_CONV + ", b)" + BACK,
        {"Wq": Q, **SCALARS, **CHANNELS, **BIAS},
        KERNEL,
        ("Kq", "ws", "b", "ys", "yz"),
    ),
    Form(
        "matmul_integer",
        HEAD.replace("uint8[N,6]", "int32[N,6]") + "{" + FLAT + "[fc] y = MatMulInteger(flat, Wq, xz, wz) }",
        HEAD.replace("uint8[N,6]", "int32[N,6]") + TO + "{ [fc] y_conv = ConvInteger(x, Kq, xz, wz1)" + BACK,
        {"Wq": np.ascontiguousarray(Q.T), **SCALARS, **CHANNELS, "wz1": np.int8(0)},
        KERNEL,
        ("Kq", "wz1", "xz"),
    ),
    Form(
        "matmul_integer_to_float",
        "g (uint8[N,3,2,2] xq) => (float[N,6] y) { flat = Flatten(xq) "
        "[fc] y = com.microsoft.MatMulIntegerToFloat(flat, Wq, xqs, ws, xqz, wz, b) }",
        "g (uint8[N,3,2,2] xq) => (float[N,6] y) " + TO + "{" + INTEGER + SCALED + BACK,
        {"Wq": np.ascontiguousarray(Q.T), "xqs": np.float32(0.1), "xqz": np.uint8(99), **CHANNELS, **SPREAD,
         "b": SPREAD["b4"].reshape(-1), "wz1": np.int8(0)},
        KERNEL,
        ("Kq", "wz1", "ws4", "b4", "xqs", "xqz"),
    ),
    Form(
        "dynamic_quantize_matmul",
        FLOATS + "{" + FLAT + "[fc] y = com.microsoft.DynamicQuantizeMatMul(flat, Wq, ws, wz, b) }",
        FLOATS + TO + "{ xq, xqs, xqz = DynamicQuantizeLinear(x) " + INTEGER + SCALED + BACK,
        {"Wq": np.ascontiguousarray(Q.T), **CHANNELS, **SPREAD, "b": SPREAD["b4"].reshape(-1), "wz1": np.int8(0)},
        KERNEL,
        ("Kq", "wz1", "ws4", "b4"),
    ),
    Form(
        "fused_gemm",
        FLOATS + "{" + FLAT + "[fc] y = com.microsoft.FusedGemm<transB=1, activation=\"LeakyRelu\", "
        "activation_alpha=0.25>(flat, Wf, bf) }",
        FLOATS + TO + "{ [fc] l = Conv(x, Kq, bf) y_conv = LeakyRelu<alpha=0.25>(l)" + BACK,
        {"Wf": random((M, K), 7), "bf": random((M,), 8)},
        random((M, K), 7).reshape(M, 3, 2, 2),
        ("Kq", "bf"),
    ),
    Form(
        "fused_matmul",
        "g (float[3,2,2] x) => (float[6] y) <int64[2] k = {12, 1}, int64[1] flat_y = {6}> { c = Reshape(x, k) "
        "[fc] o = com.microsoft.FusedMatMul<transA=1, transB=1, alpha=0.5>(c, Wf) y = Reshape(o, flat_y) }",
        "g (float[3,2,2] x) => (float[6] y) <int64[1] flat_y = {6}, int64[4] k = {1, 3, 2, 2}> { c4 = Reshape(x, k) "
        "[fc] o_conv = Conv(c4, Kq) y = Reshape(o_conv, flat_y) }",
        {"Wf": random((M, K), 7)},
        random((M, K), 7).reshape(M, 3, 2, 2) / 2,
        ("Kq",),
    ),
)  # fmt: skip


def built(form: Form, change: str = "", how: Callable[[NDArray[Any]], NDArray[Any]] = one) -> tuple[Any, Any]:
    weights = dict(form.weights)
    new = {**weights, "Kq": form.kernel}
    if change in weights:  # the original keeps its own
        text = re.sub(rf"\b{change}\b", f"{change}_new", form.converted)
        return model(form.original, weights), model(text, {**new, f"{change}_new": how(weights[change])})
    return model(form.original, weights), model(form.converted, new | ({change: how(new[change])} if change else {}))


def exact(one: ModelProto, other: ModelProto, ours: bool = True) -> str:
    return verdicts(verify(one, other, ours)).get("exact", "skipped")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_right_conversion_is_proved(form: Form) -> None:
    pair = built(form)
    for proto in pair:
        onnx.checker.check_model(proto)
    result = verify(*pair, True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert verdicts(result)["numeric"] == "agrees", result.checks
    assert result.verdict == "proved"


@pytest.mark.parametrize(
    ("form", "change"),
    [(form, change) for form in FORMS for change in form.changed],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_one_other_constant_is_contradicted(form: Form, change: str) -> None:
    assert exact(*built(form, change)) in PARTED


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize(
    "fault",
    [
        lambda k: np.ascontiguousarray(k.transpose(0, 1, 3, 2)),
        lambda k: np.ascontiguousarray(k[..., ::-1]),
        lambda k: np.roll(k.reshape(len(k), -1), 1, axis=1).reshape(k.shape),
        lambda k: np.ascontiguousarray(k[::-1]),
    ],
    ids=["hw_swapped", "flipped", "shifted", "other_outputs"],
)
def test_a_kernel_in_another_order_is_contradicted(form: Form, fault: Any) -> None:
    assert exact(*built(form, "Kq", fault)) in PARTED


def test_weights_of_four_bits() -> None:
    nibbles = RNG.integers(-8, 8, (M, K)).astype(np.int8)
    params = {"s": np.float32(0.25), "b": random((M,), 1)}
    text = FLOATS + "{" + FLAT + "V = DequantizeLinear(Q4, s) [fc] y = Gemm<transB=1>(flat, V, b) }"
    right = FLOATS + TO + "{ Kf = DequantizeLinear(Q4, s) [fc] y_conv = Conv(x, Kf, b)" + BACK

    def with_nibbles(text: str, values: NDArray[Any]) -> ModelProto:
        proto = model(text, params, opset=21, ir=10)
        proto.graph.initializer.append(
            onnx.helper.make_tensor("Q4", onnx.TensorProto.INT4, values.shape, values.ravel())
        )
        return proto

    original = with_nibbles(text, nibbles)
    assert numpy_helper.to_array(original.graph.initializer[-1]).dtype.name == "int4"
    kernel = nibbles.reshape(M, 3, 2, 2)
    assert exact(original, with_nibbles(right, kernel), True) == "proved"
    assert exact(original, with_nibbles(right, kernel[..., ::-1]), True) == "differs"


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_quantized_elementwise_on_the_spatial_form(op: str) -> None:
    weights = {"Wq": np.ascontiguousarray(Q.T), **SCALARS, **CHANNELS, "Kq": KERNEL,
               "os": np.float32(0.3), "oz": np.uint8(7)}  # fmt: skip
    first = "g (uint8[N,3,2,2] x, uint8[N,6] o) => (uint8[N,6] y) "
    layer = "{" + FLAT + "[fc] d = QLinearMatMul(flat, xs, xz, Wq, ws, wz, ys, yz) "
    original = model(first + layer + f"y = com.microsoft.{op}(d, ys, yz, o, os, oz, xs, xz) }}", weights)
    spread = first + "<int64[4] up = {-1, 6, 1, 1}, int64[2] to = {-1, 6}> {" + Q_CONV.replace("y_conv", "d_conv")
    text = spread + f") o4 = Reshape(o, up) e = com.microsoft.{op}(o4, os, oz, d_conv, ys, yz, xs, xz) "
    assert exact(original, model(text + "y = Reshape(e, to) }", weights), True) == "proved"
    wrong = text.replace("o4, os, oz, d_conv, ys, yz", "o4, ys, yz, d_conv, os, oz")
    assert exact(original, model(wrong + "y = Reshape(e, to) }", weights), True) in PARTED


def test_quantized_where_on_the_spatial_form() -> None:
    weights = {"Wq": np.ascontiguousarray(Q.T), **SCALARS, **CHANNELS, "Kq": KERNEL,
               "os": np.float32(0.3), "oz": np.uint8(7)}  # fmt: skip
    first = "g (uint8[N,3,2,2] x, uint8[N,6] o, bool[N,1] p) => (uint8[N,6] y) "
    layer = "{" + FLAT + "[fc] d = QLinearMatMul(flat, xs, xz, Wq, ws, wz, ys, yz) "
    original = model(first + layer + "y = com.microsoft.QLinearWhere(p, d, ys, yz, o, os, oz, xs, xz) }", weights)
    shapes = "<int64[4] up = {-1, 6, 1, 1}, int64[4] one = {-1, 1, 1, 1}, int64[2] to = {-1, 6}> {"
    spread = first + shapes + Q_CONV.replace("y_conv", "d_conv") + ") o4 = Reshape(o, up) p4 = Reshape(p, one) "
    text = spread + "e = com.microsoft.QLinearWhere(p4, d_conv, ys, yz, o4, os, oz, xs, xz) "
    assert exact(original, model(text + "y = Reshape(e, to) }", weights), True) == "proved"
    wrong = text.replace("d_conv, ys, yz, o4, os, oz", "o4, os, oz, d_conv, ys, yz")
    assert exact(original, model(wrong + "y = Reshape(e, to) }", weights), True) in PARTED


def test_a_vector_as_weight() -> None:
    w = random((3,), 0)
    first = "g (float[N,3,5,4] x) => (float[N,20] y) <int64[3] rows = {0, 3, 20}, int64[2] to = {-1, 20}> "
    original = model(first + "{ t = Reshape(x, rows) u = Transpose<perm=[0,2,1]>(t) [fc] y = MatMul(u, w) }", {"w": w})
    converted = first + "{ [fc] y_conv = Conv(x, K) y = Reshape(y_conv, to) }"
    assert exact(original, model(converted, {"K": w.reshape(1, 3, 1, 1)}), True) == "proved"
    assert exact(original, model(converted, {"K": w[::-1].reshape(1, 3, 1, 1)}), True) == "differs"


def _dynamic(shift: int, width: int, fault: int = 0) -> ModelProto:
    """A chain of dynamically quantized layers; their weights and zero points are `shift` more, as bytes."""
    many, kind = 8, np.uint8 if shift else np.int8
    weights: dict[str, NDArray[Any]] = {}
    text = ""
    for i in range(many):
        stored = np.random.default_rng(i).integers(-100, 100, (width, width)).astype(np.int16)
        stored[0, 0] += fault * (i == many // 2)
        weights |= {f"w{i}": (stored + shift).astype(kind), f"s{i}": np.float32(0.02 + i / 100)}
        weights |= {f"z{i}": np.array(shift, kind)} if shift or i % 2 else {}
        zero = f", z{i}" if f"z{i}" in weights else ""
        text += f"""q{i}, qs{i}, qz{i} = DynamicQuantizeLinear(x{i}) p{i} = MatMulInteger(q{i}, w{i}, qz{i}{zero})
            f{i} = Cast<to=1>(p{i}) t{i} = Mul(qs{i}, s{i}) x{i + 1} = Mul(f{i}, t{i}) """
    head = f"g (float[N,{width}] x0) => (float[N,{width}] x{many})"
    return model(head + "{" + text + "}", weights)


def test_integers_and_their_zero_point_moved_together_are_one_weight() -> None:
    """The bound is that of one product, in a chain of any length: what is one weight is not multiplied out."""
    assert exact(_dynamic(0, 12), _dynamic(128, 12, fault=1)) in PARTED
    found = verify(_dynamic(0, 96), _dynamic(128, 96), False)
    (check,) = (each for each in found.checks if each.name == "exact")
    bits = re.search(r"error below 2\^-(\d+)", check.detail)
    assert check.verdict == "proved"
    assert bits is not None
    assert int(bits[1]) > 50
