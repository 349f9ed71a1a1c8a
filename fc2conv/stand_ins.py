"""Operators of which ONNX's inference does not know the shapes, as ONNX's own of the same shapes.

A stand-in is for inference alone: its values mean nothing, and it is never written. `RULES` has one row for each
operator. Sources: onnxruntime's ContribOperators and symbolic_shape_infer.py, the definitions of ai.onnx.ml; a test
holds each row against what onnxruntime makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from fc2conv.graph import int_attribute, ints_attribute, op

Results = Sequence[str]
"""A value of the shape of each result of a node, "" where nothing is known of it."""


@dataclass
class Draft:
    """The nodes that take the place of one, while a rule makes them.

    `shapes` holds the dimensions of the constants that the node sees, `ranks` the ranks of the inputs of its graph.
    """

    node: NodeProto
    shapes: Mapping[str, Sequence[int]]
    ranks: Mapping[str, int] = field(default_factory=dict)
    nodes: list[NodeProto] = field(default_factory=list)

    def operand(self, index: int) -> str:
        """The name of an operand; "" where it is absent."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def shape(self, index: int) -> Sequence[int] | None:
        """The dimensions of an operand that is a constant."""
        return self.shapes.get(self.operand(index))

    def add(self, op_type: str, *operands: str, results: int = 1, **attributes: Any) -> str:
        """Adds a node of ONNX's own domain; the name of its first result."""
        prefix = f"{next(filter(None, self.node.output), '')}~{len(self.nodes)}"
        names = [prefix, *(f"{prefix}.{i}" for i in range(1, results))]
        self.nodes.append(helper.make_node(op_type, list(operands), names, name=prefix, domain=None, **attributes))
        return prefix

    def tensor(self, *dims: int) -> str:
        """Adds a constant of these dimensions and of no values."""
        return self.add("Constant", value=TensorProto(data_type=TensorProto.FLOAT, dims=dims))

    def ints(self, *values: int) -> str:
        """Adds a constant vector of integers."""
        return self.add("Constant", value=numpy_helper.from_array(np.array(values, dtype=np.int64)))

    def kept(self, op_type: str) -> dict[str, Any]:
        """The node's attributes that an operator of ONNX has as well."""
        known = defs.get_schema(op_type).attributes
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute if a.name in known}


Rule = Callable[[Draft], Results]


def same(*results: int) -> Rule:
    """The first operand's shape, of the results with these numbers."""
    return lambda draft: [draft.operand(0) if i in results else "" for i in range(max(results) + 1)]


def like(op_type: str, *operands: int) -> Rule:
    """All results of another operator on these operands, with the attributes that it has."""

    def rule(draft: Draft) -> Results:
        names = [draft.operand(i) for i in operands]
        while names and not names[-1]:
            names.pop()
        count = len(draft.node.output)
        first = draft.add(op_type, *names, results=count, **draft.kept(op_type))
        return [first, *(f"{first}.{i}" for i in range(1, count))]

    return rule


def features(size: Callable[[NodeProto], int]) -> Rule:
    """As many features as `size` says for each row of a matrix."""

    def rule(draft: Draft) -> Results:
        one = draft.add("ArgMax", draft.operand(0), axis=1, keepdims=1)
        return [draft.add("Gemm", one, draft.tensor(1, size(draft.node)))]

    return rule


def _classes(size: Callable[[NodeProto], int] | None) -> Rule:
    """A label for each row of a matrix, and the scores."""

    def rule(draft: Draft) -> Results:
        label = draft.add("ArgMax", draft.operand(0), axis=1, keepdims=0)
        return [label, *(features(size)(draft) if size is not None else ())]

    return rule


def _number(name: str, default: int = 1) -> Callable[[NodeProto], int]:
    return lambda node: int_attribute(node, name, default)


def _length(*names: str) -> Callable[[NodeProto], int]:
    """How many elements the first of some attributes has."""

    def length(node: NodeProto) -> int:
        found = next((a for a in node.attribute if a.name in names), None)
        return len(helper.get_attribute_value(found)) if found is not None else 0

    return length


def _linear_classes(node: NodeProto) -> int:
    """One score for each intercept; where there is one for two labels, onnxruntime adds its complement."""
    scores, labels = _length("intercepts")(node), _length("classlabels_ints", "classlabels_strings")(node)
    return 2 if scores == 1 and labels == 2 else scores


def _vocabulary(draft: Draft) -> Results:
    return [draft.tensor(1, _length("string_vocabulary", "int64_vocabulary")(draft.node))]


def channels_last(rule: Rule, weight: int | None = None) -> Rule:
    """A rule for maps [N, *S, C] where the attribute `channels_last` says so; the rank is that of weight or kernel."""

    def inner(draft: Draft) -> Results:
        if not int_attribute(draft.node, "channels_last", 0):
            return rule(draft)
        shape = draft.shape(weight) if weight is not None else None
        rank = len(shape) if shape is not None else 2 + len(ints_attribute(draft.node, "kernel_shape") or (1, 1))
        moved = NodeProto()
        moved.CopyFrom(draft.node)
        moved.input[0] = draft.add("Transpose", draft.operand(0), perm=[0, rank - 1, *range(1, rank - 1)])
        made = Draft(moved, draft.shapes, draft.ranks, draft.nodes)
        return [made.add("Transpose", name, perm=[0, *range(2, rank), 1]) for name in rule(made)[:1]]

    return inner


