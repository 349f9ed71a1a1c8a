"""The walk over one model: a Value for every tensor, in the order of the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from fc2conv.onnxfile import ModelFile
from fc2conv.verify.ids import salt
from fc2conv.verify.nodes import SMALL, Call, canonical, captured, evaluate, infer, subgraphs
from fc2conv.verify.rules import Modelled, model
from fc2conv.verify.values import UnmodelledError, Value

Special = Callable[["Trace", Call, Value], Value]
"""What stands for the first output of a node of interest, instead of its own value."""

_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")


class Trace:
    """Values of one model by name.

    `special` maps a value's name to what makes its Value; `settle` sees every value once it is made and may put
    another in its place; `shared` holds values by key, so that a node that another model has as well is not inferred
    anew; `is_shared` tells whether a large tensor of that name is known to be the same in both models.
    """

    def __init__(
        self,
        file: ModelFile,
        shapes: Mapping[str, tuple[int, ...]],
        special: Mapping[str, Special],
        settle: Callable[[str, Value], Value],
        shared: Mapping[np.uint64, Value],
        is_shared: Callable[[str, TensorProto], bool],
    ) -> None:
        self.file = file
        self.values: dict[str, Value] = {}
        self.opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in file.model.opset_import}
        self._special, self._settle, self._shared, self._is_shared = special, settle, shared, is_shared
        bodies = canonical(ModelProto(functions=file.model.functions), file) if file.model.functions else b""
        self._functions = {(f.domain, f.name): bodies for f in file.model.functions}
        self._producers = {name: node for node in file.model.graph.node for name in node.output if name}
        self._sources(file.model.graph, shapes)

    def run(self) -> None:
        """Walks all nodes of the main graph."""
        for node in _in_order(self.file.model.graph.node, self._producers):
            self._step(node)

    def producer(self, name: str) -> NodeProto | None:
        """The node that makes a value."""
        return self._producers.get(name)

    def call(self, node: NodeProto) -> Call:
        """A node with the values of its inputs; UnmodelledError where one is not known."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        inputs = tuple(self._value(name) if name else None for name in node.input)
        return Call(node, inputs, self.file, self.opsets.get(domain, 0))

    def _value(self, name: str) -> Value:
        """A value that was made, or one of which only the name is known."""
        return self.values.get(name) or Value(salt("unknown", name), name)

    def _sources(self, graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for tensor in graph.initializer:
            self.values[tensor.name] = self._settle(tensor.name, self._tensor(tensor, tensor.name))
        for sparse in graph.sparse_initializer:
            key = salt("sparse", sparse.SerializeToString(deterministic=True))
            self.values[sparse.values.name] = Value(key, sparse.values.name)
        for info in graph.input:
            if info.name not in self.values:
                kind = info.type.tensor_type.elem_type
                self.values[info.name] = Value(salt("input", info.name), info.name, shapes.get(info.name), kind)

    def _tensor(self, tensor: TensorProto, name: str) -> Value:
        shape = tuple(tensor.dims)
        file = self.file
        if np.prod(shape, dtype=np.int64) <= SMALL:
            return _number(file.array(tensor), tensor.data_type, name)
        owner: object = "both" if self._is_shared(name, tensor) else id(file)
        key = salt("tensor", owner, name, tensor.data_type, shape)
        return Value(key, name, shape, tensor.data_type, read=lambda: file.array(tensor))

    def _step(self, node: NodeProto) -> None:
        call = self.call(node)
        outer = captured(node) if any(True for _ in subgraphs(node)) else []
        made = self._constant(call) or self._made(call, [*call.inputs, *(self._value(name) for name in outer)])
        for name, value in zip(node.output, made, strict=True):
            if name:
                special = self._special.get(name)
                self.values[name] = self._settle(name, value if special is None else special(self, call, value))

    def _made(self, call: Call, inputs: list[Value | None]) -> list[Value]:
        """The values of a node's outputs, modelled or opaque."""
        signature = call.signature()
        if (call.node.domain, call.node.op_type) in self._functions:
            signature = salt(signature, self._functions[call.node.domain, call.node.op_type])
        if call.node.op_type.startswith(_RANDOM):
            signature = salt(signature, call.node.output[0])
        keys = [salt(int(signature), i, [None if v is None else int(v.key) for v in inputs]) for i in
                range(len(call.node.output))]  # fmt: skip
        if all(key in self._shared for key in keys):
            return [self._shared[key] for key in keys]
        types = infer(call, self.opsets, self.file.model.ir_version)
        parts = tuple(v for v in inputs if v is not None)
        doubt = next((v.doubt for v in parts if v.doubt), "")
        rules = model(call) if len(parts) == sum(bool(n) for n in call.node.input) else []
        made = []
        for i, (key, (kind, shape)) in enumerate(zip(keys, types, strict=True)):
            value = Value(key, call.label, shape, kind, salt(int(signature), i), parts, None, None, doubt)
            made.append(self._with_rule(call, i, value, rules[i] if i < len(rules) else None))
        return made

    def _with_rule(self, call: Call, index: int, value: Value, rule: Modelled | None) -> Value:
        inputs = value.parts
        if rule is None:
            return value
        value.parts, value.rule = rule.parts, rule.rule
        if inputs and all(v.is_constant for v in inputs) and not value.doubt:
            value.read = lambda: evaluate(call.node, call.opset, _arrays(call))[index]
        return value

    def _constant(self, call: Call) -> list[Value] | None:
        """The value of a node that is a constant, or small and made of nothing else; None for other nodes."""
        node = call.node
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            return [self._constant_node(call)]
        source = call.inputs[0] if call.inputs else None
        if source is None:
            return None
        if node.op_type == "ConstantOfShape":
            return self._filled(call, source)
        if node.op_type in ("Shape", "Size") and source.shape is not None:
            dims = np.array(source.shape, dtype=np.int64)
            told = dims[slice(*_span(call, len(dims)))] if node.op_type == "Shape" else np.array(np.prod(dims))
            return [_number(told.astype(np.int64), TensorProto.INT64, call.label)]
        return self._folded(call)

    def _constant_node(self, call: Call) -> Value:
        attribute = call.node.attribute[0]
        if attribute.name == "value":
            return self._tensor(attribute.t, call.node.output[0])
        if attribute.name == "sparse_value":
            return Value(salt("sparse", attribute.sparse_tensor.SerializeToString(deterministic=True)), call.label)
        array = evaluate(call.node, call.opset, [])[0]
        return _number(array, _kind(array), call.label)

    def _filled(self, call: Call, source: Value) -> list[Value] | None:
        if not source.is_constant:
            return None
        shape = tuple(int(n) for n in source.array())
        given = next((a.t for a in call.node.attribute if a.name == "value"), None)
        fill = np.zeros((), dtype=np.float32) if given is None else self.file.array(given).reshape(())
        kind = TensorProto.FLOAT if given is None else given.data_type
        key = salt("filled", kind, shape, fill.tobytes())
        return [Value(key, call.label, shape, kind, read=lambda: np.broadcast_to(fill, shape))]

    def _folded(self, call: Call) -> list[Value] | None:
        inputs = [v for v in call.inputs if v is not None]
        if not inputs or not all(v.is_constant and _count(v) <= SMALL for v in inputs):
            return None
        if call.node.op_type.startswith(_RANDOM) or any(True for _ in subgraphs(call.node)):
            return None
        try:
            arrays = evaluate(call.node, call.opset, _arrays(call))
        except UnmodelledError:
            return None
        if any(array.size > SMALL for array in arrays):
            return None
        kinds = infer(call, self.opsets, self.file.model.ir_version)
        return [_number(a, kind or _kind(a), call.label) for a, (kind, _) in zip(arrays, kinds, strict=True)]


def _in_order(nodes: Sequence[NodeProto], producers: Mapping[str, NodeProto]) -> list[NodeProto]:
    """The nodes, each after those that it reads from; in files in the wild they are not always so."""
    order: list[NodeProto] = []
    seen: set[int] = set()
    stack = [(node, False) for node in reversed(nodes)]
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


def _number(array: NDArray[Any], kind: int, name: str) -> Value:
    key = salt("number", kind, array.shape, np.ascontiguousarray(array).tobytes())
    return Value(key, name, tuple(array.shape), kind, read=lambda: array)


def _kind(array: NDArray[Any]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _count(value: Value) -> int:
    return int(np.prod(value.shape or (), dtype=np.int64))


def _arrays(call: Call) -> list[NDArray[Any] | None]:
    return [None if v is None else v.array() for v in call.inputs]


def _span(call: Call, rank: int) -> tuple[int, int]:
    """Where Shape's `start` and `end` cut, clamped as the specification says."""
    ends = (int(call.attributes.get("start", 0)), int(call.attributes.get("end", rank)))
    first, last = (min(max(e + rank if e < 0 else e, 0), rank) for e in ends)
    return first, last
