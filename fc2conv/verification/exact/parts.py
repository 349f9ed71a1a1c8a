"""Fused and quantized operators, written as the operators that they are made of.

A node of theirs is walked as a call of a function, so that no rule of arithmetic is needed for it. What a call leaves
out is left out in the body; a node of the body takes over the attributes of the call that its operator has. Those of
an activation have names of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import pi, prod, sqrt
from typing import Any

import numpy as np
import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper, parser

from fc2conv.verification.exact.terms import ABSENT, Shape, Term
from fc2conv.verification.nodes import body_of

OPSETS = {"": 17, "com.microsoft": 1}
CONSTANTS = {"zero": 0.0, "one": 1.0, "half": 0.5, "root": sqrt(2.0), "cubic": 0.044715, "bend": sqrt(2 / pi)}
"""Numbers that bodies name; they have the type of the call's first operand."""

_BODIES = """
Gelu (x) => (y) { d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half) }
BentGelu (x) => (y) { s = Mul(x, x) c = Mul(s, x) k = Mul(c, cubic) r = Add(x, k) b = Mul(r, bend) t = Tanh(b)
    a = Add(t, one) m = Mul(x, a) y = Mul(m, half) }
BiasAdd (x, b, z) => (y) { s = Add(x, b) y = Add(s, z) }
BiasDropout (x, b, z, p, t) => (y, m) { s = Add(x, b) d, m = Dropout(s, p, t) y = Add(d, z) }
BiasGelu (x, b) => (y) { s = Add(x, b) y = Gelu(s) }
FastGelu (x, b) => (y) { s = Add(x, b) y = Gelu<approximate = "tanh">(s) }
Swish <alpha: float = 1.0> (x) => (y) { a = Constant<value_float: float = @alpha>() m = Mul(x, a) g = Sigmoid(m)
    y = Mul(x, g) }
QuickGelu <alpha: float = 1.702> (x) => (y) { a = Constant<value_float: float = @alpha>() m = Mul(x, a) g = Sigmoid(m)
    y = Mul(x, g) }
HardSigmoid <alpha: float = 0.2, beta: float = 0.5> (x) => (y) { a = Constant<value_float: float = @alpha>()
    b = Constant<value_float: float = @beta>() m = Mul(x, a) s = Add(m, b) y = Clip(s, zero, one) }
GlobalAveragePool (x) => (y) { y = ReduceMean<axes = %(spatial)s>(x) }
GlobalMaxPool (x) => (y) { y = ReduceMax<axes = %(spatial)s>(x) }
GlobalLpPool (x) => (y) { y = ReduceL%(p)s<axes = %(spatial)s>(x) }
LpPool (x) => (y) { q = Mul(x, x) m = AveragePool<count_include_pad = 1>(q) k = Constant<value_float = %(cells)s>()
    s = Mul(m, k) y = Sqrt(s) }
HardSwish (x) => (y) { h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, h) }
Softplus (x) => (y) { e = Exp(x) a = Add(e, one) y = Log(a) }
Mish (x) => (y) { s = Softplus(x) t = Tanh(s) y = Mul(x, t) }
Softsign (x) => (y) { a = Abs(x) b = Add(a, one) y = Div(x, b) }
ReduceL1 (x, a) => (y) { b = Abs(x) %(over)s y = ReduceSum(b, o) }
ReduceSumSquare (x, a) => (y) { q = Mul(x, x) %(over)s y = ReduceSum(q, o) }
ReduceL2 (x, a) => (y) { q = Mul(x, x) %(over)s s = ReduceSum(q, o) y = Sqrt(s) }
ReduceLogSum (x, a) => (y) { %(over)s s = ReduceSum(x, o) y = Log(s) }
ReduceLogSumExp (x, a) => (y) { e = Exp(x) %(over)s s = ReduceSum(e, o) y = Log(s) }
LpNormalization (x) => (y) { n = Constant<value_ints = [%(axis)s]>() r = ReduceL%(p)s<keepdims = 1>(x, n)
    y = Div(x, r) }
LRN <alpha: float = 0.0001, beta: float = 0.75, bias: float = 1.0> (x) => (y) { q = Mul(x, x)
    a = Constant<value_float: float = @alpha>() b = Constant<value_float: float = @beta>()
    c = Constant<value_float: float = @bias>() i = Constant<value_ints = [1]>() u = Unsqueeze(q, i)
    p = AveragePool<kernel_shape = %(across)s, pads = %(across_pads)s, count_include_pad = 1>(u)
    s = Squeeze(p, i) m = Mul(s, a) n = Add(m, c) o = Pow(n, b) y = Div(x, o) }
SelfAttention (x, w, b, i, p, r) => (y) { m = MatMul(x, w) a = Add(m, b) q, k, v = Split<axis = 2>(a)
    y = com.microsoft.MultiHeadAttention<num_heads = %(heads)s, scale = %(scale)s>(q, k, v, "", "", r) }
MultiHeadAttention (q, k, v, b, i, r) => (y) { d, e, f = Split<axis = 0>(b) l = Add(q, d) m = Add(k, e) n = Add(v, f)
    h = Constant<value_ints = [0, 0, %(heads)s, -1]>() rq = Reshape(l, h) rk = Reshape(m, h) rv = Reshape(n, h)
    tq = Transpose<perm = [0, 2, 1, 3]>(rq) tk = Transpose<perm = [0, 2, 3, 1]>(rk)
    tv = Transpose<perm = [0, 2, 1, 3]>(rv) s = MatMul(tq, tk) c = Constant<value_float = %(scale)s>() t = Mul(s, c)
    u = Add(t, r) p = Softmax<axis = -1>(u) z = MatMul(p, tv) o = Transpose<perm = [0, 2, 1, 3]>(z)
    g = Constant<value_ints = [0, 0, -1]>() y = Reshape(o, g) }
TokenAttention (q, k, v) => (y) {
    y = com.microsoft.MultiHeadAttention<num_heads = %(heads)s, scale = %(scale)s>(q, k, v) }
HeadAttention (q, k, v) => (y) { t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t)
    c = Constant<value_float = %(scale)s>() m = Mul(s, c) p = Softmax<axis = -1>(m) y = MatMul(p, v) }
EmbedLayerNormalization <epsilon: float = 1e-12> (i, j, w, p, z, g, b, k, n) => (y, m, s) { a = Gather(w, i)
    o = Constant<value_ints = [0]>() l = Constant<value_ints = [%(tokens)s]>() q = %(positions)s c = Gather(z, j)
    d = Add(a, q) s = Add(d, c) y = LayerNormalization<axis = -1, epsilon: float = @epsilon>(s, g, b)
    e = Sub(i, i) h = Constant<value_ints = [1]>() m = %(mask)s }
GroupNorm <epsilon: float = 0.00001> (x, g, b) => (y) { t = Transpose<perm = %(to_map)s>(x)
    i = Constant<value_ints = [0, %(groups)s, -1]>() r = Reshape(t, i)
    n = LayerNormalization<axis = -1, epsilon: float = @epsilon>(r, one) k = Shape(t) m = Reshape(n, k)
    u = Transpose<perm = %(channels_last)s>(m) v = Mul(u, g) w = Add(v, b) %(activated)s
    y = Transpose<perm = %(back)s>(a) }
SkipLayerNormalization <epsilon: float = 1e-12> (x, z, w, c, b) => (y, m, v, s) { t = Add(x, z) s = Add(t, b)
    y, m, v = LayerNormalization<axis = -1, epsilon: float = @epsilon>(s, w, c) }
SkipSimplifiedLayerNormalization <epsilon: float = 1e-12> (x, z, w, b) => (y, m, v, s) { t = Add(x, z) s = Add(t, b)
    y, v = SimplifiedLayerNormalization<axis = -1, epsilon: float = @epsilon>(s, w) }
NhwcConv (x, w, b) => (y) { t = Transpose<perm = %(to_map)s>(x) k = Transpose<perm = %(to_map)s>(w) c = Conv(t, k, b)
    y = Transpose<perm = %(channels_last)s>(c) }
NhwcFusedConv (x, w, b, z) => (y) { c = com.microsoft.NhwcConv(x, w, b) s = Add(c, z) %(activation)s }
FusedConv (x, w, b, z) => (y) { c = Conv(x, w, b) s = Add(c, z) %(activation)s }
FusedGemm (a, b, c) => (y) { s = Gemm(a, b, c) %(activation)s }
FusedMatMul <alpha: float = 1.0> (a, b) => (y) { c = Transpose<perm = %(perm_a)s>(a) d = Transpose<perm = %(perm_b)s>(b)
    k = Constant<value_float: float = @alpha>() %(scaled)s }
MatMulIntegerToFloat (a, b, u, v, i, j, c) => (y) { p = MatMulInteger(a, b, i, j) f = Cast<to = 1>(p) s = Mul(u, v)
    m = Mul(f, s) y = Add(m, c) }
DynamicQuantizeMatMul (a, b, v, j, c) => (y) { q, u, i = DynamicQuantizeLinear(a) p = MatMulInteger(q, b, i, j)
    f = Cast<to = 1>(p) s = Mul(u, v) m = Mul(f, s) y = Add(m, c) }
QLinearConv (x, u, i, w, v, j, s, z, b) => (y) { c = DequantizeLinear(x, u, i) d = DequantizeLinear<axis = 0>(w, v, j)
    t = Mul(u, v) e = DequantizeLinear<axis = 0>(b, t) r = Conv(c, d, e) y = QuantizeLinear(r, s, z) }
QLinearMatMul (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear<axis = -2>(a, u, i)
    d = DequantizeLinear<axis = -1>(b, v, j) r = MatMul(c, d) y = QuantizeLinear(r, s, z) }
QGemm <alpha: float = 1.0> (a, u, i, b, v, j, o, s, z) => (y) { c = DequantizeLinear(a, u, i)
    d = DequantizeLinear<axis = %(axis)s>(b, v, j) m = Mul(u, v) f = Constant<value_float: float = @alpha>()
    t = Mul(m, f) e = DequantizeLinear(o, t) r = Gemm(c, d, e) y = QuantizeLinear(r, s, z) }
QLinearAdd (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j) r = Add(c, d)
    y = QuantizeLinear(r, s, z) }
QLinearMul (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j) r = Mul(c, d)
    y = QuantizeLinear(r, s, z) }
QLinearWhere (k, a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j)
    r = Where(k, c, d) y = QuantizeLinear(r, s, z) }
QLinearSigmoid (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = Sigmoid(c) y = QuantizeLinear(r, s, z) }
QLinearLeakyRelu (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = LeakyRelu(c) y = QuantizeLinear(r, s, z) }
QLinearSoftmax <axis: int = -1> (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i)
    r = Softmax<axis: int = @axis>(c) y = QuantizeLinear(r, s, z) }
QLinearAveragePool (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = AveragePool(c)
    y = QuantizeLinear(r, s, z) }
QLinearGlobalAveragePool (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = ReduceMean<axes = %(spatial)s>(c)
    y = QuantizeLinear(r, s, z) }
QLinearReduceMean (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = ReduceMean<axes = %(axes)s>(c)
    y = QuantizeLinear(r, s, z) }
ReduceSumInteger (x) => (y) { c = Cast<to = 6>(x) o = Constant<value_ints = %(axes)s>() y = ReduceSum(c, o) }
QLinearConcat (s, z, %(names)s) => (y) { %(parts)s r = Concat(%(numbers)s) y = QuantizeLinear(r, s, z) }
"""
_TEXTS = {
    text.split("<")[0].split("(")[0].strip(): text for text in _BODIES.replace("\n    ", " ").splitlines() if text
}
_TEXTS["TransposeMatMul"] = _TEXTS["FusedMatMul"]
_OF_SHAPES = ("%(spatial)s", "%(axes)s", "%(to_map)s", "%(tokens)s", "%(across)s", "%(perm_a)s", "%(perm_b)s")
"""What a body leaves open that the shape of an operand says, the last one that of the second."""
_NEEDED = {"DequantizeLinear": 1, "Identity": 1, "Split": 1, "Gather": 2}
"""How many operands must be there: without them there is no result."""
_HOLES = 19
"""The operator set from which on an AveragePool has dilations."""
_OF_POWERS = {"LpPool": (2,), "GlobalLpPool": (1, 2)}
"""The powers of which pooling by a norm is written in parts."""
_CHANNELS_LAST = ("QLinearGlobalAveragePool", "GroupNorm")
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max")}
"""What `activation_params` are."""