def _nhwc_max_pool(draft: Draft) -> Results:
    draft.node.attribute.append(helper.make_attribute("channels_last", 1))  # of a throwaway copy
    return channels_last(like("MaxPool", 0))(draft)


def _concat(draft: Draft) -> Results:
    """QLinearConcat(y_scale, y_zero_point, x1, x1_scale, x1_zero_point, x2, ...)."""
    return like("Concat", *range(2, len(draft.node.input), 3))(draft)


def _fused_matmul(draft: Draft) -> Results:
    """The transposed operand of a product has its last two dimensions exchanged; transBatch* moves more."""
    node = draft.node
    if any(int_attribute(node, name, 0) for name in ("transBatchA", "transBatchB")):
        return []
    trans = [int_attribute(node, name, 0) for name in ("transA", "transB")]
    if not any(trans):
        return like("MatMul", 0, 1)(draft)
    terms = []
    for i, letters in enumerate(("ij", "jk")):
        matrix = draft.shape(i) is not None and len(draft.shape(i) or ()) == 2
        terms.append(("" if matrix else "...") + (letters[::-1] if trans[i] else letters))
    lead = "..." if any(term.startswith("...") for term in terms) else ""
    return [draft.add("Einsum", draft.operand(0), draft.operand(1), equation=f"{','.join(terms)}->{lead}ik")]


def _blocks(draft: Draft) -> Results:
    """MatMulNBits and its kind: a weight [N, K] in blocks."""
    sizes = [int_attribute(draft.node, name, 0) for name in ("K", "N")]
    return [draft.add("MatMul", draft.operand(0), draft.tensor(*sizes))]


def _embedded(draft: Draft) -> Results:
    """EmbedLayerNormalization(ids, segments, words, ...): a vector for each id, the lengths, and a sum of vectors."""
    ids, words = draft.operand(0), draft.operand(2)
    vectors = draft.add("Gather", words, ids, axis=0)
    return [vectors, draft.add("Gather", ids, draft.tensor(), axis=1), vectors]


