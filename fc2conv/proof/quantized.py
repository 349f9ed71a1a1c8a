"""Quantized layers of the original, each as integers (see `parameters`) and what its operator does around them.

MatMulIntegerToFloat is `float(s) * (sx * sw[m]) + bias[m]`, and DynamicQuantizeMatMul the same of an input that
DynamicQuantizeLinear has made integers of. Their ids are those of these steps as nodes of their own, Cast, Mul, Mul and
Add, so that a model which has them as such has the same. Source: onnxruntime's ContribOperators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from fc2conv.proof import convs, folding, integers, rules
from fc2conv.proof.einsum import einsum
from fc2conv.proof.ids import Ids, constants, salt
from fc2conv.proof.layers import Layer, as_node, gemm, matmul, product
from fc2conv.proof.nodes import Call
from fc2conv.proof.parameters import Parameters
from fc2conv.proof.values import UnmodelledError, Value


def qlinear_matmul(call: Call, key: np.uint64) -> Layer:
    """QLinearMatMul(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point)."""
    return _qlinear(call, product(call, key, 3), call.inputs[6], call.inputs[7], None)


def qgemm(call: Call, key: np.uint64) -> Layer:
    """QGemm(A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point); C is int32."""
    held = [*call.inputs, *[None] * 3]
    if held[7] is None or call.number("alpha", 1.0) != 1.0:
        raise UnmodelledError(f"{call.label} (a QGemm with a floating-point result or an alpha)")
    return _qlinear(call, product(call, key, 3), held[7], held[8], held[6])


def _qlinear(call: Call, layer: Layer, scale: Value | None, zero: Value | None, bias: Value | None) -> Layer:
    a, b = (call.inputs[1], call.inputs[2]), (call.inputs[4], call.inputs[5])
    right = layer.weight is call.inputs[3]
    x, w = (a, b) if right else (b, a)
    kind = zero.elem_type if zero is not None else TensorProto.UINT8
    return replace(
        layer, elem_type=kind, conv="QLinearConv", parameters=Parameters("QLinear", x, w, (scale, zero), bias)
    )


def matmul_integer(call: Call, key: np.uint64) -> Layer:
    """MatMulInteger(A, B, a_zero_point, b_zero_point): int32."""
    layer = product(call, key, 1)
    a, b = (*call.inputs[2:4], None, None)[:2]
    x, w = (a, b) if layer.weight is call.inputs[1] else (b, a)
    return _integer(layer, x, w)


def _integer(layer: Layer, x: Value | None, w: Value | None) -> Layer:
    """The plain sums; with a zero point z[m] for each output `sum_k x[k] w[m, k] - z[m] sum_k x[k]`."""
    zeros = w.array().reshape(-1) if w is not None and w.is_constant else np.zeros(1)
    differ = bool((zeros != zeros[0]).any())
    made = replace(
        layer,
        elem_type=TensorProto.INT32,
        conv="ConvInteger",
        parameters=Parameters("Integer", (None, x), (None, None if differ else w)),
    )
    if not differ:
        return made
    parts = tuple(value for value in (layer.source, x) if value is not None)
    sums = Value(salt("sums", int(layer.key)), layer.label, parts=parts,
                 rule=lambda ids: convs.sums(layer.rows(ids[0])[0], ids[1:]))  # fmt: skip

    def finish(products: Ids, rest: Sequence[Ids]) -> Ids:
        return rules.arithmetic("Sub", products, rules.arithmetic("Mul", rest[0], constants(zeros)))

    return replace(made, operands=(sums,), finish=finish)


def matmul_integer_to_float(call: Call, key: np.uint64) -> Layer:
    """MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)."""
    held = [*call.inputs, *[None] * 3]
    layer = product(call, key, 1)
    _right(call, layer)
    return _scaled(call, _integer(layer, held[4], held[5]), call.data(2), call.data(3), held[6])


def dynamic_quantize_matmul(call: Call, key: np.uint64) -> Layer:
    """DynamicQuantizeMatMul(A, B, b_scale, b_zero_point, bias)."""
    held = [*call.inputs, *[None] * 2]
    layer = product(call, key, 1)
    _right(call, layer)
    quantized, scale, zero = _dynamically(call, layer.source)
    return _scaled(call, _integer(replace(layer, source=quantized), zero, held[3]), scale, call.data(2), held[4])


def _right(call: Call, layer: Layer) -> None:
    if layer.weight is not call.inputs[1]:
        raise UnmodelledError(f"{call.label} (a constant A)")


def _dynamically(call: Call, x: Value) -> list[Value]:
    """What DynamicQuantizeLinear makes of a value."""
    shapes: tuple[tuple[int, ...] | None, ...] = (x.shape, (), ())
    kinds = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    return [
        Value(salt("dynamic", int(x.key), i), call.label, shapes[i], kinds[i], inputs=(x,), parts=each.parts,
              rule=each.rule, doubt=x.doubt)
        for i, each in enumerate(integers.dynamic_quantize(replace(call, inputs=(x,))))
    ]  # fmt: skip


def _scaled(call: Call, layer: Layer, x_scale: Value, w_scale: Value, bias: Value | None) -> Layer:
    kind = w_scale.elem_type or TensorProto.FLOAT
    cast = as_node(call, "Cast", to=kind)

    scale, before = _product(x_scale, w_scale), len(layer.operands)

    def finish(products: Ids, made: Sequence[Ids]) -> Ids:
        sums, made = layer.finish(products, made[:before]), made[before:]
        rest = [_per_output(call, ids, layer.outputs) for ids in made[len(scale) :]]
        factors = [_per_output(call, ids, layer.outputs) for ids in made[: len(scale)]]
        if len(factors) == 2 and factors[0].size != 1:
            raise UnmodelledError(f"{call.label} (a scale for each row)")
        factor = factors[0] if len(scale) == 1 else rules.arithmetic("Mul", *factors)
        out = rules.arithmetic("Mul", cast(sums), factor)
        return rules.arithmetic("Add", out, rest[0]) if rest else out

    operands = (*layer.operands, *scale, *(() if bias is None else (bias,)))
    return replace(layer, elem_type=kind, operands=operands, finish=finish)


def _product(x: Value, w: Value) -> tuple[Value, ...]:
    """The two scales, or their product where both are constants, as nodes of constants are evaluated."""
    if not (x.is_constant and w.is_constant):
        return x, w
    factors = x.array().reshape(-1), w.array().reshape(-1)
    if len(factors[0]) != 1:
        raise UnmodelledError(f"{x.node} (a scale for each row)")
    return (folding.number(factors[0] * factors[1], w.elem_type, w.node),)


def _per_output(call: Call, ids: Ids, outputs: int) -> Ids:
    if ids.size not in (1, outputs):
        raise UnmodelledError(f"{call.label} (a scale or bias of shape {list(ids.shape)})")
    return ids.reshape(-1)


LAYERS: dict[str, Callable[[Call, np.uint64], Layer]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Einsum": einsum,
    "com.microsoft::FusedGemm": gemm,
    "com.microsoft::FusedMatMul": matmul,
    "com.microsoft::TransposeMatMul": matmul,
    "QLinearMatMul": qlinear_matmul,
    "com.microsoft::QGemm": qgemm,
    "MatMulInteger": matmul_integer,
    "com.microsoft::MatMulIntegerToFloat": matmul_integer_to_float,
    "com.microsoft::DynamicQuantizeMatMul": dynamic_quantize_matmul,
}
"""Every layer that a certificate knows."""