def body(node: NodeProto, operands: Sequence[Term]) -> tuple[GraphProto, dict[str, int]] | None:
    """Return the parts of a node as a graph, with its opsets; None where there are none to be written.

    A factor of a product is one of an operand that is stored, as it may be rounded into that.
    """
    shapes = [None if each is ABSENT else each.shape for each in operands]
    if node.op_type not in _TEXTS and node.op_type != "Attention":
        return None
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = "BentGelu" if node.op_type == "Gelu" and given.get("approximate") == b"tanh" else node.op_type
    if name.endswith("Attention"):
        name = _attention(node, given, shapes)
    if name not in _TEXTS or (given.get("channels_last") and name not in _CHANNELS_LAST):
        return None
    if name in _OF_POWERS and not _plain_norm(name, given):
        return None
    asked = [each in _TEXTS[name] for each in _OF_SHAPES]
    if None in shapes[: any(asked) + asked[-1]]:
        return None
    fields = _fields(node, given, shapes) | {"scaled": _scaled(operands)}
    if not fields["spatial"] and "Global" in name:
        return None  # no runtime takes a map without sides
    graph = body_of(_function(_TEXTS[name] % fields), node)
    opset = min(OPSETS[""], int(given.get("opset", OPSETS[""])))
    opset = _HOLES if name == "LpPool" and max(given.get("dilations", (1,))) > 1 else opset
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend(_kept(own, node))
    return graph, {**OPSETS, "": opset}


