"""The arithmetic that made a value: the coarsest in which something was rounded on the way to it from the inputs.

A head in float32 whose result is cast to double, or put into a map of Python's floats, is as exact as float32. So the
type of a value says too little. Each node on the way counts with the type of its results. One that only moves elements
does not count, and one that quantizes counts above all, as the last bit of a float may tip a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, shape_inference

from fc2conv.io.forms import checkable
from fc2conv.sandbox import note
from fc2conv.verification.nodes import captured, in_order, subgraphs

TOLERANCES = {
    "": (0.0, 0.0),
    "float64": (1e-10, 1e-12),
    "float32": (1e-4, 1e-6),
    "bfloat16": (1e-2, 1e-3),
    "float16": (1e-2, 1e-3),
    "quantized": (5e-2, 1e-5),
}
"""(rtol, atol) by arithmetic, from none to the coarsest, against the largest magnitude of the value.

Sums of 25088 float32 products in another order part by about 1e-6 of the range, wrong layouts by about 1. Where a model
quantizes, the results part by a step.
"""

FLOATS = {
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT16: "float16",
    **{kind: "quantized" for name, kind in TensorProto.DataType.items() if name.startswith(("FLOAT8", "FLOAT4"))},
}
"""The arithmetic of each floating-point element type; one of 8 bits has so few numbers that they are steps."""

_QUANTIZE = ("QLinear", "QGemm", "QAttention", "QEmbed")
_MOVE = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Concat Gather Expand Tile Pad Where Relu Max Min
MaxPool ArgMax TopK Shape Size Constant Cast CastLike ZipMap""".split()
)
"""Operators of which each result is an element of an operand, or a label of one; a Cast rounds where it narrows."""


def coarsest(kinds: Iterable[str]) -> str:
    """The arithmetic that rounds most; "" of none."""
    return max(kinds, key=list(TOLERANCES).index, default="")


def element_types(model: ModelProto) -> dict[str, int]:
    """The element types of the main graph's values, as far as onnx's inference knows them; 0 where it does not."""
    note("onnx.shape_inference")
    try:
        graph = shape_inference.infer_shapes(checkable(model)).graph
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
        graph = model.graph
    found = {v.name: v.type for v in (*graph.value_info, *graph.output, *graph.input)}
    return {name: _element(kind) for name, kind in found.items()} | {t.name: t.data_type for t in graph.initializer}


def arithmetic(model: ModelProto) -> dict[str, str]:
    """The coarsest arithmetic on the way to each value of the main graph."""
    types, known = element_types(model), dict[str, str]()
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}

    def own(node: NodeProto) -> Iterator[str]:
        function = functions.get((node.domain, node.op_type, node.overload))
        for graph in [function] if function else subgraphs(node):
            given = (types.get(name) for name in (*node.input, *captured(node)))
            yield from (*_inside(graph), *(FLOATS[kind] for kind in given if kind in FLOATS))
        made = [types.get(name, 0) for name in node.output if name]
        if "Quantize" in node.op_type or node.op_type.startswith(_QUANTIZE):
            yield "quantized"
        elif node.op_type not in _MOVE:  # `ai.onnx.ml` computes in float32, whatever it reads
            yield from (FLOATS[kind] for kind in made if kind in FLOATS) if all(made) else ["float32"]
        elif node.op_type in ("Cast", "CastLike") and node.input and made:
            before = types.get(node.input[0], 0)
            if before in FLOATS and coarsest([FLOATS[before], FLOATS.get(made[0], "")]) != FLOATS[before]:
                yield FLOATS[made[0]]

    for node in in_order(model.graph.node):
        read = (known[name] for name in (*node.input, *captured(node)) if name in known)
        known |= dict.fromkeys(node.output, coarsest([*own(node), *read]))
    return known


def _inside(graph: GraphProto | FunctionProto) -> Iterator[str]:
    """The arithmetic of each type that is named within a graph: of its inputs, its weights and its casts."""
    for node in graph.node:
        kinds = [a.i for a in node.attribute if a.name == "to"] + [a.t.data_type for a in node.attribute]
        yield from (FLOATS[kind] for kind in kinds if kind in FLOATS)
        if "Quantize" in node.op_type or node.op_type.startswith(_QUANTIZE):
            yield "quantized"
        yield from (kind for inner in subgraphs(node) for kind in _inside(inner))


def _element(kind: TypeProto) -> int:
    """The element type of a tensor, or of what a sequence or an optional holds; 0 of anything else."""
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return _element(getattr(kind, which).elem_type)
    return kind.tensor_type.elem_type if which == "tensor_type" else 0
