"""Rules for operators of onnxruntime's that are more than another one with fewer operands."""

from __future__ import annotations

from fc2conv.ir.graph import int_attribute, ints_attribute
from fc2conv.ir.stand_ins.draft import Draft, Results, like


def nhwc_conv(draft: Draft) -> Results:
    """Convolve a map by a kernel [M, *S, C], whose size only the attribute states."""
    weight, kernel = draft.shape(1), ints_attribute(draft.node, "kernel_shape")
    if weight is None or not kernel:
        return []
    return [draft.add("Conv", draft.operand(0), draft.tensor(weight[0], 1, *kernel), **draft.kept("Conv"))]


def concat(draft: Draft) -> Results:
    """Join the data of QLinearConcat(y_scale, y_zero_point, x1, x1_scale, x1_zero_point, x2, ...)."""
    return like("Concat", *range(2, len(draft.node.input), 3))(draft)


def fused_matmul(draft: Draft) -> Results:
    """Multiply matrices, either of them transposed; leave the result unknown where transBatch* moves dimensions."""
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


def blocks(draft: Draft) -> Results:
    """Multiply by a weight [N, K] in blocks, as MatMulNBits does."""
    sizes = [int_attribute(draft.node, name, 0) for name in ("K", "N")]
    return [draft.add("MatMul", draft.operand(0), draft.tensor(*sizes))]


def rows_in_blocks(draft: Draft) -> Results:
    """Gather from GatherBlockQuantized(data, indices, scales, ...), whose bytes may hold several elements each."""
    data, scales, axis = draft.shape(0), draft.shape(2), int_attribute(draft.node, "quantize_axis", 1)
    if data is None or scales is None:
        return []
    rows = draft.add("Gather", draft.operand(0), draft.operand(1), axis=int_attribute(draft.node, "gather_axis", 0))
    packed = 8 // int_attribute(draft.node, "bits", 4)
    blocks = -(-data[axis] // (int_attribute(draft.node, "block_size", 128) or data[axis]))
    return [rows if blocks == scales[axis] else draft.add("Concat", *[rows] * packed, axis=-1)]


def embedded(draft: Draft) -> Results:
    """Make a vector for each id of EmbedLayerNormalization(ids, segments, words, ...), the lengths, and the sums."""
    ids, words = draft.operand(0), draft.operand(2)
    vectors = draft.add("Gather", words, ids, axis=0)
    return [vectors, draft.add("Gather", ids, draft.tensor(), axis=1), vectors]


def attention(draft: Draft) -> Results:
    """Make the result of Attention(x, weight, bias, ...) as wide as its values, a third of the weight.

    `qkv_hidden_sizes` has the widths of queries, keys and values where they differ.
    """
    weight, bias = draft.shape(1), draft.shape(2)
    whole = weight[-1] if weight else bias[0] if bias else 0
    if not whole:
        return []
    width = (ints_attribute(draft.node, "qkv_hidden_sizes") or [whole // 3])[-1]
    every = draft.add("MatMul", draft.operand(0), draft.operand(1))
    return [draft.add("MatMul", every, draft.tensor(whole, width))]


def multi_head(draft: Draft) -> Results:
    """Make a row for each query of MultiHeadAttention(query, key, value, ...), as wide as a value."""
    query, key, value = (draft.operand(i) for i in range(3))
    if not key:  # [B, L, heads, 3, size]
        queries = draft.add("Gather", query, draft.tensor(), axis=3)
        return [draft.add("Reshape", queries, draft.ints(0, 0, -1))]
    if not value or draft.ranks.get(key) == 4:  # keys and values in one, or those of a cache [B, heads, L, size]
        return [query]
    products = draft.add("MatMul", query, draft.add("Transpose", key, perm=[0, 2, 1]))
    return [draft.add("MatMul", products, value)]


def grouped_query(draft: Draft) -> Results:
    """Make GroupQueryAttention(query, ...) as wide as its queries, beside which keys and values may be packed."""
    if draft.operand(1):
        return [draft.operand(0)]
    heads, others = (int_attribute(draft.node, name, 0) for name in ("num_heads", "kv_num_heads"))
    every = draft.add("Reshape", draft.operand(0), draft.ints(0, 0, heads + 2 * others, -1))
    queries = draft.add("Gather", every, draft.tensor(heads), axis=2)
    return [draft.add("Reshape", queries, draft.ints(0, 0, -1))]


def distances(draft: Draft) -> Results:
    return [draft.add("MatMul", draft.operand(0), draft.add("Transpose", draft.operand(1)))]


def reduced(draft: Draft) -> Results:
    """Reduce over `axes`, one after another."""
    axes, keep = ints_attribute(draft.node, "axes"), int_attribute(draft.node, "keepdims", 1)
    if not axes or min(axes) < 0 <= max(axes):
        return []
    value = draft.operand(0)
    for axis in sorted(axes, reverse=axes[0] >= 0):  # so that one that goes leaves the numbers of the others
        value = draft.add("ArgMax", value, axis=axis, keepdims=keep)
    return [value]


def reordered(draft: Draft) -> Results:
    """Make a map of channels from a map in blocks of channels."""
    one = draft.tensor(int_attribute(draft.node, "channels", 0), 1, 1, 1)
    made = draft.add("Conv", draft.operand(0), one)
    last = int_attribute(draft.node, "channels_last", 0)
    return [draft.add("Transpose", made, perm=[0, 2, 3, 1]) if last else made]


def reorder_input(draft: Draft) -> Results:
    if not int_attribute(draft.node, "channels_last", 0):
        return [draft.operand(0)]
    return [draft.add("Transpose", draft.operand(0), perm=[0, 3, 1, 2])]
