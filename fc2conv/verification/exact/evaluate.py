"""The evaluation of terms to residues, on demand: each term once, and costly terms that both models have not at all.

Three levels say how much is computed. At each of them equal residues prove equal functions; different residues say
something only at the last level.

- CUTS: what both models compute in the same way is a fresh variable where it is costly, constants are their bits, and a
  stored weight that both models have is an uninterpreted linear map.
- NUMBERS: constants are numbers of the field, and every product is computed.
- WHOLE: nothing is cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from math import prod
from typing import Any, TypeVar

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.field import Field, Residues, tag
from fc2conv.verification.exact.laws import lawful
from fc2conv.verification.exact.operators import folded
from fc2conv.verification.exact.symbols import Symbols
from fc2conv.verification.exact.terms import ABSENT, Array, Op, Shape, Signature, Term, limits, signature


class Level(IntEnum):
    """How much is computed."""

    CUTS = 0
    NUMBERS = 1
    WHOLE = 2


Known = TypeVar("Known")


class OpaqueError(Exception):
    """No rule says what a node computes in this form: its result is a hash of its whole operands."""


class BudgetError(Exception):
    """The comparison would take more products, or more memory, than it may."""


MOST_BYTES = 2 << 30
"""Residues that one evaluator may hold."""
_ROOM = 32 << 20
"""Bytes of residues that are made before unneeded ones are dropped, or half of what is in memory if that is more."""
Rule = Callable[["At"], Residues]
_CONTRADICTIONS = (ValueError, IndexError, TypeError, KeyError, AttributeError, ZeroDivisionError)
"""What numpy and a rule raise for operands that contradict the operator's definition."""


