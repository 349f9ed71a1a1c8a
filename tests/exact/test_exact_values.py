"""Every exact rule against onnxruntime: on small integers the residues are those of the true result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from exact_models import text, with_values
from execute import run
from onnx import TensorProto, helper

from fc2conv.io.reader import model_file_from_proto
from fc2conv.verification.exact.evaluate import Level
from fc2conv.verification.exact.prover import Prover
from fc2conv.verification.exact.stored import Blobs
from fc2conv.verification.exact.walk import Walk


@dataclass(frozen=True)
class Node:
    """Declared inputs, the nodes that make y of them, and the operator set."""

    inputs: str
    nodes: str
    opset: int = 17
    kind: str = "float"


NODES = {
    "Add": Node("float[2,3] a, float[3] b", "y = Add(a, b)"),
    "Sub": Node("float[2,1,3] a, float[4,1] b", "y = Sub(a, b)"),
    "Mul": Node("float[2,3] a, float[2,1] b", "y = Mul(a, b)"),
    "Neg": Node("float[5] a", "y = Neg(a)"),
    "Sum": Node("float[2,3] a, float[3] b, float[1] c", "y = Sum(a, b, c)"),
    "Mean": Node("float[2,3] a, float[3] b", "y = Mean(a, b)"),
    "Pow": Node("float[4] a", "e = Constant<value_float = 3.0>() y = Pow(a, e)"),
    "ReduceSum": Node("float[2,3,4] a", "s = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(a, s)"),
    "ReduceMean": Node("float[2,3,4] a", "y = ReduceMean<axes = [0, -1]>(a)"),
    "ReduceMean 18": Node("float[3,2,4] a", "s = Constant<value_ints = [2]>() y = ReduceMean(a, s)", 18),
    "ReduceSumSquare": Node("float[2,3,4] a", "y = ReduceSumSquare<axes = [1]>(a)"),
    "GlobalAveragePool": Node("float[1,3,4,4] a", "y = GlobalAveragePool(a)"),
    "AveragePool": Node("float[1,2,6,6] a", "y = AveragePool<kernel_shape = [2, 4], strides = [2, 1]>(a)"),
    "AveragePool, padded": Node("float[1,2,4,4] a", "y = AveragePool<kernel_shape = [2, 2], pads = [1, 1, 1, 1]>(a)"),
    "AveragePool, pads counted": Node(
        "float[1,2,4,4] a", "y = AveragePool<kernel_shape = [2, 2], pads = [1, 0, 1, 0], count_include_pad = 1>(a)"
    ),
    "AveragePool, last windows not full": Node(
        "float[1,2,6,5] a", "y = AveragePool<kernel_shape = [4, 2], strides = [4, 2], ceil_mode = 1>(a)", 19
    ),
    "AveragePool, last windows not full, pads counted": Node(
        "float[1,2,4,5] a",
        "y = AveragePool<kernel_shape = [4, 2], strides = [4, 2], pads = [1, 0, 1, 0], ceil_mode = 1, "
        "count_include_pad = 1>(a)",
        19,
    ),
    "AveragePool, larger than the map": Node(
        "float[1,2,2,4] a",
        "y = AveragePool<kernel_shape = [64, 64], strides = [64, 64], ceil_mode = 1, count_include_pad = 1>(a)",
        19,
    ),
    "Conv": Node("float[2,3,5,5] a, float[4,3,3,2] w, float[4] b", "y = Conv(a, w, b)"),
    "Conv, strides and pads": Node(
        "float[1,2,7,6] a, float[3,2,3,3] w",
        "y = Conv<strides = [2, 3], pads = [1, 0, 2, 1], dilations = [2, 1]>(a, w)",
    ),
    "Conv, groups": Node("float[1,4,5] a, float[6,2,3] w, float[6] b", "y = Conv<group = 2>(a, w, b)"),
    "Conv, SAME_UPPER": Node(
        "float[1,2,5,6] a, float[3,2,2,3] w", 'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(a, w)'
    ),
    "Conv, SAME_LOWER": Node("float[1,2,5,6] a, float[3,2,2,4] w", 'y = Conv<auto_pad = "SAME_LOWER">(a, w)'),
    "Conv, 3-D": Node("float[1,2,3,4,5] a, float[2,2,2,2,2] w", "y = Conv(a, w)"),
    "ConvTranspose": Node("float[2,3,4,5] a, float[3,2,3,2] w, float[2] b", "y = ConvTranspose(a, w, b)"),
    "ConvTranspose, groups": Node(
        "float[1,4,5] a, float[4,3,2] w", "y = ConvTranspose<group = 2, strides = [3]>(a, w)"
    ),
    "ConvTranspose, strides and pads": Node(
        "float[1,2,4,3] a, float[2,3,3,3] w",
        "y = ConvTranspose<strides = [2, 3], pads = [1, 0, 2, 3], dilations = [2, 1], output_padding = [1, 2]>(a, w)",
    ),
    "ConvTranspose, SAME_UPPER": Node(
        "float[1,2,4,3] a, float[2,3,4,3] w", 'y = ConvTranspose<strides = [2, 3], auto_pad = "SAME_UPPER">(a, w)'
    ),
    "ConvTranspose, SAME_LOWER": Node(
        "float[1,2,4,3] a, float[2,3,3,4] w", 'y = ConvTranspose<strides = [2, 1], auto_pad = "SAME_LOWER">(a, w)'
    ),
    "ConvTranspose of a size": Node(
        "float[1,2,4,3] a, float[2,3,4,3] w", "y = ConvTranspose<strides = [2, 2], output_shape = [9, 6]>(a, w)"
    ),
    "Resize of one cell": Node(
        "float[1,2,1,3] a", 'z = Constant<value_floats = [1.0, 1.0, 3.0, 1.0]>() y = Resize<mode = "linear">(a, "", z)'
    ),
    "Resize": Node("float[1,2,3,4] a", 'z = Constant<value_floats = [1.0, 1.0, 3.0, 2.0]>() y = Resize(a, "", z)'),
    "Resize, asymmetric": Node(
        "float[1,2,3] a",
        "z = Constant<value_ints = [1, 2, 12]>() "
        'y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "ceil">(a, "", "", z)',
    ),
    "Resize, every second": Node(
        "float[1,2,6] a",
        "z = Constant<value_floats = [1.0, 1.0, 0.5]>() "
        'y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(a, "", z)',
    ),
    "Resize, a third": Node("float[1,2,9] a", 'z = Constant<value_ints = [1, 2, 3]>() y = Resize(a, "", "", z)'),
    "Upsample": Node("float[1,2,3,4] a", "z = Constant<value_floats = [1.0, 1.0, 2.0, 3.0]>() y = Upsample(a, z)", 9),
    "Gemm": Node("float[3,4] a, float[4,2] w, float[2] b", "y = Gemm<alpha = 2.0, beta = 0.5>(a, w, b)"),
    "Gemm, turned": Node("float[4,3] a, float[2,4] w, float[3,1] b", "y = Gemm<transA = 1, transB = 1>(a, w, b)"),
    "MatMul": Node("float[2,3,4] a, float[4,5] b", "y = MatMul(a, b)"),
    "MatMul, stacks": Node("float[2,1,3,4] a, float[5,4,2] b", "y = MatMul(a, b)"),
    "MatMul, vector": Node("float[2,3,4] a, float[4] b", "y = MatMul(a, b)"),
    "MatMul, vectors": Node("float[4] a, float[4] b", "y = MatMul(a, b)"),
    "MatMul, row": Node("float[4] a, float[2,4,3] b", "y = MatMul(a, b)"),
    "Einsum": Node("float[2,3,4] a, float[4,5,3] b", 'y = Einsum<equation = "bij,jki->bk">(a, b)'),
    "Einsum, ellipsis": Node("float[2,3,4] a, float[4,5] b", 'y = Einsum<equation = "...j,jk->...k">(a, b)'),
    "Einsum, implicit": Node("float[3,4] a, float[4,2] b", 'y = Einsum<equation = "ij,jk">(a, b)'),
    "Einsum of three": Node(
        "float[2,3] a, float[4,3,5] b, float[2,5] c", 'y = Einsum<equation = "ni,oij,nj->no">(a, b, c)'
    ),
    "Einsum of a diagonal": Node("float[2,3,3] a, float[3,4] b", 'y = Einsum<equation = "nii,ij->nj">(a, b)'),
    "Einsum that repeats": Node("float[2,3,4] a, float[1,4,5] b", 'y = Einsum<equation = "nij,njk->nik">(a, b)'),
    "Einsum that repeats a sum": Node("float[2,3] a, float[1,4] b", 'y = Einsum<equation = "nj,nk->jk">(a, b)'),
    "Einsum of one": Node("float[2,3,4] a", 'y = Einsum<equation = "abc->cb">(a)'),
    "Transpose": Node("float[2,3,4] a", "y = Transpose<perm = [2, 0, 1]>(a)"),
    "Reshape": Node("float[2,3,4] a", "s = Constant<value_ints = [0, -1]>() y = Reshape(a, s)"),
    "Slice": Node(
        "float[6,5] a",
        "s = Constant<value_ints = [4, 1]>() e = Constant<value_ints = [-7, 9]>() x = Constant<value_ints = [0, 1]>() "
        "t = Constant<value_ints = [-2, 3]>() y = Slice(a, s, e, x, t)",
    ),
    "Split": Node("float[2,6] a", "s = Constant<value_ints = [1, 5]>() x, y = Split<axis = 1>(a, s)"),
    "Concat": Node("float[2,3] a, float[2,1] b", "y = Concat<axis = -1>(a, b)"),
    "Gather": Node("float[3,4] a", "i = Constant<value_ints = [2, 0, -1]>() y = Gather<axis = 1>(a, i)"),
    "Pad": Node(
        "float[2,3] a", "s = Constant<value_ints = [1, 0, 0, 2]>() v = Constant<value_float = 3.0>() y = Pad(a, s, v)"
    ),
    "Pad, nothing left": Node(
        "float[1,3] a", "s = Constant<value_ints = [-1, 0, 2, 1]>() v = Constant<value_float = 3.0>() y = Pad(a, s, v)"
    ),
    "Pad, reflected": Node("float[4,5] a", 's = Constant<value_ints = [1, 2, 0, 2]>() y = Pad<mode = "reflect">(a, s)'),
    "Expand": Node("float[3,1] a", "s = Constant<value_ints = [2, 1, 4]>() y = Expand(a, s)"),
    "Tile": Node("float[2,3] a", "s = Constant<value_ints = [2, 2]>() y = Tile(a, s)"),
    "DepthToSpace": Node("float[1,8,2,3] a", 'y = DepthToSpace<blocksize = 2, mode = "CRD">(a)'),
    "SpaceToDepth": Node("float[1,2,4,6] a", "y = SpaceToDepth<blocksize = 2>(a)"),
    "CumSum": Node("float[3,4] a", "x = Constant<value_int = 1>() y = CumSum<reverse = 1>(a, x)"),
    "CumSum, exclusive": Node("float[3,4] a", "x = Constant<value_int = -2>() y = CumSum<exclusive = 1>(a, x)"),
    "CumSum of what follows": Node(
        "float[3,4] a", "x = Constant<value_int = 1>() y = CumSum<exclusive = 1, reverse = 1>(a, x)"
    ),
    "Trilu": Node("float[4,4] a", "y = Trilu<upper = 0>(a)"),
    "MatMulInteger": Node(
        "uint8[3,4] a, int8[4,2] w, uint8 p, int8[2] q", "y = MatMulInteger(a, w, p, q)", kind="int32"
    ),
    "ConvInteger": Node(
        "uint8[1,2,4,4] a, uint8[3,2,3,3] w, uint8 p, uint8 q",
        "y = ConvInteger<pads = [1, 1, 1, 1]>(a, w, p, q)",
        kind="int32",
    ),
    "DequantizeLinear": Node(
        "int8[2,3] a, int8[3] p", "s = Constant<value_floats = [0.5, 2.0, 4.0]>() y = DequantizeLinear(a, s, p)"
    ),
    "FusedMatMul": Node("float[4,3] a, float[4,5] b", "y = com.microsoft.FusedMatMul<transA = 1, alpha = 0.5>(a, b)"),
    "FusedMatMul, rows before the batch": Node(
        "float[4,2,3] a, float[5,2,3] b",
        "y = com.microsoft.FusedMatMul<transBatchA = 1, transBatchB = 1, transB = 1>(a, b)",
    ),
    "FusedConv": Node(
        "float[1,2,4,4] a, float[3,2,3,3] w, float[3] b, float[1,3,2,2] z", "y = com.microsoft.FusedConv(a, w, b, z)"
    ),
    "MatMulNBits": Node(
        "float[2,40] a, uint8[3,2,16] w, float[3,2] s",
        "y = com.microsoft.MatMulNBits<K = 40, N = 3, bits = 4, block_size = 32>(a, w, s)",
    ),
    "MatMulNBits, zero points": Node(
        "float[2,2,32] a, uint8[3,2,8] w, float[3,2] s, uint8[3,1] z",
        "y = com.microsoft.MatMulNBits<K = 32, N = 3, bits = 4, block_size = 16>(a, w, s, z)",
    ),
    "MatMulIntegerToFloat": Node(
        "uint8[3,4] a, int8[4,2] b, float s, float[2] t, float[2] c, uint8 p",
        'y = com.microsoft.MatMulIntegerToFloat(a, b, s, t, p, "", c)',
    ),
}


def _integers(inputs: str, seed: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    model = text(f"graph ({inputs}) => (float y) {{ y = Constant<value_float = 0.0>() }}")
    made = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        low = 0 if kind.elem_type == TensorProto.UINT8 else -4
        made[value.name] = rng.integers(low, 5, [d.dim_value for d in kind.shape.dim]).astype(dtype)
    return made


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("level", [Level.NUMBERS, Level.WHOLE])
def test_residues_are_those_of_the_true_result(name: str, level: Level) -> None:
    node = NODES[name]
    model = text(f"graph ({node.inputs}) => ({node.kind} y) {{ {node.nodes.replace(chr(34) * 2, '')} }}", node.opset)
    inputs = _integers(node.inputs, len(name))
    (expected,) = run(model, inputs)
    constant = model_file_from_proto(with_values(model, inputs))
    prover = Prover(constant, constant, {}, Blobs(constant, constant).name)
    terms = Walk(constant, {}, prover.table).run()
    evaluator = (prover.cuts, prover.numbers, prover.whole)[level]
    assert terms["y"].shape == expected.shape
    assert np.array_equal(evaluator.of(terms["y"]), prover.field.of(expected))
    assert not evaluator.opaque
