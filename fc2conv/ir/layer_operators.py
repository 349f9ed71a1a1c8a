"""The operators that are fully connected layers: one row each, read by every part of the converter.

A row holds what follows from the operator alone. How a node is read as a layer is in `layers/`. A new kind of layer is
a row here, a function there, and a rule in `verification/exact/`, which shares nothing with either.
Sources: the ONNX operators' definitions, onnxruntime's ContribOperators.
"""

from __future__ import annotations

from collections.abc import Mapping

from fc2conv.dataclass import dataclass


@dataclass(frozen=True)
class LayerOperator:
    """One operator that multiplies two factors, of which the first is operand 0.

    `second` is the place of the other factor, `least` the number of operands that a node must have. `matrices` says
    that both factors have two dimensions, no more and no fewer. `shape_as` names ONNX's own operator of the same shape,
    with the operands that it takes; it is empty where ONNX's shape inference knows the operator, or where a rule of
    `ir/stand_ins/` is written for it. Where `counted`, each element of the result sums as many products as the
    first factor's contracted dimension has. `either` is whether the first factor may be the weight as well.
    """

    second: int = 1
    least: int = 2
    matrices: bool = False
    shape_as: tuple[str, tuple[int, ...]] | None = None
    counted: bool = True
    either: bool = True


LAYER_OPERATORS: Mapping[str, LayerOperator] = {
    "Gemm": LayerOperator(matrices=True),
    "MatMul": LayerOperator(),
    "Einsum": LayerOperator(least=1, counted=False),
    "QLinearMatMul": LayerOperator(second=3, least=8),
    "MatMulInteger": LayerOperator(),
    "com.microsoft::FusedGemm": LayerOperator(matrices=True, shape_as=("Gemm", (0, 1, 2))),
    "com.microsoft::FusedMatMul": LayerOperator(),
    "com.microsoft::TransposeMatMul": LayerOperator(),
    "com.microsoft::QGemm": LayerOperator(second=3, least=6, matrices=True, shape_as=("Gemm", (0, 3)), either=False),
    "com.microsoft::MatMulIntegerToFloat": LayerOperator(least=4, shape_as=("MatMul", (0, 1)), either=False),
    "com.microsoft::DynamicQuantizeMatMul": LayerOperator(least=3, shape_as=("MatMul", (0, 1)), either=False),
    "com.microsoft::MatMulNBits": LayerOperator(least=3, counted=False),
}

CONVOLUTIONS: Mapping[str, int] = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""The operators that layers become, with the place of the kernel [M, C/group, *S]."""