def _plain_norm(name: str, given: dict[str, Any]) -> bool:
    """Whether pooling by a norm is written in parts: no window ends behind the padding."""
    return not given.get("ceil_mode") and given.get("p", 2) in _OF_POWERS[name]


def constants(graph: GraphProto, first: Term) -> Iterator[TensorProto]:
    """Yield the constants that a body reads, as tensors of the type of the first operand."""
    read = {name for node in graph.node for name in node.input}
    for name in CONSTANTS.keys() & read:
        dtype = helper.tensor_dtype_to_np_dtype(first.kind if first.kind > 0 else TensorProto.FLOAT)
        yield numpy_helper.from_array(np.asarray(CONSTANTS[name]).astype(dtype), name)


@lru_cache(maxsize=256)
def _function(text: str) -> FunctionProto:
    return parser.parse_function(f'<domain: "parts", opset_import: ["" : 17]> {text}')


def _kept(nodes: Sequence[NodeProto], call: NodeProto) -> list[NodeProto]:
    """Leave out what works on absent operands, and hand the attributes of the call down."""
    absent: set[str] = set()
    kept = []
    last = next((helper.get_attribute_value(a).decode() for a in call.attribute if a.name == "activation" and a.s), "")
    for node in nodes:
        names = ["" if name in absent else name for name in node.input]
        if not all(names[: _NEEDED.get(node.op_type, 0)]):
            absent.update(node.output)
            continue
        if "" in names and (node.op_type == "Add" or (node.op_type == "QuantizeLinear" and not names[1])):
            node = helper.make_node("Identity", [next(filter(None, names))], node.output)
        else:
            node.input[:] = names
        known, own = _attributes(node.op_type), {a.name for a in node.attribute}
        passed = known - own if node.op_type != last else ()
        node.attribute.extend(a for a in call.attribute if a.name in passed)
        kept.append(node)
    return kept


