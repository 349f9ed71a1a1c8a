"""An index over one scope of a model: producers, readers, constants, attributes.

A scope is the main graph or a subgraph of If, Loop or Scan. Names of outer scopes are visible in inner ones. Nothing
here mutates the model. (Vocabulary of onnx-ir: producer, uses, const value.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from fc2conv.errors import InputError
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.tensors import quoted
from fc2conv.ir.attributes import made_attribute

OWN_INITIALIZERS = 4
"""The IR version from which on an initializer is no input; before, it is one, and a subgraph has no initializer."""
OWN = {f"com.microsoft::{name}": name for name in ("QuantizeLinear", "DequantizeLinear")}
"""What onnxruntime has in its own domain for more types than ONNX had at the time."""
_SCANS_ONE = 9
"""From this opset a Scan has no batch."""
_GRAPH, _GRAPHS = AttributeProto.GRAPH, AttributeProto.GRAPHS


def op(node: NodeProto) -> str:
    """Return the operator's name, with its domain unless that is ONNX's own: `Gemm`, `com.microsoft::FusedGemm`."""
    return node.op_type if node.domain in ONNX_DOMAINS else f"{node.domain}::{node.op_type}"


def own_op(node: NodeProto) -> str:
    """Return the operator's name; ONNX's own name for an operator that onnxruntime has for more types."""
    return OWN.get(kind := op(node), kind)


def label(node: NodeProto) -> str:
    """Return what a person calls the node: its name, or its first output's where it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def attribute(node: NodeProto, name: str) -> AttributeProto | None:
    """Return the named attribute; None where it is absent (which differs from a present 0)."""
    found: AttributeProto
    for found in node.attribute[:]:  # a slice is a list, whose end is no exception as that of a protobuf field is
        if found.name == name:
            return found
    return None


def int_attribute(node: NodeProto, name: str, default: int) -> int:
    """Return an integer attribute or its default."""
    found = attribute(node, name)
    return default if found is None else int(found.i)


def float_attribute(node: NodeProto, name: str, default: float) -> float:
    """Return a float attribute or its default."""
    found = attribute(node, name)
    return default if found is None else float(found.f)


def ints_attribute(node: NodeProto, name: str) -> list[int] | None:
    """Return an integer-list attribute; None where it is absent."""
    found = attribute(node, name)
    return None if found is None else list(found.ints)


def text_attribute(node: NodeProto, name: str, default: str) -> str:
    """Return a text attribute or its default."""
    found = attribute(node, name)
    return default if found is None else found.s.decode("utf-8", "replace")


def permutation(node: NodeProto, rank: int) -> list[int] | None:
    """Return the `perm` of a Transpose of a value of this rank; None where it does not permute its dimensions."""
    perm = ints_attribute(node, "perm") or list(reversed(range(rank)))
    return perm if sorted(perm) == list(range(rank)) else None


