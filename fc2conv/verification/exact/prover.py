"""The comparison of two models in exact arithmetic: `proved`, or where the two part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property, partial
from itertools import chain
from math import inf
from typing import Any

from onnx import GraphProto, TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.sandbox import note
from fc2conv.verification.exact import alone, groups, layout, linear, maps, pointwise, quantized
from fc2conv.verification.exact.evaluate import BudgetError, Evaluator, Level, Rule
from fc2conv.verification.exact.field import Field
from fc2conv.verification.exact.odds import safety
from fc2conv.verification.exact.required import requirements
from fc2conv.verification.exact.result import Found
from fc2conv.verification.exact.shapes import stated
from fc2conv.verification.exact.symbols import Symbols
from fc2conv.verification.exact.terms import ABSENT, Array, Shape, Table, Term, behind, digest, signature
from fc2conv.verification.exact.walk import Place, Walk
from fc2conv.verification.nodes import captured, in_order

RULES: dict[str, Rule] = {
    **layout.RULES, **pointwise.RULES, **groups.RULES, **linear.RULES, **quantized.RULES, **maps.RULES
}  # fmt: skip
CHEAP = frozenset({*layout.RULES, *pointwise.RULES,
                   *"Cast CastLike QuantizeLinear DequantizeLinear DynamicQuantizeLinear".split()})  # fmt: skip
"""Operators that are computed even where both models have them: they say what a value holds."""

SYMBOLIC = {name: RULES[name] for name in (*pointwise.RULES, *groups.REDUCTIONS, *"""Reshape Flatten Squeeze Unsqueeze
Transpose Slice Split Expand Concat Pad Gather Where Gemm MatMul Conv Einsum Softmax LogSoftmax BatchNormalization
LayerNormalization RMSNormalization SimplifiedLayerNormalization InstanceNormalization GroupNormalization
QuantizeLinear DequantizeLinear Cast CastLike""".split())}  # fmt: skip
"""Rules that read no element, so that they work on symbols."""
CERTAIN = 60.0
"""The `safety` of what is proved by symbols: hashes of 128 bits name operators and weights."""
READ = 4e9
"""Products that may be computed where stored weights are read and not multiplied, as each takes a few nanoseconds."""
COMPUTED = (None, frozenset[str](), frozenset({"Mul"}))
"""Nodes whose constants are taken as rounded: all, only factors (an empty set), or products (of two scales)."""
_MOST_TORN = 2
"""Values that both models have, and that differ with rounded constants as well, after which no more are tried."""
ROUNDED = "constants that one model computes are taken as they are rounded in the other"


@dataclass
class Prover:
    """Two models of one signature at one choice of shapes.

    `files` identifies them, as primes and keys depend on it; `earlier` is the `safety` of a proof with other primes.
    `taken` is a value that is assumed to be the same. `hidden` values of each model are variables of a name, or without
    one numbers that are not known. `same` are terms of the first that the second has as well.
    """

    original: ModelFile
    converted: ModelFile
    shapes: Mapping[str, Shape]
    blob: Callable[[int, TensorProto], bytes]
    seed: int = 0
    primes: int = 2
    files: bytes = b""
    earlier: float = 0.0
    taken: str = ""
    hidden: Sequence[Mapping[Place, bytes]] = ({}, {})
    old: dict[str, Term] = field(default_factory=dict, init=False)
    new: dict[str, Term] = field(default_factory=dict, init=False)
    walks: tuple[Walk, Walk] = field(init=False)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    bound: dict[str, Term] = field(default_factory=dict, init=False)
    place: int = field(default=0, init=False)
    found: list[Found] = field(default_factory=list, init=False)
    beyond: str = field(default="", init=False)
    assumed: str = field(default="", init=False)
    _torn: int = field(default=0, init=False)
    used: list[Evaluator] = field(default_factory=list, init=False)
    rounded: list[Evaluator] = field(default_factory=list, init=False)
    unfit: dict[bytes, Term] = field(default_factory=dict, init=False)
    same: set[bytes] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.field = Field(f"seed {self.seed} ".encode() + self.files, self.primes)
        self.table = Table()
        self.cuts, self.numbers, self.whole = (self._evaluator(level) for level in Level)
        self.symbols = self._evaluator(
            Level.CUTS, field=Symbols(), rules=SYMBOLIC, cheap=frozenset(layout.RULES), most=1 << 62, budget=inf
        )
        self.cuts.ahead, self.cuts.budget = self._ahead, READ
        self.whole.laws, self.lawful = True, self._evaluator(Level.CUTS, laws=True, budget=READ)

    def _evaluator(self, level: Level, **how: Any) -> Evaluator:
        chosen = {"field": self.field, "rules": RULES, "cheap": CHEAP, "ahead": self._outputs, **how}
        return Evaluator(level=level, blobs=self.table.blobs, **chosen)

    def run(self) -> list[Found]:
        """Compare all outputs, in the order of the original; raise ZeroDivisorError where the seed proves nothing."""
        note("exact arithmetic")
        self.walk()
        self.rounded = self._roundings()
        return [self._output(v.name) for v in self.original.model.graph.output]

    @cached_property
    def _defaults(self) -> frozenset[str]:
        """The inputs with a default that a caller of either model may replace; those of one model alone are frozen."""
        files = self.original, self.converted
        found = ({v.name for v in f.model.graph.input} if f.model.ir_version >= 4 else set() for f in files)
        return frozenset(set.intersection(*found))

    def walk(self, settled: bool = True) -> None:
        """Make terms of both models; if `settled`, put terms of the first into the second where they are equal."""
        self.spans = _spans(self.converted.model.graph)
        said = stated((self.original.model, self.converted.model), self.shapes)
        first, second = (
            Walk(file, self.shapes, self.table, side, partial(self.blob, side), defaults=self._defaults, stated=said,
                 hidden=hidden)
            for side, file, hidden in zip((1, 2), (self.original, self.converted), self.hidden, strict=True)
        )  # fmt: skip
        if settled:
            first.settle, second.settle, second.same = self._fit, self._settle, partial(self._alike, by_numbers=True)
        self.old = first.run()
        self.new = second.run()
        self.walks = first, second

    def forget(self) -> None:
        for each in (self.cuts, self.numbers, self.whole, self.lawful, *self.rounded, *self.used):
            each.forget()

    def _roundings(self) -> list[Evaluator]:
        """Return evaluators that take constants as rounded, except in nodes that the other model has as well."""
        made = [term for term in self.table.terms.values() if term.has_op]
        others = [frozenset(signature(term) for term in made if term.sides & other) for other in (2, 1)]
        return [
            self._evaluator(Level.NUMBERS, rounded=True, computed=computed, kept=kept)
            for computed in COMPUTED
            for kept in others
        ]

    def _outputs(self) -> Iterator[Term]:
        for values in (self.old, self.new):
            yield from (values[v.name] for v in self.original.model.graph.output if v.name in values)

    def _ahead(self) -> Iterator[Term]:
        """Yield the outputs, what later values are compared with, and what later nodes read."""
        yield from self._outputs()
        for name, (made, read) in self.spans.items():
            term = self.old.get(name) if made >= self.place else self.bound.get(name) if read >= self.place else None
            if term is not None:
                yield term

    def _fit(self, _: str, term: Term) -> Term:
        """Note a node that no runtime accepts at these sizes, and return its term."""
        if not all(requirement.met for requirement in requirements(term)):
            self.unfit[term.key] = term
        return term

    def misfit(self, way: Collection[bytes]) -> Term | None:
        """Return a node on a way that no runtime accepts at these sizes: then it runs no part of the model."""
        return next((term for key, term in self.unfit.items() if key in way), None)

    @cached_property
    def needed(self) -> set[bytes]:
        """The keys of the terms that the original's outputs are computed from."""
        outputs = (self.old[v.name] for v in self.original.model.graph.output if v.name in self.old)
        return {term.key for output in outputs for term in behind(output)}

    def _settle(self, name: str, term: Term) -> Term:
        """Return the original's term for an equal value of the same name, so that both share what follows."""
        self._fit(name, term)
        if not name:
            return term
        self.place = self.spans[name][0]
        other = self.old.get(name)
        taken = name == self.taken or other is term
        if other is not None and (taken or (not self.cuts.exhausted and self._same(other, term))):
            self.same.add(other.key)
            term = other
        self.bound[name] = term
        return term

    def _same(self, one: Term, other: Term) -> bool:
        """Return whether two terms are the same, if need be with constants as they are rounded; note that."""
        if self._alike(one, other):
            return True
        if self._torn > _MOST_TORN or (one.shape, one.kind) != (other.shape, other.kind):
            return False
        self.rounded = self._roundings() if alone.may_be_rounded(one, other) else []
        found = any(self._equal(*each, one, other) for each in self._with_rounding())
        self.assumed = ROUNDED if found else self.assumed
        self._torn += bool(self.rounded) and not found
        return found

    def _alike(self, one: Term, other: Term, by_numbers: bool = False) -> bool:
        """Return whether two terms of one type and shape are the same, by little arithmetic or else by numbers."""
        ways = (self.symbols, self.cuts, self.numbers)[: 2 + by_numbers]
        return (one.shape, one.kind) == (other.shape, other.kind) and any(self._equal(e, e, one, other) for e in ways)

    def _equal(self, first: Evaluator, second: Evaluator, one: Term, other: Term) -> bool:
        """Return whether two terms have the same residues; set `beyond` where that takes too much to compute."""
        try:
            equal = one.key == other.key or first.field.same(first.of(one), second.of(other))
            self.used += [each for each in (first, second) if equal and each not in (*self.used, self.symbols)]
            return equal
        except BudgetError as error:
            self.beyond = str(error)
            return False

    def _output(self, name: str) -> Found:
        one, other = self.old.get(name), self.new.get(name)
        if one is None or other is None:
            return Found(name, None, "nothing makes it")
        if one.key == other.key:
            return Found(name, True, assumed=self.assumed, residues=digest("term", one.key).hex())
        if (misfit := self.misfit(self.needed)) is not None:
            return Found(name, None, f"the sizes do not suit {misfit.label}", at=misfit)
        if (misfit := self.misfit({term.key for term in behind(other)})) is not None:  # numbers may miss such sizes
            return Found(name, None, f"the sizes suit the first model, and not {misfit.label}", at=misfit, unseen=True)
        if one.shape is not None and other.shape is not None and (one.shape, one.kind) != (other.shape, other.kind):
            return Found(name, False, f"{name} has the shape {list(other.shape)}, where it was {list(one.shape)}")
        for first, second in self._ways(one, other) if one.shape == other.shape else ():
            self.beyond = ""
            first.spent = second.spent = 0.0
            if self._equal(first, second, one, other):
                assumed = ROUNDED if first is not second else self.assumed
                residues = one.key if first is self.symbols else first.of(one).tobytes()
                return Found(name, True, assumed=assumed, residues=digest("residues", residues).hex())
            if first.level > Level.CUTS:
                first.forget()
            if self.beyond:
                break  # every other way takes as much
        stuck, why = (ABSENT, self.beyond) if self.beyond else self._in_the_way(one, other)
        applied = self.functions_of(one, 1) | self.functions_of(other, 2) if why else set()
        return Found(name, None if why else False, why, at=stuck, unseen="If" in applied)

    def _ways(self, one: Term, other: Term) -> Iterator[tuple[Evaluator, Evaluator]]:
        """Yield the ways to compare two values: as they are, and with computed constants of one model as rounded."""
        yield from ((each, each) for each in (self.symbols, self.cuts, self.lawful, self.numbers))
        may_round = alone.may_be_rounded(one, other)
        if may_round:
            yield from chain(self._with_rounding(), self._with_shared())
        yield self.whole, self.whole
        if may_round:  # a value that both models have may be computed once more by one of them
            first, second = (self._evaluator(Level.WHOLE, rounded=True, kept=each.kept) for each in self.rounded[:2])
            both = self._evaluator(Level.WHOLE, rounded=True, shared=self._of_both)
            yield from ((first, self.whole), (self.whole, second), (first, both), (both, second))

    def _with_rounding(self) -> Iterator[tuple[Evaluator, Evaluator]]:
        """Yield the ways with the computed constants of one model as they are rounded."""
        yield from ((self.numbers, each) if i % 2 else (each, self.numbers) for i, each in enumerate(self.rounded))

    def _with_shared(self) -> Iterator[tuple[Evaluator, Evaluator]]:
        """Yield the ways with those that both compute from the same numbers as they are."""
        sides = self.rounded
        for first, second in zip(sides[::2], sides[1::2], strict=True):
            both = self._evaluator(Level.NUMBERS, rounded=True, computed=first.computed, shared=self._of_both)
            yield from ((first, both), (both, second))

    @cached_property
    def _of_both(self) -> frozenset[bytes]:
        return alone.computed_by_both(self.table.terms.values(), self._numbers)

    def _numbers(self, term: Term) -> Array | None:
        try:
            return self.numbers.numbers_of(term)
        except BudgetError:
            return None

    def _in_the_way(self, one: Term, other: Term) -> tuple[Term, str]:
        """Return a node without a rule that hides whether two values differ, and a line on it; "" for no such node."""
        try:
            for each in (one, other):
                self.whole.of(each)
            found = alone.unmatched(self.whole, one, other)
            own = [*alone.own_terms(one, 1, self.same), *alone.own_terms(other, 2)]
            unknown = any(v.shape is None and (v.sides == 3 or v.key in self.same) for term in own for v in term.there)
            if alone.contradicted(self.whole, found) or (not unknown and alone.apart(one, other, self.whole.opaque)):
                return ABSENT, ""
        except BudgetError as error:
            return ABSENT, str(error)
        term = missing = next(iter((*found[0], *found[1])), ABSENT)
        if not term.has_op:
            return ABSENT, ""
        while before := next((each for each in missing.inputs if each.shape is None), None):
            missing = before
        if missing is not term or term.shape is None:
            value = next((name for name, term in self.old.items() if term is missing), "what it gives")
            return missing, f"the shape of {value}, which {missing.label} gives, is not known"
        return term, f"no rule says what {term.label} ({term.op.name}) computes"

    @cached_property
    def safety(self) -> float:
        """s, where the proof is wrong with a probability below 2^-s."""
        every = self.table.terms.values()
        return min((safety(every, each) for each in self.used), default=CERTAIN) + self.earlier

    def functions_of(self, term: Term, side: int) -> set[str]:
        """Return the functions that only one model applies on the way to a value, apart from sums and products."""
        return {name for each in alone.own_terms(term, side, self.same) for name in alone.functions(each)}


def _spans(graph: GraphProto) -> dict[str, tuple[int, int]]:
    """Return the places, in the order of a walk, of each value's node and of the last node that reads it."""
    order = in_order(graph.node)
    made = {name: i for i, node in enumerate(order) for name in node.output}
    read = {name: i for i, node in enumerate(order) for name in (*node.input, *captured(node))}
    return {name: (i, read.get(name, -1)) for name, i in made.items()}
