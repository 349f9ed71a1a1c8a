"""What operators do to numbers one by one, whether they are known or depend on sizes.

What has no form raises UndecidedError, or another ArithmeticError (a division by 0).
"""

from __future__ import annotations

import math
from fractions import Fraction

from fc2conv.ir.arithmetic.amount import (
    Amount,
    Cell,
    Exact,
    UndecidedError,
    at_least,
    divided,
    plain,
    positive,
    symbol,
    terms_of,
    total,
)

_MOST_POWER = 64


def is_whole(cell: Cell | None) -> bool:
    """Return whether a number is an integer, whatever the sizes are."""
    return isinstance(cell, int) or (isinstance(cell, Amount) and cell.whole)


def _number(cell: Cell) -> Exact:
    if isinstance(cell, Amount):
        raise UndecidedError("it depends on sizes")
    return cell


# ------------------------------------------------------------------ quotients


def quotient(left: Cell, right: Cell) -> Cell:
    """Divide integers and drop the fraction: ONNX's Div truncates."""
    if not isinstance(left, Amount) and not isinstance(right, Amount):
        return math.trunc(Fraction(left) / right)
    exact = divided(left, right)
    if exact is not None and is_whole(exact):
        return exact
    parts = _parts(left, right)
    if parts is not None and positive(left):
        return parts[0]
    if positive(left) and positive(right):
        return symbol(f"({left})//({right})", negative=False)
    return symbol(f"truncated({left}, {right})", negative=True)


def remainder(left: Cell, right: Cell) -> Cell:
    """Return the remainder of integers, which has the sign of the divisor."""
    if not isinstance(left, Amount) and not isinstance(right, Amount):
        return left - math.floor(Fraction(left) / right) * right
    parts = _parts(left, right)
    if parts is not None:
        return parts[1]
    return 0 if is_whole(divided(left, right)) else symbol(f"({left})%({right})", negative=not positive(right))


def truncated_remainder(left: Cell, right: Cell) -> Cell:
    """Return the remainder that has the sign of the dividend (Mod with fmod)."""
    if not isinstance(left, Amount) and not isinstance(right, Amount):
        return left - quotient(left, right) * right
    if positive(left) and positive(right) and is_whole(left) and is_whole(right):
        return remainder(left, right)
    raise UndecidedError("fmod of sizes")


def _parts(cell: Cell, by: Cell) -> tuple[Cell, int] | None:
    """Split a sum into `by * multiple + rest` with a known rest below `by`; return None where it has no such form."""
    if not isinstance(by, int) or by <= 0 or not is_whole(cell):
        return None
    if any(n % by for term, n in terms_of(cell) if term):
        return None
    rest = sum(int(n % by) for _, n in terms_of(cell))
    return total((term, n // by) for term, n in terms_of(cell)), rest


def ratio(left: Cell, right: Cell) -> Cell:
    found = divided(left, right)
    if found is None:
        raise UndecidedError("a quotient of sizes")
    return found


def power(base: Cell, exponent: Cell) -> Cell:
    """Return the power, where it is a whole number that no rounding touches."""
    if exponent == Fraction(1, 2) and isinstance(base, int) and base >= 0 and math.isqrt(base) ** 2 == base:
        return math.isqrt(base)
    if not isinstance(exponent, int) or not 0 <= exponent <= _MOST_POWER or not is_whole(base):
        raise UndecidedError("a power")
    out: Cell = 1
    for _ in range(exponent):
        out = out * base
    return out


def root(cell: Cell) -> Cell:
    """Return the square root, which every runtime rounds in the same way."""
    return plain(Fraction(math.sqrt(_number(cell))))


# ------------------------------------------------------------------ rounding


def floor(cell: Cell) -> Cell:
    if not isinstance(cell, Amount):
        return math.floor(cell)
    if cell.whole:
        return cell
    if cell.fractional or not positive(cell):
        raise UndecidedError("floor of a number that may be negative, or have any fraction")
    return quotient(cell * cell.denominator, cell.denominator)


def ceil(cell: Cell) -> Cell:
    if not isinstance(cell, Amount):
        return math.ceil(cell)
    return cell if cell.whole else floor(cell + Fraction(cell.denominator - 1, cell.denominator))


def rounded(cell: Cell) -> Cell:
    """Round to the nearest integer, and from halfway to the even one."""
    if isinstance(cell, Amount) and cell.whole:
        return cell
    return round(Fraction(_number(cell)))


def truncated(cell: Cell) -> Cell:
    """Return the integer that a floating-point number is cast to."""
    return floor(cell) if isinstance(cell, Amount) else math.trunc(Fraction(cell))


# ------------------------------------------------------------------ order


def absolute(cell: Cell) -> Cell:
    if not isinstance(cell, Amount):
        return cell if cell >= 0 else -cell
    other = -cell
    return cell if positive(cell) else other if positive(other) else symbol(f"abs({cell})", negative=False)


def sign(cell: Cell) -> Cell:
    return int(less(0, cell)) - int(less(cell, 0))


def larger(left: Cell, right: Cell) -> Cell:
    first = _is_larger(left, right)
    if first is None:
        return symbol(f"max{_both(left, right)}", negative=not (positive(left) or positive(right)))
    return left if first else right


def smaller(left: Cell, right: Cell) -> Cell:
    first = _is_larger(left, right)
    if first is None:
        return symbol(f"min{_both(left, right)}", negative=not (positive(left) and positive(right)))
    return right if first else left


def _is_larger(left: Cell, right: Cell) -> bool | None:
    first, other = at_least(left, right), at_least(right, left)
    return first if first is not None else None if other is None else not other


def _both(left: Cell, right: Cell) -> str:
    return f"({', '.join(sorted(map(str, (left, right))))})"


def greater_or_equal(left: Cell, right: Cell) -> bool:
    found = at_least(left, right)
    if found is None:
        raise UndecidedError("an order of sizes")
    return found


def less(left: Cell, right: Cell) -> bool:
    return not greater_or_equal(left, right)


def equal(left: Cell, right: Cell) -> bool:
    if not isinstance(difference := left - right, Amount):
        return difference == 0
    if at_least(left, right) is False or at_least(right, left) is False:
        return False
    raise UndecidedError("whether sizes are equal")


# ------------------------------------------------------------------ truth values


def true(cell: Cell) -> bool:
    return not equal(cell, 0)


def both(left: Cell, right: Cell) -> bool:
    """Return whether two truth values are true; a false one decides."""
    return not _is_one(False, left, right)


def either(left: Cell, right: Cell) -> bool:
    """Return whether one of two truth values is true; a true one decides."""
    return _is_one(True, left, right)


def _is_one(wanted: bool, left: Cell, right: Cell) -> bool:
    known = [bool(each) for each in (left, right) if not isinstance(each, Amount)]
    if wanted not in known and len(known) < 2:
        raise UndecidedError("a truth value of sizes")
    return wanted in known


def exclusive(left: Cell, right: Cell) -> bool:
    return bool(_number(left)) != bool(_number(right))


def inverse(cell: Cell) -> bool:
    return not _number(cell)


def choice(condition: Cell, yes: Cell, no: Cell) -> Cell:
    """Choose one of two numbers, as Where does; the condition may be unknown where they are the same."""
    if isinstance(condition, Amount):
        if isinstance(yes, Amount) == isinstance(no, Amount) and yes == no:
            return yes
        raise UndecidedError("a choice by sizes")
    return yes if condition else no