@lru_cache(maxsize=256)
def _attributes(name: str) -> frozenset[str]:
    return frozenset(onnx.defs.get_schema(name).attributes) if onnx.defs.has(name) else frozenset()


def _fields(node: NodeProto, given: dict[str, Any], shapes: Sequence[Shape | None]) -> dict[str, object]:
    """What the bodies leave open."""
    ranks, size = [len(shape or ()) for shape in shapes], int(given.get("size", 1))
    others = [1] * (ranks[0] - 2) if ranks else []
    axes, nhwc = list(range(ranks[0] if ranks else 0)), given.get("channels_last", 1)
    inwards, outwards = [*axes[:1], *axes[-1:], *axes[1:-1]], [*axes[:1], *axes[2:], *axes[1:2]]
    joined = [f"a{i}" for i in range(2, len(node.input), 3)]
    return {
        "activation": _activation(given),
        "across": [size, *others],
        "axes": list(given.get("axes", axes)),
        "cells": float(prod(given.get("kernel_shape", ()))),
        "across_pads": [(size - 1) // 2, *(0 for _ in others), size // 2, *(0 for _ in others)],
        "heads": _heads(given),
        "groups": int(given.get("groups", 1)),
        "to_map": inwards if nhwc else axes,
        "channels_last": outwards,
        "back": axes if nhwc else inwards,
        "activated": "e = Sigmoid(w) a = Mul(w, e)" if given.get("activation") else "a = Identity(w)",
        "positions": "Gather(p, n)" if any(node.input[8:9]) else "Slice(p, o, l)",
        "mask": "com.microsoft.CountOfMask(k)" if any(node.input[7:8]) else "ReduceSum<keepdims = 0>(e, h)",
        "tokens": (shapes[0] or (0,))[-1] if shapes else 0,
        "scale": _scale(given, shapes),
        "axis": 1 - int(given.get("transB", 0)) if node.op_type == "QGemm" else int(given.get("axis", -1)),
        "over": f"o = Constant<value_ints = {list(given['axes'])}>()" if given.get("axes") else "o = Identity(a)",
        "p": int(given.get("p", 2)),
        "spatial": list(range(1, ranks[0] - 1) if given.get("channels_last") else range(2, ranks[0])),
        "perm_a": _turned(ranks[0], given.get("transBatchA"), given.get("transA")),
        "perm_b": _turned(ranks[1], given.get("transBatchB"), given.get("transB")) if len(ranks) > 1 else [],
        "names": ", ".join(f"{a}, {a}s, {a}z" for a in joined),
        "parts": " ".join(f"{a}d = DequantizeLinear({a}, {a}s, {a}z)" for a in joined),
        "numbers": ", ".join(f"{a}d" for a in joined),
    }


def _attention(node: NodeProto, given: dict[str, Any], shapes: Sequence[Shape | None]) -> str:
    """The body of an attention over all tokens; "" where it masks, remembers or packs."""
    first = shapes[0] if shapes else None
    there = [i for i, name in enumerate(node.input) if name]
    plain = not any(given.get(name) for name in _BEYOND) and given.get("kv_num_heads", _heads(given)) == _heads(given)
    if (
        first is not None
        and len(first) == 4
        and node.domain == ""
        and len(node.output) == 1
        and plain
        and there == [0, 1, 2]
    ):
        keys = shapes[1] if len(shapes) > 1 else None
        return "HeadAttention" if keys is not None and keys[1] == first[1] else ""
    if first is None or len(first) != 3 or len(node.output) > 1 or not plain or not _heads(given):
        return ""
    if node.op_type == "Attention" and node.domain == "com.microsoft":
        width = ((*shapes, None)[1] or (0,))[-1]  # of three products, each as wide as the input
        return "SelfAttention" if {*there} <= {0, 1, 2, 5} and width == 3 * first[-1] else ""
    if node.op_type == "Attention":
        return "TokenAttention" if {*there} <= {0, 1, 2} else ""
    return node.op_type if node.op_type == "MultiHeadAttention" and {0, 1, 2} <= {*there} <= {0, 1, 2, 3, 5} else ""


_BEYOND = ("unidirectional", "do_rotary", "qkv_hidden_sizes", "is_causal", "softcap", "qk_matmul_output_mode")
"""Attributes of an attention that change what it computes."""


def _heads(given: dict[str, Any]) -> int:
    return int(given.get("num_heads", given.get("q_num_heads", 0)))


def _scale(given: dict[str, Any], shapes: Sequence[Shape | None]) -> float:
    """The factor of an attention's scores."""
    width = next((shape[-1] for shape in shapes if shape), 1)
    return float(given.get("scale", 0.0) or 1 / sqrt(max(1, width // max(1, _heads(given)))))


def _scaled(operands: Sequence[Term]) -> str:
    """The nodes that make y = k c d, the factor first with what is stored."""
    stored = [each.foldable for each in operands]
    if True not in stored:
        return "m = MatMul(c, d) y = Mul(m, k)"
    return "e = Mul(c, k) y = MatMul(e, d)" if stored.index(True) == 0 else "e = Mul(d, k) y = MatMul(c, e)"


def _turned(rank: int, first: int | None, swapped: int | None) -> list[int]:
    """The permutation that brings rows from the first dimension behind those of the batch, and swaps the last two."""
    axes = [*range(1, rank - 1), 0, rank - 1] if first and rank > 1 else list(range(rank))
    return [*axes[:-2], *axes[:-3:-1]] if swapped and rank > 1 else axes


def _activation(given: dict[str, Any]) -> str:
    """The nodes that make y of s by what a fused operator applies last."""
    chosen = given.get("activation")
    name = chosen.decode() if isinstance(chosen, bytes) and chosen else "Identity"
    numbers = dict(zip(_PARAMETERS.get(name, ()), map(float, given.get("activation_params", ())), strict=False))
    numbers |= {key.removeprefix("activation_"): float(value) for key, value in given.items()
                if key.startswith("activation_") and isinstance(value, int | float)}  # fmt: skip
    if name == "Clip":
        ends = {key: value for key, value in numbers.items() if key in _PARAMETERS[name]}
        made = " ".join(f"{key} = Constant<value_float = {value!r}>()" for key, value in ends.items())
        return f"{made} y = Clip(s, " + ", ".join(key if key in ends else '""' for key in _PARAMETERS[name]) + ")"
    attributes = ", ".join(f"{key} = {value!r}" for key, value in numbers.items())
    return f"y = {name}<{attributes}>(s)" if attributes else f"y = {name}(s)"
