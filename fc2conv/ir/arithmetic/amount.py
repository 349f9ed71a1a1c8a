"""Numbers that depend on sizes nobody knows: sums of products of symbols, with exact coefficients.

A symbol is an unknown size, or the name of what is computed of such sizes and has no simpler form: `?(H//2)`. Equal
names are equal numbers. A symbol that begins with `?~` may be negative; every other one is a size, which is not. One
that begins with `?~.` may have a fraction; every other one is whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from math import lcm

from fc2conv.dataclass import dataclass
from fc2conv.layout.axes import Size

Exact = int | Fraction
Term = tuple[str, ...]

_SIGNED = "?~"
_FRACTION = "?~."
_MOST_TERMS = 16
_MOST_SYMBOLS = 16
_LARGEST = 1 << 63
_LONGEST = 160
_FEW = 1 << 10


class UndecidedError(ArithmeticError):
    """A number depends on unknown sizes in a way that has no form here."""


@dataclass(frozen=True)
class Amount:
    """The sum of `coefficient * product(symbols)` over its terms, one of which has symbols; largest degree first."""

    terms: tuple[tuple[Term, Exact], ...]

    def __add__(self, other: Cell) -> Cell:
        return total([*self.terms, *terms_of(other)])

    def __neg__(self) -> Cell:
        return total((term, -factor) for term, factor in self.terms)

    def __sub__(self, other: Cell) -> Cell:
        return self + -other

    def __rsub__(self, other: Cell) -> Cell:
        return -self + other

    def __mul__(self, other: Cell) -> Cell:
        theirs = terms_of(other)
        return total((_sorted(t + u), a * b) for t, a in self.terms for u, b in theirs)

    __radd__, __rmul__ = __add__, __mul__

    def __str__(self) -> str:
        return " + ".join("*".join([str(n)] * (n != 1 or not term) + list(term)) for term, n in self.terms)

    @property
    def whole(self) -> bool:
        return all(isinstance(factor, int) for _, factor in self.terms) and not self.fractional

    @property
    def fractional(self) -> bool:
        """Whether a number that may have any fraction is in it."""
        return any(_FRACTION in each for term, _ in self.terms for each in term)

    @property
    def exact(self) -> bool:
        """Whether a floating-point number holds it without rounding, for all sizes that occur."""
        return not self.fractional and all(
            isinstance(n, int) or (abs(n.numerator) <= _FEW and _FEW % n.denominator == 0) for _, n in self.terms
        )

    @property
    def denominator(self) -> int:
        """The least number whose product with this one is whole."""
        return lcm(*(factor.denominator for _, factor in self.terms))


Cell = Exact | Amount
"""An element of a small tensor: a number, or an amount where unknown sizes are in it."""


def total(terms: Iterable[tuple[Term, Exact]]) -> Cell:
    """Return the sum of terms: an amount, or a plain number where no symbol is left."""
    out: dict[Term, Exact] = {}
    for term, factor in terms:
        out[term] = out.get(term, 0) + factor
    kept = [(term, plain(factor)) for term, factor in out.items() if factor]
    if not any(term for term, _ in kept):
        return kept[0][1] if kept else 0
    if len(kept) > _MOST_TERMS or any(len(term) > _MOST_SYMBOLS or abs(n.numerator) > _LARGEST for term, n in kept):
        raise UndecidedError("a number of too many terms")
    return Amount(tuple(sorted(kept, key=lambda each: (-len(each[0]), each[0]))))


def terms_of(cell: Cell) -> tuple[tuple[Term, Exact], ...]:
    return cell.terms if isinstance(cell, Amount) else (((), cell),)


def plain(value: Exact) -> Exact:
    """Return the number, as an integer where it is one."""
    return int(value) if value.denominator == 1 else value


def _sorted(term: Term) -> Term:
    return tuple(sorted(term))


def symbol(text: str, *, negative: bool) -> Amount:
    """Return a symbol for a computed number; `negative` says that it may be negative."""
    if len(text) > _LONGEST:
        raise UndecidedError("its name would be too long")
    return Amount((((f"{_SIGNED if negative else '?'}({text})",), 1),))


def unnamed(name: str, index: int, *, whole: bool) -> Amount:
    """Return a symbol for one element of a value of which nothing is known; `whole` says that it is an integer."""
    return Amount((((f"{_SIGNED if whole else _FRACTION}{name}[{index}]",), 1),))


def least(cell: Cell) -> Exact | None:
    """Return a lower bound that holds whatever the sizes are; None where there is no bound."""
    if not isinstance(cell, Amount):
        return cell
    if any(n < 0 or any(s.startswith(_SIGNED) for s in term) for term, n in cell.terms if term):
        return None
    return next((n for term, n in cell.terms if not term), 0)


def positive(cell: Cell) -> bool:
    """Return whether a number is 0 or more, whatever the sizes are."""
    low = least(cell)
    return low is not None and low >= 0


def at_least(cell: Cell, other: Cell) -> bool | None:
    """Return whether a number is always, or never, as large as another; None where that depends on sizes."""
    if not isinstance(cell, Amount) and not isinstance(other, Amount):
        return cell >= other
    difference = cell - other
    if positive(difference):
        return True
    high = least(-difference)
    return False if high is not None and high > 0 else None


def divided(cell: Cell, by: Cell) -> Cell | None:
    """Return the exact quotient of two finite numbers; None where it is no sum of products."""
    (lead, factor), *rest = terms_of(by)
    if not factor:
        raise ZeroDivisionError
    parts: list[tuple[Term, Exact]] = []
    for term, n in (each for each in terms_of(cell)[: 1 if rest else None] if each[1]):
        left = _without(term, lead)
        if left is None:
            return None
        parts.append((left, Fraction(n) / factor))
    quotient = total(parts)
    return quotient if not rest or quotient * by == cell else None


def _without(term: Term, other: Term) -> Term | None:
    rest = Counter(term)
    rest.subtract(other)
    return None if any(count < 0 for count in rest.values()) else tuple(rest.elements())


def of_size(size: Size) -> Cell:
    """Return a size as a number."""
    return total([(size.symbols, size.coefficient)])


def to_size(cell: Cell) -> Size:
    """Return a whole number as a size (or as the 0 or -1 of a Reshape's target); a sum becomes one symbol."""
    if not isinstance(cell, Amount):
        return Size(int(cell))
    (term, factor), *rest = cell.terms
    if not rest and isinstance(factor, int):
        return Size(factor, term)
    return Size(1, symbol(str(cell), negative=not positive(cell)).terms[0][0])
