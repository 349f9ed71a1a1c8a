"""The walk over one model: a Value for every tensor, scope by scope, in the order of the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
)

from fc2conv.onnxfile import ModelFile, declared_size
from fc2conv.proof import folding, functions
from fc2conv.proof.ids import salt
from fc2conv.proof.nodes import Call, Kind, canonical, captured, evaluate, function_path, infer, scope_path
from fc2conv.proof.rules import model
from fc2conv.proof.values import Modelled, Value

Place = tuple[str, str]
"""A scope's path ("" for the main graph) and the name of a value in it.

Calls of one function are scopes of their own, as subgraphs are; as places of interest they are one (`Scope.place`).
"""

Special = Callable[["Scope", Call, Value], Value]
"""What stands for the first output of a node of interest, instead of its own value."""


@dataclass
class Trace:
    """One model on its walk, and all scopes that were walked, by path.

    `special` makes the values of some places; `settle` sees every value once it is made and may put another in its
    place; `shared` holds values by key, so that a node which another model has as well is not inferred anew;
    `is_shared` tells whether a large tensor is known to be the same in both models; `observed` has types and shapes
    that a run has shown, for what inference does not know.
    """

    file: ModelFile
    special: Mapping[Place, Special]
    settle: Callable[[Place, Value], Value]
    shared: Mapping[np.uint64, Value]
    is_shared: Callable[[Place, TensorProto], bool]
    observed: Mapping[str, Kind] = field(default_factory=dict)
    scopes: dict[str, Scope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        proto = self.file.model
        self.opsets = opsets(proto.opset_import)
        self.functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
        self._bodies = canonical(ModelProto(functions=proto.functions), self.file) if proto.functions else b""

    def called(self, node: NodeProto) -> FunctionProto | None:
        """The function that a node calls; None if it is an operator."""
        return self.functions.get((node.domain, node.op_type, node.overload))

    def meaning(self, node: NodeProto) -> bytes:
        """What a call that is not followed does: all functions."""
        return b"" if self.called(node) is None else self._bodies

    def run(self, shapes: Mapping[str, tuple[int, ...]]) -> Scope:
        """Walks the main graph, given the shapes of its inputs, and what is in it."""
        return self.main(shapes).run()

    def main(self, shapes: Mapping[str, tuple[int, ...]]) -> Scope:
        """The main graph, not yet walked."""
        main = Scope(self, Spot("", "", self.opsets), self.file.model.graph, {}, [])
        weights = {t.name for t in self.file.model.graph.initializer}
        for info in self.file.model.graph.input:
            if info.name not in weights:
                kind = info.type.tensor_type.elem_type
                key, shape = salt("input", info.name), shapes.get(info.name)
                main.values[info.name] = Value(key, info.name, shape, kind, live=True)
        return main

    @property
    def unshaped(self) -> list[str]:
        """The results of the main graph's nodes of which nothing tells the shape, not even those of their inputs."""
        main = self.scopes[""]
        unknown = [name for name, value in main.values.items() if value.shape is None]
        nodes = {name: node for name in unknown if (node := main.producer(name)) is not None}
        return [name for name, node in nodes.items() if node.domain or main.values[name].rule is None]


@dataclass(frozen=True)
class Spot:
    """Where a scope is: its own path, its path as a place of interest, its opsets, and how deep in calls it is."""

    path: str
    place: str
    opsets: Mapping[str, int]
    depth: int = 0

    def within(self, node: NodeProto, attribute: str) -> Spot:
        """A subgraph's."""
        path, place = (scope_path(path, node, attribute) for path in (self.path, self.place))
        return Spot(path, place, self.opsets, self.depth)

    def calling(self, node: NodeProto, function: FunctionProto) -> Spot:
        """A call's."""
        place = function_path(function)
        return Spot(scope_path(self.path, node, place), place, opsets(function.opset_import), self.depth + 1)


def opsets(imports: Sequence[OperatorSetIdProto]) -> dict[str, int]:
    """Versions by domain; "ai.onnx" is another way to write ""."""
    return {("" if o.domain == "ai.onnx" else o.domain): o.version for o in imports}


