"""A walk over a model, node by node, that makes a term of every value, inlines functions and takes known branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from math import prod
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import is_custom
from fc2conv.io.reader import ModelFile
from fc2conv.verification.exact import parts, sequences, stored, unrolled
from fc2conv.verification.exact import shapes as shape_rules
from fc2conv.verification.exact.laws import written
from fc2conv.verification.exact.operators import (
    RESHAPE,
    as_cast,
    call,
    described,
    evaluated,
    operator,
    opsets,
    trains,
)
from fc2conv.verification.exact.terms import ABSENT, COUNTS, RESHAPES, Shape, Table, Term, digest, fresh, number
from fc2conv.verification.nodes import MAX_DEPTH, RANDOM, body_of, functions_of, in_order, is_random, label, nodes_of

Settle = Callable[[str, Term], Term]
"""What may replace a value of the main graph by a term that is equal to it; values in parts have the name ""."""

Place = tuple[tuple[str, int], str]
"""A value: its graph, as often as that was walked before, and its name."""


@dataclass
class Walk:
    """One model on its walk, at the shapes of its `inputs`: `side` is 1 or 2, and `blob` names bytes of large tensors.

    `defaults` are weights that are inputs as well, and so variables. `stated` are the types and shapes of custom
    operators' results, by name, as are the terms `values`. `nodes` are those of all graphs, as walked. Where the shapes
    hold `COUNTS`, those `left` are the next sizes that values decide: a node of the second model has those of the first
    one's that is the `same`. `hidden` values are variables, or numbers not known. `bodies` name unrolled nodes.
    """

    file: ModelFile
    inputs: Mapping[str, Shape]
    table: Table = field(default_factory=Table)
    side: int = 1
    blob: Callable[[TensorProto], bytes] = lambda tensor: tensor.name.encode()
    settle: Settle = lambda _, term: term
    defaults: frozenset[str] = frozenset()
    stated: Mapping[str, shape_rules.Kind] = field(default_factory=dict)
    values: dict[str, Term] = field(default_factory=dict)
    nodes: list[tuple[Scope, NodeProto]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    same: Callable[[Term, Term], bool] = lambda one, other: one.key == other.key
    hidden: Mapping[Place, bytes] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    bodies: dict[Place, bytes] = field(default_factory=dict)

    def same_terms(self, terms: Sequence[Term], others: Sequence[Term]) -> bool:
        """Return whether terms are the same, one by one."""
        return len(terms) == len(others) and all(map(self.same, terms, others))

    def run(self) -> dict[str, Term]:
        """Return the terms of all values of the main graph, by name."""
        proto = self.file.model
        self.left = [*self.inputs.get(COUNTS, ())]
        weights = {t.name for t in proto.graph.initializer}
        given: dict[str, Term] = {}
        for i, info in enumerate(info for info in proto.graph.input if info.name not in weights):
            term = fresh(("input", i), info.name, self.inputs.get(info.name), info.type.tensor_type.elem_type)
            given[info.name] = self.table.add(term, self.side)
        self.values = Scope(self, proto.graph, opsets(proto.opset_import), given, main=True, runs=True, once=True).run()
        return self.values


@dataclass
class Scope:
    """One graph: `known` are the terms by name, with those that it sees from outside.

    `own` are those of its nodes before `settle` replaced them, and `values` all terms in the end. `part_of` is the
    fused node whose parts are walked, `place` the call and its count. A graph `runs` if it does whenever the model
    does, and `once` if it is no body of a Loop. It lies `within` nodes, `depth` bodies and `calls`.
    """

    walk: Walk
    graph: GraphProto
    opsets: Mapping[str, int]
    known: dict[str, Term]
    main: bool = False
    runs: bool = False
    once: bool = False
    depth: int = 0
    calls: int = 0
    part_of: str = ""
    path: str = ""
    within: str = ""
    place: tuple[str, int] = ("", 0)
    own: dict[str, Term] = field(default_factory=dict)
    values: dict[str, Term] = field(default_factory=dict)

    def run(self) -> dict[str, Term]:
        self.place = self.path, self.walk.counts[self.path]
        self.walk.counts[self.path] += 1
        for proto in self.graph.initializer:
            term = self.add(stored.tensor(self.walk.file, proto, proto.name, self.walk.blob))
            if self.main and proto.name in self.walk.defaults:
                term = self.add(fresh(("default", proto.name, term.key), proto.name, term.shape, term.kind))
            self.known[proto.name] = term
        for sparse in self.graph.sparse_initializer:
            self.known[sparse.values.name] = self.add(stored.sparse(self.walk.file, sparse, sparse.values.name))
        for each in in_order(self.graph.node):
            node = as_cast(each, self.known)
            for name, term in zip(node.output, self._results(node), strict=False):
                if name:
                    if drawn := self.walk.hidden.get((self.place, name), b""):
                        term = self._variable(drawn, term)
                    self.own[name] = term
                    asked = self.runs or self.part_of
                    self.known[name] = self.walk.settle(name if self.main else "", term) if asked else term
            self.walk.nodes.append((self, node))
        self.values = {name: term for name, term in self.known.items() if term is not ABSENT}
        return self.values

    def _variable(self, name: bytes, term: Term) -> Term:
        """Return the variable of a name instead of a term, the same in any shape."""
        flat = None if term.shape is None else (term.size,)
        made = self.add(fresh(("hidden", name), term.label, flat, term.kind))
        return made if term.shape is None else self.reshaped(made, term.shape, term.label)

    def outputs(self) -> list[Term]:
        self.run()
        found = [(info.name, self._named(info.name)) for info in self.graph.output]
        return [self._fresh("absent", name) if term is ABSENT else term for name, term in found]

    def _named(self, name: str) -> Term:
        return self.known[name] if name in self.known else self._fresh("unknown", name)

    def _fresh(self, what: str, name: str) -> Term:
        return self.add(fresh((what, name), name, None, 0))

    def add(self, term: Term) -> Term:
        return self.walk.table.add(term, self.walk.side)

    def _results(self, node: NodeProto) -> list[Term]:
        operands = tuple(self._named(name) if name else ABSENT for name in node.input)
        domain = "" if node.domain == "ai.onnx" else node.domain
        found = self._replaced(node, domain, operands)
        return self._made(node, domain, operands) if found is None else found

    def _replaced(self, node: NodeProto, domain: str, operands: tuple[Term, ...]) -> list[Term] | None:
        """Walk a node as its function, parts, branch or steps; return None where it is an operator."""
        if (function := self._function(node)) is not None:
            body, imports = body_of(function, node), opsets(function.opset_import)
            inner = [] if self.calls >= MAX_DEPTH else self._called(node, body, imports, operands)
            known = domain.startswith("com.microsoft") or not is_custom(node)  # each runtime chooses one of both
            if inner and not known:
                return inner
            return self._made(node, domain, operands, functions_of(self.walk.file.model, function), inner)
        if domain in parts.OPSETS and (made := parts.body(node, operands)):
            return self._called(node, *made, operands, self.part_of or label(node))
        if domain != "":
            return None
        if (plain := stored.plain(self.walk.file, node, operands, self.walk.blob)) is not None:
            return [self.add(plain)]
        if node.op_type in sequences.READS:
            item = sequences.taken(node, operands, partial(self.result, node), self.reshaped)
            return None if item is None else [self.add(item)]
        if node.op_type == "If" and operands[0].value is not None:
            return self._branch(node, bool(operands[0].value.reshape(-1)[0]))
        loops = node.op_type in unrolled.STEPS and self.runs and not self.depth
        return (unrolled.steps(self, node, operands) or None) if loops else None

    def _made(
        self,
        node: NodeProto,
        domain: str,
        operands: tuple[Term, ...],
        functions: Sequence[onnx.FunctionProto] = (),
        inner: Sequence[Term] = (),
    ) -> list[Term]:
        """Return the results of a node as values of its operator, or of a call that may be one of `functions`.

        `inner` are the results of that call, which tell the shapes if the operator has none or the same.
        """
        bodies = self.bodies(node, operands)
        op = operator(node, domain, self.opsets.get(domain, 0), self.walk.file, self.part_of)
        op = call(op, functions, self.walk.file) if functions else op
        inputs = (*operands, *bodies)
        draws = node.op_type in RANDOM or trains(op, operands) or any(is_random(n) for n in nodes_of(functions))
        once = f"{self.within}{self.path}/{node.output[0]}" if draws else ""
        base = digest(op.digest, once, [term.key for term in inputs])
        keys = [digest(base, i) for i in range(len(node.output))]
        known = [self.walk.table.known(key, self.walk.side) for key in keys]
        if all(term is not None for term in known):
            return [term for term in known if term is not None]
        unseen = any(self.walk.hidden.get((self.place, name)) == b"" for name in node.output)
        if base in self.walk.table.numbers and not unseen:
            return [self.add(term) for term in self.walk.table.numbers[base]]
        constants = None if bodies or once or unseen or functions else evaluated(node, self.opsets, operands)
        if constants is not None and all(each.dtype.kind in "biuO" for each in constants):
            self.walk.table.numbers[base] = [number(each, op.label) for each in constants]
            return [self.add(term) for term in self.walk.table.numbers[base]]
        version, inferred = self.walk.file.model.ir_version, self.walk.table.kinds
        kinds = shape_rules.infer(node, domain, self.opsets, version, operands, bodies, inferred, op.digest)
        kinds = shape_rules.common(kinds, inner) if inner else kinds
        if not self.path and any(shape is None for _, shape in kinds) and is_custom(node):
            kinds = [self.walk.stated.get(name, kind) for name, kind in zip(node.output, kinds, strict=True)]
        open_sizes = self.walk.left if self.once and not once and any(shape is None for _, shape in kinds) else []
        for equal in self.walk.table.counted if open_sizes and self.walk.side > 1 else ():
            if equal[0].op.digest == op.digest and self.walk.same_terms(equal[0].inputs, inputs):
                return [self.add(term) for term in equal]
        if open_sizes and self.walk.side == 1:
            partly = shape_rules.counted(node, domain, self.opsets, version, operands, bodies)
            kinds = shape_rules.sized(kinds, partly, open_sizes, op.name == "TopK")
        found: list[Term] = []
        first = next(iter(operands), ABSENT)
        drawn = ("random", op.digest, once) if once else None
        for i, (key, (kind, shape)) in enumerate(zip(keys, kinds, strict=True)):
            value, shape = (None, shape) if constants is None else (constants[i], constants[i].shape)
            if shape is not None and op.name in RESHAPES and first is not ABSENT and first.shape is not None:
                if first.size == prod(shape):
                    found.append(self.reshaped(first, shape, op.label))
                    continue
                shape = None  # the target holds another number of elements: the node does not run
            term = described(Term(key, op.label, shape, kind, op, inputs, i, value, leaf=drawn))
            found.append(self.add(written(term)))
        if open_sizes and self.walk.side == 1 and None not in (term.shape for term in found):
            self.walk.table.counted.append(found)
        return found

    def reshaped(self, term: Term, shape: Sequence[int], name: str) -> Term:
        if term.op.name == "Reshape" and term.operand(0) is not ABSENT:
            term = term.inputs[0]
        if tuple(shape) == term.shape:
            return self.walk.table.add(term, self.walk.side)
        if term.constant:
            return self.add(stored.moved(term, name, ("reshape", tuple(shape)), lambda n: n.reshape(shape), term.blob))
        key = digest("reshape", term.key, tuple(shape))  # chains of reshapes are one
        made = Term(key, name, tuple(shape), term.kind, replace(RESHAPE, label=name), (term,))
        made.atoms, made.bounds, made.computed = term.atoms, term.bounds, term.computed
        made.value = None if term.value is None else term.value.reshape(shape)
        return self.add(made)

    # ------------------------------------------------------------------ functions and subgraphs

    def _function(self, node: NodeProto) -> onnx.FunctionProto | None:
        functions = () if self.part_of else self.walk.file.model.functions
        wanted = (node.domain, node.op_type, node.overload)
        return next((f for f in functions if (f.domain, f.name, f.overload) == wanted), None)

    def _called(
        self, node: NodeProto, graph: GraphProto, versions: Mapping[str, int], given: Sequence[Term], part_of: str = ""
    ) -> list[Term]:
        known = dict.fromkeys((info.name for info in graph.input), ABSENT)
        known.update(zip(known, given, strict=False))
        inner = replace(self._inside(graph, known), opsets=versions, part_of=part_of)
        return replace(inner, path=f"{self.path}/{node.output[0]}", calls=self.calls + 1).outputs()

    def _inside(self, graph: GraphProto, known: dict[str, Term], within: str = "") -> Scope:
        """Return the scope of a graph that runs where this one does."""
        inner = Scope(self.walk, graph, self.opsets, known, runs=self.runs, once=self.once, depth=self.depth)
        return replace(inner, path=self.path, calls=self.calls, within=f"{self.within}{within}:")

    def _branch(self, node: NodeProto, condition: bool) -> list[Term]:
        if self.runs:
            unrolled.name_bodies(self, node, ())
        name = "then_branch" if condition else "else_branch"
        body = next(a.g for a in node.attribute if a.name == name)
        return self._inside(body, dict(self.known), node.output[0]).outputs()

    def step(self, node: NodeProto, body: GraphProto, i: int, read: Sequence[Term]) -> list[Term]:
        """Walk one step of a Loop or a Scan, and return its results."""
        given = {**self.known, **dict(zip((value.name for value in body.input), read, strict=False))}
        path = f"{self.path}/{node.output[0]}/{i}"
        return replace(self._inside(body, given), depth=self.depth + 1, path=path).outputs()

    def result(self, node: NodeProto, kind: str, operands: Sequence[Term], **attributes: Any) -> Term:
        """Walk an operator on these operands in the place of a node, and return its first result."""
        given = {str(i): self.add(each) for i, each in enumerate(operands)}
        made = helper.make_node(kind, [*given], node.output[:1], label(node), **attributes)
        return replace(self, known=given)._results(made)[0]

    def bodies(self, node: NodeProto, operands: Sequence[Term]) -> list[Term]:
        """Return the results of a node's subgraphs, as functions of fresh inputs and of what they see from outside.

        The inputs of all bodies at one depth are the same variables, as no variable can leave its body. A state whose
        shape changes has no known shape.
        """
        made: list[Term] = []
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            if attribute.type != AttributeProto.GRAPH:
                continue
            kinds = shape_rules.of_body(node, attribute.g, operands)
            same = unrolled.same(node, attribute.g, self.opsets)
            once = self.once and node.op_type == "If"
            while True:
                given = dict(self.known)
                for i, (info, (kind, shape)) in enumerate(zip(attribute.g.input, kinds, strict=True)):
                    variable = fresh(("body", self.depth, i), info.name, shape, kind)
                    given[info.name] = operands[i] if i in same else self.add(variable)
                inner = self._inside(attribute.g, given, node.output[0])
                runs = self.runs and unrolled.begins(node, operands)
                results = replace(inner, runs=runs, once=once, depth=self.depth + 1).outputs()
                kept = shape_rules.stay(node, kinds, results)
                if kept == kinds:
                    break
                kinds = kept
            made += results
        return made