def _attention(draft: Draft) -> Results:
    """Attention(x, weight, bias, ...): the weight makes queries, keys and values of x; the result is as wide as these.

    `qkv_hidden_sizes` has the widths where they are not the same.
    """
    weight, bias = draft.shape(1), draft.shape(2)
    whole = weight[-1] if weight else bias[0] if bias else 0
    if not whole:
        return []
    width = (ints_attribute(draft.node, "qkv_hidden_sizes") or [whole // 3])[-1]
    every = draft.add("MatMul", draft.operand(0), draft.operand(1))
    return [draft.add("MatMul", every, draft.tensor(whole, width))]


def _multi_head(draft: Draft) -> Results:
    """MultiHeadAttention(query, key, value, ...): a row for each query, as wide as a value."""
    query, key, value = (draft.operand(i) for i in range(3))
    if not key:  # [B, L, heads, 3, size]
        queries = draft.add("Gather", query, draft.tensor(), axis=3)
        return [draft.add("Reshape", queries, draft.ints(0, 0, -1))]
    if not value or draft.ranks.get(key) == 4:  # keys and values in one, or those of a cache [B, heads, L, size]
        return [query]
    products = draft.add("MatMul", query, draft.add("Transpose", key, perm=[0, 2, 1]))
    return [draft.add("MatMul", products, value)]


def _grouped_query(draft: Draft) -> Results:
    """GroupQueryAttention(query, key, value, ...): as wide as the query, which may hold keys and values as well."""
    if draft.operand(1):
        return [draft.operand(0)]
    heads, others = (int_attribute(draft.node, name, 0) for name in ("num_heads", "kv_num_heads"))
    every = draft.add("Reshape", draft.operand(0), draft.ints(0, 0, heads + 2 * others, -1))
    queries = draft.add("Gather", every, draft.tensor(heads), axis=2)
    return [draft.add("Reshape", queries, draft.ints(0, 0, -1))]


def _distances(draft: Draft) -> Results:
    return [draft.add("MatMul", draft.operand(0), draft.add("Transpose", draft.operand(1)))]


def _reduced(draft: Draft) -> Results:
    """A reduction over `axes`, one after another."""
    axes, keep = ints_attribute(draft.node, "axes"), int_attribute(draft.node, "keepdims", 1)
    if not axes or min(axes) < 0 <= max(axes):
        return []
    value = draft.operand(0)
    for axis in sorted(axes, reverse=axes[0] >= 0):  # so that one that goes leaves the numbers of the others
        value = draft.add("ArgMax", value, axis=axis, keepdims=keep)
    return [value]


def _reordered(draft: Draft) -> Results:
    """ReorderOutput: a map of blocks of channels as one of channels."""
    one = draft.tensor(int_attribute(draft.node, "channels", 0), 1, 1, 1)
    made = draft.add("Conv", draft.operand(0), one)
    last = int_attribute(draft.node, "channels_last", 0)
    return [draft.add("Transpose", made, perm=[0, 2, 3, 1]) if last else made]


def _reorder_input(draft: Draft) -> Results:
    if not int_attribute(draft.node, "channels_last", 0):
        return [draft.operand(0)]
    return [draft.add("Transpose", draft.operand(0), perm=[0, 3, 1, 2])]


def _rows(domain: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{domain}::{name}": rule for names, rule in rules.items() for name in names.split()}


_POOLS = {name: like(name, 0) for name in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")}

RULES: Mapping[str, Rule] = {
    # onnxruntime has these in ONNX's own domain, before ONNX has them or after.
    **dict.fromkeys("LayerNormalization SimplifiedLayerNormalization Affine Scale ScaledTanh".split(), same(0)),
    **dict.fromkeys("ParametricSoftplus ImageScaler MemcpyFromHost MemcpyToHost".split(), same(0)),
    **_rows(
        "com.microsoft",
        {
            """BiasAdd BiasGelu BiasSoftmax FastGelu Gelu QuickGelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax
            QuantizeLinear DequantizeLinear LayerNormalization SimplifiedLayerNormalization GroupNorm RotaryEmbedding
            Inverse Trilu MurmurHash3 SampleOp MoE QMoE LongformerAttention DecoderMaskedMultiHeadAttention""": same(0),
            "BiasDropout SkipGroupNorm": same(0, 1),
            "SkipLayerNormalization SkipSimplifiedLayerNormalization": same(0, 3),
            "QLinearAdd": like("Add", 0, 3),
            "QLinearMul": like("Mul", 0, 3),
            "QLinearWhere": like("Where", 0, 1, 4),
            "QLinearConcat": _concat,
            "QLinearConv": channels_last(like("Conv", 0, 3), 3),
            "QLinearAveragePool": channels_last(_POOLS["AveragePool"]),
            "QLinearGlobalAveragePool": channels_last(_POOLS["GlobalAveragePool"]),
            "NhwcMaxPool": _nhwc_max_pool,
            "MaxpoolWithMask": _POOLS["MaxPool"],
            "FusedConv": like("Conv", 0, 1, 2),
            "FusedGemm": like("Gemm", 0, 1, 2),
            "QGemm": like("Gemm", 0, 3),
            "FusedMatMul TransposeMatMul": _fused_matmul,
            "MatMulInteger16 MatMulIntegerToFloat DynamicQuantizeMatMul": like("MatMul", 0, 1),
            "MatMulNBits MatMulBnb4": _blocks,
            "DynamicQuantizeLSTM": like("LSTM", *range(8)),
            "EmbedLayerNormalization QEmbedLayerNormalization": _embedded,
            "Attention QAttention PackedAttention": _attention,
            "MultiHeadAttention": _multi_head,
            "GroupQueryAttention SparseAttention": _grouped_query,
            "GatherND": like("GatherND", 0, 1),
            "GridSample": like("GridSample", 0, 1),
            "Pad": like("Pad", 0, 1, 2),
            "Range": like("Range", 0, 1, 2),
            "TorchEmbedding": like("Gather", 0, 1),
            "CDist": _distances,
            "QLinearReduceMean ReduceSumInteger": _reduced,
        },
    ),
    **_rows(
        "com.microsoft.nchwc",
        {**_POOLS, "Conv": like("Conv", 0, 1, 2), "ReorderInput": _reorder_input, "ReorderOutput": _reordered},
    ),
    **_rows(
        "ai.onnx.ml",
        {
            "Scaler Normalizer Imputer": same(0),
            "FeatureVectorizer": features(lambda node: sum(ints_attribute(node, "inputdimensions") or ())),
            "LinearRegressor": features(_number("targets")),
            "TreeEnsemble TreeEnsembleRegressor": features(_number("n_targets")),
            "SVMRegressor": features(lambda _: 1),
            "LinearClassifier": _classes(_linear_classes),
            "TreeEnsembleClassifier": _classes(_length("classlabels_int64s", "classlabels_strings")),
            "SVMClassifier": _classes(None),
            "DictVectorizer": _vocabulary,
        },
    ),
}
"""By operator, with its domain unless that is ONNX's own."""


def stand_in(node: NodeProto, shapes: Mapping[str, Sequence[int]], ranks: Mapping[str, int]) -> list[NodeProto] | None:
    """The nodes that take the place of one, and make its results; None where its operator has no rule.

    `shapes` holds the dimensions of constants, `ranks` the ranks of graph inputs.
    """
    rule = RULES.get(op(node))
    if rule is None:
        return None
    draft = Draft(node, shapes, ranks)
    for name, made in zip(node.output, rule(draft), strict=False):
        if name and made:
            draft.nodes.append(helper.make_node("Identity", [made], [name]))
    return draft.nodes
