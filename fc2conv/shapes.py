"""Shapes of values, as ONNX's own inference finds them on a skeleton from which every value_info was stripped.

A value_info may lie: inference keeps one that does, and the checker and onnxruntime accept the file. So none is
trusted; what inference cannot know stays a symbol.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, shape_inference

from fc2conv.contained import note
from fc2conv.corrections import Corrections, Shapes, sizes_of
from fc2conv.errors import InputError
from fc2conv.graph import scope_path, sort, subgraphs
from fc2conv.onnxfile import checkable


def inferred(
    model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]], overridable: Collection[str] = ()
) -> dict[str, Shapes]:
    """The known shapes of all values, by scope ("" is the main graph), then by name.

    They hold whatever a caller gives for the `overridable` initializers, which are inputs as well; `input_shapes` are
    those that inputs have in place of the declared ones. Raises InputError where inference finds a contradiction.
    """
    bare = checkable(model)
    # Below IR version 4 inference knows no initializer that is not an input too, and takes a Slice by it for a whole.
    bare.ir_version = max(bare.ir_version, 4)
    _drop(bare.graph, overridable)
    _prepare(bare.graph)
    for name, shape in input_shapes.items():
        _overwrite(bare.graph, name, shape)
    corrections = Corrections(bare.graph)
    out = _collected(_run(bare))
    while corrections.made(out):
        out = _collected(_run(bare))
    # What a graph says of its outputs may lie as well: it counts only where inference finds nothing.
    for value in model.graph.output:
        declared = sizes_of(value)
        if declared is not None:
            out[""].setdefault(value.name, declared)
    return out


def _drop(graph: GraphProto, names: Collection[str]) -> None:
    """Removes initializers, of which only the inputs of those names stay: inference takes a default for a constant."""
    for i, tensor in reversed(list(enumerate(graph.initializer))):
        if tensor.name in names:
            del graph.initializer[i]


def _prepare(graph: GraphProto, path: str = "") -> None:
    """Readies a throwaway copy: no value_info, nodes in order, and stand-ins for operators that ONNX does not know."""
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in sort(list(graph.node), path)]
    del graph.node[:]
    for node in nodes:
        _stand_in(node)
        for name, inner in subgraphs(node):
            _prepare(inner, scope_path(path, node, name))
    graph.node.extend(nodes)


STAND_INS = {
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearConv": ("Conv", (0, 3)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "BiasGelu": ("Add", (0, 1)),
    "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
    **dict.fromkeys(
        "Gelu FastGelu QuickGelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax LayerNormalization "
        "SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization".split(),
        ("Identity", (0,)),
    ),
}
"""For inference only: com.microsoft's operators as ONNX's own of the same shapes, with the operands that those take."""

_UNKNOWN_TO_THE_STAND_IN = frozenset("activation activation_alpha activation_beta alpha beta".split())


def _stand_in(node: NodeProto) -> None:
    if node.domain == "com.microsoft" and node.op_type in STAND_INS:
        node.op_type, operands = STAND_INS[node.op_type]
        node.domain = ""
        inputs = [node.input[i] for i in operands if i < len(node.input)]
        del node.input[:], node.output[1:]
        node.input.extend(inputs)
        kept = [
            AttributeProto.FromString(a.SerializeToString())
            for a in node.attribute
            if a.name not in _UNKNOWN_TO_THE_STAND_IN
        ]
        del node.attribute[:]
        node.attribute.extend(kept)


def _overwrite(graph: GraphProto, name: str, shape: tuple[int, ...]) -> None:
    for value in graph.input:
        if value.name == name:
            dims = value.type.tensor_type.shape.dim
            del dims[:]
            for size in shape:
                dims.add(dim_value=size)


def _run(model: ModelProto) -> ModelProto:
    note("onnx.shape_inference")
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
        pass  # strict inference stops at the first operator that it does not know
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"shape inference fails: {line}", "check the model with onnx.checker") from error


def _collected(model: ModelProto) -> dict[str, Shapes]:
    out: dict[str, Shapes] = {}
    _collect(model.graph, "", out)
    return out


def _collect(graph: GraphProto, path: str, out: dict[str, Shapes]) -> None:
    shapes: Shapes = {}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        shape = sizes_of(value)
        if shape is not None:
            shapes[value.name] = shape
    out[path] = shapes
    for node in graph.node:
        for name, inner in subgraphs(node):
            _collect(inner, scope_path(path, node, name), out)
