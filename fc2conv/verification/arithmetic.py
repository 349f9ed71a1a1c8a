"""The arithmetic that made a value: the coarsest in which something was rounded on the way to it from the inputs.

A head in float32 whose result is cast to double, or put into a map of Python's floats, is as exact as float32. So the
type of a value says too little. The walk goes back from it through all that made it: a node that computes counts with
the floating-point type of its results, and a node that only moves or selects elements does not
count. A Cast counts where it narrows, and a node that quantizes above all, as the last bit of a float may tip a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, shape_inference

from fc2conv.io.forms import checkable
from fc2conv.sandbox import note
from fc2conv.verification.nodes import captured, subgraphs

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

MOVES = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Concat Gather GatherElements GatherND Scatter
ScatterElements ScatterND Expand Tile Pad DepthToSpace SpaceToDepth ReverseSequence Trilu Compress Where OneHot Cast
CastLike Relu Abs Neg Max Min MaxPool GlobalMaxPool ReduceMax ReduceMin TopK SequenceConstruct SequenceAt SequenceInsert
SplitToSequence ConcatFromSequence Optional OptionalGetElement Shape Size ConstantOfShape Constant ArrayFeatureExtractor
LabelEncoder CategoryMapper ZipMap""".split()
)
"""Operators of which each result is an element of an operand, with its sign or without, or a label of one."""


def coarsest(kinds: Iterable[str]) -> str:
    """The arithmetic that rounds most; "" of none."""
    order = list(TOLERANCES)
    return max(kinds, key=order.index, default="")


class Arithmetic:
    """The values of one model's main graph."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._makers = {name: node for node in model.graph.node for name in node.output if name}
        self._functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The coarsest arithmetic on the way to a value."""
        stack = [name]  # a loop, as models are deep
        while stack:
            node = self._makers.get(stack[-1])
            reads = [] if node is None else [each for each in (*node.input, *captured(node)) if each in self._makers]
            todo = [each for each in reads if each not in self._known]
            if todo and stack[-1] not in self._known:
                self._known[stack[-1]] = ""  # for a model that runs in a circle
                stack += todo
                continue
            if node is not None:
                self._known[stack[-1]] = coarsest([self._own(node), *(self._known[each] for each in reads)])
            stack.pop()
        return self._known.get(name, "")

    def whole(self) -> str:
        """The coarsest arithmetic of the model."""
        return coarsest(map(self.of, self._makers))

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a value."""
        return self._makers.get(name)

    def is_float(self, name: str) -> bool:
        """Whether a value is a tensor of floating-point numbers."""
        return self.types.get(name) in FLOATS

    @cached_property
    def types(self) -> dict[str, int]:
        """The element types of the main graph's values, as far as onnx's inference tells them; 0 where it does not."""
        note("onnx.shape_inference")
        try:
            graph = shape_inference.infer_shapes(checkable(self._model)).graph
        except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
            graph = self._model.graph
        found = {v.name: v.type for v in (*graph.value_info, *graph.output, *graph.input)}
        return {name: _element(kind) for name, kind in found.items()} | {t.name: t.data_type for t in graph.initializer}

    @cached_property
    def _only(self) -> str | None:
        """The one floating-point type that is named anywhere in the model; None where there are several."""
        graphs = [self._model.graph, *self._model.functions]
        kinds = {kind for graph in graphs for kind in _named(graph)}
        return None if len(kinds) > 1 else next(iter(kinds), "float32")

    def _own(self, node: NodeProto) -> str:
        """What a node rounds to by itself."""
        if "Quantize" in node.op_type or node.op_type.startswith(("QLinear", "QGemm", "QAttention", "QEmbed")):
            return "quantized"
        function = self._functions.get((node.domain, node.op_type, node.overload))
        inner = [function] if function is not None else list(subgraphs(node))
        if inner:
            return coarsest([self._computed(node), *(kind for graph in inner for kind in self._inside(graph))])
        if node.op_type not in MOVES:
            return self._computed(node)
        return self._narrowed(node) if node.op_type in ("Cast", "CastLike") and self._only is None else ""

    def _inside(self, graph: GraphProto | FunctionProto) -> Iterator[str]:
        yield from _named(graph)
        yield from map(self._own, graph.node)

    def _computed(self, node: NodeProto) -> str:
        if self._only is not None:
            return self._only
        made = [self.types.get(name, 0) for name in node.output if name]
        if all(made):
            return coarsest(FLOATS[kind] for kind in made if kind in FLOATS)
        read = (self.types.get(name, 0) for name in node.input)  # `ai.onnx.ml` computes in float32 whatever it reads
        return coarsest(["float32", *(FLOATS[kind] for kind in read if kind in FLOATS)])

    def _narrowed(self, node: NodeProto) -> str:
        """What a Cast rounds to; "" where each number of its operand is one of its result as well."""
        kind = self.types.get(node.input[0], 0)
        source, result = FLOATS.get(kind, ""), FLOATS.get(self.types.get(node.output[0], 0), "")
        integer = kind and not source
        return "" if integer or coarsest([source, result]) == source else result


def _named(graph: GraphProto | FunctionProto) -> Iterator[str]:
    """The arithmetic of each floating-point type that is named in a graph: of tensors, of values, of casts."""
    if isinstance(graph, GraphProto):
        kinds = [_element(v.type) for v in (*graph.input, *graph.output)] + [t.data_type for t in graph.initializer]
        yield from (FLOATS[kind] for kind in kinds if kind in FLOATS)
    for node in graph.node:
        for attribute in node.attribute:
            kind = attribute.t.data_type if attribute.HasField("t") else attribute.i
            named = attribute.HasField("t") or attribute.name in ("to", "dtype", "output_dtype")
            if named and kind in FLOATS:
                yield FLOATS[kind]
        for inner in subgraphs(node):
            yield from _named(inner)


def _element(kind: TypeProto) -> int:
    """The element type of a tensor, or of what a sequence or an optional holds; 0 of anything else."""
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return _element(getattr(kind, which).elem_type)
    return kind.tensor_type.elem_type if which == "tensor_type" else 0
