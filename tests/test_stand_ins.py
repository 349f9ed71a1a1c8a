"""Each row of the table of stand-ins, against the shapes that onnxruntime makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv.io.custom_ops import ROUNDING
from fc2conv.ir.shapes import inferred
from fc2conv.ir.stand_ins import RULES
from fc2conv.layout.axes import Size

SIZES = {"N": 2, "S": 3, "H": 6, "W": 8}
"""The symbols of inputs, with the sizes that are run."""

RANDOM = np.random.default_rng(0)


@dataclass
class Live:
    """An input of the model, with its dimensions."""

    dims: Sequence[int | str]
    dtype: Any = np.float32
    high: int = 2

    def array(self) -> np.ndarray:
        shape = [SIZES[dim] if isinstance(dim, str) else dim for dim in self.dims]
        if np.dtype(self.dtype).kind in "iub":
            return RANDOM.integers(0, self.high, shape).astype(self.dtype)
        return RANDOM.standard_normal(shape).astype(self.dtype)


def x(*dims: int | str, dtype: Any = np.float32, high: int = 2) -> Live:
    return Live(dims, dtype, high)


def u8(*dims: int | str) -> Live:
    return Live(dims, np.uint8, 200)


def w(*dims: int, dtype: Any = np.float32) -> np.ndarray:
    return Live(dims, dtype).array()


SCALE, ZERO = np.float32(0.5), np.uint8(3)
NONE = None


@dataclass
class Case:
    """A node with its operands; `known` are the results of which every size follows from those of the inputs."""

    op: str
    operands: Sequence[Live | np.ndarray | np.generic | None]
    known: Sequence[int] = (0,)
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 17
    ml: int = 3
    open: bool = False
    """Some sizes stay unknown."""
    shape: Sequence[int] | None = None
    """What the documentation says, where onnxruntime's CPU provider does not run it."""
    outputs: int = 0

    def __str__(self) -> str:
        return "-".join([self.op.split("::")[-1], *self.attributes])


def case(op: str, *operands: Any, known: Sequence[int] = (0,), **rest: Any) -> Case:
    own = {name: rest.pop(name) for name in ("version", "ml", "open", "shape", "outputs") if name in rest}
    return Case(op, operands, known, rest, **own)


MS, ML = "com.microsoft::", "ai.onnx.ml::"
TREE = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.1, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0], "nodes_missing_value_tracks_true": [0, 0, 0], "nodes_hitrates": [1.0, 1.0, 1.0],
}  # fmt: skip
LEAVES = {"treeids": [0, 0], "nodeids": [1, 2], "ids": [0, 1], "weights": [0.3, 0.7]}
QUANTIZED = (SCALE, ZERO)
TOKENS = x("N", "S", 8)
IDS = x("N", "S", dtype=np.int32)
VECTOR = w(8)

