"""Choices that sizes and constants settle: the branch that is taken, instead of the If.

    If (Equal (Size (Shape (x)), 4)) <then: Flatten (x), else: x>  ->  Flatten (x)

This is done to a copy of the model, which is planned beside the model itself: a layer may see a map through the branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from onnx import GraphProto, NodeProto, TensorProto

from fc2conv.io.reader import ModelFile
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, new_node, op, subgraphs
from fc2conv.ir.propagation import NOTHING, Propagated, propagate
from fc2conv.ir.shapes import inferred
from fc2conv.ir.subgraph_shapes import Shapes
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite import functions
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.swap import renamed, swap

_Taken = Mapping[int, GraphProto]
"""The branch that is taken of each If, by the node's identity."""


def settled(file: ModelFile, plans: Sequence[Plan], options: Options) -> ModelFile | None:
    """Replace every If that is known in a copy of the model; return None where there is none, or none would help."""
    here = functions.hidden(plans, options) and any("If" in plan.graph.kinds for plan in plans)
    called = any(op(node) == "If" for function in file.model.functions for node in function.node)
    if not (here or called):
        return None
    model = functions.inlined(file.model) if called else None
    copy, changed = replace(file, model=model or deepcopy(file.model)), False
    while _settle(copy, options):
        changed = True
    return copy if changed else None


def _settle(file: ModelFile, options: Options) -> bool:
    """Replace every If that is known; return whether there is any."""
    model, freeze = file.model, options.freeze_initializers
    graph = Graph.of(model, freeze=freeze)
    shapes = inferred(model, {}, graph)  # not those that are for the analysis alone
    found = list(_scopes(graph, Constants(graph, file), shapes, NOTHING))
    if not any(taken for _, taken in found):
        return False
    counts = Counter(name for scope, _ in found for name in {*scope.initializers, *scope.producer, *scope.inputs})
    pool = Pool((), {name for scope, _ in found for name in scope.names}, {})
    for scope, taken in reversed(found):
        if taken:
            _replace(scope, taken, counts, pool)
    return True


def _scopes(
    graph: Graph, constants: Constants, shapes: Mapping[str, Shapes], around: Propagated
) -> Iterator[tuple[Graph, _Taken]]:
    """Yield every scope with its choices that are known, an outer one before those within it."""
    known = propagate(graph, constants, shapes.get(graph.path, {}), around)
    taken = {id(node): branch for node in graph.nodes if (branch := _branch(node, constants, known)) is not None}
    yield graph, taken
    for i, name, proto in graph.bodies:
        inner = graph.within(graph.nodes[i], name, proto)
        yield from _scopes(inner, Constants(inner, constants.file, constants), shapes, known)


def _branch(node: NodeProto, constants: Constants, known: Propagated) -> GraphProto | None:
    if op(node) != "If":
        return None
    name = node.input[0]
    condition = known.numbers.get(name) or (constants.numbers(name) if constants.is_constant(name) else None)
    if condition is None or not condition.known or condition.cells.size != 1:
        return None
    branch = dict(subgraphs(node)).get("then_branch" if condition.array().item() else "else_branch")
    return None if branch is None or branch.sparse_initializer else branch


def _replace(scope: Graph, taken: _Taken, counts: Mapping[str, int], pool: Pool) -> None:
    """Put the nodes and constants of the taken branches into their scope, and remove what only the Ifs read."""
    nodes, initializers = list[NodeProto](), list[TensorProto]()
    for node in scope.nodes:
        branch = taken.get(id(node))
        if branch is None:
            nodes.append(node)
            continue
        nodes += _nodes(node, branch, _names(node, branch, counts, pool))
        initializers += branch.initializer
    swap(scope, nodes, initializers)


def _names(node: NodeProto, branch: GraphProto, counts: Mapping[str, int], pool: Pool) -> dict[str, str]:
    """Return new names of a branch's values: the If's for results, a free one where a name is in use elsewhere."""
    made = [name for each in branch.node for name in each.output if name]
    results = zip((value.name for value in branch.output), node.output, strict=False)
    out = {name: result for name, result in results if result and name in made}
    for name in [*made, *(tensor.name for tensor in branch.initializer)]:
        if name not in out and counts[name] > 1:
            out[name] = pool.unique(name)
    return out


def _nodes(node: NodeProto, branch: GraphProto, names: Mapping[str, str]) -> Iterator[NodeProto]:
    """Yield the nodes of a branch under new names; an Identity copies a result that has another name already."""
    for each in (*branch.initializer, *branch.output):
        each.name = names.get(each.name, each.name)
    renamed(branch.node, names)
    yield from branch.node
    for value, result in zip(branch.output, node.output, strict=False):
        if result and value.name != result:
            yield new_node("Identity", [value.name], [result], "")
