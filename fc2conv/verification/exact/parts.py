"""Fused and quantized operators, written as the operators that they are made of.

Each of these nodes is walked as a call of a function, so that it needs no rule of arithmetic. What a call leaves out is
left out in the body; a node of the body takes over the attributes of the call that its operator has. Attributes of an
activation have names of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import pi, prod, sqrt
from typing import Any

import numpy as np
import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper, parser

from fc2conv.verification.exact.bodies import BODIES
from fc2conv.verification.exact.terms import ABSENT, Shape, Term
from fc2conv.verification.nodes import body_of

OPSETS = {"": 17, "com.microsoft": 1}
CONSTANTS = {"zero": 0.0, "one": 1.0, "half": 0.5, "root": sqrt(2.0), "cubic": 0.044715, "bend": sqrt(2 / pi)}
"""Numbers that bodies name; they have the type of the call's first operand."""

_TEXTS = {text.split("<")[0].split("(")[0].strip(): text for text in BODIES.replace("\n    ", " ").splitlines() if text}
_TEXTS["TransposeMatMul"] = _TEXTS["FusedMatMul"]
_OF_SHAPES = ("%(spatial)s", "%(axes)s", "%(to_map)s", "%(tokens)s", "%(across)s", "%(perm_a)s", "%(perm_b)s")
"""The fields of a body that the shape of an operand decides, the last one that of the second operand."""
_NEEDED = {"DequantizeLinear": 1, "Identity": 1, "Split": 1, "Gather": 2}
"""How many operands must be given: without them there is no result."""
_HOLES = 19
"""The operator set from which on an AveragePool has dilations."""
_OF_POWERS = {"LpPool": (2,), "GlobalLpPool": (1, 2)}
"""The powers for which pooling by a norm is written in parts."""
_OLDER_NORM = frozenset({"across_channels", "normalize_variance"})
"""The attributes of a MeanVarianceNormalization before opset 9, which has other moments."""
_CHANNELS_LAST = ("QLinearGlobalAveragePool", "GroupNorm")
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max")}
"""The attributes or operands that `activation_params` stand for."""


def body(node: NodeProto, operands: Sequence[Term]) -> tuple[GraphProto, dict[str, int]] | None:
    """Return the parts of a node as a graph, with its opsets; None where it is not written in parts.

    The factor of a product multiplies a stored operand, as it may be rounded into that.
    """
    shapes = [None if each is ABSENT else each.shape for each in operands]
    if node.op_type not in _TEXTS and node.op_type not in ("Attention", "LSTM"):
        return None
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = "BentGelu" if node.op_type == "Gelu" and given.get("approximate") == b"tanh" else node.op_type
    if name.endswith("Attention"):
        name = _attention(node, given, shapes)
    if name == "LSTM":
        name = "BothWays" if _both_ways(given) else ""
    if (name == "Celu" and given.get("alpha", 1.0) <= 0) or (name == "Compress" and "axis" not in given):
        return None
    if name == "MeanVarianceNormalization" and given.keys() & _OLDER_NORM:
        return None
    if name not in _TEXTS or (given.get("channels_last") and name not in _CHANNELS_LAST):
        return None
    if name in _OF_POWERS and (given.get("ceil_mode") or given.get("p", 2) not in _OF_POWERS[name]):
        return None  # no window may end beyond the padding
    asked = [each in _TEXTS[name] for each in _OF_SHAPES]
    if None in shapes[: any(asked) + asked[-1]]:
        return None
    fields = _fields(node, given, shapes) | {"scaled": _scaled(given.get("alpha", 1.0), operands)}
    if not fields["spatial"] and "Global" in name:
        return None  # no runtime takes a map without sides
    graph = body_of(_function(_TEXTS[name] % fields), node)
    opset = min(OPSETS[""], int(given.get("opset", OPSETS[""])))
    opset = _HOLES if name == "LpPool" and "dilations" in given else opset
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend(_kept(own, node))
    graph.initializer.extend(_constants(graph, operands[0]))
    return graph, {**OPSETS, "": opset}


def _both_ways(given: dict[str, Any]) -> bool:
    """Return whether an LSTM is one in each direction, with the same functions."""
    half = len(given.get("activations", [])) // 2
    alike = given.get("activations", [])[:half] == given.get("activations", [])[half:]
    own = any(given.get(each) for each in ("layout", "activation_alpha", "activation_beta"))
    return given.get("direction") == b"bidirectional" and alike and not own


