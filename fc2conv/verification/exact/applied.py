"""What the nodes apply that only one model has: the functions apart from sums, products and layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fc2conv.verification.exact import layout, linear, pointwise
from fc2conv.verification.exact.terms import Term, behind

EXACT = frozenset(
    {*layout.RULES, *linear.RULES}
    | set("Add Sub Mul Div Sum Neg Mean Reciprocal ReduceSum ReduceMean AveragePool GlobalAveragePool Not".split())
    | {"DequantizeLinear"}
) - {"Where", "If"}
"""Operators that are sums, products, quotients and moves."""

_SIZES = frozenset({"Shape", "Size"})
_WITHIN = {**dict.fromkeys(("GlobalMaxPool", "ReduceMax", "ReduceMin"), "MaxPool"), "HardSigmoid": "Clip"}
"""Functions that another operator applies as well, under this name."""


def own_terms(term: Term, side: int, same: Collection[bytes] = ()) -> Iterator[Term]:
    """Yield the nodes that only one model has on the way to a value, apart from what is the `same` in both."""
    return behind(term, lambda top: top.sides == side and top.op is not None and top.key not in same)


def may_round(term: Term) -> bool:
    """Decide whether a node makes a constant of others, or has factors: a runtime rounds what comes of them."""
    assert term.op is not None
    computed = (term.value is not None or term.computed) and not term.integer
    return computed or term.op.name == "BatchNormalization" or bool({"alpha", "beta"} & term.op.attributes.keys())


def functions(term: Term) -> set[str]:
    """Return what a node applies apart from sums, products and layout."""
    assert term.op is not None
    name = term.op.name.rpartition("::")[2]
    source = term.inputs[0] if term.inputs else None
    kept = name == "Cast" and source is not None and pointwise.exact_cast(source, term)
    return set() if name in EXACT or kept else {_WITHIN.get(name, name)}


def named(term: Term) -> set[tuple[str, str]]:
    """Return the functions that a node applies, with the numbers that are attributes."""
    attributes = term.op.attributes.items() if term.op is not None else ()
    numbers = repr(sorted((name, value) for name, value in attributes if isinstance(value, float)))
    return {(name, numbers) for name in functions(term) - _SIZES}
