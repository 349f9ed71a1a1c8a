"""Shapes of values, as ONNX's own inference finds them on a skeleton from which every value_info was stripped.

A value_info may lie: inference keeps one that does, and the checker and onnxruntime accept the file. So none is
trusted but those of what custom operators give; what inference cannot know stays a symbol.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from math import prod

import onnx
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    shape_inference,
)

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.io.custom_ops import stated_shapes
from fc2conv.io.forms import checkable
from fc2conv.io.sizes import explicit
from fc2conv.ir.arithmetic import MOST
from fc2conv.ir.graph import Graph, new_node, onnx_opset, op, opset_versions, reads, scope_path, sort, subgraphs, walk
from fc2conv.ir.schema import schema_of
from fc2conv.ir.subgraph_shapes import CORRECTED, Corrections, Shapes, declared_in, sizes_of
from fc2conv.sandbox import note


def inferred(
    model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]], graph: Graph | None = None
) -> dict[str, Shapes]:
    """Return the known shapes of all values, by scope ("" is the main graph), then by name.

    They hold whatever a caller gives for the overridable initializers of `graph`, the main graph. `input_shapes`
    replace the declared shapes of inputs, and state those of other values. Raise UsageError where inference knows the
    shape of one of these, InputError where it finds a contradiction.
    """
    graph = Graph.of(model, freeze=True) if graph is None else graph
    plain = not model.functions and _plain(graph)
    bare = checkable(model)
    # Below IR version 4 inference knows no initializer that is not an input too, and takes a Slice by it for a whole.
    bare.ir_version = max(bare.ir_version, 4)
    _drop(bare.graph, graph.overridable)
    _prepare_model(bare, plain=plain)
    values = {value.name: value for value in bare.graph.input}
    inner = {name: shape for name, shape in input_shapes.items() if name not in values}
    for name in input_shapes.keys() - inner.keys():
        _overwrite(values[name], input_shapes[name])
    corrections = None if plain and CORRECTED.isdisjoint(graph.kinds) else Corrections(bare.graph)
    out = _corrected(bare, corrections)
    stated = {} if plain else stated_shapes(model)
    said = {**stated, **{name: _declared(model, name, shape) for name, shape in inner.items()}}
    places = {name: place for name, place in _places(bare.graph) if name in said} if said else {}
    lacking = {name: place for name, place in places.items() if name not in out.get(place[0], {})}
    for name in inner.keys() & places.keys() - lacking.keys():
        what = f"--overwrite-input-shape names {name!r}, which is no input"
        raise UsageError(f"{what} and has a shape already", f"the inputs are {', '.join(values)}")
    if lacking:
        for name, (_, scope) in lacking.items():
            scope.value_info.append(said[name])
        out = _corrected(bare, corrections)
    # What a graph says of its outputs may lie as well: it counts only where inference finds nothing.
    for value in model.graph.output:
        declared = sizes_of(value)
        if declared is not None:
            out[""].setdefault(value.name, declared)
    return out


def _plain(graph: Graph) -> bool:
    """Return whether inference takes the nodes of a main graph as they are, in their order."""
    known = graph.ordered and not graph.bodies and "STFT" not in graph.kinds
    return known and all(_knows(kind, graph.opset) for kind in set(graph.kinds))


@lru_cache(maxsize=1024)
def _knows(kind: str, opset: int) -> bool:
    """Return whether inference knows the results of an operator of ONNX's own."""
    schema = schema_of(kind, opset, "")
    return schema is not None and schema.has_type_and_shape_inference_function


def _drop(graph: GraphProto, names: Collection[str]) -> None:
    """Remove initializers and keep the inputs of the same names: inference takes a default for a constant."""
    for i, tensor in reversed(list(enumerate(graph.initializer))):
        if tensor.name in names:
            del graph.initializer[i]


@dataclass(frozen=True)
class _Seen:
    """What a scope sees: operator sets, functions, dimensions of constants, ranks of inputs, types of outputs.

    `few` are the nodes that make small constants.
    """

    opsets: Mapping[str, int]
    functions: Collection[tuple[str, str, str]]
    constants: ChainMap[str, Sequence[int]]
    ranks: Mapping[str, int]
    few: ChainMap[str, NodeProto]
    types: Mapping[str, int] = field(default_factory=dict)

    def within(self, graph: GraphProto) -> _Seen:
        """Return the same for the nodes of a graph."""
        initializers: dict[str, Sequence[int]] = {tensor.name: tensor.dims for tensor in graph.initializer}
        types = {value.name: value.type.tensor_type.elem_type for value in graph.output}
        constants = self.constants.new_child(initializers | _constants(graph.node))
        return replace(self, constants=constants, few=self.few.new_child(_few(graph)), types=types)


def _constants(nodes: Iterable[NodeProto]) -> dict[str, Sequence[int]]:
    return {node.output[0]: a.t.dims for node in nodes if op(node) == "Constant" for a in node.attribute}