def _constants(graph: GraphProto, first: Term) -> Iterator[TensorProto]:
    """Yield the constants that a body reads, as tensors of the type of the first operand."""
    read = {name for node in graph.node for name in node.input}
    for name in CONSTANTS.keys() & read:
        dtype = helper.tensor_dtype_to_np_dtype(first.kind if first.kind > 0 else TensorProto.FLOAT)
        yield numpy_helper.from_array(np.asarray(CONSTANTS[name]).astype(dtype), name)


@lru_cache(maxsize=256)
def _function(text: str) -> FunctionProto:
    return parser.parse_function(f'<domain: "parts", opset_import: ["" : 17]> {text}')


def _kept(nodes: Sequence[NodeProto], call: NodeProto) -> list[NodeProto]:
    """Drop nodes whose operands are absent, and pass the attributes of the call to the others."""
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
    """Return the fields that bodies leave open, by name."""
    ranks, size = [len(shape or ()) for shape in shapes], int(given.get("size", 1))
    others = [1] * (ranks[0] - 2) if ranks else []
    axes, nhwc = list(range(ranks[0] if ranks else 0)), given.get("channels_last", 1)
    inwards, outwards = [*axes[:1], *axes[-1:], *axes[1:-1]], [*axes[:1], *axes[2:], *axes[1:2]]
    joined = [f"a{i}" for i in range(2, len(node.input), 3)]
    return {
        "activation": _activation(given),
        "across": [size, *others],
        "axes": list(given.get("axes", axes)),
        "moments": list(given.get("axes", [0, 2, 3])),
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
    """Name the body of an attention over all tokens; "" where it masks, remembers or packs."""
    first, second = (*shapes, None, None)[:2]
    there = [i for i, name in enumerate(node.input) if name]
    plain = not any(given.get(name) for name in _BEYOND) and given.get("kv_num_heads", _heads(given)) == _heads(given)
    if first is None or len(node.output) > 1 or not plain:
        return ""
    if len(first) == 4:
        as_many = node.domain == "" and there == [0, 1, 2] and second is not None and second[1] == first[1]
        return "HeadAttention" if as_many else ""
    if len(first) != 3 or not _heads(given):
        return ""
    if node.op_type == "Attention" and node.domain == "com.microsoft":
        width = (second or (0,))[-1]  # of three products, each as wide as the input
        return "SelfAttention" if {*there} <= {0, 1, 2, 5} and width == 3 * first[-1] else ""
    if node.op_type == "Attention":
        return "TokenAttention" if {*there} <= {0, 1, 2} else ""
    return node.op_type if node.op_type == "MultiHeadAttention" and {0, 1, 2} <= {*there} <= {0, 1, 2, 3, 5} else ""


_BEYOND = ("unidirectional", "do_rotary", "qkv_hidden_sizes", "is_causal", "softcap", "qk_matmul_output_mode")
"""Attributes of an attention that change what it computes."""


def _heads(given: dict[str, Any]) -> int:
    return int(given.get("num_heads", given.get("q_num_heads", 0)))


def _scale(given: dict[str, Any], shapes: Sequence[Shape | None]) -> float:
    """Return the factor of an attention's scores."""
    first = next((shape for shape in shapes if shape), (1,))
    heads = 1 if len(first) > 3 else max(1, _heads(given))  # what has a dimension of heads is as wide as one of them
    return float(given.get("scale", 0.0) or 1 / sqrt(max(1, first[-1] // heads)))


def _scaled(alpha: float, operands: Sequence[Term]) -> str:
    """Write y = k c d as nodes: k multiplies the first stored operand, and is left out where it is 1."""
    if alpha == 1.0:
        return "y = MatMul(c, d)"
    stored = [each.foldable for each in operands]
    if True not in stored:
        return "m = MatMul(c, d) y = Mul(m, k)"
    return "e = Mul(c, k) y = MatMul(e, d)" if stored.index(True) == 0 else "e = Mul(d, k) y = MatMul(c, e)"


def _turned(rank: int, first: int | None, swapped: int | None) -> list[int]:
    """Return the perm that moves the first dimension, of rows, after the batch, and swaps the last two dimensions."""
    axes = [*range(1, rank - 1), 0, rank - 1] if first and rank > 1 else list(range(rank))
    return [*axes[:-2], *axes[:-3:-1]] if swapped and rank > 1 else axes


def _activation(given: dict[str, Any]) -> str:
    """Write the nodes that make y of s by the activation of a fused operator."""
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
