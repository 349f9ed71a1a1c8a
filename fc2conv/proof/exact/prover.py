"""Holds two models against each other in exact arithmetic: `proved`, or where the two part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from fc2conv.contained import note
from fc2conv.onnxfile import ModelFile
from fc2conv.proof.exact import groups, layout, linear, pointwise, quantized
from fc2conv.proof.exact.evaluate import BudgetError, Evaluator, Level, Rule
from fc2conv.proof.exact.field import Field
from fc2conv.proof.exact.terms import Shape, Table, Term
from fc2conv.proof.exact.walk import Walk

RULES: dict[str, Rule] = {**layout.RULES, **pointwise.RULES, **groups.RULES, **linear.RULES, **quantized.RULES}
CHEAP = frozenset({*layout.RULES, *pointwise.RULES, "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
"""Operators that are run even where both models have them: they say what a value holds."""

_ROUNDED = "constants as the runtime rounds them"


@dataclass(frozen=True)
class Found:
    """What exact arithmetic says of one output: None where it says nothing, and the assumption that was needed."""

    name: str
    equal: bool | None
    why: str = ""
    assumed: str = ""


@dataclass
class Prover:
    """Two models of one signature at one choice of shapes."""

    original: ModelFile
    converted: ModelFile
    shapes: Mapping[str, Shape]
    blob: Callable[[int, TensorProto], bytes]
    seed: bytes = b"0"
    merged: int = 0
    parted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.field = Field(self.seed)
        self.table = Table()
        self.evaluators = [Evaluator(self.field, level, RULES, CHEAP) for level in Level]
        self.evaluators.append(Evaluator(self.field, Level.NUMBERS, RULES, CHEAP, rounded=True))

    def run(self) -> list[Found]:
        """Compare all outputs, in the order of the original."""
        note("exact arithmetic")
        self.old = Walk(self.original, self.table, 1, self.shapes, lambda t: self.blob(1, t)).run()
        self.new = Walk(self.converted, self.table, 2, self.shapes, lambda t: self.blob(2, t), self._settle).run()
        return [self._output(v.name) for v in self.original.model.graph.output]

    def _settle(self, name: str, term: Term) -> Term:
        """Give the original's term for a value of the same name that is equal, so that what follows is shared."""
        other = self.old.get(name)
        if other is None or other is term or other.shape != term.shape or other.kind != term.kind:
            return term
        if term.shape is None or self.evaluators[0].spent > 4e9:
            return term
        if self._equal(self.evaluators[0], other, term):
            self.merged += 1
            return other
        return term

    def _equal(self, evaluator: Evaluator, one: Term, other: Term) -> bool:
        if one.key == other.key:
            return True
        try:
            return np.array_equal(evaluator.of(one), evaluator.of(other))
        except BudgetError:
            return False

    def _output(self, name: str) -> Found:
        one, other = self.old.get(name), self.new.get(name)
        if one is None or other is None:
            return Found(name, None, "nothing makes it")
        if one.key == other.key:
            return Found(name, True)
        if one.shape != other.shape or one.kind != other.kind:
            return Found(name, False, f"shape {one.shape}, type {one.kind} became {other.shape}, {other.kind}")
        if one.shape is None:
            return Found(name, None, "the shape is not known")
        why = ""
        exact, rounded = self.evaluators[Level.NUMBERS], self.evaluators[-1]
        for first, second in ((self.evaluators[0],) * 2, (exact, exact), (rounded, exact), (exact, rounded),
                              (self.evaluators[Level.WHOLE],) * 2):  # fmt: skip
            try:
                if np.array_equal(first.of(one), second.of(other)):
                    return Found(name, True, assumed=_ROUNDED if first is not second else "")
            except BudgetError as error:
                why = str(error)
        return Found(name, None if why else False, why)

    def opaque(self) -> Iterator[str]:
        """The operators that were hashes of their whole operands."""
        for evaluator in self.evaluators:
            for term in evaluator.opaque.values():
                assert term.op is not None
                yield term.op.name
