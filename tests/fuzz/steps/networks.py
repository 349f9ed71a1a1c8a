"""Parts of networks: convolutions of every kind, norms, recurrence, attention, functions, onnxruntime's own layers."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import AttributeProto, helper, numpy_helper

from ..builder import Builder, Step, Value

MICROSOFT, LOCAL = "com.microsoft", "local"


# -- maps ------------------------------------------------------------------------------------------------------------
def wide_convolution(b: Builder, x: Value) -> Value | None:
    """With groups, strides, dilations and pads; now and then one that an activation follows in the same node."""
    if x.rank not in (3, 4):
        return None
    group = b.pick([size for size in range(1, x.shape[1] + 1) if x.shape[1] % size == 0])
    outputs, space = group * (1 + b.below(3)), x.shape[2:]
    kernel, strides, dilations = ([1 + b.below(most) for _ in space] for most in (3, 2, 2))
    pads = [b.below(2) + (k - 1) * d // 2 for k, d in zip(kernel * 2, dilations * 2, strict=True)]
    spatial = [
        (size + pads[i] + pads[i + len(space)] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, size in enumerate(space)
    ]
    if min(spatial) < 1:
        return None
    inner = x.shape[1] // group
    operands = [x.name, b.weight([outputs, inner, *kernel], (inner * prod(kernel)) ** -0.5)]
    operands += [b.weight([outputs])] if b.chance(0.5) else []
    fused: dict[str, object] = {"domain": MICROSOFT, "activation": "Relu"} if b.chance(0.15) else {}
    return b.add(
        "FusedConv" if fused else "Conv", operands, [x.shape[0], outputs, *spatial],
        kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads, group=group, **fused,
    )  # fmt: skip


def transposed_convolution(b: Builder, x: Value) -> Value | None:
    if x.rank not in (3, 4):
        return None
    outputs, kernel, strides = (
        1 + b.below(3),
        [1 + b.below(3) for _ in x.shape[2:]],
        [1 + b.below(2) for _ in x.shape[2:]],
    )
    spatial = [s * (size - 1) + k for size, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    weight = b.weight([x.shape[1], outputs, *kernel], (x.shape[1] * prod(kernel)) ** -0.5)
    return b.add(
        "ConvTranspose", [x.name, weight], [x.shape[0], outputs, *spatial], strides=strides, kernel_shape=kernel
    )


def padded_pool(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or min(x.shape[2:]) < 2:
        return None
    op = b.pick(("MaxPool", "AveragePool"))
    attributes: dict[str, object] = {"count_include_pad": b.below(2)} if op == "AveragePool" and b.opset >= 7 else {}
    shape = [*x.shape[:2], *((size + 2 - 2) // 2 + 1 for size in x.shape[2:])]
    return b.add(op, [x.name], shape, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], **attributes)


# -- norms and functions ---------------------------------------------------------------------------------------------
def norm(b: Builder, x: Value) -> Value | None:
    """Norms of newer opsets, and of vectors."""
    if x.rank < 3 or x.shape[-1] < 3:
        return None
    form = b.below(4)
    if form == 0 and b.opset >= 23:
        return b.add("RMSNormalization", [x.name, b.weight(x.shape[-1:])], x.shape, axis=-1, epsilon=0.01)
    if form == 1 and b.opset >= 21 and x.shape[1] % 2 == 0:
        weights = [b.weight([x.shape[1]]), b.weight([x.shape[1]])]
        return b.add("GroupNormalization", [x.name, *weights], x.shape, num_groups=2, epsilon=0.01)
    if form == 2:
        weights = [b.weight([x.shape[1]]), b.weight([x.shape[1]])]
        return b.add("InstanceNormalization", [x.name, *weights], x.shape, epsilon=0.01)
    return b.add("LpNormalization", [x.name], x.shape, axis=b.pick((1, x.rank - 1)), p=2) if form == 3 else None


def activation(b: Builder, x: Value) -> Value | None:
    """Functions of each element of newer opsets, and their parts."""
    since = {"Selu": 7, "Exp": 7, "Sin": 7, "Erf": 9, "Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20}
    op = b.pick([name for name, opset in since.items() if opset <= b.opset])
    if op == "Exp":  # of what is bounded
        x = b.add("Tanh", [x.name], x.shape)
    if op == "Erf" and b.chance(0.7):  # the Gelu of exporters
        return _gelu(b, x)
    return b.add(op, [x.name], x.shape)


def _gelu(b: Builder, x: Value) -> Value:
    root, one, half = (b.constant(np.float32(number)) for number in (2**0.5, 1, 0.5))
    erf = b.add("Erf", [b.add("Div", [x.name, root], x.shape).name], x.shape)
    product = b.add("Mul", [x.name, b.add("Add", [erf.name, one], x.shape).name], x.shape)
    return b.add("Mul", [product.name, half], x.shape)


def reduce_more(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axes = sorted({1 + b.below(x.rank - 1) for _ in range(1 + b.below(2))})
    op, keep = b.pick(("ReduceL1", "ReduceL2", "ReduceMin", "ReduceSumSquare", "ReduceLogSumExp")), b.below(2)
    extra, attributes = b.axes_form([b.signed(axis, x.rank) for axis in axes], since=18)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return b.add(op, [x.name, *extra], shape, keepdims=keep, **attributes)


# -- sequences -------------------------------------------------------------------------------------------------------
def recurrent(b: Builder, x: Value) -> Value | None:
    """LSTM, GRU or RNN over rows of features, one way or both ways."""
    if x.rank != 3:
        return None
    n, length, features = x.shape
    op, hidden, both = b.pick((("LSTM", 4), ("GRU", 3), ("RNN", 1))), 1 + b.below(4), b.below(2)
    turned = b.add("Transpose", [x.name], [length, n, features], perm=[1, 0, 2])
    weights = [b.weight([1 + both, op[1] * hidden, size], size**-0.5) for size in (features, hidden)]
    name = f"n{len(b.nodes)}"
    direction = "bidirectional" if both else b.pick(("forward", "reverse"))
    whole = b.add(
        op[0], [turned.name, *weights], [length, 1 + both, n, hidden], hidden_size=hidden, direction=direction
    )
    assert whole.name.startswith(name)
    b.values.remove(whole)
    together = b.add("Transpose", [whole.name], [length, n, 1 + both, hidden], perm=[0, 2, 1, 3])
    rows = b.add("Reshape", [together.name, b.integers([0, 0, -1])], [length, n, (1 + both) * hidden])
    return b.add("Transpose", [rows.name], [n, length, rows.shape[-1]], perm=[1, 0, 2])


def attention(b: Builder, x: Value) -> Value | None:
    """Queries, keys and values by three layers, in heads now and then."""
    if x.rank != 3:
        return None
    n, length, features = x.shape
    heads, width = 1 + b.below(2), 1 + b.below(3)
    made = []
    for _ in range(3):
        weight = b.weight([features, heads * width], features**-0.5)
        rows = b.add("MatMul", [x.name, weight], [n, length, heads * width])
        split = b.add("Reshape", [rows.name, b.integers([0, -1, heads, width])], [n, length, heads, width])
        made.append(b.add("Transpose", [split.name], [n, heads, length, width], perm=[0, 2, 1, 3]))
    query, key, value = made
    keys = b.add("Transpose", [key.name], [n, heads, width, length], perm=[0, 1, 3, 2])
    scores = b.add("MatMul", [query.name, keys.name], [n, heads, length, length])
    weights = b.add("Softmax", [scores.name], scores.shape, axis=b.signed(3, 4))
    mixed = b.add("MatMul", [weights.name, value.name], value.shape)
    turned = b.add("Transpose", [mixed.name], [n, length, heads, width], perm=[0, 2, 1, 3])
    rows = b.add("Reshape", [turned.name, b.integers([0, 0, -1])], [n, length, heads * width])
    out = b.add("MatMul", [rows.name, b.weight([heads * width, features], 0.5)], x.shape)
    return b.add("Add", [x.name, out.name], x.shape)


def product(b: Builder, x: Value) -> Value | None:
    """A product of two values."""
    others = [v for v in b.values if v.rank == x.rank >= 2 and v.shape[:-1] == x.shape[:-1]]
    if not others:
        return None
    other, order = b.pick(others), [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    shape = [*x.shape[:-2], x.shape[-1], x.shape[-2]]
    turned = b.add("Transpose", [x.name], shape, perm=order)
    return b.add("MatMul", [turned.name, other.name], [*shape[:-1], other.shape[-1]])


# -- functions and onnxruntime's own --------------------------------------------------------------------------------
def called(b: Builder, x: Value) -> Value | None:
    """A function of the model that holds a layer, and now and then the node in front of it or its weight."""
    if x.rank < 2 or b.opset < 11:
        return None
    inner, outputs = x.shape[-1], 1 + b.below(4)
    before, inside = b.chance(0.5), b.chance(0.3)
    nodes = [helper.make_node("Relu", ["X"], ["R"])] if before else []
    weight = b.random.standard_normal((inner, outputs)).astype(np.float32)
    if inside:
        nodes.append(helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(weight, "W")))
    nodes.append(helper.make_node("MatMul", ["R" if before else "X", "W"], ["P"], name="fc"))
    slope = helper.make_node("LeakyRelu", ["P"], ["Y"])
    slope.attribute.add(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
    name, operands = f"Dense{len(b.functions)}", ["X"] if inside else ["X", "W"]
    b.functions.append(
        helper.make_function(
            LOCAL, name, operands, ["Y"], [*nodes, slope], [helper.make_opsetid("", b.opset)], ["slope"]
        )
    )
    given = [x.name] if inside else [x.name, b.constant(weight)]
    return b.add(name, given, [*x.shape[:-1], outputs], domain=LOCAL, slope=b.pick((0.1, 0.5)))


def own_layer(b: Builder, x: Value) -> Value | None:
    """FusedMatMul, FusedGemm or a layer with a Gelu behind, as onnxruntime's optimizers write them."""
    if x.rank < 2:
        return None
    inner, outputs, turned = x.shape[-1], 1 + b.below(6), b.below(2)
    weight = b.weight([outputs, inner] if turned else [inner, outputs], inner**-0.5)
    shape = [*x.shape[:-1], outputs]
    if x.rank == 2 and b.chance(0.4):
        attributes: dict[str, object] = {
            "transB": turned,
            "alpha": b.pick((1.0, 0.5)),
            "activation": b.pick(("Relu", "Tanh")),
        }
        return b.add("FusedGemm", [x.name, weight, b.weight([outputs])], shape, domain=MICROSOFT, **attributes)
    alpha = b.pick((1.0, 1.0, 0.25))
    y = b.add("FusedMatMul", [x.name, weight], shape, domain=MICROSOFT, transB=turned, alpha=alpha)
    op = b.pick(("BiasGelu", "FastGelu", "QuickGelu", ""))
    if not op:
        return y
    bias = [b.weight([outputs])] if op != "QuickGelu" else []
    return b.add(op, [y.name, *bias], shape, domain=MICROSOFT)


def skip_norm(b: Builder, x: Value) -> Value | None:
    """A residual and a norm in one node."""
    if x.rank != 3 or x.shape[-1] < 3:
        return None
    others = [v for v in b.values if v.shape == x.shape]
    weights = [b.weight(x.shape[-1:]) for _ in range(2 + b.below(2))]
    operands = [x.name, b.pick(others).name, *weights]
    return b.add("SkipLayerNormalization", operands, x.shape, domain=MICROSOFT, epsilon=0.01)


NETWORKS: dict[Step, int] = {
    wide_convolution: 3, transposed_convolution: 1, padded_pool: 1, norm: 2, activation: 2, reduce_more: 1,
    recurrent: 1, attention: 1, product: 1, called: 1, own_layer: 2, skip_norm: 1,
}  # fmt: skip