@dataclass(eq=False)
class Evaluator:
    """Residues of terms at one level.

    `rounded`: constants are taken as runtimes round them, except in nodes that the other model has as well, whose
    signatures are `kept`. `shared`: only these are. `computed`: so are those that nodes of these operators compute
    (None: of any), besides factors like alpha. `ahead` are terms that will be asked for: residues that they do not need
    are dropped. `laws`: those of `lawful` apply. `hashes` are those of operands by place.
    """

    field: Field
    level: Level
    rules: dict[str, Rule]
    cheap: frozenset[str]
    laws: bool = False
    rounded: bool = False
    shared: frozenset[bytes] | None = None
    computed: frozenset[str] | None = None
    kept: frozenset[Signature] = frozenset()
    blobs: Mapping[bytes, int] = dataclasses.field(default_factory=dict)
    ahead: Callable[[], Iterable[Term]] = tuple
    budget: float = 1e9
    memo: dict[bytes, Residues] = dataclasses.field(default_factory=dict)
    opaque: dict[bytes, Term] = dataclasses.field(default_factory=dict)
    hashes: dict[tuple[int, bytes], Residues] = dataclasses.field(default_factory=dict)
    spent: float = 0.0
    owners: dict[int, int] = dataclasses.field(default_factory=dict)
    memo_bytes: int = 0
    most: int = 0
    _last: tuple[bytes, Array | None] = (b"", None)

    def of(self, term: Term) -> Residues:
        """Return the residues [lanes, *shape] of a term, after making those of its operands."""
        stack = [term]
        while stack:
            top = stack[-1]
            if top.key in self.memo:
                stack.pop()
                continue
            missing = [each for each in self._needs(top) if each.key not in self.memo]
            if missing:
                stack.extend(missing)
                continue
            self.memo[top.key] = made = self._made(top)
            self._hold(made)
            if self.memo_bytes > self.most:
                self._release(stack)
            stack.pop()
        return self.memo[term.key]

    def spend(self, products: float) -> None:
        """Count products; raise BudgetError beyond the budget."""
        self.spent += products
        if self.spent > self.budget:
            raise BudgetError(f"more than {self.budget:.0e} products")

    def room(self, elements: float) -> None:
        """Raise BudgetError where residues of this many elements, in memory for a moment, are too many."""
        if elements * 8 > MOST_BYTES / 4:
            raise BudgetError(f"windows of more than {MOST_BYTES >> 22} MiB of residues")

    def _hold(self, made: Residues) -> None:
        """Count the bytes of stored residues; for a view those of the array that it shows."""
        owner: np.ndarray[Any, Any] = made
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) not in self.owners:
            self.owners[id(owner)] = owner.nbytes
            self.memo_bytes += owner.nbytes

    def _release(self, current: Iterable[Term]) -> None:
        """Drop the residues that neither these terms nor those ahead need; raise BudgetError if too many are left."""
        kept: dict[bytes, Residues] = {}
        seen: set[bytes] = set()
        stack = [*current, *self.ahead()]
        while stack:
            top = stack.pop()
            if top.key in self.memo:
                kept[top.key] = self.memo[top.key]
            elif top.key not in seen:
                seen.add(top.key)
                stack.extend(self._needs(top))
        self.forget()
        self.memo.update(kept)
        for made in kept.values():
            self._hold(made)
        self.most = self.memo_bytes + max(_ROOM, self.memo_bytes // 2)
        if self.memo_bytes > MOST_BYTES:
            raise BudgetError(f"more than {MOST_BYTES >> 20} MiB of residues")

    def forget(self) -> None:
        self.memo.clear()
        self.owners.clear()
        self.memo_bytes = self.most = 0

    @property
    def exhausted(self) -> bool:
        """Whether more than half of the budget, or of the memory, is used."""
        return self.spent > self.budget / 2 or self.memo_bytes > MOST_BYTES / 2

    def cut(self, term: Term) -> bool:
        """Return whether a term is a fresh variable at this level."""
        shared = term.sides == 3 and term.has_op and term.op.name not in self.cheap
        return shared and self.level < Level.WHOLE

    def _needs(self, term: Term) -> Iterator[Term]:
        if term.has_op and not self.cut(term) and not self._by_value(term):
            yield from (each for each in self._form(term).there if not each.constant)

    def _form(self, term: Term) -> Term:
        """Return the term that is computed for a term."""
        return lawful(term) if self.laws else term

    def rounds(self, term: Term) -> bool:
        """Return whether the constants of a node are taken as rounded."""
        return self.rounded and self.shared is None and signature(term) not in self.kept

    def _by_value(self, term: Term) -> bool:
        if not term.has_op or term.integer:
            rounds = term.op.name in ("QuantizeLinear", "Cast") and term.computed
            return term.value is not None or (rounds and self.numbers_of(term) is not None)
        meant = self.computed is None or term.op.name in self.computed
        rounds = self.rounded and meant and (self.shared is None or term.key in self.shared)
        return rounds and (term.value is not None or (term.computed and self.numbers_of(term) is not None))

    def numbers_of(self, term: Term) -> Array | None:
        """Return the elements of a stored or computed constant; None where no evaluator computes it."""
        if not term.has_op or term.value is not None:
            return term.numbers()
        if self._last[0] != term.key:
            self.room(term.size)
            read = {each.key: self.numbers_of(each) for each in term.there}
            unknown = any(numbers is None for numbers in read.values())
            self._last = term.key, None if unknown else folded(term, [read.get(each.key) for each in term.inputs])
        return self._last[1]

    def _made(self, term: Term) -> Residues:
        if self.cut(term) or (term.leaf is not None and not term.has_op):
            return self.field.uniform(term.key, term.shape or ())
        if term.leaf is not None:  # what is drawn depends on the operands
            return self.hashed(term, term.leaf)
        if self._by_value(term) or term.load is not None:
            return self.constant(term)
        term = self._form(term)
        placed = term.op.version < 7 and "axis" in term.op.attributes and term.op.attributes.get("broadcast")
        rule = None if placed else self.rules.get(term.op.name)  # a broadcast of the oldest definitions
        if rule is not None and all(each.shape is not None for each in term.inputs):
            try:
                made = rule(At(self, term, term.op))
                if term.shape in (None, made.shape[1:]):
                    return made
            except (OpaqueError, *_CONTRADICTIONS):
                pass
        self.opaque[term.key] = term
        return self.hashed(term, term.op.digest)

    def constant(self, term: Term) -> Residues:
        """Return the residues of a constant by its numbers; of a large one by its bits where these suffice."""
        if isinstance(self.field, Symbols) and term.value is None:
            return self.field.named(term.key, term.shape or ())
        numbers = np.asarray(self.numbers_of(term))
        as_bits = self.level == Level.CUTS and term.value is None
        return self.field.bits(numbers) if as_bits else self.field.of(numbers)

    def read(self, term: Term, kind: int = 0) -> Residues:
        """Return the residues of an operand, hashed where it may have wrapped around and `kind` is another type."""
        if term.constant:
            return self.constant(term)
        residues = self.memo[term.key]
        may_wrap = term.integer and term.kind != kind and term.bounds != limits(term.kind)
        wraps = may_wrap and not self.field.fits(term.kind, residues, known=term.bounds is not None)
        return self.field.mix(residues, tag("wraps", term.kind)) if wraps else residues

    def hashed(self, term: Term, name: object, left_out: Collection[int] = ()) -> Residues:
        """Hash the whole operands in order, and the element's index."""
        field = self.field
        there = [(i, each) for i, each in enumerate(term.inputs) if each is not ABSENT and i not in left_out]
        if isinstance(field, Symbols):
            salt = repr((name, term.index, [i for i, _ in there]))
            return field.node(salt, [self.read(each) for _, each in there], term.shape or ())
        total = field.uniform(("opaque", name, term.index), ())
        for i, each in there:
            total = field.add(total, self._operand(i, each))
        if term.shape is None:
            return field.mix(total, tag("whole"))
        places = field.uniform("index", (prod(term.shape),))
        spread = field.mix(places, tag("opaque"), field.mix(total, tag("element")))
        return spread.reshape(field.lanes, *term.shape)

    def _operand(self, place: int, term: Term) -> Residues:
        """Hash all elements of an operand, once for all nodes that read it at this place."""
        if (place, term.key) not in self.hashes:
            key, elements = ("operand", place, term.shape), self.read(term).reshape(self.field.lanes, -1)
            self.hashes[place, term.key] = self.field.mix(self.field.sequence(elements, key), tag(key))
        return self.hashes[place, term.key]


@dataclass(frozen=True)
class At:
    """One node as its rule sees it."""

    evaluator: Evaluator
    term: Term
    op: Op

    @property
    def field(self) -> Field:
        return self.evaluator.field

    @property
    def shape(self) -> Shape:
        """The result's shape; OpaqueError where it is not known."""
        return _known(self.term.shape)

    def has(self, index: int) -> bool:
        return self.term.operand(index) is not ABSENT

    def operand(self, index: int) -> Term:
        """Return the term of an operand; raise OpaqueError where it is not given."""
        if not self.has(index):
            raise OpaqueError
        return self.term.inputs[index]

    def res(self, index: int) -> Residues:
        return self.evaluator.read(self.operand(index), self.term.kind)

    def dims(self, index: int) -> Shape:
        return _known(self.operand(index).shape)

    def numbers(self, index: int) -> Array:
        """Return the elements of an operand that is a small known constant; raise OpaqueError for others."""
        return _known(self.operand(index).value)

    def ints(self, index: int) -> list[int] | None:
        """Return the integers of an optional operand; None where it is not given."""
        return [int(n) for n in self.numbers(index).reshape(-1)] if self.has(index) else None

    def attr(self, name: str, default: Any) -> Any:
        return self.op.attributes.get(name, default)

    def axes(self, index: int) -> list[int] | None:
        """Return axes that are an attribute in older definitions and an operand in newer ones."""
        given = self.attr("axes", None)
        return self.ints(index) if given is None else [int(axis) for axis in given]


def _known(found: Known | None) -> Known:
    if found is None:
        raise OpaqueError
    return found


def needs_plain(at: At, indices: Sequence[int]) -> None:
    """Raise OpaqueError where an operand of a product has constants that are not finite."""
    if any(at.has(i) and at.operand(i).atoms for i in indices):
        raise OpaqueError