CASES = [
    # ---------------------------------------------------------------- one operand's shape
    *(case(MS + name, x("N", "S", 4)) for name in "FastGelu Gelu QuickGelu".split()),
    case(MS + "BiasGelu", x("N", "S", 4), w(4)),
    case(MS + "FastGelu", x("N", "S", 4), w(4)),
    *(case(MS + name, u8("N", 4), *QUANTIZED, *QUANTIZED) for name in ("QLinearLeakyRelu", "QLinearSigmoid")),
    case(MS + "QLinearSoftmax", u8("N", 4), *QUANTIZED, SCALE, ZERO, axis=-1, opset=13),
    case(MS + "QuantizeLinear", x("N", 4), *QUANTIZED),
    case(MS + "DequantizeLinear", u8("N", 4), *QUANTIZED),
    case("LayerNormalization", x("N", "S", 8), VECTOR, version=13),
    case("SimplifiedLayerNormalization", x("N", "S", 8), VECTOR),
    case("GroupNormalization", x("N", 8, "S", 3), VECTOR, VECTOR, version=21, num_groups=2),
    case("Affine", x("N", 4), version=9),
    case("Scale", x("N", 4), version=9),
    case("ParametricSoftplus", x("N", 4), alpha=0.5, beta=0.5, version=9),
    case("ScaledTanh", x("N", 4), alpha=0.5, beta=0.5, version=9),
    case("ImageScaler", x("N", 3, "H", "W"), bias=[0.1, 0.2, 0.3], version=9),
    case(MS + "SkipLayerNormalization", TOKENS, TOKENS, VECTOR, VECTOR, known=(0, 3)),
    case(MS + "SkipSimplifiedLayerNormalization", TOKENS, TOKENS, VECTOR, known=(0, 3)),
    case(MS + "Inverse", x("N", 4, 4)),
    case(MS + "Trilu", x("N", 4, 4)),
    case(MS + "SampleOp", x("N", 4)),
    case(MS + "MurmurHash3", x("N", 4, dtype=np.int32)),
    case(MS + "RotaryEmbedding", x("N", "S", 8), np.zeros((1,), np.int64), w(8, 2), w(8, 2), num_heads=2),
    case(ML + "Scaler", x("N", 4), offset=[0.5], scale=[2.0]),
    case(ML + "Scaler", x("N", 4, dtype=np.int64), offset=[0.5] * 4, scale=[2.0] * 4),
    case(ML + "Normalizer", x("N", 4), norm="L2"),
    case(ML + "Imputer", x("N", 4), imputed_value_floats=[1.0], replaced_value_float=0.0),
    # ---------------------------------------------------------------- not on the CPU: what ContribOperators says
    *(case(f"{domain}{name}", x("N", "S", 4), shape=(2, 3, 4))
      for domain, names in ((MS, """BiasAdd BiasSoftmax LayerNormalization SimplifiedLayerNormalization GroupNorm MoE
          QMoE LongformerAttention DecoderMaskedMultiHeadAttention"""), ("", "MemcpyFromHost MemcpyToHost"))
      for name in names.split()),
    *(case(MS + name, x("N", "S", 4), known=(i,), shape=(2, 3, 4))
      for name in ("BiasDropout", "SkipGroupNorm") for i in (0, 1)),
    case(MS + "PackedAttention", x("S", 8), w(8, 24), w(24), num_heads=2, shape=(3, 8)),
    case(MS + "SparseAttention", x("N", "S", 64), num_heads=4, kv_num_heads=2, shape=(2, 3, 32)),
    *(case(MS + name, TOKENS, shape=(2, 3, 8))  # younger than the oldest onnxruntime that is supported
      for name in "GatedRMSNorm BranchwiseRMSNorm GatedAdd ScaledSiLU MRotaryEmbedding".split()),
    case(MS + "TorchEmbedding", w(9, 4), x("N", "S", dtype=np.int64), shape=(2, 3, 4)),
    case(MS + "ReduceSumInteger", x("N", "S", 4, dtype=np.uint8), axes=[-2], keepdims=0, shape=(2, 4)),
    case(MS + "QLinearReduceMean", u8("N", 3, "H", "W"), *QUANTIZED, *QUANTIZED, axes=[2, 3], shape=(2, 3, 1, 1)),
    case(MS + "QLinearReduceMean", u8("N", 3, "H", "W"), *QUANTIZED, *QUANTIZED, axes=[1, 3], keepdims=0, shape=(2, 6)),
    # ---------------------------------------------------------------- of ONNX's own, of other operands
    case(MS + "QLinearAdd", u8("N", "S", 4), *QUANTIZED, u8(4), *QUANTIZED, *QUANTIZED),
    case(MS + "QLinearMul", u8("N", 1, 4), *QUANTIZED, u8("N", "S", 1), *QUANTIZED, *QUANTIZED),
    case(MS + "QLinearWhere", x("N", 1, dtype=bool), u8("N", 4), *QUANTIZED, u8(4), *QUANTIZED, *QUANTIZED),
    case(MS + "QLinearConcat", *QUANTIZED, u8("N", 4), *QUANTIZED, u8("N", 5), *QUANTIZED, axis=1),
    case(MS + "QLinearConv", u8("N", 8, 9, 3), *QUANTIZED, w(4, 3, 3, 3, dtype=np.uint8), *QUANTIZED, *QUANTIZED,
         channels_last=1, strides=[2, 2]),
    case(MS + "QLinearConv", u8("N", 3, 8, 9), *QUANTIZED, w(4, 3, 3, 3, dtype=np.uint8), *QUANTIZED, *QUANTIZED,
         pads=[1, 0, 1, 0]),
    case(MS + "QLinearAveragePool", u8("N", 3, 8, 9), *QUANTIZED, *QUANTIZED, kernel_shape=[2, 3]),
    case(MS + "QLinearAveragePool", u8("N", 8, 9, 3), *QUANTIZED, *QUANTIZED, kernel_shape=[2, 3], channels_last=1),
    case(MS + "QLinearGlobalAveragePool", u8("N", 3, "H", "W"), *QUANTIZED, *QUANTIZED),
    case(MS + "QLinearGlobalAveragePool", u8("N", "H", "W", 3), *QUANTIZED, *QUANTIZED, channels_last=1),
    case(MS + "NhwcMaxPool", u8("N", 8, 9, 3), kernel_shape=[2, 3], strides=[2, 2]),
    *(case(MS + name, x("N", 8, 9, 3), w(4, 2, 3, 3), kernel_shape=[2, 3], strides=[2, 2], shape=(2, 4, 4, 4))
      for name in ("NhwcConv", "NhwcFusedConv")),
    case(MS + "MaxpoolWithMask", x("N", 3, 8, 9), np.ones((1, 1, 8, 9), np.int32), kernel_shape=[2, 3]),
    case(MS + "FusedConv", x("N", 3, 8, 9), w(4, 3, 3, 3), w(4), activation="Relu", strides=[2, 2]),
    case(MS + "FusedGemm", x("N", 4), w(5, 4), w(5), transB=1, activation="LeakyRelu", activation_alpha=0.1),
    case(MS + "QGemm", u8("N", 4), *QUANTIZED, w(5, 4, dtype=np.uint8), *QUANTIZED, NONE, *QUANTIZED, transB=1),
    case(MS + "FusedMatMul", x("N", "S", 4), w(4, 5), alpha=0.5),
    case(MS + "FusedMatMul", x("N", "S", 4), w(5, 4), transB=1),
    case(MS + "FusedMatMul", x("N", 4, "S"), w(4, 5), transA=1),
    case(MS + "FusedMatMul", x("N", 2, "S", 4), x("N", 2, 7, 4), transB=1, alpha=0.5),
    case(MS + "TransposeMatMul", x("N", "S", 4), w(5, 4), transB=1),
    case(MS + "MatMulInteger16", x("N", "S", 4, dtype=np.int16), w(4, 5, dtype=np.int16)),
    case(MS + "MatMulIntegerToFloat", u8("N", "S", 4), w(4, 5, dtype=np.uint8), SCALE, SCALE, ZERO, ZERO),
    case(MS + "DynamicQuantizeMatMul", x("N", "S", 4), w(4, 5, dtype=np.uint8), SCALE, ZERO),
    case(MS + "MatMulNBits", x("N", "S", 32), w(5, 2, 8, dtype=np.uint8), w(10), K=32, N=5, bits=4, block_size=16),
    case(MS + "MatMulBnb4", x("N", "S", 32), w(80, dtype=np.uint8), w(10), K=32, N=5, quant_type=1, block_size=16),
    case(MS + "DynamicQuantizeLSTM", x("S", "N", 4), w(1, 4, 20, dtype=np.uint8), w(1, 5, 20, dtype=np.uint8), w(1, 40),
         NONE, NONE, NONE, NONE, w(1), w(1, dtype=np.uint8), w(1), w(1, dtype=np.uint8), known=(0, 1, 2),
         hidden_size=5),
    *(case(MS + "GatherBlockQuantized", w(10, size, dtype=np.uint8), x("N", "S", dtype=np.int64), w(10, 2), **more)
      for size, more in ((16, {"bits": 4}), (32, {"bits": 8}))
      for more in [{**more, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}]),
    case(MS + "GatherND", x("N", 4, 5), np.array([[0, 1]], np.int64)),
    case(MS + "GridSample", x("N", 3, "H", "W"), x("N", 4, 5, 2)),
    case(MS + "Pad", x("N", 3, "H", "W"), np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), open=True),
    case(MS + "Range", np.int64(0), np.int64(6), np.int64(2)),
    case(MS + "CDist", x("N", 4), x(7, 4), metric="euclidean"),
    # ---------------------------------------------------------------- attention
    case(MS + "EmbedLayerNormalization", IDS, IDS, w(9, 8), w(9, 8), w(2, 8), VECTOR, VECTOR, known=(0, 1)),
    case(MS + "EmbedLayerNormalization", IDS, NONE, w(9, 8), w(9, 8), NONE, VECTOR, VECTOR, known=(0, 1, 2)),
    case(MS + "QEmbedLayerNormalization", IDS, IDS, *(w(n, 8, dtype=np.uint8) for n in (9, 9, 2)),
         *[w(8, dtype=np.uint8)] * 2, NONE, *[SCALE] * 5, *[ZERO] * 5, known=(0, 1)),
    case(MS + "Attention", TOKENS, w(8, 24), w(24), num_heads=2),
    case(MS + "Attention", TOKENS, w(8, 20), w(20), num_heads=2, qkv_hidden_sizes=[8, 8, 4]),
    case(MS + "Attention", TOKENS, x(8, 24), w(24), num_heads=2),
    case(MS + "QAttention", u8("N", "S", 8), w(8, 24, dtype=np.uint8), w(24), SCALE, SCALE, NONE, ZERO, ZERO,
         num_heads=2),
    case(MS + "MultiHeadAttention", TOKENS, x("N", 5, 8), x("N", 5, 4), num_heads=2),
    case(MS + "MultiHeadAttention", x("N", "S", 2, 3, 4), num_heads=2, shape=(2, 3, 8)),
    case(MS + "MultiHeadAttention", TOKENS, x("N", 5, 2, 2, 4), num_heads=2, shape=(2, 3, 8)),
    case(MS + "MultiHeadAttention", TOKENS, x("N", 2, 5, 4), x("N", 2, 5, 4), num_heads=2),
    case(MS + "GroupQueryAttention", x("N", 3, 32), x("N", 3, 16), x("N", 3, 16), x("N", 2, 0, 8), x("N", 2, 0, 8),
         np.array([2, 2], np.int32), np.int32(3), num_heads=4, kv_num_heads=2),
    case(MS + "GroupQueryAttention", x("N", 3, 64), NONE, NONE, x("N", 2, 0, 8), x("N", 2, 0, 8),
         np.array([2, 2], np.int32), np.int32(3), num_heads=4, kv_num_heads=2),
    # ---------------------------------------------------------------- scikit-learn
    case(ML + "FeatureVectorizer", x("N", 4), x("N", 2), inputdimensions=[4, 2]),
    case(ML + "LinearRegressor", x("N", 4), coefficients=[0.5] * 12, intercepts=[0.1] * 3, targets=3),
    case(ML + "LinearClassifier", x("N", 4), coefficients=[0.5] * 12, intercepts=[0.1] * 3, classlabels_ints=[0, 1, 2],
         known=(0, 1)),
    case(ML + "LinearClassifier", x("N", 4), coefficients=[0.5] * 4, intercepts=[0.1], classlabels_strings=["a", "b"],
         known=(0, 1)),
    case(ML + "TreeEnsembleRegressor", x("N", 4), **TREE, n_targets=2,
         **{f"target_{name}": value for name, value in LEAVES.items()}),
    case(ML + "TreeEnsembleClassifier", x("N", 4), **TREE, classlabels_int64s=[0, 1], known=(0, 1),
         **{f"class_{name}": value for name, value in LEAVES.items()}),
    case(ML + "TreeEnsembleClassifier", x("N", 4), **TREE, classlabels_int64s=[0, 1, 2], known=(0, 1),
         **{f"class_{name}": value for name, value in LEAVES.items()}),
    case(ML + "TreeEnsemble", x("N", 4), ml=5, n_targets=2, aggregate_function=1, post_transform=0, tree_roots=[0],
         nodes_featureids=[0], nodes_modes=numpy_helper.from_array(np.array([0], np.uint8)), nodes_trueleafs=[1],
         nodes_splits=numpy_helper.from_array(np.array([0.1], np.float32)), nodes_truenodeids=[0], nodes_falseleafs=[1],
         nodes_falsenodeids=[1], leaf_targetids=[0, 1], leaf_weights=numpy_helper.from_array(w(2))),
    case(ML + "SVMRegressor", x("N", 4), kernel_type="LINEAR", kernel_params=[0.5, 0.0, 3.0], coefficients=[0.1] * 4,
         rho=[0.1]),
    *(case(ML + "SVMClassifier", x("N", 4), kernel_type="LINEAR", kernel_params=[0.5, 0.0, 3.0], known=(0, 1),
           coefficients=[0.1] * 4 * labels, rho=[0.1] * labels, classlabels_ints=list(range(labels)))
      for labels in (2, 3)),
    *(case(ML + "SVMClassifier", x("N", 4), kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], known=(0, 1),
           support_vectors=[0.1] * 4 * labels, vectors_per_class=[1] * labels,
           coefficients=[0.1] * labels * (labels - 1), rho=[0.1] * (labels * (labels - 1) // 2),
           classlabels_ints=list(range(labels)), **probabilities)
      for labels in (2, 3, 4)
      for probabilities in ({}, {name: [0.1] * (labels * (labels - 1) // 2) for name in ("prob_a", "prob_b")})),
    *(case(name, x("N", 4, 5), 0.1, shape=(2, 4, 5)) for name in sorted(ROUNDING)),
]  # fmt: skip


def built(case: Case) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A model of the one node, whose results it gives, and what it is fed."""
    domain, _, op_type = case.op.rpartition("::")
    names = ["" if each is None else f"x{i}" for i, each in enumerate(case.operands)]
    count = max(case.outputs, max(case.known) + 1)
    results = [f"y{i}" if i in case.known or i < case.outputs else "" for i in range(count)]
    node = helper.make_node(op_type, names, results, domain=domain, **case.attributes)
    graph = helper.make_graph([node], "one", [], [ValueInfoProto(name=f"y{i}") for i in case.known])
    feeds = {}
    for name, each in zip(names, case.operands, strict=True):
        if isinstance(each, Live):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype))
            graph.input.append(helper.make_tensor_value_info(name, kind, list(each.dims)))
            feeds[name] = each.array()
        elif each is not None:
            graph.initializer.append(numpy_helper.from_array(np.asarray(each), name))
    imports = [helper.make_opsetid("", case.version), helper.make_opsetid("com.microsoft", 1)]
    imports.append(helper.make_opsetid("ai.onnx.ml", case.ml))
    return helper.make_model(graph, opset_imports=imports, ir_version=8), feeds


def test_every_row_has_a_case() -> None:
    blocked = {name for name in RULES if name.startswith("com.microsoft.nchwc::")}
    assert {case.op for case in CASES} == RULES.keys() - blocked - {ML + "DictVectorizer"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stand_in_has_the_shapes_that_onnxruntime_makes(case: Case) -> None:
    model, feeds = built(case)
    found = inferred(model, {})[""]
    for value, shape in zip(model.graph.output, [case.shape] if case.shape else ran(model, feeds), strict=True):
        sizes = [counted(size) for size in found[value.name]]
        wanted = [None if size is None else run for size, run in zip(sizes, shape, strict=True)]
        assert sizes == wanted
        assert None not in sizes or case.open


BROKEN = {
    "pooled without an operand": helper.make_node(
        "NhwcMaxPool", [], ["z"], kernel_shape=[1, 1], domain="com.microsoft"
    ),
    "elements of no bits": helper.make_node(
        "GatherBlockQuantized", ["q", "i", "s"], ["z"], bits=0, domain="com.microsoft"
    ),
    "blocks along no axis": helper.make_node(
        "GatherBlockQuantized", ["q", "i", "s"], ["z"], quantize_axis=5, domain="com.microsoft"
    ),
    "convolved by a number": helper.make_node(
        "NhwcConv", ["x", "n"], ["z"], kernel_shape=[1, 1], domain="com.microsoft"
    ),
    "a constant of others without a result": helper.make_node("Constant", [], [], domain="own", value=1),
    "a flag of others": helper.make_node("Twist", ["x"], ["z"], domain="own", reverse=2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_node_of_another_domain_that_makes_no_sense_has_no_shape(name: str) -> None:
    """What is known of the rest is known all the same, and layers are converted."""
    model = parse(
        "graph (float[N,3,1,1] x, int64[2] i) => (float[N,3] y) <float[3,3] w> { f = Flatten (x)  y = MatMul (f, w) }",
        domains={"com.microsoft": 1, "own": 1},
    )
    arrays = {"q": np.zeros((4, 16), np.uint8), "s": np.ones((4, 1), np.float32), "n": np.array(1, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(each, key) for key, each in arrays.items())
    model.graph.node.insert(0, BROKEN[name])
    assert "z" not in inferred(model, {})[""]
    assert [layer.decision for layer in fc2conv.plan(model).sites] == ["convert"]


def ran(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    """The shapes of the outputs in onnxruntime."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [result.shape for result in session.run(None, feeds)]


def counted(size: Size) -> int | None:
    """A size as it is run; None where a symbol is not one of the inputs."""
    if any(symbol not in SIZES for symbol in size.symbols):
        return None
    return size.coefficient * int(np.prod([SIZES[symbol] for symbol in size.symbols], dtype=np.int64))
