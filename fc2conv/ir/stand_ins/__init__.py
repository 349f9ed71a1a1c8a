"""Operators whose shapes ONNX's inference does not know, as ONNX's own operators of the same shapes.

A stand-in is for inference alone: its values mean nothing, and it is never written. `RULES` has one row for each
operator. Sources: onnxruntime's ContribOperators and symbolic_shape_infer.py, the definitions of ai.onnx.ml; a test
holds each row against what onnxruntime makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import NodeProto

from fc2conv.io.custom_ops import ROUNDING
from fc2conv.ir.graph import ints_attribute, new_node, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.stand_ins import fused, learned
from fc2conv.ir.stand_ins.draft import Draft, Rule, channels_last, features, like, same


def _rows(domain: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{domain}::{name}": rule for names, rule in rules.items() for name in names.split()}


_POOLS = {name: like(name, 0) for name in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")}

RULES: Mapping[str, Rule] = {
    **{name: like(row.shape_as[0], *row.shape_as[1]) for name, row in LAYER_OPERATORS.items() if row.shape_as},
    # onnxruntime has these in ONNX's own domain, before ONNX has them or after.
    **dict.fromkeys("LayerNormalization SimplifiedLayerNormalization Affine Scale ScaledTanh".split(), same(0)),
    **dict.fromkeys("ParametricSoftplus ImageScaler MemcpyFromHost MemcpyToHost".split(), same(0)),
    **dict.fromkeys(ROUNDING, same(0)),
    "GroupNormalization": same(0),  # ONNX defines it by a body, which its inference does not enter
    **_rows(
        "com.microsoft",
        {
            """BiasAdd BiasGelu BiasSoftmax FastGelu Gelu QuickGelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax
            QuantizeLinear DequantizeLinear LayerNormalization SimplifiedLayerNormalization GroupNorm RotaryEmbedding
            Inverse Trilu MurmurHash3 SampleOp MoE QMoE LongformerAttention DecoderMaskedMultiHeadAttention
            GatedRMSNorm BranchwiseRMSNorm GatedAdd ScaledSiLU MRotaryEmbedding""": same(0),
            "BiasDropout SkipGroupNorm": same(0, 1),
            "SkipLayerNormalization SkipSimplifiedLayerNormalization": same(0, 3),
            "QLinearAdd": like("Add", 0, 3),
            "QLinearMul": like("Mul", 0, 3),
            "QLinearWhere": like("Where", 0, 1, 4),
            "QLinearConcat": fused.concat,
            "QLinearConv": channels_last(like("Conv", 0, 3), 3),
            "QLinearAveragePool": channels_last(_POOLS["AveragePool"]),
            "QLinearGlobalAveragePool": channels_last(_POOLS["GlobalAveragePool"]),
            "NhwcConv NhwcFusedConv": channels_last(fused.nhwc_conv, always=True),
            "NhwcMaxPool": channels_last(_POOLS["MaxPool"], always=True),
            "MaxpoolWithMask": _POOLS["MaxPool"],
            "FusedConv": like("Conv", 0, 1, 2),
            "FusedMatMul TransposeMatMul": fused.fused_matmul,
            "MatMulInteger16": like("MatMul", 0, 1),
            "MatMulNBits MatMulBnb4": fused.blocks,
            "DynamicQuantizeLSTM": like("LSTM", *range(8)),
            "EmbedLayerNormalization QEmbedLayerNormalization": fused.embedded,
            "Attention QAttention PackedAttention": fused.attention,
            "MultiHeadAttention": fused.multi_head,
            "GroupQueryAttention SparseAttention": fused.grouped_query,
            "GatherND": like("GatherND", 0, 1),
            "GridSample": like("GridSample", 0, 1),
            "Pad": like("Pad", 0, 1, 2),
            "Range": like("Range", 0, 1, 2),
            "TorchEmbedding": like("Gather", 0, 1),
            "GatherBlockQuantized": fused.rows_in_blocks,
            "CDist": fused.distances,
            "QLinearReduceMean ReduceSumInteger": fused.reduced,
        },
    ),
    **_rows(
        "com.microsoft.nchwc",
        {
            **_POOLS,
            "Conv": like("Conv", 0, 1, 2),
            "ReorderInput": fused.reorder_input,
            "ReorderOutput": fused.reordered,
        },
    ),
    **_rows(
        "ai.onnx.ml",
        {
            "Scaler Normalizer Imputer": same(0),
            "FeatureVectorizer": features(lambda node: sum(ints_attribute(node, "inputdimensions") or ())),
            "LinearRegressor": features(learned.number("targets")),
            "TreeEnsemble TreeEnsembleRegressor": features(learned.number("n_targets")),
            "SVMRegressor": features(lambda _: 1),
            "LinearClassifier": learned.classes(learned.linear_classes),
            "TreeEnsembleClassifier": learned.classes(learned.length("classlabels_int64s", "classlabels_strings")),
            "SVMClassifier": learned.classes(learned.machine_classes),
            "DictVectorizer": learned.vocabulary,
        },
    ),
}
"""By operator, with its domain unless that is ONNX's own."""


def stand_in(
    node: NodeProto, shapes: Mapping[str, Sequence[int]], ranks: Mapping[str, int], types: Mapping[str, int]
) -> list[NodeProto] | None:
    """Make the nodes that replace one for inference; return None where no rule fits its operator and its operands.

    `shapes` holds the dimensions of constants, `ranks` the ranks of graph inputs, `types` the element types of graph
    outputs: inference refuses a result of another type.
    """
    rule = RULES.get(op(node))
    if rule is None:
        return None
    draft = Draft(node, shapes, ranks)
    try:
        results = rule(draft)
    except (IndexError, ArithmeticError):
        return None  # it lacks operands or dimensions, or divides by a number of 0
    for name, made in zip(node.output, results, strict=False):
        if name and made:
            kind = types.get(name, 0)
            typed = new_node("Cast", [made], [name], "", to=kind) if kind else new_node("Identity", [made], [name], "")
            draft.nodes.append(typed)
    return draft.nodes if any(results) else None