def subgraphs(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """Yield the graphs in a node's attributes, each with the attribute's name."""
    for a in node.attribute[:]:
        if a.type == _GRAPH:
            yield a.name, a.g
        elif a.type == _GRAPHS:
            yield from ((f"{a.name}[{i}]", g) for i, g in enumerate(a.graphs))


def walk(graph: GraphProto, path: str = "") -> Iterator[tuple[str, GraphProto]]:
    """Yield a graph and the graphs in its nodes, an outer one before those within it, each with its path."""
    yield path, graph
    for node in graph.node:
        for name, inner in subgraphs(node):
            yield from walk(inner, scope_path(path, node, name))


def reads(nodes: Iterable[NodeProto], *, within: bool = True) -> Iterator[str]:
    """Yield the names that nodes and their subgraphs read; unless `within`, only those from outside the subgraphs."""
    for node in nodes:
        yield from filter(None, node.input[:])
        for _, inner in subgraphs(node) if node.attribute else ():
            made = [] if within else [*inner.input, *inner.initializer]
            own = {each.name for each in made} | {name for each in inner.node if not within for name in each.output}
            names = (*reads(inner.node, within=within), *(value.name for value in inner.output))
            yield from (name for name in names if name not in own)


class Graph:
    """One scope, indexed once: `nodes` in topological order, `producer` and `uses` as positions in it.

    Parallel to the nodes are their operators (`kinds`), `operands` and `results`; `bodies` are the graphs in them, each
    with the node's position and the attribute. They are `ordered` where the file has them so. `element_types` are those
    that were asked for. `unchanged` are values around that a Loop or a Scan hands on as they are, by their names here.

    No value has two makers: validate.py has seen to that. Raises InputError for a cycle.
    """

    def __init__(
        self,
        proto: GraphProto,
        opsets: dict[str, int],
        *,
        ir_version: int,
        outer: Graph | None = None,
        path: str = "",
        freeze: bool = False,
    ) -> None:
        self.proto = proto
        self.opsets = opsets
        self.ir_version = ir_version
        self.outer = outer
        self.path = path
        self.initializers = {t.name: t for t in proto.initializer}
        self.inputs = [v.name for v in proto.input]
        # IR < 4 lists every initializer as an input; from 4 on such an initializer is a default that callers replace.
        overridable = outer is None and ir_version >= OWN_INITIALIZERS and not freeze
        self.overridable = {name for name in self.inputs if name in self.initializers} if overridable else set()
        self.unchanged: dict[str, str] = {}
        self.element_types: dict[str, int] = {}
        self._index(list(proto.node))
        self.ordered = self._in_order()
        if not self.ordered:
            self._index(sort(self.nodes, path))

    def _index(self, nodes: list[NodeProto]) -> None:
        self.nodes, self.kinds = nodes, list(map(op, nodes))
        self.operands = [tuple(each.input[:]) for each in nodes]
        self.results = [tuple(each.output[:]) for each in nodes]
        self.bodies = [(i, *each) for i, node in enumerate(nodes) if node.attribute for each in subgraphs(node)]
        self.producer = {name: i for i, names in enumerate(self.results) for name in names if name}
        self.uses: dict[str, list[int]] = {}
        for i, names in enumerate(self.operands):
            for name in dict.fromkeys(filter(None, names)):
                self.uses.setdefault(name, []).append(i)

    def _in_order(self) -> bool:
        """Return whether every value is made before it is read."""
        early = all(self.producer.get(name, -1) < readers[0] for name, readers in self.uses.items())
        inner = ((i, name) for i, *_ in self.bodies for name in reads([self.nodes[i]], within=False))
        return early and all(self.producer.get(name, -1) < i for i, name in inner)

    @classmethod
    def of(cls, model: ModelProto, *, freeze: bool = False) -> Graph:
        """Return the scope of a model's main graph; with `freeze` no caller replaces its initializers."""
        return cls(model.graph, opset_versions(model), ir_version=model.ir_version, freeze=freeze)

    def within(self, node: NodeProto, name: str, proto: GraphProto) -> Graph:
        """Return the scope of a subgraph, which is an attribute of a node of this scope."""
        path = scope_path(self.path, node, name)
        inner = Graph(proto, self.opsets, ir_version=self.ir_version, outer=self, path=path)
        inner.unchanged = dict(_unchanged(node, inner))
        return inner

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operator set that holds in this scope."""
        return onnx_opset(self.opsets)

    @property
    def around(self) -> tuple[Graph, ...]:
        """This scope and those around it, from the inside out."""
        return (self, *(() if self.outer is None else self.outer.around))

    @property
    def outermost(self) -> Graph:
        """The scope around all others, whose inputs are the model's."""
        return self.around[-1]

    @cached_property
    def outputs(self) -> list[str]:
        """The names that leave the scope."""
        return [value.name for value in self.proto.output]

    @cached_property
    def captured(self) -> dict[str, list[int]]:
        """Names that subgraphs of this scope's nodes read, with the positions of those nodes."""
        out: dict[str, list[int]] = {}
        for i, _, inner in self.bodies:
            for name in (*reads(inner.node), *(value.name for value in inner.output)):
                if i not in out.setdefault(name, [])[-1:]:
                    out[name].append(i)
        return out

    @cached_property
    def leaving(self) -> set[str]:
        """The names that leave the scope, or that subgraphs read."""
        return {*self.captured, *self.outputs}

    @cached_property
    def read(self) -> set[str]:
        """The names that are read in the scope or in subgraphs, or that leave it."""
        return {*self.uses, *self.leaving}

    def only_reader(self, name: str) -> int | None:
        """Return the position of the one node that reads a value; None where anything else reads it."""
        uses = self.uses.get(name, [])
        return uses[0] if len(uses) == 1 and name not in self.leaving else None

    def made_by(self, name: str) -> NodeProto | None:
        """Return the node of this scope that makes a value; None where no node does."""
        i = self.producer.get(name)
        return None if i is None else self.nodes[i]

    def concat(self, name: str, axis: int, rank: int) -> NodeProto | None:
        """Return the Concat along a dimension that makes a value of this rank; None where another node makes it."""
        node = self.made_by(name)
        joins = node is not None and op(node) == "Concat" and int_attribute(node, "axis", 1) % rank == axis
        return node if joins else None

    def joined(self, concat: NodeProto, axis: int, rank: int, through: Callable[[str], bool]) -> Iterator[str]:
        """Yield what is concatenated, through every Concat along that dimension whose result `through` lets pass."""
        for name in concat.input:
            inner = self.concat(name, axis, rank) if through(name) else None
            yield from (name,) if inner is None else self.joined(inner, axis, rank, through)

    @cached_property
    def names(self) -> set[str]:
        """Every name of a node, and of a value that is here, that a subgraph reads, or whose shape is stated."""
        out = {*self.initializers, *self.inputs, *self.leaving, *(value.name for value in self.proto.value_info)}
        return out.union(*self.operands, *self.results, (node.name for node in self.nodes))


def _unchanged(node: NodeProto, body: Graph) -> Iterator[tuple[str, str]]:
    """Yield the values that a node carries without a change, each with the outer value that it starts from."""
    if op(node) != "Loop" and (op(node) != "Scan" or body.opset < _SCANS_ONE):
        return
    first = 2 if op(node) == "Loop" else 0
    for i in range(first, len(node.input) - int_attribute(node, "num_scan_inputs", 0)):
        name = body.outputs[i - first // 2] if i - first // 2 < len(body.outputs) else ""
        while (maker := body.made_by(name)) is not None and op(maker) == "Identity":
            name = maker.input[0]
        if i < len(body.inputs) and name == body.inputs[i] and node.input[i]:
            yield name, node.input[i]


def scope_path(path: str, node: NodeProto, attribute: str) -> str:
    """Return the path of a subgraph: its node and attribute below the scope that has the node."""
    return f"{path}/{label(node)}.{attribute}" if path else f"{label(node)}.{attribute}"


def sort(nodes: list[NodeProto], path: str) -> list[NodeProto]:
    """Return the nodes in topological order: as they are if they are in order (ONNX requires it, not every file is).

    Raise InputError for a cycle.
    """
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [sorted({maker[name] for name in reads([node], within=False) if name in maker})[::-1] for node in nodes]
    if all(not each or each[0] < i for i, each in enumerate(needs)):
        return nodes
    done: dict[int, None] = {}
    for start in range(len(nodes)):
        stack: dict[int, None] = {start: None}
        while stack:
            i = next(reversed(stack))
            while needs[i] and needs[i][-1] in done:
                needs[i].pop()
            if not needs[i]:
                done[i] = stack.pop(i)
            elif needs[i][-1] in stack:
                name = quoted(label(nodes[needs[i][-1]])) + (f" in {path}" if path else "")
                raise InputError(f"the graph has a cycle through node {name}", "export the model again")
            else:
                stack[needs[i][-1]] = None
    return [nodes[i] for i in done]


def opset_versions(model: ModelProto) -> dict[str, int]:
    """Return the imported operator sets, by domain."""
    return {entry.domain: int(entry.version) for entry in model.opset_import}


def onnx_opset(opsets: Mapping[str, int]) -> int:
    """Return the version of ONNX's own operator set among those that are imported."""
    return opsets.get("") or opsets.get("ai.onnx", 1)


def named(node: NodeProto, name: str) -> NodeProto:
    """Return a copy of a node under another name."""
    out = deepcopy(node)
    out.name = name
    return out


def changed(node: NodeProto, **attributes: Any) -> NodeProto:
    """Return a copy of a node with other attributes; remove those that are None."""
    out = deepcopy(node)
    del out.attribute[:]
    out.attribute.extend(each for each in node.attribute if each.name not in attributes)
    out.attribute.extend(made_attribute(key, value) for key, value in attributes.items() if value is not None)
    return out


def new_node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> NodeProto:
    """Make a node of ONNX's own domain; leave out attributes that are None."""
    made = [made_attribute(key, attributes[key]) for key in sorted(attributes) if attributes[key] is not None]
    return NodeProto(op_type=op_type, input=inputs, output=outputs, name=name or None, attribute=made)