class Scope:
    """The values of one graph by name, with those that it sees from outside."""

    def __init__(
        self, trace: Trace, spot: Spot, graph: GraphProto, outer: Mapping[str, Value], given: Sequence[Value]
    ) -> None:
        self.trace, self.spot, self.graph = trace, spot, graph
        self.path, self.place = spot.path, spot.place
        self.values: dict[str, Value] = dict(outer)
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self.values.update((info.name, value) for info, value in zip(graph.input, given, strict=False))
        for proto in graph.initializer:
            owner = self._owner(proto.name, proto)
            self.values[proto.name] = folding.tensor(trace.file, proto, proto.name, owner)
        for sparse in graph.sparse_initializer:
            key = salt("sparse", sparse.SerializeToString(deterministic=True))
            self.values[sparse.values.name] = Value(key, sparse.values.name)
        trace.scopes[spot.path] = self

    def run(self) -> Scope:
        """Walks all nodes."""
        for node in self.in_order():
            self.step(node)
        return self

    def in_order(self) -> list[NodeProto]:
        """The nodes in the order in which they are walked."""
        return _in_order(self.graph.node, self._producers)

    def producer(self, name: str) -> NodeProto | None:
        """The node of this scope that makes a value."""
        return self._producers.get(name)

    def value(self, name: str) -> Value:
        """A value that was made, or one of which only the name is known."""
        return self.values.get(name) or Value(salt("unknown", name), name)

    def _owner(self, name: str, proto: TensorProto) -> object:
        shared = self.trace.is_shared((self.place, name), proto)
        return ("both", self.place) if shared else (id(self.trace.file), self.place)

    def call(self, node: NodeProto) -> Call:
        """A node of this scope with the values of its inputs."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        inputs = tuple(self.value(name) if name else None for name in node.input)
        return Call(node, inputs, self.trace.file, self.spot.opsets.get(domain, 0))

    def step(self, node: NodeProto) -> None:
        """Makes the values of one node."""
        trace, call = self.trace, self.call(node)
        live = trace.called(node) is None and any(v is not None and v.live for v in call.inputs)
        for name, value in zip(node.output, self._made(call), strict=True):
            value.live |= live
            if name:
                special = trace.special.get((self.place, name))
                made = value if special is None else special(self, call, value)
                self.values[name] = trace.settle((self.path, name), made)

    def _made(self, call: Call) -> list[Value]:
        """The values of a node's outputs: constants, modelled, or opaque."""
        node, trace = call.node, self.trace
        if node.op_type == "Constant" and call.domain == "":
            return [folding.constant_node(call, self._owner(node.output[0], node.attribute[0].t))]
        if (known := folding.special(call)) is not None:
            return known
        if (function := trace.called(node)) is not None and self.spot.depth < functions.MAX_DEPTH:
            return self._called(call, function)
        bodies = self._bodies(call)
        inputs = (*call.inputs, *bodies)
        signature = self._signature(call, inputs)
        keys = [salt(int(signature), i, [None if v is None else int(v.key) for v in inputs])
                for i in range(len(node.output))]  # fmt: skip
        if all(key in trace.shared for key in keys):
            return [trace.shared[key] for key in keys]
        kinds = self._kinds(call)
        constant = folding.folded(call, kinds)
        if constant is not None:
            return constant
        rules = [] if bodies else model(call)
        there = tuple(v for v in inputs if v is not None)
        doubt = next((v.doubt for v in there if v.doubt), "")
        made = []
        for i, (key, (kind, shape)) in enumerate(zip(keys, kinds, strict=True)):
            value = Value(key, call.label, shape, kind, salt(int(signature), i), there, doubt=doubt)
            made.append(_with_rule(call, i, value, rules[i] if i < len(rules) else None))
        return made

    def _signature(self, call: Call, inputs: Sequence[Value | None]) -> np.uint64:
        """What the node does to its inputs, as a hash; which of them are absent is a part of that."""
        node = call.node
        graphs = frozenset(a.name for a in node.attribute if a.type == AttributeProto.GRAPH)
        body = self.trace.meaning(node)
        once = node.output[0] if node.op_type.startswith(folding.RANDOM) else ""
        return salt(int(call.signature(graphs)), body, once, [v is None for v in inputs])

    def _kinds(self, call: Call) -> list[Kind]:
        found = infer(call, self.spot.opsets, self.trace.file.model.ir_version)
        seen = self.trace.observed if self.path == "" else {}
        return [seen.get(name, kind) if kind[1] is None else kind
                for name, kind in zip(call.node.output, found, strict=True)]  # fmt: skip

    def _called(self, call: Call, function: FunctionProto) -> list[Value]:
        """The results of a call: those of the function's nodes on what the call gives."""
        graph = functions.body(function, call.node)
        given = [value or Value(salt("absent"), call.label) for value in call.inputs]
        inner = Scope(self.trace, self.spot.calling(call.node, function), graph, {}, given).run()
        return [inner.value(name) for name in function.output[: len(call.node.output)]]

    def _bodies(self, call: Call) -> list[Value]:
        """The results of a node's subgraphs, each walked once on inputs of which only the place is known.

        Two nodes whose bodies do the same to such inputs do the same, however often they run them.
        """
        made: list[Value] = []
        for attribute in sorted(call.node.attribute, key=lambda a: a.name):
            if attribute.type == AttributeProto.GRAPH:
                spot = self.spot.within(call.node, attribute.name)
                given = [_given(call, attribute.g, spot.path, i) for i in range(len(attribute.g.input))]
                inner = Scope(self.trace, spot, attribute.g, self.values, given).run()
                made += [inner.value(info.name) for info in attribute.g.output]
        return made


def _given(call: Call, body: GraphProto, path: str, index: int) -> Value:
    """An input of a body: Loop's are those of the node, of Scan's only what is declared is known."""
    declared = body.input[index].type.tensor_type
    outer = call.inputs[index] if call.node.op_type == "Loop" and index < len(call.inputs) else None
    kind = declared.elem_type or (outer.elem_type if outer is not None else 0)
    shape = outer.shape if outer is not None else None
    sizes = [declared_size(dim) for dim in declared.shape.dim]
    if declared.HasField("shape") and None not in sizes:
        shape = tuple(size for size in sizes if size is not None)
    return Value(salt("given", path, index), body.input[index].name, shape, kind, live=True)


def _with_rule(call: Call, index: int, value: Value, rule: Modelled | None) -> Value:
    if rule is not None:
        value.parts, value.rule, value.moved = rule.parts, rule.rule, rule.moved
    constant = value.inputs and all(v.is_constant for v in value.inputs) and not value.doubt
    if constant and call.domain == "" and not call.node.op_type.startswith(folding.RANDOM):
        value.read = lambda: evaluate(call.node, call.opset, folding.arrays(call))[index]
    return value


def _in_order(nodes: Sequence[NodeProto], producers: Mapping[str, NodeProto]) -> list[NodeProto]:
    """The nodes, each after those that it reads from; in files in the wild they are not always so."""
    order: list[NodeProto] = []
    seen: set[int] = set()
    held = list(nodes)  # protobuf makes a new object for a node that nobody holds
    stack = [(node, False) for node in reversed(held)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            read = (producers.get(name) for name in reversed([*node.input, *captured(node)]))
            stack.extend((before, False) for before in read if before is not None and id(before) not in seen)
    return order