def _few(graph: GraphProto) -> dict[str, NodeProto]:
    """Return the nodes that make the small constants of a graph, for its subgraphs."""
    if not any(True for node in graph.node for _ in subgraphs(node)):
        return {}
    few = (tensor for tensor in graph.initializer if prod(tensor.dims) <= MOST)
    found = {tensor.name: new_node("Constant", [], [tensor.name], "", value=tensor) for tensor in few}
    return found | {node.output[0]: node for node in graph.node if op(node) == "Constant"}


def _prepare_model(model: ModelProto, *, plain: bool) -> None:
    """Prepare a throwaway copy: no value_info, nodes in order, and stand-ins for operators that ONNX does not know.

    Leave the nodes of a `plain` model as they are.
    """
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in model.graph.input}
    functions = {(each.domain, each.name, each.overload) for each in model.functions}
    seen = _Seen(opset_versions(model), functions, ChainMap(), ranks, ChainMap())
    _prepare(model.graph, "", seen, plain=plain)
    for function in model.functions:
        del function.value_info[:]
        opsets = {entry.domain: int(entry.version) for entry in function.opset_import}
        constants: ChainMap[str, Sequence[int]] = ChainMap(_constants(function.node))
        nodes = _stand_ins(list(function.node), "", _Seen(opsets, functions, constants, {}, ChainMap()))
        del function.node[:]
        function.node.extend(nodes)


def _prepare(graph: GraphProto, path: str, outer: _Seen, *, plain: bool = False) -> None:
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    before = list(graph.node)
    nodes = [*before] if plain else _stand_ins(sort(before, path), path, outer.within(graph))
    given = {value.name for value in graph.input}
    for value in graph.output:
        if value.name in given:  # inference would take the shape of the result for that of the input
            name = f"{value.name} as it is given"
            nodes.append(new_node("Identity", [value.name], [name], ""))
            value.name = name
    if path:  # inference knows the numbers of a scope's own constants alone
        own = {*_made(path, graph), *(tensor.name for tensor in graph.initializer)}
        read = (name for name in dict.fromkeys(reads(nodes)) if name in outer.few and name not in own)
        nodes = [*map(outer.few.__getitem__, read), *nodes]
    if nodes != before:
        del graph.node[:]
        graph.node.extend(nodes)


def _stand_ins(nodes: Iterable[NodeProto], path: str, seen: _Seen) -> list[NodeProto]:
    out: list[NodeProto] = []
    for node in nodes:
        for name, inner in subgraphs(node):
            _prepare(inner, scope_path(path, node, name), seen)
        called = (node.domain, node.op_type, node.overload) in seen.functions
        if called or _knows(op(node), onnx_opset(seen.opsets)):
            out.append(explicit(node))
            continue
        from fc2conv.ir.stand_ins import stand_in

        out += stand_in(node, seen.constants, seen.ranks, seen.types) or [node]
    return out


def _corrected(model: ModelProto, corrections: Corrections | None) -> dict[str, Shapes]:
    if corrections is None:
        return {"": declared_in(_run(model).graph)}
    while True:
        found = _run(model)
        out = {path: declared_in(scope) for path, scope in walk(found.graph)}
        if len(out) > 1:
            _take_types(model.graph, found.graph)
        if not corrections.made(out):
            return out


def _take_types(graph: GraphProto, inferred: GraphProto) -> None:
    """Write the types that inference finds for the inputs of bodies that have no type."""
    for (_, here), (_, there) in zip(walk(graph), walk(inferred), strict=True):
        for value, found in zip(here.input, there.input, strict=True):
            if value.type.WhichOneof("value") is None:
                value.type.CopyFrom(found.type)


def inner_values(model: ModelProto) -> set[str]:
    """Return the values of all scopes that are no inputs or constants of the model."""
    return {name for path, scope in walk(model.graph) for name in _made(path, scope)}


def _places(graph: GraphProto) -> Iterator[tuple[str, tuple[str, GraphProto]]]:
    """Yield the values that are made, each with its scope and the path of that."""
    return ((name, (path, scope)) for path, scope in walk(graph) for name in _made(path, scope))


def _made(path: str, scope: GraphProto) -> set[str]:
    """Return the names that the nodes of a scope make, and those of the inputs of a body."""
    return {name for node in scope.node for name in node.output if name} | {v.name for v in scope.input if path}


def _declared(model: ModelProto, name: str, shape: Sequence[int]) -> ValueInfoProto:
    """Declare a value's shape; its type is what the file says, or that of most values."""
    infos = (value for _, graph in walk(model.graph) for value in graph.value_info if value.name == name)
    kind = next((value.type.tensor_type.elem_type for value in infos), 0) or TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, [size if size > 0 else None for size in shape])


def _overwrite(value: ValueInfoProto, shape: tuple[int, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        dims.add(dim_value=size if size > 0 else None)


REFUSALS = (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError)
"""What inference raises; the last where it compares an element type with one that is not known."""


def _run(model: ModelProto) -> ModelProto:
    note("onnx.shape_inference")
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except REFUSALS:
        pass  # strict inference stops at the first operator that it does not know
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except REFUSALS as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"shape inference fails: {line}", "check the model with onnx.checker") from error


def as_input(tensor: TensorProto) -> ValueInfoProto:
    """Return the entry of an initializer among the inputs, which IR < 4 requires."""
    return helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
