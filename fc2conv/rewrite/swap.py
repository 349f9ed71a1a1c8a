"""Replaces the nodes and initializers of a scope."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from onnx import NodeProto, TensorProto

from fc2conv.io.payload import Payload
from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants, scopes
from fc2conv.ir.graph import OWN_INITIALIZERS, Graph, new_node, reads, subgraphs
from fc2conv.ir.shapes import as_input
from fc2conv.rewrite.pool import Pool, unused

Replaced = dict[int, list[NodeProto]]
"""The nodes of a scope that are replaced, by position, each with those in its place."""
Rule = Callable[[Graph, Constants, Pool], Replaced]
"""What says which nodes of a scope are replaced; the pool takes new constants, and its names are new in all scopes."""


def exchange(file: ModelFile, rule: Rule, payloads: dict[str, Payload], *, freeze: bool) -> bool:
    """Replace nodes in the scopes of a model, an inner one before those around it; return whether any is replaced."""
    found = list(scopes(file, freeze=freeze))
    taken, changed = {name for graph, _ in found for name in graph.names}, False
    for graph, constants in reversed(found):
        pool = Pool((), taken, payloads)
        replaced = rule(graph, constants, pool)
        if replaced:
            nodes = [node for i, old in enumerate(graph.nodes) for node in replaced.get(i, [old])]
            swap(graph, nodes, pool.new)
            changed = True
    return changed


def exchanged(file: ModelFile, rule: Rule, *, freeze: bool) -> ModelFile | None:
    """Replace nodes in a copy of a model; return None where there is nothing to replace."""
    payloads = dict(file.payloads)
    copy = replace(file, model=deepcopy(file.model), payloads=payloads)
    return copy if exchange(copy, rule, payloads, freeze=freeze) else None


def renamed(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    """Rename values, where they are made and wherever they are read; a body may hide a name."""
    for node in nodes:
        for each in (node.input, node.output):
            each[:] = [names.get(name, name) for name in each]
        for _, inner in subgraphs(node):
            hidden = {value.name for value in (*inner.input, *inner.initializer)}
            hidden |= {name for made in inner.node for name in made.output}
            rest = {old: new for old, new in names.items() if old not in hidden}
            renamed(inner.node, rest)
            for value in inner.output:
                value.name = rest.get(value.name, value.name)


def alive(
    nodes: Sequence[NodeProto], wanted: Iterable[str], before: Graph | None = None
) -> tuple[list[NodeProto], set[str]]:
    """Return the nodes that make what is wanted, and the names of all that is read or wanted.

    Keep nodes of the scope `before` that nobody read there either.
    """
    kept, read = list[NodeProto](), set(wanted)
    known: dict[int, int] = {} if before is None else {id(node): i for i, node in enumerate(before.nodes)}
    bodies = {i for i, *_ in before.bodies} if before is not None else set[int]()
    for node in reversed(nodes):
        i = known.get(id(node))
        if before is None or i is None:
            if not read.isdisjoint(node.output[:]):
                kept.append(node)
                read.update(reads([node]))
        elif not read.isdisjoint(before.results[i]) or before.read.isdisjoint(before.results[i]):
            kept.append(node)
            read.update(reads([node]) if i in bodies else before.operands[i])
    read.discard("")
    return kept[::-1], read


def swap(graph: Graph, nodes: Sequence[NodeProto], new: Collection[TensorProto] = ()) -> None:
    """Replace a scope's nodes, add new initializers to its own, and remove what is no longer read.

    Keep what nobody read before either.
    """
    kept, read = alive(nodes, graph.outputs, graph)
    gone = graph.read.intersection(graph.initializers) - read
    put(graph, kept, [tensor for tensor in graph.proto.initializer if tensor.name not in gone], new)


def put(
    graph: Graph,
    nodes: Iterable[NodeProto],
    old: Iterable[TensorProto],
    new: Collection[TensorProto] = (),
    *,
    changed: Collection[str] = (),
) -> None:
    """Replace a scope's nodes and initializers; remove the entries of those that are gone or have `changed`.

    An initializer that is an input as well (IR < 4 requires it, later it was frozen) takes its entry along.
    """
    proto, made, tensors = graph.proto, [*nodes], [*old, *new]
    lists_inputs = graph.ir_version < OWN_INITIALIZERS
    if lists_inputs and graph.path:
        made[:0] = [new_node("Constant", [], [tensor.name], "", value=tensor) for tensor in new]
        tensors = [*old]
    stored = {tensor.name for tensor in tensors}
    gone = (graph.initializers.keys() - stored) | {*changed}
    known = ({name for node in made for name in node.output} | stored) - gone if proto.value_info else ()
    values = [value for value in proto.value_info if value.name in known]
    inputs = [value for value in proto.input if value.name not in gone]
    if lists_inputs and not graph.path:
        listed = {value.name for value in inputs}
        inputs += [as_input(tensor) for tensor in tensors if tensor.name not in listed]
    fields = {"node": made, "initializer": tensors, "value_info": values, "input": inputs}
    for field, entries in fields.items():
        proto.ClearField(field)
        getattr(proto, field).extend(entries)
    _name_apart(graph, proto.node)


def _name_apart(graph: Graph, nodes: Iterable[NodeProto]) -> None:
    """Give a number to the name of a new node where another node has it: runtimes refuse two of one name.

    A node without a name is called by its result, whose name another node may have.
    """
    named = [(name, node) for node in nodes if (name := node.name)]
    if len({name for name, _ in named}) == len(named):
        return
    own = {node.name: node.op_type for node in graph.nodes}
    kept = [own.get(name) == node.op_type for name, node in named]
    taken = {name for (name, _), stays in zip(named, kept, strict=True) if stays}
    for (name, node), stays in zip(named, kept, strict=True):
        if not stays:
            node.name = unused(name, taken)
